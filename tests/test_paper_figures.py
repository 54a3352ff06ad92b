"""Figures for papers: their width is that of the column, their text has 8 points, and nothing sticks out."""

import re

import pytest
from helpers.fake_runs import fake_run
from matplotlib.text import Text

from rpecli import plot
from rpecli.report.aggregate import TaskResults, aggregate
from rpecli.report.content import ReportContent
from rpecli.report.figures import paper
from rpecli.report.figures.sizes import SIZES

TASKS = ("copy", "sort", "parity", "recall")
BOX = re.compile(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]")


def results(tasks: tuple[str, ...] = TASKS, seeds: int = 3) -> list[TaskResults]:
    scores = {"none": 0.1, "learned": 0.2, "sinusoidal": 0.3, "rope": 0.5, "alibi": 0.9, "t5": 0.7}
    return aggregate([fake_run(name, seed, {16: 1.0, 32: score + seed / 100, 64: score / 2}, task=task)
                      for name, score in scores.items() for seed in range(seeds) for task in tasks])  # fmt: skip


def content(tasks: list[TaskResults]) -> ReportContent:
    return ReportContent("study", None, [], [], tasks, {}, {}, [], [], [])


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("tasks", [TASKS, TASKS[:1]], ids=["four tasks", "one task"])
def test_a_figure_is_as_wide_as_its_column(kind: str, tasks: tuple[str, ...]) -> None:
    files = paper.files(content(results(tasks)), kind)
    assert sorted(files) == [f"paper-{name}.{suffix}" for name in ("accuracy", "intervals") for suffix in ("pdf", "svg")]
    for name in ("paper-accuracy.pdf", "paper-intervals.pdf"):
        (box,) = set(BOX.findall(files[name]))
        assert float(box[0]) <= 72 * SIZES[kind].width + 0.1
        assert float(box[1]) < 72 * 8


@pytest.mark.parametrize("kind", SIZES)
def test_no_text_leaves_the_figure(kind: str) -> None:
    figure = paper.accuracy(results(), SIZES[kind]).figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    width, height = figure.bbox.width, figure.bbox.height
    texts = [text for axes in figure.axes for text in [axes.title, axes.yaxis.label, *axes.texts, *axes.get_xticklabels()]]
    for text in [*texts, *(text for legend in figure.legends for text in legend.get_texts())]:
        if text.get_text() and text.get_visible():
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1, (text.get_text(), box)
            assert box.x1 <= width + 1, (text.get_text(), box)
            assert -1 <= box.y0 < box.y1 <= height + 1, (text.get_text(), box)
    assert {text.get_fontsize() for axes in figure.axes for text in axes.get_xticklabels()} == {8}


def test_intervals_are_those_of_the_pooled_table_the_best_on_top() -> None:
    drawing = paper.intervals(results(), SIZES["neurips"])
    assert drawing
    (axes,) = drawing.figure.axes
    assert axes.get_yticklabels()[0].get_text() == "ALiBi"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert len(axes.get_yticklabels()) == 6


def test_without_lengths_beyond_training_there_are_no_intervals() -> None:
    tasks = aggregate([fake_run("rope", 0, {16: 1.0})])
    assert set(paper.files(content(tasks), "icml")) == {"paper-accuracy.pdf", "paper-accuracy.svg"}


def test_the_typeface_holds_for_these_figures_alone() -> None:
    before = plot.STYLE["font.family"]
    assert b"STIX" in paper.files(content(results()), "icml", serif=True)["paper-accuracy.pdf"]
    assert plot.STYLE["font.family"] == before
    assert b"STIX" not in paper.files(content(results()), "icml")["paper-accuracy.pdf"]


def test_panels_of_two_measures_name_their_own() -> None:
    text = fake_run("rope", 0, {16: 1.0, 32: 0.5}, task="text", measure="perplexity")
    for line in text.evaluations.values():
        line["nll"] = 1.0
    drawing = paper.intervals(aggregate([fake_run("rope", 0, {16: 1.0, 32: 0.5}), text]), SIZES["neurips"])
    assert drawing
    words = {item.get_text() for item in drawing.figure.findobj(Text)}
    assert {"exact match (%)", "perplexity", "beyond training"} <= words

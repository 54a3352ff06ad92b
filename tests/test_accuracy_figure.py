"""The labels of lengths in the accuracy figure, as they are drawn."""

from dataclasses import replace

import pytest
from helpers.fake_runs import fake_run
from matplotlib.figure import Figure

from rpecli.report.aggregate import aggregate
from rpecli.report.content import ReportContent
from rpecli.report.figures import accuracy, report

SHORT, ADDED = [16, 512, 1024, 2048, 4096], list(range(16, 257, 16))
LONG, NEAR, WIDER = [16, *(2**k for k in range(9, 18))], [8, 16, 17, 18], [64, 512, 1024, 2048, 4096]


def composed(number: int, lengths: list[int]) -> Figure:
    """The accuracy figure of so many tasks."""
    names = ("copy", "sort", "parity", "recall", "reverse", "addition", "sort:distinct=true")[:number]
    tasks = aggregate([fake_run("rope", 0, dict.fromkeys(lengths, 0.5), task=name) for name in names])
    tasks = [replace(task, train_length=64) for task in tasks] if lengths is WIDER else tasks
    return accuracy.accuracy_figure(tasks, accuracy.series_styles(tasks)).figure


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("lengths", [SHORT, ADDED, LONG, NEAR, WIDER], ids=["short", "added", "long", "near", "wider"])
def test_labels_of_lengths_never_touch_nor_leave_the_figure(number, lengths):
    figure = composed(number, lengths)
    boxes = [text.get_window_extent() for axes in figure.axes for text in axes.get_xticklabels()]
    assert len(boxes) >= 2 * len(figure.axes)
    for i, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
        assert not any(box.padded(3).overlaps(other.padded(3)) for other in boxes[:i])  # dots, of 200 an inch


def test_every_length_has_a_tick_and_the_trained_one_and_the_ends_are_labeled_first():
    for number, lengths in ((1, SHORT), (4, SHORT), (4, ADDED), (7, LONG)):
        for axes in composed(number, lengths).axes:
            assert sorted([*axes.xaxis.get_majorticklocs(), *axes.xaxis.get_minorticklocs()]) == lengths
            labels = [text.get_text().split()[0] for text in axes.get_xticklabels()]
            assert {"16", str(lengths[-1])} <= {*labels}
    assert "16" in [text.get_text().split()[0] for text in composed(4, NEAR).axes[0].get_xticklabels()]


def test_where_there_is_room_every_length_is_labeled():
    labels = [text.get_text() for text in composed(1, [16, 64, 256, 1024, 4096]).axes[0].get_xticklabels()]
    assert labels == ["16\n1x", "64\n4x", "256\n16x", "1024\n64x", "4096\n256x"]


def test_of_many_tasks_the_files_have_twelve_each():
    names = [f"parity:format=plain{number}" for number in range(13)]
    tasks = aggregate([fake_run("rope", 0, {16: 1.0, 32: 0.5}) for _ in names])
    tasks = [replace(tasks[0], name=name) for name in names]
    content = ReportContent("study", None, [], [], tasks, {}, {}, [], [], [])
    figures = report.report_figures(content)
    assert {stem: len(drawing.crops) for stem, drawing in figures.accuracy_files.items()} == {"accuracy": 24, "accuracy-2": 2}
    assert len(figures.accuracy.crops) == 26  # a page takes them apart: one drawing of all
    heights = [drawing.figure.get_size_inches()[1] for drawing in figures.accuracy_files.values()]
    assert max(heights) < 20
    content = replace(content, tasks=tasks[:12])
    assert list(report.report_figures(content).accuracy_files) == ["accuracy"]

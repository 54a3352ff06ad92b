"""Figures of inspected runs: what becomes one line, which panels there are, and what they say."""

from typing import Any

import pytest

from rpecli import plot
from rpecli.report.figures.attention import figures, task_figures
from rpecli.report.figures.distance import POINTS, Curve
from rpecli.report.figures.heads import heads_figure, heads_overview
from rpecli.titles import display


def inspected(encoding: str = "rope", seed: int = 0, layers: int = 1, entropy: float = 0.5, **facts: Any) -> dict[str, Any]:
    """An inspection of two heads per layer, trained to 16; the first head of layer 1 looks 16 tokens back."""
    lengths = [{"length": n, "sequence": 2 * n + 2, "layers": [heads(n, entropy)] * layers, "scores": [], "terms": None}
               for n in (8, 16, 32)]  # fmt: skip
    pattern = {"layer": 1, "head": 1, "pattern": "distance n", "share": {"8": 1.0, "16": 0.9, "32": 0.25}}
    run = {"run": f"copy-{encoding}-s{seed}", "task": "copy", "label": encoding, "encoding": encoding}
    run |= {"title": display("encodings", encoding), "group": "RPE", "seed": seed, "train_length": 16}
    return run | {"encoding_override": None, "causal": True, "lengths": lengths, "patterned_heads": [pattern]} | facts


def heads(length: int, entropy: float) -> list[dict[str, Any]]:
    weights = [0.9 if distance == length else 0.1 / (2 * length + 1) for distance in range(2 * length + 2)]
    return [{"head": n, "distance": n * length, "entropy": entropy, "uniform": 3.0, "by_distance": weights} for n in (1, 2)]


def styles(*encodings: str) -> dict[str, plot.SeriesStyle]:
    return {encoding: plot.series_style(encoding, "RPE", display("encodings", encoding)) for encoding in encodings}


def texts(drawing: Any) -> set[str]:
    return {text for tips in drawing.tips.values() for text in tips.texts}


def test_a_line_is_the_mean_over_the_seeds_of_an_encoding() -> None:
    runs = [inspected(entropy=0.5), inspected(seed=1, entropy=1.5), inspected("alibi")]
    drawing = task_figures("copy", runs, [], styles("rope", "alibi"))["entropy"]
    assert {"RoPE at 16: 1, 2 runs", "ALiBi at 16: 0.5, 1 run", "uniform attention"} <= texts(drawing)


@pytest.mark.parametrize(
    "second", [{"seed": 0}, {"seed": 1, "train_length": 32}], ids=["the same seed", "another training length"]
)
def test_runs_that_are_not_seeds_of_each_other_are_lines_of_their_own(second: dict[str, int]) -> None:
    runs = [inspected(), inspected(**second) | {"run": "another"}]
    drawing = figures({"runs": runs}, {})["entropy-copy"]
    assert {"copy-rope-s0 at 16: 0.5, 1 run", "another at 16: 0.5, 1 run"} <= texts(drawing)


def test_a_figure_against_length_has_a_panel_per_layer() -> None:
    drawings = task_figures("copy", [inspected(layers=4)], [], styles("rope"))
    assert [crop.title for crop in drawings["mean-distance"].crops] == [
        f"mean attention distance, layer {n}" for n in (1, 2, 3, 4)
    ]
    assert [crop.title[-7:] for crop in drawings["patterns"].crops] == ["layer 1"], "only layer 1 has a patterned head"
    assert {*drawings} == {"mean-distance", "entropy", "patterns", "distance"}, "nothing is drawn without data"


def test_every_head_has_a_line_and_patterned_heads_are_named() -> None:
    drawing = heads_figure(inspected(layers=2))
    assert len(drawing.crops) == 2 * 3
    assert texts(drawing) == {"head 1: distance n", "head 1", "head 2"}
    assert drawing.crops[1].title == "RoPE, seed 0, layer 1 at 1x: head 1: distance n"


def test_an_overview_has_a_part_per_run_layer_and_length() -> None:
    drawing = heads_overview([inspected(layers=2), inspected("alibi", layers=2)])
    assert len(drawing.figure.axes) == 2
    titles = [crop.title.partition(":")[0] for crop in drawing.crops]
    assert titles == [f"{encoding}, seed 0, layer {layer} at {times}"
                      for encoding in ("RoPE", "ALiBi") for layer in (1, 2) for times in ("1x", "2x")]  # fmt: skip
    for crop in drawing.crops:
        assert sum(tips.part == crop.part for tips in drawing.tips.values()) == 2, "two heads"


def test_a_long_curve_keeps_its_peaks() -> None:
    weights = {distance: 0.5 if distance == 777 else 0.001 for distance in range(4 * POINTS)}
    points = Curve("rope", "head 1", weights, {}).peaks()
    assert len(points) == POINTS
    assert points[777] == 0.5

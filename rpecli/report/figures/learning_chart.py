"""Learning curves: token accuracy within the training lengths against training steps, from each run's metrics.jsonl."""

from collections import defaultdict
from html import escape

from matplotlib.ticker import MaxNLocator

from rpecli.plot import Look
from rpecli.report import stats
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.figures import inline as svg
from rpecli.report.format import format_mean_range, format_number
from rpecli.report.stats import Summary

POINTS = 24  # shown of one curve: every validation of a long training would be a page of dots
Curve = dict[int, Summary]  # step -> over the runs that were validated there


def curves(panel: TaskResults) -> dict[str, Curve]:
    """`{label: curve}` over seeds, at steps where every run of the row was validated."""
    found = {row.label: _curve(row) for row in panel.encodings}
    return {label: curve for label, curve in found.items() if curve}


def _curve(row: EncodingResults) -> Curve:
    values: dict[int, list[float]] = defaultdict(list)
    read = [each.validations for each in row.runs if each.validations]
    for line in [line for each in read for line in each]:
        values[line["step"]].append(line["token_accuracy"])
    made = {step: stats.summary(known) for step, known in sorted(values.items()) if len(known) == len(read)}
    return {step: found for step, found in made.items() if found}


class Axes(svg.Frame):
    """Steps on a linear axis."""

    def __init__(self, last: int) -> None:
        self.last = last

    def x(self, step: float) -> float:
        return self.left + (self.right - self.left) * step / self.last

    def labels(self) -> list[tuple[float, str, str]]:
        round_steps = (step for step in MaxNLocator(5).tick_values(0, self.last) if step <= self.last)
        return [(self.x(step), f"{step:g}", "") for step in round_steps]


def chart(panel: TaskResults, found: dict[str, Curve], known: dict[str, Look]) -> str:
    """The curves of a panel as inline SVG."""
    axes = Axes(max(step for curve in found.values() for step in curve))
    parts = [svg.frame(axes)]
    for place, (label, look) in enumerate(known.items()):
        if label in found:
            parts.append(svg.series(axes, label, _points(found[label]), look, place))
    words = escape(described(panel, found))
    drawn = svg.picture(words, "".join(parts))
    return f"<figure><figcaption>{escape(panel.title)}: token accuracy by training step</figcaption>{drawn}</figure>"


def _points(curve: Curve) -> list[svg.Point]:
    every = -(-len(curve) // POINTS)
    kept = [step for i, step in enumerate(curve) if i % every == 0 or i == len(curve) - 1]
    return [(step, curve[step], f"at step {step}: {format_mean_range(curve[step])}") for step in kept]


def described(panel: TaskResults, found: dict[str, Curve]) -> str:
    """The alt text: where each curve ends, and when it first stood at .90."""
    return f"token accuracy within the training lengths by step on {panel.title}, mean over seeds: " + "; ".join(
        f"{label} {_reached(curve)}{format_number(list(curve.values())[-1].mean)} at step {list(curve)[-1]}"
        for label, curve in found.items()
    )


def _reached(curve: Curve) -> str:
    step = next((step for step, each in curve.items() if each.mean >= stats.SOLVED), None)
    return "" if step is None else f"0.90 by step {step}, "

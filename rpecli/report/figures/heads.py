"""Attention weight by distance of every head, as figures: of one run in a file, of many runs on a page."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import Any

from rpecli.plot import HEAD_DASHES, head_colors
from rpecli.report.figures.distance import WEIGHT, Curve, draw_curves, first_distance
from rpecli.report.figures.layout import ONE_LINE, Drawing, Layout, Subplot, draw, line_entry
from rpecli.report.format import format_factor
from rpecli.report.load_probes import InspectedRun
from rpecli.report.probe_values import run_name
from rpecli.run.records import LengthAttention


@dataclass(frozen=True)
class LayerHeads:
    """The heads of one layer of a run at one length."""

    title: str
    heading: str
    patterned: list[str]  # heads and their patterns
    curves: list[Curve]

    @property
    def alt(self) -> str:
        return f"attention weight by distance, a line per head: {self.title}"


def heads_figure(run: InspectedRun) -> Drawing:
    """A row of panels per layer, a column per length, a line per head; patterned heads are named at the training length."""
    rows = [[_subplot(layer_heads(run, at, layer), at["length"] == run["train_length"]) for at in run["lengths"]]
            for layer in range(_layers(run))]  # fmt: skip
    entries = [line_entry(name, **look) for name, look in head_looks(run).items()]
    title = f"{run_name(run)}: attention weight by distance at the answer tokens"
    return draw(rows, Layout(title, "distance i-j", [("heads", entries)], under=ONE_LINE + 0.06))


def _subplot(heads: LayerHeads, named: bool) -> Subplot:
    note = "\n".join(heads.patterned).replace(": ", ":\n") if named else ""  # narrow: the peak is in the middle
    draw_panel = partial(draw_curves, curves=heads.curves, highest=1.0, note=note)
    return Subplot(draw_panel, heads.title, heads.alt, heads.heading, WEIGHT)


def heads_overview(runs: list[InspectedRun]) -> Drawing:
    """All heads of all runs in a panel per length, of which a page shows one run and layer at a time.

    The lengths are the training length and the longest one. Axes take most of the time of a small figure: with axes of their own
    for every run, layer and length, a page of 21 runs took a quarter longer.
    """
    by_length: list[list[LayerHeads]] = [[], []]
    for run in runs:
        beyond = [at for at in run["lengths"] if at["length"] >= run["train_length"]] or run["lengths"]
        for place, at in enumerate(beyond[:: max(1, len(beyond) - 1)]):
            by_length[place] += [layer_heads(run, at, layer) for layer in range(_layers(run))]
    rows = [[_crowded(group) for group in by_length if group]]
    drawing = draw(rows, Layout(below="distance i-j", under=ONE_LINE))
    panels = zip(drawing.crops, filter(None, by_length), strict=True)
    crops = [[replace(crop, title=heads.title, alt=heads.alt, part=heads.title) for heads in group] for crop, group in panels]
    drawing.crops[:] = [crop for same in zip_longest(*crops) for crop in same if crop]
    return drawing


def _crowded(group: list[LayerHeads]) -> Subplot:
    curves = [replace(curve, part=heads.title) for heads in group for curve in heads.curves]
    return Subplot(partial(draw_curves, curves=curves, highest=1.0), "", "", label=WEIGHT)


def _layers(run: InspectedRun) -> int:
    return len(run["lengths"][0]["layers"])


def layer_heads(run: InspectedRun, at: LengthAttention, layer: int) -> LayerHeads:
    """The curves of one layer at one length, and what to write over them."""
    patterns = {head["head"]: head["pattern"] for head in run["patterned_heads"] if head["layer"] == layer + 1}
    names = [f"head {n}{f': {patterns[n]}' if n in patterns else ''}" for n in range(1, len(at["layers"][layer]) + 1)]
    patterned = [name for name in names if ":" in name]
    first, times = first_distance(run, at), format_factor(at["length"], run["train_length"])
    curves = [Curve(run["title"], name, dict(enumerate(head["by_distance"], first)), look)
              for name, head, look in zip(names, at["layers"][layer], head_looks(run).values(), strict=False)]  # fmt: skip
    title = f"{run['title']}, seed {run['seed']}, layer {layer + 1} at {times}: {'; '.join(patterned) or 'no patterned head'}"
    return LayerHeads(title, f"layer {layer + 1}, length {at['length']} ({times})", patterned, curves)


def head_looks(run: InspectedRun) -> dict[str, dict[str, Any]]:
    """The look of every head's line, by the name of the head."""
    number = max(len(heads) for at in run["lengths"] for heads in at["layers"])
    colors = head_colors(number)
    return {f"head {n + 1}": {"color": colors[n], "linestyle": HEAD_DASHES[n % len(HEAD_DASHES)]} for n in range(number)}

"""Score terms and the similarity of attention, as figures: stacked bars, and encodings against encodings."""

from collections.abc import Iterable
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from rpecli.plot import GROUND, HEAD_COLORS, TEXT
from rpecli.report.figures.layout import Drawing, Layout, Subplot, draw, patch_entry
from rpecli.report.figures.series import PERCENT, QUARTERS
from rpecli.report.format import format_number, format_percent
from rpecli.report.load_probes import InspectedRun, SimilarityPair
from rpecli.report.probe_values import line_at, mean_or_none, pair_labels, pair_names, similarity_matrix
from rpecli.run.records import SCORE_TERMS, HeadTerms

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = [HEAD_COLORS[n] for n in (4, 5, 2, 0)]
TERM_LOOKS = {
    term: {"color": color, "linewidth": 7, "solid_capstyle": "butt"} for term, color in zip(SCORE_TERMS, COLORS, strict=True)
}
CELL = HEAD_COLORS[0]  # of the matrix, the fuller the more alike
FULL = 0.6  # opacity of a similarity of 1: the number in the cell stays legible
FITS = 20  # rows up to which a number fits into a cell
NAME, ROW, RIGHT, WIDEST = 0.075, 0.2, 0.4, 2.4  # inches: a character of a name, a row, room for a number at the right, a panel
Bar = tuple[str, list[float], float | None]  # name, shares of the terms, R2 of the last one as a function of i-j


def has_terms(run: InspectedRun) -> bool:
    """Whether positions are added to the embeddings of a run, so that its first-layer scores split into terms."""
    return any(at["terms"] for at in run["lengths"])


def terms_figure(task: str, runs: list[InspectedRun]) -> Drawing:
    """A bar per encoding and length, mean over heads and runs; of a single run a bar per head."""
    bars, of = _bars(runs), "one run" if len(runs) == 1 else "mean over heads and seeds"
    title = "first-layer scores by term (query-key), share of variance"
    words = "; ".join(f"{name} {', '.join(map(format_percent, shares))}" for name, shares, _ in bars)
    subplot = Subplot(partial(_draw_terms, bars=bars), title, f"{title} of {', '.join(SCORE_TERMS)} on {task}, {of}: {words}.")
    layout = Layout(
        f"{task}: {title}, {of}", "share of variance (%); at the right: R² of position-position as a function of i-j",
        [("terms", [patch_entry(name, facecolor=color) for name, color in zip(SCORE_TERMS, COLORS, strict=True)])],
        panel=0.3 + ROW * len(bars), under=0.28, left=_left(name for name, _, _ in bars), right=RIGHT, widest=WIDEST,
    )  # fmt: skip
    return draw([[subplot]], layout)


def _bars(runs: list[InspectedRun]) -> list[Bar]:
    bars = []
    for title in dict.fromkeys(run["title"] for run in runs):
        own = [run for run in runs if run["title"] == title]
        for times in sorted({at["length"] / run["train_length"] for run in own for at in run["lengths"] if at["terms"]}):
            heads = [head for run in own if (at := line_at(run, times)) for head in at["terms"] or []]
            of_heads = [_bar(f"head {head['head']}, {times:g}x", [head]) for head in heads]
            bars += of_heads if len(runs) == 1 else [_bar(f"{title}, {times:g}x", heads)]
    return bars


def _left(names: Iterable[str]) -> float:
    """Inches that names at the left of a panel need."""
    return 0.2 + NAME * max(map(len, names))


def _bar(name: str, heads: list[HeadTerms]) -> Bar:
    shares = [fmean(head["share"][term] for head in heads) for term in SCORE_TERMS]
    return name, shares, mean_or_none(head["toeplitz"]["r2"] for head in heads)


def _draw_terms(drawing: Drawing, axes: "Axes", bars: list[Bar]) -> None:
    for row, (name, shares, fit) in enumerate(bars):
        left = 0.0
        for term, share, color in zip(SCORE_TERMS, shares, COLORS, strict=True):
            (bar,) = axes.barh(row, share, 0.75, left, color=color, edgecolor=GROUND, linewidth=0.5)
            drawing.tip(bar, None, [f"{name}: {term} {format_percent(share)}"])
            left += share
        axes.annotate(
            "-" if fit is None else format_number(fit), (1, row), (3, 0), textcoords="offset points", va="center", fontsize=7
        )
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xticks(QUARTERS, PERCENT)


def similarity_figure(task: str, pairs: list[SimilarityPair], titles: dict[str, str]) -> Drawing:
    """Encodings against encodings in this order, with itself: between its runs. Runs against runs if no encoding has several."""
    labels, names = ({name for pair in pairs for name in of(pair)} for of in (pair_labels, pair_names))
    by_label = len(labels) < len(names)
    matrix = similarity_matrix(pairs, pair_labels if by_label else pair_names)
    cells = {(titles.get(a, a), titles.get(b, b)): value for (a, b), value in matrix.items()}
    order = list(titles.values())
    rows = sorted({name for key in cells for name in key}, key=lambda name: (order.index(name) if name in order else 0, name))
    apart = {key: value for key, value in cells.items() if key[0] != key[1]}
    cells = cells if by_label else cells | {(name, name): 1.0 for name in rows}
    title = "similarity of attention (1 - JS/ln 2)"
    ends = {"most": max(apart, key=apart.__getitem__), "least": min(apart, key=apart.__getitem__)} if apart else {}
    words = ", ".join(f"{word} {a} and {b} ({format_number(apart[a, b])})" for word, (a, b) in ends.items())
    subplot = Subplot(partial(_draw_matrix, names=rows, cells=cells), title, f"{title} on {task}: {words}.")
    mean = "heads paired, mean over layers" + (" and pairs of runs" if by_label else "")
    high, left = 0.1 + ROW * max(len(rows), 4), _left(f"{name}  {n}" for n, name in enumerate(rows, 1))
    layout = Layout(f"{task}: {title}, {mean}", panel=high, under=0.28, left=left, widest=WIDEST)
    return draw([[subplot]], layout)


def _draw_matrix(drawing: Drawing, axes: "Axes", names: list[str], cells: dict[tuple[str, str], float]) -> None:
    from matplotlib.patches import Rectangle

    for (row, column), value in cells.items():
        y, x = names.index(row), names.index(column)
        cell = axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, facecolor=CELL, alpha=FULL * value, linewidth=0))
        drawing.tip(cell, None, [f"{row} and {column}: {format_number(value)}"])
        if len(names) <= FITS:
            axes.text(x, y, format_number(value), ha="center", va="center", fontsize=min(7.5, 90 / len(names)), color=TEXT)
    axes.set_xticks(range(len(names)), [str(n) for n in range(1, len(names) + 1)])
    axes.set_yticks(range(len(names)), [f"{name}  {n}" for n, name in enumerate(names, 1)])
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(length=0)

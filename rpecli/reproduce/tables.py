"""Tables of `rpe reproduce`: papers, cells, and published values beside ours."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from rpecli.reproduce.outcome import Bin, Outcome
from rpecli.reproduce.paper import Cell, Paper
from rpecli.table import MISSING, Table, duration


def papers_table(papers: Mapping[str, Paper]) -> Table:
    """What ships."""
    rows = [{"paper": name, "cells": str(len(paper.cells)), "what": paper.summary} for name, paper in papers.items()]
    return Table.of(rows, "", ("paper", "cells", "what"))


def cells_table(paper: Paper, cells: Sequence[Cell], seconds: Mapping[str, float]) -> Table:
    """The published means of cells and what a seed of each costs here."""
    rows = [
        {
            "cell": cell.name,
            "seeds": str(len(cell.seeds)),
            **{name: percent(fmean(cell.published(k))) for k, name in enumerate(paper.bin_names)},
            "time a seed": duration(seconds[cell.name]),
        }
        for cell in cells
    ]
    caption = "Per cent of strings right, published. Times are measured on this machine, for all steps; many runs stop early."
    return Table.of(rows, paper.title, ("cell", "seeds", *paper.bin_names, "time a seed"), caption=caption)


def outcome_table(paper: Paper, outcomes: Sequence[Outcome]) -> Table:
    """Published | ours for each bin, and the verdict."""
    rows = [
        {
            "cell": outcome.cell.name,
            "seeds": f"{outcome.n_kept} of {outcome.n_runs}" if outcome.n_runs else MISSING,
            **{part.name: f"{percent(part.published)} | {percent(part.ours)}" for part in outcome.bins},
            "verdict": outcome.verdict,
        }
        for outcome in outcomes
    ]
    caption = (
        "Per cent of strings right, published | ours. Seeds: how many of ours count, of those that were run. "
        "agrees: within half a point, or within what chance makes of so many seeds."
    )
    return Table.of(rows, paper.title, ("cell", "seeds", *paper.bin_names, "verdict"), caption=caption)


def record(outcome: Outcome) -> dict[str, object]:
    """A cell as JSON."""
    return {
        "cell": outcome.cell.name,
        "verdict": outcome.verdict,
        "runs": outcome.n_runs,
        "kept": outcome.n_kept,
        "published_seeds": len(outcome.cell.seeds),
        "file": outcome.cell.file,
        "bins": [_bin_record(part) for part in outcome.bins],
    }


def _bin_record(part: Bin) -> dict[str, object]:
    return {**vars(part), "agrees": part.agrees}


def percent(share: float | None) -> str:
    """`99.96`; an exact 100 or 0 without decimals."""
    if share is None:
        return MISSING
    return f"{100 * share:.4g}" if share in (0, 1) else f"{100 * share:.2f}"

"""What moving the content changed in each run, as `rpe inspect RUN --shift` wrote it there: scores and a table by encoding."""

from typing import Any

from rpecli import stats
from rpecli.report import probe_read
from rpecli.report.compare import Scores
from rpecli.report.frames import Run
from rpecli.report.panels import Panel
from rpecli.report.tables import Table

KINDS = {"positions": "the same tokens at later positions", "fillers": "the same tokens behind fillers"}
Moves = dict[tuple[str, int], dict[str, Any]]  # (kind, shift) -> the line


def moves(each: Run) -> Moves:
    """The lines that are of what this run's evaluations are of, the last of several."""
    return {(line["probe"], line["shift"]): line for line in probe_read.lines(each, *KINDS)}


def read(panels: list[Panel]) -> dict[str, dict[str, dict[int, Moves]]]:
    """`{panel: {label: {seed: moves}}}`, of runs that were measured."""
    made: dict[str, dict[str, dict[int, Moves]]] = {}
    for panel in panels:
        for row in panel.rows:
            for each in row.evaluated:
                if found := moves(each):
                    made.setdefault(panel.title, {}).setdefault(row.label, {})[each.config.seed] = found
    return made


def kept(found: dict[str, dict[str, dict[int, Moves]]], kind: str) -> dict[str, Scores]:
    """The share of predictions that stay, over the shifts that every measured run of a panel has: 1 where nothing changed."""
    made: dict[str, Scores] = {}
    for title, rows in found.items():
        shared = _shared(rows, kind)
        if shared:
            made[title] = {
                label: {seed: 1 - stats.mean([[each[kind, by]["changed"] for by in shared]]) for seed, each in seeds.items()}
                for label, seeds in rows.items()
            }
    return made


def _shared(rows: dict[str, dict[int, Moves]], kind: str) -> list[int]:
    everyone = [{by for name, by in each if name == kind} for seeds in rows.values() for each in seeds.values()]
    return sorted(set.intersection(*everyone)) if everyone else []


def table(panel: Panel, rows: dict[str, dict[int, Moves]]) -> Table:
    """Share of predictions that changed and KL, by encoding and shift."""
    columns_of = [(kind, by) for kind in KINDS for by in _shared(rows, kind)]
    lines = []
    for row in panel.rows:
        if row.label in rows:
            measured = list(rows[row.label].values())
            lines.append([row.label, row.group, str(len(measured)), *(_cell(measured, move) for move in columns_of)])
    columns = ["encoding", "group", "runs", *(f"{kind} +{by}" for kind, by in columns_of)]
    caption = "Share of predictions that changed, and the KL divergence in nats, mean over seeds, when "
    caption += "; ".join(f"{kind}: {what}" for kind, what in KINDS.items()) + ". 0: nothing changed."
    mask = [[False] * len(columns) for _ in lines]
    return Table(f"{panel.title}: moved content", columns, "ll" + "r" * (len(columns) - 2), lines, mask, caption, [])


def _cell(measured: list[Moves], move: tuple[str, int]) -> str:
    changed = stats.mean([[each[move]["changed"] for each in measured]])
    kl = stats.mean([[each[move]["kl_mean"] for each in measured]])
    return f"{changed:.3f} ({kl:.2g})"

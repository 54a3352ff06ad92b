"""What moving the content changed in each run, as `rpe inspect RUN --shift` wrote it there: scores and a table by encoding."""

from statistics import fmean
from typing import Any

from rpecli.report import load_probes as probe_read
from rpecli.report import stats
from rpecli.report.aggregate import Panel
from rpecli.report.format import MISSING, number
from rpecli.report.load import Run
from rpecli.report.paired import Scores
from rpecli.table import Table

KINDS = {"positions": "the same tokens at later positions", "prefix": "the same tokens behind a prefix"}
TITLES = {"positions": "moved positions", "prefix": "behind a prefix"}
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


def tables(panel: Panel, rows: dict[str, dict[int, Moves]]) -> list[Table]:
    """Predictions and KL by encoding and shift, a table a kind; then everything that was measured, folded."""
    made = [_by_shift(panel, rows, kind) for kind in KINDS if _shared(rows, kind)]
    return [*made, _everything(panel, rows)] if made else []


def _by_shift(panel: Panel, rows: dict[str, dict[int, Moves]], kind: str) -> Table:
    shared = _shared(rows, kind)
    lines = []
    for row in panel.rows:
        if row.label in rows:
            measured = list(rows[row.label].values())
            lines.append([row.label, row.group, str(len(measured)), *(_cell(measured, (kind, by)) for by in shared)])
    columns = ["encoding", "group", "runs", *(f"+{by}" for by in shared)]
    caption = f"{KINDS[kind].capitalize()}: share of predictions that changed, and the KL divergence in nats, mean over seeds. "
    caption += "0: nothing changed."
    mask = [[False] * len(columns) for _ in lines]
    return Table(f"{panel.title}: {TITLES[kind]}", columns, "ll" + "r" * (len(columns) - 2), lines, mask, caption, [])


def _cell(measured: list[Moves], move: tuple[str, int]) -> str:
    changed, kl = (_mean(measured, move, key) for key in ("changed", "kl_mean"))
    return f"{number(changed)} ({kl:.2g})" if changed is not None and kl is not None else MISSING


def _mean(measured: list[Moves], move: tuple[str, int], key: str) -> float | None:
    """Over runs; what is given by layer is averaged over layers first. None where no run has it."""
    known = [each[move].get(key) for each in measured]
    values = [fmean(value) if isinstance(value, list) else value for value in known if value is not None and value != []]
    return fmean(values) if values else None


EVERYTHING = {
    "changed": "changed", "kl_mean": "KL, nats", "logits_mean": "logits", "attention": "attention",
    "exact_match_before": "exact match before", "exact_match": "exact match", "token_accuracy_before": "token acc. before",
    "token_accuracy": "token acc.",
}  # fmt: skip
SHARES = ("changed", "exact_match_before", "exact_match", "token_accuracy_before", "token_accuracy")


def _everything(panel: Panel, rows: dict[str, dict[int, Moves]]) -> Table:
    """A row an encoding and move, a column a measure."""
    lines = []
    for kind in KINDS:
        for row in [row for row in panel.rows if row.label in rows]:
            measured = list(rows[row.label].values())
            lines += [[row.label, kind, str(by), *_told(measured, (kind, by))] for by in _shared(rows, kind)]
    columns = ["encoding", "moved", "by", *EVERYTHING.values()]
    caption = "Means over seeds: share of predictions that changed, KL divergence, mean change of a logit and of an attention "
    caption += "weight, and accuracy before and after, on the strings of the training length."
    mask = [[False] * len(columns) for _ in lines]
    title, align = f"{panel.title}: moved content, every measure", "ll" + "r" * (len(columns) - 2)
    return Table(title, columns, align, lines, mask, caption, [], folded=True)


def _told(measured: list[Moves], move: tuple[str, int]) -> list[str]:
    found = {key: _mean(measured, move, key) for key in EVERYTHING}
    return [MISSING if value is None else number(value) if key in SHARES else f"{value:.2g}" for key, value in found.items()]

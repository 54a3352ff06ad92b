"""Runs to panels: one per task and training length, a row per encoding averaged over seeds, and the groups APE, RPE, none."""

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rpecli.report import stats
from rpecli.report.load import GROUPS, Run
from rpecli.report.stats import Summary

MEASURES = ("exact_match", "exact_match_eos", "token_accuracy", "rescaled_accuracy", "nll")


@dataclass(frozen=True)
class Row:
    """One encoding of a panel, as trained one way, over its seeds."""

    label: str
    group: str
    runs: list[Run]  # every one, also the failed and the unfinished
    cells: dict[int, dict[str, Summary]]  # length -> measure -> over the runs evaluated there
    untrained: dict[int, float]  # length -> share of evaluated positions never trained, where there are any

    @property
    def evaluated(self) -> list[Run]:
        return [each for each in self.runs if each.lines]

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.runs)

    @property
    def judged(self) -> list[bool]:
        """Solved or not, of each run that can be judged; failed runs did not."""
        return [each.solved for each in self.runs if each.solved is not None]

    def effective(self, at: float = stats.EFFECTIVE) -> Summary | None:
        return stats.summary(stats.effective_length(each.measure("exact_match"), at) for each in self.evaluated)

    def area(self, measure: str) -> Summary | None:
        return stats.summary(stats.area(each.measure(measure)) for each in self.evaluated)

    @property
    def steps_to_90(self) -> list[float | None]:
        """Of each trained run that recorded its curve; None for never."""
        curves = [each.info.get("steps_to_accuracy") for each in self.runs if each.info["status"] == "trained"]
        return [curve.get("steps_to_90") for curve in curves if curve]


@dataclass(frozen=True)
class Group:
    """The encodings of one group in a panel: means over encodings of their means over seeds."""

    name: str
    rows: list[Row]
    cells: dict[int, dict[str, Summary]]

    @property
    def runs(self) -> int:
        return sum(len(row.evaluated) + row.failed for row in self.rows)

    @property
    def judged(self) -> list[bool]:
        return [each for row in self.rows for each in row.judged]


@dataclass(frozen=True)
class Panel:
    """One task at one training length."""

    task: str
    length: int
    rows: list[Row]
    groups: list[Group]
    lengths: list[int]
    chance: dict[int, float]
    family: str = "other"

    @property
    def title(self) -> str:
        return f"{self.task}, trained to {self.length}"

    @property
    def judged(self) -> list[bool]:
        return [each for row in self.rows for each in row.judged]


def panels(runs: list[Run]) -> list[Panel]:
    """Sorted by task, then training length."""
    found: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for each in runs:
        found[str(each.info["task"]), each.config.length].append(each)
    return [_panel(task, length, members) for (task, length), members in sorted(found.items())]


def _panel(task: str, length: int, runs: list[Run]) -> Panel:
    differing = differing_settings(runs)
    named: dict[tuple[int, str], list[Run]] = defaultdict(list)
    for each in runs:
        named[GROUPS.index(each.info["group"]), label(each, differing)].append(each)
    rows = [_row(name, GROUPS[group], members) for (group, name), members in _in_order(named)]
    groups = [_group(name, list(members)) for name, members in groupby(rows, key=lambda row: row.group)]
    lengths = sorted({n for each in runs for n in each.lines})
    chance = {n: value for each in runs for n, value in each.measure("chance").items()}
    family = str(min(runs, key=lambda r: (str(r.path), r.id)).info.get("family", "other"))
    return Panel(task, length, rows, groups, lengths, chance, family)


def _in_order(named: dict[tuple[int, str], list[Run]]) -> list[tuple[tuple[int, str], list[Run]]]:
    return sorted(named.items(), key=lambda item: (item[0][0], natural(item[0][1])))


def natural(text: str) -> list[tuple[float, str]]:
    """A sort key that puts steps=500 before steps=1000."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", text)
    return [(float(part), "") if part[0].isdigit() else (-1.0, part) for part in parts]


def differing_settings(runs: list[Run]) -> list[str]:
    """Recipe keys that these runs do not share; one that a run has no use for (max_position) is not compared with it."""
    keys = sorted({key for each in runs for key in each.settings} - {"measured"})  # the encoding's label says that one
    return [key for key in keys if len({each.settings[key] for each in runs if key in each.settings}) > 1]


def label(each: Run, differing: list[str]) -> str:
    """`rope`, `learned+offset`, `rope steps=500`: all that tells a row from the others of its panel."""
    positions = "" if each.config.positions == "start" else f"+{each.config.positions}"
    settings = [f"{key}={_short(each.settings[key])}" for key in differing if key in each.settings]
    return " ".join([str(each.info["encoding"]) + positions, *settings])


def _short(value: Any) -> str:
    return "none" if value is None else str(value)


def _row(name: str, group: str, runs: list[Run]) -> Row:
    cells, untrained = {}, {}
    for length in sorted({n for each in runs for n in each.lines}):
        lines = [each.lines[length] for each in runs if length in each.lines]
        cells[length] = _summaries(lines)
        shares = [line.get("untrained_positions") or 0 for line in lines]
        if any(shares):
            untrained[length] = max(shares)
    return Row(name, group, sorted(runs, key=lambda r: (r.config.seed, r.id)), cells, untrained)


def _summaries(lines: list[dict[str, Any]]) -> dict[str, Summary]:
    made = {}
    for measure in MEASURES:
        found = stats.summary(value for line in lines if (value := _value(line, measure)) is not None)
        if found:
            made[measure] = found
    return made


def by_length(each: Run, measure: str) -> dict[int, float]:
    """`{length: value}` of a run by any measure of a report, those made of others too."""
    return {n: value for n, line in each.lines.items() if (value := _value(line, measure)) is not None}


def _value(line: dict[str, Any], measure: str) -> float | None:
    if measure != "rescaled_accuracy":
        return line.get(measure)
    chance = line.get("chance")
    return None if chance is None or chance >= 1 else stats.rescaled(line["token_accuracy"], chance)


def _group(name: str, rows: list[Row]) -> Group:
    cells: dict[int, dict[str, Summary]] = {}
    for length in sorted({n for row in rows for n in row.cells}):
        here = [row.cells[length] for row in rows if length in row.cells]
        means = {m: stats.summary(cell[m].mean for cell in here if m in cell) for m in MEASURES}
        cells[length] = {measure: found for measure, found in means.items() if found}
    return Group(name, rows, cells)

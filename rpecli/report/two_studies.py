"""Two studies side by side: the same task, encoding and length in both, the difference, and why there is none.

A study is a report (its report.json alone is enough), a folder of runs, one run, a pattern of runs, or a recipe. Paired by seed
where both have the same seeds on the same strings; on other strings no difference is formed.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import ValidationError

from rpecli import catalog
from rpecli.choice import is_path, parse_choice
from rpecli.config import load as config_load
from rpecli.config import yaml_source as config_yaml_source
from rpecli.config.recipe import Config
from rpecli.report import load as frames
from rpecli.report import paired as compare
from rpecli.report import schema, stats
from rpecli.report.aggregate import Panel, Row, panels
from rpecli.report.load import ReportError, Run
from rpecli.report.paired import Difference
from rpecli.run import directory as run

MEASURES = compare.MEASURES
KINDS = {"tasks": "task", "encodings": "encoding"}


@dataclass(frozen=True)
class Study:
    """What one side is: the word it was asked for with, what that was taken for, its runs."""

    word: str
    what: str
    runs: list[Run]
    panels: list[Panel]
    problems: list[str]


@dataclass(frozen=True)
class Line:
    """One measure of one encoding at one length (None: the mean over log2 length beyond training) in both studies."""

    task: str
    training_length: int
    encoding: str
    group: str
    length: int | None
    measure: str
    a: float
    b: float
    a_seeds: int
    b_seeds: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None  # sign flip, where paired
    p_holm: float | None  # adjusted for all rows beyond training of its measure; none at single lengths
    paired: bool
    strings: str  # same or different


@dataclass(frozen=True)
class Versus:
    """Both studies, what could be compared, sentences on what could not, and the paired differences of all rows together."""

    a: Study
    b: Study
    lines: list[Line]
    notes: list[str]
    overall: dict[str, Difference]


# ---------------------------------------------------------------------------------------------------------------- reading


def study(word: str, runs: Path, out: Path) -> Study:
    """The study that a word names. Raises ReportError with what there is."""
    path = Path(word)
    for file in (path, path / "report.json", out / word / "report.json"):
        if file.is_file() and file.name == "report.json":
            return _from_report(word, file)
    if path.is_dir():
        found = [path] if (path / "run.json").is_file() else run.listing(path)[0]
        if not found:
            raise ReportError(f"{word}: neither a report.json nor runs in there: name a report, a folder of runs or a recipe")
        return _from_runs(word, f"{_count(found)} in {path}", found)
    known = run.listing(runs)[0]
    found = [each for each in known if each.match(word)]
    if found:
        return _from_runs(word, f"{_count(found)} under {runs}", found)
    return _of_recipe(word, runs, known, out)


def _count(found: list[Any]) -> str:
    return f"{len(found)} run{'s' * (len(found) != 1)}"


def _of_recipe(word: str, runs: Path, known: list[Path], out: Path) -> Study:
    if not is_path(word) and word not in catalog.names("recipes"):
        reports = sorted(file.parent.name for file in out.glob("*/report.json"))
        hint = catalog.nearest(word, [*reports, *catalog.names("recipes"), *(path.name for path in known)])
        raise ReportError(f"{word!r} is no report in {out}, no folder, no run in {runs} and no recipe: {hint}")
    try:
        wanted = {config.id for config in config_load.load(word)[0].configs()}
    except config_yaml_source.RecipeError as error:
        raise ReportError(str(error)) from None
    found = [path for path in known if path.name in wanted]
    if not found:
        raise ReportError(f"no run of the recipe {word} under {runs}: rpe run {word}")
    return _from_runs(word, f"{len(found)} of {len(wanted)} runs of the recipe {word} under {runs}", found)


def _from_runs(word: str, what: str, paths: list[Path]) -> Study:
    collected = frames.collect(paths)
    return Study(word, what, collected.runs, panels(collected.runs), collected.problems)


def _from_report(word: str, file: Path) -> Study:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        runs = [_run(schema.Run.model_validate(record).model_dump()) for record in data["runs"]]
    except (ValidationError, ValueError, KeyError, TypeError):
        again = f": {data['command']}" if isinstance(data, dict) and data.get("command") else ""
        raise ReportError(f"{file}: not a report that can be compared, or one of an older rpe: make it again{again}") from None
    return Study(word, f"the report {file.parent} of {_count(runs)}", runs, panels(runs), list(data.get("problems", [])))


def _run(record: dict[str, Any]) -> Run:
    """A run as the report had it."""
    config, settings, lines = Config.from_keys(**record.pop("recipe")), record.pop("settings"), record.pop("evaluations")
    by_length = {line["length"]: line for line in lines}
    return Run(Path(record.pop("path")), record, config, by_length, {n: [line] for n, line in by_length.items()}, settings)


# -------------------------------------------------------------------------------------------------------------- comparing


def versus(a: Study, b: Study) -> Versus:
    """Everything that both have. Raises ReportError, with every reason, when that is nothing."""
    both = [(one, other) for one in a.panels for other in b.panels if (one.task, one.length) == (other.task, other.length)]
    matched = [(one, other, pair) for one, other in both for pair in _rows(one, other)]
    lines = _adjusted([line for one, other, pair in matched for line in _lines(one, other, *pair)])
    notes = [*_alone(a, b, both), *_trained_apart(matched), *_strings_apart(lines), *_same_runs(a, b)]
    if not lines:
        raise ReportError("\n".join([f"nothing to compare in {a.word} and {b.word}:", *notes]))
    return Versus(a, b, lines, notes, _overall(matched))


def _rows(one: Panel, other: Panel) -> list[tuple[Row, Row]]:
    found = {row.label: row for row in other.rows}
    return [(row, found[row.label]) for row in one.rows if row.label in found and row.cells and found[row.label].cells]


def _lines(one: Panel, other: Panel, first: Row, second: Row) -> list[Line]:
    made = []
    for length in [n for n in first.cells if n in second.cells]:
        same = _marks(first, length) == _marks(second, length)
        for measure in MEASURES:
            values = [_values(row, [length], measure) for row in (first, second)]
            made.append(_line(one, first, length, measure, values, same))
    lengths = _beyond(one, other, first, second)
    for measure in MEASURES if lengths else ():
        values = [_values(row, lengths, measure) for row in (first, second)]
        made.append(_line(one, first, None, measure, values, True))
    return made


def _beyond(one: Panel, other: Panel, first: Row, second: Row) -> list[int]:
    """Lengths beyond training that every run of both panels has, on the same strings."""
    lengths = [n for n in compare.beyond(one) if n in compare.beyond(other)]
    return [n for n in lengths if _marks(first, n) == _marks(second, n)]


def _marks(row: Row, length: int) -> set[str]:
    return {str(each.lines[length].get("fingerprint")) for each in row.evaluated if length in each.lines}


def _values(row: Row, lengths: list[int], measure: str) -> dict[int, float]:
    """By seed: the measure at one length, or its area over several."""
    have = [each for each in row.evaluated if all(n in each.lines for n in lengths)]
    return {each.config.seed: stats.area({n: each.lines[n][measure] for n in lengths}) for each in have}


def _line(panel: Panel, row: Row, length: int | None, measure: str, values: list[dict[int, float]], same: bool) -> Line:
    a, b = values
    paired = same and set(a) == set(b)
    means = fmean(a.values()), fmean(b.values())
    apart = [[b[seed] - a[seed] for seed in a]] if paired else []
    interval = stats.between([*a.values()], [*b.values()]) if same and not paired else stats.mean_interval(apart)
    low, high = interval or (None, None)
    return Line(
        panel.task, panel.length, row.label, row.group, length, measure, *means, len(a), len(b),
        means[1] - means[0] if same else None, low, high, stats.sign_flip(apart), None, paired, "same" if same else "different",
    )  # fmt: skip


def _adjusted(lines: list[Line]) -> list[Line]:
    """Holm over the rows beyond training that could be tested, for each measure."""
    holm: dict[int, float] = {}
    for measure in MEASURES:
        mine = {
            i: line.p for i, line in enumerate(lines) if line.length is None and line.measure == measure and line.p is not None
        }
        holm |= dict(zip(mine, stats.holm(list(mine.values())), strict=True))
    return [replace(line, p_holm=holm.get(i)) for i, line in enumerate(lines)]


def _overall(matched: list[tuple[Panel, Panel, tuple[Row, Row]]]) -> dict[str, Difference]:
    """B minus A beyond training by task and seed, the mean over encodings: those of a seed share its data, so count once."""
    made = {}
    for measure in MEASURES:
        by_task: dict[str, list[dict[int, float]]] = defaultdict(list)
        for one, other, rows in matched:
            if found := _paired(one, other, rows, measure):
                by_task[one.title].append(found)
        strata = [[fmean(each[s] for each in rows) for s in compare.shared_seeds(*rows)] for rows in by_task.values()]
        made[measure] = compare.difference(strata)
    return {measure: found for measure, found in made.items() if found}


def _paired(one: Panel, other: Panel, rows: tuple[Row, Row], measure: str) -> dict[int, float]:
    """B minus A of each seed beyond training; nothing where the seeds are not the same."""
    lengths = _beyond(one, other, *rows)
    a, b = [_values(row, lengths, measure) for row in rows] if lengths else ({}, {})
    return {seed: b[seed] - a[seed] for seed in a} if set(a) == set(b) else {}


# ------------------------------------------------------------------------------------------------------------------ notes


def _alone(a: Study, b: Study, both: list[tuple[Panel, Panel]]) -> list[str]:
    """What one of them has alone: tasks, training lengths, encodings, lengths."""
    shared = {(one.task, one.length) for one, _ in both}
    notes = [note for side, mine, theirs in (("A", a, b), ("B", b, a)) for note in _tasks_alone(side, mine, theirs, shared)]
    for one, other in both:
        notes += _rows_alone("A", one, other) + _rows_alone("B", other, one)
    return notes


def _tasks_alone(side: str, mine: Study, theirs: Study, shared: set[tuple[str, int]]) -> list[str]:
    notes = []
    for panel in mine.panels:
        lengths = [str(other.length) for other in theirs.panels if other.task == panel.task]
        if not lengths:
            notes.append(f"{panel.title}: only {side} has this task, so it is not compared.")
        elif (panel.task, panel.length) not in shared:
            notes.append(f"{panel.title} in {side} and to {', '.join(lengths)} in the other, so the two are not compared.")
    return notes


def _rows_alone(side: str, mine: Panel, theirs: Panel) -> list[str]:
    labels = {row.label for row in theirs.rows if row.cells}
    rows = [row.label for row in mine.rows if row.cells and row.label not in labels]
    lengths = [str(n) for n in mine.lengths if n not in theirs.lengths]
    notes = [f"{mine.title}: only {side} has {', '.join(rows)}."] if rows else []
    return notes + ([f"{mine.title}: only {side} was measured at {', '.join(lengths)}."] if lengths else [])


def _trained_apart(matched: list[tuple[Panel, Panel, tuple[Row, Row]]]) -> list[str]:
    """Recipe keys and files that differ between rows that are compared: what the difference is then a difference of."""
    keys: dict[str, tuple[set[str], set[str]]] = {}
    files: set[str] = set()
    for _, _, pair in matched:
        for key in sorted({key for row in pair for each in row.evaluated for key in each.settings}):
            mine, theirs = ({str(each.settings.get(key)) for each in row.evaluated} for row in pair)
            if mine != theirs:
                known = keys.setdefault(key, (set(), set()))
                known[0].update(mine)
                known[1].update(theirs)
        for kind, name in KINDS.items():
            mine, theirs = ({str(each.info.get("sources", {}).get(kind)) for each in row.evaluated} for row in pair)
            if mine != theirs:
                files.add(f"{name} {parse_choice(str(pair[0].evaluated[0].info[name]))[0]}")
    told = "; ".join(f"{key} {_listed(mine)} in A, {_listed(theirs)} in B" for key, (mine, theirs) in keys.items())
    notes = [f"Trained differently: {told}. The differences are of these as well, not of chance alone."] if told else []
    return notes + ([f"Trained with different versions of the file of {_listed(files)}."] if files else [])


def _listed(found: Iterable[str]) -> str:
    return ", ".join(sorted(found))


def _strings_apart(lines: list[Line]) -> list[str]:
    apart: dict[str, set[int]] = {}
    for line in lines:
        if line.strings == "different" and line.length is not None:
            apart.setdefault(f"{line.task}, trained to {line.training_length}", set()).add(line.length)
    return [
        f"{title}: measured on different strings at {', '.join(map(str, sorted(lengths)))}, so there is no difference there: "
        "rpe eval RUNS --overwrite with one eval_seed and number of samples."
        for title, lengths in apart.items()
    ]


def _same_runs(a: Study, b: Study) -> list[str]:
    """Runs that are in both, by id and weights: their difference is 0 by construction."""
    mine, theirs = ({(each.id, _weights(each)) for each in study.runs if each.lines} for study in (a, b))
    return [f"{len(mine & theirs)} of {len(mine)} runs of A are the very runs of B."] if mine & theirs else []


def _weights(each: Run) -> str:
    return str(next(iter(each.lines.values())).get("weights"))

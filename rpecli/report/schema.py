"""What a report writes: every file in a line, and the schema of report.json, whose rows are also those of the CSV files.

Nothing of a report is made from these models; a test holds real reports to them, the documentation is written from them, and
`rpe report --compare` reads other people's files through them.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from rpecli.table import Table

FORMAT = 1  # goes up when a key changes its meaning or goes away
FILES = {
    "report.html": "the whole report as one page that asks the network for nothing",
    "report.md": "the same as Markdown, with the figures beside it",
    "report.json": "all of it as data: [report.schema.json](report.schema.json)",
    "summary.csv": "a row an encoding and length of a task: `rows` of report.json",
    "runs.csv": "a row a run and length, nothing averaged; recipe keys that tell rows apart are columns too",
    "pairs.csv": "every two encodings of a task by both measures, where any two share a seed: `pairs` of report.json",
    "pooled.csv": "encodings and groups over the tasks of a family, and over all: `pooled` of report.json",
    "strings.csv": "every two models of one seed on the same strings, where evaluations kept them",
    "tables.tex": "every table for LaTeX (booktabs)",
    "accuracy.png": "accuracy against length, a panel a task; also `.svg` and `.pdf`",
    "learning.png": "learning curves, where runs kept them; also `.svg` and `.pdf`",
    "inspect-*.svg": "what `rpe inspect` stored in the runs, one figure per task and question",
}
MEASURES = {
    "exact_match": "all answer tokens right",
    "exact_match_eos": "and the end token too",
    "token_accuracy": "over all answer tokens",
    "rescaled_accuracy": "token accuracy with chance at 0 and perfection at 1",
    "nll": "mean negative log-likelihood of an answer token, nats",
}
PARTS = {"mean": "mean", "median": "median", "low": "lowest", "high": "highest"}


class Strict(BaseModel):
    """No key that is not described."""

    model_config = ConfigDict(extra="forbid")


Model = TypeVar("Model", bound=Strict)


def _measured(name: str, base: type[Model], fields: dict[str, str]) -> type[Model]:
    """A model with a number, or none, under each of these keys as well."""
    made: dict[str, Any] = {key: (float | None, Field(description=text)) for key, text in fields.items()}
    return create_model(name, __base__=base, __doc__=base.__doc__, **made)


class Of(Strict):
    """What a row is of."""

    task: str = Field(description="the task, with its options")
    training_length: int = Field(description="longest problem trained on")


class Difference(Strict):
    """The mean of differences, paired by seed."""

    mean: float = Field(description="first minus second, or RPE minus APE")
    low: float | None = Field(description="95 % bootstrap interval over seeds, from 3 seeds a task")
    high: float | None = Field(description="its upper end")
    p: float | None = Field(description="two-sided sign-flip permutation test, from 3 seeds a task")
    pairs: int = Field(description="pairs of seeds")
    seeds: int = Field(description="of the task that has fewest")
    tasks: int = Field(description="tasks that the pairs are of")


class Verdict(Strict):
    """What the runs support of one claim."""

    claim: str = Field(description="Length extrapolation, Translation invariance or Sample efficiency")
    outcome: str = Field(
        description="supported, contradicted, mixed, no difference, neither group does it, not enough evidence or not measured"
    )
    lines: list[str] = Field(description="sentences with the numbers")
    difference: Difference | None = Field(description="RPE minus APE over all tasks: what was tested")
    by_task: dict[str, Difference] = Field(description="the same for each task")
    p_holm: float | None = Field(description="p of the test, adjusted for the claims tested in this report")


class Provenance(Strict):
    """Where the numbers come from; a list holds each value that occurs once."""

    commits: dict[str, int] = Field(description="runs by commit, `+ changes` where tracked files differed from it")
    versions: dict[str, list[str]] = Field(description="of Python and packages")
    machine: list[str] = Field(description="processor and cores")
    device: list[str] = Field(description="cpu, cuda or mps")
    threads: list[int] = Field(description="threads a run")
    platform: list[str] = Field(description="operating system")
    study: list[str] = Field(description="the recipes that the runs were made for")
    sets: list[int] = Field(description="seeds of the evaluation sets")
    shared: dict[str, Any] = Field(description="recipe keys that all runs share")
    differing: dict[str, list[Any]] = Field(description="recipe keys that they do not")


class Run(BaseModel):
    """One run: its run.json (docs/files.md), and what is added to that."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(description="name of its directory")
    path: str = Field(description="where that was when the report was made")
    task: str = Field(description="with its options")
    encoding: str = Field(description="with its options, and how it was measured where that is not its own way")
    group: str = Field(description="APE, RPE, content or none")
    family: str = Field(description="kind of task")
    seed: int = Field(description="of weights and data")
    status: str = Field(description="created, training, stopped, failed or trained")
    recipe: dict[str, Any] = Field(description="every recipe key, resolved")
    settings: dict[str, Any] = Field(description="what decides the weights beside task, encoding, positions, seed and length")
    evaluations: list[dict[str, Any]] = Field(description="the lines of eval.jsonl that count, one a length")


class _Row(Of):
    """One encoding at one length of one task, over its seeds."""

    encoding: str = Field(description="the row's label: encoding, positions, recipe keys that tell it from others")
    group: str = Field(description="APE, RPE, content or none")
    length: int | None = Field(description="problem length; none for a row without evaluations")
    factor: float | None = Field(description="length over training length")
    runs: int = Field(description="runs evaluated at this length")
    chance: float | None = Field(description="token accuracy of the best answer that does not look at the input")
    untrained_positions: float = Field(description="share of evaluated positions whose parameters training never touched")
    solved: int = Field(description="runs that learned their training length")
    judged: int = Field(description="runs of which that is known, failed ones included")
    failed: int = Field(description="runs that failed")
    steps_to_90_median: float | None = Field(description="steps to token accuracy .90; none where half or fewer got there")
    steps_to_90_reached: int = Field(description="runs that got there")
    steps_to_90_runs: int = Field(description="runs that recorded their curve")


_INTERVALS = {
    f"{measure}_interval_{side}": f"95 % bootstrap interval of the mean over seeds, {end} end, from 3 seeds"
    for measure in ("exact_match", "token_accuracy") for side, end in (("low", "lower"), ("high", "upper"))
}  # fmt: skip
_REACH = {
    f"{key}_{part}": f"longest length with exact match >= {at} up to there, {PARTS[part]} over seeds"
    for key, at in (("effective_length", ".95"), ("half_length", ".50")) for part in ("mean", "low", "high")
}  # fmt: skip
_AREAS = {
    "area_mean": "token accuracy over log2 length, averaged (0 to 1), mean over seeds",
    "exact_match_area_mean": "exact match over log2 length, the same",
}
_SPREAD = {f"{m}_{part}": f"{what}: {word} over seeds" for m, what in MEASURES.items() for part, word in PARTS.items()}
Row = _measured("Row", _Row, _SPREAD | _INTERVALS | _REACH | _AREAS)


class _GroupRow(Of):
    """The encodings of one group at one length of one task: the mean of their means over seeds."""

    group: str = Field(description="APE, RPE, content or none")
    encodings: int = Field(description="encodings of the group")
    runs: int = Field(description="their runs, evaluated or failed")
    solved: int = Field(description="runs that learned their training length")
    judged: int = Field(description="runs of which that is known")
    length: int = Field(description="problem length")
    factor: float = Field(description="length over training length")


GroupRow = _measured("GroupRow", _GroupRow, MEASURES)


class Pair(Of, Difference):
    """What one encoding has over another, beyond the training length."""

    measure: str = Field(description="exact_match or token_accuracy: mean over log2 length beyond training")
    first: str = Field(description="label of a row")
    second: str = Field(description="label of another")
    p_holm: float | None = Field(description="p adjusted for all pairs of the task and measure (Holm)")


class Pooled(Strict):
    """An encoding, or a group, over the tasks of a family or over all."""

    family: str = Field(description="family of tasks, or `all`")
    measure: str = Field(description="exact_match or token_accuracy: mean over log2 length beyond training")
    label: str = Field(description="of the row; empty for a group")
    group: str = Field(description="APE, RPE, content or none")
    tasks: int = Field(description="tasks of the family that have it")
    runs: int = Field(description="runs behind the number")
    middle: float = Field(description="interquartile mean over all (task, seed)")
    middle_low: float | None = Field(description="95 % bootstrap interval over seeds within each task, from 3 seeds a task")
    middle_high: float | None = Field(description="its upper end")
    rank: float | None = Field(description="mean rank within task and seed, 1 the highest, ties averaged; none for a group")
    rank_low: float | None = Field(description="95 % bootstrap interval")
    rank_high: float | None = Field(description="its upper end")


class Strings(Of):
    """Two trained models of one seed on the same strings (McNemar's exact test)."""

    first: str = Field(description="label of a row")
    second: str = Field(description="label of another")
    seed: int = Field(description="of both")
    length: int = Field(description="the first one beyond training")
    n: int = Field(description="strings")
    first_alone: int = Field(description="strings that only the first got right")
    second_alone: int = Field(description="strings that only the second got right")
    p: float = Field(description="of McNemar's exact test")
    p_holm: float = Field(description="p adjusted for all pairs of models of the task (Holm)")


class Report(Strict):
    """The whole report; null is a number that there is not: no seed, fewer than three seeds, an infinity."""

    format: int = Field(description="version of this schema")
    rpe: str = Field(description="version of rpe that wrote it")
    name: str = Field(description="of the report")
    command: str | None = Field(description="makes it again")
    verdicts: list[Verdict] = Field(description="of the three claims")
    provenance: Provenance = Field(description="where the numbers come from")
    runs: list[Run] = Field(description="every run, failed ones too")
    rows: list[Row] = Field(description="encodings by task and length")  # type: ignore[valid-type]
    groups: list[GroupRow] = Field(description="groups by task and length")  # type: ignore[valid-type]
    pairs: list[Pair] = Field(description="encodings compared two by two")
    pooled: list[Pooled] = Field(description="encodings and groups over tasks")
    problems: list[str] = Field(description="what is missing or wrong, in sentences")


class Side(Strict):
    """One of two studies."""

    word: str = Field(description="what it was asked for with")
    what: str = Field(description="what that was taken for")
    provenance: Provenance = Field(description="where its numbers come from")
    problems: list[str] = Field(description="what is missing or wrong in it")
    runs: list[str] = Field(description="its run directories")


class Line(Of):
    """One measure of one encoding at one length in both studies."""

    encoding: str = Field(description="label of the row")
    group: str = Field(description="APE, RPE, content or none")
    length: int | None = Field(description="problem length; none for the mean over log2 length beyond training")
    measure: str = Field(description="exact_match or token_accuracy")
    a: float = Field(description="mean over seeds in A")
    b: float = Field(description="and in B")
    a_seeds: int = Field(description="seeds of A")
    b_seeds: int = Field(description="and of B")
    difference: float | None = Field(description="B minus A; none on different strings")
    low: float | None = Field(description="95 % bootstrap interval over seeds, from 3 seeds")
    high: float | None = Field(description="its upper end")
    p: float | None = Field(description="two-sided sign-flip permutation test, where paired, from 3 seeds")
    p_holm: float | None = Field(
        description="p adjusted for all rows beyond training of the measure (Holm); none at single lengths"
    )
    paired: bool = Field(description="whether both have the same seeds on the same strings")
    strings: str = Field(description="same or different")


class Comparison(Strict):
    """Two studies side by side."""

    format: int = Field(description="version of this schema")
    rpe: str = Field(description="version of rpe that wrote it")
    command: str | None = Field(description="makes it again")
    a: Side = Field(description="the first study")
    b: Side = Field(description="the second")
    notes: list[str] = Field(description="what could not be compared, and what else differs")
    overall: dict[str, Difference] = Field(description="B minus A beyond training by task and seed, by measure")
    lines: list[Line] = Field(description="what could be compared: compare.csv")


RUNS = {
    "run": "name of its directory",
    "task, encoding, positions, group, seed, status": "as in its run.json",
    "training_length, length, factor, sequence, n": "longest problem trained on; this one, and over that; its tokens; sequences",
    ", ".join(MEASURES): "as in summary.csv",
    "low, high": "Wilson 95 % interval of exact match",
    "chance, untrained_positions, fingerprint, eval_seed, weights, accuracy_by_decile": "as in eval.jsonl",
    "steps_to_90, tokens_to_90, steps_to_99, tokens_to_99": "to token accuracy .90 and .99 in validation",
    "step, parameters, tokens, tokens_per_second, seconds, commit, dirty, machine, device, error": "as in run.json",
    "steps, batch_tokens": "recipe keys `steps` and `tokens`",
}


def as_json_schema() -> dict[str, Any]:
    """JSON schema of report.json: docs/report.schema.json."""
    made = Report.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "report.json of rpe", **made}


def described() -> str:
    """The files and the keys of report.json for docs/files.md."""
    files = Table.of([{"file": f"`{name}`", "what it holds": words} for name, words in FILES.items()]).markdown(padded=False)
    parts = [files, _about("report.json", Report)]
    parts += [_about(key, model) for key, model in LISTED.items()]
    parts.append("**runs.csv**\n\n" + _lines(RUNS.items()))
    parts.append("`rpe report --compare A B` writes `compare.html`, `compare.md`, `compare.json` and `compare.csv`.")
    parts += [_about(key, model) for key, model in COMPARED.items()]
    return "\n\n".join(parts)


LISTED: dict[str, type[BaseModel]] = {
    "verdicts": Verdict, "difference": Difference, "provenance": Provenance, "runs": Run, "rows, and summary.csv": Row,
    "groups": GroupRow, "pairs, and pairs.csv": Pair, "pooled, and pooled.csv": Pooled, "strings.csv": Strings,
}  # fmt: skip


COMPARED: dict[str, type[BaseModel]] = {"compare.json": Comparison, "a and b": Side, "lines, and compare.csv": Line}


def _about(name: str, model: type[BaseModel]) -> str:
    fields = {key: field.description or "" for key, field in model.model_fields.items()}
    fields = {key: text for key, text in fields.items() if key not in _SPREAD or model is not Row}
    spread = {f"{m}_mean, _median, _low, _high": f"{what}; low and high are the range over seeds" for m, what in MEASURES.items()}
    about = " ".join((model.__doc__ or "").split())
    return f"**{name}**: {about}\n\n" + _lines([*fields.items(), *(spread.items() if model is Row else [])])


def _lines(found: Iterable[tuple[str, str]]) -> str:
    keys = [[", ".join(f"`{part}`" for part in key.split(", ")), text] for key, text in found]
    return Table("", ["key", "meaning"], "ll", keys).markdown(padded=False)

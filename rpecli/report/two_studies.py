"""Two studies side by side: the same task, encoding and length in both, their difference, and what could not be compared.

Runs are paired over the seeds that both studies have on the same evaluation sets; where they share none, the means are
independent. On different sets no difference is formed.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from rpecli import __version__
from rpecli.report import paired, stats, study_notes
from rpecli.report.aggregate import EncodingResults, TaskResults, counted_tasks
from rpecli.report.load import ReportError, one_per_directory
from rpecli.report.measures import Measure, Scoring, measures_of
from rpecli.report.provenance import provenance
from rpecli.report.records import FORMAT, Difference, Record, TaskKey
from rpecli.report.report_data import Provenance
from rpecli.report.studies import Study

BySeed = dict[int, float]


class ComparisonRow(TaskKey):
    """One measure of one encoding at one length in both studies."""

    encoding: str
    """label of the encoding"""
    title: str
    """the encoding as people know it"""
    task_title: str
    """the task as people know it"""
    group: str
    """APE, RPE, content or none"""
    length: int | None
    """problem length; null for the mean over log2 length beyond training"""
    measure: str
    """exact_match, token_accuracy or nll, in nats per token"""
    a: float
    """mean over seeds in A"""
    b: float
    """mean over seeds in B"""
    a_seeds: int
    """number of seeds in A"""
    b_seeds: int
    """number of seeds in B"""
    difference: float | None
    """B minus A, over the seeds that both have where there are any; null on different evaluation sets"""
    low: float | None
    """lower end of the 95 % interval over seeds: t from 3 seeds, bootstrap from 6"""
    high: float | None
    """its upper end"""
    p: float | None
    """two-sided sign-flip permutation test where paired; from 3 seeds; null for runs measured otherwise than they were trained"""
    p_holm: float | None
    """p adjusted for all rows beyond training of the measure (Holm); null at single lengths"""
    pairs: int
    """seeds that both have on the same evaluation sets; 0 where the means are independent, or no difference is formed"""
    same_eval_set: bool
    """whether both were evaluated on the same sequences"""

    @property
    def heading(self) -> str:
        return f"{self.task_title}, trained to {self.training_length}"


class Side(Record):
    """One of two studies."""

    name: str
    """the study as named on the command line"""
    description: str
    """what that name stands for"""
    provenance: Provenance
    """where its numbers come from"""
    warnings: list[str]
    """what is missing or wrong in it"""
    runs: list[str]
    """its run directories"""


class ComparisonData(Record):
    """Two studies side by side."""

    format: int
    """version of this schema"""
    rpe: str
    """version of rpe that wrote it"""
    command: str | None
    """command that reproduces it"""
    a: Side
    """the first study"""
    b: Side
    """the second study"""
    notes: list[str]
    """what could not be compared, and what else differs"""
    overall: dict[str, Difference]
    """B minus A beyond training, by measure, over all tasks and seeds"""
    rows: list[ComparisonRow]
    """what could be compared: compare.csv"""


@dataclass(frozen=True)
class StudyComparison:
    """Both studies, what could be compared, notes on what could not, and the differences over all encodings."""

    a: Study
    b: Study
    rows: list[ComparisonRow]
    notes: list[str]
    overall: dict[str, Difference]  # by measure
    command: str | None  # reproduces the comparison

    @cached_property
    def data(self) -> ComparisonData:
        """The records of compare.json."""
        return ComparisonData(format=FORMAT, rpe=__version__, command=self.command, a=_side(self.a), b=_side(self.b),
                              notes=self.notes, overall=self.overall, rows=self.rows)  # fmt: skip


def _side(study: Study) -> Side:
    return Side(name=study.name, description=study.description, provenance=provenance(study.runs), warnings=study.warnings,
                runs=[str(run.path) for run in one_per_directory(study.runs)])  # fmt: skip


@dataclass(frozen=True)
class Match:
    """One encoding on one task in both studies."""

    tasks: tuple[TaskResults, TaskResults]
    encodings: tuple[EncodingResults, EncodingResults]

    @property
    def title(self) -> str:
        return self.tasks[0].title

    @property
    def own(self) -> bool:
        """Whether it compares runs as both studies trained them: what tests and means over encodings are about."""
        return all(self.encodings[0].label in task.own_labels for task in self.tasks)

    def same_eval_set(self, length: int) -> bool:
        first, second = (
            {str(run.evaluations[length].get("fingerprint")) for run in encoding.evaluated_runs if length in run.evaluations}
            for encoding in self.encodings
        )
        return first == second

    @cached_property
    def extrapolation_lengths(self) -> list[int]:
        """The lengths beyond training that every run of both tasks has, on the same evaluation set."""
        first, second = (paired.extrapolation_lengths(task) for task in self.tasks)
        return [length for length in first if length in second and self.same_eval_set(length)]

    @property
    def scoring(self) -> Scoring:
        return self.tasks[0].scoring

    def values(self, lengths: list[int], measure: Measure) -> tuple[BySeed, BySeed]:
        """Of each study by seed: the measure at one length, or its area over several."""
        first, second = (
            {
                run.config.seed: paired.area_over(run, lengths, measure)
                for run in paired.compared_runs(encoding, lengths)
            }
            for encoding in self.encodings
        )  # fmt: skip
        return first, second


def compare(a: Study, b: Study, command: str | None = None) -> StudyComparison:
    """All that both studies have. Raises ReportError, with every reason, where that is nothing."""
    tasks = [
        (first, second) for first in a.tasks for second in b.tasks
        if (first.name, first.train_length) == (second.name, second.train_length)
    ]  # fmt: skip
    matches = [match for pair in tasks for match in _matches(*pair)]
    rows = _adjusted([row for match in matches for row in _rows(match)])
    different_sets = {(row.heading, row.length) for row in rows if not row.same_eval_set and row.length is not None}
    notes = [*study_notes.only_in_one(a, b, tasks), *study_notes.different_training([match.encodings for match in matches])]
    notes += [*study_notes.different_sets(different_sets), *study_notes.shared_runs(a, b)]
    if not rows:
        raise ReportError("\n".join([f"nothing to compare in {a.name} and {b.name}:", *notes]))
    counted = {task.title for task in counted_tasks(a.tasks)}
    overall = _overall([match for match in matches if match.own and match.title in counted])
    return StudyComparison(a, b, rows, notes, overall, command)


def _matches(first: TaskResults, second: TaskResults) -> list[Match]:
    others = {encoding.label: encoding for encoding in second.encodings if encoding.by_length}
    evaluated = [encoding for encoding in first.encodings if encoding.by_length]
    return [Match((first, second), (own, others[own.label])) for own in evaluated if own.label in others]


def _rows(match: Match) -> list[ComparisonRow]:
    """All measures that are compared at every length that both have, and over all lengths beyond training."""
    first, second = match.encodings
    rows = [_row(match, [length], measure) for length in first.by_length if length in second.by_length
            for measure in match.scoring.compared]  # fmt: skip
    beyond = match.extrapolation_lengths
    if beyond and all(match.values(beyond, match.scoring.shown)):  # runs of this encoding that were evaluated at all of them
        rows += [_row(match, None, measure) for measure in match.scoring.compared]
    return rows


def _row(match: Match, at: list[int] | None, measure: Measure) -> ComparisonRow:
    lengths = at or match.extrapolation_lengths
    a, b = match.values(lengths, measure)
    same = at is None or match.same_eval_set(at[0])
    paired_differences = paired.seed_differences(b, a) if same else []
    mean_a, mean_b = fmean(a.values()), fmean(b.values())
    difference: float | None
    if same and not paired_differences:
        difference, interval = mean_b - mean_a, stats.unpaired_interval([*a.values()], [*b.values()], measure.difference_bounds)
    else:
        difference = fmean(paired_differences) if same else None
        interval = stats.mean_interval([paired_differences], measure.difference_bounds)
    low, high = interval or (None, None)
    task, encoding = match.tasks[0], match.encodings[0]
    return ComparisonRow(
        task=task.name, task_title=task.short_title, training_length=task.train_length, encoding=encoding.label,
        title=encoding.title, group=encoding.group, length=at[0] if at else None, measure=measure.key, a=mean_a, b=mean_b,
        a_seeds=len(a), b_seeds=len(b), difference=difference, low=low, high=high,
        p=stats.sign_flip([paired_differences]) if match.own else None, p_holm=None, pairs=len(paired_differences),
        same_eval_set=same,
    )  # fmt: skip


def _adjusted(rows: list[ComparisonRow]) -> list[ComparisonRow]:
    """Holm over the rows beyond training that could be tested, for each measure."""
    adjusted: dict[int, float] = {}
    for measure in dict.fromkeys(row.measure for row in rows):
        values = {
            number: row.p for number, row in enumerate(rows)
            if row.length is None and row.measure == measure and row.p is not None
        }  # fmt: skip
        adjusted |= dict(zip(values, stats.holm(list(values.values())), strict=True))
    return [row.model_copy(update={"p_holm": adjusted.get(number)}) for number, row in enumerate(rows)]


def _overall(matches: list[Match]) -> dict[str, Difference]:
    """B minus A beyond training by task and seed, mean over encodings: those of one seed share its data, so they count once."""
    overall = {}
    for measure in measures_of(match.scoring for match in matches):
        by_task: dict[str, list[BySeed]] = defaultdict(list)
        for match in matches:
            if measure in match.scoring.compared and (differences := _paired_differences(match, measure)):
                by_task[match.title].append(differences)
        strata = [
            [fmean(differences[seed] for differences in encodings) for seed in paired.shared_seeds(*encodings)]
            for encodings in by_task.values()
        ]
        overall[measure.key] = paired.difference(strata, measure.difference_bounds)
    return {measure: difference for measure, difference in overall.items() if difference}


def _paired_differences(match: Match, measure: Measure) -> BySeed:
    """B minus A of each seed that both have beyond training."""
    if not match.extrapolation_lengths:
        return {}
    a, b = match.values(match.extrapolation_lengths, measure)
    return {seed: b[seed] - a[seed] for seed in paired.shared_seeds(a, b)}

"""Runs to results: one per task and training length, with one entry per encoding over its seeds, and one per group."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any

from rpecli.catalog import GROUPS
from rpecli.config.recipe import label
from rpecli.report import stats
from rpecli.report.load import RunResults, measure_of
from rpecli.report.measures import ACCURACY, SCORINGS, Scoring
from rpecli.report.stats import Summary
from rpecli.titles import display, display_trained

MEASURES = ("exact_match", "exact_match_eos", "token_accuracy", "rescaled_accuracy", "nll", "explained")
Summaries = dict[str, Summary]  # by measure


@dataclass(frozen=True)
class EncodingResults:
    """One encoding on one task, trained with the same settings, over its seeds."""

    label: str
    group: str
    runs: list[RunResults]  # all of them, failed and unfinished ones too, by seed
    by_length: dict[int, Summaries]  # over the runs evaluated at a length
    untrained_share: dict[int, float]  # by length: share of evaluated positions that training never touched, where above 0
    keys: list[str] = field(default_factory=list)  # recipe keys that the encodings of its task do not share

    @cached_property
    def title(self) -> str:
        """The label as people know it: `RoPE (scaling=yarn), randomized positions`, `Learned APE, steps=500`."""
        return display_label(self.runs[0], self.keys, marked=True)

    @cached_property
    def short_title(self) -> str:
        """The title without the mark of an absolute encoding, where a group stands beside it: `Learned`."""
        return display_label(self.runs[0], self.keys)

    @property
    def source(self) -> str:
        """`yours`, or `reference (commit, machine)`."""
        return self.runs[0].source

    @property
    def is_reference(self) -> bool:
        return self.runs[0].is_reference

    @property
    def is_variant(self) -> bool:
        """Whether its runs were measured with another encoding, at other positions or on other data than in training."""
        return self.runs[0].is_variant

    @property
    def evaluated_runs(self) -> list[RunResults]:
        return [run for run in self.runs if run.evaluations]

    @property
    def n_failed(self) -> int:
        return sum(run.failed for run in self.runs)

    @property
    def solved_flags(self) -> list[bool]:
        """Per run of which it is known: whether it learned its training length. Failed runs did not."""
        return [run.solved for run in self.runs if run.solved is not None]

    def effective_length(self, half: bool = False) -> Summary | None:
        return stats.summary(run.effective_length(half) for run in self.evaluated_runs)

    def area(self, measure: str) -> Summary | None:
        return stats.summary(stats.area(run.by_length(measure)) for run in self.evaluated_runs)

    @property
    def scoring(self) -> Scoring:
        return self.runs[0].scoring

    @property
    def steps_to_90(self) -> list[float | None]:
        """Of each trained run that recorded it; None for a run that never reached 90 %."""
        recorded = [run.record.get("steps_to_accuracy") for run in self.runs if run.trained]
        return [steps.get("steps_to_90") for steps in recorded if steps]


@dataclass(frozen=True)
class GroupResults:
    """The encodings of one group on one task: means over encodings of their means over seeds."""

    name: str
    encodings: list[EncodingResults]
    by_length: dict[int, Summaries]

    @property
    def n_runs(self) -> int:
        return sum(len(encoding.evaluated_runs) + encoding.n_failed for encoding in self.encodings)

    @property
    def solved_flags(self) -> list[bool]:
        return [flag for encoding in self.encodings for flag in encoding.solved_flags]


def none_learned(flags: Collection[bool]) -> bool:
    """Whether it is known of runs that none learned its training length."""
    return bool(flags) and not any(flags)


@dataclass(frozen=True)
class TaskResults:
    """One task at one training length."""

    name: str
    train_length: int
    encodings: list[EncodingResults]  # the rows of tables; a run measured in several ways has several
    groups: list[GroupResults]
    lengths: list[int]
    chance: dict[int, float]  # by length: the value of the shown measure that the best guess without the input has
    family: str = "other"
    scoring: Scoring = ACCURACY

    @cached_property
    def short_title(self) -> str:
        """The task as people know it: `Sort (distinct)`."""
        runs = self.encodings[0].runs if self.encodings else []
        own = runs[0].config.task if runs else self.name
        return display("tasks", own if self.name == label(own) else self.name)

    @property
    def title(self) -> str:
        return f"{self.short_title}, trained to {self.train_length}"

    @cached_property
    def titles(self) -> dict[str, str]:
        """The encodings as people know them, by label."""
        return {encoding.label: encoding.title for encoding in self.encodings}

    @cached_property
    def own(self) -> list[EncodingResults]:
        """The encodings that counts, means, ranks and tests are about: as they were trained, each run once."""
        return as_trained(self.encodings)

    @cached_property
    def own_labels(self) -> set[str]:
        return {encoding.label for encoding in self.own}

    @cached_property
    def own_lengths(self) -> list[int]:
        """The lengths at which some run was evaluated as it was trained."""
        return sorted({length for encoding in self.own for length in encoding.by_length})

    def is_unsolved(self, encoding: EncodingResults, length: int) -> bool:
        """Whether a length is the training length, and not every run of an encoding, of these or of the reference, learned it."""
        counts = not encoding.is_variant or encoding.label in self.own_labels
        return length == self.train_length and counts and not all(encoding.solved_flags)

    @property
    def solved_flags(self) -> list[bool]:
        return [flag for encoding in self.own for flag in encoding.solved_flags]


def aggregate(runs: list[RunResults]) -> list[TaskResults]:
    """Sorted by task, then training length."""
    by_task: dict[tuple[str, int], list[RunResults]] = defaultdict(list)
    for run in runs:
        by_task[str(run.record["task"]), run.config.length].append(run)
    return [_task_results(name, train_length, members) for (name, train_length), members in sorted(by_task.items())]


def _task_results(name: str, train_length: int, runs: list[RunResults]) -> TaskResults:
    keys = differing_settings(runs)
    by_label: dict[tuple[int, str], list[RunResults]] = defaultdict(list)
    for run in runs:
        by_label[GROUPS.index(run.record["group"]), label_of(run, keys)].append(run)
    ordered = sorted(by_label.items(), key=lambda item: (item[0][0], natural_key(item[0][1])))
    encodings = [_encoding_results(label, GROUPS[group], members, keys) for (group, label), members in ordered]
    lengths = sorted({length for run in runs for length in run.evaluations})
    first = min(runs, key=lambda run: (str(run.path), run.id))
    chance = {length: value for run in runs for length, value in run.by_length(first.scoring.chance).items()}
    family = str(first.record.get("family", "other"))
    return TaskResults(name, train_length, encodings, groups_of(as_trained(encodings)), lengths, chance, family, first.scoring)


def counted_tasks(tasks: list[TaskResults]) -> list[TaskResults]:
    """Without those that are another task's runs, measured with other options: to count them again would double the seeds."""
    trained = [task for task in tasks if any(not run.other_task for one in task.encodings for run in one.runs)]
    return trained or tasks


def own_tasks(tasks: list[TaskResults]) -> list[TaskResults]:
    """What verdicts and means over encodings are about: the counted tasks, each run as it was trained and once."""
    return [replace(task, encodings=task.own) for task in counted_tasks(tasks)]


def as_trained(encodings: list[EncodingResults]) -> list[EncodingResults]:
    """Without the rows of runs measured with another encoding, or at other positions, than they were trained with.

    Where nothing was measured as it was trained, such as on a data set alone, with the rows of the way that most runs share.
    """
    trained = [encoding for encoding in encodings if not encoding.is_variant]
    if any(encoding.evaluated_runs for encoding in trained):
        return trained
    ways = Counter(run.measured for encoding in encodings for run in encoding.evaluated_runs)
    shared = min(ways, key=lambda way: (bool(way), -ways[way], way), default="")
    return [encoding for encoding in encodings if not encoding.is_variant or encoding.runs[0].measured == shared]


def by_scoring(tasks: Sequence[TaskResults]) -> list[tuple[Scoring, list[TaskResults]]]:
    """The tasks of each scoring that occurs: of more tasks first, accuracy before perplexity."""
    groups = [(scoring, [task for task in tasks if task.scoring is scoring]) for scoring in SCORINGS.values()]
    return sorted((entry for entry in groups if entry[1]), key=lambda entry: -len(entry[1]))


def natural_key(text: str) -> list[tuple[float, str]]:
    """A sort key that puts steps=500 before steps=1000."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", text)
    return [(float(part), "") if part[0].isdigit() else (-1.0, part) for part in parts]


def differing_settings(runs: list[RunResults]) -> list[str]:
    """Recipe keys that these runs do not share. A key that a run does not have (max_position) is not compared with it."""
    every = list(map(_told_apart_by, runs))
    keys = sorted({key for settings in every for key in settings} - {"measured"})  # the label says how a run was evaluated
    return [key for key in keys if len({settings[key] for settings in every if key in settings}) > 1]


def _told_apart_by(run: RunResults) -> dict[str, Any]:
    """The settings of a run; where its learning rate was searched, what was tried in place of what was taken."""
    search = run.record.get("lr_search")
    if not search:
        return run.settings
    rates = "/".join(f"{one['lr']:g}" for one in search["tried"])
    tried = {"lr": f"best of {rates}"}
    return run.settings | tried | {"search_seed": ",".join(map(str, search.get("seeds", [])))}


def label_of(run: RunResults, keys: list[str]) -> str:
    """`rope`, `learned+offset`, `rope steps=500`: the encoding, and what else tells it from the others of its task."""
    positions = "" if run.config.positions == "start" else f"+{run.config.positions}"
    return " ".join([str(run.record["encoding"]) + positions, *_words(run, keys)])


def display_label(run: RunResults, keys: list[str], marked: bool = False) -> str:
    """The label of `label_of` as people know it: `RoPE as NoPE`, `RoPE, steps=500`."""
    measured = re.sub(r"(?<= as )\S+", lambda match: display("encodings", match[0]), str(run.settings.get("measured", "")))
    title = display_trained(run.config.encoding, run.config.positions, marked) + measured
    return ", ".join([title, *_words(run, keys)])


def _words(run: RunResults, keys: list[str]) -> list[str]:
    settings = _told_apart_by(run)
    return [f"{key}={'none' if settings[key] is None else settings[key]}" for key in keys if key in settings]


def _encoding_results(label: str, group: str, runs: list[RunResults], keys: list[str]) -> EncodingResults:
    by_length, untrained_share = {}, {}
    for length in sorted({length for run in runs for length in run.evaluations}):
        lines = [run.evaluations[length] for run in runs if length in run.evaluations]
        summaries = {measure: stats.summary(measure_of(line, measure) for line in lines) for measure in MEASURES}
        if summaries[runs[0].scoring.decides.key]:
            by_length[length] = {measure: summary for measure, summary in summaries.items() if summary}
        share = max(line.get("untrained_positions") or 0 for line in lines)
        if share:
            untrained_share[length] = share
    members = sorted(runs, key=lambda run: (run.config.seed, run.id))
    return EncodingResults(label, group, members, by_length, untrained_share, keys)


def groups_of(encodings: list[EncodingResults]) -> list[GroupResults]:
    """The groups of encodings that are sorted by group."""
    return [_group_results(group, list(members)) for group, members in groupby(encodings, key=lambda entry: entry.group)]


def _group_results(name: str, encodings: list[EncodingResults]) -> GroupResults:
    by_length: dict[int, Summaries] = {}
    for length in sorted({length for encoding in encodings for length in encoding.by_length}):
        cells = [encoding.by_length[length] for encoding in encodings if length in encoding.by_length]
        means = {measure: stats.summary(cell[measure].mean for cell in cells if measure in cell) for measure in MEASURES}
        by_length[length] = {measure: summary for measure, summary in means.items() if summary}
    return GroupResults(name, encodings, by_length)

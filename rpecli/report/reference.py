"""The reference results that ship with rpe: what `rpe run reference` gave, as a background for other runs.

A run of one encoding, or of a user's own, stands among all encodings at once. Reference runs count where they agree with runs of
the report in every recipe key but the encoding, the positions and the seed, and were evaluated on the same sequences. They enter
no test and no mean of a group, unless `--with-reference` asks for it.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, cast

from rpecli.config.recipe import FORMAT, Config, TrainSettings, label
from rpecli.report.aggregate import EncodingResults, TaskResults, aggregate
from rpecli.report.format import format_percent
from rpecli.report.load import RunResults
from rpecli.report.stats import MIN_SEEDS
from rpecli.run.directory import Status
from rpecli.run.records import EvalLine
from rpecli.table import plural
from rpecli.titles import display

FILE = Path(__file__).with_name("reference.jsonl")
FROM_RECORD = ("task", "encoding", "positions", "seed", "group", "family", "commit", "machine", "finished", "parameters",
               "steps_to_accuracy")  # fmt: skip
FROM_EVALUATION = ("length", "n", "exact_match", "exact_match_eos", "token_accuracy", "chance", "nll", "interval", "fingerprint",
                   "eval_seed", "positions", "weights")  # fmt: skip
PER_ENCODING = {"task", "encoding", "positions", "seed", "max_position", "positions_per", "switch_fraction"}
OUTCOMES = ("reproduces", "agrees with", "differs from")
MAX_SENTENCES = 3
EXPECTED = 0.95  # probability that one more seed lies where a run agrees with the reference


@dataclass(frozen=True)
class Background:
    """Reference results beside the tasks of a report, and one sentence for each thing there is to say about them."""

    tasks: list[TaskResults] = field(default_factory=list)  # with the encodings that the report has not
    notes: list[str] = field(default_factory=list)  # reproduced or not; why there is no reference
    matches: list[RunResults] = field(default_factory=list)  # all of it, also of encodings that the report has

    @cached_property
    def compared(self) -> list[TaskResults]:
        """The results of the encodings with the most seeds: of others, a group's mean would depend on which seeds they have."""
        seeds: dict[str, set[int]] = defaultdict(set)
        for run in self.matches:
            seeds[run.record["encoding"]].add(run.config.seed)
        most = max(map(len, seeds.values()), default=0)
        return aggregate([run for run in self.matches if len(seeds[run.record["encoding"]]) == most])


@dataclass(frozen=True)
class Comparison:
    """The token accuracy of one run beside those of the reference's seeds, at one length."""

    encoding: str
    seed: int
    task: str
    length: int
    accuracy: float
    expected: list[float]

    @property
    def outcome(self) -> str:
        """`reproduces` within the range of the seeds, `agrees with` where another seed may lie, else `differs from`."""
        low, high = min(self.expected), max(self.expected)
        reproduces, agrees, differs = OUTCOMES
        if low <= self.accuracy <= high:
            return reproduces
        if (n := len(self.expected)) < MIN_SEEDS:
            return differs
        from scipy.stats import t

        half_width = t.ppf((1 + EXPECTED) / 2, n - 1) * stdev(self.expected) * math.sqrt(1 + 1 / n)
        return agrees if abs(self.accuracy - fmean(self.expected)) <= half_width else differs

    @property
    def numbers(self) -> str:
        low, high = format_percent(min(self.expected)), format_percent(max(self.expected))
        spread = "" if self.outcome == OUTCOMES[0] and low == high else f" ({low if low == high else f'{low} to {high}'})"
        return f"{self.task} at {self.length} {format_percent(self.accuracy)}{spread}"


def reference_line(run: RunResults) -> dict[str, Any]:
    """A run as a line of reference.jsonl."""
    config = run.config
    defaults = {key: field.default for key, field in TrainSettings.model_fields.items()}
    keys = {key: value for key, value in config.model_dump(exclude={"eval"}).items() if value != defaults.get(key)}
    record = {key: run.record.get(key) for key in FROM_RECORD}
    lines = [cast("dict[str, Any]", line) for line in run.evaluations.values()]
    evaluations = [{key: line.get(key) for key in FROM_EVALUATION} for line in lines]
    return {"format": FORMAT, "id": run.id, "keys": keys, "record": record, "evaluations": evaluations}


def read(file: Path = FILE) -> list[RunResults]:
    """The reference runs; none without the file, or where another version of rpe trained them."""
    if not file.exists():
        return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [_run(line) for line in lines if line["format"] == FORMAT]


def _run(line: dict[str, Any]) -> RunResults:
    config = Config.from_keys(**line["keys"])
    record = line["record"]
    source = f"reference ({str(record['commit'])[:8]}, {record['machine']})"
    record |= {"id": line["id"], "status": Status.TRAINED, "task": label(config.task), "encoding": label(config.encoding)}
    evaluations: dict[int, EvalLine] = {evaluation["length"]: evaluation for evaluation in line["evaluations"]}
    by_length = {length: [evaluation] for length, evaluation in evaluations.items()}
    path = Path("reference", line["id"])  # there is no such directory: tables name the run by it
    return RunResults(path, record, config, evaluations, by_length, settings_of(config), source)


def settings_of(config: Config) -> dict[str, Any]:
    """The keys in which a run must agree with a reference run, the training length among them."""
    return {key: value for key, value in config.model_dump(exclude={"eval"}).items() if key not in PER_ENCODING}


def matching(runs: list[RunResults], reference: list[RunResults]) -> tuple[list[RunResults], list[str]]:
    """The reference runs that agree with runs of the report, on the same sequences; and why tasks have none."""
    by_task: dict[str, list[RunResults]] = defaultdict(list)
    for run in reference:
        by_task[str(run.record["task"])].append(run)
    shared: dict[str, set[int]] = defaultdict(set)  # by the id of a reference run: lengths evaluated on the same sequences
    differing: dict[str, dict[str, str]] = defaultdict(dict)  # key: task: the value of the reference
    for run in runs:
        others, settings = by_task[str(run.record["task"])], settings_of(run.config)
        agreeing = [other for other in others if other.settings == settings]
        for other in agreeing:
            shared[other.id] |= _lengths_on_the_same_sequences(other, run)
        if others and not agreeing:
            key, value = _difference(settings, others[0].settings)
            differing[f"{key}={settings[key]}"][run.config.task] = value
    notes = [
        f"No reference results with {setting} for "
        + ", ".join(f"{display('tasks', task)} (only {value})" for task, value in tasks.items())
        + "."
        for setting, tasks in differing.items()
    ]
    return [_at(run, shared[run.id]) for run in reference if shared.get(run.id)], notes


def _lengths_on_the_same_sequences(reference: RunResults, run: RunResults) -> set[int]:
    sets = {length: line.get("fingerprint") for length, line in run.evaluations.items()}
    return {length for length, line in reference.evaluations.items() if sets.get(length) == line["fingerprint"]}


def _at(run: RunResults, lengths: set[int]) -> RunResults:
    """A run with the evaluations at some lengths alone."""
    lines = {length: line for length, line in run.evaluations.items() if length in lengths}
    return replace(run, evaluations=lines, all_evaluations={length: [line] for length, line in lines.items()})


def _difference(own: dict[str, Any], reference: dict[str, Any]) -> tuple[str, str]:
    """The first key in which settings differ from those of the reference, and its value there; the training length first."""
    key = next(key for key in ("length", *own) if own[key] != reference[key])
    return key, str(reference[key])


def background(tasks: list[TaskResults], runs: list[RunResults], reference: list[RunResults]) -> Background:
    """The reference results of encodings that the report has not, and how those that it has compare with them."""
    matches, missing = matching(runs, reference)
    own = {task.title: task for task in tasks}
    comparisons, others = list[Comparison](), list[RunResults]()
    for task in aggregate(matches):
        for entry in task.encodings if task.title in own else []:  # a file of the user's may have the name of a task
            same = [one for one in own[task.title].encodings if _is_trained_alike(one.runs[0], entry.runs[0])]
            others += [] if same else entry.runs
            comparisons += [comparison for one in same for comparison in _comparisons(own[task.title], one, entry)]
    return Background(aggregate(others), _sentences(comparisons) + missing, matches)


def _is_trained_alike(run: RunResults, reference: RunResults) -> bool:
    """Whether both have one encoding, positions and settings, whatever else its label tells the run's encoding from."""
    names = [(one.record["encoding"], one.config.positions) for one in (run, reference)]
    return names[0] == names[1] and settings_of(run.config) == reference.settings


def _comparisons(task: TaskResults, entry: EncodingResults, reference: EncodingResults) -> Iterator[Comparison]:
    """A user's runs of a reference encoding beside it, at the first length beyond training."""
    length = next((n for n in sorted(reference.by_length) if n > task.train_length and n in entry.by_length), None)
    if length is None:
        return
    expected = [run.by_length("token_accuracy")[length] for run in reference.runs]
    for run in entry.runs:
        if length in (accuracy := run.by_length("token_accuracy")):
            value = accuracy[length]
            yield Comparison(entry.short_title, run.config.seed, task.short_title, length, value, expected)


def _sentences(comparisons: list[Comparison]) -> list[str]:
    """One sentence per encoding, seed and outcome; of many, how often each outcome is, and sentences of those that differ."""
    by_subject: dict[tuple[str, int, str], list[Comparison]] = defaultdict(list)
    for one in comparisons:
        by_subject[one.encoding, one.seed, one.outcome].append(one)
    sentences = {
        subject: f"Your {subject[0]}, seed {subject[1]}, {subject[2]} the reference: {'; '.join(one.numbers for one in members)}."
        for subject, members in by_subject.items()
    }
    if len(sentences) <= MAX_SENTENCES:
        return list(sentences.values())
    outcomes = Counter(one.outcome for one in comparisons)
    plurals = dict(zip(OUTCOMES, ("reproduce it", "agree with it", "differ from it"), strict=True))
    counts = ", ".join(f"{outcomes[outcome]} {words}" for outcome, words in plurals.items() if outcomes[outcome])
    differing = [sentence for (_, _, outcome), sentence in sentences.items() if outcome == OUTCOMES[-1]]
    return [f"Of {plural(len(comparisons), 'run')} beside the reference, {counts}.", *differing[:MAX_SENTENCES]]

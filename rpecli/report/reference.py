"""The reference results that ship with rpe: what `rpe run reference` gave, as a background for other runs.

A run of one encoding, or of a user's own, stands among all encodings at once. Reference runs count where they agree with runs of
the report in every recipe key but the encoding, the positions and the seed, and were evaluated on the same sequences. They enter
no test and no mean of a group, unless `--with-reference` asks for it.
"""

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, cast

from rpecli.config.recipe import FORMAT, Config, TrainSettings, label
from rpecli.report.aggregate import EncodingResults, TaskResults, aggregate
from rpecli.report.format import format_percent, plural
from rpecli.report.load import RunResults
from rpecli.run.directory import Status
from rpecli.run.records import EvalLine

FILE = Path(__file__).with_name("reference.jsonl")
FROM_RECORD = ("task", "encoding", "positions", "seed", "group", "family", "commit", "machine", "finished", "parameters",
               "steps_to_accuracy")  # fmt: skip
FROM_EVALUATION = ("length", "n", "exact_match", "exact_match_eos", "token_accuracy", "chance", "nll", "interval", "fingerprint",
                   "eval_seed", "positions", "weights")  # fmt: skip
PER_ENCODING = {"task", "encoding", "positions", "seed", "max_position", "positions_per", "switch_fraction"}
MAX_KEYS = 2  # named in a note
EXPECTED = 0.95  # probability that another seed lies within the interval in which a run counts as consistent


@dataclass(frozen=True)
class Background:
    """Reference results beside the tasks of a report, and one sentence for each thing there is to say about them."""

    tasks: list[TaskResults] = field(default_factory=list)  # with the encodings that the report has not
    notes: list[str] = field(default_factory=list)  # reproduced or not; why there is no reference


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
    return RunResults(FILE, record, config, evaluations, by_length, settings_of(config), source)


def settings_of(config: Config) -> dict[str, Any]:
    """The keys in which a run must agree with a reference run, the training length among them."""
    return {key: value for key, value in config.model_dump(exclude={"eval"}).items() if key not in PER_ENCODING}


def matching(runs: list[RunResults], reference: list[RunResults]) -> tuple[list[RunResults], list[str]]:
    """The reference runs that agree with runs of the report, on the same sequences; and why a task has none."""
    by_task: dict[str, list[RunResults]] = defaultdict(list)
    for run in reference:
        by_task[str(run.record["task"])].append(run)
    matches: dict[str, RunResults] = {}
    missing: dict[str, None] = {}
    for run in runs:
        candidates = by_task.get(str(run.record["task"]), [])
        agreeing = [other for other in candidates if settings_of(other.config) == settings_of(run.config)]
        for other in agreeing:
            matches[other.id] = _on_the_same_sequences(other, run)
        if candidates and not agreeing:
            missing[_difference(run, candidates[0])] = None
    return [run for run in matches.values() if run.evaluations], list(missing)


def _on_the_same_sequences(reference: RunResults, run: RunResults) -> RunResults:
    sets = {length: line.get("fingerprint") for length, line in run.evaluations.items()}
    lines = {length: line for length, line in reference.evaluations.items() if sets.get(length) == line["fingerprint"]}
    by_length = {length: [line] for length, line in lines.items()}
    return RunResults(reference.path, reference.record, reference.config, lines, by_length, reference.settings, reference.source)


def _difference(run: RunResults, reference: RunResults) -> str:
    """Which key keeps a run from being compared with the reference."""
    own, other = settings_of(run.config), settings_of(reference.config)
    differing = [f"{key}={own[key]} (reference: {other[key]})" for key in own if own[key] != other[key]]
    rest = f" and {plural(len(differing) - MAX_KEYS, 'other key')}" if len(differing) > MAX_KEYS else ""
    return f"No reference results for {run.record['task']} with {', '.join(differing[:MAX_KEYS])}{rest}."


def background(tasks: list[TaskResults], runs: list[RunResults], reference: list[RunResults]) -> Background:
    """The reference results of encodings that the report has not, and how those that it has compare with them."""
    matches, missing = matching(runs, reference)
    own = {task.title: task for task in tasks}
    notes, others = [], list[RunResults]()
    for task in aggregate(matches):
        for entry in task.encodings:
            same = next((one for one in own[task.title].encodings if one.label == entry.label), None)
            if same is None:
                others += entry.runs
            elif sentence := _reproduced(own[task.title], same, entry):
                notes.append(sentence)
    return Background(aggregate(others), notes + missing)


def _reproduced(task: TaskResults, entry: EncodingResults, reference: EncodingResults) -> str | None:
    """Whether a user's runs of a reference encoding lie where the reference says, at the first length beyond training."""
    length = next((n for n in sorted(reference.by_length) if n > task.train_length and n in entry.by_length), None)
    if length is None:
        return None
    expected = [run.by_length("token_accuracy")[length] for run in reference.runs]
    low, high = min(expected), max(expected)
    sentences = []
    for run in entry.runs:
        if length in (accuracy := run.by_length("token_accuracy")):
            outcome = _outcome(accuracy[length], expected)
            sentences.append(f"seed {run.config.seed}: {format_percent(accuracy[length])}, {outcome}")
    seen = format_percent(low) if low == high else f"{format_percent(low)} to {format_percent(high)}"
    return f"{task.short_title}, {entry.title} at {length} (reference {seen}): {'; '.join(sentences)}." if sentences else None


def _outcome(value: float, expected: list[float]) -> str:
    if min(expected) <= value <= max(expected):
        return "reproduced"
    if len(expected) < 3:
        return "not in it"
    from scipy.stats import t

    n = len(expected)
    half_width = t.ppf((1 + EXPECTED) / 2, n - 1) * stdev(expected) * math.sqrt(1 + 1 / n)
    return "consistent with it" if abs(value - fmean(expected)) <= half_width else "different from it"

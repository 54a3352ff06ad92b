"""What `rpe inspect` measured of the runs of a report, restricted to the weights and evaluation sets that the report is about."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

from rpecli.report.aggregate import TaskResults
from rpecli.report.load import RunResults
from rpecli.run.records import PROBES, AttentionLine, LayerSimilarity, eval_identity_of

INSPECTION, SIMILARITY, *_ = PROBES


class InspectedRun(AttentionLine):
    """The inspection of a run, with the names that tables and figures give it."""

    run: str  # name of its directory
    task: str  # with its options
    encoding: str  # with its options
    label: str
    title: str  # the label as people know it
    group: str
    seed: int


class SimilarityPair(TypedDict):
    """How alike two runs attend."""

    runs: list[str]  # names of the two directories
    labels: list[str]
    encoding_overrides: list[str | None]
    task: str
    layers: list[LayerSimilarity]


@dataclass(frozen=True)
class TaskProbes:
    """The inspections of one task's runs, one per run, and the similarities of pairs of its runs."""

    task: TaskResults
    runs: list[InspectedRun]
    pairs: list[SimilarityPair]

    @cached_property
    def factors(self) -> list[float]:
        """The inspected lengths from the training length on, as multiples of it."""
        trained = self.task.train_length
        return sorted({line["length"] / trained for run in self.runs for line in run["lengths"] if line["length"] >= trained})

    def runs_of(self, label: str) -> list[InspectedRun]:
        """The inspected runs of one encoding."""
        return [run for run in self.runs if run["label"] == label]

    @property
    def labels(self) -> list[str]:
        """The inspected encodings, in the order of the tables."""
        return [encoding.label for encoding in self.task.encodings if self.runs_of(encoding.label)]

    def group_of(self, label: str) -> str:
        return next(encoding.group for encoding in self.task.encodings if encoding.label == label)


def probe_lines(run: RunResults, *probes: str) -> list[Any]:
    """The lines of some probes that match the run's evaluations in weights, settings and evaluation sets; oldest first."""
    return _matching(run, run.probes, *probes)


def _matching(run: RunResults, lines: list[Any], *probes: str) -> list[Any]:
    identities = {eval_identity_of(line) for line in run.evaluations.values()}
    lines = [line for line in lines if line.get("probe") in probes]
    return [line for line in lines if eval_identity_of(line) in identities and _same_sets(run, line)]


def _same_sets(run: RunResults, line: Any) -> bool:
    """Whether the probe used the run's evaluation set at every length that both have, and at one length at least."""
    used = line["fingerprints"] if "fingerprints" in line else {str(line.get("length")): line.get("fingerprint")}
    own = {str(length): evaluation.get("fingerprint") for length, evaluation in run.evaluations.items()}
    matches = [own[length] == fingerprint for length, fingerprint in used.items() if length in own]
    return bool(matches) and all(matches)


def load_probes(tasks: list[TaskResults]) -> dict[str, TaskProbes]:
    """`{task.title: TaskProbes}` of the tasks that have an inspected run."""
    probes = {task.title: _task_probes(task) for task in tasks}
    return {title: task_probes for title, task_probes in probes.items() if task_probes.runs}


def _task_probes(task: TaskResults) -> TaskProbes:
    members = [(encoding, run) for encoding in task.encodings for run in encoding.evaluated_runs]
    inspected: list[InspectedRun] = []
    for encoding, run in members:
        if lines := probe_lines(run, INSPECTION):
            names = {"run": run.path.name, "task": str(run.record["task"]), "label": encoding.label}
            names |= {"encoding": str(run.record["encoding"])}
            names |= {"title": encoding.title, "group": encoding.group}
            if not any(other["label"] == encoding.label for other in inspected):
                lines = _matching(run, run.pictured_probes(), INSPECTION) or lines  # drawn of one run of an encoding alone
            inspected.append(lines[-1] | names | {"seed": run.config.seed})
    labels = {
        (run.path.name, eval_identity_of(line)): encoding.label for encoding, run in members for line in run.evaluations.values()
    }
    pairs: dict[Any, SimilarityPair] = {}
    for encoding, run in members:
        for line in probe_lines(run, SIMILARITY):
            other = line["other"]["run"], eval_identity_of(line["other"])
            if other in labels:
                pairs[run.path.name, eval_identity_of(line), other] = {
                    "runs": [run.path.name, other[0]], "labels": [encoding.label, labels[other]], "task": task.title,
                    "encoding_overrides": [side["encoding_override"] for side in (line, line["other"])],
                    "layers": line["layers"]}  # fmt: skip
    return TaskProbes(task, inspected, list(pairs.values()))

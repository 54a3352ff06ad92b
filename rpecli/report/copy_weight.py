"""Why an encoding holds or fails: how much weight the head that copies keeps at lengths beyond training.

A head that attends a fixed distance back, or n tokens back where the problem has n, is what a model copies with. Of each run the
strongest such head at the training length counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from rpecli.report import stats
from rpecli.report.format import format_factor, format_percent
from rpecli.report.load_probes import InspectedRun, TaskProbes
from rpecli.report.stats import Summary
from rpecli.run.records import PatternedHead, strongest_head

FARTHEST = 4  # times the training length, in the sentence
ENOUGH = 2  # encodings with such a head, for a comparison


@dataclass(frozen=True)
class CopyWeight:
    """One task: by encoding, the weight of the strongest head at each length, over runs."""

    task: str
    train_length: int
    back: str  # where such heads attend
    points: dict[str, dict[int, Summary]]  # by label
    titles: dict[str, str]

    @property
    def last(self) -> int:
        """The length that the sentence ends at."""
        lengths = {length for points in self.points.values() for length in points}
        within = [length for length in lengths if length <= FARTHEST * self.train_length]
        return max(within, default=self.train_length)

    @property
    def sentence(self) -> str:
        """`On Copy, the strongest head ... from 1x to 4x: ALiBi 93 % to 74 %, ...`, the highest at the end first."""
        ends = {label: (points[self.train_length].mean, points[self.last].mean) for label, points in self.points.items()
                if self.train_length in points and self.last in points}  # fmt: skip
        words = [f"{self.titles[label]} {format_percent(start)} to {format_percent(end)}"
                 for label, (start, end) in sorted(ends.items(), key=lambda item: -item[1][1])]  # fmt: skip
        return (
            f"On {self.task}, the strongest head that attends {self.back} gives that token this share of its attention, from 1x "
            f"to {format_factor(self.last, self.train_length)}: {', '.join(words)}."
        )


def copy_weight(probes: Iterable[TaskProbes]) -> CopyWeight | None:
    """The task with most encodings that have such heads; of heads that attend n back where there are any."""
    weights = [_of_task(task, copying) for task in probes for copying in (True, False)]
    weights = [weight for weight in weights if len(weight.points) >= ENOUGH]
    return max(weights, key=lambda weight: (weight.back == BACK[True], len(weight.points)), default=None)


BACK = {True: "n tokens back (n: the length of the problem)", False: "a fixed number of tokens back"}


def _of_task(probes: TaskProbes, copying: bool) -> CopyWeight:
    points = {}
    for label in (label for label in probes.labels if label in probes.task.own_labels):
        heads = [head for run in probes.runs_of(label) if (head := strongest(run, copying))]
        lengths = sorted({int(length) for head in heads for length in head["share"]})
        summaries = {length: stats.summary(head["share"].get(str(length)) for head in heads) for length in lengths}
        if heads:
            points[label] = {length: summary for length, summary in summaries.items() if summary}
    task = probes.task
    return CopyWeight(task.short_title, task.train_length, BACK[copying], points, task.titles)


def strongest(run: InspectedRun, copying: bool) -> PatternedHead | None:
    """The head of a run with most weight at the training length, of those that attend n back or a fixed distance back."""
    trained = str(run["train_length"])
    heads = [head for head in run["patterned_heads"]
             if head["family"] == "distance" and (head["growth"] > 0) == copying and trained in head["share"]]  # fmt: skip
    return strongest_head(heads, run["train_length"])

"""Results on a grid of two sizes, such as the digits of two operands: one grid per encoding, over its seeds."""

from collections import Counter
from dataclasses import dataclass

from rpecli.report import stats
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.stats import Summary
from rpecli.run.records import EvalLine, GridCell

Sizes = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """Exact match of one encoding by pairs of sizes."""

    label: str
    title: str
    names: tuple[str, str]  # what the sizes count
    trained: Sizes  # the greatest sizes of training
    cells: dict[Sizes, Summary]

    @property
    def first(self) -> list[int]:
        return sorted({first for first, _ in self.cells})

    @property
    def second(self) -> list[int]:
        return sorted({second for _, second in self.cells})

    def is_trained(self, sizes: Sizes) -> bool:
        return sizes[0] <= self.trained[0] and sizes[1] <= self.trained[1]


def grids(task: TaskResults) -> list[Grid]:
    """The grids of a task's encodings, in their order; of several evaluation sets of a cell, the one that most runs have."""
    fingerprints: dict[Sizes, Counter[str]] = {}
    for encoding in task.encodings:
        for run in encoding.runs:
            for sizes, line in run.grid.items():
                fingerprints.setdefault(sizes, Counter())[line["fingerprint"]] += 1
    shared = {sizes: counter.most_common(1)[0][0] for sizes, counter in fingerprints.items()}
    return [grid for encoding in task.encodings if (grid := _grid(encoding, shared))]


def _grid(encoding: EncodingResults, shared: dict[Sizes, str]) -> Grid | None:
    lines: dict[Sizes, list[EvalLine]] = {}
    for run in encoding.runs:
        for sizes, line in run.grid.items():
            if line["fingerprint"] == shared[sizes]:
                lines.setdefault(sizes, []).append(line)
    if not lines:
        return None
    summaries = {sizes: stats.summary(line["exact_match"] for line in lines[sizes]) for sizes in sorted(lines)}
    cell: GridCell = next(iter(lines.values()))[0]["grid"]
    (one, other), (first, second) = cell["names"], cell["trained"]
    cells = {sizes: summary for sizes, summary in summaries.items() if summary}
    return Grid(encoding.label, encoding.title, (one, other), (first, second), cells)

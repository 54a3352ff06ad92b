"""Reports of many tasks: suites and families of tasks by encoding, and one line per task."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from rpecli.choice import canonical
from rpecli.config import suites
from rpecli.report import paired, stats
from rpecli.report.aggregate import EncodingResults, TaskResults, own_tasks
from rpecli.report.measures import ACCURACY, TOKENS
from rpecli.report.overview import UNSOLVED, Block, Blocks, Row, entries, means_beyond, ordered
from rpecli.report.records import SuiteRow
from rpecli.table import MISSING, Table, plural, whole_percent

MANY = 6  # tasks that can be shown side by side
YES_NO = {True: "yes", False: "no"}
MEASURES = {  # columns of a block, and what they hold
    "right": "tokens right, %",
    "solved": "tasks solved",
    "held": "tasks held",
}
SHORT = (
    "Right: per cent of tokens beyond training. Solved: tasks whose training length most runs learned. Held: tasks with "
    f"{100 * stats.EFFECTIVE:.0f} % of strings right up to the longest length."
)
CAPTION = (
    "Tokens right: mean over tasks, seeds and log2 length beyond training. Solved: tasks whose training length most runs "
    f"learned (exact match of at least {100 * stats.SOLVED:.0f} %). Held: tasks on which most runs have an exact match of at "
    f"least {100 * stats.EFFECTIVE:.0f} % at every length up to the longest."
)


@dataclass(frozen=True)
class Collection:
    """A suite, a family, or all tasks."""

    kind: str
    name: str
    tasks: list[TaskResults]

    @property
    def title(self) -> str:
        """`suite crasp (8 tasks)`, `copying (2 tasks)`."""
        name = {"suite": f"suite {self.name}", "all": "all"}.get(self.kind, self.name)
        return f"{name} ({plural(len(self.tasks), 'task')})"


@dataclass(frozen=True)
class SuiteBlocks(Blocks):
    """One block per collection, for a terminal."""

    @property
    def notes(self) -> list[str]:
        return [SHORT]


class Suites:
    """The collections of a report, and their numbers by trained encoding; false where there are few tasks and no suite."""

    def __init__(self, tasks: Sequence[TaskResults]):
        right = [task for task in own_tasks(list(tasks)) if task.scoring is ACCURACY]
        self.tasks = [task for task in right if any(encoding.by_length for encoding in task.encodings)]
        covered = [name for name in suites.names() if set(suites.tasks(name)) <= {choice_of(task) for task in self.tasks}]
        self.covered = covered if len(self.tasks) > 1 else []

    def __bool__(self) -> bool:
        return bool(self.covered) or len(self.tasks) > MANY

    @cached_property
    def collections(self) -> list[Collection]:
        """Suites that the report covers, families, and all tasks; each set of tasks once."""
        families = {name: members for name, members in paired.families(self.tasks).items() if name != paired.ALL_TASKS}
        every = [
            *(Collection("suite", name, [t for t in self.tasks if choice_of(t) in suites.tasks(name)]) for name in self.covered),
            *(Collection("family", name, members) for name, members in families.items()),
            Collection("all", paired.ALL_TASKS, self.tasks),
        ]
        unique = {frozenset(task.title for task in one.tasks): one for one in reversed(every)}  # of equals, the first one
        return [one for one in every if one in unique.values()]

    @cached_property
    def order(self) -> list[Row]:
        """The encodings, the best first."""
        return ordered(means_beyond(entries(self.tasks, [])))

    @cached_property
    def rows(self) -> list[SuiteRow]:
        """One row per collection and encoding."""
        return [
            row
            for collection in self.collections
            for encoding in self.order
            if (row := _suite_row(collection, encoding)) is not None
        ]

    def _rows_of(self, collection: Collection) -> list[SuiteRow]:
        return [row for row in self.rows if (row.kind, row.name) == (collection.kind, collection.name)]

    def blocks(self) -> SuiteBlocks:
        """For a terminal, which has no room for all: suites first, then the families of most tasks."""
        blocks = []
        for collection in sorted(self.collections, key=lambda one: (one.kind != "suite", -len(one.tasks))):
            cells = {_key(row): _cells(row) for row in self._rows_of(collection)}
            blocks.append(Block(collection.title, list(MEASURES), cells))
        return SuiteBlocks(["encoding", "group"], self.order, blocks)

    @cached_property
    def tables(self) -> list[Table]:
        """Suites and families by encoding, and tasks by encoding."""
        return [self._by_suite(), self._by_task()] if self else []

    def _by_suite(self) -> Table:
        """Three lines per collection: tokens right, tasks solved, tasks held."""
        lines, bold = [], []
        for collection in self.collections:
            own = {_key(row): _cells(row) for row in self._rows_of(collection)}
            for column, measure in enumerate(MEASURES.values()):
                cells = [own[key][column] if key in own else MISSING for key in self.order]
                lines.append([collection.title, measure, *cells])
                bold.append([False, False, *_best(cells)])
        columns = ["suite or family", "measure", *(row[0] for row in self.order)]
        return Table("Suites and families", columns, "ll" + "r" * len(self.order), lines, bold, CAPTION)

    def _by_task(self) -> Table:
        """One line per task, those of a family together."""
        predicted = {task.title: suites.expressible(choice_of(task)) for task in self.tasks}
        lines, bold = [], []
        for task in sorted(self.tasks, key=lambda task: task.family):
            cells = [_task_cell(task, row) for row in self.order]
            prediction = predicted[task.title]
            words = MISSING if prediction is None else " / ".join(map(YES_NO.__getitem__, prediction))
            names = [task.family, task.short_title, str(task.train_length)]
            lines.append([*names, *([words] if any(predicted.values()) else []), *cells])
            bold.append([False] * (len(lines[-1]) - len(cells)) + _best([cell.rstrip(UNSOLVED) for cell in cells]))
        caption = (
            f"Tokens right, in per cent, mean over seeds and log2 length beyond training. {UNSOLVED} Not every run learned it."
        )
        names = ["family", "task", "trained to"]
        if any(predicted.values()):
            names.append("C-RASP")
            caption += (
                " C-RASP: whether a program of that language solves the task with absolute positions / with none, which predicts "
                "that transformers generalize to longer strings (Huang et al. 2025)."
            )
        columns = [*names, *(row[0] for row in self.order)]
        return Table("Tasks by family", columns, "llr" + "l" * (len(names) - 3) + "r" * len(self.order), lines, bold, caption)


def choice_of(task: TaskResults) -> str:
    """The canonical choice of a task."""
    return canonical(task.encodings[0].runs[0].config.task)


def _key(row: SuiteRow) -> Row:
    return row.title, row.group, "yours"


def _cells(row: SuiteRow) -> list[str]:
    """In the order of MEASURES."""
    return [whole_percent(row.token_accuracy), str(row.solved), str(row.held)]


def _suite_row(collection: Collection, key: Row) -> SuiteRow | None:
    """The numbers of one encoding on the tasks of a collection that it was run on; None without any."""
    own = [
        (task, encoding) for task in collection.tasks for encoding in task.encodings
        if (encoding.short_title, encoding.group) == key[:2] and encoding.evaluated_runs
    ]  # fmt: skip
    if not own:
        return None
    accuracies = [value for task, encoding in own if (value := _accuracy_beyond(task, encoding)) is not None]
    return SuiteRow(
        kind=collection.kind, name=collection.name, encoding=own[0][1].label, title=key[0], group=key[1], tasks=len(own),
        token_accuracy=fmean(accuracies) if accuracies else None,
        solved=sum(_most(encoding.solved_flags) for _, encoding in own),
        held=sum(_most(_held(task, encoding)) for task, encoding in own),
    )  # fmt: skip


def _accuracy_beyond(task: TaskResults, encoding: EncodingResults) -> float | None:
    """Token accuracy over log2 length beyond training, mean over seeds; None where no longer length was measured."""
    by_seed = paired.scores(task, TOKENS).get(encoding.label)
    return fmean(by_seed.values()) if by_seed else None


def _held(task: TaskResults, encoding: EncodingResults) -> list[bool]:
    """Per run: whether exact match is high at every length up to the longest, which is beyond training."""
    longest = task.own_lengths[-1]
    return [longest > task.train_length and run.effective_length() == longest for run in encoding.evaluated_runs]


def _most(flags: Iterable[bool]) -> bool:
    counted = list(flags)
    return 2 * sum(counted) > len(counted)


def _task_cell(task: TaskResults, key: Row) -> str:
    own = next((one for one in task.encodings if (one.short_title, one.group) == key[:2] and one.evaluated_runs), None)
    if own is None:
        return MISSING
    return whole_percent(_accuracy_beyond(task, own)) + UNSOLVED * (not all(own.solved_flags))


def _best(cells: list[str]) -> list[bool]:
    """Which cells hold the highest number; none where all are equal."""
    numbers = [float(cell) if cell != MISSING else None for cell in cells]
    known = [number for number in numbers if number is not None]
    return [len(set(known)) > 1 and number == max(known) for number in numbers]

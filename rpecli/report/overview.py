"""The overview of a report: encodings by length in whole per cent or perplexity, a block per task, the best rows first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

from rpecli.report import stats
from rpecli.report.aggregate import EncodingResults, TaskResults, by_scoring, counted_tasks
from rpecli.report.load import YOURS
from rpecli.report.measures import ACCURACY, EXACT, TOKENS, Measure
from rpecli.table import MISSING, Table, plural, whole_percent

REFERENCE = "reference"  # the source of a row that is not yours
MAX_ROWS, MIN_REFERENCE = 5, 2  # encodings in a terminal where reference results stand behind yours
MAX_LENGTHS = 6  # of more, doublings of the training length are shown, and of those the first and the last
EXACT_COLUMN = "EM"
USEFUL = 0.05  # by which exact match differs from token accuracy, and from 0, where it is shown
UNSOLVED, FEWER = "*", "†"
MARKS = UNSOLVED + FEWER  # that stand behind a number
CHANCE = ("chance", "", "")
Row = tuple[str, str, str]  # encoding, group, source


@dataclass(frozen=True)
class Block:
    """Cells of each row below some headings, and a title above these."""

    title: str
    columns: list[str]
    cells: dict[Row, list[str]]


@dataclass(frozen=True)
class TaskBlock(Block):
    """One task: its lengths, and exact match in a last column where that says more."""

    task: TaskResults
    lengths: list[int]


@dataclass(frozen=True)
class Blocks:
    """Blocks that share their rows."""

    keys: list[str]  # headings of the columns that name a row
    rows: list[Row]
    blocks: Sequence[Block]

    @property
    def notes(self) -> list[str]:
        """What the cells are, and what their marks mean."""
        raise NotImplementedError

    def name_cells(self, row: Row) -> list[str]:
        return list(row[: len(self.keys)])


@dataclass(frozen=True)
class Overview(Blocks):
    """One block per task."""

    blocks: list[TaskBlock]
    training_length: int | None  # of all tasks; None where they differ, and every title says its own
    hidden: int = 0  # reference encodings that are left out
    more_lengths: bool = False  # whether evaluated lengths are left out

    @property
    def title(self) -> str:
        return " and ".join(scoring.title for scoring, _ in by_scoring([block.task for block in self.blocks])).capitalize()

    @property
    def notes(self) -> list[str]:
        unlearned = self._unlearned()
        exact = any(EXACT_COLUMN in block.columns for block in self.blocks)
        return [
            note
            for note, holds in {
                f"Trained on lengths up to {self.training_length}.": self.training_length is not None,
                **dict.fromkeys(self._legends(), True),
                f"{EXACT_COLUMN}: exact match at the first length beyond training.": exact,
                f"{UNSOLVED} Not learned by every run ({' or '.join(unlearned)}).": bool(unlearned),
                f"{FEWER} Mean of fewer seeds than others of its row: not every run was evaluated there.": self._has_fewer(),
                "Unmarked rows: reference.": len(self.keys) == 2 and any(row[2] == REFERENCE for row in self.rows),
                f"{plural(self.hidden, 'more encoding')} on the page.": self.hidden > 0,
                "More lengths: --tables.": self.more_lengths,
            }.items()
            if holds
        ]

    def _legends(self) -> list[str]:
        """What the cells are; with several scorings, of which tasks."""
        (first, _), *others = by_scoring([block.task for block in self.blocks]) or [(ACCURACY, [])]
        names = [", ".join(dict.fromkeys(task.short_title for task in members)) for _, members in others]
        legends = [scoring.legend[0].lower() + scoring.legend[1:] for scoring, _ in others]
        return [first.legend, *(f"{name}: {legend}" for name, legend in zip(names, legends, strict=True))]

    def _unlearned(self) -> list[str]:
        """What it means not to have learned, of the tasks in which a cell is marked."""
        words: dict[str, None] = {}
        for block in self.blocks:
            if any(cell.endswith(UNSOLVED) for row in self.rows for cell in block.cells.get(row, [])):
                words[block.task.scoring.unlearned] = None
        return list(words)

    def _has_fewer(self) -> bool:
        return any(FEWER in cell for block in self.blocks for row in self.rows for cell in block.cells.get(row, []))

    def tables(self) -> list[Table]:
        """One table per task, with chance as its foot."""
        return [self._table(block) for block in self.blocks]

    def _table(self, block: TaskBlock) -> Table:
        rows = [[*self.name_cells(row), *block.cells[row]] for row in self.rows if row in block.cells]
        align = "l" * len(self.keys) + "r" * len(block.columns)
        return Table(block.title, [*self.keys, *block.columns], align, rows, foot=1)


def overview(tasks: Sequence[TaskResults], reference: Sequence[TaskResults] = ()) -> Overview:
    """The overview of these results; with `reference`, of its encodings too, and with a column that tells them apart."""
    all_entries = entries(tasks, reference)
    shown = {(task.name, task.train_length): task for task in (*reference, *tasks)}
    blocks = [
        _block(task, [entry for entry in all_entries if (entry.task.name, entry.task.train_length) == key])
        for key, task in shown.items()
    ]
    blocks = [block for block in blocks if block.lengths]  # no run of the others is evaluated
    lengths = {block.task.train_length for block in blocks}
    if len(lengths) == 1:
        blocks = [replace(block, title=block.task.short_title) for block in blocks]
    keys = ["encoding", "group", *(["source"] if reference else [])]
    rows = [*ordered(means_beyond(all_entries)), CHANCE]
    shown_lengths = {(block.task.name, length) for block in blocks for length in block.lengths}
    every = {(entry.task.name, length) for entry in all_entries for length in entry.encoding.by_length}
    training_length = lengths.pop() if len(lengths) == 1 else None
    return Overview(keys, rows, blocks, training_length, more_lengths=not every <= shown_lengths)


def brief(whole: Overview) -> Overview:
    """The overview without a column of sources: yours are marked, and of reference rows those remain that MAX_ROWS allow."""
    own = [row for row in whole.rows if row[2] == YOURS]
    others = [row for row in whole.rows if row[2] == REFERENCE]
    if not others:
        return whole
    firsts = [row for group in ("RPE", "APE", "none") for row in [row for row in others if row[1] == group][:1]]
    shown = list(dict.fromkeys([*firsts, *others]))[: max(MAX_ROWS - len(own), MIN_REFERENCE)]
    names = {row: (f"{row[0]} ({YOURS})", *row[1:]) if row in own else row for row in whole.rows}
    rows = [row for row in whole.rows if row not in others or row in shown]
    blocks = [
        replace(block, cells={names[row]: cells for row, cells in block.cells.items() if row in rows}) for block in whole.blocks
    ]
    return replace(whole, keys=whole.keys[:2], rows=[names[row] for row in rows], blocks=blocks, hidden=len(others) - len(shown))


class Entry(NamedTuple):
    """One encoding on one task, and its row."""

    row: Row
    task: TaskResults
    encoding: EncodingResults


def entries(tasks: Sequence[TaskResults], reference: Sequence[TaskResults]) -> list[Entry]:
    """Every encoding on every task: of these results, then of the reference results."""
    return [
        Entry((encoding.short_title, encoding.group, source), task, encoding)
        for source, owners in ((YOURS, tasks), (REFERENCE, reference)) for task in owners for encoding in task.encodings
    ]  # fmt: skip


def means_beyond(entries: list[Entry]) -> dict[Row, float | None]:
    """By row, the mean over the ranked tasks of the score beyond training, the best guess at 0, averaged over log2 length.

    Of each task the lengths count that all its rows have; where they share none, those of the row. None for a row that lacks one
    of the tasks: on fewer it would be compared by what is easy. Where no task is ranked, each row has the mean of its own.
    """
    scores, ranked = _scores_beyond(entries), ranked_tasks(entries)
    means: dict[Row, float | None] = {}
    for row, by_task in scores.items():
        values = [by_task.get(title) for title in ranked] or [*by_task.values()]
        means[row] = fmean(known) if (known := [one for one in values if one is not None]) and len(known) == len(values) else None
    return means


def ranked_tasks(entries: list[Entry]) -> list[str]:
    """The titles of the tasks by which rows are ranked: those that more than half of your rows have.

    A row of runs that were measured otherwise than they were trained does not decide which.
    """
    scores = _scores_beyond(entries)
    own = {row for row, task, encoding in entries if encoding.label in task.own_labels and scores[row]}
    own = {row for row in own if row[2] == YOURS} or own
    titles = dict.fromkeys(title for row in own for title in scores[row])
    return sorted(title for title in titles if 2 * sum(title in scores[row] for row in own) > len(own))


def averaged_over(entries: list[Entry]) -> str:
    """What the means beyond are taken over, in words: tasks are named where not all rows have the same."""
    scores, ranked = _scores_beyond(entries), ranked_tasks(entries)
    every = {title for by_task in scores.values() for title in by_task}
    titles = {task.title: task.short_title for _, task, _ in entries}
    if all(by_task.keys() == every for by_task in scores.values() if by_task):
        return "log2 length" if len(every) == 1 else "log2 length and tasks"
    if not ranked:
        return "log2 length and the tasks of each, which are not the same"
    tasks = ", ".join(dict.fromkeys(titles[title] for title in ranked))
    return f"log2 length and the tasks that most encodings have ({tasks}); {MISSING} for one that lacks some of them"


def _scores_beyond(entries: list[Entry]) -> dict[Row, dict[str, float]]:
    """By row and title of a counted task, the score beyond training at the lengths that all rows of the task have."""
    scores: dict[Row, dict[str, float]] = {}
    shared: dict[str, set[int]] = {}
    for _, task, encoding in entries:
        beyond_task = {length for length in encoding.by_length if length > task.train_length}
        if encoding.by_length and encoding.label in task.own_labels:
            shared[task.title] = shared.get(task.title, beyond_task) & beyond_task
    counted = {task.title for task in counted_tasks([entry.task for entry in entries])}
    for row, task, encoding in entries:
        by_length = {
            length: summary.mean
            for length, summaries in encoding.by_length.items()
            if (summary := summaries.get(task.scoring.rescaled) or summaries.get(task.scoring.fallback))
        }
        beyond = {length: value for length, value in by_length.items() if length > task.train_length} or by_length
        beyond = {length: value for length, value in beyond.items() if length in shared.get(task.title, ())} or beyond
        scores.setdefault(row, {}).update({task.title: stats.area(beyond)} if beyond and task.title in counted else {})
    return scores


def ordered(means: dict[Row, float | None]) -> list[Row]:
    """The rows with the highest means first, yours before others of the same mean, those without one last."""
    return sorted(means, key=lambda row: (math.inf if (mean := means[row]) is None else -mean, row[2] != YOURS, row))


def _block(task: TaskResults, entries: list[Entry]) -> TaskBlock:
    lengths = lengths_of(task, entries, MAX_LENGTHS)
    exact_length = _exact_match_length(task, lengths, [encoding for *_, encoding in entries])
    cells = {row: [_cell(encoding, length, task) for length in lengths] for row, _, encoding in entries}
    if exact_length:
        for row, _, encoding in entries:
            cells[row].append(whole_percent(_mean(encoding, exact_length, EXACT)))
    chance = {length: value for _, owner, _ in entries for length, value in owner.chance.items()}
    write = task.scoring.shown.cell
    cells[CHANCE] = [write(chance.get(length)) for length in lengths] + ([""] if exact_length else [])
    columns = [*map(str, lengths), *([EXACT_COLUMN] if exact_length else [])]
    return TaskBlock(f"{task.short_title}, to {task.train_length}", columns, cells, task, lengths)


def lengths_of(task: TaskResults, entries: list[Entry], most: int) -> list[int]:
    """The training length and those beyond it, if any; of more than `most`, doublings: the first ones and the last.

    Where there are no doublings, so many that are nearest to equal steps of the logarithm.

    Beside reference results, the lengths that both have, if there are any beyond training: no column is half empty.
    """
    own, reference = (
        {n for row, _, one in entries if (row[2] == YOURS) is yours for n in one.by_length} for yours in (True, False)
    )
    shared = own & reference
    every = sorted(shared if any(n > task.train_length for n in shared) else own or reference)
    lengths = [n for n in every if n >= task.train_length] if every and every[-1] > task.train_length else every
    if len(lengths) <= most:
        return lengths
    doublings = [n for n in lengths if math.log2(n / task.train_length).is_integer()]
    if len(doublings) > 1:
        return doublings if len(doublings) <= most else [*doublings[: most - 1], doublings[-1]]
    steps = [lengths[0] * (lengths[-1] / lengths[0]) ** (step / (most - 1)) for step in range(most)]
    return sorted({min(lengths, key=lambda n: abs(n - step)) for step in steps})


def _exact_match_length(task: TaskResults, lengths: list[int], encodings: list[EncodingResults]) -> int | None:
    """The first length beyond training, if exact match says something there that token accuracy does not."""
    length = next((n for n in lengths if n > task.train_length and n in task.own_lengths), None)
    if length is None or task.scoring.decides is not EXACT:
        return None
    exact, token = ([_mean(encoding, length, measure) or 0.0 for encoding in encodings] for measure in (EXACT, TOKENS))
    differ = any(abs(one - other) > USEFUL for one, other in zip(exact, token, strict=True))
    return length if differ and max(exact) > USEFUL else None


def _cell(encoding: EncodingResults, length: int, task: TaskResults) -> str:
    text = task.scoring.shown.cell(_mean(encoding, length, task.scoring.shown))
    if text == MISSING:
        return text
    return text + FEWER * has_fewer_seeds(encoding, length) + UNSOLVED * task.is_unsolved(encoding, length)


def has_fewer_seeds(encoding: EncodingResults, length: int) -> bool:
    """Whether some run has no score at a length, and others have."""
    return 0 < sum(length in run.scored for run in encoding.evaluated_runs) < len(encoding.evaluated_runs)


def _mean(encoding: EncodingResults, length: int, measure: Measure) -> float | None:
    summary = encoding.by_length.get(length, {}).get(measure.key)
    return summary.mean if summary else None

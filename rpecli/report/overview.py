"""The overview of a report: encodings by length in whole per cent, one block per task, rows in one order with the best first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import NamedTuple

from rpecli.report import stats
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.format import MISSING
from rpecli.table import Table

YOURS, REFERENCE = "yours", "reference"
MAX_LENGTHS = 7  # of more, only the doublings of the training length are shown
EXACT = "EM"
USEFUL = 0.05  # by which exact match differs from token accuracy, and from 0, where it is shown
UNSOLVED = "*"
APE, NONE = "APE", "none"
N_BEST, N_ABSOLUTE = 3, 3  # reference rows of a terminal: the best relative ones, and the best of the others
CHANCE = ("chance", "", "")
Row = tuple[str, str, str]  # encoding, group, source


@dataclass(frozen=True)
class Block:
    """One task: its lengths, and the cells of each of its rows."""

    task: TaskResults
    title: str
    columns: list[str]
    cells: dict[Row, list[str]]


@dataclass(frozen=True)
class Overview:
    """Blocks that share their rows."""

    keys: list[str]  # headings of the columns that name a row
    rows: list[Row]
    blocks: list[Block]
    notes: list[str] = field(default_factory=list)

    def name_cells(self, row: Row) -> list[str]:
        return list(row[: len(self.keys)])

    def tables(self) -> list[Table]:
        """One table per task, with chance as its foot."""
        columns = {block.title: [*self.keys, *block.columns] for block in self.blocks}
        rows = {
            block.title: [[*self.name_cells(row), *block.cells[row]] for row in self.rows if row in block.cells]
            for block in self.blocks
        }
        aligned = "l" * len(self.keys)
        return [Table(title, names, aligned.ljust(len(names), "r"), rows[title], foot=1) for title, names in columns.items()]


def overview(tasks: Sequence[TaskResults], reference: Sequence[TaskResults] = ()) -> Overview:
    """The overview of these results; with `reference`, of its encodings too, and with a column that tells them apart."""
    all_entries = entries(tasks, reference)
    shown = {task.title: task for task in (*reference, *tasks)}
    blocks = [_block(task, [entry for entry in all_entries if entry.task.title == title]) for title, task in shown.items()]
    blocks = [block for block in blocks if block.columns]  # no run of the others is evaluated
    lengths = {block.task.train_length for block in blocks}
    notes = _notes(blocks)
    if len(lengths) == 1:  # said once, not in every title
        blocks = [replace(block, title=block.task.short_title) for block in blocks]
        notes = [f"Trained on lengths up to {lengths.pop()}.", *notes]
    keys = ["encoding", "group", *(["source"] if reference else [])]
    return Overview(keys, [*ordered(means_beyond(all_entries)), CHANCE], blocks, notes)


def brief(whole: Overview) -> Overview:
    """The overview without a column of sources: yours are marked, and of reference rows a few remain, the others are counted."""
    others = [row for row in whole.rows if row[2] == REFERENCE]
    if not others:
        return whole
    best = [row for row in others if row[1] not in (APE, NONE)][:N_BEST]
    absolute = [row for row in others if row[1] in (APE, NONE)][:N_ABSOLUTE]
    names = {row: (f"{row[0]} ({YOURS})", *row[1:]) if row[2] == YOURS else row for row in whole.rows}
    kept = [row for row in whole.rows if row not in others or row in (*best, *absolute)]
    blocks = [
        replace(block, cells={names[row]: cells for row, cells in block.cells.items() if row in kept}) for block in whole.blocks
    ]
    n_hidden = len(whole.rows) - len(kept)
    hidden = f" {n_hidden} more encodings are on the page." if n_hidden else ""
    notes = [*whole.notes, f"Unmarked rows are reference results.{hidden}"]
    return Overview(whole.keys[:2], [names[row] for row in kept], blocks, notes)


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
    """By row, the mean over tasks of the accuracy beyond training, chance at 0, averaged over log2 length."""
    scores: dict[Row, list[float]] = {}
    for row, task, encoding in entries:
        by_length = {
            length: summaries.get("rescaled_accuracy", summaries["token_accuracy"]).mean
            for length, summaries in encoding.by_length.items()
        }
        beyond = {length: value for length, value in by_length.items() if length > task.train_length} or by_length
        scores.setdefault(row, []).extend([stats.area(beyond)] if beyond else [])
    return {row: fmean(values) if values else None for row, values in scores.items()}


def ordered(means: dict[Row, float | None]) -> list[Row]:
    """The rows with the highest means first, those without one last."""
    return sorted(means, key=lambda row: (math.inf if (mean := means[row]) is None else -mean, row))


def _block(task: TaskResults, entries: list[Entry]) -> Block:
    lengths = lengths_of(task, entries, MAX_LENGTHS)
    exact_length = _exact_match_length(task, lengths, [encoding for *_, encoding in entries])
    cells = {row: [_cell(encoding, length, task) for length in lengths] for row, _, encoding in entries}
    if exact_length:
        for row, _, encoding in entries:
            cells[row].append(_percent(_mean(encoding, exact_length, "exact_match")))
    chance = {length: value for _, owner, _ in entries for length, value in owner.chance.items()}
    cells[CHANCE] = [_percent(chance.get(length)) for length in lengths] + ([""] if exact_length else [])
    columns = [*map(str, lengths), *([EXACT] if exact_length else [])]
    return Block(task, task.title, columns, cells)


def lengths_of(task: TaskResults, entries: list[Entry], most: int) -> list[int]:
    """The training length and those beyond it; of more than `most`, the doublings, and of these the first and the last ones."""
    lengths = sorted({n for _, owner, _ in entries for n in owner.lengths if n >= task.train_length})
    if len(lengths) <= most:
        return lengths
    doublings = [n for n in lengths if math.log2(n / task.train_length).is_integer()]
    shown = doublings if len(doublings) > 1 else lengths
    return shown if len(shown) <= most else [shown[0], *shown[1 - most :]]


def _exact_match_length(task: TaskResults, lengths: list[int], encodings: list[EncodingResults]) -> int | None:
    """The first length beyond training, if exact match says something there that token accuracy does not."""
    length = next((n for n in lengths if n > task.train_length), None)
    if length is None:
        return None
    exact = [_mean(encoding, length, "exact_match") or 0.0 for encoding in encodings]
    token = [_mean(encoding, length, "token_accuracy") or 0.0 for encoding in encodings]
    differ = any(abs(one - other) > USEFUL for one, other in zip(exact, token, strict=True))
    return length if differ and max(exact) > USEFUL else None


def _cell(encoding: EncodingResults, length: int, task: TaskResults) -> str:
    text = _percent(_mean(encoding, length, "token_accuracy"))
    unsolved = length == task.train_length and not all(encoding.solved_flags)
    return text + (UNSOLVED if unsolved and text != MISSING else "")


def _mean(encoding: EncodingResults, length: int, measure: str) -> float | None:
    summary = encoding.by_length.get(length, {}).get(measure)
    return summary.mean if summary else None


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{round(100 * value)}"


def _notes(blocks: list[Block]) -> list[str]:
    notes = ["Per cent of tokens right, mean over seeds."]
    if any(EXACT in block.columns for block in blocks):
        notes.append(f"{EXACT}: exact match (whole strings) at the first length beyond training.")
    if any(cell.endswith(UNSOLVED) for block in blocks for cells in block.cells.values() for cell in cells):
        notes.append(f"{UNSOLVED} Not every run learned the training length (exact match below {stats.SOLVED} there).")
    return notes

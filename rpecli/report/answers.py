"""What models answered: one sequence of each evaluation set, and the answer of one run per encoding with its errors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from rpecli.report import overview
from rpecli.report.aggregate import TaskResults
from rpecli.report.format import format_factor
from rpecli.run.records import EXAMPLE_WORDS, Example

NO_BREAK = "\u00a0"
Piece = tuple[bool, str]  # whether it is wrong, and the text


@dataclass(frozen=True)
class Answer:
    """One encoding's answer in pieces that are right or wrong."""

    title: str
    seed: int
    pieces: list[Piece]
    n_right: int
    n_words: int
    nearest: str = ""  # the right answer that it resembles most, where that is another one than the target


@dataclass(frozen=True)
class AnsweredSequence:
    """One sequence at one length, and every encoding's answer to it."""

    length: int
    factor: str
    prompt: str
    target: str
    n_words: int
    cut: bool  # only the last words are shown
    spaced: bool  # words of several characters, which stand apart
    read: str  # where sets are predicted: the token before each of them
    others: list[str]  # other right answers
    answers: list[Answer]


@dataclass(frozen=True)
class TaskAnswers:
    """The sequences of one task: the first length beyond training, and the others."""

    title: str
    first: AnsweredSequence
    others: list[AnsweredSequence]


def task_answers(tasks: Sequence[TaskResults], reference: Sequence[TaskResults] = ()) -> list[TaskAnswers]:
    """The answers of the tasks that have any, encodings ordered as in the overview."""
    entries = overview.entries(tasks, reference)
    order = overview.ordered(overview.means_beyond(entries))
    entries = sorted(entries, key=lambda entry: order.index(entry.row))
    answers = []
    for task in tasks:
        own = [entry for entry in entries if entry.task.title == task.title]
        sequences = [one for length in task.lengths if length >= task.train_length and (one := _sequence(own, length))]
        if sequences:
            beyond = (one for one in sequences if one.length > task.train_length and one.length in task.own_lengths)
            first = next(beyond, sequences[0])
            answers.append(TaskAnswers(task.short_title, first, [one for one in sequences if one is not first]))
    return answers


def _sequence(entries: list[overview.Entry], length: int) -> AnsweredSequence | None:
    """The sequence of one length; None where no run has one. All answers are to the sequence of the first run."""
    examples: list[tuple[overview.Entry, int, Example]] = []
    for entry in entries:
        lines = [(run.config.seed, run.evaluations[length]) for run in entry.encoding.evaluated_runs if length in run.evaluations]
        examples += [(entry, seed, line["example"]) for seed, line in lines if line.get("example")][:1]
    if not examples:
        return None
    shown = examples[0][2]
    same = [one for one in examples if one[2]["prompt"] == shown["prompt"] and _right(one[2]) == _right(shown)]
    width = max(len(word) for *_, example in same for word in (*example["target"], *example["answer"]))
    answers = [
        Answer(
            entry.encoding.title, seed, pieces(example["target"], example["answer"], width), n_right(example),
            len(example["target"]), "" if example["target"] == shown["target"] else padded(example["target"], width),
        )
        for entry, seed, example in same
    ]  # fmt: skip
    task, n_words = entries[0].task, len(shown["target"])
    return AnsweredSequence(
        length=length, factor=format_factor(length, task.train_length), n_words=n_words, cut=n_words == EXAMPLE_WORDS,
        prompt=joined(shown["prompt"]), target=padded(shown["target"], width), spaced=width > 1, answers=answers,
        read=padded(shown.get("read", []), width), others=[joined(words) for words in shown.get("other_targets", [])],
    )  # fmt: skip


def _right(example: Example) -> list[list[str]]:
    """All right answers, in one order."""
    return sorted([example["target"], *example.get("other_targets", [])])


def n_right(example: Example) -> int:
    return sum(one == other for one, other in zip(example["target"], example["answer"], strict=True))


def joined(words: Sequence[str]) -> str:
    """Single characters without spaces, other words with."""
    return ("" if all(len(word) == 1 for word in words) else " ").join(words)


def padded(words: Iterable[str], width: int) -> str:
    """Words of one width, so that those of several lines stand below each other; no line breaks within a word."""
    return "".join(words) if width == 1 else " ".join(word.replace(" ", NO_BREAK).ljust(width) for word in words)


def pieces(target: Sequence[str], answer: Sequence[str], width: int) -> list[Piece]:
    """The answer as text, neighbors that are all right or all wrong as one piece; the space between words is right."""
    marked: list[Piece] = []
    for right, word in zip(target, answer, strict=True):
        marked += [(right != word, word.replace(" ", NO_BREAK)), *([(False, " " * (width - len(word) + 1))] if width > 1 else [])]
    return [(wrong, "".join(text for _, text in parts)) for wrong, parts in groupby(marked, key=lambda piece: piece[0])]


def example_lines(example: Example, columns: int) -> list[str]:
    """An example in lines of about so many columns: the words around the first error, or the last ones, with errors marked."""
    target, answer, read = example["target"], example["answer"], example.get("read", [])
    wrong = [one != other for one, other in zip(target, answer, strict=True)]
    width = max(map(len, (*target, *answer, *read)))
    most = max(1, columns // (width + (width > 1)))
    first = min(max(0, wrong.index(True) - most // 3), max(0, len(target) - most)) if any(wrong) else max(0, len(target) - most)
    part = slice(first, first + most)
    rows = {"read": read[part]} if read else {"prompt": [joined(example["prompt"])[-columns:]]}
    marks = ["^" * len(word) if flag else "" for word, flag in zip(answer, wrong, strict=True)]
    rows |= {"target": target[part], "answer": answer[part], "": marks[part] if any(wrong[part]) else []}
    lines = [
        f"{name:<10} {words[0] if name == 'prompt' else padded([word or ' ' for word in words], width)}".rstrip()
        for name, words in rows.items()
        if words
    ]
    others = [f"{'or':<10} {joined(words)[:columns]}" for words in example.get("other_targets", [])]
    skipped = f", from token {first + 1} of {len(target)} on" if first else ""
    return [f"{len(target) - sum(wrong)} of {len(target)} tokens right{skipped}", *lines, *others]

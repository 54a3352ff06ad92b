"""The headline of a report: one sentence with the answer, and a few that qualify it, written from the numbers.

It describes what was measured at the first and the last tested length beyond training, and names no cause. What the runs support
is for the tests in verdict.py to say.
"""

from collections.abc import Sequence
from dataclasses import replace

from rpecli.report import headline_sentences as sentences
from rpecli.report.aggregate import TaskResults, by_scoring, groups_of
from rpecli.report.headline_numbers import HeadlineNumbers, Point, Unsolved, headline_numbers, parts_of_reference, point_at
from rpecli.report.load import YOURS
from rpecli.report.measures import ACCURACY
from rpecli.report.overview import REFERENCE
from rpecli.report.records import Record


class Headline(Record):
    """The answer of a report in words, and the numbers it was made from."""

    title: str
    """one sentence: what was trained, at which length it is tested, and how many tokens are right there, or the perplexity"""
    detail: list[str]
    """further sentences, the most important first"""
    source: str
    """whose results these are: yours or reference"""
    first: Point | None
    """the first tested length beyond training; null where none is tested, or no run learned its training length"""
    last: Point | None
    """the last tested length beyond training; null where it is the first"""
    left_out: list[str]
    """titles of tasks that no run learned at the training length: they are in none of the numbers"""
    unsolved: list[Unsolved]
    """encodings of which not every run learned the training length"""


def headline(tasks: list[TaskResults], reference: Sequence[TaskResults] = ()) -> Headline:
    """The headline of these results; of the reference results where there are no others.

    Where these results have a single group, the reference results at the same lengths stand beside it.
    """
    shown, source = (tasks, YOURS) if tasks else (list(reference), REFERENCE)
    (_, most), *others = by_scoring(shown) or [(ACCURACY, [])]
    numbers = headline_numbers(most)
    title, *detail = _sentences(numbers, list(map(_learned, reference)) if tasks else [])
    for scoring, members in others:  # in a sentence of their own
        detail.append(f"{', '.join(task.short_title for task in members)} ({scoring.name}): {_title(members)}")
    if source == REFERENCE:
        title = f"Reference results: {title[0].lower()}{title[1:]}"
    return Headline(
        title=title,
        detail=[*detail, sentences.caveats(shown)],
        source=source,
        first=numbers.first,
        last=numbers.last,
        left_out=[task.title for task in numbers.left_out],
        unsolved=numbers.unsolved,
    )


def _title(tasks: list[TaskResults]) -> str:
    text = _sentences(headline_numbers(tasks), [])[0]
    return text[0].lower() + text[1:]


def _learned(task: TaskResults) -> TaskResults:
    """The results without the encodings of which no run learned the training length: their numbers say nothing beyond it."""
    encodings = [encoding for encoding in task.encodings if any(encoding.solved_flags)]
    return replace(task, encodings=encodings, groups=groups_of(encodings))


def _sentences(numbers: HeadlineNumbers, reference: list[TaskResults]) -> list[str]:
    """The title and what follows from the numbers."""
    if numbers.first is None:
        return sentences.without_a_length(numbers)
    beside = point_at(reference, numbers.first.lengths) if len(numbers.compared) == 1 else None
    parts = parts_of_reference(reference, numbers, beside) if beside else []
    lines = [sentences.title(numbers, numbers.first, beside, parts), *sentences.training_lengths(numbers)]
    lines += [sentences.part_of_reference(numbers, part) for part in parts]
    lines += [sentences.aside(numbers, numbers.first)]
    lines += [sentences.at_the_last_length(numbers, numbers.last)] if numbers.last else []
    lines += sentences.encodings(numbers) + sentences.without_encoding(numbers)
    lines += [sentences.best_of_reference(beside)] if beside else []
    return [*lines, *sentences.not_in_the_numbers(numbers), *sentences.not_learned(numbers)]

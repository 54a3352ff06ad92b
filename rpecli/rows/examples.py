"""Rows as examples: tokens of input and answers, a problem length, and whether a row is to train on or held out."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

from rpecli import catalog
from rpecli.rows import columns, files, hub, lines, readers
from rpecli.rows.row import DataError, Row, Value
from rpecli.table import plural

TOKENS: dict[str, Callable[[str], list[str]]] = {
    "char": list,
    "space": str.split,
    "byte": lambda text: [f"{byte:02x}" for byte in text.encode()],
}
DIGITS = re.compile(r"\d+")
HELD_OUT = 5  # where nothing says what is held out: one example in so many of every length that is trained
VALIDATION = 10  # and one in so many to validate on


@dataclass(frozen=True)
class Source:
    """Where examples come from; the options of `tasks/data.py`."""

    path: str
    test_path: str = ""
    split: str = ""
    input: str = ""
    target: str = ""
    tokens: str = "auto"
    length: str = "target"
    field: str = ""
    rule: str = ""


@dataclass(frozen=True)
class Example:
    """One problem; `answers` are all right answers, of which the first is trained on."""

    input: list[str]
    answers: list[list[str]]
    length: int
    split: str  # train, validation, test, or empty where nothing says it
    place: str  # file:line

    @property
    def text(self) -> tuple[tuple[str, ...], ...]:
        """The input and all right answers; equal for copies of a row."""
        return (tuple(self.input), *map(tuple, self.answers))


@dataclass(frozen=True)
class Examples:
    """All examples of a source, its vocabulary in order, and what was guessed, in words."""

    all: list[Example]
    vocabulary: list[str]
    notes: list[str] = field(default_factory=list)
    longest_input: int | None = None  # in tokens, where the length of a row is that of its answer and another could be taken

    def by_length(self, split: str, trained_to: int | None) -> dict[int, list[int]]:
        """The numbers of the examples of `train`, `validation` or `test`, by length, in the order of the files.

        Where the files name no split, examples longer than `trained_to` are all for the test, and of the others every HELD_OUT-th
        of a length; without `trained_to` every length is treated as trained. Copies of an example are in one part.
        """
        by_length: dict[int, list[int]] = defaultdict(list)
        for number, example in enumerate(self.all):
            by_length[example.length].append(number)
        names = {example.split for example in self.all}
        part = self._named if names != {""} else partial(self._held_out, trained_to=trained_to)
        parts = {length: part(numbers, split) for length, numbers in sorted(by_length.items())}
        return {length: numbers for length, numbers in parts.items() if numbers}

    def _named(self, numbers: list[int], split: str) -> list[int]:
        """Something names the splits. Unnamed examples train; where none validates, one in VALIDATION does."""
        names = {example.split for example in self.all}
        test = "test" if "test" in names else "validation"
        if split == "test":
            return [n for n in numbers if self.all[n].split == test]
        if split == "validation" and {"validation", "test"} <= names:
            return [n for n in numbers if self.all[n].split == "validation"]
        train = [n for n in numbers if self.all[n].split in ("train", "")]
        if {"validation", "test"} <= names:
            return train
        return [n for place, n in self._placed(train) if (place % VALIDATION == VALIDATION - 1) == (split == "validation")]

    def _held_out(self, numbers: list[int], split: str, trained_to: int | None) -> list[int]:
        """Nothing names splits: examples longer than `trained_to` are for the test, of the others every HELD_OUT-th."""
        if trained_to is not None and self.all[numbers[0]].length > trained_to:
            return numbers if split == "test" else []
        place = {"test": HELD_OUT - 1, "validation": HELD_OUT - 2}
        if split != "train":
            return [n for i, n in self._placed(numbers) if i % HELD_OUT == place[split]]
        return [n for i, n in self._placed(numbers) if i % HELD_OUT not in place.values()]

    def _placed(self, numbers: list[int]) -> list[tuple[int, int]]:
        """Examples behind their places among the distinct ones, so that a copy has the place of the first."""
        places: dict[tuple[tuple[str, ...], ...], int] = {}
        return [(places.setdefault(self.all[n].text, len(places)), n) for n in numbers]


def of_lines(texts: Sequence[str]) -> Examples:
    """The examples of lines `input=answer`, in characters."""
    rows = lines.read(Path("sample"), "\n".join(texts), "equals")
    return _examples(Source("", input="input", target="target", tokens="char"), [(row, "") for row in rows])


def load(source: Source) -> Examples:
    """Reads all rows of a source, once for as long as its files do not change.

    Raises:
        DataError: a file, a row or an option is wrong; the message names the place.
    """
    return _load(source, *(catalog.data_fingerprint(path) for path in (source.path, source.test_path)))


@lru_cache(maxsize=8)  # a run builds its task several times
def _load(source: Source, *_: str) -> Examples:
    rows = list(_rows(source))
    _require_use(source)
    test_rows = [(row, "test") for row, _ in _rows(replace(source, path=source.test_path))] if source.test_path else []
    if source.test_path:
        rows = [(row, "train" if split == "" else split) for row, split in rows]
    return _examples(source, [*rows, *test_rows])


def _require_use(source: Source) -> None:
    """Raises DataError for an option that no file of the source is read with."""
    for name, kind in (("rule", ".txt"), ("field", ".json")):
        value, paths = getattr(source, name), filter(None, (source.path, source.test_path))
        if value and kind not in {file.kind for path in paths for file in _files(path)}:
            raise DataError(f"{name}={value}: of use with {kind} files only: remove it")


def _examples(source: Source, rows: list[tuple[Row, str]]) -> Examples:
    chosen = columns.choose([row for row, _ in rows], source.input, source.target)
    values = [(row, split, *chosen.values(row)) for row, split in rows]
    kind = _kind_of_tokens(source.tokens, [(text, answer) for _, _, text, answer in values])
    examples = [_example(source, row, split, text, answer, kind) for row, split, text, answer in values]
    words = {word for example in examples for tokens in (example.input, *example.answers) for word in tokens}
    notes = [f"input {chosen.input}, target {chosen.target}; {kind} tokens, {len(words)} of them; length = {source.length}"]
    longest = max((len(example.input) for example in examples), default=0) if source.length == "target" else None
    if longest and len({example.length for example in examples}) == 1:
        notes.append(f"every answer has {plural(examples[0].length, 'token')}: length=input takes the length of the input")
    return Examples(examples, sorted(words, key=_order), [*notes, *_warnings(examples)], longest)


def _files(path: str) -> list[files.DataFile]:
    """The files of data that a path stands for; none of a saved data set, or of a name on the hub."""
    root = Path(path).expanduser()
    return [] if hub.is_saved(root) or (not root.exists() and hub.is_hub_name(path)) else files.data_files(path)


def _rows(source: Source) -> Iterator[tuple[Row, str]]:
    """Every row with the split that a file name, a data set or a column gives it."""
    splits: dict[str, list[Row]] = defaultdict(list)
    for file in _files(source.path):
        splits[file.split] += readers.read(file.path, source.field, source.rule)
    if not splits:
        path = Path(source.path).expanduser()
        splits = hub.saved(path) if hub.is_saved(path) else hub.named(source.path)
    for name, rows in splits.items():
        for row in rows:
            split = row.text(source.split) if source.split else name
            if split and split.lower() not in files.SPLITS:
                raise DataError(f"{row.place}: split {split!r}: known are {', '.join(sorted(set(files.SPLITS)))}")
            yield row, files.SPLITS.get(split.lower(), "")


def _kind_of_tokens(kind: str, values: list[tuple[Value, Value]]) -> str:
    """`auto`: space where answers are several words, words answer sentences, or all words are single characters (`1 0 1`, `0`).

    Else char, as for `27 + 5` and `32`.
    """
    if kind != "auto":
        if kind not in TOKENS:
            raise DataError(f"tokens={kind}: known are auto, {', '.join(TOKENS)}")
        return kind
    inputs = [text.strip() for text, _ in values if isinstance(text, str)]
    written = [answer for text, answer in values if isinstance(text, str)]
    answers = [item.strip() for answer in written for item in ([answer] if isinstance(answer, str) else answer)]
    if any(" " in answer for answer in answers) or not answers:
        return "space"
    sentences = sum(" " in text for text in inputs) > len(inputs) / 2
    symbols = all(len(word) == 1 for text in [*inputs, *answers] for word in text.split())
    return "space" if sentences and (symbols or not any(map(DIGITS.search, answers))) else "char"


def _example(source: Source, row: Row, split: str, text: Value, answer: Value, kind: str) -> Example:
    tokens = TOKENS[kind]
    inputs = text if isinstance(text, list) else tokens(text)
    if not isinstance(answer, list):
        answers = [tokens(answer)]
    elif isinstance(text, list):
        answers = [answer]  # lists on both sides are tokens
    else:
        answers = [tokens(item) for item in answer]  # a list of answers to one text: any of them is right
    if not all(answers):
        raise DataError(f"{row.place}: the answer has no {kind} token")
    return Example(inputs, answers, _length(source.length, row, inputs, answers[0]), split, row.place)


def _length(rule: str, row: Row, inputs: list[str], answer: list[str]) -> int:
    """The problem length of a row: tokens of the answer or of the input, digits of the longest number, or a column."""
    if rule in ("target", "input"):
        return max(1, len(answer if rule == "target" else inputs))
    if rule == "digits":
        joined = "".join(inputs)
        return max([len(number) for number in DIGITS.findall(joined)], default=1)
    value = row.value(rule)
    text = value[0] if isinstance(value, list) and value else str(value)  # a pair is a length and something else
    match = DIGITS.search(text)
    if match is None or int(match[0]) < 1:
        raise DataError(f"{row.place}: {rule} is {text!r}, not a length: write length=target, input, digits or another column")
    return int(match[0])


def _warnings(examples: list[Example]) -> list[str]:
    """What a user should know before training."""
    names = {example.split for example in examples}
    held_out = "test" if "test" in names else "validation"
    trained_on = {example.text for example in examples if example.split in ("train", "")}
    test = [example.text for example in examples if example.split == held_out]
    notes = []
    if repeated := sum(text in trained_on for text in test):
        notes.append(f"{repeated / len(test):.0%} of the test examples also stand in the training set".replace("%", " %"))
    trained = {word for example in examples if example.split in ("train", "") for word in example.input + example.answers[0]}
    unseen = sorted({word for example in examples for word in example.input + example.answers[0]} - trained)
    if unseen:
        shown = ", ".join(unseen[:5]) + ("..." if len(unseen) > 5 else "")
        notes.append(f"{plural(len(unseen), 'token')} of the test examples never occurs in training: {shown}")
    if names == {""} and (copies := len(examples) - len({example.text for example in examples})):
        notes.append(f"{plural(copies, 'example')} of {len(examples)} repeat others: copies are trained on or held out together")
    several = sum(len(example.answers) > 1 for example in examples)
    if several:
        notes.append(f"{plural(several, 'example')} with several right answers: any of them counts, the first is trained on")
    lengths = Counter(example.length for example in examples)
    notes.append(f"{plural(len(examples), 'example')} of length {min(lengths)} to {max(lengths)}")
    return notes


def _order(word: str) -> tuple[int, int, str]:
    """Numbers in their order before words."""
    return (0, int(word), word) if word.isascii() and word.isdigit() and len(word) < 10 else (1, 0, word)

"""Your own data: rows with an input and an answer, from a file, a folder, a pattern or a data set.

Format       > input tokens | [answer tokens] .
Input law    in training a row of the problem length, drawn with replacement; in evaluation every held-out row once, in order
Chance       measured: the most frequent token at each place of the answer, in half of the rows, scored on the other half
Why          which encoding suits the problem at hand is a question about that problem
Path         a file (jsonl, json, csv, tsv, txt, parquet, src with tgt), a folder, a pattern, a saved data set, a name on the hub
Split        test_path=FILE, split=COLUMN or the names of the files; else a fifth of the rows up to the training length is held
             out, and all that are longer
Columns      input= and target= name a column, or a pattern such as "{a}+{b}"; else the usual names are looked for
Tokens       tokens=char, space or byte; auto: space where texts are words, or single symbols with spaces between; else char
Length       length=target (tokens of the answer; the default) or input, digits (of the longest number), or a column
"""

from copy import copy
from dataclasses import replace

import numpy as np

from rpecli.rows import examples
from rpecli.rows.examples import Example, Source
from rpecli.table import plural
from rpecli.task import Batch, Task, blind_accuracy, prompt_answer_rows

LINES = [f"{a}+{b}={a + b}" for a in range(1, 40, 3) for b in range(2, 60, 7)]  # stand for a file where no path is given
SHOWN = {" ": "\\s", "\n": "\\n", "\t": "\\t"}  # how tokens of white space are written


class Data(Task):
    title = "Data"
    family = "own data"
    source = "your own rows"
    defaults = {"length": 2, "steps": 2000}
    own_defaults = {"steps": 2000}  # of rows of the user's, whose lengths are not known here
    examples = (([0], "> 1 + 2 | [3] ."), ([20], "> 7 + 1 6 | [2] [3] ."))

    def __init__(
        self, *, path: str = "", test_path: str = "", split: str = "", input: str = "", target: str = "", tokens: str = "auto",
        length: str = "target", field: str = "", rule: str = "",
    ):  # fmt: skip
        source = Source(path, test_path, split, input, target, tokens, length, field, rule)
        self.table = examples.load(source) if path else examples.of_lines(LINES)
        self.vocabulary_words, self.notes = self.table.vocabulary, self.table.notes
        self.symbols = len(self.vocabulary_words)
        self.symbol_of = {word: symbol for symbol, word in enumerate(self.vocabulary_words)}
        self.pool: dict[int, list[int]] = {example.length: [] for example in self.table.all}
        for index, example in enumerate(self.table.all):
            self.pool[example.length].append(index)

    def split(self, name: str, trained_to: int | None = None) -> Task:
        """The examples to train on, to validate on or to test on."""
        part = copy(self)
        part.pool = self.table.by_length(name, trained_to)
        return part

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Numbers of examples, `[batch, 1]`."""
        return rng.choice(self.pool[length], size=(batch, 1))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return self._sequences([(self.table.all[index], 0) for index in x_BxN[:, 0].tolist()])

    def fixed_set(self, length: int, sequences: int) -> Batch | None:
        """Every example once; one with several right answers once for each, in one group."""
        chosen = self.pool.get(length, [])[:sequences]
        pairs = [(self.table.all[index], n) for index in chosen for n in range(len(self.table.all[index].answers))]
        group_B = [group for group, index in enumerate(chosen) for _ in self.table.all[index].answers]
        return replace(self._sequences(pairs), group_B=np.array(group_B))

    def _sequences(self, pairs: list[tuple[Example, int]]) -> Batch:
        """The sequences of examples, each with one of its answers."""
        prompts = [[self.symbol_of[word] for word in example.input] for example, _ in pairs]
        return prompt_answer_rows(prompts, [[self.symbol_of[word] for word in example.answers[n]] for example, n in pairs])

    def chance(self, length: int) -> float:
        """From one half of the rows to the other and back; a row on both sides would look like a good guess."""
        rows = self.pool[length]
        if len(rows) < 2:
            return 1 / self.symbols
        batch = self.layout(np.array(rows)[:, None])
        order = np.random.default_rng(0).permutation(len(rows))
        return (blind_accuracy(batch.of(order), len(rows) // 2) + blind_accuracy(batch.of(order[::-1]), len(rows) // 2)) / 2

    def problems(self, longest: int | None = None) -> int | None:
        return sum(len(rows) for length, rows in self.pool.items() if longest is None or length <= longest)

    def copied_rows(self) -> int:
        return len(self.table.all) - len({example.text for example in self.table.all})

    def longest(self) -> int | None:
        return max(self.pool, default=0)

    def why_not(self, length: int) -> str:
        if not self.pool:
            return f"held out of its {plural(len(self.table.all), 'row')}"
        inputs = (self.table.longest_input or 0) >= length
        return super().why_not(length) + " (tokens of the answer; length=input counts those of the input)" * inputs

    def has_length(self, length: int) -> bool:
        return length in self.pool

    def nearest_length(self, length: int) -> int:
        return max((n for n in self.pool if n <= length), default=min(self.pool, default=length))

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        chosen = [self.table.all[index] for index in self.pool[self.nearest_length(length)]]
        return max(len(example.input) + len(answer) + 3 for example in chosen for answer in example.answers)

    def word(self, symbol: int) -> str:
        return SHOWN.get(self.vocabulary_words[symbol], self.vocabulary_words[symbol])

"""Which columns are the input and the answer: guessed from the pairs in use, or given as a name or a pattern `{a}+{b}`."""

import re
from dataclasses import dataclass

from rpecli.rows.row import DataError, Row, Value

PAIRS = (
    ("input", "target"), ("input", "outputs"), ("input", "output"), ("question", "answer"), ("prompt", "completion"),
    ("context", "completion"), ("source", "target"), ("src_seq", "tgt_seq"), ("src", "tgt"), ("problem", "solution"),
    ("query", "response"),
)  # fmt: skip
INSTRUCTION = "{instruction}\n{input}"  # of rows with instruction, input and output
HOLE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Columns:
    """Input and target: each the name of a column, or a pattern with `{column}`."""

    input: str
    target: str

    def values(self, row: Row) -> tuple[Value, Value]:
        """The input and the target of a row. Raises DataError where a column is missing or empty."""
        values = fill(self.input, row), fill(self.target, row)
        for name, value in zip((self.input, self.target), values, strict=True):
            if not value:
                raise DataError(f"{row.place}: {name} is empty")
        return values


def fill(pattern: str, row: Row) -> Value:
    """The value of a column, or a pattern with the columns put in."""
    if not HOLE.search(pattern):
        return row.value(pattern)
    return HOLE.sub(lambda match: row.text(match[1]), pattern)


def choose(rows: list[Row], input: str = "", target: str = "") -> Columns:
    """The columns that were given; the others guessed from those of the first row.

    Raises:
        DataError: no pair of columns is known there, or several are.
    """
    names = rows[0].values
    for pattern in filter(None, (input, target)):
        fill(pattern, rows[0])  # names a column that is not there
    if input and target:
        return Columns(input, target)
    if {"instruction", "output"} <= set(names) and not input:
        return Columns(INSTRUCTION if any(row.values.get("input") for row in rows) else "instruction", target or "output")
    pairs = [pair for pair in PAIRS if set(pair) <= set(names) and input in ("", pair[0]) and target in ("", pair[1])]
    if len(pairs) == 1:
        return Columns(*pairs[0])
    for pair in PAIRS:
        if set(pair) <= {*names, *rows[0].nulls} and input in ("", pair[0]) and target in ("", pair[1]):
            Columns(*pair).values(rows[0])  # says which of the two is null
    columns = ", ".join(names)
    remedy = "write input=COLUMN:target=COLUMN, or patterns such as input={a}+{b}"
    if not pairs:
        raise DataError(f"{rows[0].file}: no known pair of input and target among its columns ({columns}): {remedy}")
    found = " or ".join("/".join(pair) for pair in pairs)
    raise DataError(f"{rows[0].file}: its columns could be {found}: {remedy}")

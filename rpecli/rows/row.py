"""One row of data and the errors about data."""

from dataclasses import dataclass

Value = str | list[str]  # text, or a list of texts: tokens, or several right answers


class DataError(ValueError):
    """Data that cannot be read or used; the message names the file and the line."""


@dataclass(frozen=True)
class Row:
    """One record: columns by name. A number is the text that the file has for it, whatever its size."""

    values: dict[str, Value]
    file: str
    line: int  # from 1; of parquet and data sets, the number of the row
    nulls: tuple[str, ...] = ()  # columns that the record has, without a value

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    def text(self, column: str) -> str:
        """A column as one text, the items of a list separated by spaces. Raises DataError where there is no such column."""
        value = self.value(column)
        return value if isinstance(value, str) else " ".join(value)

    def value(self, column: str) -> Value:
        """A column as it is. Raises DataError where there is no such column, or no value in it."""
        if column in self.nulls:
            raise DataError(f"{self.place}: {column} is null: write a value, or remove the row")
        if column not in self.values:
            raise DataError(f"{self.place}: no column {column!r}; it has {', '.join(self.values) or 'none'}")
        return self.values[column]

"""Reads one file of data as rows, with the standard library: texts stay texts, numbers keep their digits, errors have a line.

`datasets` turns whole numbers above 64 bits into floats, dates into timestamps and "NA" into nothing; only parquet needs it.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from rpecli.rows import lines
from rpecli.rows.columns import PAIRS
from rpecli.rows.row import DataError, Row, Value

FIELDS = ("examples", "data", "rows")  # keys of a JSON object that may hold its list of records
DELIMITERS = {",": ("commas", ".csv"), "\t": ("tabs", ".tsv"), ";": ("semicolons", ""), "|": ("bars", "")}  # and their files


def read(path: Path, field: str = "", rule: str = "") -> list[Row]:
    """The rows of a file.

    Args:
        path: The file; its suffix says what it holds.
        field: The key of a JSON object that holds the list of records; by default one of FIELDS.
        rule: How a text file is split, a key of lines.RULES; by default the first that fits all of its lines.

    Raises:
        DataError: the file is not what its suffix says, or holds no row.
    """
    kind = path.suffix.lower()
    if kind == ".json":
        rows = list(_json(path, field))
    elif kind == ".txt":
        rows = lines.read(path, text_of(path), rule)
    else:
        rows = list(READERS[kind](path))
    if not rows:
        raise DataError(f"{path}: it holds no row")
    return rows


def text_of(path: Path) -> str:
    """A text file. Raises DataError with the place of the first byte that is not UTF-8."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: byte {data[error.start]:#04x} is not UTF-8: save the file as UTF-8") from None


def _json_lines(path: Path) -> Iterator[Row]:
    for number, text in enumerate(lines.lines_of(text_of(path)), 1):
        if text.strip():
            yield row_of(_record(_parse(text, path, number), f"{path}:{number}"), str(path), number)


def _json(path: Path, field: str) -> Iterator[Row]:
    document = _parse(text_of(path), path, 1)
    if isinstance(document, dict):
        _require_once(document, str(path))
        field = field or next((key for key in FIELDS if isinstance(document.get(key), list)), "")
        if not isinstance(document.get(field), list):
            listed = ", ".join(key for key, value in document.items() if isinstance(value, list)) or "none"
            raise DataError(f"{path}: it is one object: name the key with its list of records, field=KEY (lists: {listed})")
        document = document[field]
    elif field:
        raise DataError(f"{path}: field={field} is of use where the file is one object: remove it")
    if not isinstance(document, list):
        raise DataError(f"{path}: it holds no list of records")
    for number, record in enumerate(document, 1):
        yield row_of(_record(record, f"{path}: record {number}"), str(path), number)


class _Repeating(dict[str, Any]):
    """A JSON object that gives a key twice."""

    twice: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, which tells whether it gives a key twice: `_require_once` says so of those that are read."""
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    repeating = _Repeating(values)
    repeating.twice = _twice([key for key, _ in pairs])
    return repeating


def _twice(names: list[str]) -> str:
    """The first name that occurs more than once; empty where none does."""
    return next((name for name, number in Counter(names).items() if number > 1), "")


def _require_once(record: dict[str, Any], place: str) -> None:
    """Raises DataError for a JSON object that gives a key twice."""
    if isinstance(record, _Repeating):
        raise DataError(f"{place}: {record.twice!r} is given twice: keep one, or rename the other")


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=str)


def _parse(text: str, path: Path, line: int) -> Any:
    """JSON with every number as its text."""
    try:
        return DECODER.decode(text)
    except RecursionError:
        raise DataError(f"{path}:{line}: it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{line + error.lineno - 1}: not JSON: {error.msg} at column {error.colno}") from None


def _record(record: Any, place: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(record, dict):
        raise DataError(f"{place}: not an object with columns: {json.dumps(record)[:60]}")
    _require_once(record, place)
    return record


def row_of(record: dict[str, Any], file: str, line: int) -> Row:
    """A record as a row, a chat (`messages`) with its input and its last answer; columns without a value are told from those it
    lacks."""
    record = _chat(record, f"{file}:{line}") if isinstance(record.get("messages"), list) else record
    values = {str(key): value_of(value) for key, value in record.items() if value is not None}
    return Row(values, file, line, tuple(str(key) for key, value in record.items() if value is None))


def _chat(record: dict[str, Any], place: str) -> dict[str, Any]:
    """The columns of a chat: its input, its target, and the others, but for those of another pair of input and target."""
    messages = (message for message in record["messages"] if isinstance(message, dict))
    texts = [(str(message.get("role")), message.get("content")) for message in messages]
    if not texts or texts[-1][0] != "assistant":
        raise DataError(f"{place}: `messages` does not end with a message of the assistant")
    *earlier, answer = [text for _, text in texts]
    if answer is not None and not all(isinstance(text, str) for text in (*earlier, answer)):
        raise DataError(f"{place}: the content of a message is not a text: write it as one, or remove the row")
    others = {name: value for name, value in record.items() if name != "messages" and name not in chain(*PAIRS)}
    return others | {"input": "\n".join(map(str, earlier)), "target": answer}


def value_of(value: Any) -> Value:
    """A value as text; a list of plain values as a list of texts, anything nested as JSON."""
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return [str(value_of(item)) for item in value]
    if isinstance(value, bytes):  # of parquet, as dates and decimals are
        return value.decode("utf-8", "backslashreplace")
    if value is None or isinstance(value, bool | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=value_of)
    return str(value)


def _delimited(delimiter: str) -> Callable[[Path], Iterator[Row]]:
    def read_delimited(path: Path) -> Iterator[Row]:
        reader = csv.reader(io.StringIO(text_of(path), newline=None), delimiter=delimiter, strict=True)
        try:
            columns = next(reader, [])
            _check_header(columns, delimiter, path, reader.line_num)
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(columns):
                    raise DataError(f"{path}:{reader.line_num}: {len(cells)} cells, but the header has {len(columns)}")
                yield Row(dict(zip(columns, cells, strict=True)), str(path), reader.line_num)
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: {error}") from None

    return read_delimited


def _check_header(columns: list[str], delimiter: str, path: Path, line: int) -> None:
    """Raises DataError for two columns of one name, and for a header that is one column because of another delimiter."""
    require_distinct(columns, f"{path}:{line}")
    other = next((one for one in DELIMITERS if one != delimiter and len(columns) == 1 and one in columns[0]), None)
    if other:
        (found, kind), (own, _) = DELIMITERS[other], DELIMITERS[delimiter]
        remedy = f"rename it to {path.stem}{kind}, or save it with {own}" if kind else "save it with commas, or with tabs as .tsv"
        what = f"columns seem to be separated by {found}, but {path.suffix} is read with {own}"
        raise DataError(f"{path}:{line}: {what}: {remedy}")


def require_distinct(columns: list[str], place: str) -> None:
    """Raises DataError for two columns of one name, of which one would be read in silence; without a name, none is read."""
    if twice := _twice(list(filter(None, columns))):
        raise DataError(f"{place}: column {twice!r} is given twice: keep one, or rename the other")


def _pair(path: Path) -> Iterator[Row]:
    """NAME.src and NAME.tgt: line i of the second answers line i of the first."""
    target = path.with_suffix(".tgt")
    if not target.is_file():
        raise DataError(f"{path}: there is no {target.name} beside it")
    sources, targets = lines.lines_of(text_of(path)), lines.lines_of(text_of(target))
    if len(sources) != len(targets):
        raise DataError(f"{path} has {len(sources)} lines, {target.name} has {len(targets)}")
    for number, (text, answer) in enumerate(zip(sources, targets, strict=True), 1):
        yield Row({"input": text.strip(), "target": answer.strip()}, str(path), number)


def _parquet(path: Path) -> Iterator[Row]:
    from rpecli.rows import hub

    yield from hub.parquet(path)


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".src": _pair,
    ".parquet": _parquet,
}

"""How text is written to each place: one function per place, which every text goes through.

A text may hold anything: names, labels and errors come from users, their files and records of other machines. It is plain text in
which `code` stands in backquotes, and ` [a]` behind a cell refers to a footnote. No function raises, whatever the text holds.
"""

# ruff: noqa: RUF001 - characters that look alike are what this file is about

import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from html import escape
from typing import Any, Literal

UNSHOWN = "\N{REPLACEMENT CHARACTER}"  # stands for a control character, half of a surrogate pair, or a mark of direction
HALVES = re.compile("[\ud800-\udfff]")  # of surrogate pairs, which no file can hold
BLANKS = "[\t\r\v\f\x85\u2028\u2029]"
CONTROLS = "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
HIDDEN, BLANK = re.compile(CONTROLS), re.compile(BLANKS)
CODE = re.compile(r"(?<!`)`([^`\\]+)`(?!`)")
MARK = re.compile(r" ?\[([a-z]{1,2})\]")

MARKDOWN = re.compile(  # what would begin or end emphasis, code, a tag, an entity, a link, struck text or a formula
    r"([\\`~$]|\*(?=\S)|(?<=\S)\*|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=[\[(:])|(?<=\s)#+$)"
)
BLOCK = re.compile(  # what would begin a heading, a list, a quotation
    r"^(?:(\d{1,9})(?=[.)](?:\s|$))|(?=#{1,6}(?:\s|$)|[-+*](?:\s|$)|>|=+\s*$|-+\s*$))"
)

LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$"}
LATEX |= {character: "\\" + character for character in "&%$#_{}"}
LATEX |= {"×": r"$\times$", "·": r"$\cdot$", "±": r"$\pm$", "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\rightarrow$"}
LATEX |= {"←": r"$\leftarrow$", "°": r"$^\circ$", "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''"}
LATEX |= {"\u00a0": "~", "’": "'", "‘": "`", UNSHOWN: "?", "ß": r"{\ss}", "æ": r"{\ae}", "ø": r"{\o}", "Ø": r"{\O}", "ł": r"{\l}"}
ACCENTS = dict(zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327", "`'^~=u.\"rHvc", strict=True))
POWER_OF_TEN = re.compile(r"(?<![\w.])(-?\d+(?:\.\d+)?)e([+-]?)0*(\d+)\b")  # 2.2e-13
MINUS = re.compile(r"(?<![\w$.)-])-(?=\d)")

ASCII = dict(zip("†▁▂▃▄▅▆▇█░▒▓·┊│┃║─━═┄…→←≤≥×–—−‘’“”•✔✖◐±²³\u00a0", [
    *"+_.-~=+*#:o%.:|||---.", "...", "->", "<-", "<=", ">=", "x", "-", "-", "-", "'", "'", '"', '"', *"*+x~",
    "+-", "^2", "^3", " ",
], strict=True))  # fmt: skip
UPPER_DOTS, LOWER_DOTS = 0x1B, 0xE4  # of a Braille cell


def visible(text: str) -> str:
    """The text without what a terminal, a browser or an editor would obey instead of showing it; only newlines remain."""
    return HIDDEN.sub(UNSHOWN, BLANK.sub(" ", text))


def one_line(text: str) -> str:
    """The same in one line, with single spaces."""
    return " ".join(visible(text).split())


def ascii_text(text: str) -> str:
    """For a terminal that shows ASCII alone: other characters become their nearest likeness, or `?`."""
    return text if text.isascii() else "".join(map(_ascii_character, text))


@lru_cache(maxsize=4096)
def _ascii_character(character: str) -> str:
    return character if character.isascii() else ASCII.get(character) or _likeness(character) or "?"


def _likeness(character: str) -> str:
    """A letter without its accents, the name of a Greek one, a drawing by what it resembles; empty where nothing is alike."""
    number, name = ord(character), unicodedata.name(character, "")
    if 0x2800 <= number <= 0x28FF:
        return " '.:"[bool(number & UPPER_DOTS) + 2 * bool(number & LOWER_DOTS)]
    if name.startswith("BOX DRAWINGS"):
        return "+"
    if name.startswith("GREEK") and "LETTER" in name:
        return name.partition("LETTER ")[2].split()[0].lower()
    return "".join(part for part in unicodedata.normalize("NFKD", character) if part.isascii())


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """The text in turn as words (False) and code (True)."""
    for number, part in enumerate(CODE.split(text)):
        yield bool(number % 2), part


def markdown(text: str) -> Markdown:
    """Text for a line of Markdown, wherever it stands in it: nothing is markup but code."""
    if isinstance(text, Markdown):
        return text
    return Markdown(BLOCK.sub(lambda match: f"{match[1] or ''}\\", _inline(text), count=1))


def markdown_cell(text: str) -> str:
    """The same for a cell of a table, which a bar would end."""
    return text if isinstance(text, Markdown) else _inline(text).replace("|", "\\|")


def _inline(text: str) -> str:
    """Text inside a line of Markdown, behind its first character."""
    return "".join(f"`{part}`" if code else MARKDOWN.sub(r"\\\1", part) for code, part in _pieces(one_line(text)))


def fenced(text: str, language: str = "") -> Markdown:
    """Lines of code for Markdown, between fences longer than any run of backquotes in them."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markdown(f"{fence}{language}\n{visible(text)}\n{fence}")


def latex(text: str) -> str:
    """Text for LaTeX, in ASCII: no character is a command, numbers have a minus, a footnote's mark is raised."""
    parts = []
    for code, part in _pieces(one_line(text)):
        escaped = "".join(LATEX.get(character) or _latex_character(character) for character in part)
        numbers = POWER_OF_TEN.sub(_latex_power, MINUS.sub("$-$", escaped))
        parts.append(f"\\texttt{{{escaped}}}" if code else MARK.sub(r"\\textsuperscript{\1}", numbers))
    return "".join(parts)


def latex_row(cells: Sequence[str]) -> str:
    """Cells that are LaTeX already as a row; a bracket or a star that begins it would belong to the row before."""
    return ("{}" if cells[0].startswith(("[", "*")) else "") + " & ".join(cells)


@lru_cache(maxsize=4096)
def _latex_character(character: str) -> str:
    """An accented letter by its command, another character by what resembles it, else by its number: `U+043C`."""
    if character.isascii():
        return character
    decomposed = unicodedata.normalize("NFD", character)
    base, mark = decomposed[0], decomposed[1:]
    if mark in ACCENTS and base.isascii() and base.isalpha():
        return f"{{\\{ACCENTS[mark]}{{{base}}}}}"
    likeness = ASCII.get(character) or _likeness(character) or f"U+{ord(character):04X}"
    return "".join(LATEX.get(part, part) for part in likeness)


def _latex_power(match: re.Match[str]) -> str:
    number, sign, power = match.groups()
    return f"${number}\\times10^{{{sign.removeprefix('+')}{power}}}$"


def html(text: str) -> str:
    """Text for an element of HTML: nothing is a tag, a footnote's mark is raised."""
    parts = ((code, escape(part)) for code, part in _pieces(visible(text)))
    return "".join(f"<code>{part}</code>" if code else MARK.sub(r"<sup>\1</sup>", part) for code, part in parts)


def html_attribute(text: str) -> str:
    """Text for the value of an attribute, between quotes."""
    return escape(visible(text))


def json_text(value: Any, indent: int | None = 1) -> str:
    """JSON as every reader takes it: numbers that are not finite are null. Without `indent` in one line."""
    return json.dumps(finite(value), indent=indent, allow_nan=False)


def finite(value: Any) -> Any:
    """The value with None for every number in it that is not finite; records of pydantic as dicts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return finite(value.model_dump()) if hasattr(value, "model_dump") else value


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """One line per record under the keys of all of them, in the order in which they first occur; empty without a value."""
    columns = list(dict.fromkeys(key for keys in dict.fromkeys(map(tuple, records)) for key in keys))
    text = _csv_lines(columns, records, csv.QUOTE_MINIMAL)
    return _csv_lines(columns, records, csv.QUOTE_NONNUMERIC) if "\r" in text else text  # which the first leaves bare


def _csv_lines(columns: list[str], records: Sequence[Mapping[str, Any]], quoting: Literal[0, 2]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_value(value) for value in map(record.get, columns)] for record in records)
    return text.getvalue()


def _csv_value(value: Any) -> Any:
    """The value without what no file can hold; None, an empty cell, for what is not finite."""
    if value is None or type(value) is float:  # most of a million cells
        return value if value is not None and math.isfinite(value) else None
    if isinstance(value, str):
        return value if value.isascii() else HALVES.sub(UNSHOWN, value)
    return finite(value)


def name_problem(name: str) -> str | None:
    """Why a name cannot be that of a folder or a file on every system; None if it can."""
    if not name.strip(". "):
        return "it names no folder of its own"
    if set(name) & set('/\\:*?"<>|') or HIDDEN.search(name) or BLANK.search(name) or "\n" in name:
        return "it holds a character that names of folders cannot have"
    return "it is longer than 200 bytes" if len(name.encode()) > 200 else None

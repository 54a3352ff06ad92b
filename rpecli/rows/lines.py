"""Text files with one problem a line, or a block of lines: how input and answer are told apart."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from rpecli.rows.row import DataError, Row

IN_OUT = re.compile(r"IN: (?P<input>.*?) OUT: (?P<target>.*)")
LAST_EQUALS = re.compile(r"\$?(?P<input>.*)=(?P<target>[^=$]*)\$?")
TAB = re.compile(r"(?P<input>[^\t]*)\t(?P<target>[^\t]*)")
STORY = re.compile(r"(?P<number>\d+) (?P<text>[^\t]*)(?:\t(?P<target>[^\t]*)(?:\t.*)?)?")


def lines_of(text: str) -> list[str]:
    """The lines of a text without their ends: line feeds, carriage returns or both. Other separators, as U+2028, are text."""
    return [line.removesuffix("\n") for line in io.StringIO(text, newline=None)]


def read(path: Path, text: str, rule: str = "") -> list[Row]:
    """The rows of a text by a rule, or by the first rule that fits all of it.

    Raises:
        DataError: the rule is unknown, or a line does not fit it.
    """
    if rule:
        if rule not in RULES:
            raise DataError(f"rule {rule!r}: the rules for text files are {', '.join(RULES)}")
        return list(RULES[rule](path, text))
    for candidate in RULES.values():
        try:
            return list(candidate(path, text))
        except DataError:
            continue
    first = next((line for line in lines_of(text) if line.strip()), "")
    raise DataError(
        f"{path}: no rule tells input from answer in lines like {first[:60]!r}: "
        f"rules are {', '.join(RULES)}; for running text use --task text:path={path}"
    )


def _matching(pattern: re.Pattern[str], form: str) -> Callable[[Path, str], Iterator[Row]]:
    def rows(path: Path, text: str) -> Iterator[Row]:
        for number, line in enumerate(lines_of(text), 1):
            if not line.strip():
                continue
            match = pattern.fullmatch(line)
            if match is None:
                raise DataError(f"{path}:{number}: not {form}: {line[:60]!r}")
            yield Row({"input": match["input"].strip(), "target": match["target"].strip()}, str(path), number)

    return rows


def _blocks(path: Path, text: str) -> Iterator[Row]:
    """Records that span lines: `Input:`, its lines, `Target:`, its lines."""
    block: dict[str, list[str]] = {}
    name, start = "", 0
    for number, line in enumerate([*lines_of(text), "Input:"], 1):
        head = line.strip()
        if head == "Input:":
            if block:
                yield _block(block, path, start)
            block, name, start = {"input": []}, "input", number
        elif head == "Target:" and name == "input":
            block["target"], name = [], "target"
        elif name:
            block[name].append(line)
        elif head:
            raise DataError(f"{path}:{number}: not a block that begins with Input: {line[:60]!r}")


def _block(block: dict[str, list[str]], path: Path, line: int) -> Row:
    if "target" not in block:
        raise DataError(f"{path}:{line}: an Input: without a Target:")
    return Row({key: "\n".join(lines).strip() for key, lines in block.items()}, str(path), line)


def _stories(path: Path, text: str) -> Iterator[Row]:
    """Numbered stories with questions (bAbI): every question has all that came before it in its story as input."""
    story: list[str] = []
    for number, line in enumerate(lines_of(text), 1):
        if not line.strip():
            continue
        match = STORY.fullmatch(line)
        if match is None:
            raise DataError(f"{path}:{number}: not a numbered line of a story: {line[:60]!r}")
        if match["number"] == "1":
            story = []
        if match["target"] is not None:
            yield Row({"input": " ".join([*story, match["text"].strip()]), "target": match["target"].strip()}, str(path), number)
        else:
            story.append(match["text"].strip())


RULES: dict[str, Callable[[Path, str], Iterator[Row]]] = {
    "blocks": _blocks,
    "in-out": _matching(IN_OUT, "IN: input OUT: answer"),
    "story": _stories,
    "tab": _matching(TAB, "input, tab, answer"),
    "equals": _matching(LAST_EQUALS, "input=answer"),
}

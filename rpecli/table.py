"""A table of plain text, and how it is written as Markdown, as LaTeX and in a terminal."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rpecli import markdown

if TYPE_CHECKING:
    from rich.table import Table as RichTable

ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$"}
ESCAPES |= {character: "\\" + character for character in "&%$#_{}"}
SIZES = {98: "small", 112: "footnotesize", 130: "scriptsize"}  # characters of a row that fit the width of a page of paper


@dataclass(frozen=True)
class Table:
    """Cells as text (a trailing ` [a]` points at footnote a), with a mask of the bold ones."""

    title: str
    columns: list[str]
    align: str  # "l" or "r" a column
    rows: list[list[str]]
    bold: list[list[bool]]
    caption: str
    footnotes: list[str]
    folded: bool = False  # shown only when asked for, where a page can do that


@dataclass
class Footnotes:
    """Hands out letters, the same one for the same text."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return f" [{letter(self.texts.index(text))}]"

    @property
    def lines(self) -> list[str]:
        return [f"[{letter(i)}] {text}" for i, text in enumerate(self.texts)]


def letter(index: int) -> str:
    """a to z, then aa, ab and so on."""
    return (letter(index // 26 - 1) if index >= 26 else "") + "abcdefghijklmnopqrstuvwxyz"[index % 26]


# --------------------------------------------------------------------------------------------------------------- Markdown


def to_markdown(table: Table, level: int = 3) -> str:
    """Heading, aligned table, caption, footnotes; ends with a newline."""
    cells = [[_markdown_cell(text, bold) for text, bold in zip(*pair, strict=True)] for pair in _with_bold(table)]
    head = [_markdown_cell(name, False) for name in table.columns]
    notes = ["  \n".join(table.footnotes)] if table.footnotes else []
    body = [markdown.table(head, cells, table.align, padded=True), table.caption, *notes]
    if table.folded:
        body = [f"<details><summary>{len(table.rows)} rows</summary>", *body, "</details>"]
    return "\n\n".join([f"{'#' * level} {table.title}", *body]) + "\n"


def _with_bold(table: Table) -> list[tuple[list[str], list[bool]]]:
    return list(zip(table.rows, table.bold, strict=True))


def _markdown_cell(text: str, bold: bool) -> str:
    escaped = re.sub(r"(\*|<(?=[A-Za-z/!?]))", r"\\\1", text)
    return f"**{escaped}**" if bold else escaped


# --------------------------------------------------------------------------------------------------------------- terminal


def to_rich(table: Table) -> "RichTable":
    """For a terminal. Cells are Text, not markup, which would swallow the marks of footnotes."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    below = "\n".join([table.caption, *table.footnotes])
    made = RichTable(title=Text(table.title, style="bold"), caption=Text(below, style="dim"), box=SIMPLE_HEAD)
    made.title_justify = made.caption_justify = "left"
    made.show_edge, made.padding = False, (0, 1, 0, 0)
    for name, align in zip(table.columns, table.align, strict=True):
        made.add_column(Text(name), justify="left" if align == "l" else "right", overflow="fold")
    for texts, bold in _with_bold(table):
        made.add_row(*(Text(text, style="bold" if mark else "") for text, mark in zip(texts, bold, strict=True)))
    return made


# ------------------------------------------------------------------------------------------------------------------ LaTeX


def to_latex(table: Table) -> str:
    """A floating table for `\\input`; wants the package booktabs and nothing else."""
    rows = [[_latex_cell(text, bold) for text, bold in zip(*pair, strict=True)] for pair in _with_bold(table)]
    head = " & ".join(latex(name) for name in table.columns)
    notes = "".join("\\par\\smallskip{\\footnotesize " + _latex_marks(latex(note)) + "}\n" for note in table.footnotes)
    size = next((size for room, size in SIZES.items() if _across(table) <= room), "tiny")
    body = "\n".join(" & ".join(row) + r" \\" for row in rows)
    return (
        f"\\begin{{table}}[htbp]\n\\centering\\{size}\\setlength{{\\tabcolsep}}{{4pt}}\n"
        f"\\caption{{{latex(table.title)}. {latex(table.caption)}}}\n\\label{{tab:{slug(table.title)}}}\n"
        f"\\begin{{tabular}}{{{table.align}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
        f"{notes}\\end{{table}}\n"
    )


def _across(table: Table) -> int:
    """Characters of the widest row, and two for the space before each column."""
    return sum(max(len(line[i]) for line in [table.columns, *table.rows]) + 2 for i in range(len(table.columns)))


def latex(text: str) -> str:
    """Plain text with every character that LaTeX would take for a command made plain."""
    return "".join(ESCAPES.get(character, character) for character in text)


def _latex_cell(text: str, bold: bool) -> str:
    escaped = _latex_marks(latex(re.sub(r"\(([^()-]+)-([^()-]+)\)", r"(\1--\2)", text)))
    return f"\\textbf{{{escaped}}}" if bold else escaped


def _latex_marks(text: str) -> str:
    return re.sub(r" ?\[([a-z]{1,2})\]", r"\\textsuperscript{\1}", text)


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")

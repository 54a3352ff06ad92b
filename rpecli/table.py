"""One table of text, and how it is written to a terminal, as Markdown, as LaTeX and as HTML."""

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from rpecli.escape import MARK, Markdown, html, html_attribute, latex, latex_row, markdown, markdown_cell, visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
    from rich.table import Table as RichTable

Item = TypeVar("Item")
MISSING = "-"  # the cell of what is not there
LATEX_WIDTH = r"\ifdim\width>\linewidth\linewidth\else\width\fi"  # that of a table, and at most that of the page
ANY_WIDTH = 10_000  # of a terminal that holds every row on one line
FOLDED_WIDTH = 24  # of a name in a terminal that does not hold every row on one line

NUMBER = re.compile(r"[<>]? ?([+-]?\d[\d,]*\.?\d*(?:e[+-]?\d+)?)")
RANGE = re.compile(r" (?:\([^()]*\d[^()]*\)|\[[^\[\]]*\d[^\[\]]*\])")  # behind a number
NUMBER_CELL = re.compile(NUMBER.pattern + r"(x| ?%)?( [(\[].*)?")  # a number, its unit, and a range or a mark behind it


@dataclass(frozen=True)
class Table:
    """Cells of text under column headings, with a title above and a caption and footnotes below.

    Text may hold `code` in backquotes; a trailing ` [a]` in a cell refers to footnote a. `align` has an `l` or `r` per column;
    without it, columns of numbers stand to the right. `bold` has a flag per cell; without it, nothing is bold. Printing a table
    with rich shows it in the terminal, or `narrow` in its place where the whole would have to fold its cells.
    """

    title: str
    columns: Sequence[str]
    align: str
    rows: list[list[str]]
    bold: list[list[bool]] = field(default_factory=list)
    caption: str = ""
    footnotes: list[str] = field(default_factory=list)
    folded: bool = False  # an HTML page and Markdown show it only on request
    foot: int = 0  # the last so many rows are references, which an HTML page does not sort
    narrow: "Table | None" = None
    section: str = ""  # what it is about, where tables of several sections stand together
    part: str = ""  # of its section, where an HTML page divides sections

    def __post_init__(self) -> None:
        widths = {len(self.columns), *map(len, self.rows), *map(len, self.bold)}
        if len(widths) > 1 or len(self.align) not in (0, len(self.columns)):
            raise ValueError(f"table {self.heading!r}: every row, its flags and the alignment have one entry per column")
        if not self.align:
            object.__setattr__(self, "align", "".join(map(self._side, range(len(self.columns)))))

    @classmethod
    def of(cls, records: Sequence[Mapping[str, str]], title: str = "", columns: Collection[str] = (), **more: Any) -> "Table":
        """One row per record and one column per key, of the first record unless `columns` names some."""
        columns = list(columns or (records[0] if records else ()))
        return cls(title, columns, "", [[record[column] for column in columns] for record in records], **more)

    @property
    def heading(self) -> str:
        """The title, behind that of its section."""
        return f"{self.section}: {self.title}" if self.section else self.title

    def within_section(self) -> "Table":
        """The same where its section has a heading of its own: only the title, which begins with a capital letter."""
        return replace(self, section="", title=self.title[:1].upper() + self.title[1:])

    def _side(self, column: int) -> str:
        cells = [row[column] for row in self.rows if row[column] not in ("", "-")]
        return "r" if column and cells and all(NUMBER_CELL.fullmatch(cell) for cell in cells) else "l"

    def _cells(self, write: Callable[[str], str] = str) -> Iterator[list[tuple[str, bool]]]:
        """Each row as its cells, written for some place, with whether they are bold."""
        for number, row in enumerate(self.rows):
            yield list(zip(map(write, row), self.bold[number] if self.bold else [False] * len(row), strict=True))

    # terminal

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        def is_too_wide(grid: "RichTable") -> bool:
            return console.measure(grid, options=options.update(max_width=ANY_WIDTH)).maximum > options.max_width

        shown = self
        while (too_wide := is_too_wide(grid := shown._rich_grid())) and shown.narrow:
            shown = shown.narrow
        grid = shown._rich_grid(at_options) if too_wide else grid
        below = visible("\n".join(filter(None, [shown.caption, *shown.footnotes])))
        yield from filter(None, [Text(visible(self.heading), style="bold"), grid, Text(below, style="dim")])

    def _rich_grid(self, fold: Callable[[str], str] = str) -> "RichTable":
        """The cells for a terminal, folded in some way, as rich's Text: markup would swallow the marks of footnotes."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as RichTable
        from rich.text import Text

        grid = RichTable(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        rows = [[(fold(text), bold) for text, bold in cells] for cells in self._cells(visible)]
        for number, (name, side) in enumerate(zip(self.columns, self.align, strict=True)):
            is_folded = any("\n" in row[number][0] for row in rows)  # and not broken once more
            justify: JustifyMethod = "left" if side == "l" else "right"
            grid.add_column(Text(visible(name)), justify=justify, overflow="fold", no_wrap=is_folded)
        for row in rows:
            grid.add_row(*(Text(text, style="bold" if bold else "") for text, bold in row))
        return grid

    # Markdown

    def markdown(self, level: int = 0, padded: bool = True) -> Markdown:
        """Title, table, caption and footnotes, without a newline at the end.

        The title is a heading of `level`, or bold text at level 0. `padded` fills every column to its widest cell.
        """
        heading = markdown(self.heading)
        title = f"{'#' * level} {heading}" if level else f"**{heading}**"
        parts = [self._markdown_grid(padded), markdown(self.caption), "  \n".join(map(markdown, self.footnotes))]
        if self.folded:
            parts = [f"<details><summary>{plural(len(self.rows), 'row')}</summary>", *parts, "</details>"]
        return Markdown("\n\n".join(filter(None, [title if self.title else "", *parts])))

    def _markdown_grid(self, padded: bool) -> str:
        head = list(map(markdown_cell, self.columns))
        body = [[f"**{cell}**" if bold else cell for cell, bold in cells] for cells in self._cells(markdown_cell)]
        rule = ["---:" if side == "r" else "---" for side in self.align]
        if padded:
            widths = [max(3, *map(len, column)) for column in zip(head, *body, strict=True)]
            head, *body = ([_pad(*cell) for cell in zip(line, self.align, widths, strict=True)] for line in (head, *body))
            rule = ["-" * (width - 1) + ":" if side == "r" else ":" + "-" * (width - 1)
                    for side, width in zip(self.align, widths, strict=True)]  # fmt: skip
        return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))

    # LaTeX

    def latex(self) -> str:
        """A floating table over the whole width of a page, in smaller print where it is wider; needs booktabs and graphicx."""
        rows = [[f"\\textbf{{{cell}}}" if bold else cell for cell, bold in cells] for cells in self._cells(latex)]
        head, body = latex_row(list(map(latex, self.columns))), "\n".join(f"{latex_row(row)} \\\\" for row in rows)
        notes = "".join(f"\\par\\smallskip\n\\parbox{{\\linewidth}}{{{latex(note)}}}\n" for note in self.footnotes)
        return (
            f"\\begin{{table*}}[p]\n\\centering\\footnotesize\\setlength{{\\tabcolsep}}{{4pt}}\n"
            f"\\caption{{{latex(self.heading)}. {latex(self.caption)}}}\n\\label{{tab:{slug(self.heading)}}}\n"
            f"\\resizebox{{{LATEX_WIDTH}}}{{!}}{{%\n"
            f"\\begin{{tabular}}{{{self.align}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}\n\\bottomrule\n"
            f"\\end{{tabular}}}}\n"
            f"{notes}\\end{{table*}}\n"
        )

    def parts(self, rows: int) -> "list[Table]":
        """The table, or where it has more rows, several of so many."""
        starts = range(0, len(self.rows), rows)
        if len(starts) < 2:
            return [self]
        return [
            replace(self, rows=self.rows[at : at + rows], bold=self.bold[at : at + rows], title=f"{self.title} ({number})")
            for number, at in enumerate(starts, 1)
        ]

    # HTML

    def html(self, links: Mapping[str, str] | None = None, minor: Collection[str] = ()) -> str:
        """The table element alone. `links` maps the text of a row's first cell to an address; numbers carry a key to sort by.

        Columns with a name in `minor`, and ranges behind numbers, have a class, so that a narrow page can leave them out.
        """
        head = "".join(
            f'<th scope="col"{_class(side, name in minor)}>{html(name)}</th>'
            for name, side in zip(self.columns, self.align, strict=True)
        )
        rows = [self._html_row(cells, links or {}, minor) for cells in self._cells()]
        body, foot = rows[: len(rows) - self.foot], rows[len(rows) - self.foot :]
        tail = f"<tfoot>{''.join(foot)}</tfoot>" if foot else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>{tail}</table>"

    def _html_row(self, cells: list[tuple[str, bool]], links: Mapping[str, str], minor: Collection[str]) -> str:
        (name, bold), *rest = cells
        label = MARK.sub("", name)
        first = html(name)
        if label in links:
            first = f'<a href="{html_attribute(links[label])}">{html(label)}</a>{first.removeprefix(html(label))}'
        row = f'<tr><th scope="row">{f"<b>{first}</b>" if bold else first}</th>'
        for (text, bold), side, column in zip(rest, self.align[1:], self.columns[1:], strict=True):
            value = sort_key(text) if side == "r" else None
            key = "" if value is None else f' data-v="{value:g}"'
            cell = html(text) if value is None else RANGE.sub(r'<span class="range">\g<0></span>', html(text))
            row += f"<td{_class(side, column in minor)}{key}>{f'<b>{cell}</b>' if bold else cell}</td>"
        return f"{row}</tr>"


@dataclass
class Footnotes:
    """Hands out letters, the same one for the same text."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """` [a]`, to be written behind what the text is about."""
        if text not in self.texts:
            self.texts.append(text)
        return f" [{letter(self.texts.index(text))}]"

    @property
    def lines(self) -> list[str]:
        return [f"[{letter(i)}] {text}" for i, text in enumerate(self.texts)]


def letter(index: int) -> str:
    """a to z, then aa, ab and so on."""
    return (letter(index // 26 - 1) if index >= 26 else "") + "abcdefghijklmnopqrstuvwxyz"[index % 26]


def duration(seconds: float) -> str:
    """`40 s`, `2 min 05 s`, `1 h 02 min`."""
    minutes, rest = divmod(int(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes_of_hour = divmod(minutes, 60)
    return f"{hours} h {minutes_of_hour:02} min" if hours else f"{minutes} min {rest:02} s"


def at_options(text: str) -> str:
    """A long `name:option=value:option=value` in several lines, broken before its colons where these are short enough."""
    if len(text) <= FOLDED_WIDTH or " " in text:
        return text
    first, *options = re.split(r"(?=:)", text)
    lines = [first]
    for option in options:
        lines = [*lines[:-1], lines[-1] + option] if len(lines[-1] + option) <= FOLDED_WIDTH else [*lines, f"  {option}"]
    return "\n".join(lines)


def plural(number: int, noun: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def few(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """`a, b, c and 5 more`: the first names, and how many there are beyond `most`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` (2 or more) of the items, evenly chosen, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def whole_percent(share: float | None) -> str:
    """A share in whole per cent, without the sign; MISSING without one, `nan` where it is no number."""
    if share is None:
        return MISSING
    return f"{round(100 * share)}" if math.isfinite(share) else f"{share}"


def multiple(factor: float) -> str:
    """`0.5x`, `4x`, `1024x`: a multiple of the training length."""
    return f"{factor_text(factor)}x"


def factor_text(factor: float) -> str:
    """`0.5`, `4`, `1024`."""
    return f"{factor:.3g}" if factor < 1000 else f"{factor:.0f}"  # .3g would write 8.19e+03


def sort_key(text: str) -> float | None:
    """The number that a cell begins with; just below it after `<`, just above after `>`; None for words and for nothing."""
    match = NUMBER.match(text)
    if match is None:
        return None
    value = float(match.group(1).replace(",", ""))
    return value + {"<": -1e-4, ">": 1e-4}.get(text[0], 0.0)


def slug(text: str) -> str:
    """Lower-case words joined by hyphens, for labels, addresses and file names."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _pad(text: str, side: str, width: int) -> str:
    return text.rjust(width) if side == "r" else text.ljust(width)


def _class(side: str, minor: bool = False) -> str:
    names = " ".join(["l"] * (side == "l") + ["minor"] * minor)
    return f' class="{names}"' if names else ""

"""The summary of a report as plain text for a terminal or a pipe: headline, claims, overview."""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

from rpecli.report import verdict_text
from rpecli.report.aggregate import none_learned
from rpecli.report.content import ReportContent
from rpecli.report.overview import MARKS, Block, Blocks, Row, brief
from rpecli.report.records import Verdict
from rpecli.report.verdict import NOTHING_LEARNED
from rpecli.table import plural

GAP = "  "  # between blocks
MAX_BANDS = 2  # of suites and families, so that a summary has at most 40 lines
NO_BREAK = "\u00a0"
HEAD: Row = ("", "", "")  # the row of headings


def summary(content: ReportContent, width: int) -> list[str]:
    """Lines of at most `width` characters; the first paragraph is the headline's title."""
    headline = content.headline
    lines = [*wrap(headline.title, width), "", *wrap(" ".join(headline.detail), width), ""]
    flags = [flag for task in content.tasks for flag in task.solved_flags]
    unjudged = wrap(f"No claim is judged: {NOTHING_LEARNED}", width)
    lines += unjudged if none_learned(flags) else claim_lines(content.verdicts, width)
    if content.suites:
        lines += ["", *overview_lines(content.suites.blocks(), width, MAX_BANDS)]
    else:
        lines += ["", *overview_lines(brief(content.overview), width)]
    return lines + [line for note in _reference_notes(content) for line in wrap(note, width)]


def _reference_notes(content: ReportContent) -> list[str]:
    """How the runs compare with the reference results; why there are none, of the first task only."""
    first, *others = content.reference_notes or [""]
    if content.reference or not others:
        return content.reference_notes
    return [f"{first.removesuffix('.')}; nor for {plural(len(others), 'other task')}."]


def claim_lines(verdicts: Sequence[Verdict], width: int) -> list[str]:
    """The summary of each claim; what several have in common, the encodings compared and the way to settle, once behind them."""
    compared, settle, of_reference = (_common(verdicts, name) for name in ("compared", "settle", "reference_compared"))
    names = max((len(verdict.claim) for verdict in verdicts), default=0) + len(GAP)
    lines, said = list[str](), dict[str, str]()
    for verdict in verdicts:
        claim = verdict_text.summary(verdict, compared=verdict.compared != compared, settle=verdict.settle != settle)
        if verdict.reference:
            claim = verdict.beside if verdict.reference_compared != of_reference else f"{verdict.reference}."
        elif verdict.summary in said:
            claim = f"{verdict.outcome.capitalize()}, as {said[verdict.summary].lower()}."
        said.setdefault(verdict.summary, verdict.claim)
        lines += wrap(claim, width, verdict.claim.ljust(names))
    closing = [f"{head}: {text}." for head, text in (("Compared", compared), ("Reference", of_reference)) if text]
    closing += [f"{settle}."] if settle else []
    closing += dict.fromkeys(verdict.summary for verdict in verdicts if verdict.reference)
    return lines + wrap(" ".join(closing), width)


def _common(verdicts: Sequence[Verdict], name: Literal["compared", "settle", "reference_compared"]) -> str | None:
    """A part that several summaries share."""
    parts = Counter(part for verdict in verdicts if (part := getattr(verdict, name)))
    return next((part for part, count in parts.most_common(1) if count > 1), None)


def wrap(text: str, width: int, start: str = "") -> list[str]:
    """Lines broken between words, never before `%`; the first after `start`, the others below its end."""
    unbroken = text.replace(" %", f"{NO_BREAK}%")
    lines = textwrap.wrap(unbroken, width - len(start), break_long_words=False, break_on_hyphens=False)
    return [(" " * len(start) if number else start) + line.replace(NO_BREAK, " ") for number, line in enumerate(lines)]


def overview_lines(overview: Blocks, width: int, most: int | None = None) -> list[str]:
    """The blocks side by side in bands, each block in the first band that has room, and the notes at the end.

    Of more than `most` bands the first ones are shown.
    """
    room = width - sum(_name_columns(overview)) - len(overview.keys)
    bands = list[list[Block]]()
    for block in overview.blocks:
        fits = (band for band in bands if sum(_block_width(one, room) for one in [*band, block]) + len(GAP) * len(band) <= room)
        band = next(fits, None)
        if band is None:
            bands.append([block])
        else:
            band.append(block)
    lines = [line for band in bands[:most] for line in (*_band_lines(overview, band, room), "")]
    n_hidden = len(overview.blocks) - sum(map(len, bands[:most]))
    hidden = [f"{n_hidden} more, and every task: --tables, or the page."] if n_hidden else []
    return [*lines[:-1], *wrap(" ".join([*overview.notes, *hidden]), width)]


def _name_columns(overview: Blocks) -> list[int]:
    """The width of each column that names a row."""
    return [max(map(len, column)) for column in zip(overview.keys, *map(overview.name_cells, overview.rows), strict=True)]


def _widths(block: Block) -> list[int]:
    return [max(map(len, column)) for column in _columns(block)]


def _columns(block: Block) -> list[list[str]]:
    """The cells below each other; where some are marked, the others have spaces in place of marks."""
    columns = [list(column) for column in zip(block.columns, *block.cells.values(), strict=True)]
    most = [max(map(_marks, column)) for column in columns]
    return [[cell + " " * (room - _marks(cell)) for cell in column] for column, room in zip(columns, most, strict=True)]


def _marks(cell: str) -> int:
    """How many marks stand behind a number."""
    return len(cell) - len(cell.rstrip(MARKS))


def _block_width(block: Block, room: int) -> int:
    """Of the columns, or of the title, which is folded where there is no room for it."""
    widths = _widths(block)
    return max(min(len(block.title), room), sum(widths) + len(widths) - 1)


def _band_lines(overview: Blocks, band: Sequence[Block], room: int) -> list[str]:
    """Titles, lengths, and one line per encoding that some block of the band has."""
    names, widths = _name_columns(overview), [_block_width(block, room) for block in band]
    titles = [textwrap.wrap(block.title, width) for block, width in zip(band, widths, strict=True)]
    most = max(map(len, titles))
    lines = []
    for number in range(most):  # the last lines of titles stand in one row
        parts = [([""] * (most - len(title)) + title)[number].ljust(width) for title, width in zip(titles, widths, strict=True)]
        lines.append(" " * (sum(names) + len(names)) + GAP.join(parts))
    by_row = [_lines_by_row(block, width) for block, width in zip(band, widths, strict=True)]
    for row in (HEAD, *overview.rows):
        if row is HEAD or any(row in block.cells for block in band):
            cells = overview.keys if row is HEAD else overview.name_cells(row)
            label = " ".join(cell.ljust(width) for cell, width in zip(cells, names, strict=True))
            lines.append(f"{label} {GAP.join(texts[row] for texts in by_row)}")
    return [line.rstrip() for line in lines]


def _lines_by_row(block: Block, width: int) -> defaultdict[Row, str]:
    """Each row's cells in one text of the block's width; blank for rows that it does not have."""
    columns = _columns(block)
    texts = [
        " ".join(cell.rjust(size) for cell, size in zip(cells, _widths(block), strict=True)).ljust(width)
        for cells in zip(*columns, strict=True)
    ]
    return defaultdict(lambda: " " * width, zip((HEAD, *block.cells), texts, strict=True))

"""A table of Markdown: bars in cells escaped, numbers to the right, columns of one width where people read the text itself."""

from collections.abc import Iterable, Sequence

RULES = {"l": "---", "r": "---:"}  # below a heading, where cells are as long as their text


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "", padded: bool = False) -> str:
    """`align` has an l or r (numbers) a column, all l unless given; `padded` fills every column up to its widest cell."""
    align = align or "l" * len(head)
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    widths = [max(3, *map(len, column)) if padded else 0 for column in zip(*lines, strict=True)]
    rule = [_rule(side, width) for side, width in zip(align, widths, strict=True)]
    head, *body = ([_filled(*each) for each in zip(line, align, widths, strict=True)] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *body))


def _filled(cell: str, side: str, width: int) -> str:
    return cell.rjust(width) if side == "r" else cell.ljust(width)


def _rule(side: str, width: int) -> str:
    if not width:
        return RULES[side]
    return "-" * (width - 1) + ":" if side == "r" else ":" + "-" * (width - 1)

"""Table of perplexity by place in the sequence, of tasks that are measured by it."""

from rpecli.report.aggregate import TaskResults
from rpecli.report.format import format_factor
from rpecli.report.measures import PERPLEXITY
from rpecli.report.places import places_by_length
from rpecli.table import MISSING, Table

CAPTION = (
    "Perplexity of the tokens at each place of the sequence, geometric mean over seeds. No token reads later ones, so that "
    "lengths differ at a place by the text that stands there alone (and by RoPE that is scaled by the length). Places beyond the "
    "training length show whether more context helps (lower than before), is not used (equal) or harms (higher)."
)


def tables(task: TaskResults) -> list[Table]:
    """One row per length and encoding; none where no run recorded it."""
    by_length = places_by_length(task)
    ends = sorted({place for all_places in by_length.values() for one in all_places for place in one.by_place})
    rows = [
        [one.encoding.title, one.encoding.group, f"{length} ({format_factor(length, task.train_length)})",
         *(PERPLEXITY.cell(one.by_place[end].mean) if end in one.by_place else MISSING for end in ends)]
        for length, all_places in by_length.items() for one in all_places
    ]  # fmt: skip
    columns = ["encoding", "group", "length", *map(_words, ends)]
    title, align = "perplexity by place", "ll" + "r" * (len(columns) - 2)
    return [Table(title, columns, align, rows, caption=CAPTION, folded=True, section=task.title)] if rows else []


def _words(end: int) -> str:
    """`5-8`: the places that end there; those of another length than a power of two end with it."""
    start = 2 ** ((end - 1).bit_length() - 1) + 1 if end > 1 else 1
    return str(end) if start >= end else f"{start}-{end}"

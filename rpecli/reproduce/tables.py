"""Tables of `rpe reproduce`: papers, cells, and published values beside ours."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from rpecli.report.format import format_p
from rpecli.reproduce.order import MIN_ARMS, Order
from rpecli.reproduce.outcome import MIN_SEEDS, Bin, Outcome
from rpecli.reproduce.paper import Cell, Paper
from rpecli.table import MISSING, Table, duration

WHAT = {"exact_match_eos": "Per cent of strings right", "token_accuracy": "Per cent of tokens right", "perplexity": "Perplexity"}


def papers_table(papers: Mapping[str, Paper]) -> Table:
    """What ships."""
    rows = [{"paper": name, "cells": str(len(paper.cells)), "what": paper.summary} for name, paper in papers.items()]
    return Table.of(rows, "", ("paper", "cells", "what"))


def paper_record(name: str, paper: Paper) -> dict[str, object]:
    """A paper as JSON."""
    facts = {"paper": name, "title": paper.title, "source": paper.source, "summary": paper.summary, "compare": paper.compare}
    return facts | {"measure": paper.measure, "cells": [cell.name for cell in paper.cells]}


def cells_table(paper: Paper, cells: Sequence[Cell], seconds: Mapping[str, float]) -> Table:
    """The published means of cells and what a seed of each costs here."""
    rows = [
        {
            "cell": cell.name,
            "seeds": str(len(cell.seeds)),
            **{name: value(fmean(cell.published(k)), paper.measure) for k, name in enumerate(paper.bin_names)},
            "time a seed": duration(seconds[cell.name]),
        }
        for cell in cells
    ]
    times = "Times are measured on this machine, for all steps; many runs stop early."
    caption = f"{WHAT[paper.measure]}, published. {times}"
    return Table.of(rows, paper.title, ("cell", "seeds", *paper.bin_names, "time a seed"), caption=caption)


def cell_record(name: str, paper: Paper, cell: Cell, seconds: float) -> dict[str, object]:
    """A cell that need not have been run, as JSON."""
    published = {label: fmean(cell.published(k)) for k, label in enumerate(paper.bin_names)}
    return {"paper": name, "cell": cell.name, "published_seeds": len(cell.seeds), "published": published,
            "measure": paper.measure, "seconds_a_seed": round(seconds, 1)}  # fmt: skip


def outcome_table(paper: Paper, outcomes: Sequence[Outcome]) -> Table:
    """Published | ours for each bin, and the verdict."""
    rows = [
        {
            "cell": outcome.cell.name,
            "seeds": f"{outcome.n_kept} of {outcome.n_runs}" if outcome.n_runs else MISSING,
            **{part.name: " | ".join(value(x, paper.measure) for x in (part.published, part.ours)) for part in outcome.bins},
            "verdict": outcome.verdict,
        }
        for outcome in outcomes
    ]
    caption = f"{WHAT[paper.measure]}, published | ours. Seeds: how many of ours count, of those that were run. " + (
        "Runs are smaller than the paper's, so that the order of a task's encodings is compared, not the values."
        if paper.compare == "order"
        else "agrees: within half a point, or within what chance makes of so many seeds."
    )
    return Table.of(rows, paper.title, ("cell", "seeds", *paper.bin_names, "verdict"), caption=caption)


def order_table(orders: Sequence[Order]) -> Table:
    """Rank correlation of published and own order, one line a task."""
    rows = [
        {
            "task": order.task,
            "encodings": f"{sum(map(len, order.arms))} of {order.n_published}",
            "published order": _in_order(order.arms),
            "ours": _in_order(order.arms_here),
            "rank correlation": MISSING if order.correlation is None else f"{order.correlation:.2f}",
            "95 % interval": MISSING if order.interval is None else "{:.2f} to {:.2f}".format(*order.interval),
            "p": format_p(order.p),
        }
        for order in orders
    ]
    caption = (
        f"The best first; = where values are equal. Spearman's; encodings with at least {MIN_SEEDS} seeds, and {MIN_ARMS} of "
        "them for an interval and p. p: permutation test, two-sided."
    )
    columns = ("task", "encodings", "published order", "ours", "rank correlation", "95 % interval", "p")
    return Table.of(rows, "Order of the encodings", columns, caption=caption)


def _in_order(ranks: list[list[str]]) -> str:
    """`nope, t5 = alibi, rope`"""
    return ", ".join(" = ".join(equal) for equal in ranks)


def record(outcome: Outcome) -> dict[str, object]:
    """A cell as JSON."""
    return {
        "cell": outcome.cell.name,
        "verdict": outcome.verdict,
        "runs": outcome.n_runs,
        "kept": outcome.n_kept,
        "published_seeds": len(outcome.cell.seeds),
        "file": outcome.cell.file,
        "bins": [_bin_record(part, outcome.order_only) for part in outcome.bins],
    }


def _bin_record(part: Bin, order_only: bool) -> dict[str, object]:
    values = {**vars(part), "agrees": part.agrees}
    return values | {"allowed": None, "agrees": None} if order_only else values


def order_record(order: Order) -> dict[str, object]:
    """The order of a task's encodings as JSON."""
    return {**vars(order), "as_published": order.is_like_published}


def value(number: float | None, measure: str) -> str:
    """A share in per cent, `99.96`, an exact 100 or 0 without decimals; a perplexity as it is."""
    if number is None:
        return MISSING
    return f"{number:.4g}" if measure == "perplexity" else percent(number)


def percent(share: float) -> str:
    return f"{100 * share:.4g}" if share in (0, 1) else f"{100 * share:.2f}"

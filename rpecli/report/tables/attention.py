"""What `rpe inspect` found, as tables of a report: where encodings look, by which rules, by which terms, and how alike."""

from collections import defaultdict
from statistics import fmean
from typing import Any

from rpecli.report.format import MISSING, number
from rpecli.report.load_probes import Seen
from rpecli.report.tables.attention_text import matrix
from rpecli.table import Table

TERMS = ("content-content", "content-position", "position-content", "position-position")


def tables(seen: Seen) -> list[Table]:
    """Of one panel; a table without rows is left out."""
    made = [_looks(seen), _rules(seen), _terms(seen), _alike(seen)]
    return [table for table in made if table.rows]


def at(each: dict[str, Any], times: float) -> dict[str, Any] | None:
    """What was seen at a multiple of the training length."""
    return next((line for line in each["lengths"] if line["length"] == times * each["trained"]), None)


def facts(seen: Seen, label: str, times: float, name: str) -> list[float]:
    """Of every run of a row the mean over its heads of a number that each has: `distance`, `entropy`, `uniform`."""
    found = [line for each in seen.of(label) if (line := at(each, times))]
    return [fmean(head[name] for layer in line["layers"] for head in layer) for line in found]


def functions(seen: Seen, label: str, times: float) -> list[float]:
    """Of every run the mean over its heads of how much of their mean score is a function of i-j."""
    found = [line["scores"] for each in seen.of(label) if (line := at(each, times)) and line["scores"]]
    fits = [[head["r2"] for layer in scores for head in layer if head["r2"] is not None] for scores in found]
    return [fmean(each) for each in fits if each]


def kept(seen: Seen, label: str, times: float) -> list[float]:
    """Of every run the mean over its heads that look by a rule of what they keep there."""
    made = []
    for each in seen.of(label):
        line = at(each, times)
        found = [head["share"][str(line["length"])] for head in each["patterned_heads"]] if line else []
        made += [fmean(found)] if found else []
    return made


def terms(seen: Seen, label: str, times: float) -> list[dict[str, Any]]:
    """Heads of the first layers of a row's runs, where positions are added to the embeddings."""
    return [head for each in seen.of(label) if (line := at(each, times)) for head in line["terms"] or []]


def fitted(heads: list[dict[str, Any]], key: str) -> float | None:
    """Mean over heads of a fit of their position term."""
    found = [head["toeplitz"][key] for head in heads if head["toeplitz"][key] is not None]
    return fmean(found) if found else None


def _looks(seen: Seen) -> Table:
    columns = [f"{times:g}x" for times in seen.factors]
    rows = []
    for label in seen.labels:
        cells = [_mean(facts(seen, label, times, name), 2) for name in ("distance", "entropy") for times in seen.factors]
        cells += [_share(functions(seen, label, times)) for times in seen.factors]
        runs = seen.of(label)
        named, heads = sum(len(each["patterned_heads"]) for each in runs), sum(map(_heads, runs))
        rows.append([label, _group(seen, label), str(len(runs)), *cells, f"{named}/{heads}"])
    head = [f"{word} {column}" for word in ("distance", "entropy", "f(i-j)") for column in columns]
    caption = (
        "Where answers are said, mean over heads and seeds: distance attended to, and entropy of attention in nats; then how "
    )
    caption += "much of the mean score's variance the best function of i-j explains (what learned no distance has little); last, "
    caption += "how many heads give half of their weight to one place by a rule."
    return _table(seen, "where heads look", ["encoding", "group", "runs", *head, "by a rule"], rows, caption)


def _heads(each: dict[str, Any]) -> int:
    return sum(len(layer) for layer in each["lengths"][0]["layers"])


def _rules(seen: Seen) -> Table:
    rows = []
    for label in seen.labels:
        found: dict[tuple[int, str], list[dict[float, float]]] = defaultdict(list)
        for each in seen.of(label):
            for named in each["patterned_heads"]:
                shares = {float(length) / each["trained"]: share for length, share in named["share"].items()}
                found[named["layer"], named["rule"]].append(shares)
        for (layer, rule), heads in sorted(found.items()):
            cells = [_share([head[times] for head in heads if times in head]) for times in seen.factors]
            rows.append([label, _group(seen, label), str(layer), rule, str(len(heads)), *cells])
    columns = ["encoding", "group", "layer", "rule", "heads", *(f"{times:g}x" for times in seen.factors)]
    caption = "Heads that give at least half of their weight to one place, over seeds, and what they give it at multiples of the "
    caption += "training length. n: the problem's length, t: the place in the answer; place 0: the begin token."
    return _table(seen, "heads that look by a rule", columns, rows, caption, "llll")


def _terms(seen: Seen) -> Table:
    rows = []
    for label in seen.labels:
        for times in seen.factors:
            heads = terms(seen, label, times)
            if heads:
                shares = [_share([head["share"][name] for head in heads]) for name in TERMS]
                fits = [_cell(fitted(heads, key)) for key in ("r2", "r2_row_centered", "r2_chance")]
                rows.append([label, _group(seen, label), f"{times:g}x", *shares, *fits])
    columns = ["encoding", "group", "length", *TERMS, "f(i-j)", "+ g(i)", "noise"]
    caption = (
        "Scores of the first layer split by what meets what (query-key): shares of variance within rows, mean over heads and "
    )
    caption += "seeds. Then how much of position-position is a function of i-j, of i-j but for a constant in each row, and what "
    caption += "noise would have."
    return _table(seen, "score terms", columns, rows, caption)


def _alike(seen: Seen) -> Table:
    cells = matrix(seen.pairs, lambda pair: pair["labels"])
    labels = [label for label in seen.labels if any(label in key for key in cells)]
    rows = [[a, _group(seen, a), *(_cell(cells.get((a, b))) for b in labels)] for a in labels]
    caption = (
        "Similarity of attention where answers are said, at the training length: 1 - JS/ln 2 of the Jensen-Shannon divergence, "
    )
    caption += "heads paired, mean over layers and pairs of runs; with itself: between its seeds."
    return _table(seen, "how alike encodings attend", ["encoding", "group", *labels], rows, caption)


def _group(seen: Seen, label: str) -> str:
    return next(row.group for row in seen.panel.rows if row.label == label)


def _table(seen: Seen, title: str, columns: list[str], rows: list[list[str]], caption: str, left: str = "ll") -> Table:
    mask = [[False] * len(columns) for _ in rows]
    align = left + "r" * (len(columns) - len(left))
    return Table(f"{seen.panel.title}: {title}", columns, align, rows, mask, caption, [], folded=True)


def _mean(values: list[float], places: int) -> str:
    return f"{fmean(values):.{places}f}" if values else MISSING


def _share(values: list[float]) -> str:
    return _cell(fmean(values) if values else None)


def _cell(value: float | None) -> str:
    return MISSING if value is None else number(value)

"""What the probes found, as tables: shifts a row, heads a row, rules, terms, and how alike runs attend."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

ROUNDING = {"logits": 1e-4, "kl": 1e-8}  # what is below it is float32's
WORDS = {"positions": "later positions", "fillers": "behind fillers"}
MEASURES = {
    "logits_mean": "mean change of a logit",
    "kl_mean": "KL divergence of predictions (nats)",
    "changed": "predictions changed",
    "exact_match": "exact match (0: unmoved)",
}

Lines = dict[str, list[dict[str, Any]]]  # of each run


def shift_tables(lines: Lines) -> list[Table]:
    """All that was measured of one run; of several a table a measure, so that runs can be compared."""
    if len(lines) == 1:
        return [_shift_table(*next(iter(lines.items())))]
    return [_measure_table(lines, measure, title) for measure, title in MEASURES.items()]


def _shift_table(name: str, lines: list[dict[str, Any]]) -> Table:
    made = _table(f"{name}: the same strings moved, at length {lines[0]['length']}", ["moved"])
    for title in ("by", "logits mean", "max", "KL mean", "max", "changed", "exact", "was", "token acc", "was"):
        made.add_column(title, justify="right")
    for n in range(len(lines[0]["attention"])):
        made.add_column(f"attention {n + 1}", justify="right")
    made.add_column("on fillers", justify="right")
    made.add_column("untrained", justify="right")
    for line in lines:
        numbers = [_small(key, line[key]) for key in ("logits_mean", "logits_max", "kl_mean", "kl_max")]
        shares = ("changed", "exact_match", "exact_match_before", "token_accuracy", "token_accuracy_before")
        on = "-" if line["probe"] == "positions" else " ".join(_percent(each) for each in line["on_fillers"])
        made.add_row(WORDS[line["probe"]], str(line["shift"]), *numbers, *(_percent(line[key]) for key in shares),
                     *map(_percent, line["attention"]), on, _percent(line["untrained_positions"]))  # fmt: skip
    return made


def _measure_table(lines: Lines, measure: str, title: str) -> Table:
    shifts = sorted({line["shift"] for found in lines.values() for line in found})
    made = _table(title, ["run", "moved"])
    before = measure + "_before" if measure.startswith("exact") else None
    for shift in [0, *shifts] if before else shifts:
        made.add_column(str(shift), justify="right")
    for probe, words in WORDS.items():
        for name, found in lines.items():
            cells = {line["shift"]: _cell(measure, line[measure]) for line in found if line["probe"] == probe}
            unmoved = [_percent(found[0][before])] if before else []
            made.add_row(name, words, *unmoved, *(cells.get(shift, "") for shift in shifts))
    return made


def tables(data: dict[str, Any]) -> list[Table]:
    """Heads, rules, terms and similarity, each if there is something to say."""
    runs = data["runs"]
    made = [_heads(runs), _rules(runs)]
    if any(each["terms"] for each in runs):
        made.append(_terms(runs))
    tasks = dict.fromkeys(each["task"] for each in data["similarity"])
    return made + [_similarity(task, [each for each in data["similarity"] if each["task"] == task]) for task in tasks]


def name_of(each: dict[str, Any]) -> str:
    return each["run"] + (f" as {each['as']}" if each["as"] else "")


def factor(length: int | str, trained: int) -> str:
    """How many times the training length: `0.5x`, `4x`."""
    return f"{int(length) / trained:g}x"


def _heads(runs: list[dict[str, Any]]) -> Table:
    """A head a row; lengths as multiples of each run's training length."""
    columns = _factors(runs)
    made = _table("Where heads look: mean distance, entropy (nats), and the share of their mean score that is a function of i-j",
                  ["run", "head"])  # fmt: skip
    for word in ("distance", "entropy"):
        for column in columns:
            made.add_column(f"{word} {column}", justify="right")
    for title in ("f(i-j)", "+ g(i)", "noise"):
        made.add_column(title, justify="right")
    for each in runs:
        at = {factor(line["length"], each["trained"]): line["layers"] for line in each["lengths"]}
        for layer, heads in enumerate(each["scores"]):
            for head, fit in enumerate(heads):
                cells = [
                    f"{at[c][layer][head][word]:.2f}" if c in at else "" for word in ("distance", "entropy") for c in columns
                ]
                fits = [_percent(fit[key]) for key in ("plain", "rows", "floor")]
                made.add_row(name_of(each), f"{layer + 1}.{head + 1}", *cells, *fits)
    return made


def _rules(runs: list[dict[str, Any]]) -> Table:
    """Heads with half of their weight in one place; n is the problem's length, t the place in the answer."""
    columns = _factors(runs)
    made = _table("Heads that look by a rule, and their weight there (n: problem length, t: place in the answer, place 0: begin)",
                  ["run", "head", "rule"])  # fmt: skip
    for column in columns:
        made.add_column(column, justify="right")
    for each in runs:
        for found in each["look_back"]:
            at = {factor(length, each["trained"]): _percent(share) for length, share in found["share"].items()}
            head = f"layer {found['layer']} head {found['head']}"
            made.add_row(name_of(each), head, found["rule"], *(at.get(c, "") for c in columns))
        if not each["look_back"]:
            made.add_row(name_of(each), "none", "", *[""] * len(columns))
    return made


def _factors(runs: list[dict[str, Any]]) -> list[str]:
    ratios = {line["length"] / each["trained"] for each in runs for line in each["lengths"]}
    return [f"{ratio:g}x" for ratio in sorted(ratios)]


def _terms(runs: list[dict[str, Any]]) -> Table:
    """Heads of the first layers of runs whose positions are added to the embeddings."""
    names = next(list(each["terms"][0]["share"]) for each in runs if each["terms"])
    made = _table("First-layer scores by term (query-key; share of variance within rows); position-position as a function of i-j",
                  ["run", "head"])  # fmt: skip
    for title in (*names, "f(i-j)", "+ g(i)", "noise"):
        made.add_column(title, justify="right")
    for each in runs:
        for head in each["terms"] or []:
            fits = [_percent(head["toeplitz"][key]) for key in ("plain", "rows", "floor")]
            made.add_row(name_of(each), f"1.{head['head']}", *(_percent(head["share"][name]) for name in names), *fits)
    return made


def alike(pair: dict[str, Any]) -> float:
    """Similarity of two runs: mean over layers of their paired heads."""
    return sum(layer["paired"] for layer in pair["layers"]) / len(pair["layers"])


def _similarity(task: str, pairs: list[dict[str, Any]]) -> Table:
    names = list(dict.fromkeys(name for pair in pairs for name in pair["runs"]))
    known = {tuple(pair["runs"]): alike(pair) for pair in pairs}
    made = _table(f"{task}: similarity of attention, 1 - JS/ln 2, heads paired, mean of layers", ["run"])
    for n in range(len(names)):
        made.add_column(str(n + 1), justify="right")
    for n, row in enumerate(names):
        cells = [1.0 if row == name else known.get((row, name), known.get((name, row))) for name in names]
        made.add_row(f"{n + 1} {row}", *("" if cell is None else f"{cell:.2f}" for cell in cells))
    return made


def _table(title: str, left: Iterable[str]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for name in left:
        made.add_column(name, overflow="fold")
    return made


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _cell(measure: str, value: float) -> str:
    return _small(measure, value) if measure.split("_")[0] in ROUNDING else _percent(value)


def _small(measure: str, value: float) -> str:
    """Two digits; what is rounding is called 0."""
    return "0" if value < ROUNDING[measure.split("_")[0]] else f"{value:.2g}"

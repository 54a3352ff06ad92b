"""What the probes found, as tables: shifts a row, heads a row, rules, terms, and how alike runs attend."""

from collections.abc import Callable, Iterable
from typing import Any

from rich.table import Table

ROUNDING = {"logits": 1e-4, "kl": 1e-8}  # what is below it is float32's
WORDS = {"positions": "later positions", "prefix": "behind a prefix"}
MEASURES = {
    "logits_mean": "mean change of a logit",
    "kl_mean": "KL divergence of predictions (nats)",
    "changed": "predictions changed",
    "exact_match": "exact match (0: unmoved)",
    "attention": "attention that went elsewhere, mean of layers",
}

FEW = 12  # runs up to which every two are set side by side

Lines = dict[str, list[dict[str, Any]]]  # of each run


def shift_tables(lines: Lines) -> list[Table]:
    """All that was measured of one run; of several a table a measure, so that runs can be compared."""
    if len(lines) == 1:
        return [_shift_table(*next(iter(lines.items())))]
    return [_measure_table(lines, measure, title) for measure, title in MEASURES.items()]


def measured(line: dict[str, Any], measure: str) -> float:
    """One measure of a shift; of attention, kept by layer, the mean."""
    value = line[measure]
    return float(sum(value) / len(value)) if isinstance(value, list) else float(value)


def _shift_table(name: str, lines: list[dict[str, Any]]) -> Table:
    made = _table(f"{name}: the same strings moved, at length {lines[0]['length']}", ["moved"])
    for title in ("by", "logits mean", "max", "KL mean", "max", "changed", "exact", "was", "token acc", "was"):
        made.add_column(title, justify="right")
    for n in range(len(lines[0]["attention"])):
        made.add_column(f"attention {n + 1}", justify="right")
    made.add_column("on the prefix", justify="right")
    made.add_column("untrained", justify="right")
    for line in lines:
        numbers = [_small(key, line[key]) for key in ("logits_mean", "logits_max", "kl_mean", "kl_max")]
        shares = ("changed", "exact_match", "exact_match_before", "token_accuracy", "token_accuracy_before")
        on = "-" if line["probe"] == "positions" else " ".join(_percent(each) for each in line["on_prefix"])
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
            cells = {line["shift"]: _cell(measure, measured(line, measure)) for line in found if line["probe"] == probe}
            unmoved = [_percent(found[0][before])] if before else []
            made.add_row(name, words, *unmoved, *(cells.get(shift, "") for shift in shifts))
    return made


def tables(data: dict[str, Any]) -> list[Table]:
    """Heads, rules, functions of the distance, terms and similarity, each if there is something to say."""
    runs = data["runs"]
    made = [_heads(runs), _rules(runs), _functions(runs)]
    if any(line["terms"] for each in runs for line in each["lengths"]):
        made.append(_terms(runs))
    for task in dict.fromkeys(each["task"] for each in data["similarity"]):
        made += similarities(task, [each for each in data["similarity"] if each["task"] == task])
    return made


def name_of(each: dict[str, Any]) -> str:
    return each["run"] + (f" as {each['encoding_override']}" if each["encoding_override"] else "")


def factor(length: int | str, trained: int) -> str:
    """How many times the training length: `0.5x`, `4x`."""
    return f"{int(length) / trained:g}x"


def _heads(runs: list[dict[str, Any]]) -> Table:
    """A head a row; lengths as multiples of each run's training length."""
    columns = _factors(runs)
    made = _table(
        "Where heads look: mean distance of what they attend to, and entropy of their attention (nats)", ["run", "head"]
    )
    for word in ("distance", "entropy"):
        for column in columns:
            made.add_column(f"{word} {column}", justify="right")
    for each in runs:
        at = {factor(line["length"], each["trained"]): line["layers"] for line in each["lengths"]}
        for layer, head in _every_head(each):
            cells = [f"{at[c][layer][head][word]:.2f}" if c in at else "" for word in ("distance", "entropy") for c in columns]
            made.add_row(name_of(each), f"{layer + 1}.{head + 1}", *cells)
    return made


def _functions(runs: list[dict[str, Any]]) -> Table:
    """How far each head's mean score is one of the distance, at every length at which whole matrices were looked at."""
    columns, fits = _factors(runs), {"r2": "f(i-j)", "r2_row_centered": "+ g(i)", "r2_chance": "noise"}
    made = _table("How much of a head's mean score is a function of i-j; but for a constant in each row (+ g(i)); of noise",
                  ["run", "head"])  # fmt: skip
    for title in fits.values():
        for column in columns:
            made.add_column(f"{title} {column}", justify="right")
    for each in runs:
        at = {factor(line["length"], each["trained"]): line["scores"] for line in each["lengths"] if line["scores"]}
        for layer, head in _every_head(each):
            cells = [_percent(at[c][layer][head][fit]) if c in at else "-" for fit in fits for c in columns]
            made.add_row(name_of(each), f"{layer + 1}.{head + 1}", *cells)
    return made


def _every_head(each: dict[str, Any]) -> list[tuple[int, int]]:
    return [(layer, head) for layer, heads in enumerate(each["lengths"][0]["layers"]) for head in range(len(heads))]


def _rules(runs: list[dict[str, Any]]) -> Table:
    """Heads with half of their weight in one place; n is the problem's length, t the place in the answer."""
    columns = _factors(runs)
    made = _table("Heads that look by a rule, and their weight there (n: problem length, t: place in the answer, place 0: begin)",
                  ["run", "head", "rule"])  # fmt: skip
    for column in columns:
        made.add_column(column, justify="right")
    for each in runs:
        for found in each["patterned_heads"]:
            at = {factor(length, each["trained"]): _percent(share) for length, share in found["share"].items()}
            head = f"layer {found['layer']} head {found['head']}"
            made.add_row(name_of(each), head, found["rule"], *(at.get(c, "") for c in columns))
        if not each["patterned_heads"]:
            made.add_row(name_of(each), "none", "", *[""] * len(columns))
    return made


def _factors(runs: list[dict[str, Any]]) -> list[str]:
    ratios = {line["length"] / each["trained"] for each in runs for line in each["lengths"]}
    return [f"{ratio:g}x" for ratio in sorted(ratios)]


def _terms(runs: list[dict[str, Any]]) -> Table:
    """Heads of the first layers of runs whose positions are added to the embeddings, a row a length."""
    told = [(each, line, head) for each in runs for line in each["lengths"] for head in line["terms"] or []]
    made = _table("First-layer scores by term (query-key; share of variance within rows); position-position as a function of i-j",
                  ["run", "head", "length"])  # fmt: skip
    names = list(told[0][2]["share"])
    for title in (*names, "f(i-j)", "+ g(i)", "noise"):
        made.add_column(title, justify="right")
    for each, line, head in sorted(told, key=lambda found: (name_of(found[0]), found[2]["head"])):
        fits = [_percent(head["toeplitz"][key]) for key in ("r2", "r2_row_centered", "r2_chance")]
        shares = [_percent(head["share"][name]) for name in names]
        made.add_row(name_of(each), f"1.{head['head']}", factor(line["length"], each["trained"]), *shares, *fits)
    return made


def alike(pair: dict[str, Any]) -> float:
    """Similarity of two runs: mean over layers of their paired heads."""
    return sum(layer["paired"] for layer in pair["layers"]) / len(pair["layers"])


def pair_names(pair: dict[str, Any]) -> list[str]:
    """Both runs, each as its own table calls it."""
    return [name + (f" as {swap}" if swap else "") for name, swap in zip(pair["runs"], pair["encoding_overrides"], strict=True)]


def matrix(pairs: list[dict[str, Any]], names: Callable[[dict[str, Any]], list[str]]) -> dict[tuple[str, str], float]:
    """Mean similarity over the pairs that bear two names, either way round; with itself only what two runs of a name have."""
    found: dict[tuple[str, str], list[float]] = {}
    for pair in pairs:
        a, b = names(pair)
        for key in {(a, b), (b, a)}:
            found.setdefault(key, []).append(alike(pair))
    return {key: sum(values) / len(values) for key, values in found.items()}


def similarities(task: str, pairs: list[dict[str, Any]]) -> list[Table]:
    """Encodings against encodings where some have several runs; runs against runs while they are few."""
    runs = {name for pair in pairs for name in pair_names(pair)}
    labels = {label for pair in pairs for label in pair["labels"]}
    title = f"{task}: similarity of attention, 1 - JS/ln 2, heads paired, mean of layers"
    made = []
    if len(labels) < len(runs):
        made.append(
            _similarity(f"{title}, mean over pairs of runs (with itself: its seeds)", matrix(pairs, lambda p: p["labels"]))
        )
    if len(runs) <= FEW or not made:
        made.append(_similarity(title, {(name, name): 1.0 for name in runs} | matrix(pairs, pair_names)))
    return made


def _similarity(title: str, cells: dict[tuple[str, str], float]) -> Table:
    names = sorted({name for key in cells for name in key})
    made = _table(title, ["run"])
    for n in range(len(names)):
        made.add_column(str(n + 1), justify="right")
    for n, row in enumerate(names):
        found = [cells.get((row, name)) for name in names]
        made.add_row(f"{n + 1} {row}", *("" if cell is None else f"{cell:.2f}" for cell in found))
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

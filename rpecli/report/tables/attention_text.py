"""Tables of `rpe inspect` in the terminal: shifts, attention per head, patterns, score terms, similarity of runs."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from rpecli.report.format import format_factor
from rpecli.report.load_probes import InspectedRun, SimilarityPair
from rpecli.report.probe_values import (
    FITS,
    ROUNDING,
    SHIFT_KINDS,
    SHIFT_MEASURES,
    Matrix,
    ShiftLines,
    factors_of,
    heads_of,
    pair_labels,
    pair_names,
    run_name,
    shift_value,
    similarity_matrix,
)  # fmt: skip
from rpecli.run.records import SCORE_TERMS, LengthAttention, ShiftLine
from rpecli.table import MISSING, Table

MAX_RUNS = 12  # up to which all pairs of runs are shown


def shift_tables(lines: ShiftLines) -> list[Table]:
    """Of one run, what changes in answers and what inside; of several, one table per measure, so that runs can be compared."""
    if len(lines) == 1:
        return _run_shift_tables(*next(iter(lines.items())))
    return [_measure_table(lines, measure, title) for measure, title in SHIFT_MEASURES.items()]


def _run_shift_tables(run: str, lines: list[ShiftLine]) -> list[Table]:
    answers, inside = [], []
    for line in lines:
        place = [SHIFT_KINDS[line["probe"]], str(line["shift"])]
        shares = [line["changed"], line["exact_match"], line["exact_match_before"], line["token_accuracy"]]
        answers.append([*place, *map(_percent, [*shares, line["token_accuracy_before"]])])
        changes = ("logits_mean", "logits_max", "kl_mean", "kl_max")
        numbers = [_small(measure, shift_value(line, measure)) for measure in changes]
        on_prefix = MISSING if line["probe"] == "positions" else " ".join(map(_percent, line["on_prefix"]))
        inside.append([*place, *numbers, *map(_percent, line["attention"]), on_prefix, _percent(line["untrained_positions"])])
    columns = ["shift", "by", "changed", "exact", "before", "tokens", "before"]
    layers = [f"layer {layer}" for layer in range(1, len(lines[0]["attention"]) + 1)]
    more = ["shift", "by", "logits", "max", "KL", "max", *layers, "prefix", "untrained"]
    title = f"{run}: sequences of length {lines[0]['length']}, shifted: answers"
    caption = "Change of a logit, KL divergence in nats; attention that went elsewhere by layer; attention on the prefix."
    return [
        Table(title, columns, "lr" + "r" * (len(columns) - 2), answers),
        Table("Logits and attention", more, "lr" + "r" * (len(more) - 2), inside, caption=caption),
    ]


def _measure_table(lines: ShiftLines, measure: str, title: str) -> Table:
    shifts = sorted({line["shift"] for run_lines in lines.values() for line in run_lines})
    unshifted = measure == "exact_match"
    write = partial(_small, measure) if measure.split("_")[0] in ROUNDING else _percent
    rows = []
    for kind, words in SHIFT_KINDS.items():
        for run, run_lines in lines.items():
            cells = {line["shift"]: write(shift_value(line, measure)) for line in run_lines if line["probe"] == kind}
            before = [_percent(run_lines[0]["exact_match_before"])] if unshifted else []
            rows.append([run, words, *before, *(cells.get(shift, "") for shift in shifts)])
    columns = ["run", "shift", *(["0"] if unshifted else []), *map(str, shifts)]
    return Table(title, columns, "ll" + "r" * (len(columns) - 2), rows)


def tables(data: dict[str, Any]) -> list[Table]:
    """Attention per head, patterns, functions of the distance, score terms and similarity, without tables that would be empty."""
    runs = data["runs"]
    run_tables = [*_attention(runs), _patterns(runs), *_distance_functions(runs)]
    if any(line["terms"] for run in runs for line in run["lengths"]):
        run_tables += _terms(runs)
    for task in dict.fromkeys(pair["task"] for pair in data["similarity"]):
        run_tables += similarity_tables(task, [pair for pair in data["similarity"] if pair["task"] == task])
    return run_tables


def _head_table(title: str, runs: list[InspectedRun], cell: Callable[[LengthAttention, int, int], str]) -> Table:
    """One row per head and one column per length, as a multiple of each run's training length."""
    factors = factors_of(runs)
    rows = []
    for run in runs:
        lines = {format_factor(line["length"], run["train_length"]): line for line in run["lengths"]}
        for layer, head in heads_of(run):
            cells = [cell(lines[factor], layer, head) if factor in lines else "" for factor in factors]
            rows.append([run_name(run), f"{layer + 1}.{head + 1}", *cells])
    return Table(title, ["run", "head", *factors], "ll" + "r" * len(factors), rows)


def _attention(runs: list[InspectedRun]) -> list[Table]:
    def cell(name: Literal["distance", "entropy"], line: LengthAttention, layer: int, head: int) -> str:
        return f"{line['layers'][layer][head][name]:.2f}"

    return [
        _head_table("Mean distance attended to, in rows that predict the answer", runs, partial(cell, "distance")),
        _head_table("Entropy of attention (nats) there", runs, partial(cell, "entropy")),
    ]


def _distance_functions(runs: list[InspectedRun]) -> list[Table]:
    """At the lengths for which whole score matrices were computed."""

    def cell(key: Literal["r2", "r2_row_centered", "r2_chance"], line: LengthAttention, layer: int, head: int) -> str:
        return _percent(line["scores"][layer][head][key]) if line["scores"] else MISSING

    return [
        _head_table("Share of a head's mean score that is a function of i-j", runs, partial(cell, "r2")),
        _head_table("The same with a constant g(i) per row", runs, partial(cell, "r2_row_centered")),
        _head_table("The same of noise", runs, partial(cell, "r2_chance")),
    ]


def _patterns(runs: list[InspectedRun]) -> Table:
    factors = factors_of(runs)
    rows = []
    for run in runs:
        for head in run["patterned_heads"]:
            shares = {format_factor(int(length), run["train_length"]): _percent(share) for length, share in head["share"].items()}
            name = f"{head['layer']}.{head['head']}"
            rows.append([run_name(run), name, head["pattern"], *(shares.get(factor, "") for factor in factors)])
        if not run["patterned_heads"]:
            rows.append([run_name(run), "none", "", *[""] * len(factors)])
    caption = "n: problem length, t: index in the answer, position 0: begin."
    columns = ["run", "head", "pattern", *factors]
    title = "Heads that follow a pattern, and their weight there"
    return Table(title, columns, "lll" + "r" * len(factors), rows, caption=caption)


def _terms(runs: list[InspectedRun]) -> list[Table]:
    """One row per first-layer head and length, of runs whose positions are added to the embeddings."""
    shares, fits = [], []
    for run in sorted(runs, key=run_name):
        heads = [(head, line["length"]) for line in run["lengths"] for head in line["terms"] or []]
        for head, length in sorted(heads, key=lambda entry: entry[0]["head"]):
            place = [run_name(run), f"1.{head['head']}", format_factor(length, run["train_length"])]
            shares.append([*place, *(_percent(head["share"][term]) for term in SCORE_TERMS)])
            fits.append([*place, *(_percent(head["toeplitz"][fit]) for fit in FITS)])
    where = ["run", "head", "length"]
    letters = [term.replace("content", "C").replace("position", "P") for term in SCORE_TERMS]
    caption = "C content, P position, of query and key; share of the variance within rows."
    return [
        Table("First-layer scores by term", [*where, *letters], "lll" + "r" * len(letters), shares, caption=caption),
        Table("Their term P-P as a function of i-j", [*where, *FITS.values()], "lll" + "r" * len(FITS), fits),
    ]


def similarity_tables(task: str, pairs: list[SimilarityPair]) -> list[Table]:
    """Encodings against encodings where some have several runs; runs against runs where they are few."""
    runs = {name for pair in pairs for name in pair_names(pair)}
    labels = {label for pair in pairs for label in pair["labels"]}
    title = f"{task}: similarity of attention, 1 - JS/ln 2, heads paired, mean over layers"
    matrices = []
    if len(labels) < len(runs):
        by_label = f"{title} and pairs of runs (of an encoding with itself: between its seeds)"
        matrices.append(_matrix_table(by_label, similarity_matrix(pairs, pair_labels)))
    if len(runs) <= MAX_RUNS or not matrices:
        itself = {(name, name): 1.0 for name in runs}
        matrices.append(_matrix_table(title, itself | similarity_matrix(pairs, pair_names)))
    return matrices


def _matrix_table(title: str, matrix: Matrix) -> Table:
    names = sorted({name for key in matrix for name in key})
    rows = []
    for number, name in enumerate(names, 1):
        values = [matrix.get((name, other)) for other in names]
        rows.append([f"{number} {name}", *("" if value is None else f"{value:.2f}" for value in values)])
    return Table(title, ["run", *map(str, range(1, len(names) + 1))], "l" + "r" * len(names), rows)


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.1f} %"


def _small(measure: str, value: float) -> str:
    """Two digits; what is below float32 rounding is 0."""
    return "0" if value < ROUNDING[measure.split("_")[0]] else f"{value:.2g}"

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
    """Of one run, all measures in one table; of several, one table per measure, so that runs can be compared."""
    if len(lines) == 1:
        return [_shift_table(*next(iter(lines.items())))]
    return [_measure_table(lines, measure, title) for measure, title in SHIFT_MEASURES.items()]


def _shift_table(run: str, lines: list[ShiftLine]) -> Table:
    columns = ["shift", "by", "logits mean", "max", "KL mean", "max", "changed", "exact", "before", "token acc", "before"]
    columns += [f"attention {layer}" for layer in range(1, len(lines[0]["attention"]) + 1)] + ["on prefix", "untrained"]
    rows = []
    for line in lines:
        changes = ("logits_mean", "logits_max", "kl_mean", "kl_max")
        numbers = [_small(measure, shift_value(line, measure)) for measure in changes]
        shares = [line["changed"], line["exact_match"], line["exact_match_before"], line["token_accuracy"]]
        accuracies = list(map(_percent, [*shares, line["token_accuracy_before"]]))
        on_prefix = MISSING if line["probe"] == "positions" else " ".join(map(_percent, line["on_prefix"]))
        rows.append([SHIFT_KINDS[line["probe"]], str(line["shift"]), *numbers, *accuracies, *map(_percent, line["attention"]),
                     on_prefix, _percent(line["untrained_positions"])])  # fmt: skip
    return Table(f"{run}: the same sequences, shifted, at length {lines[0]['length']}", columns, "", rows)


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
    run_tables = [_attention(runs), _patterns(runs), _distance_functions(runs)]
    if any(line["terms"] for run in runs for line in run["lengths"]):
        run_tables.append(_terms(runs))
    for task in dict.fromkeys(pair["task"] for pair in data["similarity"]):
        run_tables += similarity_tables(task, [pair for pair in data["similarity"] if pair["task"] == task])
    return run_tables


def _head_table(title: str, names: list[Any], runs: list[InspectedRun], cell: Callable[..., str]) -> Table:
    """One row per head and one column per name and length, as multiples of each run's training length."""
    factors = factors_of(runs)
    rows = []
    for run in runs:
        lines = {format_factor(line["length"], run["train_length"]): line for line in run["lengths"]}
        for layer, head in heads_of(run):
            cells = [cell(lines[factor], layer, head, name) if factor in lines else "" for name in names for factor in factors]
            rows.append([run_name(run), f"{layer + 1}.{head + 1}", *cells])
    columns = ["run", "head", *(f"{name} {factor}" for name in names for factor in factors)]
    return Table(title, columns, "ll" + "r" * (len(columns) - 2), rows)


def _attention(runs: list[InspectedRun]) -> Table:
    def cell(line: LengthAttention, layer: int, head: int, name: Literal["distance", "entropy"]) -> str:
        return f"{line['layers'][layer][head][name]:.2f}"

    title = "Attention: mean distance attended to, and entropy (nats), in rows that predict the answer"
    return _head_table(title, ["distance", "entropy"], runs, cell)


def _distance_functions(runs: list[InspectedRun]) -> Table:
    """At the lengths for which whole score matrices were computed."""
    keys = {name: key for key, name in FITS.items()}

    def cell(line: LengthAttention, layer: int, head: int, name: str) -> str:
        return _percent(line["scores"][layer][head][keys[name]]) if line["scores"] else MISSING

    title = "Share of a head's mean score that is a function of i-j, the same with a constant g(i) per row, and of noise"
    return _head_table(title, list(keys), runs, cell)


def _patterns(runs: list[InspectedRun]) -> Table:
    factors = factors_of(runs)
    rows = []
    for run in runs:
        for head in run["patterned_heads"]:
            shares = {format_factor(int(length), run["train_length"]): _percent(share) for length, share in head["share"].items()}
            name = f"layer {head['layer']} head {head['head']}"
            rows.append([run_name(run), name, head["pattern"], *(shares.get(factor, "") for factor in factors)])
        if not run["patterned_heads"]:
            rows.append([run_name(run), "none", "", *[""] * len(factors)])
    title = "Heads that follow a pattern, and their weight there (n: problem length, t: index in the answer, position 0: begin)"
    columns = ["run", "head", "pattern", *factors]
    return Table(title, columns, "lll" + "r" * len(factors), rows)


def _terms(runs: list[InspectedRun]) -> Table:
    """One row per first-layer head and length, of runs whose positions are added to the embeddings."""
    rows = []
    for run in sorted(runs, key=run_name):
        heads = [(head, line["length"]) for line in run["lengths"] for head in line["terms"] or []]
        for head, length in sorted(heads, key=lambda entry: entry[0]["head"]):
            shares = [_percent(head["share"][term]) for term in SCORE_TERMS]
            fits = [_percent(head["toeplitz"][fit]) for fit in FITS]
            rows.append([run_name(run), f"1.{head['head']}", format_factor(length, run["train_length"]), *shares, *fits])
    title = "First-layer scores by term (query-key; share of variance within rows); position-position as a function of i-j"
    columns = ["run", "head", "length", *SCORE_TERMS, *FITS.values()]
    return Table(title, columns, "lll" + "r" * (len(columns) - 3), rows)


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

"""Tokens a second in training beside the peers, learned biases beside a reference, and where a step's time goes.

A step makes its batch, runs forward and backward, clips and updates, here and in the peers alike, all of them eager. What is
measured is a step of a run that never changes its length, so that all steps are alike.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from rpecli import catalog, data, encoding
from rpecli.bench import Options, Size, breakdown, goals, machine, steps, timing
from rpecli.bench.peers import LIBRARIES, Library
from rpecli.bench.steps import OURS, Case
from rpecli.bench.table import Result, Table, number, percent, times
from rpecli.config.recipe import Settings
from rpecli.device import pick_device, tune_malloc
from rpecli.train import state as train_state

SIZES = (Size(64, 2, 4, 64, 128), Size(128, 4, 4, 128, 64), Size(256, 6, 8, 512, 8))
SHORT = (Size(64, 2, 4, 64, 128),)
LEARNED, LEARNED_SHORT = Size(256, 6, 8, 512, 8), Size(64, 2, 4, 512, 8)  # where learned biases are held against the reference
GROUP = 3  # learned encodings that take turns with the reference at a time
LEAST = 0.2  # seconds a measurement lasts at least: steps vary more than kernels
SLOWEST = 60.0
SQUARES = (512, 1024, 2048)  # matrix products whose quickest is called the machine's peak
DEFAULT = Settings.model_fields["dtype"].default
Say = Callable[[str], None]
Row = dict[str, Any]

ABOUT_PEERS = (
    "Thousand tokens a second; size is width x layers x heads x length x batch. The peer in its quickest setting, rpe in each "
    f"dtype of its products ({DEFAULT} unless told otherwise); ratios are medians of the rounds' ratios."
)
ABOUT_PARTS = (
    f"Encoding {goals.REFERENCE}. Peak is the quickest square product of {', '.join(map(str, SQUARES))} in the same dtype and "
    "run. Operations are counted by formula: two a multiply-add, backward twice forward, attention below the diagonal, every "
    f"place in every layer. Making a batch is timed apart (goal: at most {percent(goals.DATA)}); the other shares are the "
    "profiler's."
)


def run(options: Options, say: Say) -> Result:
    """Tables: beside each peer, every setting tried, learned biases, and where the time goes."""
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    tune_malloc()  # as a run does; the peers have the good of it too
    facts = machine.facts(device, options.threads, options.repeats)
    sizes = options.sizes or (SHORT if options.short else SIZES)
    choices = options.encodings or goals.TRAINED
    rows = [row for size in sizes for choice in choices for row in beside_peers(size, choice, options, device, say)]
    wide = sizes[-1] if options.sizes else LEARNED_SHORT if options.short else LEARNED
    biases = learned(wide, options, device, say)
    parts = [row for size in sizes for row in where(size, options, device, say)]
    tables = [*peer_tables(rows, options.dtypes), *([learned_table(biases)] if biases else []), part_table(parts)]
    return Result("train", facts, tables, rows + biases + parts)


# ------------------------------------------------------------------------------------------------------------------ peers


def beside_peers(size: Size, choice: str, options: Options, device: torch.device, say: Say) -> list[Row]:
    """Ours in every dtype and each peer in each of its settings, taking turns; what does not run has a note instead."""
    say(f"train {size}: {choice}")
    cases, rows = [steps.ours(size, choice, dtype, device) for dtype in options.dtypes], list[Row]()
    for library in LIBRARIES:
        if library.installed:
            made, refused = _of_library(library, size, choice, device)
            cases, rows = cases + made, rows + refused
        elif library.settings(choice):
            rows.append(_without_time(size, choice, library.name, "", "not installed"))
    found = timing.interleave({case.name: case.step for case in cases}, options.repeats, machine.wait_for(device), SLOWEST, LEAST)
    return [_row("peers", size, choice, case, found[case.name]) for case in cases] + rows


def _of_library(library: Library, size: Size, choice: str, device: torch.device) -> tuple[list[Case], list[Row]]:
    """Its cases, each of which has made a step, and a row for every setting that it refuses."""
    cases, refused = list[Case](), list[Row]()
    for setting in library.settings(choice):
        try:
            case = steps.of_peer(library, setting, size, choice, device)
            case.step()
        except Exception as error:  # another library may refuse in any way: the table says how
            refused.append(_without_time(size, choice, library.name, setting, str(error) or type(error).__name__))
        else:
            cases.append(case)
    return cases, refused


def _without_time(size: Size, choice: str, library: str, setting: str, note: str) -> Row:
    return _row("peers", size, choice, Case(library, setting, timing.nothing, 0), timing.Timing("", note=note))


def _row(table: str, size: Size, choice: str, case: Case, timed: timing.Timing) -> Row:
    return {"table": table, "size": str(size), "encoding": choice, "library": case.library, "setting": case.setting,
            "ms": timed.median * 1000, "tokens_per_second": size.batch * size.length / timed.median,
            "parameters": case.parameters, "rounds": timed.rounds, "note": timed.note}  # fmt: skip


def peer_tables(rows: list[Row], dtypes: tuple[str, ...]) -> list[Table]:
    """One for each library, then every setting that was tried."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["size"], row["encoding"]), []).append(row)
    made = []
    for library in LIBRARIES:
        lines = [_peer_row(*key, found, library.name, dtypes) for key, found in groups.items()]
        lines = [line for line in lines if line["setting"] != "-"]
        if lines:
            goal = f" Goal: {goals.TRAINING}x." if library.name == goals.PEER else ""
            made.append(Table(f"Training beside {library.name}", lines, ABOUT_PEERS + goal))
    return [*made, Table("Every setting", [_setting_row(row) for row in rows], "Thousand tokens a second.")]


def _peer_row(size: str, choice: str, rows: list[Row], library: str, dtypes: tuple[str, ...]) -> dict[str, str]:
    mine = {row["setting"]: row for row in rows if row["library"] == OURS}
    best = quickest([row for row in rows if row["library"] == library])
    gains = {dtype: gain(mine[dtype], best) for dtype in dtypes}
    line = {"size": size, "encoding": choice, library: _thousands(best), "setting": best["setting"] if best else "-"}
    line |= {f"rpe {dtype}": _thousands(mine[dtype]) for dtype in dtypes}
    line |= {f"{dtype} over it": times(value) for dtype, value in gains.items()}
    if library != goals.PEER:
        return line
    return line | {"verdict": goals.training(gains) if choice in goals.TRAINED else "-"}


def _setting_row(row: Row) -> dict[str, str]:
    timed = bool(row["rounds"])
    return {"size": row["size"], "encoding": row["encoding"], "library": row["library"], "setting": row["setting"],
            "tokens": _thousands(row if timed else None), "parameters": f"{row['parameters']:,}" if timed else "-",
            "note": row["note"]}  # fmt: skip


def _thousands(row: Row | None) -> str:
    return number(row["tokens_per_second"] / 1000, 1) if row else "-"


def quickest(rows: list[Row]) -> Row | None:
    timed = [row for row in rows if row["rounds"]]
    return min(timed, key=lambda row: row["ms"]) if timed else None


def gain(mine: Row, theirs: Row | None) -> float:
    """How many times as quick as a peer: the median over the rounds."""
    if theirs is None:
        return math.nan
    return timing.ratio(timing.Timing("", rounds=theirs["rounds"]), timing.Timing("", rounds=mine["rounds"]))


# --------------------------------------------------------------------------------------------------------- learned biases


def learned(size: Size, options: Options, device: torch.device, say: Say) -> list[Row]:
    """Every relative encoding with parameters of its own beside the reference, in the default dtype."""
    choices = options.encodings or catalog.names("encodings")
    made = {choice: encoding.build(choice, size.width, size.heads) for choice in choices}
    chosen = [choice for choice, each in made.items() if each.group == "RPE" and any(True for _ in each.parameters())]
    rows = []
    for start in range(0, len(chosen), GROUP):
        group = chosen[start : start + GROUP]
        say(f"train {size}: {', '.join(group)} beside {goals.REFERENCE}")
        cases = {choice: steps.ours(size, choice, DEFAULT, device) for choice in (goals.REFERENCE, *group)}
        turns = {choice: case.step for choice, case in cases.items()}
        found = timing.interleave(turns, options.repeats, machine.wait_for(device), SLOWEST, LEAST)
        base = found[goals.REFERENCE]
        for choice in group:
            ratio = {"ratio": timing.ratio(found[choice], base), "reference_ms": base.median * 1000}
            bias = encoding.overrides(made[choice], "bias")
            rows.append(_row("biases", size, choice, cases[choice], found[choice]) | ratio | {"bias": bias})
    return rows


def learned_table(rows: list[Row]) -> Table:
    about = (
        f"A step's time as a multiple of {goals.REFERENCE}'s at {rows[0]['size']}, {rows[0]['setting']}. "
        f"Goal for biases: {goals.LEARNED_BIAS}x."
    )
    lines = [
        {"encoding": row["encoding"], "ms": number(row["ms"], 1), f"over {goals.REFERENCE}": times(row["ratio"]),
         "verdict": goals.at_most(row["ratio"], goals.LEARNED_BIAS) if row["bias"] else "-", "note": row["note"]}
        for row in sorted(rows, key=lambda row: row["ratio"])
    ]  # fmt: skip
    return Table("Learned relative encodings in training", lines, about)


# ------------------------------------------------------------------------------------------------------ where the time goes


def where(size: Size, options: Options, device: torch.device, say: Say) -> list[Row]:
    """The reference's step in every dtype: its share of the machine's own peak, and of its parts."""
    say(f"train {size}: where the time goes")
    return [_where(size, dtype, options.repeats, device) for dtype in options.dtypes]


def _where(size: Size, dtype: str, repeats: int, device: torch.device) -> Row:
    trainer = train_state.build(steps.config_of(size, goals.REFERENCE, dtype), device)
    case, n = steps.ours(size, goals.REFERENCE, dtype, device), 0

    def batch() -> None:
        nonlocal n
        data.frame(data.train_batch(trainer.task, trainer.config, n), trainer.config)
        n += 1

    turns = {"step": case.step, "batch": batch} | {str(n): product(n, getattr(torch, dtype), device) for n in SQUARES}
    found = timing.interleave(turns, repeats, machine.wait_for(device), SLOWEST, LEAST)
    work, top = steps.flops(size, trainer.task.vocabulary, trainer.config.mlp_ratio), peak(found)
    seconds = found["step"].median
    return {"table": "where", "size": str(size), "encoding": goals.REFERENCE, "setting": dtype, "ms": seconds * 1000,
            "gflop": work / 1e9, "gflop_per_second": work / seconds / 1e9, "peak_gflop_per_second": _speed(top, found) / 1e9,
            "share_of_peak": work / (2 * top**3) * timing.ratio(found[str(top)], found["step"]),
            "batch_ms": found["batch"].median * 1000, "batch_share": timing.ratio(found["batch"], found["step"]),
            **breakdown.shares(trainer)}  # fmt: skip


def product(n: int, dtype: torch.dtype, device: torch.device) -> timing.Call:
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    return lambda: a @ b


def peak(found: dict[str, timing.Timing]) -> int:
    """Which of the square products is the machine's best: it took turns with the step, so that both met the same machine."""
    return max(SQUARES, key=lambda n: _speed(n, found))


def _speed(n: int, found: dict[str, timing.Timing]) -> float:
    return 2 * n**3 / found[str(n)].median


def part_table(rows: list[Row]) -> Table:
    parts = [part for part in breakdown.PARTS if part != "data"]
    lines = [
        {"size": row["size"], "dtype": row["setting"], "ms": number(row["ms"], 1), "GFLOP/s": number(row["gflop_per_second"], 0),
         "peak": number(row["peak_gflop_per_second"], 0), "share of peak": percent(row["share_of_peak"]),
         **{part: percent(row[part]) for part in parts}, "batch": percent(row["batch_share"], 1),
         "verdict": goals.at_most(row["batch_share"], goals.DATA)}
        for row in rows
    ]  # fmt: skip
    return Table("Where a step's time goes", lines, ABOUT_PARTS)

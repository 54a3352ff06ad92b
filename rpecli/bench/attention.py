"""Forward time and memory of attention with every encoding, as multiples of plain causal attention of the same length.

Batch 1, 8 heads of 32, positions 0, 1, ..., no gradient, float32, initial weights. A call is what a layer of a model does for its
encoding: the features of its input, then attention. What an absolute encoding adds to the embeddings is once a model, not in it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli import catalog, encoding
from rpecli.attention import dispatch as attention
from rpecli.bench import Options, flex, goals, machine, memory, timing
from rpecli.bench.table import Result, Table, number, times
from rpecli.device import pick_device
from rpecli.encoding import QueryKey

HEADS, D = 8, 32
SLOWEST = 12.0  # seconds of a call beyond which a case is timed once, and not at all where a shorter length foretells it
TOGETHER = 4  # cases that take turns with plain attention: with more, its time is too far from theirs
PLAIN = "plain attention"
LENGTHS, SHORT = (2048, 4096, 8192, 16384), (2048, 4096)
ABOUT = (
    "Time as a multiple of plain causal attention's: the median of the rounds' ratios, cases taking turns. "
    "Then the peak of memory beyond that of plain attention, a process a case."
)
Say = Callable[[str], None]
Row = dict[str, Any]


def run(options: Options, say: Say) -> Result:
    """One row of the table an encoding, one row of the data an encoding and length."""
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    facts = machine.facts(device, options.threads, options.repeats)
    choices = list(options.encodings or catalog.names("encodings"))
    rows: list[Row] = []
    for length in sorted(options.lengths or (SHORT if options.short else LENGTHS)):
        late = {choice: foretold(rows, choice, length) for choice in choices}
        rows += timed([choice for choice in choices if late[choice] <= SLOWEST], length, options.repeats, device, say)
        rows += [skipped(choice, length, seconds) for choice, seconds in late.items() if seconds > SLOWEST]
    for each in rows:
        each["most"] = goals.forward(each["encoding"], build(each["encoding"])) if each["encoding"] in choices else None
    add_memory([each for each in rows if each["encoding"] in choices], options.threads, device, say)
    return Result("attention", facts, [table(rows)], rows)


def build(choice: str) -> encoding.Encoding:
    torch.manual_seed(0)
    return encoding.build(choice, HEADS * D, HEADS)


def inputs(length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A layer's input `[1, S, M]`, and q, k, v in the layout that a model's projections leave."""
    draw = torch.Generator().manual_seed(length)
    x, *qkv = (torch.randn(1, length, HEADS * D, generator=draw).to(device) for _ in range(4))
    q, k, v = (each.unflatten(-1, (HEADS, D)).transpose(1, 2) for each in qkv)
    return x, q, k, v


def call_of(choice: str | None, length: int, device: torch.device) -> timing.Call:
    """Attention with an encoding; plain attention for None."""
    x_1xSxM, q, k, v = inputs(length, device)
    if choice is None:
        return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    made, positions_1xS = build(choice).to(device), torch.arange(length, device=device)[None]

    @torch.no_grad()
    def call() -> Tensor:
        f = made.features(x_1xSxM)
        return attention.attend(
            made, QueryKey.last(q, k, positions_1xS, f), v, attention.ForwardContext(contiguous_positions=True)
        )

    return call


def foretold(rows: list[Row], choice: str, length: int) -> float:
    """Seconds that a call will take, by the square of the length, from the longest one timed; 0 where nothing is known."""
    known = [row for row in rows if row["encoding"] == choice and not math.isnan(row["ms"])]
    return known[-1]["ms"] / 1000 * (length / known[-1]["length"]) ** 2 if known else 0.0


def timed(choices: list[str], length: int, repeats: int, device: torch.device, say: Say) -> list[Row]:
    """A few encodings at a time take turns with plain attention."""
    rows = []
    for start in range(0, len(choices), TOGETHER):
        group = choices[start : start + TOGETHER]
        say(f"attention at {length}: {', '.join(group)}")
        cases = {PLAIN: call_of(None, length, device)} | {choice: call_of(choice, length, device) for choice in group}
        if device.type == "cuda":
            cases |= flex.cases({choice: build(choice) for choice in group}, *inputs(length, device)[1:])
        wait = machine.wait_for(device)
        found = timing.interleave(cases, repeats, wait, SLOWEST)
        rows += [row(name, length, found[name], found[PLAIN]) for name in cases if name != PLAIN]
    return rows


def row(choice: str, length: int, case: timing.Timing, plain: timing.Timing) -> Row:
    found = timing.ratios(case, plain)
    return {"encoding": choice, "length": length, "ms": case.median * 1000, "plain_ms": plain.median * 1000,
            "ratio": timing.ratio(case, plain), "lowest": min(found), "highest": max(found), "rounds": len(case.rounds),
            "calls": case.calls, "extra_mb": math.nan, "note": case.note}  # fmt: skip


def skipped(choice: str, length: int, seconds: float) -> Row:
    none = dict.fromkeys(("ms", "plain_ms", "ratio", "lowest", "highest"), math.nan)
    note = f"not timed: a call would take about {seconds:.0f} s"
    return {"encoding": choice, "length": length, **none, "rounds": 0, "calls": 0, "extra_mb": math.nan, "note": note}


# ----------------------------------------------------------------------------------------------------------------- memory


def setting(encoding: str | None, length: int) -> timing.Call:
    """For the process that measures memory: everything made and torch's threads started, but not yet the call."""
    call_of(encoding, 64, torch.device("cpu"))()
    return call_of(encoding, length, torch.device("cpu"))


def add_memory(rows: list[Row], threads: int, device: torch.device, say: Say) -> None:
    """Memory at the goal's length and at the longest; at others it would say nothing more."""
    lengths = {row["length"] for row in rows}
    for length in sorted({max(lengths), goals.AT} & lengths):
        say(f"memory at {length}")
        plain = peak_mb(None, length, threads, device)
        for each in rows:
            if each["length"] == length and not math.isnan(each["ms"]):
                try:
                    each["extra_mb"] = peak_mb(each["encoding"], length, threads, device) - plain
                except memory.Failed as error:
                    each["note"] = str(error)


def peak_mb(choice: str | None, length: int, threads: int, device: torch.device) -> float:
    if device.type == "cuda":
        call = call_of(choice, length, device)
        held = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - held) / memory.MB
    wanted = {"encoding": choice, "length": length}
    return memory.peak(f"{__name__}.setting", wanted, threads) / memory.MB


# ------------------------------------------------------------------------------------------------------------------ table


def table(rows: list[Row]) -> Table:
    """A row an encoding, those with a goal first, the quickest first."""
    lengths = sorted({row["length"] for row in rows})
    weighed = [
        length for length in lengths if any(row["length"] == length and row["extra_mb"] == row["extra_mb"] for row in rows)
    ]
    by_choice: dict[str, dict[int, Row]] = {}
    for each in rows:
        by_choice.setdefault(each["encoding"], {})[each["length"]] = each
    order = sorted(by_choice, key=lambda choice: _order(by_choice[choice]))
    return Table("Attention, forward", [_table_row(choice, by_choice[choice], lengths, weighed) for choice in order], ABOUT)


def _order(found: dict[int, Row]) -> tuple[float, float]:
    first = found[min(found)]
    return first["most"] or math.inf, math.inf if math.isnan(first["ratio"]) else first["ratio"]


def _table_row(choice: str, found: dict[int, Row], lengths: list[int], weighed: list[int]) -> dict[str, str]:
    most = found[min(found)]["most"]
    ratios = {length: each["ratio"] for length, each in found.items()}
    extra = {length: each["extra_mb"] for length, each in found.items() if length in weighed}
    notes = dict.fromkeys(f"{length}: {each['note']}" for length, each in found.items() if each["note"])
    return {
        "encoding": choice,
        **{str(length): times(ratios.get(length)) for length in lengths},
        **{f"MB at {length}": number(extra.get(length), 0) for length in weighed},
        "goal": times(most),
        "verdict": goals.attention(choice, most, ratios, extra),
        "note": "; ".join(notes),
    }

"""Forward time and memory of attention with every encoding, as multiples of plain causal attention of the same length.

Batch 1, 8 heads of width 32, positions 0, 1, ..., no gradient, float32, initial weights. One call is what a layer of a model
computes for its encoding: the features of its input, then attention. What an absolute encoding adds to the embeddings is not
included, since a model computes it once and not per layer.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli import catalog, encoding
from rpecli.attention import dispatch as attention
from rpecli.bench import Log, Options, machine, memory, timing
from rpecli.bench.result import Result, number, times
from rpecli.bench.rows import AttentionRow
from rpecli.device import pick_device
from rpecli.encoding import QueryKey
from rpecli.table import Table

N_HEAD, D = 8, 32
SLOWEST = 12.0  # seconds of a call beyond which a case is timed once, or not at all if a shorter length predicts it
GROUP_SIZE = 4  # cases that take turns with plain attention: with more, its time is too far from theirs
PLAIN = "plain attention"
LENGTHS, SHORT_LENGTHS = (2048, 4096, 8192, 16384), (2048, 4096)
MEMORY_LENGTH = 8192  # memory is measured here and at the longest length: it grows regularly in between
CAPTION = (
    "Time as a multiple of plain causal attention's: median of the rounds' ratios, cases taking turns. Memory: peak beyond that "
    "of plain attention, one process per case."
)


def run(options: Options, log: Log) -> Result:
    """A table with one row per encoding, data with one row per encoding and length."""
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    facts = machine.facts(device, options)
    choices = list(options.encodings or catalog.names("encodings"))
    rows: list[AttentionRow] = []
    for length in sorted(options.lengths or (SHORT_LENGTHS if options.short else LENGTHS)):
        seconds = {choice: predicted_seconds(rows, choice, length) for choice in choices}
        rows += time_length([choice for choice in choices if seconds[choice] <= SLOWEST], length, options, log)
        rows += [skipped_row(choice, length, seconds[choice]) for choice in choices if seconds[choice] > SLOWEST]
    measure_memory(rows, options, log)
    return Result("attention", facts, [table(rows)], rows)


def input_bytes(length: int) -> int:
    """Memory of a layer's input with its queries, keys and values: the least that a length needs."""
    return 4 * 4 * length * N_HEAD * D


def layer_inputs(length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A layer's input `[1, S, M]`, and `q, k, v` `[1, H, S, D]` in the memory layout that a model's projections give them."""
    generator = torch.Generator().manual_seed(length)
    x, *qkv = (torch.randn(1, length, N_HEAD * D, generator=generator).to(device) for _ in range(4))
    q, k, v = (projection.unflatten(-1, (N_HEAD, D)).transpose(1, 2) for projection in qkv)
    return x, q, k, v


def attention_call(choice: str | None, length: int, device: torch.device) -> timing.Call:
    """Attention with an encoding, or plain attention for None; returns `[1, H, S, D]`."""
    x_1xSxM, q, k, v = layer_inputs(length, device)
    if choice is None:
        return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.manual_seed(0)
    module = encoding.build(choice, N_HEAD * D, N_HEAD).to(device).on_scores
    positions_1xS = torch.arange(length, device=device)[None]

    @torch.no_grad()
    def call() -> Tensor:
        qk = QueryKey.last(q, k, positions_1xS, module.features(x_1xSxM))
        return attention.attend(module, qk, v, attention.ForwardContext(contiguous_positions=True))

    return call


def predicted_seconds(rows: list[AttentionRow], choice: str, length: int) -> float:
    """Seconds of one call, quadratic in the length, from the longest length timed so far; 0 if none was."""
    timed = [row for row in rows if row.encoding == choice and not math.isnan(row.ms)]
    return timed[-1].ms / 1000 * (length / timed[-1].length) ** 2 if timed else 0.0


def time_length(
    choices: list[str], length: int, options: Options, log: Log, is_over: Callable[[], bool] = lambda: False
) -> list[AttentionRow]:
    """A few encodings at a time take turns with plain attention; those that are not timed when it `is_over` have no row."""
    device, rows = pick_device(options.device), list[AttentionRow]()
    for start in range(0, len(choices), GROUP_SIZE):
        group = choices[start : start + GROUP_SIZE]
        if is_over():
            break
        log(f"attention at {length}: {', '.join(group)}")
        cases = {PLAIN: attention_call(None, length, device)}
        cases |= {choice: attention_call(choice, length, device) for choice in group}
        timings = machine.stopwatch(device, SLOWEST).interleave(cases, options.repeats, is_over)
        rows += [timed_row(choice, length, timings[choice], timings[PLAIN]) for choice in group if timings[choice].rounds]
    return rows


def timed_row(choice: str, length: int, timed: timing.Timing, plain: timing.Timing) -> AttentionRow:
    ratios = timing.ratios(timed, plain)
    return AttentionRow(
        encoding=choice, length=length, ms=timed.median * 1000, plain_ms=plain.median * 1000, ratio=timing.ratio(timed, plain),
        lowest=min(ratios), highest=max(ratios), rounds=len(timed.rounds), calls=timed.calls, extra_mb=math.nan, note=timed.note,
    )  # fmt: skip


def skipped_row(choice: str, length: int, seconds: float) -> AttentionRow:
    return AttentionRow(
        encoding=choice, length=length, ms=math.nan, plain_ms=math.nan, ratio=math.nan, lowest=math.nan, highest=math.nan,
        rounds=0, calls=0, extra_mb=math.nan, note=f"not timed: a call would take about {seconds:.0f} s",
    )  # fmt: skip


def prepared_call(choice: str | None, length: int) -> timing.Call:
    """For the process that measures memory: everything is allocated and torch's threads are started, except by the call."""
    attention_call(choice, 64, torch.device("cpu"))()
    return attention_call(choice, length, torch.device("cpu"))


def measure_memory(rows: list[AttentionRow], options: Options, log: Log) -> None:
    """Fills in `extra_mb` of the timed rows at MEMORY_LENGTH and at the longest length, or a note."""
    lengths = {row.length for row in rows}
    for length in sorted({max(lengths), MEMORY_LENGTH} & lengths):
        log(f"memory at {length}")
        plain_mb = peak_mb(None, length, options)
        for row in rows:
            if row.length == length and not math.isnan(row.ms):
                try:
                    row.extra_mb = peak_mb(row.encoding, length, options) - plain_mb
                except memory.MeasurementError as error:
                    row.note = str(error)


def peak_mb(choice: str | None, length: int, options: Options) -> float:
    """MiB that a call takes at its peak: by torch's own count on a GPU, else by the kernel's in a new process."""
    device = pick_device(options.device)
    if device.type != "cuda":
        return memory.peak(f"{__name__}.prepared_call", {"choice": choice, "length": length}, options.threads) / memory.MB
    call = attention_call(choice, length, device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    return (torch.cuda.max_memory_allocated(device) - before) / memory.MB


def table(rows: list[AttentionRow]) -> Table:
    """One row per encoding, the fastest at the shortest length first."""
    lengths = sorted({row.length for row in rows})
    memory_lengths = [length for length in lengths if any(row.length == length and not math.isnan(row.extra_mb) for row in rows)]
    by_choice: dict[str, dict[int, AttentionRow]] = {}
    for row in rows:
        by_choice.setdefault(row.encoding, {})[row.length] = row

    def speed(by_length: dict[int, AttentionRow]) -> float:
        ratio = by_length[min(by_length)].ratio
        return math.inf if math.isnan(ratio) else ratio

    records = []
    for choice, by_length in sorted(by_choice.items(), key=lambda item: speed(item[1])):
        notes = dict.fromkeys(f"{row.length}: {row.note}" for row in by_length.values() if row.note)
        records.append({
            "encoding": choice,
            **{str(length): times(by_length[length].ratio) for length in lengths},
            **{f"MB at {length}": number(by_length[length].extra_mb, 0) for length in memory_lengths},
            "note": "; ".join(notes),
        })  # fmt: skip
    return Table.of(records, "Attention, forward", caption=CAPTION)

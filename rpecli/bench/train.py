"""Training speed beside the peers, learned encodings beside the reference encoding, and the share of the machine's peak.

A step makes its batch, runs forward and backward, clips and updates; rpe and the peers run eagerly. All steps are alike, since
the measured run never changes its length.
"""

from collections.abc import Sequence
from typing import Any

import torch

from rpecli import catalog, data, encoding, task
from rpecli.bench import REFERENCE, TASK, Log, Options, Size, machine, steps, timing
from rpecli.bench.peers import COMPARED, LIBRARIES, Library
from rpecli.bench.result import Result, number, percent, times
from rpecli.bench.rows import EfficiencyRow, LearnedRow, PeerRow
from rpecli.bench.steps import RPE, Case
from rpecli.config.recipe import Settings
from rpecli.device import pick_device, tune_malloc
from rpecli.table import Table

SIZES = (Size(64, 2, 4, 64, 128), Size(128, 4, 4, 128, 64), Size(256, 6, 8, 512, 8))
SHORT_SIZES = SIZES[:1]
LEARNED_SIZE, SHORT_LEARNED_SIZE = Size(256, 6, 8, 512, 8), Size(64, 2, 4, 512, 8)  # of the table of learned encodings
GROUP_SIZE = 3  # learned encodings that take turns with the reference
SLOWEST, MIN_SECONDS = 60.0, 0.2  # of a measurement: steps vary more than kernels
MATRIX_SIZES = (512, 1024, 2048)  # square matrix products; the fastest one is called the peak of the machine
DTYPE = Settings.model_fields["dtype"].default

PEER_CAPTION = (
    "Thousand tokens per second; size is width x layers x heads x length x batch. The peer in its fastest setting, rpe in each "
    f"dtype of its matrix products (a recipe's default is {DTYPE}); ratios are medians of the rounds' ratios."
)
EFFICIENCY_CAPTION = (
    f"Encoding {REFERENCE}. Peak is the fastest square matrix product of {', '.join(map(str, MATRIX_SIZES))} in the same dtype "
    "and rounds. Operations are counted by formula: two per multiply-add, backward twice forward, attention below the diagonal, "
    "every position in every layer. Batch is the time to make a batch, as a share of the step."
)


def run(options: Options, log: Log) -> Result:
    """Tables: beside each peer, every setting, learned encodings, and the share of the machine's peak."""
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    tune_malloc()  # as a run does; it holds for the peers too, which makes them faster
    facts = machine.facts(device, options)
    sizes = options.sizes or (SHORT_SIZES if options.short else SIZES)
    peers = [row for size in sizes for choice in options.encodings or COMPARED for row in peer_rows(size, choice, options, log)]
    learned_size = sizes[-1] if options.sizes else SHORT_LEARNED_SIZE if options.short else LEARNED_SIZE
    learned = learned_rows(learned_size, options, log)
    efficiency = [row for size in sizes for row in efficiency_rows(size, options, log)]
    tables = [*peer_tables(peers, options.dtypes), *([learned_table(learned)] if learned else []), efficiency_table(efficiency)]
    return Result("train", facts, tables, [*peers, *learned, *efficiency])


def peer_rows(size: Size, choice: str, options: Options, log: Log, libraries: Sequence[Library] = LIBRARIES) -> list[PeerRow]:
    """rpe in every dtype and each peer in each of its settings, taking turns; what does not run has a note instead."""
    log(f"train {size}: {choice}")
    device = pick_device(options.device)
    cases, failed = [steps.rpe_case(size, choice, dtype, device) for dtype in options.dtypes], list[PeerRow]()
    for library in libraries:
        if library.installed:
            peer_cases, errors = cases_of(library, size, choice, device)
            cases += peer_cases
            failed += [untimed_row(size, choice, library, setting, error) for setting, error in errors.items()]
        elif library.settings(choice):
            failed.append(untimed_row(size, choice, library, "", "not installed"))
    calls = {case.name: case.step for case in cases}
    timings = machine.stopwatch(device, SLOWEST, MIN_SECONDS).interleave(calls, options.repeats)
    return [PeerRow(**step_fields(size, choice, case, timings[case.name])) for case in cases] + failed


def cases_of(library: Library, size: Size, choice: str, device: torch.device) -> tuple[list[Case], dict[str, str]]:
    """A library's cases, each of which has made a step, and the messages of the settings that raised an error."""
    cases, errors = list[Case](), dict[str, str]()
    for setting in library.settings(choice):
        try:
            case = steps.peer_case(library, setting, size, choice, device)
            case.step()
        except Exception as error:  # another library may refuse a setting in any way; the table shows its message
            errors[setting] = str(error) or type(error).__name__
        else:
            cases.append(case)
    return cases, errors


def untimed_row(size: Size, choice: str, library: Library, setting: str, note: str) -> PeerRow:
    return PeerRow(**step_fields(size, choice, Case(library.name, setting, lambda: None, 0), timing.Timing(note=note)))


def step_fields(size: Size, choice: str, case: Case, timed: timing.Timing) -> dict[str, Any]:
    """The fields that a PeerRow and a LearnedRow share."""
    return {"size": str(size), "encoding": choice, "library": case.library, "setting": case.setting,
            "ms": timed.median * 1000, "tokens_per_second": size.batch * size.length / timed.median,
            "parameters": case.parameters, "rounds": timed.rounds, "note": timed.note}  # fmt: skip


def peer_tables(rows: list[PeerRow], dtypes: tuple[str, ...]) -> list[Table]:
    """One table per library with the fastest of its settings, then every setting."""
    groups: dict[tuple[str, str], list[PeerRow]] = {}
    for row in rows:
        groups.setdefault((row.size, row.encoding), []).append(row)
    tables = []
    for library in LIBRARIES:
        records = [peer_record(group, library.name, dtypes) for group in groups.values() if fastest(group, library.name)]
        if records:
            tables.append(Table.of(records, f"Training beside {library.name}", caption=PEER_CAPTION))
    return [*tables, Table.of([setting_record(row) for row in rows], "Every setting", caption="Thousand tokens per second.")]


def peer_record(rows: list[PeerRow], library: str, dtypes: tuple[str, ...]) -> dict[str, str]:
    """rpe beside the fastest setting of a library, from the rows of one size and encoding."""
    peer = fastest(rows, library)
    assert peer is not None
    rpe = {row.setting: row for row in rows if row.library == RPE}
    return {
        "size": peer.size,
        "encoding": peer.encoding,
        library: thousands(peer),
        "setting": peer.setting,
        **{f"rpe {dtype}": thousands(rpe[dtype]) for dtype in dtypes},
        **{f"rpe {dtype} / {library}": times(speedup(rpe[dtype], peer)) for dtype in dtypes},
    }


def setting_record(row: PeerRow) -> dict[str, str]:
    return {"size": row.size, "encoding": row.encoding, "library": row.library, "setting": row.setting,
            "tokens": thousands(row), "parameters": f"{row.parameters:,}" if row.rounds else "-", "note": row.note}  # fmt: skip


def thousands(row: PeerRow) -> str:
    return number(row.tokens_per_second / 1000, 1)


def fastest(rows: list[PeerRow], library: str) -> PeerRow | None:
    """The timed row of a library that takes the least time."""
    return min((row for row in rows if row.library == library and row.rounds), key=lambda row: row.ms, default=None)


def speedup(rpe: PeerRow, peer: PeerRow) -> float:
    """How many times as fast as the peer: median over the rounds."""
    return timing.ratio(timing.Timing(rounds=peer.rounds), timing.Timing(rounds=rpe.rounds))


def learned_rows(size: Size, options: Options, log: Log) -> list[LearnedRow]:
    """Every relative encoding with parameters of its own beside the reference, in the default dtype."""
    device, rows = pick_device(options.device), list[LearnedRow]()
    modules = {
        choice: encoding.build(choice, size.width, size.heads) for choice in options.encodings or catalog.names("encodings")
    }
    choices = [choice for choice, module in modules.items() if module.group == "RPE" and any(True for _ in module.parameters())]
    for start in range(0, len(choices), GROUP_SIZE):
        group = choices[start : start + GROUP_SIZE]
        log(f"train {size}: {', '.join(group)} beside {REFERENCE}")
        cases = {choice: steps.rpe_case(size, choice, DTYPE, device) for choice in (REFERENCE, *group)}
        calls = {choice: case.step for choice, case in cases.items()}
        timings = machine.stopwatch(device, SLOWEST, MIN_SECONDS).interleave(calls, options.repeats)
        reference = timings[REFERENCE]
        for choice in group:
            ratio = timing.ratio(timings[choice], reference)
            fields = step_fields(size, choice, cases[choice], timings[choice])
            rows.append(LearnedRow(**fields, ratio=ratio, reference_ms=reference.median * 1000))
    return rows


def learned_table(rows: list[LearnedRow]) -> Table:
    records = [
        {"encoding": row.encoding, "ms": number(row.ms, 1), f"over {REFERENCE}": times(row.ratio), "note": row.note}
        for row in sorted(rows, key=lambda row: row.ratio)
    ]
    caption = f"Time of a step as a multiple of {REFERENCE}'s at {rows[0].size}, {rows[0].setting}."
    return Table.of(records, "Learned relative encodings in training", caption=caption)


def efficiency_rows(size: Size, options: Options, log: Log) -> list[EfficiencyRow]:
    """The reference encoding's step in every dtype."""
    log(f"train {size}: share of the machine's peak")
    device = pick_device(options.device)
    return [efficiency_row(size, dtype, options.repeats, device) for dtype in options.dtypes]


def efficiency_row(size: Size, dtype: str, repeats: int, device: torch.device) -> EfficiencyRow:
    """The step, its batch and the matrix products take turns, so that all of them meet the same machine."""
    config, own_task, n_batch = steps.config_of(size, REFERENCE, dtype), task.build(TASK), 0

    def make_batch() -> None:
        nonlocal n_batch
        data.shift_targets(data.train_batch(own_task, config, n_batch), config)
        n_batch += 1

    cases = {"step": steps.rpe_case(size, REFERENCE, dtype, device).step, "batch": make_batch}
    cases |= {str(n): matrix_product(n, getattr(torch, dtype), device) for n in MATRIX_SIZES}
    timings = machine.stopwatch(device, SLOWEST, MIN_SECONDS).interleave(cases, repeats)
    flops = steps.flops(size, own_task.vocabulary, config.mlp_ratio)
    products = {n: timings[str(n)] for n in MATRIX_SIZES}
    peak, seconds = fastest_product(products), timings["step"].median
    return EfficiencyRow(
        size=str(size), encoding=REFERENCE, setting=dtype, ms=seconds * 1000, gflop=flops / 1e9,
        gflop_per_second=flops / seconds / 1e9, peak_gflop_per_second=product_flops(peak) / products[peak].median / 1e9,
        share_of_peak=flops / product_flops(peak) * timing.ratio(products[peak], timings["step"]),
        batch_ms=timings["batch"].median * 1000, batch_share=timing.ratio(timings["batch"], timings["step"]),
    )  # fmt: skip


def matrix_product(n: int, dtype: torch.dtype, device: torch.device) -> timing.Call:
    a_NxN, b_NxN = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    return lambda: a_NxN @ b_NxN


def fastest_product(timings: dict[int, timing.Timing]) -> int:
    """The size of the square matrix product with the most operations per second."""
    return max(timings, key=lambda n: product_flops(n) / timings[n].median)


def product_flops(n: int) -> float:
    return 2 * n**3


def efficiency_table(rows: list[EfficiencyRow]) -> Table:
    records = [
        {"size": row.size, "dtype": row.setting, "ms": number(row.ms, 1), "GFLOP/s": number(row.gflop_per_second, 0),
         "peak": number(row.peak_gflop_per_second, 0), "share of peak": percent(row.share_of_peak),
         "batch": percent(row.batch_share, 1)}
        for row in rows
    ]  # fmt: skip
    return Table.of(records, "Share of the machine's peak", caption=EFFICIENCY_CAPTION)

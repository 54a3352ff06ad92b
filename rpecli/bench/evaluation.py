"""The cost of evaluation: its time beside the training of the same run, and its memory at lengths far beyond training.

The time is that of whole runs in temporary directories, one training and one evaluation at eight lengths per round. The memory is
that of one evaluation batch, one process per case, with untrained weights, which need the same memory as trained ones.
"""

import math
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from rpecli import data
from rpecli.bench import REFERENCE, TASK, Log, Options, machine, memory, timing
from rpecli.bench.result import Result, number, percent
from rpecli.bench.rows import MemoryRow, TimeRow
from rpecli.config import load as config_load
from rpecli.config.recipe import Config, Settings
from rpecli.device import pick_device
from rpecli.evaluate import measure as evaluate
from rpecli.evaluate.memory import batch_size_for, peak_memory
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel, build
from rpecli.run.directory import Run
from rpecli.table import Table
from rpecli.train import loop as train

RECIPE = "quick"  # the recipe whose runs are trained if no run is given
EVAL_LENGTHS = "1x,2x,3x,4x,5x,6x,7x,8x"
LENGTHS, SHORT_LENGTHS = tuple(512 * 2**n for n in range(7)), (512, 2048)
WIDTH, LAYERS, HEADS = (Settings.model_fields[key].default for key in ("d_model", "n_layer", "n_head"))
TIMEOUT = 900.0  # seconds for one batch of the longest length
TIME_CAPTION = (
    f"Seconds of a run of `rpe run {RECIPE}` (or of the given run) and of its evaluation at {EVAL_LENGTHS}, without the start of "
    "a process; share is the median of the rounds' ratios."
)
MEMORY_CAPTION = (
    f"Peak of one batch, width {WIDTH}, {LAYERS} layers, {HEADS} heads, beyond what the process held before; estimated is what "
    "`rpe eval` computes before it starts."
)


def run(options: Options, log: Log) -> Result:
    """Two tables: evaluation time beside training time, and memory by length."""
    device = pick_device(options.device)
    facts = machine.facts(device, options)
    times = [time_run(config, options, log) for config in configs(options)]
    memories = [row for choice in options.encodings or (REFERENCE,) for row in memory_rows(choice, options, log)]
    return Result("eval", facts, [time_table(times), memory_table(memories)], [*times, *memories])


def configs(options: Options) -> list[Config]:
    """The given run's config, or the quick recipe's tasks with the given encodings; in short its first task alone."""
    if options.run is not None:
        return [Run(options.run).config]
    recipe, _ = config_load.load(RECIPE, {"encoding": ",".join(options.encodings or (REFERENCE,)), "seed": "0"})
    return recipe.configs()[: 1 if options.short else None]


def time_run(config: Config, options: Options, log: Log) -> TimeRow:
    """Trains and evaluates once per round; training seconds are those of the run's record."""
    import scipy.stats  # noqa: F401 - its import takes a second, once per command and not per evaluation

    training, evaluation = list[float](), list[float]()
    request = EvalRequest(config.eval.model_copy(update={"lengths": EVAL_LENGTHS}), overwrite=True)
    for n in range(options.repeats):
        log(f"eval: {config.id}, training and evaluation {n + 1} of {options.repeats}")
        with tempfile.TemporaryDirectory() as folder:
            run = Run.create(config.model_copy(update={"threads": options.threads}), Path(folder))
            training.append(train.train(run, options.device)["seconds"])
            start = time.perf_counter()
            evaluate.evaluate(run, request, options.device)
            evaluation.append(time.perf_counter() - start)
    return time_row(config, training, evaluation)


def time_row(config: Config, training: list[float], evaluation: list[float]) -> TimeRow:
    trained, evaluated = timing.Timing(rounds=training), timing.Timing(rounds=evaluation)
    return TimeRow(
        run=config.id, task=config.task, encoding=config.encoding, steps=config.steps, lengths=EVAL_LENGTHS, training=training,
        evaluation=evaluation, training_s=trained.median, evaluation_s=evaluated.median, share=timing.ratio(evaluated, trained),
    )  # fmt: skip


def time_table(rows: list[TimeRow]) -> Table:
    records = [
        {"task": row.task, "encoding": row.encoding, "steps": str(row.steps), "training": number(row.training_s),
         "evaluation": number(row.evaluation_s), "share": percent(row.share)}
        for row in rows
    ]  # fmt: skip
    return Table.of(records, "Evaluation beside training", caption=TIME_CAPTION)


def untrained(choice: str) -> LoadedModel:
    """A model with the default settings and an encoding."""
    loaded = build(Config.from_keys(task=TASK, encoding=choice), torch.device("cpu"))
    loaded.model.eval()
    return loaded


def prepared_call(choice: str, length: int) -> timing.Call:
    """For the process that measures memory: a model that has evaluated a short batch, and the call on one of `length`."""
    loaded = untrained(choice)
    warm_up, blocks = eval_batch(loaded, 16), eval_batch(loaded, length)
    evaluate.measure(loaded, 16, warm_up, [])
    return lambda: evaluate.measure(loaded, length, blocks, [])


def eval_batch(loaded: LoadedModel, length: int) -> list[Any]:
    n_sequences = batch_size_for(loaded.task.sequence(length))
    return list(data.evaluation_blocks(loaded.task, length, n_sequences, 0))


def memory_rows(choice: str, options: Options, log: Log) -> list[MemoryRow]:
    """One row per length, up to the first one that fails: longer ones would fail too."""
    loaded, rows = untrained(choice), list[MemoryRow]()
    for length in sorted(options.lengths or (SHORT_LENGTHS if options.short else LENGTHS)):
        log(f"eval: memory of {choice} at {length}")
        measured_mb, note = math.nan, ""
        try:
            arguments = {"choice": choice, "length": length}
            measured_mb = memory.peak(f"{__name__}.prepared_call", arguments, options.threads, TIMEOUT) / memory.MB
        except memory.MeasurementError as error:
            note = str(error)
        tokens = loaded.task.sequence(length)
        rows.append(
            MemoryRow(
                task=TASK, encoding=choice, length=length, tokens=tokens, sequences=batch_size_for(tokens),
                estimated_mb=peak_memory(loaded, tokens) / memory.MB, measured_mb=measured_mb, note=note,
            )
        )  # fmt: skip
        if note:
            break
    return rows


def memory_table(rows: list[MemoryRow]) -> Table:
    records = [
        {"encoding": row.encoding, "length": str(row.length), "tokens": str(row.tokens), "sequences": str(row.sequences),
         "estimated MB": number(row.estimated_mb, 0), "measured MB": number(row.measured_mb, 0), "note": row.note}
        for row in rows
    ]  # fmt: skip
    return Table.of(records, "Memory of evaluation", caption=MEMORY_CAPTION)

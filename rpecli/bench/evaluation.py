"""What evaluation costs: its time beside the training of the same run, and its memory at lengths far beyond training.

The time is that of whole runs in directories that are thrown away, one round a training and an evaluation at eight lengths. The
memory is that of one batch of the evaluation, in a process a case, with untrained weights: they make no difference to it.
"""

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rpecli import data
from rpecli.bench import Options, goals, machine, memory, timing
from rpecli.bench.steps import COPY
from rpecli.bench.table import Result, Table, number, percent
from rpecli.config import load as config_load
from rpecli.config import recipe
from rpecli.config.recipe import Config
from rpecli.device import pick_device
from rpecli.evaluate import measure as evaluate
from rpecli.evaluate import memory as evaluate_memory
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel, build
from rpecli.run import directory as runs
from rpecli.train import loop as train

RECIPE = "quick"  # whose runs are trained where none is given
EIGHT = "1x,2x,3x,4x,5x,6x,7x,8x"
LENGTHS, SHORT = tuple(512 * 2**n for n in range(7)), (512, 2048)
WIDTH, LAYERS, HEADS = (recipe.Settings.model_fields[key].default for key in ("d_model", "n_layer", "n_head"))
LONGEST_WAIT = 900.0  # seconds for one batch of the longest length
Say = Callable[[str], None]
Row = dict[str, Any]


def run(options: Options, say: Say) -> Result:
    """Two tables: evaluation time over training time, and memory by length."""
    device = pick_device(options.device)
    facts = machine.facts(device, options.threads, options.repeats)
    rows = [_beside_training(config, options, say) for config in configs(options)]
    for choice in options.encodings or (goals.REFERENCE,):
        rows += memory_rows(choice, options, say)
    timed, weighed = ([row for row in rows if row["table"] == name] for name in ("time", "memory"))
    return Result("eval", facts, [time_table(timed), memory_table(weighed)], rows)


# ------------------------------------------------------------------------------------------------------------------- time


def configs(options: Options) -> list[Config]:
    """The given run's recipe, or the quick recipe's tasks with the encodings asked for; when short its first task alone."""
    if options.run is not None:
        return [runs.config_of(options.run)]
    made, _ = config_load.load(RECIPE, {"encoding": ",".join(options.encodings or (goals.REFERENCE,)), "seed": "0"})
    return made.configs()[: 1 if options.short else None]


def _beside_training(config: Config, options: Options, say: Say) -> Row:
    """Seconds of both in every round, as the run's own record and a clock around the evaluation have them."""
    import scipy.stats  # noqa: F401 - a second that a command spends once, not each evaluation

    trained, evaluated = list[float](), list[float]()
    request = EvalRequest(config.eval.model_copy(update={"lengths": EIGHT}), overwrite=True)
    for n in range(options.repeats):
        say(f"eval: {config.id}, training and evaluation {n + 1} of {options.repeats}")
        with tempfile.TemporaryDirectory() as folder:
            path = runs.create(config, Path(folder))
            trained.append(train.train(path, options.device, options.threads)["seconds"])
            start = time.perf_counter()
            evaluate.evaluate(path, request, options.device, options.threads)
            evaluated.append(time.perf_counter() - start)
    return time_row(config, trained, evaluated)


def time_row(config: Config, trained: list[float], evaluated: list[float]) -> Row:
    a, b = timing.Timing("", rounds=evaluated), timing.Timing("", rounds=trained)
    return {"table": "time", "run": config.id, "task": config.task, "encoding": config.encoding, "steps": config.steps,
            "lengths": EIGHT, "training": trained, "evaluation": evaluated, "training_s": b.median, "evaluation_s": a.median,
            "share": timing.ratio(a, b)}  # fmt: skip


def time_table(rows: list[Row]) -> Table:
    about = (
        f"Seconds of a run of `rpe run {RECIPE}` (or of the run given) and of its evaluation at {EIGHT}, without starting a "
        f"process; share is the median of the rounds' ratios. Goal: at most {percent(goals.EVALUATION)}."
    )
    lines = [
        {"task": row["task"], "encoding": row["encoding"], "steps": str(row["steps"]), "training": number(row["training_s"]),
         "evaluation": number(row["evaluation_s"]), "share": percent(row["share"]),
         "verdict": goals.at_most(row["share"], goals.EVALUATION)}
        for row in rows
    ]  # fmt: skip
    return Table("Evaluation beside training", lines, about)


# ----------------------------------------------------------------------------------------------------------------- memory


def untrained_model(choice: str) -> LoadedModel:
    loaded = build(Config.from_keys(task=COPY, encoding=choice), torch.device("cpu"))
    loaded.model.eval()
    return loaded


def setting(encoding: str, length: int) -> timing.Call:
    """For the process that measures memory: a model that has evaluated something short, and the call on one batch."""
    loaded = untrained_model(encoding)
    warm_up, blocks = _batch(loaded, 16), _batch(loaded, length)
    evaluate.measure(loaded, 16, warm_up, [])
    return lambda: evaluate.measure(loaded, length, blocks, [])


def _batch(loaded: LoadedModel, length: int) -> list[Any]:
    return list(data.evaluation_blocks(loaded.task, length, evaluate_memory.at_once(loaded.task.sequence(length)), 0))


def memory_rows(choice: str, options: Options, say: Say) -> list[Row]:
    """Up to the first length that does not come to an end; longer ones would not either."""
    loaded, rows = untrained_model(choice), list[Row]()
    for length in sorted(options.lengths or (SHORT if options.short else LENGTHS)):
        say(f"eval: memory of {choice} at {length}")
        tokens = loaded.task.sequence(length)
        row = {"table": "memory", "task": COPY, "encoding": choice, "length": length, "tokens": tokens}
        row |= {"at_once": evaluate_memory.at_once(tokens), "estimated_mb": evaluate_memory.memory(loaded, tokens) / memory.MB}
        row |= {"measured_mb": math.nan, "note": ""}
        try:
            wanted = {"encoding": choice, "length": length}
            row["measured_mb"] = memory.peak(f"{__name__}.setting", wanted, options.threads, LONGEST_WAIT) / memory.MB
        except memory.Failed as error:
            row["note"] = str(error)
        rows.append(row)
        if row["note"]:
            break
    return rows


def memory_table(rows: list[Row]) -> Table:
    about = (
        f"Peak of one batch, width {WIDTH}, {LAYERS} layers, {HEADS} heads, beyond what the process held before; estimated is "
        f"what `rpe eval` reckons before it tries. Goal: under {goals.MACHINE_GIB:.0f} GiB."
    )
    lines = [
        {"encoding": row["encoding"], "length": str(row["length"]), "tokens": str(row["tokens"]),
         "sequences": str(row["at_once"]), "estimated MB": number(row["estimated_mb"], 0),
         "measured MB": number(row["measured_mb"], 0),
         "verdict": goals.at_most(row["measured_mb"] / 1024, goals.MACHINE_GIB), "note": row["note"]}
        for row in rows
    ]  # fmt: skip
    return Table("Memory of evaluation", lines, about)

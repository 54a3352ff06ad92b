"""How a line of eval.jsonl was measured, where that differs from the run's own encoding, positions and drawn sequences."""

from rpecli.config.recipe import Config, label
from rpecli.run.directory import Run, of_current_weights
from rpecli.run.records import AS_DRAWN, EvalLine


def way_of(line: EvalLine, config: Config) -> str:
    """What a label adds: ` as none`, ` at randomized`, ` with 4 loops`, ` tested with ignore=0.98`, ` on sets 1a2`; or empty."""
    default = "start" if config.positions == "offset" else config.positions
    override, positions, source = line.get("encoding_override"), line.get("positions", default), line.get("data")
    swapped = f" as {label(override)}" if override else ""
    placed = f" at {positions}" if positions != default else ""
    placed += f" with {loops} loops" if (loops := line.get("loops")) else ""
    return swapped + placed + tested_with(line) + (f" on {source}" if source and not source.endswith(AS_DRAWN) else "")


def tested_with(line: EvalLine) -> str:
    """The part of a way that says with which other options of the task it was measured."""
    task = line.get("task_override")
    return f" tested with {label(task).partition(':')[2] or 'its defaults'}" if task else ""


def source_of(way: str) -> str:
    """The data set that a way names; empty for drawn sequences."""
    return way.partition(" on ")[2]


def evaluations_by_way(run: Run) -> dict[str, dict[int, EvalLine]]:
    """Of each way and each length, the line on the most sequences, the latest of equals; of the current weights.

    Lines with another evaluation seed than that of the recipe are a way of their own: ` with eval seed 3`.
    """
    lines, config = of_current_weights(run.record, run.evaluations()), run.config
    ways: dict[str, dict[int, EvalLine]] = {}
    for line in lines:
        seed = f" with eval seed {line['eval_seed']}" if line["eval_seed"] != config.eval.eval_seed else ""
        lengths = ways.setdefault(way_of(line, config) + seed, {})
        if line["length"] not in lengths or line["n"] >= lengths[line["length"]]["n"]:
            lengths[line["length"]] = line
    return {way: dict(sorted(ways[way].items())) for way in sorted(ways)}

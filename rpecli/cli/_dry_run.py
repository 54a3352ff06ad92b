"""`rpe run --dry-run`: the runs of a recipe, how far each is, and what is left in time and tokens."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rpecli.cli._execute import Workplace
from rpecli.cli._output import print_json, print_tables, say, text_width
from rpecli.config.recipe import Config, label
from rpecli.launch import plan
from rpecli.launch.plan import PlannedRun
from rpecli.table import MISSING, Table, duration, plural
from rpecli.titles import display, display_trained


def show(runs: Sequence[PlannedRun], folder: Path, place: Workplace, as_json: bool) -> None:
    """Prints the plan; nothing is created."""
    estimated = plan.with_estimates(runs, partial(_measure, place.device))
    if as_json:
        print_json(plan.records(estimated, folder))
        return
    print_tables(table(estimated))
    from rpecli.report.write import text

    say("\n".join(["", *(line for sentence in summary(estimated, place) for line in text.wrap(sentence, text_width()))]))


def _measure(device: str, config: Config) -> plan.Step:
    from rpecli.bench.in_turn import quick_step
    from rpecli.device import pick_device

    return quick_step(config, pick_device(device))


def table(runs: Sequence[PlannedRun]) -> Table:
    """One row per run: what it is, in which keys it differs from others, what is to do."""
    varied = plan.varied_keys([run.config for run in runs])
    rows = []
    for run in runs:
        config, keys = run.config, run.config.to_keys() | ({"lr": "searched"} if run.name is None else {})
        what = [display("tasks", label(config.task)), display_trained(label(config.encoding), config.positions), str(config.seed)]
        rows.append(
            [run.name or MISSING, *what, *(str(keys[key]) for key in varied), str(config.steps), run.state, _time(run.seconds)]
        )
    columns = ["run", "task", "encoding", "seed", *varied, "steps", "state", "training"]
    narrow = Table("", columns[1:], "ll" + "r" * (2 + len(varied)) + "lr", [row[1:] for row in rows])
    return Table("", columns, "lll" + "r" * (2 + len(varied)) + "lr", rows, narrow=narrow)


def _time(seconds: float) -> str:
    return duration(seconds) if seconds else ""


def summary(runs: Sequence[PlannedRun], place: Workplace) -> list[str]:
    """How many runs are in which state, and what the training that is left takes."""
    states = Counter("to resume" if run.state.startswith("to resume") else run.state for run in runs)
    lines = [f"{plural(len(runs), 'run')}: {', '.join(f'{number} {state}' for state, number in states.items())}."]
    left = [run for run in runs if run.steps]
    if not left:
        return [*lines, "Nothing is left to train."]
    seconds, tokens = sum(run.seconds for run in left), sum(run.tokens for run in left)
    steps = sum(run.steps for run in left)
    time = f"about {duration(seconds)} of one process{_at_a_time(left, place)}"
    lines.append(f"Training: {tokens:,.0f} tokens in {steps:,} steps, {time}.")
    return [*lines, "Estimated from measured steps; validation, evaluation and the report come on top. Nothing was created."]


def _at_a_time(left: Sequence[PlannedRun], place: Workplace) -> str:
    """How long several processes take; how many work at a time elsewhere is not known here."""
    from rpecli.launch import pool

    if place.place is not None:
        return " of this machine"
    threads = place.nproc * max(run.config.threads for run in left)
    processes = pool.processes_for(len(left), threads) if place.jobs is None else max(1, min(len(left), place.jobs))
    seconds = max(sum(run.seconds for run in left) / processes, *(run.seconds for run in left))
    return f", {duration(seconds)} with {processes} at a time"

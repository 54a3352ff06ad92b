"""A run in some lines of text: what it is, its state, its accuracy by length, how it learned, what to do next."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rpecli.cli._exit import warn
from rpecli.cli._output import PIPE_WIDTH, runs_flag
from rpecli.report.measures import Scoring, scoring_of
from rpecli.report.stats import SHARES
from rpecli.run.directory import Run, Status, chosen_weights
from rpecli.run.files import RunError
from rpecli.run.liveness import state
from rpecli.run.records import EvalLine
from rpecli.run.ways import evaluations_by_way
from rpecli.table import duration, evenly, multiple, plural, whole_percent
from rpecli.titles import display, display_trained

BARS = "▁▂▃▄▅▆▇█"
MAX_BARS = 32


def run_lines(run: Run, folder: Path) -> list[str]:
    """The lines of `rpe show RUN`."""
    record, config = run.record, run.config
    encoding = display_trained(record["encoding"], record["positions"])
    lengths = f"lengths {config.min_length} to {config.length}"
    batch = plural(config.batch, "sequence") if config.batch else f"{config.tokens:,} tokens"
    parameters = f"{record['parameters']:,} parameters, " if record.get("parameters") else ""
    return [
        f"{display('tasks', record['task'])}, {encoding}, seed {record['seed']}   ({run.name})",
        f"State      {_state(run)}",
        f"Model      {parameters}{plural(config.n_layer, 'layer')}, {plural(config.n_head, 'head')}, width {config.d_model}",
        f"Training   {lengths}, {batch} per batch, learning rate {config.lr:g}",
        *([f"Weights    {chosen_weights(record)}"] if "checkpoint" in record else []),
        *_accuracy_lines(run),
        *_learning_lines(run),
        *example_lines(run),
        f"Next       {_next(run, folder)}",
    ]


def _state(run: Run) -> str:
    record = run.record
    trained = record["status"] == Status.TRAINED  # stop_at may have ended it before its last step
    done = record.get("step", record.get("steps")) if trained else (run.last_metrics() or {}).get("step", 0)
    steps = f": {done} of {record['steps']} steps" if record.get("steps") else ""
    seconds = f" in {duration(record['seconds'])}" if record.get("seconds") else ""
    error = f", {record['error']}" if record.get("error") else ""
    return f"{state(run, record)}{steps}{seconds}{error}"


def _accuracy_lines(run: Run) -> list[str]:
    """Tokens and whole strings right by length, where the run is evaluated: as it was trained, then in other ways."""
    lines = []
    for way, evaluations in evaluations_by_way(run).items():
        lines += [f"Measured  {way}"] * bool(way) + _way_lines(evaluations, run.config.length, scoring_of(run.record))
    return lines


def _way_lines(evaluations: Mapping[int, EvalLine], trained: int, scoring: Scoring) -> list[str]:
    """Rows of at most PIPE_WIDTH columns: lengths with their multiples where these fit, else several blocks."""
    lengths = [f"{length} ({multiple(length / trained)})" for length in evaluations]
    if _width(lengths) > PIPE_WIDTH:
        lengths = list(map(str, evaluations))
    n = max(1, next(n for n in range(len(lengths), -1, -1) if _width(lengths[:n]) <= PIPE_WIDTH))
    shown = list(zip(lengths, evaluations.values(), strict=True))
    return [line for start in range(0, len(shown), n) for line in _block(dict(shown[start : start + n]), scoring)]


def _width(lengths: Sequence[str]) -> int:
    return 11 + len("  ".join(lengths)) + 3 + len(lengths) + len("  % right")


def _block(evaluations: Mapping[str, EvalLine], scoring: Scoring) -> list[str]:
    lines = ["Length     " + "  ".join(evaluations)]
    for measure in scoring.panels:
        values = [line[measure.key] for line in evaluations.values()]  # type: ignore[literal-required]
        cells = [measure.cell(value).rjust(len(head)) for value, head in zip(values, evaluations, strict=True)]
        bars = f"   {spark(values)}  % right" if measure.bounds == SHARES else ""
        lines.append(f"{measure.short:<10} {'  '.join(cells)}{bars}")
    return lines


def _learning_lines(run: Run) -> list[str]:
    """The learning curve, where there are validations."""
    try:
        validations = run.metrics()
    except RunError as error:  # a side file: everything else is shown
        warn(f"{error} (its learning curve left out)")
        return []
    if not validations:
        return []
    shares = [line["token_accuracy"] for line in validations]
    steps = (run.record.get("steps_to_accuracy") or {}).get("steps_to_90")
    reached = f"; 90 % at step {steps}" if steps else ""
    ends = f"{whole_percent(shares[0])} to {whole_percent(shares[-1])} %"
    return [f"Learning   {spark(shares)}  tokens right in validation: {ends}{reached}"]


def spark(shares: Sequence[float]) -> str:
    """One bar per share, from 0 to 1; of many, evenly chosen ones with the last."""
    return "".join(BARS[min(int(share * len(BARS)), len(BARS) - 1)] for share in evenly(shares, MAX_BARS))


def example_lines(run: Run) -> list[str]:
    """What the model answered to the first sequence of an evaluation set, errors marked: the first length with some."""
    from rpecli.report import answers

    trained = run.config.length
    lines = [line for way, by_length in evaluations_by_way(run).items() if not way for line in by_length.values()]
    shown = [(line["length"], example) for line in lines if (example := line.get("example")) and line["length"] >= trained]
    if not shown:
        return []
    wrong = [(length, example) for length, example in shown if example["target"] != example["answer"]]
    length, example = (wrong or shown)[0]
    head, *rest = answers.example_lines(example, PIPE_WIDTH - 11)
    return [f"Example    length {length} ({multiple(length / trained)}): {head}", *rest]


def _next(run: Run, folder: Path) -> str:
    """The next command, which finds the run from here too where it is not in the folder of runs."""
    if not run.is_trained:
        return run.train_command
    command = "rpe inspect" if evaluations_by_way(run) else "rpe eval"
    if run.path.resolve().parent == folder.resolve():
        return f"{command} {run.name}{runs_flag(folder)}"
    return f"{command} {shlex.quote(str(run))}"

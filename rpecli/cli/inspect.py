"""`rpe inspect`: measures which keys the heads of trained models attend to, and what shifted positions change."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop, warn
from rpecli.cli._inputs import (
    absolute_lengths,
    check_device,
    check_evaluation_sizes,
    check_lengths,
    check_shift_sizes,
    require_writable,
    warn_of_time,
)
from rpecli.cli._output import print_json, print_tables, print_written, say, text_width
from rpecli.cli._requests import eval_overrides, eval_requests
from rpecli.cli._select import fail_if_unreadable, select_trained_runs
from rpecli.evaluate.request import EvalRequest
from rpecli.run.directory import Run
from rpecli.run.problems import about
from rpecli.signals import Interrupted, Terminated
from rpecli.table import Table, plural

EXAMPLES = """
Examples:
  # attention of all trained runs at 1x, 2x and 4x their training length
  rpe inspect

  # what changes if the same tokens stand at later positions
  rpe inspect 'copy-rope-*' --shift

  # figures in a folder
  rpe inspect --lengths 1x,8x --out figures
"""


@dataclass(frozen=True)
class Output:
    """Where results go: figures into a folder, every table or JSON to stdout; and the runs that gave none."""

    folder: Path | None
    tables: bool
    as_json: bool
    failed: list[str] = field(default_factory=list)
    said: set[str] = field(default_factory=set)

    def say_once(self, warning: str) -> None:
        """Warns of what concerns many runs once."""
        if warning not in self.said:
            self.said.add(warning)
            warn(warning)

    @contextmanager
    def leaving_out(self, run: Run) -> Iterator[None]:
        """Around the work on one run: what is wrong with it is said, and the other runs go on."""
        from rpecli.evaluate.memory import ran_out_of_memory

        try:
            yield
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not ran_out_of_memory(error):
                raise
            self.failed.append(run.name)
            reason = "does not fit in memory: give shorter --lengths" if ran_out_of_memory(error) else str(error)
            warn(about(run, reason), "red")


@flags.takes_recipe_keys("samples", "eval_tokens", "eval_seed", "eval_positions", "eval_loops")
@flags.takes_filters
def inspect(
    overrides: dict[str, str],
    filters: dict[str, str],
    names: flags.RunNames = None,
    shift: Annotated[bool, typer.Option("--shift", help="Measure instead what changes at shifted positions.")] = False,
    shifts: Annotated[str, typer.Option(help="Numbers of positions to shift by, with --shift.")] = "1,4,16,64,256",
    lengths: Annotated[str, typer.Option(help="Measured lengths: 1x,4x or 16:128; not with --shift.")] = "1x,2x,4x",
    overwrite: flags.Overwrite = False,
    data: flags.Data = None,
    swap_encoding: flags.SwapEncoding = None,
    rope_scaling: flags.RopeScaling = None,
    runs: flags.Runs = Path("runs"),
    device: flags.Device = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for the figures, each as .png, .svg and .pdf.")] = None,
    tables: flags.Tables = False,
    as_json: flags.Json = False,
) -> None:
    """Measure the attention of trained runs: which keys heads attend to, and why.

    With --shift, measure instead what changes if the same tokens stand at later positions.
    """
    flags.one_output()
    flags.refuse(flags.given("--lengths") if shift else [], "--shift measures at the training length")
    flags.refuse([] if shift else flags.given("--shifts"), "of use with --shift only")
    check_device(device)
    check_lengths("--lengths", lengths)
    distances = tuple(absolute_lengths("--shifts", shifts, "write numbers of positions: 1,4,16"))
    if out is not None:
        _check_out(out)
    settings = eval_overrides(overrides, data)
    selected, unreadable = select_trained_runs(runs, names, filters)
    request = EvalRequest(overwrite=overwrite, folder=data)
    requests, damaged = eval_requests(selected, request, settings, swap_encoding, rope_scaling)
    read_only = [run for run in requests if not os.access(run.path, os.W_OK)]
    if read_only:
        warn(f"{plural(len(read_only), 'run')} (such as {read_only[0]}) cannot be written: what is measured is not kept")
    check_evaluation_sizes([(run.config, request.settings or run.config.eval) for run, request in requests.items()], scored=False)
    warn_of_time(_drawn(requests, "1x" if shift else lengths), device, scored=False)
    output = Output(out, tables, as_json)
    if shift:
        check_shift_sizes([run.config for run in requests], max(distances))
        _show_shifts(requests, distances, device, output)
    else:
        _show_attention(requests, lengths, device, output)
    fail_if_unreadable([*unreadable, *damaged, *output.failed])


def _drawn(requests: dict[Run, EvalRequest], lengths: str) -> dict[Run, EvalRequest]:
    """The requests with the lengths of which sequences are drawn."""
    settings = {run: request.settings or run.config.eval for run, request in requests.items()}
    return {
        run: replace(request, settings=settings[run].model_copy(update={"lengths": lengths})) for run, request in requests.items()
    }


def _check_out(out: Path) -> None:
    """Stops where figures could not be written, before the work."""
    from rpecli.plot import FigureError
    from rpecli.report.figures import attention

    try:
        attention.check_folder(out)
    except FigureError as error:
        stop(str(error), USAGE)
    require_writable("--out", out)


def _show_attention(requests: dict[Run, EvalRequest], lengths: str, device: str, output: Output) -> None:
    from rpecli.probes import inspect as probe
    from rpecli.probes.store import tell_apart
    from rpecli.report.attention_sentences import attention_sentences
    from rpecli.report.tables import attention_text

    inspection = probe.inspect(requests, lengths, device, output.leaving_out)
    tell_apart(inspection["runs"], requests)
    folder = next((request.folder for request in requests.values()), None)
    for record in inspection["runs"]:
        if missing := ", ".join(map(str, record["missing_lengths"])):
            output.say_once(f"{folder or record['task']} has no problem of length {missing}: left out")
        if unknown := ", ".join(map(str, record["nan_lengths"])):
            warn(f"{record['run']}: attention is not a number at length {unknown}: left out")
    files = _write_figures(output.folder, inspection, {})
    if output.as_json:
        print_json(inspection)
    else:
        show_tables = output.tables and inspection["runs"]
        _print(attention_sentences(inspection["runs"]), attention_text.tables(inspection) if show_tables else [])
    _print_files(output.folder, files)


def _show_shifts(requests: dict[Run, EvalRequest], distances: tuple[int, ...], device: str, output: Output) -> None:
    from rpecli.probes import invariance
    from rpecli.probes.store import run_names, tell_apart
    from rpecli.report.attention_sentences import shift_sentences
    from rpecli.report.probe_values import run_name
    from rpecli.report.tables import attention_text
    from rpecli.run.directory import Stopped

    records, lines = list[dict[str, Any]](), dict[str, list[Any]]()
    for run, request in requests.items():
        try:
            with output.leaving_out(run):
                record = run_names(run, request) | {"train_length": run.config.length}
                say_next = partial(_say_next, run)
                lines[run_name(record)] = invariance.probe(run, distances, device, request, say_next)
                records.append(record)
                if unknown := [str(line["shift"]) for line in lines[run_name(record)] if line["logits_mean"] is None]:
                    warn(f"{run.name}: logits are not a number after a shift by {', '.join(dict.fromkeys(unknown))}")
        except Stopped as stopped:
            raise (Interrupted if stopped.signal == signal.SIGINT else Terminated) from None
    tell_apart(records, requests)
    files = _write_figures(output.folder, {"runs": records}, lines)
    if output.as_json:
        print_json(lines)
    else:
        _print(shift_sentences(lines, records), attention_text.shift_tables(lines) if output.tables else [])
    _print_files(output.folder, files)


def _say_next(run: Run, text: str) -> None:
    say(f"{run.name}  {text}", err=True)


def _print(sentences: list[str], tables: list[Table]) -> None:
    """One sentence per encoding, then the tables."""
    from rpecli.report.write import text

    for sentence in sentences:
        say("\n".join(text.wrap(sentence, text_width())))
    if tables:
        say("")
        print_tables(*tables)


def _write_figures(out: Path | None, data: dict[str, Any], lines: dict[str, Any]) -> list[Path]:
    from rpecli.plot import FigureError
    from rpecli.report.figures import attention

    try:
        return attention.write(out, data, lines) if out is not None else []
    except FigureError as error:
        stop(str(error), USAGE)


def _print_files(out: Path | None, files: list[Path]) -> None:
    if files:
        print_written(f"{out}/ ({len(files)} files)")

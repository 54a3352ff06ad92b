"""`rpe inspect`: why the heads of trained models look where they look, and what moving their strings changes."""

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, Interrupted, Terminated, stop, warn
from rpecli.cli._inputs import check_eval_keys, check_lengths, eval_requests, whole_lengths
from rpecli.cli._output import print_json, print_tables
from rpecli.cli._select import select_trained
from rpecli.evaluate.request import EvalRequest
from rpecli.run.directory import Run

EXAMPLES = """
Examples:
  # attention of all trained runs at 1x, 2x and 4x their training length
  rpe inspect

  # what changes if the same tokens stand at later positions
  rpe inspect 'copy-rope-*' --shift

  # figures in a folder
  rpe inspect --lengths 1x,8x --out figures
"""


@flags.takes_recipe_keys("samples", "eval_tokens", "eval_seed", "eval_positions")
def inspect(
    given: dict[str, str],
    names: flags.RunNames = None,
    shift: Annotated[bool, typer.Option("--shift", help="Move the evaluation strings instead: what changes?")] = False,
    shifts: Annotated[str, typer.Option(help="Positions to move by, with --shift.")] = "1,4,16,64,256",
    lengths: Annotated[str, typer.Option(help="Lengths to look at: 1x,4x or 16:128.")] = "1x,2x,4x",
    overwrite: flags.Overwrite = False,
    data: flags.Data = None,
    swap_encoding: flags.SwapEncoding = None,
    rope_scaling: flags.RopeScaling = None,
    runs: flags.Runs = Path("runs"),
    device: flags.Device = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for the figures, each as .png, .svg and .pdf.")] = None,
    as_json: flags.Json = False,
) -> None:
    """Measure the attention of trained runs: which keys heads attend to, and why.

    With --shift, measure instead what changes if the same tokens stand at later positions.
    """
    from rpecli.report import probe_values
    from rpecli.report.tables import attention_text as probe_text

    check_lengths("--lengths", lengths)
    by = tuple(whole_lengths("--shifts", shifts, "write numbers of positions: 1,4,16"))
    overrides = check_eval_keys(given, data)
    request = EvalRequest(overwrite=overwrite, folder=data)
    requests = eval_requests(select_trained(runs, names), request, overrides, swap_encoding, rope_scaling)
    if not shift:
        inspection = _inspect(requests, lengths, device)
        _show(inspection, probe_text.tables(inspection), inspection, {}, out, as_json)
        return
    from rpecli.probes.store import run_names

    records = [run_names(run, request) for run, request in requests.items()]
    lines = {
        probe_values.run_name(record): _shift(run, by, device, request)
        for record, (run, request) in zip(records, requests.items(), strict=True)
    }
    _show(lines, probe_text.shift_tables(lines), {"runs": records}, lines, out, as_json)


def _inspect(requests: dict[Run, EvalRequest], lengths: str, device: str) -> dict[str, Any]:
    from rpecli.probes import inspect

    inspection = inspect.inspect(requests, lengths, device)
    for request, record in zip(requests.values(), inspection["runs"], strict=True):
        if record["missing_lengths"]:
            where = record["task"] if request.folder is None else request.folder
            missing = ", ".join(map(str, record["missing_lengths"]))
            warn(f"{record['run']}: {where} has no problem of length {missing}: left out")
    return inspection


def _shift(run: Run, shifts: tuple[int, ...], device: str, request: EvalRequest) -> list[Any]:
    from rpecli.probes import invariance
    from rpecli.run.directory import Stopped

    try:
        return invariance.probe(run, shifts, device, request)
    except Stopped as stopped:
        raise (Interrupted if stopped.signal == signal.SIGINT else Terminated) from None


def _show(value: Any, tables: list[Any], data: dict[str, Any], lines: dict[str, Any], out: Path | None, as_json: bool) -> None:
    """What a probe found as JSON or tables, and its figures."""
    from rpecli.plot import FigureError
    from rpecli.report.figures import attention as probe_figure

    try:
        files = probe_figure.write(out, data, lines) if out is not None else []
    except FigureError as error:
        stop(str(error), USAGE)
    print_json(value) if as_json else print_tables(*tables)
    if files:
        typer.echo(f"Written: {out}/ ({len(files)} files)", err=True)

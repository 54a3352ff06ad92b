"""`rpe inspect`: measures which keys the heads of trained models attend to, and what shifted positions change."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop, warn
from rpecli.cli._inputs import absolute_lengths, check_device, check_lengths, eval_overrides, eval_requests
from rpecli.cli._output import print_json, print_tables, print_written, say, text_width
from rpecli.cli._select import fail_if_unreadable, select_trained_runs
from rpecli.evaluate.request import EvalRequest
from rpecli.run.directory import Run
from rpecli.signals import Interrupted, Terminated
from rpecli.table import Table

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
    """Where results go: figures into a folder, every table or JSON to stdout."""

    folder: Path | None
    tables: bool
    as_json: bool


@flags.takes_recipe_keys("samples", "eval_tokens", "eval_seed", "eval_positions")
def inspect(
    overrides: dict[str, str],
    names: flags.RunNames = None,
    shift: Annotated[bool, typer.Option("--shift", help="Measure instead what changes at shifted positions.")] = False,
    shifts: Annotated[str, typer.Option(help="Numbers of positions to shift by, with --shift.")] = "1,4,16,64,256",
    lengths: Annotated[str, typer.Option(help="Measured lengths: 1x,4x or 16:128.")] = "1x,2x,4x",
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
    check_device(device)
    check_lengths("--lengths", lengths)
    distances = tuple(absolute_lengths("--shifts", shifts, "write numbers of positions: 1,4,16"))
    settings = eval_overrides(overrides, data)
    request = EvalRequest(overwrite=overwrite, folder=data)
    selected, unreadable = select_trained_runs(runs, names)
    requests = eval_requests(selected, request, settings, swap_encoding, rope_scaling)
    if shift:
        _show_shifts(requests, distances, device, Output(out, tables, as_json))
    else:
        _show_attention(requests, lengths, device, Output(out, tables, as_json))
    fail_if_unreadable(unreadable)


def _show_attention(requests: dict[Run, EvalRequest], lengths: str, device: str, output: Output) -> None:
    from rpecli.probes import inspect as probe
    from rpecli.report.attention_sentences import attention_sentences
    from rpecli.report.tables import attention_text

    inspection = probe.inspect(requests, lengths, device)
    for request, record in zip(requests.values(), inspection["runs"], strict=True):
        if record["missing_lengths"]:
            source = record["task"] if request.folder is None else request.folder
            missing = ", ".join(map(str, record["missing_lengths"]))
            warn(f"{record['run']}: {source} has no problem of length {missing}: left out")
    files = _write_figures(output.folder, inspection, {})
    if output.as_json:
        print_json(inspection)
    else:
        _print(attention_sentences(inspection["runs"]), attention_text.tables(inspection) if output.tables else [])
    _print_files(output.folder, files)


def _show_shifts(requests: dict[Run, EvalRequest], distances: tuple[int, ...], device: str, output: Output) -> None:
    from rpecli.probes import invariance
    from rpecli.probes.store import run_names
    from rpecli.report.attention_sentences import shift_sentences
    from rpecli.report.probe_values import run_name
    from rpecli.report.tables import attention_text
    from rpecli.run.directory import Stopped

    records = [run_names(run, request) for run, request in requests.items()]
    lines: dict[str, list[Any]] = {}
    for record, (run, request) in zip(records, requests.items(), strict=True):
        try:
            lines[run_name(record)] = invariance.probe(run, distances, device, request)
        except Stopped as stopped:
            raise (Interrupted if stopped.signal == signal.SIGINT else Terminated) from None
    files = _write_figures(output.folder, {"runs": records}, lines)
    if output.as_json:
        print_json(lines)
    else:
        _print(shift_sentences(lines, records), attention_text.shift_tables(lines) if output.tables else [])
    _print_files(output.folder, files)


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

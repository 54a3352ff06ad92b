"""`rpe eval`: evaluates trained runs at several lengths."""

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from rpecli import catalog
from rpecli.cli import _flags as flags
from rpecli.cli._execute import Workplace
from rpecli.cli._exit import FAILURE, stop, warn
from rpecli.cli._inputs import check_evaluation_sizes, warn_of_lengths, warn_of_time
from rpecli.cli._output import print_json, print_next, print_tables, say, text_width
from rpecli.cli._requests import eval_overrides, eval_requests
from rpecli.cli._run_tables import evaluation_tables, run_data
from rpecli.cli._run_text import example_lines
from rpecli.cli._select import fail_if_unreadable, select_trained_runs
from rpecli.evaluate.request import EvalRequest
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.records import EvalLine
from rpecli.table import few, plural

NAMED = 3  # recipes that a message names
EXAMPLES = """
Examples:
  # all runs at multiples of their training length
  rpe eval --lengths 1x:8x

  # some runs, at lengths that double from 512 to 4096
  rpe eval 'copy-rope-*' --lengths 512:4096

  # two sizes, such as digits of two operands: every pair of 2, 4, 8 and 16
  rpe eval 'addition-*' --grid 2:16

  # models trained with RoPE, evaluated with YaRN scaling
  rpe eval 'copy-rope-*' --rope-scaling yarn
"""


@flags.takes_recipe_keys("lengths", "grid", "samples", "eval_tokens", "eval_seed", "eval_positions", "eval_loops", "eval_task")
@flags.takes_filters
def evaluate(
    overrides: dict[str, str],
    filters: dict[str, str],
    names: flags.RunNames = None,
    overwrite: flags.Overwrite = False,
    data: flags.Data = None,
    swap_encoding: flags.SwapEncoding = None,
    rope_scaling: flags.RopeScaling = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    on: flags.On = None,
    device: flags.Device = "auto",
    tables: flags.Tables = False,
    as_json: flags.Json = False,
) -> None:
    """Evaluate trained runs at several lengths, and at the training length and its doublings below them.

    Lengths that are already done are skipped, unless --overwrite is given.
    """
    flags.one_output()
    if on is not None:
        why = f"with --on {on} a task that was stopped is started again, and would measure all of it again"
        flags.refuse(flags.given("--overwrite"), why)
    place = Workplace.of(on, device, jobs, 1, None, "off")
    settings = eval_overrides(overrides, data)
    selected, unreadable = select_trained_runs(runs, names, filters)
    request = EvalRequest(overwrite=overwrite, folder=data)
    requests, damaged = eval_requests(selected, request, settings, swap_encoding, rope_scaling)
    check_evaluation_sizes([(run.config, request.settings or run.config.eval) for run, request in requests.items()])
    if data is None:
        warn_of_lengths([(run.config, request.settings or run.config.eval) for run, request in requests.items()])
    if on is None:  # the time is that of this machine
        warn_of_time(requests, device)
    todo, read_only = _unanswered(requests)
    if not names and not filters:
        _tell_of_studies(todo)
    failed = place.do([place.job(run, requests[run], train=False) for run in todo])
    if as_json:
        print_json(list(map(run_data, requests)))
    else:
        _print_accuracy(requests, tables)
        if not (failed or read_only):
            folders = {run.path.parent for run in requests}
            print_next("rpe report", folders.pop() if len(folders) == 1 else runs)
    if failed:
        own = any((run.path / catalog.COPIES).is_dir() for run in todo)
        anew = " (your task or encoding: a run keeps the file that trained it, so change it and train again)" if own else ""
        stop(f"some of the runs failed: fix the cause{anew} and start the same command again", FAILURE)
    if read_only:
        where = f"{plural(len(read_only), 'run')} (such as {read_only[0]}) cannot be written, so nothing new was measured"
        stop(f"{where}: copy the runs to a folder of yours and name it with --runs", FAILURE)
    fail_if_unreadable([*unreadable, *damaged])


def _tell_of_studies(runs: list[Run]) -> None:
    """Says whose runs these are where they were made for more than one recipe: those of another one may take much longer."""
    studies = Counter(run.record["study"] for run in runs)
    if len(studies) > 1:
        of = few([f"{number} of {study}" for study, number in studies.most_common()], NAMED)
        warn(f"{len(runs)} runs to measure, {of}: for less, name some, or choose with --task, --encoding and --seed")


def _unanswered(requests: dict[Run, EvalRequest]) -> tuple[list[Run], list[Run]]:
    """The runs with something left to measure: those that can be written, and those that cannot."""
    from rpecli.evaluate.asked import is_answered

    todo = []
    for run, request in requests.items():
        try:
            if not is_answered(run, request):
                todo.append(run)
        except RunError:  # its job says what is wrong
            todo.append(run)
    writable = [run for run in todo if os.access(run.path, os.W_OK)]
    return writable, [run for run in todo if run not in writable]


def _print_accuracy(requests: dict[Run, EvalRequest], tables: bool) -> None:
    """What was asked for: encodings by length, and with `tables` every run by itself."""
    from rpecli.evaluate.asked import asked_cells, asked_lines
    from rpecli.report.aggregate import aggregate
    from rpecli.report.load import ReportError, load_runs
    from rpecli.report.overview import overview
    from rpecli.report.tables import grid
    from rpecli.report.write import text

    lines, cells = dict[Run, dict[int, EvalLine]](), dict[Run, list[EvalLine]]()
    for run, request in requests.items():
        with suppress(RunError):  # its job has said what is wrong
            lines[run], cells[run] = asked_lines(run, request), list(asked_cells(run, request).values())
    answered = [run for run in lines if lines[run]]
    if not answered:
        return
    try:
        loaded = load_runs((run.path for run in answered), keep=lambda run, line: line in (*lines[run].values(), *cells[run]))
        tasks = aggregate(loaded.runs)
        say("\n".join([*text.overview_lines(overview(tasks), text_width()), ""]))
        if len(answered) == 1 and (example := example_lines(answered[0])):
            say("\n".join([*example, ""]))
        if grids := [table for task in tasks for table in grid.tables(task)]:
            print_tables(*grids)
    except ReportError as error:
        warn(str(error))
    if tables:
        print_tables(*evaluation_tables(lines))

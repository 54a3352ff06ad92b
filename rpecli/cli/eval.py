"""`rpe eval`: evaluates trained runs at several lengths."""

from pathlib import Path

from rpecli.cli import _flags as flags
from rpecli.cli._execute import execute
from rpecli.cli._exit import warn
from rpecli.cli._inputs import check_device, eval_overrides, eval_requests, warn_of_lengths
from rpecli.cli._output import print_json, print_next, print_tables, say, text_width
from rpecli.cli._run_tables import evaluation_tables, run_data
from rpecli.cli._select import fail_if_unreadable, select_trained_runs
from rpecli.evaluate.request import EvalRequest
from rpecli.launch.job import Job
from rpecli.run.directory import Run

EXAMPLES = """
Examples:
  # all runs at multiples of their training length
  rpe eval --lengths 1x:8x

  # some runs, at lengths that double from 512 to 4096
  rpe eval 'copy-rope-*' --lengths 512:4096

  # models trained with RoPE, evaluated with YaRN scaling
  rpe eval 'copy-rope-*' --rope-scaling yarn
"""


@flags.takes_recipe_keys("lengths", "samples", "eval_tokens", "eval_seed", "eval_positions")
def evaluate(
    overrides: dict[str, str],
    names: flags.RunNames = None,
    overwrite: flags.Overwrite = False,
    data: flags.Data = None,
    swap_encoding: flags.SwapEncoding = None,
    rope_scaling: flags.RopeScaling = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    device: flags.Device = "auto",
    tables: flags.Tables = False,
    as_json: flags.Json = False,
) -> None:
    """Evaluate trained runs at several lengths, and at the training length and its doublings below them.

    Lengths that are already done are skipped, unless --overwrite is given.
    """
    check_device(device)
    settings = eval_overrides(overrides, data)
    selected, unreadable = select_trained_runs(runs, names)
    request = EvalRequest(overwrite=overwrite, folder=data)
    requests = eval_requests(selected, request, settings, swap_encoding, rope_scaling)
    warn_of_lengths([(run.config, overrides.get("lengths", run.config.eval.lengths)) for run in selected])
    execute([Job(run, train=False, request=requests[run], device=device) for run in selected], jobs)
    if as_json:
        print_json(list(map(run_data, selected)))
    else:
        _print_accuracy(selected, tables)
        print_next("rpe report", runs)
    fail_if_unreadable(unreadable)


def _print_accuracy(runs: list[Run], tables: bool) -> None:
    """Encodings by length, and with `tables` every run by itself."""
    from rpecli.report.aggregate import aggregate
    from rpecli.report.load import ReportError, load_runs
    from rpecli.report.overview import overview
    from rpecli.report.write import text

    try:
        tasks = aggregate(load_runs(run.path for run in runs).runs)
        say("\n".join([*text.overview_lines(overview(tasks), text_width()), ""]))
    except ReportError as error:
        warn(str(error))
    if tables:
        print_tables(*evaluation_tables(runs))

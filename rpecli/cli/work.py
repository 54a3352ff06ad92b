"""`rpe work`: trains, evaluates and probes runs that exist, which is what clusters start."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from rpecli import process
from rpecli.cli import _flags as flags
from rpecli.cli._execute import check_torchrun, execute, follow_first_process, parse_stack, parse_track, stack_jobs
from rpecli.cli._exit import FAILURE, USAGE, stop
from rpecli.cli._inputs import check_device
from rpecli.cli._requests import eval_requests
from rpecli.cli._select import fail_if_unreadable, select_runs
from rpecli.config.settings import EvalSettings
from rpecli.evaluate.request import EvalRequest
from rpecli.launch.job import Job
from rpecli.launch.receipt import is_done
from rpecli.run.directory import Run

EXAMPLES = """
Examples:
  # what is missing of a run: training, evaluation, attention
  rpe work runs/copy-rope-s0-39717e5b

  # of several, one after another in this process
  rpe work 'copy-rope-*'

  # training alone, four seeds as one batched program
  rpe work 'copy-rope-*' --train-only --stack 4
"""


def work(
    names: Annotated[list[str], typer.Argument(help="Runs: ids, paths or patterns.", autocompletion=flags.complete_runs)],
    runs: flags.Runs = Path("runs"),
    device: flags.Device = "auto",
    nproc: flags.Nproc = 1,
    track: flags.Track = None,
    stack: flags.Stack = "off",
    train_only: Annotated[bool, typer.Option("--train-only", help="Neither evaluate nor probe.")] = False,
    no_probe: Annotated[bool, typer.Option("--no-probe", help="Evaluate, but do not measure attention.")] = False,
    data: flags.Data = None,
    swap_encoding: flags.SwapEncoding = None,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Save and end when the process that started this one ends (Linux).")
    ] = False,
    settings: Annotated[
        str | None, typer.Option("--eval", metavar="JSON", help="Settings of the evaluation in place of those of the recipe.")
    ] = None,
) -> None:
    """Do what is missing of runs that exist: train, evaluate, measure attention.

    This is what rpe run starts on other machines. After SIGTERM it saves and ends with exit code 75; started again, it goes on.
    """
    if with_parent:
        process.die_with_parent(signal.SIGTERM)
    check_device(device)
    trackers = parse_track(track)
    request = EvalRequest(_settings(settings), folder=data)
    selected, unreadable = select_runs(runs, names)
    check_torchrun(len(selected))
    if process.rank():
        if not selected[0].is_trained:
            follow_first_process(selected[0], device)
        return
    max_stack = parse_stack(stack, device, nproc)
    requests = dict.fromkeys(selected) if train_only else _requests(selected, request, swap_encoding)
    probe = not (train_only or no_probe)
    jobs = [Job(run, not run.is_trained, request, probe, device, nproc, trackers) for run, request in requests.items()]
    failed = execute(stack_jobs([job for job in jobs if not _is_done(job)], max_stack), 0, stop_on_failure=False)
    fail_if_unreadable(unreadable)
    if failed:
        raise SystemExit(FAILURE)


def _settings(text: str | None) -> EvalSettings | None:
    try:
        return None if text is None else EvalSettings.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        stop(f"--eval: {'.'.join(map(str, first['loc']))}: {first['msg']}", USAGE)


def _requests(runs: list[Run], request: EvalRequest, encoding: str | None) -> dict[Run, EvalRequest | None]:
    """The request of each run, with the settings that were given or its own, and the encoding to swap in."""
    given = {} if request.settings is None else request.settings.model_dump()
    requests, damaged = eval_requests(runs, replace(request, settings=None), given, encoding, None)
    fail_if_unreadable(damaged)
    return dict(requests)


def _is_done(job: Job) -> bool:
    return job.run.is_trained if job.request is None else is_done(job, job.run.config)

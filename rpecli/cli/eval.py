"""`rpe eval`: evaluates trained runs at lengths."""

from pathlib import Path

from rpecli.cli import _flags as flags
from rpecli.cli._execute import execute
from rpecli.cli._exit import warn
from rpecli.cli._inputs import check_eval_keys, eval_requests
from rpecli.cli._output import _say_next, print_lengths
from rpecli.cli._select import config_of, select_trained
from rpecli.config.ranges import parse_lengths
from rpecli.evaluate.request import EvalRequest
from rpecli.launch.job import Job


@flags.takes_recipe_keys("lengths", "samples", "eval_tokens", "eval_seed", "eval_positions")
def evaluate(
    given: dict[str, str],
    names: flags.RunNames = None,
    overwrite: flags.Overwrite = False,
    data: flags.Data = None,
    swap_encoding: flags.SwapEncoding = None,
    rope_scaling: flags.RopeScaling = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    device: flags.Device = "auto",
) -> None:
    """Evaluate runs at lengths, and always at the training length. What has been evaluated is not evaluated again."""
    overrides = check_eval_keys(given, data)
    paths = select_trained(runs, names)
    request = EvalRequest(overwrite=overwrite, folder=data)
    requests = eval_requests(paths, request, overrides, swap_encoding, rope_scaling)
    _warn_of_lengths(paths, given.get("lengths"))
    execute([Job(path, train=False, request=requests[path], device=device) for path in paths], jobs)
    print_lengths(paths)
    _say_next("rpe report", runs)


def _warn_of_lengths(paths: list[Path], lengths: str | None) -> None:
    """Says, once for each task, which of the lengths asked for it has no problem of."""
    from rpecli import task

    said = set()
    for config in map(config_of, paths):
        longest = task.build(config.task).longest()
        past = [n for n in parse_lengths(lengths or config.eval.lengths, config.length) if longest and n > longest]
        if past and config.task not in said:
            said.add(config.task)
            warn(f"{config.task} has no problem longer than {longest}: left out at {', '.join(map(str, past))}")

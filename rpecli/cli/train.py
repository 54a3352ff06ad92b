"""`rpe train`: trains every run of a recipe."""

from pathlib import Path

from rpecli import process
from rpecli.cli import _flags as flags
from rpecli.cli import _search
from rpecli.cli._execute import Workplace, check_torchrun, follow_first_process
from rpecli.cli._exit import FAILURE, USAGE, stop
from rpecli.cli._inputs import check_recipe, read_recipe
from rpecli.cli._output import print_next, print_tables, say
from rpecli.cli._run_tables import runs_table
from rpecli.cli._select import create_runs, fail_if_unreadable
from rpecli.run import lr_search
from rpecli.run.directory import Run

EXAMPLES = """
Examples:
  # two encodings with three seeds each on the default tasks
  rpe train --encoding rope,alibi --seed 0:3

  # a recipe with one key changed
  rpe train quick --steps 200

  # your own encoding beside a shipped one, on one task
  rpe train --task copy --encoding ./mine.py,rope
"""


@flags.takes_recipe_keys()
def train(
    overrides: dict[str, str],
    recipe: flags.MaybeRecipeName = None,
    sets: flags.Sets = None,
    add_encoding: flags.AddEncoding = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    on: flags.On = None,
    nproc: flags.Nproc = 1,
    track: flags.Track = None,
    stack: flags.Stack = "auto",
    device: flags.Device = "auto",
) -> None:
    """Train runs: one for every combination of task, encoding, positions and seed.

    Flags override the recipe, which overrides the defaults. Every recipe key is a flag, except those with keys below them.
    """
    place = Workplace.of(on, device, jobs, nproc, track, stack)
    loaded, source = read_recipe(recipe, overrides, sets, add_encoding)
    check_torchrun(len(loaded.configs()))
    if process.size() > 1 and loaded.lr_search:
        stop("under torchrun a command trains one run: write lr in place of lr_search, or use --nproc without torchrun", USAGE)
    if process.rank():
        follow_first_process(Run(runs / loaded.configs()[0].id), device)
    place.open()
    check_recipe(loaded, source)
    known = _search.search(loaded, source.name, runs, place)
    created, unusable = create_runs(known.configs, source.name, runs)
    lr_search.record(created, known.searches)
    todo = [place.job(run) for run in created if not run.is_trained]
    if len(todo) < len(created):
        say(f"{len(created) - len(todo)} of {len(created)} runs are already trained.")
    place.do(todo, stop_on_failure=True)
    print_tables(runs_table(created))
    command, meaning = next_evaluation([run.config.length for run in created])
    print_next(command, runs, meaning)
    fail_if_unreadable(unusable)
    if _search.tell_undecided(known, runs):
        raise SystemExit(FAILURE)


def next_evaluation(lengths: list[int]) -> tuple[str, str]:
    """The next command and what it measures: 512 to 4096 where some model has a chance there, else multiples."""
    longest = max(lengths)
    if 64 <= longest <= 256:
        which = "longest training length" if len({*lengths}) > 1 else "training length"
        return "rpe eval --lengths 512:4096", f"{512 // longest}x to {4096 // longest}x of the {which} {longest}"
    return "rpe eval", "1x to 8x of the training length"

"""`rpe train`: trains every run of a recipe."""

from collections.abc import Sequence
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
from rpecli.config.ranges import parse_lengths
from rpecli.config.settings import EvalSettings
from rpecli.report.format import format_factor
from rpecli.run import lr_search
from rpecli.run.directory import Run

LENGTHS: str = EvalSettings.model_fields["lengths"].default  # that are evaluated where nobody asked for others
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
    command, meaning = next_evaluation([run.config.length for run in created], [run.config.eval.lengths for run in created])
    print_next(command, runs, meaning)
    fail_if_unreadable(unusable)
    if _search.tell_undecided(known, runs):
        raise SystemExit(FAILURE)


def next_evaluation(lengths: list[int], asked: Sequence[str] = (LENGTHS,)) -> tuple[str, str]:
    """The next command and what it measures, for runs of these training lengths, of which these lengths were asked for.

    Where nobody asked for others than multiples up to 8x, 512 to 4096 if some model has a chance there.
    """
    longest, texts = max(lengths), {*asked}
    if texts != {LENGTHS}:
        return "rpe eval", _asked_lengths(lengths, asked)
    if 64 <= longest <= 256:
        which = "longest training length" if len({*lengths}) > 1 else "training length"
        return "rpe eval --lengths 512:4096", f"{512 // longest}x to {4096 // longest}x of the {which} {longest}"
    return "rpe eval", "1x to 8x of the training length"


def _asked_lengths(trained: list[int], asked: Sequence[str]) -> str:
    """`1x to 4x of the training length`, or where runs differ in that, their lengths: `lengths 4 to 64`."""
    tested = [parse_lengths(text, length) for length, text in zip(trained, asked, strict=True)]
    factors = {tuple(format_factor(end, length) for end in (lengths[0], lengths[-1]))
               for lengths, length in zip(tested, trained, strict=True)}  # fmt: skip
    if len(factors) == 1:
        return f"{' to '.join(dict.fromkeys(*factors))} of the training length"
    ends = [min(lengths[0] for lengths in tested), max(lengths[-1] for lengths in tested)]
    return f"lengths {' to '.join(dict.fromkeys(map(str, ends)))}"

"""`rpe report`: writes tables and figures of runs, after following them to their end with --watch, or compares two studies."""

import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rpecli import catalog
from rpecli.cli import _flags as flags
from rpecli.cli._exit import FAILURE, USAGE, stop
from rpecli.cli._inputs import load_recipe
from rpecli.cli._output import (
    check_report_place,
    command_line,
    new_console,
    print_json,
    print_rich,
    print_written,
    rebuild_report,
    reference_results,
    runs_flag,
    say,
    stop_for,
    write_report,
    write_with_records,
)
from rpecli.cli._search import choices
from rpecli.cli._select import asked_values, fail_if_unreadable, find_directories, meets, select_runs
from rpecli.run import archive
from rpecli.run.directory import Run
from rpecli.run.files import RunError

if TYPE_CHECKING:
    from rpecli.report.build import Paper

PAPER = ("--ours", "--at", "--figure", "--serif")
EXAMPLES = """
Examples:
  # a report of all runs
  rpe report

  # follow the runs of a recipe until they have ended, then report them
  rpe report --recipe quick --watch

  # for a paper: your encoding on top, figures for a column
  rpe report --ours mine --figure icml --serif

  # compare two studies
  rpe report --compare results/shipped/quick other-runs
"""


@flags.takes_filters
def report(
    filters: dict[str, str],
    names: flags.RunNames = None,
    runs: flags.Runs = Path("runs"),
    recipe: Annotated[
        str | None, typer.Option(help="Only the runs of this recipe.", autocompletion=flags.complete_names("recipes"))
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Compare two studies: reports, folders of runs, runs or recipes."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="First follow the runs until none is waiting or running.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between updates, with --watch.")] = 2.0,
    ours: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Your encoding: on top in paper.tex, and compared there with each other one."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="FACTOR", help="Length of paper.tex as a multiple of the training length: 4x.")
    ] = None,
    figure: Annotated[
        str | None, typer.Option(metavar="neurips|icml|slides", help="Figures at this size too, with text of 8 points there.")
    ] = None,
    serif: Annotated[bool, typer.Option("--serif", help="Such figures with serifs, as the text of most papers.")] = False,
    name: flags.Name = None,
    out: flags.Out = Path("results"),
    tables: flags.Tables = False,
    with_reference: flags.WithReference = False,
    no_reference: flags.NoReference = False,
    records: Annotated[
        bool, typer.Option("--records", help="Write runs.tar.xz too, from which `rpe report FOLDER` makes the report again.")
    ] = False,
    as_json: flags.Json = False,
) -> None:
    """Write tables and figures of runs to results/NAME/ and show the answer.

    With --compare, compare two studies instead. A folder that holds runs.tar.xz, or such a file, has its report made again.
    """
    flags.one_output()
    flags.refuse([] if watch else flags.given("--interval"), "of use with --watch only")
    if packed := next(((word, file) for word in names or [] if (file := _archive_of(Path(word)))), None):
        _rebuild(*packed, [word for word in names or [] if word != packed[0]], name, out, (as_json, tables))
        return
    if records:
        flags.refuse(flags.given("--with-reference", "--compare", *PAPER), "--records keeps what comes from the runs alone")
    reference, paper = reference_results(with_reference, no_reference), _paper(ours, at, figure, serif)
    if compare is not None:
        superfluous = [*(names or []), *filter(None, [recipe])]
        superfluous += flags.given(
            "--watch", "--tables", "--with-reference", "--no-reference", *PAPER, *(f"--{name}" for name in filters)
        )
        if superfluous:
            words = f"--compare {shlex.join(compare)}"
            stop(f"{words} takes two studies and nothing else: remove {shlex.join(superfluous)}", USAGE)
        _compare(compare, runs, out, name, as_json)
        return
    ids = None
    if recipe is not None:
        loaded, source = load_recipe(recipe, {})
        ids, name = {config.id for config in choices(loaded, runs).configs}, source.name if name is None else name
    check_report_place("all" if name is None else name, out)
    if watch:
        _watch(runs, names, ids, filters, interval)
    if ids is not None and not names and not any((runs / name).is_dir() for name in ids):
        stop(f"no runs of recipe {recipe} under {runs}: rpe run {shlex.quote(str(recipe))}{runs_flag(runs)}", FAILURE)
    selected, unreadable = select_runs(runs, names, filters)
    chosen = [run for run in selected if ids is None or run.name in ids]
    if records:
        write_with_records(chosen, name, out, as_json, tables)
    else:
        write_report(chosen, name, out, as_json, tables, reference, paper)
    fail_if_unreadable(unreadable)


def _archive_of(path: Path) -> Path | None:
    """The archive of runs that a path names, or the folder of which it is; stops for a folder that has one of another name."""
    if path.is_file() and path.name.endswith(archive.SUFFIX):
        return path
    if (path / archive.FILE).is_file():
        return path / archive.FILE
    if path.is_dir() and not Run(path).record_file.is_file():
        for other in sorted(path.glob(f"*{archive.SUFFIX}")):
            stop(f"{path} has no {archive.FILE}, and it has {other.name}: rpe report {shlex.quote(str(other))}", USAGE)
        if (path / "report.json").is_file():
            stop(f"{path} is a report without the records of its runs: rpe report --records writes both", USAGE)
    return None


def _rebuild(source: str, file: Path, other_names: list[str], name: str | None, out: Path, shown: tuple[bool, bool]) -> None:
    """Makes the report of an archive again: in its folder, or in OUT/NAME where one of them is given or the archive is named."""
    others = ["--watch", "--compare", "--recipe", "--runs", "--records", "--with-reference", "--no-reference", *PAPER]
    others += ["--task", "--encoding", "--seed", "--state"]
    if superfluous := [*other_names, *flags.given(*others)]:
        stop(f"{source} has the records of its runs, so that nothing else is read: remove {shlex.join(superfluous)}", USAGE)
    own = file.absolute().parent
    place = own if Path(source).is_dir() and not flags.given("--out", "--name") else out / (name or own.name)
    check_report_place(place.name, place.parent)
    rebuild_report(file, place, *shown)


def _paper(ours: str | None, at: str | None, figure: str | None, serif: bool) -> "Paper":
    """What a paper needs; stops for a length or a size that there is none of."""
    from rpecli.report.build import Paper
    from rpecli.report.figures.sizes import SIZES

    flags.refuse([] if figure else flags.given("--serif"), "of use with --figure only")
    if ours is not None and not ours.strip():
        stop(f"--ours {ours!r}: write the name of your encoding", USAGE)
    if figure is not None and figure not in SIZES:
        stop(f"--figure: {catalog.unknown('size', figure, list(SIZES))}", USAGE)
    factor = re.fullmatch(r"(\d+(?:\.\d+)?)x", "1x" if at is None else at)
    if not factor or not float(factor[1]):
        stop(f"--at {at!r}: write a multiple of the training length: --at 2x", USAGE)
    return Paper(None if at is None else float(factor[1]), ours, figure, serif)


def _compare(studies: tuple[str, str], runs: Path, out: Path, name: str | None, as_json: bool) -> None:
    from rpecli.report import build
    from rpecli.report.load import ReportError
    from rpecli.report.write.two_studies import folder_name

    check_report_place(folder_name(*studies) if name is None else name, out)
    try:
        comparison = build.compare_studies(studies, runs, out, name, command_line())
    except ReportError as error:
        stop_for(error)
    if as_json:
        print_json(comparison.data)
        return
    if new_console().is_terminal:
        say("".join(f"{line}\n" for line in comparison.lines))
    print_rich(comparison.tables, comparison.markdown)
    print_written(f"{comparison.files[0].parent}/")


def _watch(folder: Path, names: list[str] | None, ids: set[str] | None, filters: dict[str, str], interval: float) -> None:
    """Shows runs on stderr until they have ended, including those that start in the meantime."""
    from rpecli.launch import progress
    from rpecli.launch.status import directories_with_record

    named = [Run(path) for name in names or [] for path in find_directories(folder, name)]  # stops on a wrong name
    asked = {key: asked_values(key, text) for key, text in filters.items()}

    def can_meet(run: Run) -> bool:
        with suppress(RunError):  # a record that cannot be read
            return meets(run, asked)
        return False

    def find() -> list[Run]:
        matching = [run for run in directories_with_record(folder) if not names or any(run.path.match(name) for name in names)]
        runs = dict.fromkeys([*(run for run in named if run.record_file.is_file()), *matching])
        return [run for run in runs if (ids is None or run.name in ids) and can_meet(run)]

    if find():
        progress.watch(find, new_console(stderr=True), interval)

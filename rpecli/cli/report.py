"""`rpe report`: tables and figures of runs, once they have ended too, or two studies side by side."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._exit import FAILURE, USAGE, Interrupted, stop
from rpecli.cli._inputs import load_recipe
from rpecli.cli._output import _typed, new_console, print_json, write_report
from rpecli.cli._select import select
from rpecli.run.directory import Run

EXAMPLES = """
Examples:
  # a report of all runs
  rpe report

  # follow the runs of a recipe until they have ended, then report them
  rpe report --recipe quick --watch

  # compare two studies
  rpe report --compare results/quick other-runs
"""


def report(
    names: flags.RunNames = None,
    runs: flags.Runs = Path("runs"),
    recipe: Annotated[
        str | None, typer.Option(help="Only the runs of this recipe.", autocompletion=flags.complete_names("recipes"))
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Two studies side by side: reports, folders of runs, runs or recipes."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="First follow the runs until none is waiting or at work.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between updates, with --watch.")] = 2.0,
    name: flags.Name = None,
    out: flags.Out = Path("results"),
    as_json: flags.Json = False,
) -> None:
    """Write tables and figures of runs to results/NAME/ and show the tables.

    With --compare, compare two studies instead.
    """
    if compare is not None:
        more = [*(names or []), *filter(None, [recipe]), *(["--watch"] if watch else [])]
        _compare(compare, more, runs, out, name, as_json)
        return
    wanted = None
    if recipe is not None:
        made, source = load_recipe(recipe, {})
        wanted, name = {config.id for config in made.configs()}, name or source.name
    if watch:
        _watch(runs, names, wanted, interval)
    selected = [run for run in select(runs, names) if wanted is None or run.name in wanted]
    write_report(selected, name, out, as_json)


def _compare(words: tuple[str, str], more: list[str], runs: Path, out: Path, name: str | None, as_json: bool) -> None:
    from rpecli.report import build as report
    from rpecli.report import load as report_load

    if more:
        stop(f"--compare {shlex.join(words)} takes two studies and nothing beside them: leave out {shlex.join(more)}", USAGE)
    try:
        made = report.compare_studies(words, runs, out, name, _typed())
    except report_load.ReportError as error:
        stop(str(error), FAILURE)
    if as_json:
        print_json(made.data)
        return
    console = new_console()
    if console.is_terminal:
        typer.echo("".join(f"{line}\n" for line in made.lines))
        for table in made.tables:
            console.print(table, "")
    else:
        typer.echo(made.markdown)
    typer.secho(f"Written: {made.files[0].parent}/", err=not console.is_terminal)


def _watch(runs: Path, names: list[str] | None, wanted: set[str] | None, interval: float) -> None:
    """Shows runs on stderr until they have ended, those that begin meanwhile too."""
    from rpecli.launch import progress
    from rpecli.launch.status import directories_with_record

    select(runs, names)  # a mistake in a name is said at once

    def find() -> list[Run]:
        named = [run for run in map(Run, map(Path, names or [])) if run.record_file.is_file()]
        matching = [run for run in directories_with_record(runs) if not names or any(run.path.match(name) for name in names)]
        return [run for run in dict.fromkeys([*named, *matching]) if wanted is None or run.name in wanted]

    try:
        progress.watch(find, new_console(stderr=True), interval)
    except KeyboardInterrupt:
        raise Interrupted from None

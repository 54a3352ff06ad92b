"""What commands print: tables in a terminal, the same as Markdown in a pipe, or JSON."""

import io
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import typer

from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.escape import ascii_text, json_text, name_problem, visible
from rpecli.run import archive
from rpecli.run.directory import Run
from rpecli.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from rpecli.report.build import Paper, Reference, Report
    from rpecli.report.content import ReportContent
    from rpecli.report.load import ReportError
    from rpecli.report.records import Verdict

MAX_WIDTH = 110  # of text in a terminal
PIPE_WIDTH = 80


class AsciiStream(io.TextIOBase):
    """Standard output or error of a terminal that cannot show every character: what is written becomes ASCII."""

    encoding, errors = "utf-8", "replace"  # what writers look at, to choose which characters they may write

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(ascii_text(text))
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()


def show_ascii_where_needed() -> None:
    """Everything that this process prints is ASCII from now on, unless the encoding of the stream is one of Unicode."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        encoding = getattr(stream, "encoding", None) or "utf-8"
        if not encoding.lower().startswith("utf"):
            setattr(sys, name, AsciiStream(stream))


def say(text: str, err: bool = False, bold: bool | None = None) -> None:
    """Prints text, which may come from records and users' files."""
    typer.secho(visible(text), err=err, bold=bold)


def new_console(stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


def print_rich(parts: Iterable[Any], markdown: str) -> None:
    """Prints parts that rich can render, each followed by an empty line; in a pipe, the Markdown instead."""
    console = new_console()
    if console.is_terminal:
        for part in parts:
            console.print(part, "")
    else:
        say(markdown)


def print_tables(*tables: Table) -> None:
    """Prints tables; in a pipe as Markdown, with an empty line between them."""
    print_rich(tables, "\n\n".join(table.markdown() for table in tables))


def print_json(value: Any) -> None:
    typer.echo(json_text(value))


def print_written(place: str) -> None:
    """Says where files are, on stderr."""
    say(f"Written: {place}", err=True)


def print_next(command: str, folder: Path, meaning: str = "") -> None:
    """Proposes the next command, for the same folder of runs, and says what it does."""
    say(f"Next: {command}{runs_flag(folder)}" + (f"   # {meaning}" if meaning else ""))


def runs_flag(folder: Path) -> str:
    """What a command needs to use the same folder of runs; empty for the default one."""
    return "" if folder == Path("runs") else f" --runs {shlex.quote(str(folder))}"


def command_line() -> str:
    """The command as it was typed."""
    return visible(f"rpe {shlex.join(sys.argv[1:])}")


def reference_results(with_reference: bool, no_reference: bool) -> "Reference":
    """The shipped reference results, for tests and means too, or none of them."""
    from rpecli.report.build import NO_REFERENCE, Reference
    from rpecli.report.reference import read

    if with_reference and no_reference:
        stop("--with-reference and --no-reference contradict each other: remove one", USAGE)
    return NO_REFERENCE if no_reference else Reference(read(), in_tests=with_reference)


def check_report_place(name: str, out: Path) -> None:
    """Stops unless a report of this name can be written, before anything is trained or read."""
    from rpecli.report import build
    from rpecli.report.load import ReportError

    try:
        build.check_place(name, out)
    except ReportError as error:
        stop(str(error), USAGE)


def write_report(
    runs: list[Run],
    name: str | None,
    out: Path,
    as_json: bool,
    tables: bool,
    reference: "Reference",
    paper: "Paper | None" = None,
) -> None:
    """Writes the report of runs under a name, or that of their study, and prints its summary."""
    from rpecli.report import build
    from rpecli.report.load import ReportError

    name = _study_name(runs) if name is None else name
    try:
        report = build.build_report([run.path for run in runs], name, out, command_line(), reference, paper or build.NO_PAPER)
    except ReportError as error:
        stop_for(error)
    _print_report(report, out / name, as_json, tables)
    _warn_of_archive(out / name)


def _warn_of_archive(folder: Path) -> None:
    """Says that the records beside a report are not those of its runs."""
    if (folder / archive.FILE).is_file():
        again = f"rpe report {shlex.quote(str(folder))} makes in place of this one: rpe report --records packs these runs"
        warn(f"{folder / archive.FILE} holds the runs of an earlier report, which {again}")


def stop_for(error: "ReportError") -> NoReturn:
    """Ends the command for a report that cannot be made; a name that nothing matches is a mistake in the command."""
    from rpecli.report.load import NothingMatchesError

    stop(str(error), USAGE if isinstance(error, NothingMatchesError) else FAILURE)


def write_with_records(runs: list[Run], name: str | None, out: Path, as_json: bool, tables: bool) -> None:
    """Writes the records of runs into one file, and makes the report from it, as `rebuild_report` will."""
    from rpecli.report import build, rebuild
    from rpecli.report.load import ReportError

    name = _study_name(runs) if name is None else name
    try:
        build.check_place(name, out)
        rebuild.pack(runs, out / name, command_line())
    except ReportError as error:
        stop(str(error), FAILURE)
    rebuild_report(out / name / archive.FILE, out / name, as_json, tables)


def rebuild_report(file: Path, folder: Path, as_json: bool, tables: bool) -> None:
    """Makes the report of an archive again, in a folder, and prints its summary."""
    from rpecli.report import rebuild
    from rpecli.report.load import ReportError

    try:
        report = rebuild.rebuild(file, folder)
    except ReportError as error:
        stop(str(error), FAILURE)
    _print_report(report, folder, as_json, tables)


def _print_report(report: "Report", folder: Path, as_json: bool, tables: bool) -> None:
    from rpecli.report.build import markdown_tables

    for warning in report.warnings:
        warn(warning)
    if as_json:
        print_json(report.data)
        return
    print_summary(report.content)
    if tables:
        print_verdicts(report.verdicts)
        print_rich(report.tables, markdown_tables(report))
    say(f"Page: {folder / 'report.html'}")


def _study_name(runs: list[Run]) -> str:
    """The study that all runs were made for, where it can name a folder."""
    studies = {str(run.record.get("study", "default")) for run in runs}
    name = studies.pop() if len(studies) == 1 else "all"
    return "all" if name_problem(name) else name


def print_summary(content: "ReportContent") -> None:
    """The answer first: headline, claims, and encodings by length; the same text in a terminal and in a pipe."""
    from rpecli.report.write import text

    width = text_width()
    title = text.wrap(content.headline.title, width)
    say("\n".join(title), bold=True)
    say("\n".join(text.summary(content, width)[len(title) :]))


def print_verdicts(verdicts: "list[Verdict]") -> None:
    """Every sentence of the verdicts, wrapped between words."""
    from rpecli.report.write import text

    for verdict in verdicts:
        lines = [line for sentence in verdict.lines for line in text.wrap(sentence, text_width(), "  ")]
        say("\n".join(["", f"{verdict.claim}: {verdict.outcome}", *lines]))
    typer.echo()


def text_width() -> int:
    """Columns of the terminal, up to MAX_WIDTH; those of a narrow one in a pipe."""
    return min(shutil.get_terminal_size().columns, MAX_WIDTH) if sys.stdout.isatty() else PIPE_WIDTH

"""A report from an archive of runs: `rpe report --records` makes both, `rpe report FOLDER` the report again, byte for byte."""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from rpecli.report import build
from rpecli.report.load import ReportError
from rpecli.run import archive
from rpecli.run.directory import Run, directories
from rpecli.run.files import RunError, write_files


def pack(runs: list[Run], folder: Path, command: str) -> None:
    """Writes the archive of a report into its folder. Raises ReportError."""
    try:
        write_files(folder, {archive.FILE: archive.packed(runs, archive.Study(command))})
    except (RunError, OSError) as error:
        raise ReportError(str(error)) from None


def rebuild(folder: Path) -> build.Report:
    """The report of the archive in a folder, written into it. Raises ReportError.

    Runs are read from a working folder of their own, so that a report names them alike wherever it is made.
    """
    folder = folder.absolute()
    with TemporaryDirectory() as scratch:
        try:
            study = archive.unpacked(folder / archive.FILE, Path(scratch))
        except RunError as error:
            raise ReportError(str(error)) from None
        with chdir(scratch):
            return build.build_report(directories(Path(archive.RUNS)), folder.name, folder.parent, study.command)

"""A report from an archive of runs: `rpe report --records` makes both, `rpe report FOLDER` the report again, byte for byte."""

from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rpecli.report import build
from rpecli.report.load import ReportError, distinct
from rpecli.run import archive
from rpecli.run.directory import Run, directories
from rpecli.run.files import RunError, write_files


def pack(runs: list[Run], folder: Path, command: str) -> None:
    """Writes the archive of a report into its folder, copies of a run in the order of a report. Raises ReportError."""
    runs = [Run(path) for path in distinct(run.path for run in runs)]
    try:
        write_files(folder, {archive.FILE: archive.packed(runs, archive.Study(command, folder.name))})
    except (RunError, OSError) as error:
        raise ReportError(str(error)) from None


def rebuild(file: Path, place: Path) -> build.Report:
    """The report of an archive, written into the folder `place`, with the archive beside it. Raises ReportError.

    Its name is that under which it was made, and runs are read from a working folder of their own: the bytes are the same
    wherever it is made.
    """
    file, place = file.absolute(), place.absolute()
    build.check_place(place.name, place.parent)
    with TemporaryDirectory() as scratch:
        try:
            study = archive.unpacked(file, Path(scratch))
        except RunError as error:
            raise ReportError(str(error)) from None
        with chdir(scratch):
            runs = directories(Path(archive.RUNS))
            report = build.build_report(runs, study.name or file.parent.name, Path("results"), study.command)
            files = {path.name: path.read_bytes() for path in report.files}
        if place != file.parent:
            files[archive.FILE] = file.read_bytes()
        return replace(report, files=build.write(place, files))

"""Reports from archives of runs: `rpe report --records`, `rpe report FOLDER`, and every folder of results that has one."""

import io
import lzma
import shutil
import tarfile
from pathlib import Path

import pytest
from helpers import training as tiny

from rpecli.report.load import ReportError
from rpecli.report.rebuild import rebuild
from rpecli.run import archive
from rpecli.run.directory import find_runs

RESULTS = Path(__file__).parents[1] / "results"
SHIPPED = sorted(file.parent for file in RESULTS.glob(f"*/{archive.FILE}"))
TEXTS = (".md", ".csv", ".json", ".tex")  # figures are of a version of matplotlib


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(folder: Path, members: dict[str, bytes]) -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    folder.mkdir()
    (folder / archive.FILE).write_bytes(lzma.compress(buffer.getvalue()))
    return folder


def test_a_folder_with_records_makes_the_same_report_anywhere(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    assert rpe("report", "--runs", evaluated, "--name", "mine", "--records").code == 0
    first = contents(here / "results" / "mine")
    assert {"runs.tar.xz", "report.md", "report.json", "accuracy.svg"} <= first.keys()
    assert "rpe report --runs" in first["report.md"].decode()  # the command that made it
    elsewhere = here / "elsewhere" / "mine"
    elsewhere.mkdir(parents=True)
    shutil.copy(here / "results" / "mine" / archive.FILE, elsewhere)
    again = rpe("report", elsewhere)
    assert again.code == 0
    assert contents(elsewhere) == first
    assert f"{elsewhere}/report.html" in again.out


def test_an_archive_holds_all_records_and_no_weights(here: Path, evaluated: Path) -> None:
    runs = find_runs(evaluated)[0]
    data = archive.packed(runs, archive.Study("rpe report"))
    assert data == archive.packed(list(reversed(runs)), archive.Study("rpe report"))
    (here / archive.FILE).write_bytes(data)
    assert archive.unpacked(here / archive.FILE, here) == archive.Study("rpe report")
    copies = find_runs(here / archive.RUNS)[0]
    assert [copy.name for copy in copies] == [run.name for run in runs]
    for run, copy in zip(runs, copies, strict=True):
        assert copy.evaluations() == run.evaluations() != []
        assert copy.metrics() == run.metrics() != []
        assert copy.config == run.config
        assert not copy.weights_file.exists()
        assert not {"pid", "process"} & copy.record.keys()


def test_names_beside_a_folder_with_records_are_refused(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    assert rpe("report", "--runs", evaluated, "--name", "mine", "--records", "--with-reference").code == 2
    folder = written(here / "mine", {"study.json": b'{"command": "rpe report"}'})
    result = rpe("report", folder, "others", "--name", "x")
    assert result.code == 2
    assert "so that nothing else is read: remove others --name" in " ".join(result.err.split())


@pytest.mark.parametrize("name", ["../run.json", "/run.json", "a/../../run.json"])
def test_members_outside_of_the_folder_are_refused(here: Path, name: str) -> None:
    folder = written(here / "mine", {name: b"{}"})
    with pytest.raises(ReportError, match="which is no file of a run"):
        rebuild(folder)


def test_a_damaged_archive_is_said_to_be_damaged(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    assert rpe("report", "--runs", evaluated, "--name", "mine", "--records").code == 0
    file = here / "results" / "mine" / archive.FILE
    whole = file.read_bytes()
    for data in (b"", b"no archive", whole[: len(whole) // 2], whole[:100] + b"x" + whole[101:]):
        file.write_bytes(data)
        result = rpe("report", file.parent)
        assert result.code == 1
        assert "is damaged" in " ".join(result.err.split())


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_committed_reports_are_those_of_their_records(here: Path, folder: Path) -> None:
    """Made again: rpe report results/NAME."""
    copy = here / folder.name
    copy.mkdir()
    shutil.copy(folder / archive.FILE, copy)
    rebuild(copy)
    texts = {name: data for name, data in contents(copy).items() if Path(name).suffix in TEXTS}
    assert {name: (folder / name).read_bytes() for name in texts} == texts

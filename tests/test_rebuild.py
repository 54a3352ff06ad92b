"""Reports from archives of runs: `rpe report --records`, `rpe report FOLDER`, and every folder of results that has one."""

import io
import lzma
import shutil
import tarfile
from pathlib import Path

import pytest
from helpers import training as tiny
from helpers.run_folders import make_run

from rpecli.report import build
from rpecli.report.load import ReportError
from rpecli.report.rebuild import pack, rebuild
from rpecli.run import archive
from rpecli.run.directory import Run, find_runs

RESULTS = Path(__file__).parents[1] / "results"
SHIPPED = sorted(file.parent for place in ("crasp", "shipped/*") for file in RESULTS.glob(f"{place}/{archive.FILE}"))
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


@pytest.mark.parametrize("folders", ["AB", "BA", "ABA"])
def test_copies_of_a_run_count_in_an_archive_as_they_do_without(here: Path, folders: str) -> None:
    copies = {name: make_run(Path(name), {16: 1.0, 32: score}) for name, score in (("A", 0.9), ("B", 0.5))}
    (copies["A"] / "probes.jsonl").write_bytes(b"of A")
    paths = [copies[name] for name in folders] + [make_run(Path("A"), {16: 1.0, 32: 0.2}, encoding="learned")]
    report = build.build_report(paths, "mine", here / "results")
    pack([Run(path) for path in paths], here / "mine", "rpe report")
    again = rebuild(here / "mine" / archive.FILE, here / "mine")
    measured = [[(row["encoding"], row["length"], row["token_accuracy"]["mean"]) for row in one.data["rows"]]
                for one in (report, again)]  # fmt: skip
    assert measured[0] == measured[1]
    assert ("rope", 32, 0.9) in measured[1]
    assert [sum("are the same run" in text for text in one.warnings) for one in (report, again)] == [1, 1]
    archive.unpacked(here / "mine" / archive.FILE, here)
    for name, number in (("A", ""), ("B", "-2")):
        copy = here / archive.RUNS / f"{copies[name].name}{number}"
        assert (copy / "eval.jsonl").read_bytes() == (copies[name] / "eval.jsonl").read_bytes()
        assert (copy / "probes.jsonl").exists() == (name == "A")


def test_an_archive_of_an_earlier_report_is_told_and_stays(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    words = ("report", "--runs", evaluated, "--name", "mine")
    assert "runs.tar.xz" not in rpe(*words).err
    assert "runs.tar.xz" not in rpe(*words, "--records").err
    packed = (here / "results/mine/runs.tar.xz").read_bytes()
    later = rpe(*words, "--encoding", "rope")
    said = "results/mine/runs.tar.xz holds the runs of an earlier report, which rpe report results/mine makes in place"
    assert f"{said} of this one: rpe report --records packs these runs" in later.err
    assert (here / "results/mine/runs.tar.xz").read_bytes() == packed


def test_names_beside_a_folder_with_records_are_refused(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    assert rpe("report", "--runs", evaluated, "--name", "mine", "--records", "--with-reference").code == 2
    folder = written(here / "mine", {"study.json": b'{"command": "rpe report"}'})
    result = rpe("report", folder, "others", "--with-reference", "--seed", 1)
    assert result.code == 2
    assert "so that nothing else is read: remove others --with-reference --seed" in " ".join(result.err.split())


def test_a_report_is_the_same_in_another_place_and_folder(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    """The folder may be one that cannot be written, one that was renamed, or the archive alone."""
    assert rpe("report", "--runs", evaluated, "--name", "mine", "--records").code == 0
    first = contents(here / "results" / "mine")
    renamed = here / "renamed"
    renamed.mkdir()
    (renamed / archive.FILE).write_bytes(first[archive.FILE])
    alone = here / "sent.tar.xz"
    alone.write_bytes(first[archive.FILE])
    for words, place in (
        ((renamed,), renamed),
        ((renamed, "--name", "other"), here / "results" / "other"),
        ((renamed, "--out", here / "out"), here / "out" / "renamed"),
        ((renamed / archive.FILE,), here / "results" / "renamed"),
        ((alone, "--name", "again", "--out", here / "out"), here / "out" / "again"),
    ):
        result = rpe("report", *words)
        assert (result.code, result.err) == (0, ""), words
        assert contents(place) == first, words
        assert f"{place.name}/report.html" in result.out
    assert contents(here / "results" / "mine") == first


def test_a_folder_whose_archive_was_renamed_is_told_what_to_type(here: Path, rpe: tiny.Rpe) -> None:
    folder = written(here / "mine", {"study.json": b"{}"})
    (folder / archive.FILE).rename(folder / "old records.tar.xz")
    result = rpe("report", "mine")
    assert (result.code, result.err) == (
        2, "mine has no runs.tar.xz, and it has old records.tar.xz: rpe report 'mine/old records.tar.xz'\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["../run.json", "/run.json", "a/../../run.json", "run.json", "a/weights.safetensors", "a/code/mine.py",
     "a/code/tasks/mine.sh", "a/b/run.json", "README.md", "a/.run.json.tmp", "a\\run.json", "a/CON:1"],
)  # fmt: skip
def test_what_is_no_file_of_a_run_is_refused(here: Path, name: str) -> None:
    folder = written(here / "mine", {name: b"{}"})
    with pytest.raises(ReportError, match="which is no file of a run: it is not read: make one with rpe report --records"):
        rebuild(folder / archive.FILE, folder)
    assert [path.name for path in folder.iterdir()] == [archive.FILE]


def refused(folder: Path, *members: tarfile.TarInfo) -> str:
    """What is said of an archive of these members, which have no content."""
    data = b"".join(member.tobuf(tarfile.PAX_FORMAT) for member in members) + bytes(2 * tarfile.BLOCKSIZE)
    folder.mkdir(exist_ok=True)
    (folder / archive.FILE).write_bytes(lzma.compress(data))
    with pytest.raises(ReportError) as error:
        rebuild(folder / archive.FILE, folder)
    assert len(str(error.value).splitlines()) == 1
    assert [path.name for path in folder.iterdir()] == [archive.FILE]
    return str(error.value)


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, "/etc/passwd"
    return info


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_folders_and_devices_are_refused(here: Path, kind: bytes) -> None:
    assert "which is a link, a folder or no plain file" in refused(here / "mine", member("a/run.json", kind))


def test_a_file_that_is_there_twice_is_refused(here: Path) -> None:
    assert "holds 'a/eval.jsonl' twice" in refused(here / "mine", member("a/eval.jsonl"), member("a/eval.jsonl"))


def test_sizes_have_limits(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "of 268,435,457 bytes, more than 268,435,456" in refused(here / "mine", member("a/eval.jsonl", size=(256 << 20) + 1))
    assert "of 65,537 bytes, more than 65,536" in refused(here / "mine", member("a", tarfile.XHDTYPE, (64 << 10) + 1))
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    assert "holds more than 3 files" in refused(here / "mine", *(member(f"a{number}/run.json") for number in range(4)))
    monkeypatch.setattr(archive, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(archive, "CHUNK", 1 << 10)
    (here / "mine" / archive.FILE).write_bytes(lzma.compress(bytes(1 << 24)))  # 2.6 kB
    with pytest.raises(ReportError, match="GiB, which no archive of runs does"):
        rebuild(here / "mine" / archive.FILE, here / "mine")


def test_a_study_of_another_kind_is_damage(here: Path) -> None:
    for number, text in enumerate(
        (b"[]", b"5", b'{"name": "x"}', b'{"command": 5}', b'{"command": "", "name": "../x"}', b"{", b"")
    ):
        folder = written(here / str(number), {"study.json": text})
        with pytest.raises(ReportError, match="is damaged"):
            rebuild(folder / archive.FILE, folder)


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
    rebuild(copy / archive.FILE, copy)
    texts = {name: data for name, data in contents(copy).items() if Path(name).suffix in TEXTS}
    assert {name: (folder / name).read_bytes() for name in texts} == texts


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_committed_reports_name_no_folder_of_the_machine_that_made_them(folder: Path) -> None:
    assert "/tmp/" not in (folder / "report.md").read_text()

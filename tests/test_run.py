"""Run directories: writes that survive a kill, damage that is named, a lock that dies with its holder, provenance."""

import io
import json
import os
import pickle
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.run_folders import evaluation, shifted, validation

from rpecli import catalog
from rpecli.config import recipe
from rpecli.config.recipe import Config
from rpecli.device import n_cores
from rpecli.run import files, provenance
from rpecli.run.directory import Run, Status, find_runs, group_of
from rpecli.run.files import RECORD_FORMAT, TAIL, RunError, RunInUse, append_line, line_bytes, write_bytes, write_json


def config(**keys: Any) -> Config:
    return Config.from_keys(**{"task": "copy", "encoding": "rope", "steps": 3, **keys})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that was created and not trained."""
    return Run.create(config(), tmp_path / "runs")


@pytest.fixture
def fresh_commit() -> Iterator[None]:
    """Without what `commit` remembers, before and after."""
    provenance.commit.cache_clear()
    yield
    provenance.commit.cache_clear()


def read_lines(path: Path) -> list[Any]:
    return files.read_lines(path, json.loads)


def last_line(path: Path) -> Any:
    return files.last_line(path, json.loads)


def error_of(call: object, *arguments: object) -> str:
    """The message of the RunError that a call raises."""
    with pytest.raises(RunError) as caught:
        call(*arguments)  # type: ignore[operator]
    return str(caught.value)


def test_a_kill_between_write_and_rename_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_bytes(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    write_bytes(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_is_on_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (steps.append("sync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda old, new: (steps.append(Path(old).read_text()), rename(old, new)))
    write_bytes(tmp_path / "a", b"whole")
    assert steps == ["sync", "whole"]


def test_files_that_a_kill_left_behind_disturb_nobody(run: Run) -> None:
    (run.path / "run.json.123.tmp").write_text("{")
    (run.path / "metrics.jsonl.4.tmp").write_text("{")
    (run.path.parent / "stray.tmp").write_text("")
    assert find_runs(run.path.parent) == ([run], [])
    assert run.config == config()


def test_lines_come_back_as_they_went_in(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_lines(path) == []
    lines = [{"step": 1, "word": "naïve\n"}, {"step": 2, "loss": 0.1}]
    for line in lines:
        append_line(path, line)
    assert read_lines(path) == lines
    assert path.read_bytes() == b"".join(line_bytes(line) for line in lines)


@pytest.mark.parametrize("torn", [b'{"step": 2', b'{"step": 2}', b"{", b"\xff\xfe", b"\0\0\0"])
def test_a_torn_last_line_is_ignored_and_cut_off_by_the_next_write(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"step": 1})
    path.write_bytes(path.read_bytes() + torn)
    assert read_lines(path) == [{"step": 1}]
    append_line(path, {"step": 3})
    assert path.read_bytes() == line_bytes({"step": 1}) + line_bytes({"step": 3})


def test_a_file_that_is_one_torn_line_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"st')
    assert read_lines(path) == []
    append_line(path, {"step": 1})
    assert read_lines(path) == [{"step": 1}]


@pytest.mark.parametrize("damage", [b'{"step": 2', b"3", b"null", b"[]", b"\0\0\0\0", b'{"word": "\xff"}'])
def test_damage_above_the_last_line_names_file_and_line(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line_bytes({"step": 1}) + damage + b"\n" + line_bytes({"step": 3}))
    assert error_of(read_lines, path) == f"{path}:2: damaged: no checksum: delete that line"


@pytest.mark.parametrize("long", [1, TAIL - 20, TAIL, 3 * TAIL])
def test_the_last_line_is_that_of_all_lines_however_long_it_is(long: int, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert last_line(path) is None
    for step in range(3):
        append_line(path, {"step": step, "word": long * "x"})
        assert last_line(path) == read_lines(path)[-1] == {"step": step, "word": long * "x"}


@pytest.mark.parametrize("torn", [b'{"step": 2', b'{"step": 2}', b"{", b"\xff\xfe", b"\0\0\0", 2 * TAIL * b"x"])
def test_a_torn_last_line_is_not_the_last(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(torn)
    assert last_line(path) is None
    path.write_bytes(line_bytes({"step": 0}) + line_bytes({"step": 1}) + torn)
    assert last_line(path) == {"step": 1}


@pytest.mark.parametrize("damage", [b'{"step": 2', b"3", b"null", b"[]", b"\0\0\0\0", b'{"word": "\xff"}'])
def test_a_damaged_last_line_is_no_line_and_nothing_older_takes_its_place(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line_bytes({"step": 1}) + damage + b"\n")
    assert last_line(path) is None


def test_only_the_end_of_a_file_is_read_for_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sizes = tmp_path / "metrics.jsonl", list[int]()

    class Counted(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            sizes.append(len(data := super().read(size)))
            return data

    monkeypatch.setattr("rpecli.run.files.open", lambda path, mode: Counted(path), raising=False)
    path.write_bytes(TAIL * b"damage above is not looked at\n" + line_bytes({"step": 1}))
    assert last_line(path) == {"step": 1}
    assert sizes == [TAIL]


def test_a_run_is_created_once(run: Run) -> None:
    run.update(status="training", step=7)
    before = {file.name: file.read_bytes() for file in run.path.iterdir()}
    assert Run.create(config(), run.path.parent) == run
    assert Run.create(config(samples=3), run.path.parent, study="other") == run
    assert {file.name: file.read_bytes() for file in run.path.iterdir()} == before


def test_a_new_run_says_what_it_is(run: Run) -> None:
    record = run.record
    assert run.name == record["id"] == config().id
    assert (record["task"], record["encoding"], record["seed"], record["status"]) == ("copy", "rope", 0, Status.CREATED)
    assert (record["positions"], record["group"], record["format"]) == ("start", "RPE", RECORD_FORMAT)
    assert set(record["sources"]) == {"tasks", "encodings"}
    assert run.config == config()
    assert not run.is_trained


def test_a_run_is_trained_once_its_record_says_so_and_its_weights_are_there(run: Run) -> None:
    run.weights_file.write_bytes(b"")
    assert not run.is_trained
    run.update(status=Status.TRAINED)
    assert run.is_trained
    run.weights_file.unlink()
    assert not run.is_trained


def test_a_run_goes_to_another_process_with_its_recipe(run: Run) -> None:
    assert run.config == config()
    run.recipe_file.unlink()
    copy = pickle.loads(pickle.dumps(run))
    assert copy == run
    assert copy.config == config()


def test_the_recipe_is_read_once(run: Run) -> None:
    first = run.config
    run.recipe_file.unlink()
    assert run.config is first


def test_lines_of_a_run_are_appended_and_read_back(run: Run) -> None:
    kinds = [
        (run.append_metrics, run.metrics, [validation(step, 0.5) for step in (1, 2)]),
        (run.append_evaluation, run.evaluations, [evaluation(length, 0.5, 0.25) for length in (8, 16)]),
        (run.append_probe, run.probes, [shifted("prefix", 1), shifted("positions", 1)]),
    ]
    for append, read, lines in kinds:
        assert read() == []
        for line in lines:
            append(line)
        assert read() == lines
    assert run.last_metrics() == validation(2, 0.5)
    run.cut_metrics(step=1)
    assert run.metrics() == [validation(1, 0.5)]


def test_groups_are_what_encodings_call_themselves() -> None:
    for name in catalog.names("encodings"):
        assert group_of(name) in catalog.GROUPS
    assert group_of("none") == "none"


def test_a_kill_while_a_run_is_created_leaves_one_that_can_be_created_again(tmp_path: Path) -> None:
    path = tmp_path / config().id
    path.mkdir()
    (path / "recipe.yaml").write_text("lr: [torn")
    assert find_runs(tmp_path)[0] == []
    assert Run.create(config(), tmp_path) == Run(path)
    assert Run(path).config == config()


def test_a_directory_that_holds_a_different_run_is_refused(run: Run) -> None:
    run.update(id="copy-rope-s0-00000000")
    assert "already holds a different run" in error_of(Run.create, config(), run.path.parent)


@pytest.mark.parametrize("damage", [b"{", b"", b"[]", b"{}", b"\xff", None])
@pytest.mark.parametrize(("file", "way"), [("weights", "is trained again"), ("checkpoint", "goes on from its checkpoint")])
def test_a_damaged_or_missing_record_is_written_anew_by_the_very_recipe(
    file: str, way: str, damage: bytes | None, run: Run
) -> None:
    before, said = run.record, list[str]()
    run.append_metrics(validation(10, 0.5, seconds=7.0))
    run.path.joinpath(f"{file}.safetensors").touch()
    run.record_file.unlink() if damage is None else run.record_file.write_bytes(damage)
    assert Run.create(config(), run.path.parent, say=said.append) == run
    record = run.record
    assert record.pop("seconds", None) == (7.0 if file == "checkpoint" else None)
    assert record | {"created": before["created"]} == before
    (text,) = said
    assert text.startswith(str(run))
    assert text.endswith(f": it is written anew, and the run {way}")


@pytest.mark.parametrize("damage", [b"lr: [1", b"", b"seed: 5", None])
def test_a_damaged_or_missing_recipe_is_written_anew_by_the_very_recipe(damage: bytes | None, run: Run) -> None:
    before, said = run.recipe_file.read_bytes(), list[str]()
    run.recipe_file.unlink() if damage is None else run.recipe_file.write_bytes(damage)
    Run.create(config(), run.path.parent, say=said.append)
    assert run.recipe_file.read_bytes() == before
    problem = "is missing" if damage is None else "has changed since rpe wrote it"
    assert said == [f"{run.recipe_file} {problem}: it is written anew"]


@pytest.mark.parametrize("written", [None, 1, 2, 3, 4, 6, "5"])
def test_a_run_of_another_record_format_is_refused_in_one_line_with_the_remedy(written: object, run: Run) -> None:
    record = run.record | {"format": written}
    write_json(run.record_file, {key: value for key, value in record.items() if value is not None})
    message = error_of(lambda: run.record)
    named = f"record format {written}" if written else "no record format"
    assert f"{run.path} was written by another version of rpe ({named}; this is {RECORD_FORMAT})" in message
    assert message.endswith("move such runs elsewhere or delete them, and start the same command again")
    assert "\n" not in message
    assert error_of(Run.create, config(), run.path.parent) == message
    assert find_runs(run.path.parent) == ([], [(run.path, message)])


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    assert f"{tmp_path}/runs is a file" in error_of(Run.create, config(), tmp_path / "runs")
    (tmp_path / config().id).write_text("")
    assert error_of(Run.create, config(), tmp_path).startswith(f"{tmp_path}/{config().id} is a file")


def test_the_sources_notice_a_changed_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("group = 'APE'\n")
    choice = f"{path}:base=2"
    first = provenance.sources(config(encoding=choice))
    assert first["tasks"] == provenance.sources(config())["tasks"]
    record = Run.create(config(encoding=choice), tmp_path / "runs").record
    assert (record["encoding"], record["group"], record["sources"]) == ("mine:base=2", "APE", first)
    path.write_text("group = 'APE'\n\n")
    assert provenance.sources(config(encoding=choice))["encodings"] != first["encodings"]


def test_an_update_keeps_the_other_fields(run: Run) -> None:
    before = run.record
    assert run.update(status="trained", step=3) == run.record == {**before, "status": "trained", "step": 3}


def test_a_missing_run_says_how_to_list_them(tmp_path: Path) -> None:
    assert error_of(lambda: Run(tmp_path / "gone").record).startswith(f"no run {tmp_path}/gone: rpe ls runs")
    (tmp_path / "file").write_text("")
    assert error_of(lambda: Run(tmp_path / "file").record).startswith("no run ")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"", "damaged: not JSON"),
        (b'{"task": "co', "damaged: not JSON"),
        (b"\xff\xfe\x00", "damaged: not JSON"),
        (b"{}", "not a record of rpe"),
        (b'{"task": "copy", "encoding": "rope", "seed": 1}', "not a record of rpe"),
        (b'{"task": "copy", "encoding": "rope", "seed": 1, "status": "trained", "format": 5}', "damaged: no checksum"),
        (b'["task", "encoding", "seed", "status"]', "not a record of rpe"),
        (b"3", "not a record of rpe"),
    ],
)
def test_a_damaged_or_foreign_record_is_named(record: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(record)
    error = error_of(lambda: Run(tmp_path).record)
    assert error.startswith(f"{tmp_path}/run.json: ")
    assert message in error


def test_the_search_for_runs_skips_and_reports_other_directories(run: Run) -> None:
    folder = run.path.parent
    other = Run.create(config(seed=1), folder)
    (folder / "a-notes").mkdir()
    (folder / "z-damaged").mkdir()
    (folder / "z-damaged/run.json").write_text("{")
    (folder / "file.txt").write_text("")
    runs, problems = find_runs(folder)
    assert runs == sorted([run, other])
    assert [problem.split(":")[0] for _, problem in problems] == [f"{folder}/a-notes", f"{folder}/z-damaged/run.json"]
    assert [path for path, _ in problems] == [folder / "a-notes", folder / "z-damaged"]


def test_a_folder_that_is_not_there_holds_no_runs(tmp_path: Path) -> None:
    assert find_runs(tmp_path / "gone") == ([], [])


@pytest.mark.parametrize("text", ["lr: fast", "lr: [1", "seed: 0:2", "task: no-such-task"])
def test_a_run_whose_recipe_does_not_load_is_named(text: str, run: Run) -> None:
    run.recipe_file.write_text(text)
    assert error_of(lambda: run.config).startswith(f"{run.recipe_file} has changed since rpe wrote it: restore it, or start")
    run.update(recipe=files.digest(text.encode()))
    assert error_of(lambda: run.config).startswith(f"{run.path}: its recipe.yaml does not load: ")


def test_a_run_without_its_recipe_is_named(run: Run) -> None:
    run.recipe_file.unlink()
    assert error_of(lambda: run.config).startswith(f"{run.recipe_file} is missing: restore it, or start")


HOLD = (
    "import sys, pathlib; from rpecli.run.directory import Run\n"
    "with Run(pathlib.Path(sys.argv[1])).lock(): print('locked', flush=True); input()"
)


def holder(run: Run) -> subprocess.Popen[str]:
    """Another process that holds the lock of a run until a line comes in."""
    command = [sys.executable, "-c", HOLD, str(run.path)]
    process = subprocess.Popen(command, cwd=catalog.PACKAGE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "locked\n"
    return process


@pytest.mark.parametrize("end", ["release", "kill"])
def test_a_lock_keeps_others_out_until_its_process_ends_however_it_ends(end: str, run: Run) -> None:
    with holder(run) as process:
        try:
            with pytest.raises(RunInUse, match="another process"), run.lock():
                pass
        finally:
            process.send_signal(signal.SIGKILL) if end == "kill" else process.communicate("\n")
            process.wait()
        with run.lock():
            assert run.record["status"] == "created"


def test_a_lock_is_released_after_an_error(run: Run) -> None:
    with pytest.raises(ZeroDivisionError), run.lock():
        _ = 1 / 0
    with run.lock(), pytest.raises(RunInUse, match="another process"), run.lock():
        pass
    with run.lock():
        pass


def test_two_runs_have_two_locks(run: Run) -> None:
    other = Run.create(config(seed=1), run.path.parent)
    with run.lock(), other.lock():
        pass


@pytest.mark.usefixtures("fresh_commit")
def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit() == (None, None)
    assert provenance.provenance()["commit"] is None


@pytest.mark.usefixtures("fresh_commit")
def test_outside_a_checkout_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "PACKAGE", tmp_path / "rpecli")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() == (None, None)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_commit: None) -> Path:
    """A repository with one commit in place of the project's own."""
    if not shutil.which("git"):
        pytest.skip("no git here")
    for name in ("rpecli/a.py", "tasks/b.py", "other.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(catalog, "PACKAGE", tmp_path / "rpecli")
    return tmp_path


def test_a_checkout_has_a_commit_and_is_dirty_when_its_code_changed(checkout: Path) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()
    (checkout / "other.txt").write_text("changed")
    (checkout / "tasks/new.py").write_text("untracked")
    assert provenance.commit() == (head, False)
    for name in ("rpecli/a.py", "tasks/b.py"):
        (checkout / name).write_text("changed")
        provenance.commit.cache_clear()
        assert provenance.commit() == (head, True)
        (checkout / name).write_text("")


def test_a_package_inside_another_repository_has_no_commit_of_its_own(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "venv/site/rpecli").mkdir(parents=True)
    monkeypatch.setattr(catalog, "PACKAGE", checkout / "venv/site/rpecli")
    assert provenance.commit() == (None, None)


def test_provenance_is_json_and_names_the_versions() -> None:
    fields = provenance.provenance()
    assert json.loads(json.dumps(fields)) == fields
    assert {"commit", "dirty", "versions", "machine", "platform"} <= set(fields)
    assert fields["versions"]["numpy"]
    assert provenance.package_version("no-package-of-this-name") is None


def test_the_machine_is_named_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance.machine().endswith(f", {n_cores()} cores")
    monkeypatch.setattr(Path, "exists", lambda path: False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert provenance.machine() == f"riscv64, {n_cores()} cores"


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert n_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert n_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert n_cores() == 1


def test_times_sort_as_text_and_name_their_zone() -> None:
    assert provenance.now().endswith("+00:00")


def test_the_format_of_the_identity_is_not_that_of_the_record() -> None:
    assert (recipe.FORMAT, RECORD_FORMAT) == (3, 5)

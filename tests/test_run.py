"""Run directories: writes that survive a kill, damage that is named, a lock that dies with its holder, provenance."""

import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rpecli import catalog
from rpecli.config import recipe
from rpecli.config.recipe import Config
from rpecli.device import n_cores
from rpecli.run import directory as run
from rpecli.run import provenance as run_provenance
from rpecli.run.files import TAIL, RunError, append_line, last_line, line_bytes, read_lines, write_bytes


def config(**keys: Any) -> Config:
    return Config.from_keys(**{"task": "copy", "encoding": "rope", "steps": 3, **keys})


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A run that was created and not trained."""
    return run.create(config(), tmp_path / "runs")


@pytest.fixture
def fresh_commit() -> Iterator[None]:
    """Without what `commit` remembers, before and after."""
    run_provenance.commit.cache_clear()
    yield
    run_provenance.commit.cache_clear()


def said(call: object, *arguments: object) -> str:
    """The message of the RunError that a call raises."""
    with pytest.raises(RunError) as caught:
        call(*arguments)  # type: ignore[operator]
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------------- writes


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


def test_files_that_a_kill_left_beside_disturb_nobody(made: Path) -> None:
    (made / "run.json.123.tmp").write_text("{")
    (made / "metrics.jsonl.4.tmp").write_text("{")
    (made.parent / "stray.tmp").write_text("")
    assert run.listing(made.parent) == ([made], [])
    assert run.config_of(made) == config()


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
    assert path.read_bytes() == b'{"step": 1}\n{"step": 3}\n'


def test_a_file_that_is_one_torn_line_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"st')
    assert read_lines(path) == []
    append_line(path, {"step": 1})
    assert read_lines(path) == [{"step": 1}]


@pytest.mark.parametrize("damage", [b'{"step": 2', b"", b"3", b"null", b"[]", b"\0\0\0\0", b'{"word": "\xff"}'])
def test_damage_above_the_last_line_names_file_and_line(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + damage + b'\n{"step": 3}\n')
    assert said(read_lines, path).startswith(f"{path}:2: damaged line")


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
    path.write_bytes(b'{"step": 0}\n{"step": 1}\n' + torn)
    assert last_line(path) == {"step": 1}


@pytest.mark.parametrize("damage", [b'{"step": 2', b"", b"3", b"null", b"[]", b"\0\0\0\0", b'{"word": "\xff"}'])
def test_a_damaged_last_line_is_no_line_and_nothing_older_takes_its_place(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + damage + b"\n")
    assert last_line(path) is None


def test_only_the_end_of_a_file_is_read_for_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, taken = tmp_path / "metrics.jsonl", list[int]()

    class Counted(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            taken.append(len(found := super().read(size)))
            return found

    monkeypatch.setattr("rpecli.run.files.open", lambda path, mode: Counted(path), raising=False)
    path.write_bytes(TAIL * b"damage above is not looked at\n" + b'{"step": 1}\n')
    assert last_line(path) == {"step": 1}
    assert taken == [TAIL]


# --------------------------------------------------------------------------------------------------------- the directory


def test_a_run_is_made_once_and_found_again(made: Path) -> None:
    run.update(made, status="training", step=7)
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    assert run.create(config(), made.parent) == made
    assert run.create(config(samples=3), made.parent, study="other") == made
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_a_new_run_says_what_it_is(made: Path) -> None:
    info = run.read(made)
    assert made.name == info["id"] == config().id
    assert (info["task"], info["encoding"], info["seed"], info["status"]) == ("copy", "rope", 0, "created")
    assert info["positions"] == "start"
    assert info["group"] == "RPE"
    assert set(info["sources"]) == {"tasks", "encodings"}
    assert info["status"] in run.STATUSES
    assert run.config_of(made) == config()


def test_groups_are_what_encodings_call_themselves() -> None:
    for name in catalog.names("encodings"):
        assert run.group_of(name) in catalog.class_constants(catalog.PACKAGE / "encoding.py")["GROUPS"]
    assert run.group_of("none") == "none"


def test_a_kill_while_a_run_is_made_leaves_one_that_can_be_made_again(tmp_path: Path) -> None:
    path = tmp_path / config().id
    path.mkdir()
    (path / "recipe.yaml").write_text("lr: [torn")
    assert run.listing(tmp_path)[0] == []
    assert run.create(config(), tmp_path) == path
    assert run.config_of(path) == config()


def test_another_run_in_the_place_of_this_one_is_no_run_to_go_on_with(made: Path) -> None:
    run.update(made, id="copy-rope-s0-00000000")
    assert "another run" in said(run.create, config(), made.parent)


def test_a_damaged_record_in_the_place_of_this_run_is_named(made: Path) -> None:
    (made / "run.json").write_text("{")
    assert said(run.create, config(), made.parent).startswith(f"{made}/run.json: damaged record")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    assert f"{tmp_path}/runs" in said(run.create, config(), tmp_path / "runs")
    (tmp_path / config().id).write_text("")
    assert said(run.create, config(), tmp_path).startswith(f"{tmp_path}/{config().id} is a file")


def test_the_sources_notice_a_changed_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("group = 'APE'\n")
    choice = f"{path}:base=2"
    first = run_provenance.sources(config(encoding=choice))
    assert first["tasks"] == run_provenance.sources(config())["tasks"]
    info = run.read(run.create(config(encoding=choice), tmp_path / "runs"))
    assert (info["encoding"], info["group"], info["sources"]) == ("mine:base=2", "APE", first)
    path.write_text("group = 'APE'\n\n")
    assert run_provenance.sources(config(encoding=choice))["encodings"] != first["encodings"]


def test_an_update_keeps_the_other_fields(made: Path) -> None:
    before = run.read(made)
    assert run.update(made, status="trained", step=3) == run.read(made) == {**before, "status": "trained", "step": 3}


def test_a_missing_run_says_how_to_list_them(tmp_path: Path) -> None:
    assert said(run.read, tmp_path / "gone").startswith(f"no run {tmp_path}/gone: rpe ls runs")
    (tmp_path / "file").write_text("")
    assert said(run.read, tmp_path / "file").startswith("no run ")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"", "damaged record"),
        (b'{"task": "co', "damaged record"),
        (b"\xff\xfe\x00", "damaged record"),
        (b"{}", "not a record of rpe (no task, encoding, seed, status)"),
        (b'{"task": "copy", "encoding": "rope", "seed": 1}', "not a record of rpe (no status)"),
        (b'["task", "encoding", "seed", "status"]', "not a record of rpe"),
        (b"3", "not a record of rpe"),
    ],
)
def test_a_damaged_or_foreign_record_is_named(record: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(record)
    found = said(run.read, tmp_path)
    assert found.startswith(f"{tmp_path}/run.json: ")
    assert message in found


def test_a_listing_skips_and_reports_what_is_no_run(made: Path) -> None:
    runs = made.parent
    other = run.create(config(seed=1), runs)
    (runs / "a-notes").mkdir()
    (runs / "z-damaged").mkdir()
    (runs / "z-damaged/run.json").write_text("{")
    (runs / "file.txt").write_text("")
    found, trouble = run.listing(runs)
    assert found == sorted([made, other])
    assert [line.split(":")[0] for line in trouble] == [f"{runs}/a-notes", f"{runs}/z-damaged/run.json"]


def test_a_folder_that_is_not_there_holds_no_runs(tmp_path: Path) -> None:
    assert run.listing(tmp_path / "gone") == ([], [])


@pytest.mark.parametrize("text", [None, "lr: fast", "lr: [1", "seed: 0:2", "task: no-such-task"])
def test_a_run_whose_recipe_does_not_load_is_named(text: str | None, made: Path) -> None:
    (made / "recipe.yaml").unlink()
    if text is not None:
        (made / "recipe.yaml").write_text(text)
    assert said(run.config_of, made).startswith(f"{made}: its recipe.yaml does not load: ")


# ------------------------------------------------------------------------------------------------------------------ lock

HOLD = (
    "import sys, pathlib; from rpecli.run import directory as run\n"
    "with run.lock(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
)


def _holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock of a run until a line comes in."""
    command = [sys.executable, "-c", HOLD, str(path)]
    held = subprocess.Popen(command, cwd=catalog.PACKAGE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdout
    assert held.stdout.readline() == "held\n"
    return held


@pytest.mark.parametrize("end", ["release", "kill"])
def test_a_lock_keeps_others_out_until_its_process_ends_however_it_ends(end: str, made: Path) -> None:
    with _holder(made) as held:
        try:
            with pytest.raises(RunError, match="another process"), run.lock(made):
                pass
        finally:
            held.send_signal(signal.SIGKILL) if end == "kill" else held.communicate("\n")
            held.wait()
        with run.lock(made):
            assert run.read(made)["status"] == "created"


def test_a_lock_is_let_go_after_an_error(made: Path) -> None:
    with pytest.raises(ZeroDivisionError), run.lock(made):
        _ = 1 / 0
    with run.lock(made), pytest.raises(RunError, match="another process"), run.lock(made):
        pass
    with run.lock(made):
        pass


def test_two_runs_have_two_locks(made: Path) -> None:
    other = run.create(config(seed=1), made.parent)
    with run.lock(made), run.lock(other):
        pass


# ------------------------------------------------------------------------------------------------------------ provenance


@pytest.mark.usefixtures("fresh_commit")
def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_provenance.commit() == (None, False)
    assert run_provenance.provenance()["commit"] is None


@pytest.mark.usefixtures("fresh_commit")
def test_outside_a_checkout_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "PACKAGE", tmp_path / "rpecli")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert run_provenance.commit() == (None, False)


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
    assert run_provenance.commit() == (head, False)
    for name in ("rpecli/a.py", "tasks/b.py"):
        (checkout / name).write_text("changed")
        run_provenance.commit.cache_clear()
        assert run_provenance.commit() == (head, True)
        (checkout / name).write_text("")


def test_a_package_inside_another_repository_has_no_commit_of_its_own(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "venv/site/rpecli").mkdir(parents=True)
    monkeypatch.setattr(catalog, "PACKAGE", checkout / "venv/site/rpecli")
    assert run_provenance.commit() == (None, False)


def test_provenance_is_json_and_names_the_versions() -> None:
    found = run_provenance.provenance()
    assert json.loads(json.dumps(found)) == found
    assert {"commit", "dirty", "versions", "machine", "platform"} <= set(found)
    assert found["versions"]["numpy"]
    assert run_provenance.package_version("no-package-of-this-name") is None


def test_the_machine_is_named_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_provenance.machine().endswith(f", {n_cores()} cores")
    monkeypatch.setattr(Path, "exists", lambda path: False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert run_provenance.machine() == f"riscv64, {n_cores()} cores"


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert n_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert n_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert n_cores() == 1


def test_times_sort_as_text_and_name_their_zone() -> None:
    assert run_provenance.now().endswith("+00:00")
    assert recipe.FORMAT == 2

"""Damage to the files of one run: it is named, that run is left out as far as need be, and no number is other than before."""

import errno
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import training as tiny
from helpers.run_folders import add_inspection, add_similarity, evaluation, shifted, validation, write_run
from hypothesis import given
from hypothesis import strategies as st

from rpecli import catalog
from rpecli.report import build
from rpecli.report.load import LoadedRuns, ReportError, load_runs
from rpecli.run import files, provenance, records
from rpecli.run.directory import Run, find_runs
from rpecli.run.files import Damaged, NotWritten, RunError, append_line, line_bytes, seal, unseal, write_json

FILES = ("run.json", "recipe.yaml", "eval.jsonl", "metrics.jsonl", "probes.jsonl")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([2.154, -1, 10**30, "\x1b[31m"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs with everything that a run can have."""
    folder = tmp_path_factory.mktemp("intact") / "runs"
    paths = []
    for encoding, seed in (("rope", 0), ("rope", 1), ("none", 0)):
        run = write_run(folder, {16: 0.9, 32: 0.6 + 0.1 * seed}, encoding=encoding, seed=seed, info={"length": 16})
        for step in (50, 100):
            run.append_metrics(validation(step, step / 200))
        add_inspection(run.path, 0.5, terms=True)
        run.append_probe(shifted("prefix", 4, changed=0.25))
        run.weights_file.touch()
        paths.append(run.path)
    for path in paths:
        add_similarity(path, [other for other in paths if other.name > path.name], 0.5)
    return folder


@pytest.fixture
def runs(intact: Path, here: Path) -> Path:
    """A copy of those runs, as `runs` in the working directory."""
    shutil.copytree(intact, here / "runs")
    return Path("runs")


def victim(folder: Path) -> Run:
    return Run(next(folder.glob("copy-rope-s0-*")))


def fresh(intact: Path) -> Run:
    """The run to damage, in a new copy of the folder."""
    shutil.rmtree("runs", ignore_errors=True)
    shutil.copytree(intact, "runs")
    return victim(Path("runs"))


def loaded(folder: Path) -> LoadedRuns | None:
    try:
        build.report_content(sorted(folder.iterdir()), "mine")
        return load_runs(sorted(folder.iterdir()))
    except ReportError:
        return None


def rows(text: str) -> dict[str, list[str]]:
    """The cells of a Markdown table by run."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| copy-")]
    return {cells[0]: cells[1:] for cells in lines}


def check_commands(rpe: tiny.Rpe, damaged: Run, before: dict[str, list[str]]) -> None:
    """`ls`, `show` and the tables of a report answer; the other runs are as they were."""
    listed = rpe("ls", "runs")
    assert listed.code in (0, 1)
    after = rows(listed.out)
    assert {name: cells for name, cells in after.items() if name != damaged.name} == {
        name: cells for name, cells in before.items() if name != damaged.name
    }
    shown = rpe("show", damaged.name)
    assert shown.code in (0, 1)
    assert shown.code or shown.out
    assert "Traceback" not in listed.err + shown.err


@given(seed=st.integers(0, 2**32), file=st.sampled_from(FILES))
def test_changed_bytes_are_noticed_and_no_number_is_another(
    intact: Path, here: Path, rpe: tiny.Rpe, seed: int, file: str
) -> None:
    run, rng = fresh(intact), random.Random(seed)
    before, results = rows(rpe("ls", "runs").out), load_runs(sorted(Path("runs").iterdir())).runs
    (own,) = [result for result in results if result.path.name == run.name]
    lines = {"eval": run.evaluations(), "metrics": own.validations, "probes": own.probes}
    data = bytearray((run.path / file).read_bytes())
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(data))
        kind = rng.choice(("flip", "delete", "insert", "cut"))
        if kind == "flip":
            data[place] ^= 1 << rng.randrange(8)
        else:
            data[place : place + rng.choice((0, 1, 40))] = rng.randbytes(0 if kind == "delete" else rng.randint(0, 5))
    (run.path / file).write_bytes(bytes(data))
    check_commands(rpe, run, before)
    cells = rows(rpe("ls", "runs").out).get(run.name, [])
    assert all(cell in (old, "-") for cell, old in zip(cells, before[run.name], strict=False))
    after = loaded(Path("runs"))
    assert after is not None, "two runs are left"
    for result in after.runs:
        (old,) = [old for old in results if old.path == result.path]
        assert result.record == old.record
        assert result.config == old.config
        assert all(line in lines["eval"] or result.path.name != run.name for line in result.evaluations.values())
        assert all(line in lines["metrics"] or result.path.name != run.name for line in result.validations)
        assert all(line in lines["probes"] or result.path.name != run.name for line in result.probes)
    assert [result.id for result in after.runs if result.path.name != run.name] == [
        result.id for result in results if result.path.name != run.name
    ]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in inner for place in [(*path, key), *places(item, (*path, key))]]


@given(data=st.data(), file=st.sampled_from(["run.json", "eval.jsonl", "metrics.jsonl", "probes.jsonl"]))
def test_a_record_by_another_hand_costs_that_run_alone(
    intact: Path, here: Path, rpe: tiny.Rpe, data: st.DataObject, file: str
) -> None:
    """Any value in any field, or none, with a checksum that is right."""
    run = fresh(intact)
    before = rows(rpe("ls", "runs").out)
    path = run.path / file
    texts = [path.read_bytes()] if file == "run.json" else path.read_bytes().splitlines(keepends=True)
    number = data.draw(st.integers(0, len(texts) - 1))
    record = json.loads(unseal(texts[number]))
    *way, key = data.draw(st.sampled_from(places(record)))
    holder = record
    for step in way:
        holder = holder[step]
    if data.draw(st.booleans()):
        holder[key] = data.draw(JSON)
    else:
        holder.pop(key)
    texts[number] = seal(json.dumps(record))
    path.write_bytes(b"".join(texts))
    check_commands(rpe, run, before)
    after = loaded(Path("runs"))
    assert after is None or {result.path.name for result in after.runs} >= before.keys() - {run.name}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "directory", "loop", "unreadable", "zeros", "deep"])
def test_a_file_that_is_no_file_of_a_run_costs_that_run_alone(
    file: str, damage: str, runs: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, path = rows(rpe("ls", "runs").out), victim(runs).path / file
    if damage == "unreadable":
        deny(monkeypatch, path)
    else:
        path.unlink()
    {
        "empty": path.touch,
        "directory": path.mkdir,
        "loop": lambda: path.symlink_to(path.name),
        "zeros": lambda: path.write_bytes(bytes(1000) + b"\n"),
        "deep": lambda: path.write_bytes(b"[" * 100_000 + b"]" * 100_000 + b"\n"),
    }.get(damage, lambda: None)()
    check_commands(rpe, victim(runs), before)
    after = loaded(runs)
    assert after is not None
    assert {result.path.name for result in after.runs} >= before.keys() - {victim(runs).name}


def deny(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Reading a file, or opening it, fails as it does without the permission; tests may run as root, who has every one."""
    read = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        if self.name == path.name and self.parent.name == path.parent.name:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)


@pytest.mark.parametrize("file", ["eval.jsonl", "probes.jsonl"])
def test_a_report_with_a_damaged_run_is_written_and_names_the_file(file: str, runs: Path, rpe: tiny.Rpe) -> None:
    path = victim(runs).path / file
    data = path.read_bytes()
    path.write_bytes(data.replace(b"0", b"1", 1))
    result = rpe("report", "--out", "results")
    assert (result.code, "Traceback" in result.err) == (0, False)
    assert any(str(path) in line and "left out" in line for line in result.err.replace(str(Path.cwd()) + "/", "").splitlines())
    assert Path("results/all/report.html").exists() or Path("results/default/report.html").exists()


def test_every_byte_of_a_record_counts() -> None:
    """All single flips of a line: refused, or the same value (a blank behind the checksum)."""
    line = line_bytes({"step": 1, "text": "é", "loss": 0.25})
    value = json.loads(unseal(line))
    for place in range(len(line) - 1):
        for bit in range(8):
            flipped = bytearray(line)
            flipped[place] ^= 1 << bit
            try:
                assert json.loads(unseal(bytes(flipped))) == value
                assert place >= line.rindex(b'"') + 1
            except Damaged:
                pass


@given(st.dictionaries(st.text(max_size=5), JSON, min_size=1, max_size=5))
def test_a_sealed_record_is_json_and_comes_back(value: dict[str, Any]) -> None:
    for indent in (None, 1):
        text = files.json_text(value, indent)
        sealed = seal(text)
        assert json.loads(unseal(sealed)) == json.loads(text)
        assert list(json.loads(sealed))[-1] == "checksum"
        assert unseal(b"\xef\xbb\xbf" + sealed) == unseal(sealed), "with the mark that some editors put first"
    assert b"NaN" not in line_bytes({"loss": float("nan")})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"exact_match": 2.154}, "exact_match: 2.154: input should be less than or equal to 1"),
        ({"chance": -1}, "chance: -1: input should be greater than or equal to 0"),
        ({"length": None}, "length: None: input should be a valid integer"),
        ({"length": 0}, "length: 0: input should be greater than or equal to 1"),
        ({"interval": [0.1]}, "interval: list should have at least 2 items after validation, not 1"),
        ({"nll": "low"}, "nll: 'low': input should be a valid number"),
        ({"temperature": 1}, "temperature: unknown key, perhaps of a newer version of rpe"),
        ({"example": {"prompt": [1], "target": [], "answer": []}}, "example.prompt.0: 1: input should be a valid string"),
        (
            {"example": {"prompt": [], "target": ["a"], "answer": ["a", "b"]}},
            "example: value error, target, answer and read must have one word for each place of the answer",
        ),
    ],
)
def test_a_line_that_breaks_the_schema_is_named_with_its_key(line: dict[str, Any], message: str, runs: Path) -> None:
    run = victim(runs)
    append_line(run.evaluations_file, evaluation(64, 0.5, 0.5) | line)
    with pytest.raises(Damaged) as error:
        run.evaluations()
    assert str(error.value) == f"{run.evaluations_file}:3: {message}: delete that line, then rpe eval {run}"


def test_a_probe_has_the_shares_of_every_term(runs: Path) -> None:
    run = victim(runs)
    add_inspection(run.path, 0.9, terms=True)
    line = run.probes()[-1]
    del line["lengths"][1]["terms"][0]["share"]["content-content"]
    append_line(run.probes_file, line)
    with pytest.raises(Damaged, match="share: value error, must have the terms content-content, content-position"):
        run.probes()


def test_a_line_that_nobody_could_read_is_not_written(runs: Path) -> None:
    run = victim(runs)
    before = run.metrics_file.read_bytes()
    with pytest.raises(RunError, match=r"metrics\.jsonl: a line was not written: loss: None: input should be a valid number"):
        run.append_metrics(validation(150, 0.5, loss=float("nan")))
    assert run.metrics_file.read_bytes() == before


def test_an_older_validation_is_not_taken_for_a_lost_last_one(runs: Path, rpe: tiny.Rpe) -> None:
    run = victim(runs)
    before = rows(rpe("ls", "runs").out)[run.name]
    run.metrics_file.write_bytes(run.metrics_file.read_bytes()[:-1])
    after = rows(rpe("ls", "runs").out)[run.name]
    assert (before[4], after[4]) == ("50", "-")
    assert before[:4] + before[5:] == after[:4] + after[5:]


def test_blank_lines_are_no_damage(runs: Path) -> None:
    run = victim(runs)
    lines = run.evaluations()
    run.evaluations_file.write_bytes(b"\n" + run.evaluations_file.read_bytes().replace(b"\n", b"\n \r\n\n"))
    assert run.evaluations() == lines


def test_every_kind_of_line_has_a_schema_that_takes_what_is_written(runs: Path) -> None:
    run = victim(runs)
    assert set(records.KINDS) == {"run", "metrics", "eval", "probes"}
    assert {line["probe"] for line in run.probes()} == {"attention", "prefix", "similarity"}
    assert run.update(error=None) == run.record


def test_a_failed_write_leaves_the_old_file_and_nothing_else(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = here / "run.json"
    write_json(path, {"step": 1})
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full_disk)
    for write in (lambda: write_json(path, {"step": 2}), lambda: append_line(path, {"step": 2})):
        with pytest.raises(NotWritten) as error:
            write()
        assert str(error.value) == f"no space left on device: {path}"
        assert path.read_bytes() == before
    assert list(here.iterdir()) == [path]


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_temporary_files_of_dead_processes_go_at_the_next_start(runs: Path) -> None:
    run = victim(runs)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead, own = (run.path / f"weights.safetensors.{pid}.tmp" for pid in (process.pid, os.getpid()))
    other = run.path / "notes.tmp"
    for path in (dead, own, other):
        path.touch()
    with run.lock():
        assert (dead.exists(), own.exists(), other.exists()) == (False, True, True)


def test_a_lock_is_done_without_where_it_cannot_be_made_and_is_not_required(runs: Path) -> None:
    run = victim(runs)
    (run.path / "lock").unlink(missing_ok=True)
    (run.path / "lock").mkdir()
    with pytest.raises(NotWritten, match=r"cannot be written .*: copy the runs to a folder where they can"), run.lock():
        pass
    with run.lock(required=False):
        assert run.record["status"] == "trained"


def test_a_lock_waits_for_another_holder_if_asked_to(runs: Path) -> None:
    run = victim(runs)
    code = (
        "import sys, pathlib, time; from rpecli.run.directory import Run\n"
        "with Run(pathlib.Path(sys.argv[1])).lock(): print(flush=True); time.sleep(0.5); pathlib.Path('ended').touch()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, run.path],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(catalog.PACKAGE.parent)},
    ) as process:
        assert process.stdout
        process.stdout.readline()
        with run.lock(wait=True):
            assert Path("ended").exists()


def test_a_run_that_is_gone_is_not_made_again_by_its_lock(runs: Path) -> None:
    run = victim(runs)
    shutil.rmtree(run.path)
    with pytest.raises(RunError, match="no run "), run.lock(required=False):
        pass
    assert not run.path.exists()


@pytest.mark.parametrize("damage", ["run.json", "recipe.yaml", "another run", "another format"])
def test_one_unusable_directory_leaves_the_other_runs_to_train(damage: str, here: Path, rpe: tiny.Rpe) -> None:
    words = ("train", tiny.recipe_file(here, encoding="rope,none", steps=2), "--jobs", 0, "--device", "cpu")
    assert rpe(*words).code == 0
    first, second = find_runs(here / "runs")[0]
    if damage in ("run.json", "recipe.yaml"):
        (first.path / damage).write_bytes(b"\xff")
    else:
        first.update(**({"id": "copy-rope-s0-00000000"} if damage == "another run" else {"format": 4}))
    second.weights_file.unlink()
    result = rpe(*words)
    assert second.is_trained
    assert result.code == (1 if "another" in damage else 0)
    assert str(first.path.relative_to(here)) in result.err
    if "another" not in damage:
        assert first.is_trained
        assert "written anew" in result.err


def test_any_part_of_an_id_that_no_other_has_is_the_run(runs: Path, rpe: tiny.Rpe) -> None:
    run = victim(runs)
    for part in (run.name, run.name[:-2], run.name[-8:], run.name[5:-3]):
        assert rpe("show", part).out.splitlines()[0].endswith(f"({run.name})")
    result = rpe("show", "copy-rope-s")
    assert (result.code, result.out) == (2, "")
    assert "2 ids have it in them" in result.err


def test_a_folder_of_other_formats_is_not_said_to_be_empty(runs: Path, rpe: tiny.Rpe) -> None:
    for run in find_runs(runs)[0]:
        run.update(format=4)
    result = rpe("ls", "runs")
    assert result.code == 1
    assert "create some" not in result.err
    several, end = result.err.splitlines()
    assert several.startswith("3 runs, runs/copy-none-s0-")
    assert " among them, were written by another version of rpe (record format 4; this is 5): " in several
    assert end == "no directory under runs is a run that can be read"


def test_a_read_only_folder_is_named_with_the_flag(here: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    result = rpe("train", tiny.recipe_file(here, encoding="rope,none"), "--jobs", 0, "--device", "cpu")
    assert result.code == 1
    assert result.err == "runs cannot be written (permission denied): choose another folder: --runs FOLDER\n"


DUBIOUS = "fatal: detected dubious ownership in repository at '/x'"


@pytest.mark.parametrize(("stderr", "reason"), [(f"{DUBIOUS}\nTo add an exception ...", DUBIOUS), (None, "git is not installed")])
def test_why_there_is_no_commit_is_said(stderr: str | None, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], check: bool = False, **_: object) -> Any:
        if stderr is None:
            raise FileNotFoundError
        if check:
            raise subprocess.CalledProcessError(128, command)
        return subprocess.CompletedProcess(command, 128, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    provenance.commit.cache_clear()
    provenance.why_no_commit.cache_clear()
    try:
        assert provenance.why_no_commit() == reason
        assert provenance.commit() == (None, None)
    finally:
        provenance.commit.cache_clear()
        provenance.why_no_commit.cache_clear()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda line: line.update(lengths=[]), "attention.lengths: list should have at least 1 item"),
        (lambda line: line["lengths"][0].update(layers=[]), "lengths.0.layers: list should have at least 1 item"),
        (lambda line: line["lengths"][0]["layers"][0].clear(), "layers.0: list should have at least 1 item"),
        (lambda line: line["lengths"][0]["layers"][0][0]["by_distance"].pop(), "by_distance has 17 weights, a sequence has 18"),
    ],
)
def test_a_probe_without_what_every_probe_has_is_damaged(change: Callable[[Any], None], reason: str, tmp_path: Path) -> None:
    run = write_run(tmp_path, {16: 1.0})
    add_inspection(run.path, 0.5)
    (line,) = run.probes()
    change(line)
    with pytest.raises(Damaged, match=re.escape(reason)):
        records.parse("probes", json.dumps(line).encode())

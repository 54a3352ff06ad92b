"""`rpe export`, `rpe import` and `rpe rm`: a run that moved is the same run, and only what was named is deleted."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import training as tiny
from safetensors.torch import load_file

from rpecli import api, tensor_file
from rpecli.run import transfer
from rpecli.run.directory import Run, find_runs

OWN = '''"""Every head prefers nearby tokens."""

from torch import Tensor

from rpecli.encoding import DistanceBias


class Near(DistanceBias):
    def by_distance(self, distance: Tensor) -> Tensor:
        return -distance.clamp(min=0).float().expand(self.shape.n_head, *distance.shape)
'''


@pytest.fixture
def own_run(here: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A trained and evaluated run with an encoding of its author's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "state"))
    (here / "near.py").write_text(OWN)
    file = tiny.recipe_file(here, encoding="./near.py")
    assert rpe("train", file, "--jobs", 0, "--device", "cpu").code == 0
    assert rpe("eval", "--jobs", 0, "--device", "cpu").code == 0
    return find_runs(Path("runs"))[0][0]


def test_exported_weights_load_with_safetensors_alone(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    run = find_runs(evaluated)[0][0]
    result = rpe("export", run.name, "--runs", evaluated)
    folder = here / "exports" / run.name
    assert (result.code, result.err) == (0, f"Written: exports/{run.name}\n")
    names = ["README.md", "eval.jsonl", "metrics.jsonl", "recipe.yaml", "run.json", "weights.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    expected = tensor_file.read(run.weights_file, "")
    loaded = load_file(folder / "weights.safetensors")
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())
    assert not {"pid", "process"} & Run(folder).record.keys()


def test_the_card_has_every_evaluated_length_and_code_that_runs(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    run = find_runs(evaluated)[0][0]
    assert rpe("export", run.name, "--runs", evaluated).code == 0
    folder = here / "exports" / run.name
    text = (folder / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: rpe\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if re.match(r"\| +4 ", line)]
    line = run.latest_evaluations()[4]
    low, high = line["interval"]
    assert rows == [["4", "1x", f"{line['token_accuracy']:.3f}", f"{line['exact_match']:.3f} [{low:.3f}, {high:.3f}]"]]
    code = text.partition("```python\n")[2].partition("```")[0] + "\nprint(sum(t.numel() for t in weights.values()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= run.record["parameters"]


def test_the_card_keeps_ways_of_evaluation_apart(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    shutil.copytree(evaluated, here / "runs")
    run = find_runs(here / "runs")[0][0]
    own = run.latest_evaluations()[4]
    assert rpe("eval", run, "--lengths", "4", "--eval-seed", "3", "--jobs", 0, "--device", "cpu").code == 0
    other = run.latest_evaluations()[4]
    assert rpe("export", run.name).code == 0
    text = (here / "exports" / run.name / "README.md").read_text()
    tables = [part.partition("Evaluated with")[0] for part in text.split("**Results")[1:]]
    assert [table.partition("**")[0] for table in tables] == ["", " with eval seed 3"]
    for table, line in zip(tables, (own, other), strict=True):
        assert f"{line['token_accuracy']:.3f}" in table
    frame = api.runs(here / "runs")
    (accuracy,) = frame[(frame.run == run.name) & (frame.length == 4)].token_accuracy
    assert accuracy == own["token_accuracy"]


def test_an_exported_run_is_evaluated_where_it_is_and_imported(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    run = find_runs(evaluated)[0][0]
    assert rpe("export", run.name, "--runs", evaluated, "--out", "shared").code == 0
    moved = Run(Path("shared") / run.name)
    data = json.loads(rpe("eval", moved, "--lengths", "4,16", "--jobs", 0, "--device", "cpu", "--json").out)
    assert [line["length"] for line in data[0]["eval"]] == [4, 8, 16]
    assert "Next: rpe report --runs shared" in rpe("eval", moved, "--lengths", "4,16", "--jobs", 0, "--device", "cpu").out
    assert rpe("export", run.name, "--runs", evaluated, "--out", "shared").code == 0
    assert [line["length"] for line in moved.evaluations()] == [4, 8, 16], "what was measured there stays"
    assert rpe("import", "shared").out == f"Imported: runs/{run.name}\nNext: rpe ls runs\n"
    copied = Run(Path("runs") / run.name)
    assert copied.weights_file.read_bytes() == run.weights_file.read_bytes()
    assert copied.record == moved.record
    assert copied.evaluations() == moved.evaluations()
    assert rpe("import", moved).out.startswith(f"{run.name} is in runs already")
    assert rpe("report", "--no-reference").code == 0


def test_code_that_came_with_a_run_is_exported_and_runs_only_if_trusted(
    own_run: Run, here: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rpe("export", own_run.name).code == 0
    folder = Path("exports") / own_run.name
    assert (folder / "code/encodings/near.py").read_text() == OWN
    assert "--trust-code" in (folder / "README.md").read_text()
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "another-person"))
    monkeypatch.delenv("RPE_TRUST_CODE", raising=False)
    assert rpe("import", folder, "--runs", "theirs").code == 0
    words = ("eval", "--runs", "theirs", "--lengths", "16", "--jobs", 0, "--device", "cpu")
    refused = rpe(*words)
    assert (refused.code, "--trust-code" in refused.err) == (1, True)
    assert rpe(*words, "--trust-code").code == 0
    os.environ.pop("RPE_TRUST_CODE", None)


@pytest.mark.parametrize("file", ["weights.safetensors", "run.json", "recipe.yaml"])
def test_a_damaged_export_is_not_imported(file: str, here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    run = find_runs(evaluated)[0][0]
    assert rpe("export", run.name, "--runs", evaluated).code == 0
    path = here / "exports" / run.name / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    result = rpe("import", "exports")
    assert (result.code, result.out) == (1, "")
    assert file in result.err
    assert not (here / "runs").exists()


def test_an_import_never_writes_outside_and_never_over_another_run(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    run, other = find_runs(evaluated)[0][:2]
    shutil.copytree(evaluated, here / "theirs")
    Run(here / "theirs" / run.name).update(id="../../escaped")
    result = rpe("import", here / "theirs" / run.name)
    assert (result.code, "id: '../../escaped'" in result.err) == (1, True)
    shutil.copytree(here / "theirs" / other.name, here / "runs" / other.name)
    Run(here / "runs" / other.name).update(weights="00000000")
    assert "holds other weights" in rpe("import", here / "theirs" / other.name).err
    linked = Run(here / "theirs" / find_runs(evaluated)[0][2].name)
    linked.metrics_file.unlink()
    linked.metrics_file.symlink_to("/etc/hostname")
    assert "is a link" in rpe("import", linked).err


def test_a_copy_that_was_cut_short_is_finished_by_the_same_command(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    run = find_runs(evaluated)[0][0]
    target = transfer.copy(run, here / "runs")
    target.record_file.unlink()
    (target.path / f"weights.safetensors.{1 << 30}.tmp").write_bytes(b"of a process that was killed")
    assert rpe("import", run).code == 0
    assert Run(target.path).is_trained
    assert not list(target.path.glob("*.tmp"))
    (here / "elsewhere" / run.name).mkdir(parents=True)
    for name in (f"diary.txt.{1 << 30}.tmp", "diary.txt"):
        diary = here / "elsewhere" / run.name / name
        diary.write_text("mine")
        result = rpe("import", run, "--runs", "elsewhere")
        assert (result.code, "is not a run of rpe" in result.err) == (1, True)
        assert diary.read_text() == "mine"
        diary.unlink()


def test_untrained_runs_and_folders_without_runs_are_refused(here: Path, rpe: tiny.Rpe) -> None:
    run = tiny.new_run(here / "others")
    assert (rpe("import", run).code, rpe("export", run).code) == (1, 1)
    for words, message in ((("import", "nowhere"), "no folder nowhere"), (("import", here / "others" / run.name / ".."), "")):
        result = rpe(*words)
        assert (result.code, message in result.err, "Traceback" in result.err) == (result.code or 1, True, False)
    (here / "empty").mkdir()
    assert rpe("import", "empty") == tiny.Result(2, "", "empty holds no run (no run.json): name a folder that rpe export wrote\n")


def test_removed_are_the_named_runs_and_no_others(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    shutil.copytree(evaluated, here / "runs")
    names = [run.name for run in find_runs(evaluated)[0]]
    asked = rpe("rm", names[0])
    assert (asked.code, asked.err) == (2, f"delete 1 run: {names[0]}? Write --yes where nobody can answer\n")
    assert rpe("rm", names[0], "--yes").out == f"Deleted 1 of 1 run: {names[0]}\n"
    assert [run.name for run in find_runs(here / "runs")[0]] == names[1:]
    assert rpe("rm", "--encoding", "rope", "--yes").code == 0
    assert {run.record["encoding"] for run in find_runs(here / "runs")[0]} == {"learned"}
    assert rpe("rm", "--state", "failed", "--yes").code == 2
    assert rpe("rm", "--yes").code == 2


def test_a_damaged_run_is_removed_and_what_is_no_run_is_left(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    shutil.copytree(evaluated, here / "runs")
    damaged = find_runs(here / "runs")[0][0]
    damaged.record_file.write_text("{")
    (here / "runs" / "holiday").mkdir()
    assert rpe("rm", "holiday", "--yes").code == 1
    assert rpe("rm", damaged.name, "--yes").code == 0
    assert not damaged.path.exists()
    assert (here / "runs" / "holiday").is_dir()


def test_a_run_that_may_not_be_removed_is_named_once(
    here: Path, rpe: tiny.Rpe, evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(evaluated, here / "runs")
    run = find_runs(here / "runs")[0][0]
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != run.name)
    result = rpe("rm", run.name, "--yes")
    assert (result.code, result.err) == (1, f"runs/{run.name} cannot be removed: permission denied\n")
    assert run.weights_file.exists()


def test_a_run_that_is_worked_on_and_what_a_link_points_to_are_left(here: Path, rpe: tiny.Rpe, evaluated: Path) -> None:
    shutil.copytree(evaluated, here / "elsewhere")
    busy, linked = find_runs(here / "elsewhere")[0][:2]
    (here / "runs").mkdir()
    shutil.move(busy.path, here / "runs" / busy.name)
    (here / "runs" / linked.name).symlink_to(linked.path)
    with Run(here / "runs" / busy.name).lock():
        result = rpe("rm", busy.name, "--yes")
    assert (result.code, "being worked on by another process" in result.err) == (1, True)
    assert Run(here / "runs" / busy.name).is_trained
    assert rpe("rm", linked.name, "--yes").code == 0
    assert linked.is_trained
    assert not (here / "runs" / linked.name).exists()

"""Evaluation and probes refuse what is not what it says: damaged bytes, other recipes, other data, flags that contradict."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers import training as tiny
from helpers.evaluation import evaluate_run
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rpecli import tensor_file
from rpecli.evaluate.load import load
from rpecli.run.directory import Run, Stopped
from rpecli.run.files import RunError
from rpecli.train.loop import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny.trained_run(tmp_path_factory.mktemp("trained") / "runs", steps=2)


@pytest.fixture
def fresh(trained: Run, tmp_path: Path) -> Run:
    """A copy of the run that a test may spoil."""
    return Run(Path(shutil.copytree(trained.path, tmp_path / "runs" / trained.name)))


def damaged(content: bytes, kind: str, place: float, byte: int) -> bytes:
    """The content with one byte changed, removed or added, at a share of its length."""
    where = int(place * (len(content) - 1))
    if kind == "change":
        return content[:where] + bytes([content[where] ^ byte]) + content[where + 1 :]
    return content[:where] + (bytes([byte]) if kind == "add" else b"") + content[where + (kind == "remove") :]


# --- bytes -------------------------------------------------------------------------------------------------------------------


@given(st.sampled_from(["change", "remove", "add"]), st.floats(0, 1), st.integers(1, 255))
def test_one_byte_changed_removed_or_added_anywhere_is_noticed(
    trained: Run, tmp_path: Path, kind: str, place: float, byte: int
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(damaged(trained.weights_file.read_bytes(), kind, place, byte))
    with pytest.raises(RunError, match=r"damaged.*: train it again"):
        tensor_file.read(path, "train it again")


@pytest.mark.parametrize("place", [0, 7, 8, 9, 30, 60, 120, 300, -1])
def test_every_bit_of_the_header_and_the_end_counts(place: int, trained: Run, tmp_path: Path) -> None:
    path, content = tmp_path / "weights.safetensors", bytearray(trained.weights_file.read_bytes())
    for bit in range(8):
        content[place] ^= 1 << bit
        path.write_bytes(content)
        with pytest.raises(RunError, match="damaged"):
            tensor_file.read(path, "")
        content[place] ^= 1 << bit


def test_a_file_of_tensors_is_a_safetensors_file_and_is_written_the_same_every_time(tmp_path: Path) -> None:
    state = {"b": torch.arange(6.0).view(2, 3).T, "a": torch.zeros(0), "n": torch.tensor([2**40])}
    for name in ("one", "two"):
        tensor_file.write(tmp_path / name, state)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    for loaded in (load_file(tmp_path / "one"), tensor_file.read(tmp_path / "one", "")):
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_weights_without_a_checksum_are_refused(fresh: Run) -> None:
    save_file(load_file(fresh.weights_file), fresh.weights_file)
    with pytest.raises(RunError, match=rf"no checksum, .* not written by this version of rpe: delete {fresh} and train it again"):
        load(fresh, "cpu")


@pytest.mark.parametrize("command", ["eval", "inspect"])
def test_damaged_weights_cost_their_run_only(command: str, tmp_path: Path, rpe: tiny.Rpe) -> None:
    runs = [tiny.trained_run(tmp_path / "runs", seed=seed, steps=2) for seed in (0, 1)]
    content = runs[0].weights_file.read_bytes()
    runs[0].weights_file.write_bytes(damaged(content, "change", 0.9, 1))
    result = rpe(command, "--runs", tmp_path / "runs", "--device", "cpu", *(["--jobs", 0] if command == "eval" else []))
    assert result.code == 1
    assert f"{runs[0].weights_file} is damaged (its checksum does not match): delete {runs[0]}" in result.err.replace("\n", " ")
    assert [(run.evaluations_file if command == "eval" else run.probes_file).exists() for run in runs] == [False, True]


@pytest.mark.parametrize("kind", ["change", "remove", "add", "empty"])
def test_a_damaged_checkpoint_costs_its_run_only(kind: str, tmp_path: Path, trap: tiny.Trap, rpe: tiny.Rpe) -> None:
    runs = [tiny.new_run(tmp_path / "runs", task=str(trap.task), seed=seed) for seed in (0, 1)]
    trap.arm(5, "SIGTERM")
    with pytest.raises(Stopped):
        train(runs[0], "cpu")
    file = runs[0].checkpoint_file
    file.write_bytes(b"" if kind == "empty" else damaged(file.read_bytes(), kind, 0.7, 4))
    recipe = tiny.recipe_file(tmp_path, task=trap.task, seed="0,1")
    result = rpe("train", recipe, "--runs", tmp_path / "runs", "--jobs", 1, "--device", "cpu")
    assert result.code == 1
    assert str(file) in result.err
    assert "delete it to train from the start" in result.err
    assert [run.is_trained for run in runs] == [False, True]
    file.unlink()
    assert rpe("train", recipe, "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu").code == 0


# --- one cause, one remedy ---------------------------------------------------------------------------------------------------


def test_weights_that_cannot_be_read_are_not_called_damaged(fresh: Run) -> None:
    fresh.weights_file.unlink()
    fresh.weights_file.mkdir()
    with pytest.raises(RunError, match=r"weights.safetensors cannot be read: Is a directory$"):
        load(fresh, "cpu")


def test_weights_of_another_model_are_named(fresh: Run, tmp_path: Path) -> None:
    other = tiny.trained_run(tmp_path / "other", encoding="learned", steps=1)
    fresh.weights_file.write_bytes(other.weights_file.read_bytes())
    with pytest.raises(RunError, match=r"do not fit: encodings.0.seed, .*: the file is of another run, or of another version"):
        load(fresh, "cpu")

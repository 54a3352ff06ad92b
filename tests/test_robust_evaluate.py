"""Evaluation and probes refuse what is not what it says: damaged bytes, other recipes, other data, flags that contradict."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import training as tiny
from helpers.evaluation import evaluate_run
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rpecli import task as tasks
from rpecli import tensor_file
from rpecli.evaluate import hf_dataset
from rpecli.evaluate.data_set import DataSetError, open_set
from rpecli.evaluate.load import load
from rpecli.report.load import load_runs
from rpecli.run.directory import Run, Stopped, find_runs
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


@pytest.mark.parametrize("other", [{"encoding": "learned"}, {"seed": 1}], ids=["another shape", "the same shape"])
def test_weights_of_another_run_are_refused(other: dict[str, Any], fresh: Run, tmp_path: Path) -> None:
    foreign = tiny.trained_run(tmp_path / "other", steps=1, **other)
    fresh.weights_file.write_bytes(foreign.weights_file.read_bytes())
    with pytest.raises(
        RunError, match=r"is not the file that training wrote \(.*\): it is damaged, of another run, or of another version"
    ):
        load(fresh, "cpu")


# --- data sets ---------------------------------------------------------------------------------------------------------------


def write_set(rpe: tiny.Rpe, out: Path, task: str = "copy", lengths: str = "4,8", samples: int = 8) -> Path:
    result = rpe("data", task, "--lengths", lengths, "--samples", samples, "--out", out)
    assert result.code == 0, result.err
    return out


def on_set(rpe: tiny.Rpe, run: Run, folder: Path, *words: object) -> tiny.Result:
    return rpe("eval", "--data", folder, "--runs", run.path.parent, "--jobs", 0, "--device", "cpu", *words)


@pytest.mark.parametrize("task", ["parity", "copy:symbols=9", "reverse"])
@pytest.mark.parametrize("command", ["eval", "inspect"])
def test_a_set_of_another_task_or_other_options_is_refused(
    command: str, task: str, fresh: Run, tmp_path: Path, rpe: tiny.Rpe
) -> None:
    write_set(rpe, tmp_path / "set", task)
    result = rpe(command, "--data", tmp_path / "set", "--runs", fresh.path.parent, "--device", "cpu")
    assert result.code == 2
    assert (
        f"holds {task}, not copy: write a set of it: rpe data copy --lengths 4,8 --out FOLDER  ({fresh.name} left out)"
        in result.err
    )
    assert not fresh.evaluations_file.exists()
    assert not fresh.probes_file.exists()


def test_options_at_their_defaults_are_the_same_task(fresh: Run, tmp_path: Path, rpe: tiny.Rpe) -> None:
    assert on_set(rpe, fresh, write_set(rpe, tmp_path / "set", "copy:symbols=16")).code == 0


def test_runs_of_other_tasks_are_left_out_and_the_lines_name_the_set(fresh: Run, tmp_path: Path, rpe: tiny.Rpe) -> None:
    other = tiny.trained_run(fresh.path.parent, task="parity", steps=1)
    result = on_set(rpe, fresh, write_set(rpe, tmp_path / "set"))
    assert (result.code, f"({other.name} left out)" in result.err) == (0, True)
    lines = fresh.evaluations()
    assert [(line["length"], line["n"], line["eval_seed"]) for line in lines] == [(4, 8, 0), (8, 8, 0)]
    (name,) = {str(line["data"]) for line in lines}
    assert name.startswith("set ")
    assert name.endswith(", as drawn")
    assert not other.evaluations_file.exists()


def edited_set(rpe: tiny.Rpe, folder: Path, **columns: object) -> Path:
    """A set whose file of length 4 has other columns, as somebody else might write it."""
    import pyarrow
    import pyarrow.parquet

    file = write_set(rpe, folder) / "data" / "length_4.parquet"
    table = pyarrow.parquet.read_table(file).to_pydict() | columns
    pyarrow.parquet.write_table(pyarrow.table({key: value for key, value in table.items() if value is not None}), file)
    return folder


TOKENS, ANSWER = [[1, 5, 2, 5, 3]] * 8, [[False, False, False, True, False]] * 8


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tokens": TOKENS, "answer": [[False] * 5] * 8}, "row 0: no token is marked as answer"),
        ({"answer": None}, "has no column answer: its columns are length, tokens, text"),
        ({"tokens": [*TOKENS[:3], None, *TOKENS[4:]], "answer": ANSWER}, "row 3: tokens is not a list of whole numbers"),
        ({"tokens": [*TOKENS[:7], [1, 5, 2, 5, None]], "answer": ANSWER}, "row 7: tokens is not a list of whole numbers"),
        ({"tokens": [["a"]] * 8}, "row 0: tokens is not a list of whole numbers"),
        ({"tokens": [*TOKENS[:2], [1, 5, 2, 99, 3], *TOKENS[3:]], "answer": ANSWER}, "row 2: token 99 is outside the vocabulary"),
        ({"tokens": TOKENS, "answer": [*ANSWER[:5], [True], *ANSWER[6:]]}, "row 5: 5 tokens, but answer marks 1"),
        ({"tokens": [*TOKENS[:7], [1, 5, 2, 5]], "answer": [*ANSWER[:7], [False, False, False, True]]}, "row 7: 4 tokens, where"),
        ({"tokens": TOKENS, "answer": ANSWER}, "does not hold the sequences that dataset.json names (fingerprint"),
        ({"length": [], "tokens": [], "answer": [], "text": []}, "has no rows"),
    ],
)
def test_a_file_that_is_not_what_rpe_data_wrote_is_refused_with_its_row(
    columns: dict[str, object], message: str, fresh: Run, tmp_path: Path, rpe: tiny.Rpe
) -> None:
    before = fresh.record
    result = on_set(rpe, fresh, edited_set(rpe, tmp_path / "set", **columns))
    assert (result.code, f"{tmp_path}/set/data/length_4.parquet" in result.err, message in result.err) == (2, True, True), (
        result.err
    )
    assert not fresh.evaluations_file.exists()
    assert fresh.record == before


@pytest.mark.parametrize("damage", ["missing", "torn", "json", "key", "format"])
def test_a_damaged_set_is_refused(damage: str, fresh: Run, tmp_path: Path, rpe: tiny.Rpe) -> None:
    folder = write_set(rpe, tmp_path / "set")
    parquet, facts = folder / "data" / "length_4.parquet", folder / "dataset.json"
    if damage == "missing":
        parquet.unlink()
    if damage == "torn":
        parquet.write_bytes(parquet.read_bytes()[:200])
    if damage == "json":
        facts.write_text(facts.read_text()[:30])
    if damage == "key":
        facts.write_text(facts.read_text().replace('"seed": 0', '"seed": "0"'))
    if damage == "format":
        facts.write_text(facts.read_text().replace('"format": 1', '"format": 7'))
    result = on_set(rpe, fresh, folder)
    assert (result.code, "write" in result.err or "parquet" in result.err) == (2, True), result.err
    assert not fresh.evaluations_file.exists()


def test_sequences_that_the_task_does_not_draw_are_a_row_of_their_own_in_a_report(
    fresh: Run, tmp_path: Path, rpe: tiny.Rpe
) -> None:
    folder = edited_set(rpe, tmp_path / "mine", tokens=TOKENS, answer=ANSWER)
    facts = folder / "dataset.json"
    task = tasks.build("copy")
    with pytest.raises(DataSetError, match="fingerprint") as error:
        open_set(folder).blocks(4, task)
    found = str(error.value).split("(fingerprint ")[1][:8]
    facts.write_text(facts.read_text().replace(open_set(folder).fingerprints[4], found))  # a set that somebody vouches for
    assert on_set(rpe, fresh, folder).code == 0
    assert rpe("eval", "--runs", fresh.path.parent, "--jobs", 0, "--device", "cpu").code == 0
    assert [str(line["data"]).endswith(", as drawn") for line in fresh.evaluations()[:2]] == [False, True]
    report = load_runs([fresh.path]).runs
    assert len(report) == 2
    assert [sorted(run.evaluations) for run in report if " on mine " in run.record["encoding"]] == [[4]]


# --- rpe data never overwrites what it has not written -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md", "data/length_4.parquet", "data/other.parquet", "dataset.json", "data"])
def test_files_of_others_are_never_overwritten(name: str, tmp_path: Path, rpe: tiny.Rpe) -> None:
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    result = rpe("data", "copy", "--lengths", "4", "--samples", 2, "--out", tmp_path / "out")
    assert (result.code, "choose another --out" in result.err) == (2, True), result.err
    assert file.read_text() == "mine"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [file]


def test_a_card_that_the_user_edited_stays(tmp_path: Path, rpe: tiny.Rpe) -> None:
    card = write_set(rpe, tmp_path / "out") / "README.md"
    card.write_text(card.read_text() + "My remarks.\n")
    result = rpe("data", "copy", "--lengths", "4", "--out", tmp_path / "out")
    assert (result.code, f"{card} is not as rpe data wrote it" in result.err) == (2, True)
    assert card.read_text().endswith("My remarks.\n")


def test_a_set_is_replaced_as_a_whole(tmp_path: Path, rpe: tiny.Rpe) -> None:
    out = write_set(rpe, tmp_path / "out", lengths="4,8")
    (out / "notes.txt").write_text("mine")
    write_set(rpe, out, "parity", lengths="8,16")
    assert sorted(path.name for path in (out / "data").iterdir()) == ["length_16.parquet", "length_8.parquet"]
    assert (open_set(out).choice, open_set(out).lengths) == ("parity", [8, 16])
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--lengths", "999999999"), "GiB are free: write shorter --lengths or fewer --samples"),
        (("--lengths", "4", "--samples", "999999999999"), "GiB are free: write shorter --lengths or fewer --samples"),
        (("--lengths", "4", "--seed", str(10**24)), "--seed"),
        (("--lengths", "4", "--samples", "0"), "--samples"),
    ],
)
def test_sizes_are_refused_before_they_start(words: tuple[str, ...], message: str, tmp_path: Path, rpe: tiny.Rpe) -> None:
    result = rpe("data", "copy", *words, "--out", tmp_path / "out")
    assert (result.code, message in result.err) == (2, True), result.err
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, rpe: tiny.Rpe) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing")):
        result = rpe("data", "copy", "--lengths", "4", "--out", out)
        assert (result.code, f"{out}" in result.err, "choose another" in result.err) == (2, True, True), result.err


# --- flags -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("eval", "--swap-encoding", "rope", "--rope-scaling", "yarn"),
            "--swap-encoding and --rope-scaling contradict each other",
        ),
        (("eval", "--rope-scaling", "nosuch"), "unknown scaling 'nosuch': known: none, pi, ntk, dynamic, yarn, llama3"),
        (("eval", "--swap-encoding", ""), "--swap-encoding is empty: write none"),
        (("eval", "--json", "--tables"), "--json and --tables contradict each other"),
        (("inspect", "--json", "--tables"), "--json and --tables contradict each other"),
        (("inspect", "--shifts", "1"), "--shifts: of use with --shift only: remove it"),
        (("inspect", "--shift", "--lengths", "1x"), "--lengths: --shift measures at the training length: remove it"),
        (("eval", "--eval-positions", "coupled"), "--eval-positions: 'coupled': input should be 'same', 'start' or"),
        (("eval", "--lengths", "1x", "--lengths", "2x"), "--lengths is given twice: keep one"),
        (("eval", "--lengths", "0.1x"), "--lengths"),
        (("show", "RUN", "--length", "8", "--seed", "1"), "--length and --seed: RUN is a run: remove them"),
        (("show", "rope", "--runs", "x"), "--runs: rope is an encoding: remove it"),
        (("show", "copy", "--out", "x.png"), "--out: copy is a task: remove it"),
        (("show", "rope,alibi"), "'rope,alibi': write one run, task or encoding: rpe show rope"),
        (("show", ""), "'': write one run, task or encoding: rpe show NAME"),
        (("show", "Rope"), "did you mean rope (an encoding)?"),
        (("show", "coppy"), "did you mean copy (a task)?"),
        (("show", "rope", "--length", "100000"), "GiB, more than is free: give a smaller --length"),
        (("show", "rope", "--seed", str(10**24)), "--seed"),
        (("show", "rope", "--out", "/"), "a figure is .svg, .png or .pdf"),
        (("show", "rope", "--out", "/proc/x/y.svg"), "--out /proc/x cannot be written"),
        (("train", "--set", "lr=1", "--lr", "2"), "--set lr=1: lr is given twice: keep one"),
        (("train", "--set", "lr=1", "--set", "lr=2"), "--set lr=2: lr is given twice: keep one"),
        (("train", "--set", "=5"), "--set =5: write --set key=value"),
    ],
)
def test_flags_that_contradict_or_do_not_apply_are_an_error(
    words: tuple[str, ...], message: str, fresh: Run, monkeypatch: pytest.MonkeyPatch, rpe: tiny.Rpe
) -> None:
    monkeypatch.chdir(fresh.path.parent.parent)
    before = sorted(Path().rglob("*"))
    jobs = ("--jobs", "0") if words[0] == "eval" else ()
    result = rpe(*(fresh.name if word == "RUN" else word for word in words), *jobs)
    assert result.code == 2, result.err
    assert message.replace("RUN", fresh.name) in " ".join(result.err.replace("│", "").split())
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("flag", ["--lengths", "--samples", "--eval-seed", "--eval-tokens"])
def test_a_data_set_has_its_own_lengths_sequences_and_seed(flag: str, fresh: Run, tmp_path: Path, rpe: tiny.Rpe) -> None:
    result = on_set(rpe, fresh, write_set(rpe, tmp_path / "set"), flag, 4)
    assert (result.code, f"{flag}: --data {tmp_path}/set decides which sequences are read: remove it" in result.err) == (2, True)
    assert not fresh.evaluations_file.exists()


def test_runs_that_cannot_be_stretched_are_named_and_the_others_measured(tmp_path: Path, rpe: tiny.Rpe) -> None:
    choices = ("rope", "learned", "rope:scaling=ntk", "rope+none", "p-rope", "none:then=rope")
    runs = {choice: tiny.trained_run(tmp_path / "runs", encoding=choice, steps=2) for choice in choices}
    result = rpe("eval", "--rope-scaling", "yarn", "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu")
    assert result.code == 0, result.err
    for choice in ("learned", "p-rope"):
        assert f"--rope-scaling yarn: encoding {choice} has no scaling  ({runs[choice].name} left out)" in result.err
    measured = {choice: {line["encoding_override"] for line in run.evaluations()} for choice, run in runs.items()}
    assert measured == {
        "rope": {"rope:scaling=yarn"}, "learned": set(), "rope:scaling=ntk": {"rope:scaling=yarn"},
        "rope+none": {"rope:scaling=yarn+none"}, "p-rope": set(), "none:then=rope": {"rope:scaling=yarn"},
    }  # fmt: skip


def test_runs_with_the_encoding_to_swap_in_are_named_and_left_out(tmp_path: Path, rpe: tiny.Rpe) -> None:
    runs = {choice: tiny.trained_run(tmp_path / "runs", encoding=choice, steps=2) for choice in ("rope", "none")}
    words = ("eval", "--swap-encoding", "none", "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu")
    result = rpe(*words)
    told = "none is the encoding that these runs were trained with: measure them without that flag"
    told += f"  ({runs['none'].name} left out)"
    assert (result.code, told in result.err) == (0, True)
    assert [line["encoding_override"] for line in runs["rope"].evaluations()][:1] == ["none"]
    assert not runs["none"].evaluations_file.exists()
    assert rpe(*words, "--encoding", "none").code == 2


# --- tables show what was asked ----------------------------------------------------------------------------------------------


def test_the_table_shows_what_was_asked_and_not_the_newest_line(fresh: Run, rpe: tiny.Rpe) -> None:
    words = ("eval", "--lengths", "1x", "--runs", fresh.path.parent, "--jobs", 0, "--device", "cpu")
    first = rpe(*words)
    for more in (("--eval-seed", 3), ("--eval-positions", "randomized"), ("--samples", 64), ("--swap-encoding", "none")):
        assert rpe(*words, *more).code == 0
    assert len(fresh.evaluations()) == 5
    assert rpe(*words).out == first.out
    assert len(fresh.evaluations()) == 5
    shown = rpe("show", fresh.name, "--runs", fresh.path.parent).out
    ways = [line.removeprefix("Measured   ") for line in shown.splitlines() if line.startswith("Measured ")]
    assert ways == ["as none", "at randomized", "with eval seed 3"]
    assert shown.count("Length     4 (1x)") == 4


def test_a_run_with_many_lengths_is_shown_in_80_columns(fresh: Run, rpe: tiny.Rpe) -> None:
    evaluate_run(fresh, ",".join(str(4 * 2**k) for k in range(9)))
    result = rpe("show", fresh.name, "--runs", fresh.path.parent)
    assert max(len(line) for line in result.out.splitlines() if not line.startswith("Next")) <= 80
    assert "1024" in result.out


# --- directories that cannot be written --------------------------------------------------------------------------------------


def make_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for somebody who may only read, whoever runs the test."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))


def test_what_was_not_measured_is_refused_in_one_line(fresh: Run, monkeypatch: pytest.MonkeyPatch, rpe: tiny.Rpe) -> None:
    make_read_only(monkeypatch)
    result = rpe("eval", "--runs", fresh.path.parent, "--jobs", 0, "--device", "cpu")
    assert (result.code, result.err.count("\n"), result.out) == (1, 1, "")
    assert "cannot be written, so nothing new was measured: copy the runs to a folder of yours" in result.err
    assert not fresh.evaluations_file.exists()


def test_what_was_measured_is_shown_without_writing(fresh: Run, monkeypatch: pytest.MonkeyPatch, rpe: tiny.Rpe) -> None:
    evaluate_run(fresh)
    make_read_only(monkeypatch)
    result = rpe("eval", "--runs", fresh.path.parent, "--jobs", 0, "--device", "cpu")
    assert (result.code, result.err, "RoPE" in result.out) == (0, "", True)


@pytest.mark.parametrize("words", [(), ("--shift",)])
def test_inspect_goes_on_without_keeping(
    words: tuple[str, ...], fresh: Run, monkeypatch: pytest.MonkeyPatch, rpe: tiny.Rpe
) -> None:
    make_read_only(monkeypatch)
    result = rpe("inspect", *words, "--runs", fresh.path.parent, "--device", "cpu")
    assert (result.code, result.err.count("cannot be written: what is measured is not kept")) == (0, 1)
    assert "RoPE" in result.out
    assert not fresh.probes_file.exists()


# --- one run that cannot be used stops no other ------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
def test_weights_that_cannot_be_read_cost_that_run_alone(flags: tuple[str, ...], fresh: Run, rpe: tiny.Rpe) -> None:
    other = tiny.trained_run(fresh.path.parent, steps=2, encoding="none")
    fresh.weights_file.unlink()
    fresh.weights_file.mkdir()
    words = ("--runs", fresh.path.parent, "--lengths", "1x", "--samples", 4, "--device", "cpu", "--jobs", 0, *flags)
    result = rpe("eval", *words)
    assert (result.code, len(other.evaluations())) == (1, 1)
    assert result.err.count("cannot be read: Is a directory") == 1
    assert "some of the runs failed" in result.err
    assert "NoPE" in result.out


def test_runs_without_weights_are_named_in_one_line(fresh: Run, rpe: tiny.Rpe) -> None:
    created = [tiny.new_run(fresh.path.parent, steps=2, seed=seed) for seed in (1, 2, 3)]
    fresh.weights_file.unlink()
    result = rpe("eval", "--runs", fresh.path.parent)
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines() == [
        f"{fresh.name} is without its weights.safetensors and is left out: {fresh.train_command}",
        f"3 runs are not trained and are left out: {min(created).train_command}, and so on for 2 more",
        "none of these runs is trained",
    ]


def test_a_copy_of_the_users_file_that_is_gone_is_said(tmp_path: Path, rpe: tiny.Rpe) -> None:
    (tmp_path / "mine.py").write_text(NAN)
    run = tiny.trained_run(tmp_path / "runs", steps=2, encoding=str(tmp_path / "mine.py"))
    shutil.rmtree(run.path / "code")
    result = rpe("eval", "--runs", tmp_path / "runs", "--lengths", "1x", "--samples", 4, "--device", "cpu", "--jobs", 0)
    assert (result.code, "code: a file of this run is gone from here: put it back" in result.err) == (1, True)
    assert "ChoiceError" not in result.err


@pytest.mark.parametrize(
    ("flag", "value", "needed"),
    [
        ("--max-position", "9", "--positions offset, randomized or coupled"),
        ("--positions-per", "layer", "--positions randomized"),
        ("--switch-fraction", "0.5", "an encoding such as rope:then=none"),
    ],
)
def test_a_flag_that_no_run_would_read_is_refused(flag: str, value: str, needed: str, here: Path, rpe: tiny.Rpe) -> None:
    for words in ((flag, value), ("--set", f"{flag[2:]}={value}")):
        result = rpe("train", "--task", "copy", *words)
        assert (result.code, result.err.strip()) == (2, f"{flag}: of use with {needed} only: remove it")
    assert not list(here.iterdir())


@pytest.mark.parametrize("choice", ["learned", "learned+rope", "learned:then=rope"])
def test_a_table_of_positions_that_cannot_fit_is_refused_before_it_is_made(choice: str, here: Path, rpe: tiny.Rpe) -> None:
    words = ("--task", "copy", "--encoding", choice, "--positions", "randomized", "--max-position", "999999999")
    result = rpe("train", *words)
    said = f"--max-position: encoding {choice} needs at least 954 GiB of memory"
    assert (result.code, result.err.strip().startswith(said)) == (2, True)
    assert not list(here.iterdir())


def test_a_damaged_learning_curve_costs_the_curve_alone(fresh: Run, rpe: tiny.Rpe) -> None:
    fresh.metrics_file.write_text("garbage\n")
    result = rpe("show", fresh.name, "--runs", fresh.path.parent)
    assert (result.code, "Learning" in result.out, "State      trained: 2 of 2 steps" in result.out) == (0, False, True)
    assert "metrics.jsonl:1: damaged: no checksum: delete that line (its learning curve left out)" in result.err
    result = rpe("ls", "runs", "--runs", fresh.path.parent)
    assert (result.code, "the last validation is damaged or gone: left out" in result.err) == (0, True)


# --- not a number ------------------------------------------------------------------------------------------------------------

NAN = '''"""Not a number beyond a distance of 50."""

import torch

from rpecli.encoding import Encoding


class Nan(Encoding):
    def bias(self, q_pos_BxT, k_pos_BxS):
        distance = q_pos_BxT[:, :, None] - k_pos_BxS[:, None, :]
        return torch.where(distance > 50, float("nan"), 0.0)[:, None].expand(-1, self.shape.n_head, -1, -1)
'''


def test_what_is_not_a_number_is_recorded_as_null_and_said(fresh: Run, tmp_path: Path, rpe: tiny.Rpe) -> None:
    (tmp_path / "nan.py").write_text(NAN)
    words = ("--swap-encoding", tmp_path / "nan.py", "--runs", fresh.path.parent, "--device", "cpu")
    result = rpe("inspect", *words, "--shift", "--shifts", "1,64", "--tables")
    assert (result.code, f"{fresh.name}: logits are not a number after a shift by 64" in result.err) == (0, True)
    numbers = {(line["probe"], line["shift"]): line["logits_max"] for line in fresh.probes()}
    assert numbers["prefix", 64] is None
    assert None not in (numbers["prefix", 1], numbers["positions", 1], numbers["positions", 64])
    result = rpe("inspect", *words, "--lengths", "1x,8x", "--tables")
    assert (result.code, f"{fresh.name}: attention is not a number at length 32: left out" in result.err) == (0, True)
    assert [line["length"] for line in fresh.probes()[-1]["lengths"]] == [2, 4]
    assert "at length 32: left out" in rpe("inspect", *words, "--lengths", "1x,8x").err, (
        "said again when it is not measured again"
    )
    assert rpe("eval", *words, "--lengths", "1x,8x", "--jobs", 0).code == 0
    assert [line["nll"] is None for line in fresh.evaluations()] == [False, False, False, True][-len(fresh.evaluations()) :]
    assert "NaN" not in fresh.evaluations_file.read_text() + fresh.probes_file.read_text()


# --- any flags ---------------------------------------------------------------------------------------------------------------

VALUES: dict[str, list[str]] = {
    "--lengths": ["1x", "2x,4", "4:16", "0", "x", "", "16:4", "-1", "999999999", "1x:8", "nan"],
    "--samples": ["1", "33", "0", "-1", "many", "9" * 30],
    "--eval-seed": ["0", "3", "-1", str(10**24)],
    "--eval-tokens": ["64", "0", "1e3"],
    "--eval-positions": ["same", "start", "randomized", "coupled", ""],
    "--swap-encoding": ["none", "rope:scaling=yarn", "t5", "nosuch", "", "rope:scaling=x", "rope,none", "./no.py", ":", "rope+"],
    "--rope-scaling": ["yarn", "pi", "nosuch", "", "yarn:scaling=pi", "none"],
    "--data": ["SET", "OTHER", "missing", "", "/dev/null"],
    "--device": ["cpu", "auto", "tpu", "cpu:9", "", "cuda:x"],
    "--overwrite": [],
    "--json": [],
    "--tables": [],
    "--shift": [],
    "--shifts": ["1", "1,2", "2x", "0", "", "999999999"],
    "--out": ["figures", "/proc/x", "SET/dataset.json", "x.pdf", ""],
    "--seed": ["0", "-1", str(10**24), "x"],
    "--length": ["8", "1", "0", "-5", "100000", "x"],
    "--d-model": ["16", "0", "7", "999999999"],
    "--n-head": ["2", "0", "3", "999999999"],
}
EVAL = ["--lengths", "--samples", "--eval-seed", "--eval-tokens", "--eval-positions", "--swap-encoding", "--rope-scaling",
        "--data", "--device", "--overwrite", "--json", "--tables"]  # fmt: skip
FLAGS = {
    "eval": EVAL,
    "inspect": [*EVAL, "--shift", "--shifts", "--out"],
    "data": ["--lengths", "--samples", "--seed", "--out"],
    "show": ["--json", "--out", "--d-model", "--n-head", "--length", "--seed"],
}
NAMES = {
    "eval": ["", "*", "copy*", "nosuch"],
    "inspect": ["", "copy-rope*"],
    "data": ["copy", "parity", "copy:symbols=x", "nosuch", ""],
    "show": ["copy-rope*", "rope", "copy", "Rope", "rope,none", "", "rope:base=nan", "+", ":", "[x]", "\x00"],
}


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    command = draw(st.sampled_from(sorted(FLAGS)))
    name = draw(st.sampled_from(NAMES[command]))
    flags = draw(st.lists(st.sampled_from(FLAGS[command]), max_size=3, unique=draw(st.booleans())))
    words = [word for flag in flags for word in (flag, *(draw(st.sampled_from(VALUES[flag])) for _ in VALUES[flag][:1]))]
    if command == "data":
        words = ["--lengths", "4", "--out", "new", *words] if draw(st.booleans()) else words
    return [command, *([name] if name or command in ("data", "show") else []), *words]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three runs of two tasks and a set of each; every example works on a copy."""
    folder = tmp_path_factory.mktemp("project")
    for task, encoding in (("copy", "rope"), ("copy", "learned"), ("parity", "none")):
        tiny.trained_run(folder / "runs", task=task, encoding=encoding, steps=1)
    for name, choice in (("SET", "copy"), ("OTHER", "parity")):
        hf_dataset.write(choice, tasks.build(choice), [4, 8], 4, 1, folder / name)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def asked_of(words: list[str], line: dict[str, Any]) -> bool:
    """Whether a line of eval.jsonl says the settings that the command asked for."""
    values = {flag: words[words.index(flag) + 1] for flag in words if VALUES.get(flag)}
    checks = {
        "--eval-seed": lambda value: line["eval_seed"] == int(value),
        "--samples": lambda value: line["n"] == int(value),
        "--swap-encoding": lambda value: line["encoding_override"] == value,
        "--rope-scaling": lambda value: line["encoding_override"] == f"rope:scaling={value}",
        "--eval-positions": lambda value: line["positions"] == value.replace("same", "start"),
        "--data": lambda value: line["data"].startswith(f"{value} ") and (line["eval_seed"], line["n"]) == (1, 4),
    }
    return all(check(values[flag]) for flag, check in checks.items() if flag in values)


@given(words=command_lines())
def test_any_flags_end_in_a_result_or_a_clear_line(
    words: list[str], project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, rpe: tiny.Rpe
) -> None:
    folder = Path(shutil.copytree(project, tmp_path_factory.mktemp("example") / "project"))
    monkeypatch.chdir(folder)
    before = content(folder)
    result = rpe(*words, *(("--jobs", 0) if words[0] == "eval" else ()))
    after = content(folder)
    note = f"{words}\n{result.code}\n{result.err[-1500:]}"
    assert result.code in (0, 1, 2), note
    assert "Traceback" not in result.err + result.out, note
    if result.code:
        assert result.err.strip(), note
    if result.code == 2:
        assert after == before, note
    for run in find_runs(folder / "runs")[0]:
        for line in run.evaluations():
            assert asked_of(words, dict(line)), note
    shutil.rmtree(folder)

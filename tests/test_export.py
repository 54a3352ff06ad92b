"""Evaluation sets as datasets: what is written is what is drawn, and evaluation on it gives the same numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import training as tiny
from helpers.evaluation import numbers

from rpecli import data
from rpecli import task as tasks
from rpecli.evaluate import hf_dataset
from rpecli.evaluate.data_set import DataSetError, open_set

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets.*", "ignore::DeprecationWarning:multiprocess.*")


def write_sets(
    out: Path, choice: str = "copy", lengths: tuple[int, ...] = (4, 8), sequences: int = 40, seed: int = 0
) -> tasks.Task:
    task = tasks.build(choice)
    hf_dataset.write(choice, task, list(lengths), sequences, seed, out)
    return task


@pytest.mark.parametrize("choice", ["copy", "sort:distinct=true", "parity", "recall"])
def test_what_is_read_is_what_was_drawn(choice: str, tmp_path: Path) -> None:
    task = write_sets(tmp_path, choice)
    assert open_set(tmp_path).lengths == [4, 8]
    for length in (4, 8):
        drawn_blocks = list(data.evaluation_blocks(task, length, 40, 0))
        read_blocks = open_set(tmp_path).blocks(length, task)
        for drawn, read in zip(drawn_blocks, read_blocks, strict=True):
            assert np.array_equal(drawn.tokens_BxT, read.tokens_BxT)
            assert np.array_equal(drawn.answer_mask_BxT, read.answer_mask_BxT)
            assert (read.tokens_BxT.dtype, read.answer_mask_BxT.dtype) == (np.int64, bool)


def test_the_seed_decides_the_sequences(tmp_path: Path) -> None:
    task = write_sets(tmp_path, seed=7)
    blocks = open_set(tmp_path).blocks(4, task)
    assert data.fingerprint(blocks) == data.fingerprint(list(data.evaluation_blocks(task, 4, 40, 7)))
    assert data.fingerprint(blocks) != data.fingerprint(list(data.evaluation_blocks(task, 4, 40, 0)))


def test_a_set_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    """Not from a cache, and none is left in the home directory."""
    from datasets import config

    cache = Path(config.HF_DATASETS_CACHE) / "parquet"
    before = set(cache.glob("*"))
    for seed in (0, 1):
        task = write_sets(tmp_path, lengths=(4,), seed=seed)
        expected = data.fingerprint(list(data.evaluation_blocks(task, 4, 40, seed)))
        assert data.fingerprint(open_set(tmp_path).blocks(4, task)) == expected
    assert set(cache.glob("*")) == before


def test_a_folder_without_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=rf"{tmp_path} holds no data set .*: write one with rpe data TASK"):
        open_set(tmp_path)


def test_the_card_names_its_splits_and_the_command_that_wrote_it(tmp_path: Path) -> None:
    write_sets(tmp_path, "sort:distinct=true", sequences=5, seed=3)
    _, front, text = (tmp_path / "README.md").read_text().split("---\n", 2)
    (config,) = yaml.safe_load(front)["configs"]
    assert [(tmp_path / split["path"]).is_file() for split in config["data_files"]] == [True, True]
    assert "rpe data sort:distinct=true --lengths 4,8 --samples 5 --seed 3" in text
    assert "Input law" in text


@pytest.mark.parametrize("choice", ["copy", "recall"])
def test_the_card_shows_the_first_sequence_of_the_set(choice: str, tmp_path: Path) -> None:
    task = write_sets(tmp_path, choice)
    (block, *_) = open_set(tmp_path).blocks(4, task)
    assert f"first sequence of length 4: `{task.text(block)}`" in (tmp_path / "README.md").read_text()


def test_datasets_loads_every_split_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import load_dataset

    task = write_sets(tmp_path / "set", sequences=3)
    loaded = load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {"length_4": 3, "length_8": 3}
    (block,) = data.evaluation_blocks(task, 8, 3, 0)
    assert loaded["length_8"][0] == {
        "length": 8, "tokens": block.tokens_BxT[0].tolist(), "answer": block.answer_mask_BxT[0].tolist(),
        "text": task.text(block),
    }  # fmt: skip


def test_evaluation_on_a_written_set_gives_the_numbers_of_the_drawn_one(tmp_path: Path, rpe: tiny.Rpe) -> None:
    runs = tmp_path / "runs"
    run = tiny.trained_run(runs, task="copy:symbols=3")
    result = rpe("data", "copy:symbols=3", "--lengths", "4:8", "--samples", 40, "--out", tmp_path / "set")
    assert (result.code, result.out) == (0, f"2 lengths with 40 sequences each in {tmp_path / 'set'}\n")
    words = ("--runs", runs, "--jobs", 0, "--device", "cpu")
    assert rpe("eval", "--data", tmp_path / "set", *words).code == 0
    from_set = numbers(run)
    assert {line.pop("data").split()[0] for line in from_set} == {"set"}
    assert [line["length"] for line in from_set] == [4, 8]
    words += ("--samples", 40)
    assert rpe("eval", "--lengths", "4:8", *words).code == 0
    assert len(run.evaluations()) == 2, "the drawn sequences are the same, so nothing is measured again"
    assert rpe("eval", "--lengths", "4:8", "--overwrite", *words).code == 0
    drawn = numbers(run)[2:]
    assert [line.pop("data") for line in drawn] == [None, None]
    assert drawn == from_set


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("copy", "--lengths", "0:4"), "--lengths: '0:4': lengths start at 1: write 1:4"),
        (("copy", "--lengths", "1x,2x"), "--lengths 1x,2x: multiples need a training length"),
        (("sort", "--lengths", "149,150"), "has no problem longer than 149"),
        (("recalll", "--lengths", "4"), "did you mean recall"),
        (("./no_file.py", "--lengths", "4"), "there is no .py file"),
        (("copy:symbol=3", "--lengths", "4"), "task copy has no option 'symbol': did you mean symbols?"),
    ],
)
def test_a_set_that_cannot_be_drawn_is_refused(words: tuple[str, ...], message: str, tmp_path: Path, rpe: tiny.Rpe) -> None:
    result = rpe("data", *words, "--out", tmp_path / "set")
    assert result.code == 2
    assert message in result.err
    assert not (tmp_path / "set").exists()


def test_a_folder_that_holds_no_set_is_refused_before_anything_is_measured(tmp_path: Path, rpe: tiny.Rpe) -> None:
    result = rpe("eval", "--data", tmp_path, "--runs", tmp_path / "runs")
    assert result.code == 2
    assert f"--data: {tmp_path} holds no data set of this version of rpe (no dataset.json): write one" in result.err


def test_a_row_has_its_text(tmp_path: Path) -> None:
    from datasets import Dataset

    write_sets(tmp_path, lengths=(2,), sequences=1)
    row = Dataset.from_parquet(str(tmp_path / "data" / "length_2.parquet"), keep_in_memory=True)[0]
    first, second = (token - 4 for token in row["tokens"][1:3])
    assert row["text"] == f"> {first} {second} | [{first}] [{second}] ."
    assert json.dumps(row)

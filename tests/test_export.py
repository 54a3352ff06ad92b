"""Evaluation sets as datasets: what is written is what is drawn, and evaluation on it gives the same numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers import training as tiny

from rpecli import data, task
from rpecli.evaluate import hf_dataset as export
from rpecli.evaluate import measure as evaluate
from rpecli.evaluate.request import EvalRequest
from rpecli.run.files import read_lines

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets.*", "ignore::DeprecationWarning:multiprocess.*")


def written(out: Path, choice: str = "copy", lengths: tuple[int, ...] = (4, 8), sequences: int = 40, seed: int = 0) -> task.Task:
    made = task.build(choice)
    export.write(choice, made, list(lengths), sequences, seed, out)
    return made


@pytest.mark.parametrize("choice", ["copy", "sort:distinct=true", "parity", "recall"])
def test_what_is_read_back_is_what_was_drawn(choice: str, tmp_path: Path) -> None:
    made = written(tmp_path, choice)
    assert export.lengths_of(tmp_path) == [4, 8]
    for length in (4, 8):
        drawn = list(data.evaluation_blocks(made, length, 40, 0))
        back = list(export.blocks_of(tmp_path, length, 1000))
        for one, other in zip(drawn, back, strict=True):
            assert np.array_equal(one.tokens_BxT, other.tokens_BxT)
            assert np.array_equal(one.answer_BxT, other.answer_BxT)
            assert (other.tokens_BxT.dtype, other.answer_BxT.dtype) == (np.int64, bool)
        assert data.fingerprint(list(export.blocks_of(tmp_path, length, 33))) == data.fingerprint(
            list(data.evaluation_blocks(made, length, 33, 0))
        )


def test_the_seed_decides_the_strings(tmp_path: Path) -> None:
    made = written(tmp_path, seed=7)
    blocks = list(export.blocks_of(tmp_path, 4, 40))
    assert data.fingerprint(blocks) == data.fingerprint(list(data.evaluation_blocks(made, 4, 40, 7)))
    assert data.fingerprint(blocks) != data.fingerprint(list(data.evaluation_blocks(made, 4, 40, 0)))


def test_a_set_written_anew_is_read_anew(tmp_path: Path) -> None:
    """Not from a cache, and none is left in the home directory."""
    from datasets import config

    cache = Path(config.HF_DATASETS_CACHE) / "parquet"
    before = set(cache.glob("*"))
    for seed in (0, 1):
        made = written(tmp_path, lengths=(4,), seed=seed)
        expected = data.fingerprint(list(data.evaluation_blocks(made, 4, 40, seed)))
        assert data.fingerprint(list(export.blocks_of(tmp_path, 4, 40))) == expected
    assert set(cache.glob("*")) == before


def test_a_folder_without_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{tmp_path}: no data/length_N.parquet there: write one with rpe data TASK"):
        export.lengths_of(tmp_path)


def test_the_card_names_its_splits_and_the_command_that_wrote_it(tmp_path: Path) -> None:
    written(tmp_path, "sort:distinct=true", sequences=5, seed=3)
    _, front, text = (tmp_path / "README.md").read_text().split("---\n", 2)
    (config,) = yaml.safe_load(front)["configs"]
    assert [(tmp_path / split["path"]).is_file() for split in config["data_files"]] == [True, True]
    assert "rpe data sort:distinct=true --lengths 4,8 --samples 5 --seed 3" in text
    assert "Input law" in text


def test_the_card_shows_the_first_sequence_of_the_set(tmp_path: Path) -> None:
    made = written(tmp_path)
    (block,) = data.evaluation_blocks(made, 4, 1, 0)
    assert f"First sequence of length 4: `{made.text(block)}`" in (tmp_path / "README.md").read_text()


def test_datasets_loads_every_split_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import load_dataset

    made = written(tmp_path / "set", sequences=3)
    loaded = load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {"length_4": 3, "length_8": 3}
    (block,) = data.evaluation_blocks(made, 8, 3, 0)
    assert loaded["length_8"][0] == {
        "length": 8, "tokens": block.tokens_BxT[0].tolist(), "answer": block.answer_BxT[0].tolist(), "text": made.text(block),
    }  # fmt: skip


def numbers(path: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read_lines(path / "eval.jsonl")]


def test_evaluation_on_a_written_set_gives_the_numbers_of_the_drawn_one(tmp_path: Path, rpe: tiny.Rpe) -> None:
    runs = tmp_path / "runs"
    path = tiny.trained(runs, task="copy:symbols=3")
    said = rpe("data", "copy:symbols=3", "--lengths", "4:8", "--samples", 40, "--out", tmp_path / "set")
    assert (said.code, said.out) == (0, f"2 lengths, 40 sequences each, in {tmp_path / 'set'}\n")
    words = ("--runs", runs, "--jobs", 0, "--device", "cpu", "--samples", 40)
    assert rpe("eval", "--data", tmp_path / "set", *words).code == 0
    from_set = numbers(path)
    assert [line["length"] for line in from_set] == [4, 8]
    assert rpe("eval", "--lengths", "4:8", *words).code == 0
    assert numbers(path) == from_set, "the drawn strings are these very ones, so nothing is measured again"
    assert rpe("eval", "--lengths", "4:8", "--overwrite", *words).code == 0
    assert numbers(path) == from_set + from_set


def test_a_set_of_another_vocabulary_is_named(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path / "runs", task="copy:symbols=3", steps=2)
    written(tmp_path / "set", "copy:symbols=9")
    with pytest.raises(ValueError, match=r"set: holds tokens up to 12, and copy:symbols=3 ends at 6: .* rpe data copy:symbols=3"):
        evaluate.evaluate(path, EvalRequest(folder=tmp_path / "set"), "cpu", 1)
    assert not (path / "eval.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("copy", "--lengths", "0:4"), "--lengths: '0:4': lengths start at 1: write 1:4"),
        (("copy", "--lengths", "1x,2x"), "--lengths 1x,2x: multiples need a training length"),
        (("sort:distinct=true", "--lengths", "150,151"), "has no problem longer than 150"),
        (("copyy", "--lengths", "4"), "did you mean copy?"),
        (("copy:symbol=3", "--lengths", "4"), "task copy has no option 'symbol': did you mean symbols?"),
    ],
)
def test_a_set_that_cannot_be_drawn_is_refused(words: tuple[str, ...], message: str, tmp_path: Path, rpe: tiny.Rpe) -> None:
    said = rpe("data", *words, "--out", tmp_path / "set")
    assert said.code == 2
    assert message in said.err
    assert not (tmp_path / "set").exists()


def test_a_folder_that_holds_no_set_is_refused_before_anything_is_measured(tmp_path: Path, rpe: tiny.Rpe) -> None:
    said = rpe("eval", "--data", tmp_path, "--runs", tmp_path / "runs")
    assert said.code == 2
    assert f"--data {tmp_path}: no data/length_N.parquet there: write it with rpe data TASK" in said.err


def test_the_text_of_a_row_is_what_people_read(tmp_path: Path) -> None:
    from datasets import Dataset

    written(tmp_path, lengths=(2,), sequences=1)
    row = Dataset.from_parquet(str(tmp_path / "data" / "length_2.parquet"), keep_in_memory=True)[0]
    first, second = (token - 4 for token in row["tokens"][1:3])
    assert row["text"] == f"> {first} {second} | [{first}] [{second}] ."
    assert json.dumps(row)

"""Running text: what is trained on and held out, windows side by side, sliding windows, nats by place."""

import math
from pathlib import Path

import numpy as np
import pytest
from helpers import training as tiny

from rpecli import data
from rpecli import task as tasks
from rpecli.choice import ChoiceError, canonical
from rpecli.evaluate.measure import evaluate
from rpecli.evaluate.request import EvalRequest
from rpecli.rows import running_text
from rpecli.task import SPECIAL, Batch, Task


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """1000 characters, of which every run of three is different."""
    file = tmp_path / "text.txt"
    file.write_text("".join(chr(0x4E00 + n) for n in range(1000)), encoding="utf-8")
    return file


def build(path: Path, options: str = "tokens=char") -> Task:
    return tasks.build(canonical(f"text:path={path}:{options}"))


def symbols(batch: Batch) -> np.ndarray:
    return batch.tokens_BxT[:, 1:] - SPECIAL


def test_the_last_tenth_is_held_out_and_windows_stand_side_by_side(path: Path) -> None:
    task = build(path)
    assert task.split("train").draw(np.random.default_rng(0), 2000, 4).max() == 799
    for length in (5, 20):
        blocks = list(data.evaluation_blocks(task, length, 1000, 0))
        assert np.concatenate([symbols(block).ravel() for block in blocks]).tolist() == list(range(900, 1000))
    assert (task.longest(), task.has_length(100), task.has_length(101)) == (100, True, False)


def test_windows_spread_over_the_held_out_text_where_samples_are_fewer(path: Path) -> None:
    (block,) = data.evaluation_blocks(build(path), 10, 5, 0)
    assert symbols(block)[:, 0].tolist() == [910, 930, 950, 970, 990]


@pytest.mark.parametrize("stride", [1, 5, 10])
def test_sliding_windows_score_the_same_tokens_at_every_length(path: Path, stride: int) -> None:
    task = build(path, f"stride={stride}:tokens=char")
    for length in (10, 20, 50):
        blocks = list(data.evaluation_blocks(task, length, 1000, 0))
        scored = np.concatenate([symbols(block)[block.answer_mask_BxT[:, 1:]] for block in blocks])
        assert scored.tolist() == list(range(950, 1000))  # every token of the second half of the held-out text, once
        assert all(block.answer_mask_BxT[:, -stride:].all() for block in blocks)
        trained = [block.trained_mask_BxT for block in blocks]
        assert all(mask is not None and mask[:, 1:].all() for mask in trained)
    assert (task.has_length(50), task.has_length(51)) == (True, False)


def test_of_sliding_windows_half_as_many_are_every_other_one(path: Path) -> None:
    task = build(path, "stride=1:tokens=char")
    all_ends, half = (
        [end for block in data.evaluation_blocks(task, 20, n, 0) for end in symbols(block)[:, -1].tolist()] for n in (50, 25)
    )
    assert half == all_ends[1::2]


def test_the_text_that_ships_is_prose_in_bytes() -> None:
    task = tasks.build("text")
    assert (task.symbols, task.longest()) == (256, 30638)
    assert task.text(task.sample(np.random.default_rng(0), 1, 12)) == r"> [\s] [t] [h] [e] [\s] [f] [e] [n] [d] [e] [r] [!]"
    text = running_text.SHIPPED.read_text(encoding="ascii")
    assert text.startswith("ALICE'S ADVENTURES IN WONDERLAND\n\nCHAPTER I. Down the Rabbit-Hole\n\nAlice was beginning")
    assert text.endswith("Life, what is it but a dream?\n")
    assert "gutenberg" not in text.lower()


def test_nats_of_the_best_guess_are_the_entropy_of_single_tokens(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("aaab" * 10)
    assert build(file, "tokens=byte").chance_nll(4) == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    file.write_text("abcd" * 10)
    assert build(file, "tokens=char").chance_nll(4) == pytest.approx(math.log(4))


def test_nats_are_kept_apart_by_place_and_add_up(tmp_path: Path) -> None:
    """Places 1, 2, 3-4, 5-8 and 9-10 of windows of 10 tokens; with a stride of 3 only the last places have any."""
    run = tiny.trained_run(tmp_path, task="text", length=10, steps=1, tokens=64)
    for task in ("text", "text:stride=3"):
        settings = run.config.eval.model_copy(update={"lengths": "10", "samples": 40, "eval_task": task})
        assert evaluate(run, EvalRequest(settings), "cpu") == []
    whole, slid = run.evaluations()
    places = [1, 1, 2, 4, 2]
    assert sum(n * nll for n, nll in zip(places, whole["nll_by_place"], strict=True)) / 10 == pytest.approx(
        whole["nll"], abs=1e-5
    )
    assert slid["nll_by_place"][:3] == [None] * 3
    assert (slid["nll_by_place"][3] + 2 * slid["nll_by_place"][4]) / 3 == pytest.approx(slid["nll"], abs=1e-5)
    assert whole["chance_nll"] == slid["chance_nll"] == pytest.approx(tasks.build("text").chance_nll(10), abs=1e-6)
    assert run.record["measure"] == "perplexity"


def test_bytes_have_one_vocabulary_for_all_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Hé, there is some text here.\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("and more of it", encoding="utf-8")
    task = build(tmp_path, "separator=#")
    assert task.symbols == 256
    whole = task.layout(task.text_N[None].astype(np.int64))  # type: ignore[attr-defined]
    assert task.text(whole).startswith(r"> [H] [\xc3] [\xa9] [,] [\s] [t]")
    assert r"[.] [\n] [#] [a] [n] [d]" in task.text(whole)
    assert task.chance(4) == pytest.approx(max(np.bincount(symbols(whole)[0])) / 45)


def test_a_stride_that_half_of_the_held_out_text_does_not_have_is_refused(path: Path) -> None:
    (block,) = data.evaluation_blocks(build(path, "stride=50:tokens=char"), 50, 8, 0)
    assert symbols(block).tolist() == [list(range(950, 1000))]
    with pytest.raises(ChoiceError, match="stride=51: this text of 1,000 chars allows up to 50"):
        build(path, "stride=51:tokens=char")


def test_a_missing_short_or_foreign_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("too short")
    (tmp_path / "latin.txt").write_bytes(b"k\xe9" * 100)
    for name, message in (
        ("nope.txt", "there is no such file"),
        ("short.txt", "too few"),
        ("latin.txt", "latin.txt:1: byte 0xe9"),
    ):
        with pytest.raises(ChoiceError, match=message):
            build(tmp_path / name)

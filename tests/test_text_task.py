"""Running text: what is trained on and held out, windows side by side, and windows that end at the same places."""

from pathlib import Path

import numpy as np
import pytest

from rpecli import data
from rpecli import task as tasks
from rpecli.choice import ChoiceError, canonical
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


def test_windows_that_end_at_the_same_places_score_their_last_token_alone(path: Path) -> None:
    task = build(path, "scored=last:tokens=char")
    ends = []
    for length in (2, 10, 50):
        (block,) = data.evaluation_blocks(task, length, 5, 0)
        ends.append(symbols(block)[:, -1].tolist())
        assert block.answer_mask_BxT.sum(axis=1).tolist() == [1] * 5
        assert block.answer_mask_BxT[:, -1].all()
        assert block.trained_mask_BxT is not None
        assert block.trained_mask_BxT.sum() == 5 * length
    assert ends[0] == ends[1] == ends[2] == [959, 969, 979, 989, 999]


def test_bytes_have_one_vocabulary_for_all_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Hé, there is some text here.\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("and more of it", encoding="utf-8")
    task = build(tmp_path, "separator=#")
    assert task.symbols == 256
    whole = task.layout(task.text_N[None])  # type: ignore[attr-defined]
    assert task.text(whole).startswith(r"> [H] [\xc3] [\xa9] [,] [\s] [t]")
    assert r"[.] [\n] [#] [a] [n] [d]" in task.text(whole)
    assert task.chance(4) == pytest.approx(max(np.bincount(symbols(whole)[0])) / 45)


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

"""The input laws of addition and multiplication, position ids that digits share, and what their options refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from rpecli import task as tasks
from rpecli.choice import ChoiceError
from rpecli.ragged import ABSENT
from rpecli.task import END, PAD

N = 6000
COUPLED = json.loads((Path(__file__).parent / "golden_tasks" / "coupled.json").read_text())


def draw(choice: str, length: int, batch: int = N) -> np.ndarray:
    return tasks.build(choice).draw(np.random.default_rng(length), batch, length)


def text(choice: str, x: list[list[int]] | list[int]) -> str:
    task = tasks.build(choice)
    return task.text(task.layout(np.array([x])))


def ids(choice: str, x: list[list[int]] | list[int]) -> list[int]:
    task = tasks.build(choice)
    array = task.coupled(task.layout(np.array([x])))
    assert array is not None
    return array[0].tolist()


def assert_uniform(values: np.ndarray, first: int, last: int) -> None:
    counts = np.bincount(values.ravel(), minlength=last + 1)[first:]
    assert len(counts) == last - first + 1
    assert (abs(counts - values.size / len(counts)) < 5 * np.sqrt(values.size / len(counts))).all(), counts


@pytest.mark.parametrize("choice", ["addition:operands=mixed", "multiplication:operands=mixed"])
def test_one_of_two_mixed_operands_has_all_digits_and_no_leading_zero(choice: str) -> None:
    x = draw(choice, 5)
    length = (x != ABSENT).sum(axis=2)
    assert (length.max(axis=1) == 5).all()
    other = np.where(length[:, 0] == 5, length[:, 1], length[:, 0])
    counts = np.bincount(other, minlength=6)[1:]
    assert (abs(counts - N / 5) < 5 * np.sqrt(N / 5)).all(), counts
    assert abs((length[:, 0] == 5).mean() - 0.6) < 0.04, "either may be the long one, and in one of five both are"
    leading = np.take_along_axis(x, length[:, :, None] - 1, axis=2)[:, :, 0]
    assert_uniform(leading[length > 1], 1, 9)
    assert_uniform(leading[length == 1], 0, 9)
    assert_uniform(x[:, :, 0], 0, 9)
    assert (x[np.arange(5) >= length[:, :, None]] == ABSENT).all()


def test_the_number_of_mixed_operands_is_uniform_and_a_long_one_is_always_there() -> None:
    length = (draw("addition:count=4:operands=mixed", 3) != ABSENT).sum(axis=2)
    n_operands = (length > 0).sum(axis=1)
    assert_uniform(n_operands, 2, 4)
    assert (length.max(axis=1) == 3).all()
    assert ((length > 0) == (np.arange(4) < n_operands[:, None])).all(), "absent operands are the last"


def test_equal_operands_are_uniform_with_leading_zeros() -> None:
    for choice, shape in (("addition:count=3", (N, 3, 2)), ("multiplication", (N, 2, 2)), ("multiplication:second=1", (N, 2, 2))):
        x = draw(choice, 2)
        assert x.shape == shape
        assert_uniform(x[:, 0], 0, 9)
    assert (draw("multiplication:second=1", 2)[:, 1, 1] == ABSENT).all()
    assert draw("multiplication:second=3", 2).shape == (N, 2, 3)


def test_the_first_hint_is_uniform_and_the_next_follow_it_round() -> None:
    assert_uniform(draw("addition:hints=7:operands=mixed", 3)[:, 2, 0], 0, 6)
    assert text("addition:hints=4", [[9, 2], [3, 1], [3, -1]]) == "> h3 9 h0 2 + h3 3 h0 1 | [h3] [2] [h0] [4] [h1] [0] ."
    assert text("addition:hints=4:reverse=false", [[9, 2], [3, 1], [3, -1]]) == (
        "> h0 2 h3 9 + h0 1 h3 3 | [h1] [0] [h0] [4] [h3] [2] ."
    )
    assert tasks.build("addition:hints=4").longest() == 3, "the sum of three digits has four"
    assert tasks.build("addition:hints=4:count=11").longest() == 2
    assert tasks.build("multiplication:hints=9").longest() == 4


def test_formats_by_hand() -> None:
    """952 + 87 = 1039, 52 * 34 = 1768."""
    x = [[2, 5, 9], [7, 8, -1]]
    expected = {
        "addition:operands=mixed": "> 2 5 9 + 7 8 | [9] [3] [0] [1] .",
        "addition:operands=mixed:reverse=false": "> 9 5 2 + 8 7 | [1] [0] [3] [9] .",
        "addition:operands=mixed:reverse_operands=false": "> 9 5 2 + 8 7 | [9] [3] [0] [1] .",
        "addition:operands=mixed:padded=true": "> 2 5 9 + 7 8 0 | [9] [3] [0] [1] .",
        "addition:format=scratchpad:operands=mixed": "> 2 5 9 + 7 8 | [9] [0] [;] [3] [1] [;] [0] [1] [;] [=] [9] [3] [0] [1] .",
        "addition:format=steps:operands=mixed": "> 2 5 9 + 7 8 | [2] [7] [0] [:] [9] [0] [;] [5] [8] [0] [:] [3] [1] [;] "
        "[9] [0] [1] [:] [0] [1] [;] [=] [9] [3] [0] [1] .",
        "addition:format=sums:operands=mixed": "> 2 5 9 + 7 8 | [2] [5] [9] [,] [9] [3] [0] [1] .",
    }
    for choice, sequence in expected.items():
        assert text(choice, x) == sequence
    assert text("multiplication:format=scratchpad", [[2, 5], [4, 3]]) == (
        "> 2 5 * 4 3 | [8] [0] [2] [+] [6] [5] [1] [=] [8] [0] [2] [0] [,] [8] [6] [7] [1] ."
    )


@pytest.mark.parametrize("row", COUPLED, ids=lambda row: f"{row['task']}-{len(row['x'][0])}")
def test_coupled_ids_are_those_of_the_public_code(row: dict[str, list[int]]) -> None:
    """`ids` is the published ids less one, from the first token of the prompt to the last of the answer."""
    assert ids(str(row["task"]), row["x"])[1:-1] == row["ids"]


def test_digits_of_one_significance_share_an_id_in_every_format() -> None:
    x = [[2, 5, 9], [7, 8, -1]]
    assert ids("addition:operands=mixed", x) == [0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 4, 5]
    assert ids("addition:operands=mixed:reverse=false", x) == [0, 3, 2, 1, 0, 2, 1, 5, 4, 3, 2, 1, 5]
    assert ids("addition:operands=mixed:reverse_operands=false", x) == [0, 3, 2, 1, 0, 2, 1, 0, 1, 2, 3, 4, 5]
    assert ids("addition:hints=9", [1, 2, 3, 4, 0, 0]) == [0, 1, 1, 2, 2, 0, 1, 1, 2, 2, 0, 1, 1, 2, 2, 3, 3, 4]
    steps = ids("addition:format=scratchpad:operands=mixed", x)
    assert steps == [0, 1, 2, 3, 0, 1, 2, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 1, 2, 3, 4, 5]
    assert ids("addition:format=sums:operands=mixed", x) == [0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5]
    assert ids("addition:base=2:operands=split:reverse=false", [1, 2, 1, 1, 1]) == [0, 1, 0, 3, 2, 1, 5, 4, 3, 2, 1, 5]


def test_padding_has_no_id() -> None:
    task = tasks.build("addition:operands=mixed:format=sums:count=5")
    batch = task.sample(np.random.default_rng(0), 300, 4)
    array = task.coupled(batch)
    assert array is not None
    assert (batch.tokens_BxT == PAD).any()
    assert (array[batch.tokens_BxT == PAD] == 0).all()
    assert (array[batch.tokens_BxT == END] > 1).all()


def test_two_sizes_are_those_of_the_operands_or_of_digits_and_operands() -> None:
    for choice in ("addition", "addition:operands=mixed", "multiplication", "multiplication:operands=mixed"):
        task = tasks.build(choice)
        assert task.size_names == ("digits of the first", "digits of the second")
        length = (task.draw_sizes(np.random.default_rng(0), 50, (2, 5)) != ABSENT).sum(axis=2)
        assert (length == [2, 5]).all()
    task = tasks.build("addition:count=3:operands=mixed")
    assert task.size_names == ("digits", "operands")
    assert (task.draw_sizes(np.random.default_rng(0), 50, (4, 7)) != ABSENT).sum(axis=2).tolist() == [[4] * 7] * 50
    assert tasks.build("addition:base=2:operands=split").size_names == ()


def test_large_numbers_are_exact() -> None:
    task = tasks.build("multiplication:reverse=false")
    batch = task.sample(np.random.default_rng(0), 2, 150)
    for row in range(2):
        prompt, answer = task.text(batch, row).split("|")
        a, b = (int(part.replace(" ", "")) for part in prompt.strip("> ").split("*"))
        assert int("".join(filter(str.isdigit, answer))) == a * b


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("addition:format=long", "format is answer, scratchpad, steps or sums"),
        ("addition:count=1", "two operands at least"),
        ("addition:count=3:operands=split", "two exactly with operands=split"),
        ("addition:count=3:base=2:format=steps", "at most 2 operands, so that a carry is one digit"),
        ("addition:padded=true", "padded=true is for operands=mixed"),
        ("addition:hints=9:operands=split", "hints for equal and mixed"),
        ("addition:hints=1", "a sum has more digits"),
        ("addition:hints=-1", "or 0 for none"),
        ("multiplication:format=sums", "format is answer or scratchpad"),
        ("multiplication:operands=split", "operands is equal or mixed"),
        ("multiplication:padded=true", "padded=true is for operands=mixed"),
        ("multiplication:second=2:operands=mixed", "with operands=equal"),
        ("multiplication:hints=1", "a product has more digits"),
    ],
)
def test_an_option_without_a_meaning_is_refused(choice: str, message: str) -> None:
    with pytest.raises(ChoiceError, match=message):
        tasks.build(choice)

"""The input laws of the tasks of Huang et al. (2025): what their generators draw, and how often."""

import numpy as np
import pytest
from typer.testing import CliRunner

from rpecli import task as tasks
from rpecli.choice import ChoiceError
from rpecli.cli.app import app
from rpecli.task import END, PAD, SEP

N = 8000


def draw(choice: str, length: int, batch: int = N) -> np.ndarray:
    return tasks.build(choice).draw(np.random.default_rng(length), batch, length)


def assert_uniform(counts: np.ndarray, n: int = N) -> None:
    expected = n / len(counts)
    assert abs(counts - expected).max() < 5 * np.sqrt(expected), counts


@pytest.mark.parametrize(("length", "zeros"), [(1, [0, 1]), (2, [0, 2]), (5, [0, 1, 2, 3, 4, 5]), (6, [0, 1, 2, 4, 5, 6])])
def test_every_number_of_zeros_but_a_tie_is_equally_likely(length: int, zeros: list[int]) -> None:
    counts = np.bincount((draw("binary-majority", length) == 0).sum(axis=1), minlength=length + 1)
    assert np.flatnonzero(counts).tolist() == zeros
    assert_uniform(counts[zeros])


def test_bits_of_a_binary_majority_are_in_random_order() -> None:
    """Of the strings of four with one zero, each place has it equally often."""
    x = draw("binary-majority", 4)
    one_zero = x[x.sum(axis=1) == 3]
    assert_uniform((one_zero == 0).sum(axis=0), len(one_zero))


def test_interleaved_streams_have_no_ties_and_are_independent() -> None:
    streams_BxNxS = draw("binary-majority:streams=3", 6).reshape(N, 2, 3)
    assert (streams_BxNxS[:, 0] == streams_BxNxS[:, 1]).all()  # of two bits, both are the same
    assert_uniform(np.bincount(streams_BxNxS[:, 0] @ [4, 2, 1], minlength=8))


def test_interleaved_streams_have_multiples_of_their_number_as_lengths() -> None:
    task = tasks.build("binary-majority:streams=3")
    assert [length for length in range(8) if task.has_length(length)] == [3, 6]
    assert (task.nearest_length(8), task.nearest_length(2)) == (6, 3)


def test_letters_with_one_most_frequent_are_equally_likely() -> None:
    """Of the 27 strings of three over three letters, the six without a repeat have no answer."""
    x = draw("majority:symbols=3", 3)
    counts = np.bincount(x @ [9, 3, 1], minlength=27)
    repeats = [i for i in range(27) if len({i // 9, i // 3 % 3, i % 3}) < 3]
    assert counts.sum() == counts[repeats].sum()
    assert_uniform(counts[repeats])


def test_distinct_symbols_are_a_uniform_subset_in_random_order() -> None:
    for choice in ("copy:symbols=4:distinct=true", "copy-every:k=1:symbols=4"):
        x = draw(choice, 3)
        assert all(len(set(row)) == 3 for row in x.tolist())
        counts = np.bincount(x @ [16, 4, 1], minlength=64)
        assert_uniform(counts[counts > 0])
        assert (counts > 0).sum() == 24


def test_distinct_symbols_bound_the_length() -> None:
    assert tasks.build("copy:symbols=9:distinct=true").longest() == 9
    assert tasks.build("copy:symbols=9").longest() is None
    with pytest.raises(ValueError, match="length 9 is the longest"):
        draw("copy:symbols=9:distinct=true", 10, 2)
    every = tasks.build("copy-every:k=3:symbols=10")
    assert [length for length in range(20) if every.has_length(length)] == [5, 8, 11]
    assert every.longest() == 11


def test_binary_operands_share_the_digits_in_every_way_and_lead_with_a_one() -> None:
    x = draw("addition:base=2:operands=split", 8)  # a + b, least significant digit first, and the separator: 8
    assert x.shape == (N, 7)
    plus = (x == 2).argmax(axis=1)
    assert_uniform(np.bincount(plus, minlength=6)[1:])
    assert np.bincount(plus, minlength=7)[[0, 6]].tolist() == [0, 0]
    rows = np.arange(N)
    assert (x[rows, plus - 1][plus > 1] == 1).all()
    assert (x[:, -1][plus < 5] == 1).all()
    single = x[plus == 1, 0]
    assert_uniform(np.bincount(single, minlength=2), len(single))


def test_a_sum_has_no_leading_zeros_and_ends_behind_its_last_digit() -> None:
    task = tasks.build("addition:base=2:operands=split:reverse=false")
    x = np.array([[1, 2, 1, 1, 1], [0, 2, 0, 1, 1], [1, 0, 1, 2, 0]])  # 1+111, 0+110, 101+0
    batch = task.layout(x)
    texts = ["> 1 + 1 1 1 | [1] [0] [0] [0] .", "> 0 + 1 1 0 | [1] [1] [0] .", "> 1 0 1 + 0 | [1] [0] [1] ."]
    assert [task.text(batch, row) for row in range(3)] == texts
    assert (batch.tokens_BxT == SEP).argmax(axis=1).tolist() == [6, 6, 6]
    assert (batch.tokens_BxT == END).argmax(axis=1).tolist() == [11, 10, 10]
    assert (batch.tokens_BxT == PAD).sum(axis=1).tolist() == [0, 1, 1]
    assert task.text(task.layout(np.array([[0, 2, 0]]))) == "> 0 + 0 | [0] ."


def test_addition_in_another_base_carries_there() -> None:
    task = tasks.build("addition:base=3")
    assert task.text(task.layout(np.array([[2, 1, 2, 2]]))) == "> 2 1 + 2 2 | [1] [1] [1] ."  # 5 + 8 = 13
    assert task.chance(1) == pytest.approx((1 / 3 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("addition:base=1", "base is 2 to 1000"),
        ("addition:operands=unequal", "operands is equal, split or mixed"),
        ("majority:symbols=27", "symbols is 2 to 26"),
        ("binary-majority:streams=0", "streams is at least 1"),
        ("copy-every:k=0", "k is 1 to the number of symbols"),
    ],
)
def test_an_option_without_a_meaning_is_refused(choice: str, message: str) -> None:
    with pytest.raises(ChoiceError, match=message):
        tasks.build(choice)


def test_a_length_without_problems_is_refused_with_the_nearest() -> None:
    result = CliRunner().invoke(app, ["train", "--task", "binary-majority:streams=3", "--length", "50"])
    assert result.exit_code == 2
    assert "--length: 50: binary-majority:streams=3 has no problem of length 50: write length: 48" in " ".join(
        result.stderr.split()
    )

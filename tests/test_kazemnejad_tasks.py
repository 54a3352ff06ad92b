"""The input laws and formats of the tasks of Kazemnejad et al. (2023)."""

import importlib

import numpy as np
import pytest

from rpecli import task as tasks
from rpecli.task import Batch


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def assert_uniform(counts: np.ndarray) -> None:
    expected = counts.sum() / len(counts)
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)


def text(choice: str, x: list[int]) -> str:
    task = tasks.build(choice)
    return task.text(task.layout(np.array([x])))


FORMATS = [
    ("counting-copy:format=twice", [3, 3], "> 3 3 | [3] [3] [3] [3] ."),
    ("counting-copy:format=replace", [3, 5, 3, 3], "> 3 5 : 3 3 | [5] [5] ."),
    ("summation:format=scratchpad", [8, 1, 3], "> 8 + 1 + 3 | [8] [9] [2] ."),
    ("summation:format=steps", [8, 1, 3], "> 8 + 1 + 3 | [8] [8] [1] [9] [3] [2] ."),
    ("summation:modulus=0", [8, 1, 3], "> 8 + 1 + 3 | [1] [2] ."),
    ("summation:modulus=7", [8, 1, 3], "> 8 + 1 + 3 | [5] ."),
    ("polynomial:format=scratchpad", [-1, -2, 2, 3, 3], "> x = -1 : -2 * x ** 2 + 3 * x ** 3 | [8] [5] ."),
    ("polynomial:format=steps", [-1, -2, 2, 3, 3], "> x = -1 : -2 * x ** 2 + 3 * x ** 3 | [8] [8] [7] [5] ."),
    ("lego:format=scratchpad", [5, 3, 0, 0, 1, 0, 1], "> d = + f , f = - 1 ? d | [f] [-] [d] [-] ."),
    ("duplicate:separator=true:symbols=100", [40, 2], "> 40 2 | [40] [2] [;] [40] [2] ."),
    ("reverse:format=both", [4, 2], "> 4 2 | [2] [4] [;] [4] [2] ."),
    ("reverse:format=twice", [4, 2], "> 4 2 | [2] [4] [;] [2] [4] ."),
]


@pytest.mark.parametrize(("choice", "x", "expected"), FORMATS)
def test_every_format_is_as_described(choice: str, x: list[int], expected: str) -> None:
    assert text(choice, x) == expected


def test_answers_of_unlike_length_are_padded_behind_the_end() -> None:
    task = tasks.build("summation:modulus=0")
    batch = task.layout(np.array([[1, 2], [9, 9]]))
    assert [task.text(batch, row) for row in (0, 1)] == ["> 1 + 2 | [3] .", "> 9 + 9 | [1] [8] ."]
    assert batch.tokens_BxT[0, -1] == tasks.PAD
    assert batch.answer_mask_BxT.sum(axis=1).tolist() == [1, 2]


def test_rows_of_unlike_length_are_the_same_as_arrays_where_they_are_alike() -> None:
    prompt, answer = rng().integers(9, size=(4, 5)), rng(1).integers(9, size=(4, 3))
    assert_same(tasks.prompt_answer_rows(prompt.tolist(), answer.tolist()), tasks.prompt_answer(prompt, answer))
    lengths = np.array([2, 1, 2, 2])
    short = [row[:n] for row, n in zip(answer.tolist(), lengths, strict=True)]
    assert_same(tasks.prompt_answer_rows(prompt.tolist(), short), tasks.prompt_answer(prompt, answer, lengths))


def assert_same(one: Batch, other: Batch) -> None:
    assert np.array_equal(one.tokens_BxT, other.tokens_BxT)
    assert np.array_equal(one.answer_mask_BxT, other.answer_mask_BxT)


def test_a_counted_symbol_and_its_replacement_are_uniform_and_differ() -> None:
    x = tasks.build("counting-copy:format=replace:symbols=4").draw(rng(), 12_000, 3)
    assert (x[:, 2:] == x[:, :1]).all()
    assert_uniform(np.delete(np.bincount(4 * x[:, 0] + x[:, 1], minlength=16), [0, 5, 10, 15]))
    assert (x[:, 0] != x[:, 1]).all()


def test_digits_of_a_sum_are_never_zero() -> None:
    assert_uniform(np.bincount(tasks.build("summation").draw(rng(), 9000, 2)[:, 1], minlength=10)[1:])
    assert tasks.build("summation").draw(rng(), 500, 20).min() == 1


def test_numbers_in_a_polynomial_are_uniform() -> None:
    x = tasks.build("polynomial").draw(rng(), 14_000, 2)
    for column, low, high in ((0, -2, 2), (1, -3, 3), (3, -3, 3), (2, 0, 3), (4, 0, 3)):
        assert_uniform(np.bincount(x[:, column] - low, minlength=high - low + 1))


@pytest.mark.parametrize(("length", "places"), [(2, {1}), (3, {2}), (4, {2, 3}), (7, {4, 5, 6})])
def test_lego_asks_for_the_second_half_of_the_chain(length: int, places: set[int]) -> None:
    task = tasks.build("lego")
    x = task.draw(rng(), 6000, length)
    assert set(x[:, -1].tolist()) == places
    assert_uniform(np.bincount(x[:, -1] - min(places)))
    assert all(len(set(row)) == length for row in x[:, :length].tolist()), "a name stands for one variable"
    assert (x[:, 2 * length : 3 * length] == np.arange(length)).all()
    assert [task.has_length(n) for n in (1, 2, 26, 27)] == [False, True, True, False]


def test_permuted_clauses_stand_in_every_order() -> None:
    x = tasks.build("lego:permuted=true").draw(rng(), 12_000, 3)
    orders, counts = np.unique(x[:, 6:9], axis=0, return_counts=True)
    assert len(orders) == 6
    assert_uniform(counts)


def test_the_grammar_of_scan_has_its_published_numbers_of_commands() -> None:
    scan = module("scan")
    assert len(scan.phrases()) == 102
    assert sum(len(rows) for rows in scan.commands().values()) == 20_910
    assert max(scan.commands()) == 48
    task = tasks.build("scan")
    assert task.nearest_length(47) == 40
    x = task.draw(rng(), 200, 33)
    batch = task.layout(x)
    assert set(batch.answer_mask_BxT.sum(axis=1).tolist()) == {33}


def test_commands_of_a_length_are_uniform() -> None:
    rows = module("scan").commands()[1]
    assert_uniform(np.unique(tasks.build("scan").draw(rng(), 1000 * len(rows), 1), axis=0, return_counts=True)[1])


def module(name: str):  # type: ignore[no-untyped-def]
    tasks.build(name)
    return importlib.import_module(type(tasks.build(name)).__module__)


FUNCTIONS = range(520, 530)


@pytest.mark.parametrize("length", [1, 2, 9, 35])
def test_a_problem_of_pcfg_has_its_number_of_functions_and_short_enough_answers(length: int) -> None:
    task = tasks.build("pcfg:longest_answer=40")
    x = task.draw(rng(), 300, length)
    assert (np.isin(x, FUNCTIONS).sum(axis=1) == length).all()
    binary = np.isin(x, range(526, 530)).sum(axis=1)
    assert ((x == 530).sum(axis=1) == binary).all(), "a comma for every function of two arguments"
    assert task.layout(x).answer_mask_BxT.sum(axis=1).max() <= 40


def test_functions_and_strings_of_pcfg_are_uniform() -> None:
    x = tasks.build("pcfg:symbols=4").draw(rng(), 20_000, 1)
    assert_uniform(np.bincount(x[:, 0] - 4))
    unary = x[x[:, 0] < 10, 1:]
    assert_uniform(np.bincount((unary >= 0).sum(axis=1))[2:])
    assert_uniform(np.bincount(unary[unary >= 0]))


def test_arguments_of_pcfg_split_the_functions_uniformly() -> None:
    x = tasks.build("pcfg:symbols=4").draw(rng(), 30_000, 3)
    binary = x[x[:, 0] >= 10]
    ends = [_first_argument(row) for row in binary.tolist()]
    assert_uniform(np.bincount(ends))


def _first_argument(row: list[int]) -> int:
    """The number of functions in the first argument of a binary function."""
    strings, functions = 1, 0  # strings that the first argument still needs
    for word in row[1:]:
        if word == 14:
            strings -= 1
        elif word >= 4:
            functions, strings = functions + 1, strings + (word >= 10)
        if not strings:
            return functions
    raise AssertionError(row)


def test_numbers_to_sort_have_two_to_four_digits() -> None:
    x = tasks.build("sort-numbers").draw(rng(), 5000, 4)
    assert (x.min() >= 10, x.max() <= 9999) == (True, True)
    assert_uniform(np.bincount(x.ravel() // 1000)[1:])


@pytest.mark.parametrize(
    "choice",
    ["counting-copy:format=thrice", "counting-copy:symbols=1", "summation:modulus=1", "polynomial:format=bit",
     "lego:format=steps", "pcfg:symbols=521", "pcfg:longest_answer=3", "summation:modulus=0:format=steps"],
)  # fmt: skip
def test_options_that_make_no_task_are_refused(choice: str) -> None:
    with pytest.raises(ValueError, match=choice.rpartition(":")[2].partition("=")[0]):
        tasks.build(choice)

"""The input laws of the tasks of Deletang et al. (2023), and numbers of hundreds of bits."""

from math import isqrt

import numpy as np
import pytest

from rpecli import bits, brackets
from rpecli import task as tasks
from rpecli.config import suites
from rpecli.describe import task_card


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def assert_uniform(counts: np.ndarray) -> None:
    expected = counts.sum() / len(counts)
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 64, 501, 1200])
def test_numbers_of_any_size_become_bits_and_come_back(length: int) -> None:
    bits_BxN = rng(length).integers(2, size=(20, length))
    numbers = bits.numbers(bits_BxN)
    assert numbers == [sum(int(bit) << place for place, bit in enumerate(row)) for row in bits_BxN]
    assert np.array_equal(bits.bits(numbers, length), bits_BxN)


@pytest.mark.parametrize("name", ["binary-addition", "binary-multiplication"])
def test_operands_of_a_thousand_bits_are_exact(name: str) -> None:
    """By big-endian text, as Python reads numbers."""
    task = tasks.build(f"{name}:padded=false")
    batch = task.sample(rng(), 8, 1001)
    for row in range(8):
        prompt, answer = task.text(batch, row).removesuffix(" .").split(" | ")
        text = prompt.removeprefix("> ").replace(" ", "")
        sign = "+" if "+" in text else "*"
        a, b = (int(part[::-1], 2) for part in text.split(sign))
        written = answer.replace("[", "").replace("]", "").split(" ")
        assert written == [*f"{a + b if sign == '+' else a * b:b}"[::-1], "end"]


def test_the_root_of_a_number_of_a_thousand_bits_is_exact() -> None:
    task = tasks.build("square-root")
    x = task.draw(rng(), 8, 1001)
    batch = task.layout(x)
    roots = (batch.tokens_BxT[batch.answer_mask_BxT] - tasks.SPECIAL).reshape(8, 501)
    for row in range(8):
        assert int("".join(map(str, roots[row])), 2) == isqrt(int("".join(map(str, x[row])), 2))


@pytest.mark.parametrize("name", ["binary-addition", "binary-multiplication"])
def test_operands_are_uniform_over_what_is_not_zero_and_so_is_the_place_between_them(name: str) -> None:
    x = tasks.build(name).draw(rng(), 24_000, 6)
    place_B = (x == 2).argmax(axis=1)
    assert ((x == 2).sum(axis=1) == 1).all()
    assert_uniform(np.bincount(place_B, minlength=5)[1:5])
    numbers = bits.numbers(x[place_B == 2][:, 3:])
    assert_uniform(np.bincount(numbers, minlength=8)[1:])
    assert 0 not in numbers
    assert 0 not in bits.numbers(x[place_B == 2][:, :2])


def test_a_root_is_never_drawn_from_zero() -> None:
    counts = np.bincount(bits.numbers(tasks.build("square-root").draw(rng(), 14_000, 3)), minlength=8)
    assert counts[0] == 0
    assert_uniform(counts[1:])


def test_brackets_split_uniformly_and_draw_every_operator_equally_often() -> None:
    x = brackets.draw(rng(), 20_000, 8, 5, 3)
    text = ["".join(brackets.word(symbol, 5) for symbol in row) for row in x.tolist()]
    assert all(row[0] == "(" and row[-1] == ")" for row in text)
    left = [next(n for n in range(1, 5) if _is_expression(row[1 : 1 + n]) and row[1 + n] in "+-*") for row in text]
    assert_uniform(np.bincount(left)[1:5])  # 8 = ( 1..4 o 4..1 )
    operators = [row[1 + n] for row, n in zip(text, left, strict=True)]
    assert_uniform(np.unique(operators, return_counts=True)[1])
    assert "*" not in "".join(brackets.word(symbol, 5) for symbol in brackets.draw(rng(), 500, 30, 5, 2).ravel().tolist())


def _is_expression(text: str) -> bool:
    try:
        eval(text)
    except SyntaxError:
        return False
    return True


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 9, 40, 200])
def test_expressions_have_their_value_in_python(length: int) -> None:
    for row in brackets.draw(rng(length), 30, length, 5, 3).tolist():
        assert brackets.value(row, 5) == eval("".join(brackets.word(symbol, 5) for symbol in row)) % 5


def test_nested_brackets_have_no_limit_of_depth() -> None:
    depth = 5000
    zero, plus, opening, closing = 0, 5 + brackets.PLUS, 5 + brackets.OPEN, 5 + brackets.CLOSE
    assert brackets.value([*[opening, 1, plus] * depth, zero, *[closing] * depth], 5) == depth % 5


def test_an_equation_has_one_solution_and_it_is_uniform() -> None:
    task = tasks.build("solve-equation")
    batch = task.sample(rng(), 10_000, 9)
    assert_uniform(np.bincount(batch.tokens_BxT[batch.answer_mask_BxT] - tasks.SPECIAL, minlength=5))
    assert ((batch.tokens_BxT == task.symbols - 2 + tasks.SPECIAL).sum(axis=1) == 1).all()


def test_a_long_product_does_not_overflow() -> None:
    x = np.full((1, 999), 4)
    x[:, 1::2] = 7
    assert tasks.build("modular-arithmetic").text(tasks.build("modular-arithmetic").layout(x)).endswith("| [1] .")  # 4^500


def test_an_even_expression_without_brackets_is_cut() -> None:
    task = tasks.build("modular-arithmetic")
    assert [task.draw(rng(), 3, length).shape[1] for length in (1, 2, 3, 8)] == [1, 1, 3, 7]


def test_the_bottom_of_a_stack_is_never_passed_and_its_length_is_uniform() -> None:
    task = tasks.build("stack-manipulation")
    x = task.draw(rng(), 12_000, 7)
    assert_uniform(np.bincount((x < 2).sum(axis=1), minlength=7)[1:])
    assert_uniform(np.bincount(x[x >= 2] - 2))
    assert task.text(task.layout(np.array([[1, 2, 2, 2, 3]]))) == "> 1 pop pop pop push0 | [0] [end] [0] [0] [0] [0] ."


def test_a_mask_hides_every_place_equally_often() -> None:
    x = tasks.build("missing-duplicate").draw(rng(), 12_000, 7)
    assert (x[:, -1] == 3).all()
    assert_uniform(np.bincount((x == 2).argmax(axis=1), minlength=6))


@pytest.mark.parametrize("choice", ["solve-equation", "binary-addition", "binary-multiplication", "missing-duplicate"])
def test_lengths_without_problems_are_said(choice: str) -> None:
    task = tasks.build(choice)
    shortest = 2 if choice == "missing-duplicate" else 3
    assert [task.has_length(length) for length in (shortest - 1, shortest, 500)] == [False, True, True]
    assert task.nearest_length(1) == shortest


@pytest.mark.parametrize("choice", ["modular-arithmetic:modulus=1", "solve-equation:modulus=11", "reverse:format=thrice"])
def test_options_that_make_no_task_are_refused(choice: str) -> None:
    with pytest.raises(ValueError, match=choice.partition(":")[2].partition("=")[0]):
        tasks.build(choice)


@pytest.mark.parametrize("choice", suites.tasks("chomsky"))
def test_the_card_of_a_formal_task_has_its_level(choice: str) -> None:
    level = task_card.card(choice).facts["Level"].partition(" (")[0]
    assert level in ("regular", "deterministic context-free", "context-sensitive")


def test_the_suite_has_the_levels_of_the_paper() -> None:
    levels = [task_card.card(choice).facts["Level"].partition(" (")[0] for choice in suites.tasks("chomsky")]
    assert [levels.count(level) for level in dict.fromkeys(levels)] == [4, 4, 7]

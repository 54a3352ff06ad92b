"""Every task: its worked examples, its input law, its format and its chance level."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rpecli import task as tasks
from rpecli.choice import ChoiceError
from rpecli.config import recipe
from rpecli.task import BOS, END, MARKS, PAD, SEP, SPECIAL, Batch, Task

OPTIONS = ["sort:symbols=8:distinct=false", "sort:symbols=9", "recall:symbols=5", "copy:symbols=3", "parity:format=bit"]
OPTIONS += ["parity:format=scratchpad", "parity:law=count", "parity:format=bit:law=count", "parity:format=scratchpad:law=count"]
CHOICES = ["addition", "copy", "parity", "recall", "reverse", "sort", *OPTIONS]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def answers(batch: Batch) -> np.ndarray:
    """The answer symbols; every sequence of a task and length has the same number of them."""
    return (batch.tokens_BxT[batch.answer_mask_BxT] - SPECIAL).reshape(len(batch.tokens_BxT), -1)


def prompts(batch: Batch) -> np.ndarray:
    symbols = (batch.tokens_BxT >= SPECIAL) & ~batch.answer_mask_BxT
    return (batch.tokens_BxT[symbols] - SPECIAL).reshape(len(batch.tokens_BxT), -1)


def test_the_defaults_of_a_task_are_keys_of_a_recipe(task_name: str) -> None:
    defaults = tasks.build(task_name).defaults
    assert recipe.task_defaults(task_name) == defaults
    assert recipe.Settings(**defaults)
    assert tasks.build(task_name).has_length(defaults.get("length", 1))


def test_a_task_has_the_lengths_up_to_its_longest() -> None:
    few, endless = tasks.build("sort:symbols=20"), tasks.build("copy")
    assert (few.longest(), endless.longest()) == (19, None)
    assert [few.has_length(length) for length in (1, 19, 20)] == [True, True, False]
    assert endless.has_length(10**6)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("length", [1, 2, 3, 6, 8])
def test_chance_is_what_the_best_blind_guess_gets(choice: str, length: int) -> None:
    """For each place the likeliest symbol of one half of a large sample, scored on the other half."""
    task, n = tasks.build(choice), 30_000
    answer_NxA = answers(task.sample(rng(length), 2 * n, length))
    guess_A = [np.bincount(place).argmax() for place in answer_NxA[:n].T]
    accuracy_A = (answer_NxA[n:] == guess_A).mean(axis=0)
    chance = task.chance(length)
    assert chance == pytest.approx(accuracy_A.mean(), abs=4 * np.sqrt(chance * (1 - chance) / n) + 1e-9)


def running_parity(bits: list[int]) -> list[int]:
    return [sum(bits[: i + 1]) % 2 for i in range(len(bits))]


def behind_marker(symbols: list[int]) -> list[int]:
    return [symbols[symbols.index(16) + 1]]


ANSWER: dict[str, Callable[[list[int]], list[int]]] = {
    "copy": list,
    "reverse": lambda symbols: symbols[::-1],
    "sort": sorted,
    "sort:distinct=false": sorted,
    "recall": behind_marker,
    "parity": running_parity,
    "parity:format=scratchpad": running_parity,
    "parity:format=bit": lambda bits: [sum(bits) % 2],
}


SEQUENCE = {
    "copy": 2 * 9 + 3,
    "reverse": 2 * 9 + 3,
    "sort": 2 * 9 + 3,
    "recall": 9 + 1 + 4,
    "parity": 2 * 9 + 1,
    "parity:format=scratchpad": 2 * 9 + 3,
    "parity:format=bit": 9 + 4,
}


@pytest.mark.parametrize("choice", SEQUENCE)
def test_a_problem_of_nine_has_its_number_of_tokens(choice: str) -> None:
    assert tasks.build(choice).sequence(9) == SEQUENCE[choice]


TEXT = {
    "parity:format=bit": "> 1 1 0 1 | [1] .",
    "parity:format=scratchpad": "> 1 1 0 1 | [1] [0] [0] [1] .",
    "parity:law=count": "> 1 [1] 1 [0] 0 [0] 1 [1]",
}


@pytest.mark.parametrize("choice", TEXT)
def test_every_format_of_parity(choice: str) -> None:
    task = tasks.build(choice)
    assert task.text(task.layout(np.array([[1, 1, 0, 1]]))) == TEXT[choice]


def test_special_tokens_have_marks_and_symbols_follow_them() -> None:
    assert sorted(MARKS) == [PAD, BOS, SEP, END] == list(range(SPECIAL))
    assert tasks.build("copy:symbols=3").vocabulary == SPECIAL + 3


@pytest.mark.parametrize("choice", ["copy", "reverse", "sort:symbols=8:distinct=false", "parity"])
def test_all_symbols_are_equally_likely_and_places_are_independent(choice: str) -> None:
    task = tasks.build(choice)
    x = task.draw(rng(5), 20_000, 2)
    counts = np.bincount(x[:, 0] * task.symbols + x[:, 1], minlength=task.symbols**2)
    expected = 20_000 / task.symbols**2
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_sort_without_repeats_draws_uniform_subsets_in_random_order() -> None:
    task = tasks.build("sort:symbols=4")
    x = task.draw(rng(), 24_000, 3)
    assert all(len(set(row)) == 3 for row in x.tolist())
    counts = np.unique(x, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_sort_without_repeats_has_a_longest_problem() -> None:
    """Of all symbols, the sorted order would be known without looking."""
    task = tasks.build("sort:symbols=8")
    assert task.longest() == 7
    assert sorted(answers(task.sample(rng(), 1, 7))[0].tolist()) == answers(task.sample(rng(), 1, 7))[0].tolist()
    assert task.chance(8) == pytest.approx(1)
    assert task.chance(7) < 1
    assert tasks.build("sort:symbols=8:distinct=false").longest() is None


@pytest.mark.parametrize("length", [1, 2, 7])
def test_parity_by_count_has_every_number_of_ones_equally_often(length: int) -> None:
    ones = tasks.build("parity:law=count").draw(rng(), 8000, length).sum(axis=1)
    counts = np.bincount(ones, minlength=length + 1)
    assert abs(counts - 8000 / (length + 1)).max() < 5 * np.sqrt(8000 / (length + 1))


def test_parity_by_count_shuffles_its_ones() -> None:
    first, last = tasks.build("parity:law=count").draw(rng(), 8000, 6)[:, [0, 5]].T
    assert first.mean() == pytest.approx(0.5, abs=0.03)
    assert last.mean() == pytest.approx(0.5, abs=0.03)


def test_recall_has_one_marker_anywhere_but_at_the_end() -> None:
    x = tasks.build("recall:symbols=5").draw(rng(), 8000, 4)
    is_marker = x == 5
    assert x.shape == (8000, 5)
    assert (is_marker.sum(axis=1) == 1).all()
    places = np.bincount(is_marker.argmax(axis=1), minlength=5)
    assert places[4] == 0
    assert abs(places[:4] - 2000).max() < 5 * np.sqrt(2000)
    assert np.bincount(x[~is_marker]).min() > 5000


REFUSED = {
    "srot": ["unknown task 'srot'", "did you mean sort"],
    "sort:distict=true": ["task sort", "'distict'", "did you mean distinct?"],
    "sort:distinct=yes": ["distinct must be true or false", "'yes'"],
    "copy:symbols=many": ["symbols must be a whole number", "'many'"],
    "parity:format=byte": ["running, bit or scratchpad", "'byte'"],
    "parity:law=fair": ["iid or count", "'fair'"],
}


@pytest.mark.parametrize("choice", REFUSED)
def test_a_wrong_task_is_refused_with_what_to_write_instead(choice: str) -> None:
    with pytest.raises(ChoiceError) as error:
        tasks.build(choice)
    assert all(word in str(error.value) for word in REFUSED[choice]), str(error.value)


OWN = '''"""Answer with the first symbol."""
from rpecli.task import Task, prompt_answer
class First(Task):
    symbols = 3
    def draw(self, rng, batch, length):
        return rng.integers(3, size=(batch, length))
    def layout(self, x_BxN):
        return prompt_answer(x_BxN, x_BxN[:, :1])
'''


def test_a_task_of_ones_own_works_by_path(tmp_path: Path) -> None:
    path = tmp_path / "first.py"
    path.write_text(OWN)
    task: Task = tasks.build(str(path))
    assert task.text(task.layout(np.array([[2, 0, 1]]))) == "> 2 0 1 | [2] ."
    assert task.sequence(4) == 8
    assert task.chance(4) == pytest.approx(1 / 3)
    assert task.longest() is None

"""Words of formal languages: every word of a length is equally likely, and lengths without words are known."""

import string

import numpy as np
import pytest
from solvers.languages import SOLVERS

from rpecli import task as tasks
from rpecli.choice import ChoiceError
from rpecli.language import Regular

LANGUAGES = [choice for choice in SOLVERS if choice not in ("dyck:depth=3:kinds=3", "boolean:arity=5")]
LENGTH = {  # of words to count, where 6 would be many or none
    "regular": 7,
    "regular:language=ab-d-bc": 4,
    "regular:language=012-02": 4,
    "boolean": 5,
    "boolean:arity=2": 5,
    "shuffle": 4,
    "dyck:kinds=2": 4,
    "anbn:letters=4": 4,
}


def words_of(choice: str, length: int) -> list[tuple[int, ...]]:
    """All words of a length by the solver: prefixes that live, or strings that it does not reject."""
    task = tasks.build(choice)
    strings = [(symbol,) for symbol in range(task.symbols)]
    for _ in range(length - 1):
        strings = [(*x, s) for x in strings for s in range(task.symbols) if not isinstance(task, Regular) or _lives(choice, x, s)]
    return [x for x in strings if _allowed(choice, x, ".")]


def _lives(choice: str, x: tuple[int, ...], symbol: int) -> bool:
    return _allowed(choice, x, tasks.build(choice).word(symbol))


def _allowed(choice: str, x: tuple[int, ...], word: str) -> bool:
    task = tasks.build(choice)
    try:
        return word in SOLVERS[choice]([task.word(symbol) for symbol in x])[-1]
    except (AssertionError, IndexError):
        return False


@pytest.mark.parametrize("choice", LANGUAGES)
def test_words_are_uniform_among_all_of_a_length(choice: str) -> None:
    task = tasks.build(choice)
    length = task.nearest_length(LENGTH.get(choice, 6))
    words = words_of(choice, length)
    n = 40 * len(words)
    drawn, counts = np.unique(task.draw(np.random.default_rng(1), n, length), axis=0, return_counts=True)
    assert [tuple(x) for x in drawn.tolist()] == words
    assert ((counts - 40) ** 2 / 40).sum() < len(words) + 5 * np.sqrt(2 * len(words))  # chi-squared


@pytest.mark.parametrize("choice", LANGUAGES)
def test_a_language_knows_the_lengths_of_its_words(choice: str) -> None:
    task = tasks.build(choice)
    for length in range(1, 5):
        assert task.has_length(length) == bool(words_of(choice, length)), length
        if isinstance(task, Regular):
            assert task.automaton.words(length) == len(words_of(choice, length))
    assert not task.has_length(0)


@pytest.mark.parametrize("choice", ["tomita", "tomita:number=2", "periodic:word=abab", "anbn:letters=3"])
def test_the_only_word_of_a_length_is_evaluated_once(choice: str) -> None:
    task = tasks.build(choice)
    batch = task.fixed_set(12, 500)
    assert batch is not None
    assert len(batch.tokens_BxT) == 1
    assert tasks.build("tomita:number=4").fixed_set(12, 500) is None


@pytest.mark.parametrize(
    ("choice", "length", "chance"),
    [
        ("tomita", 5, 1.0),
        ("periodic", 6, 1 / 2),
        ("periodic:word=abab", 8, 1 / 2),
        ("anbn:letters=4", 8, 1 / 4),
        ("boolean", 7, 6 / 7),
        ("dyck", 4, 1 - 3 / 8),
        ("dyck:depth=1", 4, 1 / 2),
        ("dyck:kinds=2", 4, 3 / 8),
        ("tomita:number=4", 2, 7 / 8),
    ],
)
def test_chance_is_the_share_of_the_most_frequent_set(choice: str, length: int, chance: float) -> None:
    assert tasks.build(choice).chance(length) == pytest.approx(chance)


def test_a_long_word_is_drawn_in_a_moment_and_is_one() -> None:
    for choice in ("tomita:number=5", "dyck", "dyck:kinds=2", "shuffle", "boolean", "boolean:arity=5"):
        task = tasks.build(choice)
        batch = task.sample(np.random.default_rng(0), 2, 512)
        assert batch.sets_BxT is not None
        assert (batch.sets_BxT[:, -1] >> 3 & 1).all()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("tomita:number=8", "number is 1 to 7"),
        ("regular:language=abc", "language is abcde"),
        ("periodic:word=a-b", "letters and digits"),
        ("dyck:depth=-1", "depth is the greatest"),
        ("dyck:kinds=30", "kinds is 1 to 29"),
        ("anbn:letters=1", "letters is 2 to 26"),
        ("boolean:arity=6", "arity is 2 to 5"),
    ],
)
def test_an_option_without_a_meaning_is_refused(choice: str, message: str) -> None:
    with pytest.raises(ChoiceError, match=message):
        tasks.build(choice)


def test_a_word_of_too_many_letters_is_refused() -> None:
    letters = string.ascii_letters + string.digits
    assert tasks.build(f"periodic:word={letters[:59]}").sample(np.random.default_rng(0), 1, 59).sets_BxT is not None
    with pytest.raises(ChoiceError, match="word has at most 59 different letters and digits"):
        tasks.build(f"periodic:word={letters[:60]}")

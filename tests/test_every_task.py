"""What holds for every task and each of its variants: description, sequences, answers, chance, the same strings everywhere.

A new task needs two worked examples in its file, a solver of its own under tests/solvers/ (plainly written, from the definition,
without the task's code) and, where a public generator exists, rows of what that gave under tests/golden_tasks/.
"""

import importlib
import inspect
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rpecli import catalog, data
from rpecli import task as tasks
from rpecli.config import recipe
from rpecli.describe import listing
from rpecli.proofs import task as proofs
from rpecli.run.directory import family_of
from rpecli.task import BOS, END, PAD, SEP, SPECIAL, Batch, Task

HERE = Path(__file__).parent
OPTIONS = ["sort:symbols=8:distinct=false", "sort:symbols=9", "recall:symbols=5", "copy:symbols=3"]
OPTIONS += ["parity:format=scratchpad", "parity:law=count", "parity:format=scratchpad:law=count"]
Answer = Sequence[str] | Sequence[set[str]]
SOLVERS: dict[str, Callable[[list[str]], Answer]] = {}  # from the words of a prompt to the words, or sets, of the answer
for path in sorted((HERE / "solvers").glob("[a-z]*.py")):
    SOLVERS |= importlib.import_module(f"solvers.{path.stem}").SOLVERS
CHOICES = list(dict.fromkeys([*listing.task_choices(), *OPTIONS, *SOLVERS]))
GOLDEN = [
    json.loads(line) for path in sorted((HERE / "golden_tasks").glob("*.jsonl")) for line in path.read_text().splitlines() if line
]
FINGERPRINTS = json.loads((HERE / "golden_tasks" / "fingerprints.json").read_text())


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def lengths_of(task: Task, *wanted: int) -> list[int]:
    """The lengths nearest to these that have problems."""
    return sorted({task.nearest_length(length) for length in wanted})


def prompt_words(task: Task, batch: Batch, row: int) -> list[str]:
    """The words that are read: all symbols where sets are predicted, else those that are not part of the answer."""
    tokens, answer = batch.tokens_BxT[row], batch.answer_mask_BxT[row]
    shown = (tokens >= SPECIAL) & (~answer | task.predicts_sets)
    return task.words(tokens[shown].tolist())


def answer_words(task: Task, batch: Batch, row: int) -> Answer:
    answer = batch.answer_mask_BxT[row]
    if batch.sets_BxT is None:
        return task.words(batch.tokens_BxT[row][answer].tolist())
    return [{w for w in text.strip("{}").split(" ") if w} for text in task.set_words(batch.sets_BxT[row][answer].tolist())]


@pytest.mark.parametrize("name", catalog.names("tasks"))
def test_a_task_is_described(name: str) -> None:
    path = catalog.find("tasks", name)
    first, *rest = (catalog.load(path).__doc__ or "").splitlines()
    assert first.rstrip()[-1:] in ".:"
    assert first[0].isupper()
    for part in ("Format", "Input law", "Chance", "Why"):
        assert any(line.startswith(part) for line in rest), f"{path} does not say its {part}"


@pytest.mark.parametrize("name", catalog.names("tasks"))
def test_a_task_has_two_worked_examples_a_title_a_family_and_known_defaults(name: str) -> None:
    task = tasks.build(name)
    assert len(task.examples) == 2
    for symbols, text in task.examples:
        assert task.text(task.layout(np.array([symbols]))) == text
    assert task.title
    assert re.fullmatch("[a-z]+( [a-z]+)?", task.family)
    assert task.family != "other"
    assert family_of(name + ":symbols=9") == task.family
    assert recipe.Settings(**task.defaults)
    for choice in (name, *(f"{name}:{options}" for options in task.variants)):
        built = tasks.build(choice)
        assert built.has_length(built.nearest_length(recipe.task_defaults(choice).get("length", 16)))
    assert set(task.expressible) <= {"", *task.variants}, "a prediction is about the task as it is or one of its variants"


@pytest.mark.parametrize("choice", CHOICES)
def test_a_draw_is_a_function_of_its_generator_alone(choice: str) -> None:
    task = tasks.build(choice)
    for length in lengths_of(task, 1, 2, 5, 8):
        assert proofs.same_twice(task, length)
        assert np.array_equal(first := task.draw(rng(), 6, length), tasks.build(choice).draw(rng(), 6, length))
        assert len(first) == 6


@pytest.mark.parametrize("choice", CHOICES)
def test_a_sequence_begins_once_ends_with_its_answer_and_is_padded_behind(choice: str) -> None:
    task = tasks.build(choice)
    for length in lengths_of(task, 1, 2, 5, 8):
        batch = task.sample(rng(), 50, length)
        tokens, answer = batch.tokens_BxT, batch.answer_mask_BxT
        assert tokens.shape[1] <= task.sequence(length)
        assert tokens.shape == answer.shape
        assert (tokens.dtype, answer.dtype) == (np.int64, bool)
        assert proofs.out_of_range(task, batch) is None
        assert proofs.wrong_order(task, batch) is None
        assert proofs.unmarked(batch) is None
        assert proofs.wrong_answers(batch) is None


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if tasks.build(choice).predicts_sets])
def test_sets_have_a_vocabulary_that_fits_in_a_number(choice: str) -> None:
    task = tasks.build(choice)
    assert task.vocabulary <= 62
    for length in lengths_of(task, 2, 5, 12):
        batch = task.sample(rng(), 30, length)
        assert batch.sets_BxT is not None
        assert proofs.wrong_answers(batch) is None


@pytest.mark.parametrize("choice", CHOICES)
def test_a_layout_is_a_function_of_its_input_and_leaves_it_as_it_was(choice: str) -> None:
    task = tasks.build(choice)
    x = task.draw(rng(), 4, task.nearest_length(5))
    assert np.array_equal(task.layout(x).tokens_BxT, task.layout(x).tokens_BxT)
    assert proofs.layout_changes(task, x) is None


@pytest.mark.parametrize("choice", CHOICES)
def test_chance_is_what_the_best_blind_guess_gets(choice: str) -> None:
    """The likeliest answer at each place of one half of a sample, scored on the other half."""
    task = tasks.build(choice)
    if task.problems() is not None:
        pytest.skip("is measured on the few problems that there are")
    for length in lengths_of(task, 1, 6):
        n = 4000
        chance, measured = task.chance(length), tasks.measured_chance(task, length, 2 * n)
        assert 0 < chance <= 1
        assert chance == pytest.approx(measured, abs=proofs.chance_tolerance(chance, n))


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if choice in SOLVERS])
def test_answers_are_those_of_a_solver_written_from_the_definition(choice: str) -> None:
    task = tasks.build(choice)
    for length in lengths_of(task, 1, 2, 3, 7, 16, 33):
        batch = task.sample(rng(length), 20, length)
        for row in range(20):
            prompt = prompt_words(task, batch, row)
            assert list(answer_words(task, batch, row)) == list(SOLVERS[choice](prompt)), task.text(batch, row)


def test_every_task_has_a_solver() -> None:
    drawn = [choice for choice in listing.task_choices() if not reads_files(choice)]
    assert [choice for choice in drawn if choice not in SOLVERS] == []


def reads_files(choice: str) -> bool:
    """Whether a task reads its problems, and does not make them."""
    return "path" in inspect.signature(type(tasks.build(choice)).__init__).parameters


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row['task']}-{'.'.join(map(str, row['x']))[:30]}")
def test_answers_are_those_of_public_generators(row: dict[str, Any]) -> None:
    """`x` is the input as `layout` takes it; `answer` the words, or the sets of words, that the code named in `source` gave."""
    task = tasks.build(row["task"])
    answer = answer_words(task, task.layout(np.array([row["x"]])), 0)
    assert [sorted(words) if isinstance(words, set) else words for words in answer] == row["answer"]


@pytest.mark.parametrize("choice", listing.task_choices())
def test_a_seed_gives_the_same_strings_on_every_platform(choice: str) -> None:
    """Regenerate with `python tests/test_every_task.py` where a task has changed on purpose: its runs are other runs then."""
    assert FINGERPRINTS.get(choice) == fingerprint(choice)


def fingerprint(choice: str) -> str:
    task = tasks.build(choice)
    return data.fingerprint(list(data.evaluation_blocks(task, task.nearest_length(12), 40, 0)))


def test_special_tokens_are_separators_of_nothing_else() -> None:
    assert list(range(SPECIAL)) == [PAD, BOS, SEP, END]


if __name__ == "__main__":
    text = json.dumps({choice: fingerprint(choice) for choice in listing.task_choices()}, indent=1)
    (HERE / "golden_tasks" / "fingerprints.json").write_text(text + "\n")

"""What was measured about the tasks at their defaults: every row is of the present defaults, and cards show it."""

from pathlib import Path

import pytest

from rpecli.config import load as config_load
from rpecli.describe import learned, listing, task_card
from rpecli.describe.learned import Attempt, Result

TWO_MINUTES = 10e6  # tokens of a model of the default size on one core, at 83,000 a second
WITHOUT_A_FILE = {"data", "text"}  # they learn what the user brings


def row(encoding: str, exact_match: float, trained: int = 1000) -> Result:
    return Result("copy", encoding, 8, 1000, trained, 10**6, exact_match, 1.0, None, None, 0.1, "id", "commit", "machine")


def test_the_recipe_holds_every_task_and_variant() -> None:
    assert set(listing.task_choices()) - set(config_load.load("every-task")[0].task) == WITHOUT_A_FILE


def test_every_row_was_measured_with_the_defaults_that_the_task_has_now() -> None:
    ids = {config.id for config in config_load.load("every-task")[0].configs()}
    assert [result.id for rows in learned.results().values() for result in rows if result.id not in ids] == []


def test_the_defaults_of_every_task_allow_two_minutes_of_a_core() -> None:
    configs = config_load.load("every-task")[0].configs()
    assert {config.task: tokens for config in configs if (tokens := config.steps * config.tokens) > TWO_MINUTES} == {}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([row("rope", 0.25), row("alibi", 0.95, 300)], "yes, share of strings right: ALiBi 0.95 (300 steps); RoPE 0.25"),
        (
            [row("rope", 1.0), row("alibi", 0.9)],
            "yes, share of strings right: RoPE 1.00 (all 1000 steps), ALiBi 0.90 (all 1000 steps)",
        ),
        ([row("rope", 0.25), row("none", 0.89)], "no, in 1000 steps; share of strings right: NoPE 0.89, RoPE 0.25"),
        ([], None),
    ],
)
def test_a_card_says_who_learns_the_task(rows: list[Result], sentence: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "results", lambda: {"copy": rows})
    assert learned.sentence("copy") == sentence


def attempt(encoding: str, exact_match: float, trained: int = 500, curriculum: float = 0.0) -> Attempt:
    return Attempt("copy", encoding, 6, 1, curriculum, 2048, 3e-3, 500, trained, 10**6, exact_match, "id", "commit", "machine")


def test_a_card_says_what_was_tried_until_the_task_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = [attempt("rope", 0.04, trained=400), attempt("alibi", 0.5, curriculum=0.5)]
    monkeypatch.setattr(learned, "attempts", lambda: {"copy": attempts})
    monkeypatch.setattr(learned, "results", lambda: {"copy": [row("rope", 0.25)]})
    first, second = (
        "RoPE 0.04 with lengths 1 to 6, 400 of 500 steps of 2048 tokens, lr 0.003",
        "ALiBi 0.50 with lengths 1 to 6, 500 steps of 2048 tokens, lr 0.003, curriculum 0.5",
    )
    assert task_card.card("copy").facts["Tried"] == f"{first}\n{second}"
    assert [line["strings right"] for line in learned.tried_rows()] == ["0.04", "0.50"]
    assert learned.tried("sort") is None
    monkeypatch.setattr(learned, "results", lambda: {"copy": [row("rope", 0.25), row("alibi", 0.95)]})
    assert "Tried" not in task_card.card("copy").facts
    assert learned.tried_rows() == []


def test_a_file_of_rows_is_read_as_it_was_written(tmp_path: Path) -> None:
    results, attempts = [row("rope", 0.25), row("alibi", 0.9)], [attempt("rope", 0.04)]
    learned.write(tmp_path / "results.csv", Result, results)
    learned.write(tmp_path / "attempts.csv", Attempt, attempts)
    assert learned.read(tmp_path / "results.csv", Result) == results
    assert learned.read(tmp_path / "attempts.csv", Attempt) == attempts

"""What was measured about the tasks at their defaults: every row is of the present defaults, and cards show it."""

import pytest

from rpecli.config import load as config_load
from rpecli.describe import learned, listing
from rpecli.describe.learned import Result

WITHOUT_A_FILE = {"data", "text"}  # they learn what the user brings


def row(encoding: str, exact_match: float, trained: int = 1000) -> Result:
    return Result("copy", encoding, 8, 1000, trained, 10**6, exact_match, 1.0, None, None, 0.1, "id", "commit", "machine")


def test_the_recipe_holds_every_task_and_variant() -> None:
    assert set(listing.task_choices()) - set(config_load.load("every-task")[0].task) == WITHOUT_A_FILE


def test_every_row_was_measured_with_the_defaults_that_the_task_has_now() -> None:
    ids = {config.id for config in config_load.load("every-task")[0].configs()}
    assert [result.id for rows in learned.results().values() for result in rows if result.id not in ids] == []


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

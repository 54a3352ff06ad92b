"""What `rpe show TASK` and `rpe ls tasks` tell of tasks, and suites of tasks."""

import json

import pytest
from typer.testing import CliRunner, Result

from rpecli import catalog
from rpecli.choice import ChoiceError, canonical
from rpecli.cli.app import app
from rpecli.config import load as config_load
from rpecli.config import suites
from rpecli.config.recipe import task_defaults
from rpecli.describe import listing, task_card
from rpecli.task import build


def rpe(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


def test_names_of_tasks_and_encodings_differ() -> None:
    assert not set(catalog.names("tasks")) & set(catalog.names("encodings"))


def test_a_card_has_the_sections_of_the_file_and_what_the_class_states() -> None:
    card = task_card.card("copy", length=3)
    assert card.title == "Copy"
    assert list(card.facts)[:4] == ["Format", "Input law", "Chance", "Why"]
    assert card.facts["By chance"] == "6.2 % of tokens at length 3, 0.0 % of strings if each token is guessed alone"
    assert task_card.card("majority", length=8).facts["By chance"].endswith(" % of strings")  # of one token
    assert "strings" not in task_card.card("sort-numbers", length=8).facts["By chance"]
    assert card.worked == ["> 3 1 2 | [3] [1] [2] .", "> 7 | [7] ."]
    assert all(line.count("[") == 3 for line in card.drawn)


def test_a_variant_has_its_own_prediction_and_defaults_and_no_worked_examples_of_the_plain_task() -> None:
    card = task_card.card("parity:law=count:format=bit")
    assert card.facts["Predicted"] == "expressible in C-RASP with absolute positions: no, with none: no"
    assert "Predicted" not in task_card.card("parity").facts
    assert card.worked == []
    own = {"length": 6, "curriculum": 0.5, "tokens": 2048, "steps": 4500, "lr": 2e-3}
    assert task_defaults("parity:law=count:format=bit") == {**task_defaults("parity"), **own}


def test_every_choice_that_is_listed_can_be_built_and_every_variant_is_canonical() -> None:
    choices = listing.task_choices()
    assert len(choices) == len(set(choices))
    for choice in choices:
        assert canonical(choice) == choice
        assert build(choice).symbols >= 1


def test_the_tasks_that_the_field_uses_are_listed_each_with_its_source_and_an_example() -> None:
    rows = listing.rows("tasks")
    assert len(rows) >= 60
    own = {row["task"].partition(":")[0] for row in rows if row["source"] == listing.MADE_HERE}
    assert own == {"offset-retrieval", "recall"}
    assert all(row["source"] and (row["example"] or ":" in row["task"]) for row in rows)


@pytest.mark.parametrize("name", suites.names())
def test_a_suite_stands_for_its_tasks_in_any_recipe(name: str) -> None:
    recipe, _ = config_load.load(None, {"task": f"suite:{name},copy"})
    assert recipe.task == list(dict.fromkeys([*suites.tasks(name), "copy"]))
    assert config_load.load(f"suite-{name}")[0].task == suites.tasks(name)


def test_an_unknown_suite_names_the_close_ones() -> None:
    with pytest.raises(ChoiceError, match=r"unknown suite 'crap': did you mean crasp\?"):
        suites.tasks("crap")
    assert "unknown suite 'crap'" in rpe("train", "--task", "suite:crap", code=2).stderr


def test_the_command_lists_a_suite_and_shows_a_task() -> None:
    rows = json.loads(rpe("ls", "tasks", "--suite", "crasp", "--json").stdout)
    assert [row["task"] for row in rows] == suites.tasks("crasp")
    assert "Worked examples\n  > 3 1 2 | [3] [1] [2] ." in rpe("show", "copy", "--length", "5").stdout
    assert "has no problem of length 200" in rpe("show", "sort", "--length", "200", code=2).stderr

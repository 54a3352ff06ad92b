"""Every suite: its recipe is valid, each of its tasks trains and is evaluated, and a shortened run of it makes a report."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rpecli.choice import ChoiceError
from rpecli.cli._inputs import named_choice
from rpecli.cli.app import app
from rpecli.config import load as config_load
from rpecli.config import suites
from rpecli.config.settings import check_choice
from rpecli.evaluate import measure
from rpecli.run.directory import Run
from rpecli.train import loop as train

SHORT = {"encoding": "rope", "seed": "0", "steps": "2", "samples": "4", "lengths": "1x", "tokens": "256", "warmup": "1",
         "n_layer": "1", "n_head": "2", "d_model": "16"}  # fmt: skip


@pytest.mark.parametrize("name", suites.names())
def test_every_task_of_a_suite_trains_and_is_evaluated(name: str, tmp_path: Path) -> None:
    recipe, _ = config_load.load(f"suite-{name}", SHORT)
    assert [config.task for config in recipe.configs()] == suites.tasks(name)
    for config in recipe.configs():
        run = Run.create(config, tmp_path)
        train.train(run, "cpu")
        assert measure.evaluate(run, device="cpu") == []
        assert [0 <= line["token_accuracy"] <= 1 for line in run.evaluations()] == [True]


@pytest.mark.parametrize("name", suites.names())
def test_the_recipe_of_a_suite_is_valid_and_makes_a_report(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check = CliRunner().invoke(app, ["check", f"suite-{name}"])
    assert check.exit_code == 0, check.output
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in SHORT.items()]
    result = CliRunner().invoke(app, ["run", f"suite-{name}", f"--task={suites.tasks(name)[0]}", "--device=cpu", *flags])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "results" / f"suite-{name}" / "report.html").is_file()


def test_the_recipe_text_trains_on_the_text_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in (SHORT | {"lengths": "1x,2x"}).items()]
    result = CliRunner().invoke(app, ["run", "text", "--device=cpu", *flags])
    assert result.exit_code == 0, result.output
    assert "Perplexity (lower is better)" in " ".join(result.output.split())
    report = json.loads((tmp_path / "results" / "text" / "report.json").read_text())
    assert [(row["task"], row["measure"], row["length"]) for row in report["rows"]] == [
        ("text", "perplexity", n) for n in (64, 128)
    ]


@pytest.mark.parametrize("word", ["suite", "suites", "suite-crasp", "suites:crasp", "Suite:crasp", "crasp", "suite:crasp:x=1"])
def test_a_word_that_is_nearly_a_suite_is_told_how_to_write_one(word: str) -> None:
    result = CliRunner().invoke(app, ["train", "--task", word, "--encoding", "rope"])
    assert result.exit_code == 2
    assert "suite:NAME" in result.stderr or "suite:crasp" in result.stderr or "did you mean crasp?" in result.stderr
    assert "crasp" in result.stderr
    assert "duplicate" not in result.stderr


@pytest.mark.parametrize("word", ["suite:crasp", "suite", "baselines", "Baseline"])
@pytest.mark.parametrize("check", [named_choice, partial(check_choice, "tasks"), partial(check_choice, "encodings")])
def test_words_for_several_names_are_refused_where_one_is_expected(word: str, check: Callable[[str], str]) -> None:
    with pytest.raises(ChoiceError, match=r"in a list of (tasks|encodings)"):
        check(word)

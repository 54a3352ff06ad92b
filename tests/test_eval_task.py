"""Evaluation on the trained task with other options: the line says so, and nothing of it is mixed with the run's own."""

from pathlib import Path

import pytest
from helpers import training as tiny

from rpecli.choice import ChoiceError, canonical
from rpecli.cli._inputs import warn_of_lengths
from rpecli.config.recipe import Config
from rpecli.config.settings import EvalSettings
from rpecli.evaluate import measure
from rpecli.evaluate.asked import is_answered
from rpecli.evaluate.eval_set import evaluation_task
from rpecli.evaluate.request import EvalRequest
from rpecli.report import build, two_studies
from rpecli.report.studies import Study
from rpecli.rows.running_text import SHIPPED
from rpecli.run.directory import Run, find_runs
from rpecli.run.ways import evaluations_by_way


def test_a_run_is_measured_on_other_inputs_of_its_task(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path / "runs", task="parity:format=bit", length=4)
    own = EvalRequest(EvalSettings(lengths="1x", samples=64))
    other = EvalRequest(EvalSettings(lengths="1x", samples=64, eval_task="parity:format=bit:law=count"))
    for request in (own, other):
        assert not is_answered(run, request)
        measure.evaluate(run, request, device="cpu")
        assert is_answered(run, request)
    first, second = run.evaluations()
    assert (first.get("task_override"), second.get("task_override")) == (None, "parity:format=bit:law=count")
    assert first["fingerprint"] != second["fingerprint"]
    assert (first["chance"], second["chance"]) == (0.5, 0.6)
    assert list(evaluations_by_way(run)) == ["", " tested with format=bit:law=count"]
    assert run.latest_evaluations() == {4: first}


@pytest.mark.parametrize(
    ("choice", "message"), [("copy", "is trained on parity"), ("parity:format=byte", "running, bit or scratchpad")]
)
def test_another_task_or_a_wrong_option_is_refused(choice: str, message: str) -> None:
    with pytest.raises(ChoiceError, match=message):
        evaluation_task(Config(task="parity", encoding="rope", eval=EvalSettings(eval_task=choice)))


def test_another_text_than_the_one_trained_on_has_to_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options replace those of the run: without a path, the text that comes with rpe would be measured in its place."""
    (tmp_path / "book.txt").write_text("all the words of a book " * 200)
    monkeypatch.chdir(tmp_path)
    own = canonical("text:path=book.txt")
    message = "it leaves out path=book.txt, on which the run is trained: write --eval-task text:path=book.txt:stride=16"
    with pytest.raises(ChoiceError, match=f"^eval_task text:stride=16: {message}$"):
        evaluation_task(Config(task=own, encoding="rope", eval=EvalSettings(eval_task="text:stride=16")))
    for named in ("text:path=book.txt:stride=16", f"text:path={SHIPPED}"):
        settings = EvalSettings(eval_task=canonical(named))
        assert evaluation_task(Config(task=own, encoding="rope", eval=settings)).symbols == 256


def test_a_file_that_is_not_the_trained_task_is_refused_and_not_copied(rpe: tiny.Rpe, here: Path) -> None:
    run = tiny.trained_run(here / "runs", task="copy")
    assert rpe("new", "task", "mine").code == 0
    before = sorted(run.path.rglob("*"))
    for named in ("./mine.py", "./mine.py:symbols=9"):
        result = rpe("eval", "--eval-task", named, "--lengths", "1x", "--jobs", 0)
        told = f"eval_task mine.py: the run is trained on copy: write --eval-task copy:option=value  ({run.name} left out)"
        assert (result.code, result.err.strip()) == (2, told)
    with pytest.raises(ChoiceError, match="the run is trained on copy"):
        measure.evaluate(run, EvalRequest(EvalSettings(eval_task=str(here / "mine.py"))), "cpu")
    assert sorted(run.path.rglob("*")) == before


def test_a_task_with_other_symbols_is_refused() -> None:
    with pytest.raises(ChoiceError, match="it has 4 symbols, the trained task has 16"):
        evaluation_task(Config(task="copy", encoding="rope", eval=EvalSettings(eval_task="copy:symbols=4")))


def test_lengths_and_sizes_are_those_of_the_evaluated_task(capsys: pytest.CaptureFixture[str]) -> None:
    config = Config(task="sort", encoding="rope", length=8)
    settings = EvalSettings(lengths="64", samples=1 << 20, eval_task="sort:symbols=32:distinct=true")
    warn_of_lengths([(config, settings)])
    assert "has no problem longer than 31: left out at 64" in capsys.readouterr().err
    warn_of_lengths([(config, EvalSettings(lengths="64"))])
    assert capsys.readouterr().err == ""


def test_a_report_has_the_other_inputs_as_a_task_of_their_own_that_no_test_counts(tmp_path: Path) -> None:
    runs = [tiny.trained_run(tmp_path, task="parity:format=bit", length=4, encoding=one) for one in ("rope", "sinusoidal")]
    for run in runs:
        for task in (None, "parity:format=bit:law=count"):
            settings = EvalSettings(lengths="1x,2x", samples=64, eval_task=task)
            assert measure.evaluate(run, EvalRequest(settings), device="cpu") == []
    content = build.report_content([run.path for run in runs], "mine")
    assert content.warnings == []
    assert [(task.name, task.chance[8], task.lengths) for task in content.tasks] == [
        ("parity:format=bit", 0.5, [4, 8]), ("parity:format=bit:law=count", pytest.approx(5 / 9), [4, 8]),
    ]  # fmt: skip
    assert [encoding.label for encoding in content.tasks[1].encodings] == ["sinusoidal", "rope"]
    assert " on this task: " in content.verdicts[0].lines[2], "one task of the two"
    study = Study("mine", "", content.runs, content.tasks, [])
    comparison = two_studies.compare(study, study)
    assert {difference.tasks for difference in comparison.overall.values()} == {1}
    assert {row.task for row in comparison.rows} == {task.name for task in content.tasks}


OWN_TASK = """
import numpy as np
from rpecli.task import Batch, Task, prompt_answer

class Shifted(Task):
    family = "copying"
    examples = (([0, 2], "> 0 2 | [1] [3] ."),)
    defaults = {"length": 4, "steps": 4}

    def __init__(self, *, low: int = 0):
        self.symbols, self.low = 4, low

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(self.low, self.symbols, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return prompt_answer(x_BxN, (x_BxN + 1) % self.symbols)

    def chance(self, length: int) -> float:
        return 1 / self.symbols
"""
OWN_RECIPE = {"task": "./own.py", "encoding": "none", "d_model": 8, "n_head": 1, "n_layer": 1, "tokens": 64, "lengths": "1x"}


def test_a_users_own_task_is_evaluated_with_other_options(here: Path, rpe: tiny.Rpe) -> None:
    (here / "recipes").mkdir()
    (here / "recipes" / "own.py").write_text(OWN_TASK)
    recipe = OWN_RECIPE | {"eval_task": "./own.py:low=2", "samples": 64}
    (here / "recipes" / "own.yaml").write_text("".join(f"{key}: {value}\n" for key, value in recipe.items()))
    assert rpe("train", "recipes/own.yaml", "--jobs", "0").code == 0
    words = ("eval", "--jobs", "0", "--runs", "runs")
    for _ in range(2):  # the second has nothing left to do
        result = rpe(*words)
        assert result.code == 0, result.err
    (run,) = find_runs(here / "runs")[0]
    assert run.config.eval.eval_task == f"{run.path.resolve()}/code/tasks/own.py:low=2"
    assert [line["task_override"] for line in run.evaluations()] == ["./code/tasks/own.py:low=2"]
    assert rpe(*words, "--eval-task", "recipes/own.py:low=1").code == 0
    moved = run.path.rename(here / "moved")
    assert rpe("eval", "moved", "--jobs", "0").code == 0
    assert [line["task_override"].partition(":")[2] for line in Run(moved).evaluations()] == ["low=2", "low=1"]
    report = build.report_content([moved], "mine")
    assert [task.name for task in report.tasks] == ["own:low=1", "own:low=2"]

"""See it fail: what is recorded of the first sequence of a set, and how a report and a terminal show where a model goes wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import training as tiny
from helpers.fake_runs import fake_run
from helpers.run_folders import make_run
from torch import Tensor

from rpecli import data
from rpecli.choice import canonical
from rpecli.config.recipe import Config
from rpecli.evaluate import measure
from rpecli.model import build
from rpecli.report.aggregate import aggregate
from rpecli.report.answers import example_lines, task_answers
from rpecli.run.records import Example
from rpecli.task import SPECIAL

CPU = torch.device("cpu")
SETS: Example = {
    "prompt": ["(", ")"], "read": ["(", ")"], "target": ["{( )}", "{. (}"], "answer": ["{)}", "{. (}"]
}  # fmt: skip
SEVERAL: Example = {"prompt": ["a", "b"], "target": ["b", "a"], "answer": ["b", "x"], "other_targets": [["a", "b"], ["b"]]}


def recorded(task: str, length: int, says: str | None = None) -> dict[str, Any]:
    """The example of an evaluation by a model that answers every place with one token, or that has learned nothing."""
    config = Config.from_keys(task=canonical(task), encoding="none", length=length, d_model=16, n_head=2, n_layer=1)
    loaded = build(config, CPU)
    if says is not None:
        token = next(token for token in range(loaded.task.vocabulary) if loaded.task.words([token]) == [says])

        def head(states_NxM: Tensor) -> Tensor:
            logits_NxV = torch.full((*states_NxM.shape[:-1], loaded.task.vocabulary), -1.0)
            logits_NxV[..., token] = 1.0
            return logits_NxV

        loaded.model.head = head  # type: ignore[method-assign]
    blocks = list(data.evaluation_blocks(loaded.task, length, 20, 0))
    return measure.measure(loaded, length, blocks, [])["example"]  # type: ignore[return-value]


@pytest.fixture
def several(tmp_path: Path) -> str:
    rows = [{"input": f"find {n}", "outputs": ["7 7", "9 9", "9 8"]} for n in range(30)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"data:path={path}:tokens=space"


@pytest.mark.parametrize(
    ("says", "target", "others"),
    [("7", ["7", "7"], [["9", "9"], ["9", "8"]]), ("9", ["9", "9"], [["9", "8"], ["7", "7"]]),
     ("8", ["9", "8"], [["7", "7"], ["9", "9"]])],
)  # fmt: skip
def test_of_several_right_answers_the_nearest_is_shown_and_the_others_beside_it(
    says: str, target: list[str], others: list[list[str]], several: str
) -> None:
    shown = recorded(several, 2, says)
    assert shown == {"prompt": ["find", "4"], "target": target, "answer": [says, says], "other_targets": others}


def test_own_data_with_one_answer_is_shown_as_any_task(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"input": "a{letter}", "target": "{letter}a"}}\n' for letter in "bcdefghijklmnop"))
    assert recorded(f"data:path={path}", 2, "b") == {"prompt": ["a", "f"], "target": ["f", "a"], "answer": ["b", "b"]}


def test_where_sets_are_predicted_each_stands_below_the_token_before_it() -> None:
    shown = recorded("dyck:depth=2", 6, ")")
    assert shown["read"] == shown["prompt"]
    assert len(shown["read"]) == len(shown["target"]) == 6
    for before, allowed in zip(shown["read"], shown["target"], strict=True):
        assert (")" in allowed) or before == ")", "a bracket that has just been opened may be closed"
    assert shown["answer"] == ["{)}"] * 6
    assert shown["target"][-1] == "{. (}"


def test_a_token_that_is_predicted_has_no_token_before_it_in_the_record() -> None:
    assert "read" not in recorded("copy", 4)
    assert SPECIAL == 4


def with_example(encoding: str, example: Example) -> Any:
    run = fake_run(encoding, 0, {16: 1.0, 32: 0.5})
    run.evaluations[32]["example"] = example  # type: ignore[typeddict-item]
    return run


def test_a_report_shows_what_was_read_and_keeps_sets_in_one_piece() -> None:
    (answers,) = task_answers(aggregate([with_example("rope", SETS)]))
    assert answers.first.read == "(     )    "
    assert answers.first.target == "{(\u00a0)} {.\u00a0(}"
    assert answers.first.answers[0].pieces == [(True, "{)}"), (False, "   {.\u00a0(} ")]


def test_a_report_shows_every_right_answer_and_which_of_them_a_model_came_near() -> None:
    other: Example = {"prompt": ["a", "b"], "target": ["a", "b"], "answer": ["a", "b"], "other_targets": [["b"], ["b", "a"]]}
    (answers,) = task_answers(aggregate([with_example("rope", SEVERAL), with_example("alibi", other)]))
    assert (answers.first.target, answers.first.others) == ("ab", ["b", "ba"])
    assert [(one.title, one.n_right, one.n_words, one.nearest) for one in answers.first.answers] == [
        ("ALiBi", 2, 2, ""),
        ("RoPE", 1, 2, "ba"),
    ]


def test_the_page_of_a_report_has_both(rpe: tiny.Rpe, here: Path) -> None:
    make_run(Path("runs"), {16: 1.0, 32: 0.5}, line={"example": SEVERAL})
    make_run(Path("runs"), {16: 1.0, 32: 0.5}, task="dyck", line={"example": SETS})
    assert rpe("report", "--no-reference").code == 0
    page = next(Path("results").glob("*/report.html")).read_text()
    assert "Right as well: <code>ab</code>, <code>b</code>" in " ".join(page.split())
    assert '<th scope="row">read</th><td>(     )    </td>' in page


def test_errors_are_marked_in_the_terminal() -> None:
    assert example_lines(SETS, 69) == [
        "1 of 2 tokens right",
        "read       (     )",
        "target     {(\u00a0)} {.\u00a0(}",
        "answer     {)}   {.\u00a0(}",
        "           ^^^",
    ]
    assert example_lines(SEVERAL, 69) == [
        "1 of 2 tokens right",
        "prompt     ab",
        "target     ba",
        "answer     bx",
        "            ^",
        "or         ab",
        "or         b",
    ]


def test_a_long_answer_is_shown_around_its_first_error() -> None:
    target = list("0123456789" * 6)
    long: Example = {"prompt": target, "target": target, "answer": [*target[:45], "x", *target[46:]]}
    head, prompt, shown, answer, marks = example_lines(long, 20)
    assert head == "59 of 60 tokens right, from token 40 of 60 on"
    assert prompt == "prompt     01234567890123456789"
    assert (shown[11:], answer[11:]) == ("90123456789012345678", "901234" + answer[17:])
    assert answer[marks.index("^")] == "x"
    assert len(answer) <= 31


def test_show_and_eval_of_one_run_show_it(rpe: tiny.Rpe, here: Path) -> None:
    run = tiny.trained_run(Path("runs"), steps=3)
    evaluated = rpe("eval", "--jobs", 0, "--device", "cpu")
    assert "\nExample    length 4 (1x): " in evaluated.out
    shown = rpe("show", run.name).out
    assert "Example    length 4 (1x): " in shown
    assert re_lines(shown, "target") == re_lines(evaluated.out, "target")
    assert max(map(len, shown.splitlines())) <= 80


def re_lines(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{name} ")]

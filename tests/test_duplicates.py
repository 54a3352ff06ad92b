"""Evaluation sequences that are no new problems: in the set before, or in training; counted, recorded and told."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from helpers import training as tiny
from helpers.run_folders import make_run

from rpecli import data
from rpecli import task as tasks
from rpecli.config.recipe import Config
from rpecli.describe import task_card
from rpecli.evaluate import duplicates
from rpecli.evaluate.measure import evaluate
from rpecli.evaluate.request import EvalRequest
from rpecli.report.aggregate import aggregate
from rpecli.report.load import load_runs
from rpecli.report.tables.accuracy import tables
from rpecli.task import PAD, Batch

BITS = "parity:format=bit"


def config(choice: str, **keys: object) -> Config:
    return Config.from_keys(**{"task": choice, "encoding": "rope", "length": 6, "steps": 20, "tokens": 64} | keys)


def blocks(choice: str, length: int, n: int = 256) -> list[Batch]:
    return list(data.evaluation_blocks(tasks.build(choice), length, n, 0))


def words(batch: Batch) -> list[tuple[int, ...]]:
    return [tuple(token for token in row if token != PAD) for row in batch.tokens_BxT.tolist()]


def test_a_set_of_all_short_strings_repeats_all_but_them() -> None:
    strings = {row for block in blocks(BITS, 3) for row in words(block)}
    assert len(strings) == 8
    assert duplicates.repeated(blocks(BITS, 3)) == pytest.approx(1 - 8 / 256)
    assert duplicates.repeated(blocks("copy", 16)) == 0


def test_sequences_that_differ_in_padding_alone_are_the_same() -> None:
    short, long = np.array([[1, 5, 3]]), np.array([[1, 5, 3, PAD, PAD], [1, 5, 3, 4, 4]])
    batches = [Batch(tokens, tokens > 4) for tokens in (short, long)]
    assert duplicates.repeated(batches) == pytest.approx(1 / 3)


@pytest.mark.parametrize("choice", [BITS, "addition:operands=mixed", "summation", "brevo"])
@pytest.mark.parametrize("length", [3, 6])
def test_what_training_had_is_counted_one_by_one(choice: str, length: int) -> None:
    settings, task, trained = config(choice, min_length=3), tasks.build(choice), set[tuple[int, ...]]()
    for step in range(settings.steps):
        trained |= set(words(data.train_batch(task, settings, step)))
    expected = [row in trained for block in blocks(choice, length) for row in words(block)]
    share = duplicates.seen(settings, task, length, blocks(choice, length), settings.steps)
    assert share == pytest.approx(sum(expected) / len(expected))
    assert duplicates.seen(settings, task, length, blocks(choice, length), 0) == 0
    if choice == BITS:
        assert share is not None
        assert share > 0


def test_nothing_longer_was_in_training_and_read_problems_are_told_elsewhere() -> None:
    task = tasks.build(BITS)
    assert duplicates.seen(config(BITS), task, 7, blocks(BITS, 7), 20) == 0.0
    assert duplicates.seen(config(BITS, eval_task=f"{BITS}:law=count"), task, 3, blocks(BITS, 3), 20) is None
    text = tasks.build("text")
    assert duplicates.seen(config("text"), text, 6, blocks("text", 6), 20) is None


def test_the_length_of_a_step_is_that_of_its_batch() -> None:
    settings, task = config(BITS, curriculum=0.5), tasks.build(BITS)
    for step in range(20):
        batch = data.train_batch(task, settings, step)
        assert batch.tokens_BxT.shape[1] == task.sequence(data.train_length(task, settings, step))


def test_the_shares_are_in_the_record(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, task=BITS, length=3, steps=40, lengths="1x,2x,12", eval_task=None)
    assert evaluate(run, device="cpu") == []
    by_length = {line["length"]: line for line in run.evaluations()}
    assert (by_length[3]["seen"], by_length[6]["seen"]) == (1.0, 0.0)
    assert by_length[3]["repeated"] == 1 - 8 / 32
    assert by_length[12]["repeated"] < 0.1
    request = EvalRequest(run.config.eval.model_copy(update={"eval_task": f"{BITS}:law=count"}))
    evaluate(run, request, device="cpu")
    assert ["seen" in line for line in run.evaluations() if line["task_override"]] == [False] * 3


def test_a_report_says_where_problems_are_not_new(tmp_path: Path) -> None:
    many, few = {"seen": 0.5, "repeated": 0.25}, {"seen": 0.004, "repeated": 0.0}
    for seed, (line, folder) in enumerate(product((many, few), ("a", "b"))):
        make_run(tmp_path / folder, {16: 1.0}, seed=seed, line=line if folder == "a" else few)
    captions = {}
    for folder in ("a", "b"):
        (task,) = aggregate(load_runs((tmp_path / folder).iterdir()).runs)
        captions[folder] = tables(task)[0].caption
    assert "Sequences that training had: 50 % at 16. Sequences that stand twice in their set: 25 % at 16." in captions["a"]
    assert "Sequences that" not in captions["b"]


def test_a_card_says_how_many_drawn_sequences_repeat() -> None:
    assert task_card.card(BITS, 3).facts["Repeats"] == "97 % of 256 sequences of length 3 stand before among them"
    assert "Repeats" not in task_card.card("copy", 16).facts

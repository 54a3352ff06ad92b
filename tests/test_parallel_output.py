"""Tasks of two suites as an encoder solves them: it fills in all answers at once (`attention: bidirectional`)."""

from pathlib import Path

import numpy as np
import pytest
from helpers import training as tiny

from rpecli import data
from rpecli import task as tasks
from rpecli.config import suites
from rpecli.evaluate import measure
from rpecli.task import PAD

CHOICES = list(dict.fromkeys([*suites.tasks("chomsky"), *suites.tasks("kazemnejad")]))


@pytest.mark.parametrize("choice", CHOICES)
def test_an_encoder_reads_the_prompt_alone(choice: str) -> None:
    task = tasks.build(choice)
    batch = task.sample(np.random.default_rng(0), 30, task.nearest_length(9))
    examples = data.shift_targets(batch, tiny.config(task=choice, attention="bidirectional"))
    assert (examples.inputs_BxT[examples.scored_BxT] == PAD).all()
    assert np.array_equal(examples.inputs_BxT[~examples.scored_BxT], batch.tokens_BxT[~examples.scored_BxT])
    assert np.array_equal(examples.targets_BxT, batch.tokens_BxT)


@pytest.mark.parametrize("choice", suites.tasks("chomsky"))
def test_the_number_of_places_to_fill_follows_from_the_length(choice: str) -> None:
    """Where it did not, the places would give a part of the answer away."""
    task = tasks.build(choice)
    for length in {task.nearest_length(n) for n in (3, 8, 12)}:
        batch = task.sample(np.random.default_rng(0), 100, length)
        assert len(set(batch.answer_mask_BxT.sum(axis=1).tolist())) == 1
        assert (batch.tokens_BxT != PAD).all()


@pytest.mark.parametrize("choice", ["stack-manipulation", "binary-addition:padded=false", "scan", "lego:format=scratchpad"])
def test_an_encoder_trains_and_is_evaluated(choice: str, tmp_path: Path) -> None:
    lengths = {"length": 6, "lengths": "1x,2x", "min_length": tasks.build(choice).nearest_length(1)}
    run = tiny.trained_run(tmp_path, task=choice, attention="bidirectional", steps=2, warmup=1, **lengths)
    assert measure.evaluate(run, device="cpu") == []
    assert len(run.evaluations()) == 2

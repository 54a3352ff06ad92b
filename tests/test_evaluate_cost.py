"""What an evaluation of very many sequences costs is said, or refused, before it starts."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import training as tiny

from rpecli.cli import eval as eval_command
from rpecli.config.recipe import EvalSettings
from rpecli.evaluate import cost
from rpecli.evaluate.load import load
from rpecli.evaluate.measure import N_DECILES, N_PLACES, SequenceScores
from rpecli.evaluate.request import EvalRequest
from rpecli.launch import sizes
from rpecli.probes import inspect as probe
from rpecli.run.directory import Run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny.trained_run(tmp_path_factory.mktemp("trained") / "runs", steps=1)


def test_what_takes_very_long_is_said_before_it_starts(trained: Run, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is that of a measured batch; here a batch has 100 s, and nothing is measured but it."""
    monkeypatch.setattr(cost, "_seconds_of", lambda loaded, length, scored: 3600.0 if scored else 100.0)
    monkeypatch.setattr(eval_command, "_unanswered", lambda requests: ([], []))
    monkeypatch.setattr(probe, "inspect", lambda *_: {"runs": [], "similarity": []})
    many = ("--samples", 5_000_000, "--eval-tokens", 20_000_000, "--runs", trained.path.parent, "--device", "cpu")
    result = rpe("eval", *many, "--lengths", "1x,2x")
    assert "tokens takes about 2 h 00 min per run, by the time of a few batches: lower --samples or --eval-tokens" in result.err
    assert re.search(r"measuring up to 3\d,\d{3},\d{3} tokens", result.err)
    result = rpe("inspect", *many, "--lengths", "1x,2x")
    assert re.search(r"drawing up to 3\d,\d{3},\d{3} tokens takes about 3 min 20 s per run", result.err)
    assert "takes about" not in rpe("eval", "--lengths", "1x", "--runs", trained.path.parent, "--device", "cpu").err


def test_the_time_of_an_evaluation_grows_with_its_sequences(trained: Run) -> None:
    settings = trained.config.eval.model_copy(update={"lengths": "1x", "samples": 1000, "eval_tokens": 1_000_000})
    loaded, _ = load(trained, "cpu", EvalRequest(settings))
    times = iter(range(1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "time", SimpleNamespace(monotonic=lambda: next(times)))
        drawn, both = cost.seconds(loaded, scored=False), cost.seconds(loaded)
    assert drawn == 1000 / 32  # a block of 32 sequences, one tick
    assert both == 1000 / 32 + 2 * 1000 / 32  # and a batch of 32, two ticks


def test_scores_of_many_short_sequences_count_as_memory() -> None:
    """A sequence of 9 tokens has 81 bytes and 1,652 of scores: with its tokens alone, memory would run out after hours."""
    settings = EvalSettings(samples=1_000_000, eval_tokens=9_000_000)
    assert sizes.evaluation_set_bytes(settings, 9, scored=False) == 81_000_000
    assert sizes.evaluation_set_bytes(settings, 9) == 1_733_000_000
    fields = [getattr(scores_of_one_sequence(), field.name).nbytes for field in dataclasses.fields(SequenceScores)]
    assert 2 * sum(fields) == sizes.SCORES


def scores_of_one_sequence() -> SequenceScores:
    flag, number, of_tenths = np.zeros(1, bool), np.zeros(1, np.int64), np.zeros((1, N_DECILES), np.int64)
    places = np.zeros((1, N_PLACES))
    return SequenceScores(flag, flag, number, number, np.zeros(1), of_tenths, of_tenths, places, places.astype(np.int64))

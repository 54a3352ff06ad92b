"""Evaluation and memory: what does not fit is reported, and the estimate is within a factor of two of the peak."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import training as tiny
from helpers.evaluation import blocks_of, evaluate_run, lengths_of
from helpers.peak_memory import peak as tensor_peak

from rpecli.attention.blocks import BlockSizes
from rpecli.config.recipe import Config
from rpecli.device import available_memory
from rpecli.evaluate import measure as measuring
from rpecli.evaluate.load import load
from rpecli.evaluate.measure import measure
from rpecli.evaluate.memory import peak_memory, ran_out_of_memory
from rpecli.model import LoadedModel, build
from rpecli.run.directory import Run


@pytest.fixture
def fresh(tmp_path: Path) -> Run:
    """A run that was never evaluated."""
    return tiny.trained_run(tmp_path / "runs", steps=2)


def test_lengths_too_long_for_the_memory_are_reported_before_they_are_drawn(
    fresh: Run, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, _ = load(fresh, "cpu")
    monkeypatch.setattr(measuring, "available_memory", lambda: peak_memory(loaded, loaded.task.sequence(8)))
    result = rpe("eval", "--lengths", "4,8,16,900000000", "--runs", fresh.path.parent, "--jobs", 0, "--device", "cpu")
    assert result.code == 1
    assert "length 16: needs about 0 GiB, 0 GiB are free: leave it out" in result.err
    assert "length 900000000: needs about" in result.err
    assert lengths_of(fresh) == [4, 8]
    assert evaluate_run(fresh, "4,8") == []


def test_a_length_that_was_measured_once_is_not_refused_for_memory(fresh: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate_run(fresh)
    monkeypatch.setattr(measuring, "available_memory", lambda: 0)
    assert evaluate_run(fresh) == []


OUT_OF_MEMORY = [
    MemoryError("Unable to allocate"),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("MPS backend out of memory"),
]


def test_the_cpu_allocator_is_recognised_by_the_message_of_this_torch() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**55, dtype=torch.uint8)
    assert ran_out_of_memory(error.value)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_a_length_that_does_not_fit_is_left_out_and_the_others_are_evaluated(
    error: Exception, fresh: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory(loaded: LoadedModel, length: int, *args: Any) -> Any:
        if length == 8:
            raise error
        return measure(loaded, length, *args)

    monkeypatch.setattr(measuring, "measure", without_memory)
    assert evaluate_run(fresh, "8,12") == ["length 8: does not fit in memory, one sequence at a time: leave it out"]
    assert lengths_of(fresh) == [4, 12]


def test_other_errors_that_speak_of_memory_are_raised(fresh: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("size mismatch between memory_key and value")

    monkeypatch.setattr(measuring, "measure", broken)
    with pytest.raises(RuntimeError, match="size mismatch"):
        evaluate_run(fresh)


def test_the_available_memory_is_a_plausible_number() -> None:
    assert 2**20 < available_memory() < 2**50


def test_the_memory_estimate_grows_with_the_length(fresh: Run) -> None:
    loaded, _ = load(fresh, "cpu")
    sizes = [peak_memory(loaded, T) for T in (10, 10**4, 10**6)]
    assert sizes[0] < sizes[1] < sizes[2] / 10


def check_estimate(**keys: Any) -> None:
    """Small blocks of scores stand in for long inputs: 513 tokens are as many of them as 32,768 are by default."""
    loaded = build(Config.from_keys(**{"task": "copy", "samples": 2, **keys}), torch.device("cpu"))
    loaded.model.block_sizes = BlockSizes(cells=1 << 13)
    loaded.model.switch(True)
    loaded.model.eval()
    blocks = blocks_of(loaded, 256, 2)
    weights = [*loaded.model.parameters(), *loaded.model.buffers()]
    peak = tensor_peak(lambda: measure(loaded, 256, blocks, []), weights)
    assert peak / 2 < peak_memory(loaded, loaded.task.sequence(256)) < peak * 2


@pytest.mark.parametrize("positions", ["start", "randomized"])
@pytest.mark.parametrize("n_head", [4, 16])
def test_the_memory_of_every_encoding_is_estimated_within_a_factor_of_two(
    encoding_name: str, n_head: int, positions: str
) -> None:
    keys = {"positions": positions, "max_position": 2048} if positions == "randomized" else {}
    check_estimate(encoding=encoding_name, n_head=n_head, **keys)


@pytest.mark.parametrize(
    "keys",
    [{"encoding": "dape:hidden=128"}, {"encoding": "dape:kind=v2"}, {"encoding": "kerple-power:weighted=true"},
     {"encoding": "none+dape"}, {"encoding": "none:then=dape"}, {"encoding": "rope", "normalizer": "stick-breaking"},
     {"encoding": "shaw", "attention": "bidirectional"}, {"encoding": "rope", "mlp_ratio": 1}],
    ids=str,
)  # fmt: skip
def test_the_memory_of_options_is_estimated_too(keys: dict[str, Any]) -> None:
    check_estimate(**keys)

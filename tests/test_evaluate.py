"""Evaluation: what it measures against decoding and by hand, what it skips, what it cannot do and says."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import peak_memory as peak_of_tensors
from helpers import training as tiny
from scipy.stats import binomtest

from rpecli import data, task
from rpecli.attention.blocks import BlockSizes
from rpecli.config.recipe import Config
from rpecli.device import available_memory
from rpecli.evaluate import measure as evaluate
from rpecli.evaluate import memory as evaluate_memory
from rpecli.evaluate.request import EvalRequest
from rpecli.model import Cache, LoadedModel, build
from rpecli.run import directory as run
from rpecli.run.files import RunError, read_lines

HALF = {
    "task": "copy:symbols=3",
    "steps": 150,
    "tokens": 256,
    "lr": 0.01,
    "warmup": 10,
    "validate_every": 50,
}  # right half the time


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows a little: some sequences right, some wrong."""
    return tiny.trained(tmp_path_factory.mktemp("half"), **HALF)


@pytest.fixture
def fresh(half: Path, tmp_path: Path) -> Path:
    """The same run, never evaluated."""
    return Path(shutil.copytree(half, tmp_path / "runs" / half.name))


def measure(path: Path, lengths: str | None = None, **options: Any) -> list[str]:
    return evaluate.evaluate(path, request(path, lengths, **options), "cpu", threads=1)


def request(path: Path, lengths: str | None = None, samples: int | None = None, **options: Any) -> EvalRequest:
    """The run's own settings, with these lengths and this number of samples if given."""
    overrides = {key: value for key, value in (("lengths", lengths), ("samples", samples)) if value is not None}
    return EvalRequest(run.config_of(path).eval.model_copy(update=overrides), **options)


def lines(path: Path) -> list[dict[str, Any]]:
    return read_lines(path / "eval.jsonl")


def numbers(path: Path) -> list[dict[str, Any]]:
    """The lines without what a clock says."""
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines(path)]


# --------------------------------------------------------------------------------------------------------------- the numbers


@torch.no_grad()
def greedy(loaded: LoadedModel, tokens_T: np.ndarray, answers: int) -> list[int]:
    """The answer tokens and the end that greedy decoding writes behind the prompt, a token a step."""
    prompt = torch.from_numpy(tokens_T[: len(tokens_T) - answers - 1])[None]
    cache, said = Cache(), list[int]()
    hidden = loaded.model(prompt, cache=cache)
    for _ in range(answers + 1):
        said.append(int(loaded.model.head(hidden[:, -1]).argmax()))
        hidden = loaded.model(torch.tensor([[said[-1]]]), cache=cache)
    return said


@pytest.mark.parametrize("encoding", ["rope", "learned", "t5", "transformer-xl"])
def test_exact_match_of_one_pass_is_that_of_greedy_decoding(encoding: str, tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, **HALF | {"encoding": encoding, "seed": 1})
    loaded, _ = evaluate.load(path, "cpu")
    measure(path, "2,4,6")
    for line in lines(path):
        expected, with_end = [], []
        for batch in data.evaluation_blocks(loaded.task, line["length"], 32, 0):
            for tokens_T in batch.tokens_BxT:
                said = greedy(loaded, tokens_T, line["length"])
                expected.append(said[:-1] == tokens_T[-line["length"] - 1 : -1].tolist())
                with_end.append(expected[-1] and said[-1] == task.END)
        assert bytes.fromhex(line["correct"]) == np.packbits(expected).tobytes()
        assert line["exact_match"] == np.mean(expected)
        assert line["exact_match_eos"] == np.mean(with_end)
    assert 0 < sum(line["exact_match"] for line in lines(path)) < 3


@torch.no_grad()
def test_every_number_is_the_one_worked_out_from_the_logits(fresh: Path) -> None:
    assert measure(fresh, "4", samples=20) == []
    loaded, weights = evaluate.load(fresh, "cpu")
    (batch,) = data.evaluation_blocks(loaded.task, 4, 20, 0)
    ids_BxT = torch.from_numpy(batch.tokens_BxT)
    log_BxTxV = loaded.model.head(loaded.model(ids_BxT[:, :-1])).log_softmax(-1)
    right, nll, exact, exact_end = np.zeros((20, 4), bool), [], [], []
    for b in range(20):
        for n, t in enumerate(range(5, 9)):  # > a b c d | places 6 to 9 answer, each said at the place before, 10 ends
            right[b, n] = log_BxTxV[b, t].argmax() == ids_BxT[b, t + 1]
            nll.append(-log_BxTxV[b, t, ids_BxT[b, t + 1]].item())
        exact.append(bool(right[b].all()))
        exact_end.append(exact[b] and log_BxTxV[b, 9].argmax().item() == task.END)
    (line,) = lines(fresh)
    assert 0 < sum(exact) < 20
    assert (line["n"], line["sequence"], line["eval_seed"], line["weights"]) == (20, 11, 0, weights)
    assert (line["exact_match"], line["exact_match_eos"]) == (np.mean(exact), np.mean(exact_end))
    assert line["token_accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    assert line["token_accuracy_rescaled"] == pytest.approx((right.mean() - 1 / 3) / (1 - 1 / 3), abs=1e-5)
    assert line["chance"] == pytest.approx(1 / 3, abs=1e-6)
    assert line["nll"] == pytest.approx(np.mean(nll), abs=1e-5)
    wilson = binomtest(sum(exact), 20).proportion_ci(0.95, method="wilson")
    assert line["interval"] == pytest.approx([wilson.low, wilson.high], abs=1e-6)
    places: list[float | None] = [None] * 10
    for n, place in enumerate((0, 2, 5, 7)):  # the tenths of the answer in which its four tokens begin
        places[place] = right[:, n].mean().round(4)
    assert line["accuracy_by_decile"] == places
    assert np.unpackbits(np.frombuffer(bytes.fromhex(line["correct"]), np.uint8))[:20].tolist() == exact
    assert line["fingerprint"] == data.fingerprint([batch])


def test_the_lines_of_a_length_longer_than_the_places_share_them_evenly(fresh: Path) -> None:
    measure(fresh, "20")
    (line,) = [line for line in lines(fresh) if line["length"] == 20]
    assert None not in line["accuracy_by_decile"]
    assert np.mean(line["accuracy_by_decile"]) == pytest.approx(line["token_accuracy"], abs=1e-4)


def test_a_task_without_end_tokens_scores_alike_with_and_without(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, task="parity")
    measure(path)
    assert [line["exact_match_eos"] for line in lines(path)] == [line["exact_match"] for line in lines(path)]
    assert [len(line["accuracy_by_decile"]) for line in lines(path)] == [10, 10]


def test_a_task_that_chance_solves_has_no_rescaled_accuracy(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, task="copy:symbols=1", steps=2)
    measure(path)
    assert {line["token_accuracy_rescaled"] for line in lines(path)} == {None}


@pytest.mark.parametrize("encoding", ["rope", "alibi"])
def test_small_batches_change_no_number(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny.trained(tmp_path, **HALF | {"encoding": encoding, "positions": "randomized", "max_position": 64})
    measure(path, samples=40)
    whole = numbers(path)
    monkeypatch.setattr(evaluate_memory, "BATCH_TOKENS", 30)
    measure(path, samples=40, overwrite=True)
    for one, other in zip(whole, numbers(path)[len(whole) :], strict=True):
        assert one.pop("nll") == pytest.approx(other.pop("nll"), abs=2e-6)
        assert one == other


def test_a_long_sequence_is_a_batch_of_its_own(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, _ = evaluate.load(fresh, "cpu")
    rows, forward = [], loaded.model.forward
    monkeypatch.setattr(loaded.model, "forward", lambda ids, *rest, **also: rows.append(len(ids)) or forward(ids, *rest, **also))
    monkeypatch.setattr(evaluate_memory, "BATCH_TOKENS", 44)  # four sequences of 11 tokens, no two of 27
    blocks = {length: list(data.evaluation_blocks(loaded.task, length, 10, 0)) for length in (4, 12)}
    evaluate.measure(loaded, 4, blocks[4], [])
    evaluate.measure(loaded, 12, blocks[12], [])
    assert rows == [4, 4, 2] + 10 * [1]


def test_bfloat16_runs_are_evaluated_in_float32(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, dtype="bfloat16")
    other = tiny.create(tmp_path)
    shutil.copy(path / "weights.safetensors", other)
    run.update(other, status="trained")
    measure(path)
    measure(other)
    assert numbers(path) == numbers(other)


def test_learned_rows_that_training_never_saw_are_counted(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, encoding="learned", steps=200, validate_every=100)  # every length up to 4 comes up
    measure(path, "2,4,8")
    shares = {line["length"]: line["untrained_positions"] for line in lines(path)}
    assert shares == {2: 0, 4: 0, 8: pytest.approx(8 / 18, abs=1e-6)}  # 18 positions are seen, 0 to 9 were trained


def test_randomized_positions_are_drawn_anew_by_the_evaluation_seed_alone(tmp_path: Path) -> None:
    keys = HALF | {"encoding": "learned", "positions": "randomized", "max_position": 64}
    path, other = tiny.trained(tmp_path / "a", **keys), tiny.trained(tmp_path / "b", **keys, eval_seed=1)
    assert path.name == other.name
    measure(path)
    measure(path, overwrite=True)
    measure(other)
    first, second = numbers(path)[:2], numbers(path)[2:]
    assert first == second
    assert {line["fingerprint"] for line in first}.isdisjoint(line["fingerprint"] for line in numbers(other))


def test_randomized_positions_reach_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny.trained(tmp_path, steps=2, positions="randomized", max_position=64)
    loaded, _ = evaluate.load(path, "cpu")
    seen, forward = [], loaded.model.forward
    monkeypatch.setattr(loaded.model, "forward", lambda ids, places, **also: seen.append(places) or forward(ids, places, **also))
    for length in (20, 40):
        evaluate.measure(loaded, length, list(data.evaluation_blocks(loaded.task, length, 64, 0)), [])
    assert [places.shape[1] for places in seen] == [42, 42, 82, 82]  # the last ones are more than max_position
    assert all((places.diff() > 0).all() for places in seen)
    assert not torch.equal(seen[0], seen[1])
    assert seen[0].max() < 64


# ---------------------------------------------------------------------------------------------------------- what is measured


def test_the_training_length_is_always_evaluated(fresh: Path) -> None:
    measure(fresh, "6")
    assert [line["length"] for line in lines(fresh)] == [4, 6]


def test_without_lengths_the_recipes_are_evaluated(fresh: Path) -> None:
    measure(fresh)
    assert [line["length"] for line in lines(fresh)] == [4, 8]


def test_what_has_been_measured_is_not_measured_again_unless_asked(fresh: Path) -> None:
    measure(fresh)
    before = (fresh / "eval.jsonl").read_bytes()
    measure(fresh)
    assert (fresh / "eval.jsonl").read_bytes() == before
    measure(fresh, "4,8,16")
    assert [line["length"] for line in lines(fresh)] == [4, 8, 16]
    measure(fresh, overwrite=True)
    assert [line["length"] for line in lines(fresh)] == [4, 8, 16, 4, 8]
    assert numbers(fresh)[3:] == numbers(fresh)[:2]


def test_more_samples_are_a_line_of_their_own_that_begins_with_the_same_strings(fresh: Path) -> None:
    measure(fresh, "4", samples=40)
    measure(fresh, "4", samples=64)
    fewer, more = (next(line for line in lines(fresh) if line["n"] == n) for n in (40, 64))
    assert fewer["fingerprint"] != more["fingerprint"]
    assert more["correct"][:10] == fewer["correct"]


def test_long_lengths_take_fewer_sequences_but_never_too_few(fresh: Path, tmp_path: Path) -> None:
    config = tiny.config(samples=256, eval_tokens=1000)
    made = task.build(config.task)
    counts = {n: sum(len(b.tokens_BxT) for b in evaluate.strings(config, made, n)) for n in (1, 4, 10, 100)}
    assert counts == {1: 200, 4: 90, 10: 43, 100: 32}  # 1000 tokens in sequences of 5, 11, 23; 32 at least
    assert sum(len(b.tokens_BxT) for b in evaluate.strings(tiny.config(samples=3, eval_tokens=1000), made, 100)) == 3


def test_a_run_with_other_weights_is_evaluated_anew(fresh: Path, tmp_path: Path) -> None:
    measure(fresh)
    other = tiny.trained(tmp_path / "other", **HALF | {"seed": 5})
    shutil.copy(other / "weights.safetensors", fresh / "weights.safetensors")
    measure(fresh)
    assert [line["length"] for line in lines(fresh)] == [4, 8, 4, 8]
    assert len({line["weights"] for line in lines(fresh)}) == 2


def test_two_encodings_are_measured_on_the_same_strings(fresh: Path, tmp_path: Path) -> None:
    other = tiny.trained(tmp_path, **HALF | {"encoding": "none", "seed": 3, "steps": 2})
    measure(fresh)
    measure(other)
    assert [line["fingerprint"] for line in lines(fresh)] == [line["fingerprint"] for line in lines(other)]


# ----------------------------------------------------------------------------------------------- what cannot be measured


def test_lengths_that_the_task_does_not_have_are_said_and_the_others_done(tmp_path: Path, rpe: tiny.Rpe) -> None:
    path = tiny.trained(tmp_path / "runs", task="sort:distinct=true:symbols=9", steps=5)
    said = rpe("eval", "--lengths", "4:16", "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu")
    assert said.code == 0  # nothing failed: there is no such problem
    assert said.err.count("sort:distinct=true:symbols=9 has no problem longer than 9: left out at 16\n") == 1
    assert [line["length"] for line in lines(path)] == [4, 8]
    assert run.read(path)["status"] == "trained"
    assert rpe("eval", "--lengths", "4:9", "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu").code == 0
    assert run.read(path)["error"] is None


def test_lengths_too_long_for_the_memory_are_said_before_they_are_drawn(
    fresh: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, _ = evaluate.load(fresh, "cpu")
    monkeypatch.setattr(evaluate_memory, "available_memory", lambda: evaluate_memory.memory(loaded, loaded.task.sequence(8)))
    said = rpe("eval", "--lengths", "4,8,16,900000000", "--runs", fresh.parent, "--jobs", 0, "--device", "cpu")
    assert said.code == 1
    assert "length 16: needs about 0 GiB, 0 GiB are free: leave it out" in said.err
    assert "length 900000000: needs about" in said.err
    assert [line["length"] for line in lines(fresh)] == [4, 8]
    assert measure(fresh, "4,8") == []


def test_a_length_that_was_measured_once_is_not_refused_for_memory(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(fresh)
    monkeypatch.setattr(evaluate_memory, "available_memory", lambda: 0)
    assert measure(fresh) == []


@pytest.mark.parametrize("error", [RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError("Unable to allocate")])
def test_a_length_that_does_not_fit_is_left_out_and_the_shorter_ones_are_kept(
    error: Exception, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = evaluate.measure

    def tight(loaded: LoadedModel, length: int, *rest: Any) -> Any:
        if length == 8:
            raise error
        return honest(loaded, length, *rest)

    monkeypatch.setattr(evaluate, "measure", tight)
    assert measure(fresh, "8,12") == ["length 8: does not fit in memory, one sequence at a time: leave it out"]
    assert [line["length"] for line in lines(fresh)] == [4, 12]


def test_other_errors_are_not_taken_for_a_lack_of_memory(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(evaluate, "measure", broken)
    with pytest.raises(RuntimeError, match="size mismatch"):
        measure(fresh)


def test_the_memory_there_is_is_a_plausible_number() -> None:
    assert 2**20 < available_memory() < 2**50


def test_the_memory_estimate_grows_with_the_length(fresh: Path) -> None:
    loaded, _ = evaluate.load(fresh, "cpu")
    sizes = [evaluate_memory.memory(loaded, T) for T in (10, 10**4, 10**6)]
    assert sizes[0] < sizes[1] < sizes[2] / 10


def check_estimate(**keys: Any) -> None:
    """With small blocks, so that 513 tokens are many of them, as 32,768 are otherwise."""
    loaded = build(Config.from_keys(**{"task": "copy", "samples": 2, **keys}), torch.device("cpu"))
    loaded.model.block_sizes = BlockSizes(cells=1 << 13)
    loaded.model.switch(True)
    loaded.model.eval()
    blocks = list(data.evaluation_blocks(loaded.task, 256, 2, 0))
    held = [*loaded.model.parameters(), *loaded.model.buffers()]
    taken = peak_of_tensors.peak(lambda: evaluate.measure(loaded, 256, blocks, []), held)
    assert taken / 2 < evaluate_memory.memory(loaded, loaded.task.sequence(256)) < taken * 2


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_evaluation_keeps_the_finished_lengths(number: signal.Signals, fresh: Path) -> None:
    with pytest.raises(run.Stopped) as stop:
        evaluate.evaluate(fresh, request(fresh, "4,8,12"), "cpu", 1, progress=lambda _: os.kill(os.getpid(), number))
    assert stop.value.signal == number
    assert [line["length"] for line in lines(fresh)] == [4]
    assert run.read(fresh)["status"] == "trained"
    measure(fresh, "4,8,12")
    assert [line["length"] for line in lines(fresh)] == [4, 8, 12]


def test_a_length_is_stopped_between_its_batches(fresh: Path) -> None:
    loaded, _ = evaluate.load(fresh, "cpu")
    with pytest.raises(run.Stopped):
        evaluate.measure(loaded, 4, list(data.evaluation_blocks(loaded.task, 4, 64, 0)), [signal.SIGTERM])


def test_a_signal_behind_the_last_length_is_not_lost(fresh: Path) -> None:
    """Whatever was to follow has to hear of it."""
    with pytest.raises(run.Stopped):
        evaluate.evaluate(fresh, request(fresh, "4"), "cpu", 1, progress=lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert [line["length"] for line in lines(fresh)] == [4]


def test_a_run_that_is_not_trained_is_named(tmp_path: Path, rpe: tiny.Rpe) -> None:
    path = tiny.create(tmp_path / "runs")
    with pytest.raises(RunError, match=rf"{path} is not trained yet: rpe train {path / 'recipe.yaml'}"):
        measure(path)
    said = rpe("eval", "--runs", tmp_path / "runs", "--jobs", 0)
    assert said.code == 1
    assert f"{path.name} is not trained, so it is left out: rpe train {path / 'recipe.yaml'}" in said.err
    assert f"no trained run under {tmp_path / 'runs'}" in said.err


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_weights_that_do_not_load_are_named(damage: str, fresh: Path, tmp_path: Path) -> None:
    file = fresh / "weights.safetensors"
    other = tiny.trained(tmp_path / "other", encoding="learned", steps=1) / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:100] if damage == "cut" else other.read_bytes())
    with pytest.raises(RunError, match=rf"{file} does not load .*: delete {fresh} and train it again"):
        measure(fresh)


def test_a_torn_last_line_of_an_evaluation_is_measured_again(fresh: Path) -> None:
    measure(fresh)
    whole = numbers(fresh)
    text = (fresh / "eval.jsonl").read_bytes()
    (fresh / "eval.jsonl").write_bytes(text[:-20])
    measure(fresh)
    assert numbers(fresh) == whole

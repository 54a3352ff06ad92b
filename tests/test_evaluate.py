"""Evaluation: its numbers against decoding and by hand, what it skips, and what it reports as impossible."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import training as tiny
from helpers.evaluation import blocks_of, evaluate_run, lengths_of, numbers, request
from scipy.stats import binomtest

from rpecli import data
from rpecli import task as tasks
from rpecli.evaluate.eval_set import eval_lengths, eval_set
from rpecli.evaluate.load import load
from rpecli.evaluate.measure import evaluate, measure
from rpecli.evaluate.memory import BATCH_TOKENS
from rpecli.model import Cache, LoadedModel
from rpecli.run.directory import Run, Status, Stopped
from rpecli.run.files import RunError

HALF = {"task": "copy:symbols=3", "steps": 250, "tokens": 256, "lr": 0.01, "warmup": 10, "validate_every": 50}  # exact: half


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose exact match is neither 0 nor 1."""
    return tiny.trained_run(tmp_path_factory.mktemp("half"), **HALF)


@pytest.fixture
def fresh(half: Run, tmp_path: Path) -> Run:
    """The same run, never evaluated."""
    return Run(Path(shutil.copytree(half.path, tmp_path / "runs" / half.name)))


@torch.no_grad()
def greedy(loaded: LoadedModel, tokens_T: np.ndarray, answers: int) -> list[int]:
    """The answer tokens and the end token of greedy decoding behind the prompt, one token per step."""
    prompt_1xP = torch.from_numpy(tokens_T[: len(tokens_T) - answers - 1])[None]
    cache, tokens = Cache(), list[int]()
    hidden_1xTxM = loaded.model(prompt_1xP, cache=cache)
    for _ in range(answers + 1):
        tokens.append(int(loaded.model.head(hidden_1xTxM[:, -1]).argmax()))
        hidden_1xTxM = loaded.model(torch.tensor([[tokens[-1]]]), cache=cache)
    return tokens


@pytest.mark.parametrize("encoding", ["rope", "learned", "t5", "transformer-xl"])
def test_exact_match_of_one_pass_is_that_of_greedy_decoding(encoding: str, tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, **HALF | {"encoding": encoding, "seed": 1})
    loaded, _ = load(run, "cpu")
    evaluate_run(run, "2,4,6")
    for line in run.evaluations():
        expected, with_end = [], []
        for batch in blocks_of(loaded, line["length"], 32):
            for tokens_T in batch.tokens_BxT:
                decoded = greedy(loaded, tokens_T, line["length"])
                expected.append(decoded[:-1] == tokens_T[-line["length"] - 1 : -1].tolist())
                with_end.append(expected[-1] and decoded[-1] == tasks.END)
        assert bytes.fromhex(line["correct"]) == np.packbits(expected).tobytes()
        assert line["exact_match"] == np.mean(expected)
        assert line["exact_match_eos"] == np.mean(with_end)
    assert 0 < sum(line["exact_match"] for line in run.evaluations()) < 3


@torch.no_grad()
def test_every_number_is_the_one_worked_out_from_the_logits(fresh: Run) -> None:
    assert evaluate_run(fresh, "4", samples=20) == []
    loaded, weights = load(fresh, "cpu")
    (batch,) = blocks_of(loaded, 4, 20)
    ids_BxT = torch.from_numpy(batch.tokens_BxT)
    log_BxTxV = loaded.model.head(loaded.model(ids_BxT[:, :-1])).log_softmax(-1)
    right, nll, exact, exact_end = np.zeros((20, 4), bool), [], [], []
    for b in range(20):
        for n, t in enumerate(range(5, 9)):  # > a b c d | at places 6 to 9 the answer, predicted one place before; at 10 the end
            right[b, n] = log_BxTxV[b, t].argmax() == ids_BxT[b, t + 1]
            nll.append(-log_BxTxV[b, t, ids_BxT[b, t + 1]].item())
        exact.append(bool(right[b].all()))
        exact_end.append(exact[b] and log_BxTxV[b, 9].argmax().item() == tasks.END)
    (line,) = fresh.evaluations()
    assert 0 < sum(exact) < 20
    assert (line["n"], line["sequence"], line["eval_seed"], line["weights"]) == (20, 11, 0, weights)
    assert (line["exact_match"], line["exact_match_eos"]) == (np.mean(exact), np.mean(exact_end))
    assert line["token_accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    assert line["token_accuracy_rescaled"] == pytest.approx((right.mean() - 1 / 3) / (1 - 1 / 3), abs=1e-5)
    assert line["chance"] == pytest.approx(1 / 3, abs=1e-6)
    assert line["nll"] == pytest.approx(np.mean(nll), abs=1e-5)
    wilson = binomtest(sum(exact), 20).proportion_ci(0.95, method="wilson")
    assert line["interval"] == pytest.approx([wilson.low, wilson.high], abs=1e-6)
    deciles: list[float | None] = [None] * 10
    for n, decile in enumerate((0, 2, 5, 7)):  # where the four tokens of the answer begin
        deciles[decile] = right[:, n].mean().round(4)
    assert line["accuracy_by_decile"] == deciles
    assert np.unpackbits(np.frombuffer(bytes.fromhex(line["correct"]), np.uint8))[:20].tolist() == exact
    assert line["fingerprint"] == data.fingerprint([batch])
    target, answer = ids_BxT[0, 6:10].tolist(), log_BxTxV[0, 5:9].argmax(-1).tolist()
    words = {name: loaded.task.words(tokens) for name, tokens in (("target", target), ("answer", answer))}
    assert line["example"] == {"prompt": words["target"], **words}


def test_an_answer_of_more_than_ten_tokens_fills_every_decile(fresh: Run) -> None:
    evaluate_run(fresh, "20")
    (line,) = [line for line in fresh.evaluations() if line["length"] == 20]
    assert None not in line["accuracy_by_decile"]
    assert np.mean(line["accuracy_by_decile"]) == pytest.approx(line["token_accuracy"], abs=1e-4)


def test_a_task_without_end_tokens_scores_alike_with_and_without(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, task="parity")
    evaluate_run(run)
    assert [line["exact_match_eos"] for line in run.evaluations()] == [line["exact_match"] for line in run.evaluations()]
    assert [len(line["accuracy_by_decile"]) for line in run.evaluations()] == [10, 10]


def test_a_task_that_chance_solves_has_no_rescaled_accuracy(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, task="copy:symbols=1", steps=2)
    evaluate_run(run)
    assert {line["token_accuracy_rescaled"] for line in run.evaluations()} == {None}


@pytest.mark.parametrize("encoding", ["rope", "alibi"])
def test_small_batches_change_no_number(encoding: str, tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, **HALF | {"encoding": encoding, "positions": "randomized", "max_position": 64})
    loaded, _ = load(run, "cpu")
    for length in (4, 8):
        whole, parts = (dict(measure(loaded, length, blocks_of(loaded, length, 40), [], size)) for size in (BATCH_TOKENS, 30))
        assert whole.pop("nll") == pytest.approx(parts.pop("nll"), abs=2e-6)
        assert whole | {"seconds": 0} == parts | {"seconds": 0}


def test_a_long_sequence_is_a_batch_of_its_own(fresh: Run) -> None:
    loaded, _ = load(fresh, "cpu")
    sizes = list[int]()
    loaded.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    for length in (4, 12):  # of 11 and 27 tokens
        measure(loaded, length, blocks_of(loaded, length, 10), [], batch_tokens=44)
    assert sizes == [4, 4, 2] + 10 * [1]


def test_bfloat16_runs_are_evaluated_in_float32(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, dtype="bfloat16")
    other = tiny.new_run(tmp_path)
    shutil.copy(run.weights_file, other.path)
    other.update(status=Status.TRAINED)
    evaluate_run(run)
    evaluate_run(other)
    assert numbers(run) == numbers(other)


def test_untrained_rows_of_a_table_are_counted(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, encoding="learned", steps=200, validate_every=100)  # every length up to 4 comes up
    evaluate_run(run, "2,4,8")
    shares = {line["length"]: line["untrained_positions"] for line in run.evaluations()}
    assert shares == {2: 0, 4: 0, 8: pytest.approx(8 / 18, abs=1e-6)}  # of 18 positions, 0 to 9 were trained


def test_randomized_positions_are_drawn_anew_by_the_evaluation_seed_alone(tmp_path: Path) -> None:
    keys = HALF | {"encoding": "learned", "positions": "randomized", "max_position": 64}
    run, other = tiny.trained_run(tmp_path / "a", **keys), tiny.trained_run(tmp_path / "b", **keys, eval_seed=1)
    assert run.name == other.name
    evaluate_run(run)
    evaluate_run(run, overwrite=True)
    evaluate_run(other)
    first, second = numbers(run)[:2], numbers(run)[2:]
    assert first == second
    assert {line["fingerprint"] for line in first}.isdisjoint(line["fingerprint"] for line in other.evaluations())


def test_randomized_positions_reach_the_model(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, steps=2, positions="randomized", max_position=64)
    loaded, _ = load(run, "cpu")
    calls = list[torch.Tensor]()
    loaded.model.register_forward_pre_hook(lambda _, args: calls.append(args[1]))
    for length in (20, 40):
        measure(loaded, length, blocks_of(loaded, length, 64), [])
    assert [positions.shape[1] for positions in calls] == [42, 42, 82, 82]  # the last ones are more than max_position
    assert all((positions.diff() > 0).all() for positions in calls)
    assert not torch.equal(calls[0], calls[1])
    assert calls[0].max() < 64


def test_the_training_length_is_always_evaluate_run(fresh: Run) -> None:
    evaluate_run(fresh, "6")
    assert lengths_of(fresh) == [4, 6]


def test_without_lengths_the_recipes_are_evaluate_run(fresh: Run) -> None:
    evaluate_run(fresh)
    assert lengths_of(fresh) == [4, 8]


def test_what_has_been_measured_is_not_measured_again_by_default(fresh: Run) -> None:
    evaluate_run(fresh)
    before = fresh.evaluations_file.read_bytes()
    evaluate_run(fresh)
    assert fresh.evaluations_file.read_bytes() == before
    evaluate_run(fresh, "4,8,16")
    assert lengths_of(fresh) == [4, 8, 16]
    evaluate_run(fresh, overwrite=True)
    assert lengths_of(fresh) == [4, 8, 16, 4, 8]
    assert numbers(fresh)[3:] == numbers(fresh)[:2]


def test_more_samples_are_a_line_of_their_own_that_begins_with_the_same_sequences(fresh: Run) -> None:
    evaluate_run(fresh, "4", samples=40)
    evaluate_run(fresh, "4", samples=64)
    fewer, more = (next(line for line in fresh.evaluations() if line["n"] == n) for n in (40, 64))
    assert fewer["fingerprint"] != more["fingerprint"]
    assert more["correct"][:10] == fewer["correct"]


def test_long_lengths_take_fewer_sequences_but_never_too_few() -> None:
    def count(length: int, samples: int = 256) -> int:
        config = tiny.config(samples=samples, eval_tokens=1000)
        return sum(len(batch.tokens_BxT) for batch in eval_set(config, tasks.build(config.task), length))

    assert [count(length) for length in (1, 4, 10, 100)] == [200, 90, 43, 32]  # 1000 tokens: 5, 11, 23 per sequence; at least 32
    assert count(100, samples=3) == 3


def test_a_run_with_other_weights_is_evaluated_anew(fresh: Run, tmp_path: Path) -> None:
    evaluate_run(fresh)
    other = tiny.trained_run(tmp_path / "other", **HALF | {"seed": 5})
    shutil.copy(other.weights_file, fresh.weights_file)
    fresh.update(weights=other.record["weights"])
    evaluate_run(fresh)
    assert lengths_of(fresh) == [4, 8, 4, 8]
    assert len({line["weights"] for line in fresh.evaluations()}) == 2


def test_two_encodings_are_evaluated_on_the_same_sequences(fresh: Run, tmp_path: Path) -> None:
    other = tiny.trained_run(tmp_path, **HALF | {"encoding": "none", "seed": 3, "steps": 2})
    evaluate_run(fresh)
    evaluate_run(other)
    assert [line["fingerprint"] for line in fresh.evaluations()] == [line["fingerprint"] for line in other.evaluations()]


def test_lengths_that_the_task_does_not_have_are_reported_and_the_others_evaluated(tmp_path: Path, rpe: tiny.Rpe) -> None:
    run = tiny.trained_run(tmp_path / "runs", task="sort:distinct=true:symbols=9", steps=5)
    result = rpe("eval", "--lengths", "4:16", "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu")
    assert result.code == 0  # nothing failed: there is no such problem
    assert result.err.count("sort:distinct=true:symbols=9 has no problem longer than 8: left out at 16\n") == 1
    assert lengths_of(run) == [4, 8]
    assert run.record["status"] == "trained"
    assert rpe("eval", "--lengths", "4:9", "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu").code == 0
    assert run.record["error"] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_evaluation_keeps_the_finished_lengths(number: signal.Signals, fresh: Run) -> None:
    with pytest.raises(Stopped) as stop:
        evaluate(fresh, request(fresh, "4,8,12"), "cpu", progress=lambda _: os.kill(os.getpid(), number))
    assert stop.value.signal == number
    assert lengths_of(fresh) == [4]
    assert fresh.record["status"] == "trained"
    evaluate_run(fresh, "4,8,12")
    assert lengths_of(fresh) == [4, 8, 12]


def test_a_length_is_stopped_between_its_batches(fresh: Run) -> None:
    loaded, _ = load(fresh, "cpu")
    with pytest.raises(Stopped):
        measure(loaded, 4, blocks_of(loaded, 4, 64), [signal.SIGTERM])


def test_a_signal_behind_the_last_length_is_not_lost(fresh: Run) -> None:
    """The command that called has to know of it."""
    with pytest.raises(Stopped):
        evaluate(fresh, request(fresh, "4"), "cpu", progress=lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert lengths_of(fresh) == [4]


def test_a_run_that_is_not_trained_is_named(tmp_path: Path, rpe: tiny.Rpe) -> None:
    run = tiny.new_run(tmp_path / "runs")
    with pytest.raises(RunError, match=rf"{run} is not trained yet: rpe train {run.recipe_file}"):
        evaluate_run(run)
    result = rpe("eval", "--runs", tmp_path / "runs", "--jobs", 0)
    assert result.code == 1
    assert run.name in result.err
    assert f"rpe train {run.recipe_file}" in result.err
    assert "none of these runs is trained" in result.err


def test_a_torn_last_line_of_an_evaluation_is_measured_again(fresh: Run) -> None:
    evaluate_run(fresh)
    whole = numbers(fresh)
    text = fresh.evaluations_file.read_bytes()
    fresh.evaluations_file.write_bytes(text[:-20])
    evaluate_run(fresh)
    assert numbers(fresh) == whole


def test_the_example_of_a_long_sequence_is_cut(fresh: Run) -> None:
    evaluate_run(fresh, "70")
    line = fresh.evaluations()[-1]
    assert {key: len(words) for key, words in line["example"].items()} == {"prompt": 64, "target": 64, "answer": 64}


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [("8x", [4, 8, 16, 32]), ("20,64", [4, 8, 16, 20, 64]), ("2x,4x", [4, 8, 16]), ("1x,8x", [4, 32]), ("3", [3, 4])],
)
def test_an_evaluation_leads_up_to_the_first_length_asked_for(lengths: str, expected: list[int], tmp_path: Path) -> None:
    config = tiny.config(lengths=lengths)
    assert eval_lengths(config, tasks.build(config.task)) == expected


def test_lengths_far_beyond_training_are_a_warning_of_one_line_per_task(tmp_path: Path, rpe: tiny.Rpe) -> None:
    tiny.trained_run(tmp_path, steps=2)
    for lengths, warned in (("128", False), ("136", True)):
        result = rpe("eval", "--lengths", lengths, "--samples", 1, "--runs", tmp_path, "--jobs", 0, "--device", "cpu")
        assert ("copy: 136 is 34x the training length 4: few encodings are above chance there" in result.err) == warned


def test_of_runs_of_one_task_any_may_be_the_one_that_is_warned_of(tmp_path: Path, rpe: tiny.Rpe) -> None:
    for length in (8, 4):
        tiny.trained_run(tmp_path, steps=2, length=length)
    result = rpe("eval", "--lengths", "136", "--samples", 1, "--runs", tmp_path, "--jobs", 0, "--device", "cpu")
    assert result.err.count("copy: 136 is 34x the training length 4") == 1


def test_runs_of_other_recipes_are_told_before_they_are_measured_too(tmp_path: Path, rpe: tiny.Rpe) -> None:
    """Whoever trains a run beside those of `rpe run quick` does not mean to measure these for half an hour."""
    runs = [tiny.trained_run(tmp_path / "runs", steps=1, seed=seed) for seed in range(3)]
    words = ("eval", "--runs", tmp_path / "runs", "--lengths", "1x", "--samples", 4, "--jobs", 0, "--device", "cpu")
    for run, study in zip(runs, ("quick", "default", "quick"), strict=True):
        run.update(study=study)
    told = "3 runs to measure, 2 of quick, 1 of default: for less, name some, or choose with --task, --encoding and --seed\n"
    assert told in rpe(*words).err
    assert "runs to measure" not in rpe(*words).err  # nothing is left
    for some in (("--seed", "0:2"), (runs[0].name, runs[1].name)):
        assert "runs to measure" not in rpe(*words, "--overwrite", *some).err

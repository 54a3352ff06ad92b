"""Training: the loop, its record, and that a run which was stopped or killed ends as if it had not been."""

import json
import math
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import training as tiny
from safetensors.torch import load_file

from rpecli import data, task
from rpecli.config.recipe import Config
from rpecli.device import pick_device
from rpecli.launch import preflight
from rpecli.run.directory import Run, Stopped, find_runs
from rpecli.run.files import RunError, line_bytes
from rpecli.train import loop, scores
from rpecli.train.batches import TrainBatch
from rpecli.train.loop import train


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nobody disturbed."""
    return tiny.trained_run(tmp_path_factory.mktemp("plain"), steps=120)


def undisturbed(trap: tiny.Trap, folder: Path, **keys: Any) -> Run:
    """The same run as those of a trap, never disturbed."""
    return tiny.trained_run(folder / "undisturbed", task=str(trap.task), **keys)


def train_batch(batch: task.Batch, config: Config) -> TrainBatch:
    return TrainBatch(data.shift_targets(batch, config), None, batch.tokens_BxT.size)


def weights(run: Run) -> bytes:
    return run.weights_file.read_bytes()


def same(one: Run, other: Run) -> bool:
    """Whether two runs ended alike: weights byte for byte, metrics but for the clock, counters."""
    left, right = one.record, other.record
    counters = all(left[key] == right[key] for key in ("step", "tokens", "steps_to_accuracy", "status"))
    return counters and weights(one) == weights(other) and tiny.metrics(one) == tiny.metrics(other)


def test_the_loss_falls(plain: Run) -> None:
    losses = [line["loss"] for line in tiny.metrics(plain)]
    assert losses[-1] < losses[0] - 0.5


def test_a_line_of_metrics_comes_every_validation_and_at_the_end(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, steps=25, validate_every=10)
    lines = run.metrics()
    assert [line["step"] for line in lines] == [10, 20, 25]
    assert [*lines[0]] == ["step", "tokens", "loss", "lr", "token_accuracy", "exact_match", "seconds"]
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert all(0 <= line["exact_match"] <= line["token_accuracy"] <= 1 for line in lines)


def test_the_tokens_are_those_of_the_batches(plain: Run) -> None:
    config = plain.config
    copy = task.build(config.task)
    sizes = [data.train_batch(copy, config, step).tokens_BxT.size for step in range(config.steps)]
    assert [line["tokens"] for line in tiny.metrics(plain)] == np.cumsum(sizes)[9::10].tolist()


def test_the_record_says_what_was_trained_where_and_how_long(plain: Run) -> None:
    record, lines = plain.record, plain.metrics()
    expected = {"status": "trained", "error": None, "step": 120, "steps": 120, "length": 4, "sequence": 11, "device": "cpu"}
    expected |= {"pid": os.getpid(), "tokens": lines[-1]["tokens"], "platform": sys.platform}
    assert expected.items() <= record.items()
    assert record["parameters"] == sum(tensor.numel() for tensor in load_file(plain.weights_file).values())
    assert {
        "commit",
        "dirty",
        "versions",
        "machine",
        "started",
        "finished",
        "steps_to_accuracy",
        "tokens_per_second",
    } <= record.keys()
    assert record["seconds"] >= lines[-1]["seconds"] > 0
    assert 10**7 < record["peak_memory"] < 10**11
    assert record["tokens_per_second"] == round(record["tokens"] / record["seconds"])


def test_a_trained_run_keeps_no_checkpoint(plain: Run) -> None:
    names = {file.name for file in plain.path.iterdir()} - {"lock"}
    assert names == {"recipe.yaml", "run.json", "metrics.jsonl", "weights.safetensors"}


def test_progress_is_told_the_lines_of_metrics(tmp_path: Path) -> None:
    run, lines = tiny.new_run(tmp_path), []
    train(run, "cpu", progress=lines.append)
    assert lines == run.metrics()


def test_the_learning_rate_warms_up_and_comes_down_a_cosine() -> None:
    config = tiny.config(lr=0.01, warmup=4, steps=15, lr_end=0.1)
    rates = [loop.learning_rate(config, step) for step in (0, 1, 3, 4, 9, 14)]
    middle = 0.01 * (0.1 + 0.9 / 2)  # step 9 is half way from 4 to 14
    assert rates == pytest.approx([0.0025, 0.005, 0.01, 0.01, middle, 0.001])
    assert loop.learning_rate(tiny.config(lr=0.01, warmup=0, steps=1), 0) == 0.01


def test_a_warm_up_longer_than_the_run_never_comes_down() -> None:
    config = tiny.config(lr=1.0, warmup=10, steps=4)
    assert [loop.learning_rate(config, step) for step in range(4)] == [0.1, 0.2, 0.3, 0.4]


def test_a_step_uses_the_rate_of_its_number(tmp_path: Path) -> None:
    trainer = tiny.trainer(warmup=5, lr=0.5)
    for step in range(3):
        loop.step(trainer)
        assert trainer.optimizer.param_groups[0]["lr"] == loop.learning_rate(trainer.config, step)


def test_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, norms = tiny.trainer(clip=0.125), []
    step = trainer.optimizer.step

    def measured_step() -> None:
        gradients = [p.grad.norm() for p in trainer.model.parameters() if p.grad is not None]
        norms.append(torch.stack(gradients).norm().item())
        step()

    monkeypatch.setattr(trainer.optimizer, "step", measured_step)
    loop.step(trainer)
    assert norms == pytest.approx([0.125], rel=1e-3)


def test_only_answers_and_end_tokens_are_trained_on() -> None:
    """The loss of hand-picked places: log of the softmax at the place before."""
    trainer = tiny.trainer()
    batch = trainer.task.sample(np.random.default_rng(0), 3, 2)  # > a b | a b . : places 4, 5 are answers, 6 the end
    ids_BxT = torch.from_numpy(batch.tokens_BxT)
    log_BxTxV = trainer.model.head(trainer.model(ids_BxT)).log_softmax(-1)
    expected = [-log_BxTxV[b, t - 1, ids_BxT[b, t]].item() for b in range(3) for t in (4, 5, 6)]
    losses_N = loop.answer_losses(trainer.model, train_batch(batch, trainer.config), trainer.device)
    assert losses_N.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("keys", [{"task": "recall"}, {"task": "parity"}, {"task": "addition"}, {"attention": "bidirectional"}])
def test_losses_of_places_that_are_read_alone_are_those_among_all(keys: dict[str, Any]) -> None:
    trainer = tiny.trainer(**keys)
    batch = train_batch(trainer.task.sample(np.random.default_rng(0), 3, 4), trainer.config)
    examples = batch.examples
    logits_BxTxV = trainer.model.head(trainer.model(torch.from_numpy(examples.inputs_BxT)))
    all_BxT = torch.nn.functional.cross_entropy(logits_BxTxV.mT, torch.from_numpy(examples.targets_BxT), reduction="none")
    expected_N = all_BxT[torch.from_numpy(examples.scored_BxT)]
    losses_N = loop.answer_losses(trainer.model, batch, trainer.device)
    torch.testing.assert_close(losses_N, expected_N, atol=1e-5, rtol=0)
    assert 0 < len(losses_N) < all_BxT.numel()


def test_a_run_stops_early_at_the_exact_match_it_was_told(tmp_path: Path) -> None:
    keys = {"task": "copy:symbols=1", "steps": 200, "validate_every": 5, "stop_at": 1.0}
    run = tiny.trained_run(tmp_path, **keys)
    matches = [line["exact_match"] for line in tiny.metrics(run)]
    record = run.record
    assert matches[-1] == 1.0 > max(matches[:-1], default=0)
    assert (record["status"], record["step"]) == ("trained", 5 * len(matches))
    assert record["step"] < record["steps"] == 200


def test_steps_to_an_accuracy_are_those_of_the_first_validation_that_reached_it() -> None:
    lines = [{"step": 10 * n, "tokens": 1000 * n, "token_accuracy": a} for n, a in enumerate((0.2, 0.9, 0.7, 0.95, 0.989), 1)]
    expected = {"steps_to_90": 20, "tokens_to_90": 2000, "steps_to_99": None, "tokens_to_99": None}
    assert loop.steps_to_accuracy(lines) == expected
    lines.append({"step": 60, "tokens": 6000, "token_accuracy": 0.99})
    assert loop.steps_to_accuracy(lines) == expected | {"steps_to_99": 60, "tokens_to_99": 6000}


def test_an_absurd_learning_rate_fails_and_says_what_to_change(tmp_path: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(tmp_path, lr="1e30", warmup=0)
    result = rpe("train", file, "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu")
    (run,) = find_runs(tmp_path / "runs")[0]
    record = run.record
    assert result.code == 1
    assert record["status"] == "failed"
    assert "lower lr (now 1e+30) or clip, or warm up longer" in record["error"]
    assert record["error"] in result.err
    assert not run.weights_file.exists()


@pytest.mark.parametrize("keys", [{"length": 5, "min_length": 3}, {"curriculum": 0.5}, {"positions": "offset"}])
def test_training_and_validation_ask_for_training_lengths_only(
    keys: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []
    build = task.build

    def spy(choice: str) -> task.Task:
        built = build(choice)
        draw = built.draw
        monkeypatch.setattr(built, "draw", lambda rng, batch, length: lengths.append(length) or draw(rng, batch, length))
        return built

    monkeypatch.setattr(task, "build", spy)
    run = tiny.trained_run(tmp_path, **keys)
    config = run.config
    assert {config.min_length, config.length} <= set(lengths)
    assert config.min_length <= min(lengths)
    assert max(lengths) <= config.length


def test_two_encodings_of_a_seed_see_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprints, losses = list[str](), loop.answer_losses

    def spy(model: Any, batch: TrainBatch, device: torch.device) -> torch.Tensor:
        fingerprints.append(data.fingerprint([task.Batch(batch.examples.inputs_BxT, batch.examples.answer_mask_BxT)]))
        return losses(model, batch, device)

    monkeypatch.setattr(loop, "answer_losses", spy)
    for keys in ({}, {"encoding": "learned"}, {"seed": 1}):
        tiny.trained_run(tmp_path, **keys)
    rope, learned, other_seed = (fingerprints[n : n + 40] for n in (0, 40, 80))
    assert rope == learned != other_seed
    assert len(fingerprints) == 120


def test_two_encodings_of_a_seed_start_from_the_same_weights() -> None:
    rope, bare, other = (tiny.trainer(**keys).model.state() for keys in ({}, {"encoding": "none"}, {"seed": 1}))
    assert all(torch.equal(rope[name], bare[name]) for name in bare)
    assert not torch.equal(rope["out.weight"], other["out.weight"])


@pytest.mark.parametrize("encoding", ["learned", "rope", "t5"])
@pytest.mark.parametrize("positions", ["offset", "randomized"])
def test_positions_that_are_drawn_train(encoding: str, positions: str, tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, encoding=encoding, positions=positions, max_position=32)
    losses = [line["loss"] for line in tiny.metrics(run)]
    assert losses[-1] < losses[0]
    assert f"-{positions}-" in run.name


def test_offsets_reach_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.trained_run(tmp_path, encoding="learned", positions="offset", max_position=32)
    touched = load_file(run.weights_file)["encodings.0.touched_R"]
    assert touched[:32].all()
    assert not touched[32:].any()


def test_bfloat16_trains_float32_weights_to_something_else_than_float32(tmp_path: Path) -> None:
    exact, rough = (tiny.trained_run(tmp_path, dtype=dtype, steps=60) for dtype in ("float32", "bfloat16"))
    losses = [line["loss"] for line in tiny.metrics(rough)]
    assert losses[-1] < losses[0]
    assert all(t.dtype == torch.float32 for name, t in load_file(rough.weights_file).items() if "weight" in name)
    assert weights(exact) != weights(rough)


def test_a_run_in_another_thread_trains_too(tmp_path: Path, plain: Run) -> None:
    """Signals belong to the main thread alone: elsewhere they are left as they are."""
    run = tiny.new_run(tmp_path, steps=120)
    worker = threading.Thread(target=train, args=(run, "cpu"))
    worker.start()
    worker.join()
    assert same(run, plain)


def test_a_device_that_is_not_there_is_named() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    for name in {"cuda", "mps"} - {pick_device("auto").type}:
        with pytest.raises(ValueError, match=rf"no device '{name}:1' here: write .*cpu"):
            pick_device(f"{name}:1")
    with pytest.raises(ValueError, match=r"no device 'gpu' here: write .*cpu"):
        pick_device("gpu")


def test_the_same_recipe_trains_to_the_same_bytes(plain: Run, tmp_path: Path) -> None:
    again = tiny.trained_run(tmp_path, steps=120)
    assert same(again, plain)
    assert again.name == plain.name


@pytest.mark.parametrize("keys", [{}, {"encoding": "learned", "positions": "offset"}, {"dtype": "bfloat16", "encoding": "fire"}])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_a_signal_stopped_goes_on_as_if_nothing_had_been(
    number: signal.Signals, keys: dict[str, Any], tmp_path: Path, trap: tiny.Trap
) -> None:
    run = tiny.new_run(tmp_path, task=str(trap.task), **keys)
    trap.arm(17, number.name)
    with pytest.raises(Stopped) as stop:
        train(run, "cpu")
    record = run.record
    assert stop.value.signal == number
    assert (record["status"], record["step"]) == ("stopped", 17)
    assert run.checkpoint_file.exists()
    assert not run.weights_file.exists()
    train(run, "cpu")
    assert same(run, undisturbed(trap, tmp_path, **keys))
    assert not run.checkpoint_file.exists()


def test_a_run_stopped_again_and_again_adds_up(tmp_path: Path, trap: tiny.Trap) -> None:
    run = tiny.new_run(tmp_path, task=str(trap.task))
    for step in (9, 10, 30):  # before, at and between validations
        trap.arm(step - run.record.get("step", 0), "SIGTERM")
        with pytest.raises(Stopped):
            train(run, "cpu")
        assert run.record["step"] == step
    seconds = run.record["seconds"]
    train(run, "cpu")
    assert same(run, undisturbed(trap, tmp_path))
    assert run.record["seconds"] > seconds > 0


def test_a_signal_at_the_last_step_still_stops_and_keeps_all(tmp_path: Path, trap: tiny.Trap) -> None:
    run = tiny.new_run(tmp_path, task=str(trap.task))
    trap.arm(40, "SIGTERM")
    with pytest.raises(Stopped):
        train(run, "cpu")
    train(run, "cpu")
    assert same(run, undisturbed(trap, tmp_path))


def test_signals_are_as_before_once_training_has_ended(tmp_path: Path, trap: tiny.Trap) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run = tiny.new_run(tmp_path, task=str(trap.task))
    trap.arm(1, "SIGTERM")
    with pytest.raises(Stopped):
        train(run, "cpu")
    train(run, "cpu")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_failure_in_the_middle_goes_on_from_the_last_checkpoint(tmp_path: Path, trap: tiny.Trap) -> None:
    """Metrics beyond the checkpoint are cut: the steps come again, and their lines too."""
    run = tiny.new_run(tmp_path, task=str(trap.task))
    trap.arm(26, "raise")
    with pytest.raises(ValueError, match="the trap"):
        train(run, "cpu")
    lines = run.metrics_file.read_bytes()
    late = {"step": 30, "tokens": 1, "loss": 9.0, "lr": 0.1, "token_accuracy": 1.0, "exact_match": 1.0, "seconds": 1.0}
    run.metrics_file.write_bytes(lines + line_bytes(late) + b'{"step": 40, "tok')
    train(run, "cpu")
    assert same(run, undisturbed(trap, tmp_path))


def test_a_failure_before_the_first_checkpoint_starts_from_the_start(tmp_path: Path) -> None:
    trap = tiny.trap_in(tmp_path, save_seconds=1000)
    run = tiny.new_run(tmp_path, task=str(trap.task))
    trap.arm(26, "raise")
    with pytest.raises(ValueError, match="the trap"):
        train(run, "cpu")
    assert not run.checkpoint_file.exists()
    assert len(tiny.metrics(run)) == 2
    train(run, "cpu")
    assert same(run, undisturbed(trap, tmp_path))


@pytest.mark.parametrize(
    ("jobs", "saves", "code", "error"), [(0, 0, -9, ""), (1, 0, 1, "killed by signal 9"), (1, 1000, 1, "killed by signal 9")]
)
def test_a_process_killed_in_the_middle_loses_no_more_than_steps(
    jobs: int, saves: float, code: int, error: str, tmp_path: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 of the process that trains: with `--jobs 0` the command's own, else a child of it; before any checkpoint too."""
    monkeypatch.setattr("rpecli.launch.pool.n_cores", lambda: 1)
    trap = tiny.trap_in(tmp_path, saves)
    file = tiny.recipe_file(tmp_path, task=trap.task)
    arguments = ("train", file, "--runs", tmp_path / "runs", "--device", "cpu", "--jobs", jobs)
    trap.arm(26, "SIGKILL")
    result = rpe(*arguments) if jobs else tiny.finish(tiny.start(*arguments, cwd=tmp_path))
    (run,) = find_runs(tmp_path / "runs")[0]
    assert result.code == code, result.err
    assert run.checkpoint_file.exists() == (saves == 0)
    assert run.record["status"] == ("failed" if error else "training")
    assert error in result.err
    assert rpe(*arguments).code == 0
    assert same(run, undisturbed(trap, tmp_path))


def test_the_number_of_threads_is_part_of_what_a_run_is(tmp_path: Path) -> None:
    """Sums in another order differ in the last bit, so it is neither that of the machine nor that of the command."""
    runs = [tiny.new_run(tmp_path, threads=threads) for threads in (1, 2)]
    assert runs[0].name != runs[1].name
    for run, threads in zip(runs, (1, 2), strict=True):
        train(run, "cpu")
        assert torch.get_num_threads() == threads
    train(tiny.new_run(tmp_path, seed=1), "cpu")
    assert torch.get_num_threads() == 1


def test_a_trained_run_is_not_touched(plain: Run) -> None:
    before = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in plain.path.iterdir()}
    record = train(plain, "cpu")
    assert record == plain.record
    assert {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in plain.path.iterdir()} == before


def test_a_trained_run_whose_weights_are_gone_is_trained_again(tmp_path: Path, plain: Run) -> None:
    run = tiny.trained_run(tmp_path, steps=120)
    run.weights_file.unlink()
    train(run, "cpu")
    assert same(run, plain)


def test_a_damaged_checkpoint_is_named_with_the_way_out(tmp_path: Path, trap: tiny.Trap, rpe: tiny.Rpe) -> None:
    run = tiny.new_run(tmp_path / "runs", task=str(trap.task))
    trap.arm(17, "SIGTERM")
    with pytest.raises(Stopped):
        train(run, "cpu")
    whole = run.checkpoint_file.read_bytes()
    run.checkpoint_file.write_bytes(whole[: len(whole) // 2])
    result = rpe("train", run.recipe_file, "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu")
    assert result.code == 1
    assert f"{run.checkpoint_file} is damaged" in result.err
    assert "delete it to train from the start" in result.err
    run.checkpoint_file.unlink()
    train(run, "cpu")
    assert same(run, undisturbed(trap, tmp_path))


def test_a_checkpoint_that_fits_no_such_model_is_named(tmp_path: Path, trap: tiny.Trap) -> None:
    """As after an upgrade that changed an encoding's parameters."""
    runs = [tiny.new_run(tmp_path, task=str(trap.task), encoding=encoding) for encoding in ("rope", "learned")]
    for run in runs:
        trap.arm(5, "SIGTERM")
        with pytest.raises(Stopped):
            train(run, "cpu")
    runs[0].checkpoint_file.write_bytes(runs[1].checkpoint_file.read_bytes())
    with pytest.raises(RunError, match=r"checkpoint.safetensors .*delete it to train from the start"):
        train(runs[0], "cpu")


def test_the_record_of_a_run_that_goes_on_forgets_the_old_error(
    tmp_path: Path, trap: tiny.Trap, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_problems_of_trials", lambda _: {})  # a trial would spring the trap before training
    file = tiny.recipe_file(tmp_path, task=trap.task)
    arguments = ("train", file, "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu")
    trap.arm(5, "raise")
    assert rpe(*arguments).code == 1
    (run,) = find_runs(tmp_path / "runs")[0]
    assert str(run.record["error"]).endswith(f"{tmp_path}/trapped.py:38: ValueError: the trap")
    assert rpe(*arguments).code == 0
    assert run.record["error"] is None


def test_the_loss_of_metrics_is_a_mean_over_the_steps_since_the_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    means, losses = [], loop.answer_losses

    def spy(*arguments: Any) -> torch.Tensor:
        losses_N = losses(*arguments)
        means.append(losses_N.mean().item())
        return losses_N

    monkeypatch.setattr(loop, "answer_losses", spy)
    lines = tiny.metrics(tiny.trained_run(tmp_path, steps=20))
    assert [line["loss"] for line in lines] == pytest.approx([np.mean(means[:10]), np.mean(means[10:])], abs=1e-5)


def test_validation_measures_what_predictions_get_right() -> None:
    trainer = tiny.trainer()
    sets = data.validation_sets(trainer.task, trainer.config)
    loop.step(trainer)
    assert trainer.model.training
    line = loop.validate(trainer, sets)
    assert not trainer.model.training  # float32 whatever training has, and no table marks what it shows
    token, exact = [], []
    for batch in sets:
        right_BxT = scores.predictions(trainer, batch).numpy() == batch.tokens_BxT[:, 1:]
        rows = [right[mask] for right, mask in zip(right_BxT, batch.answer_mask_BxT[:, 1:], strict=True)]
        token.append(np.concatenate(rows).mean())
        exact.append(np.mean([row.all() for row in rows]))
    assert line["token_accuracy"] == pytest.approx(np.mean(token), abs=1e-6)
    assert line["exact_match"] == pytest.approx(np.mean(exact), abs=1e-6)
    assert line["lr"] == loop.learning_rate(trainer.config, 0)


def test_randomized_positions_stay_random_in_validation_and_the_same_each_time() -> None:
    trainer = tiny.trainer(positions="randomized", max_position=64, encoding="learned")
    (batch,) = data.validation_sets(trainer.task, trainer.config)[-1:]
    trainer.model.eval()
    first = scores.predictions(trainer, batch)
    assert torch.equal(first, scores.predictions(trainer, batch))
    running = trainer.model.head(trainer.model(torch.from_numpy(batch.tokens_BxT)[:, :-1])).argmax(-1)
    assert not torch.equal(first, running)


def test_a_diverged_loss_is_noticed_at_the_next_validation() -> None:
    trainer = tiny.trainer()
    trainer.step, trainer.losses = 10, [torch.tensor(1.0), torch.tensor(math.nan)]
    with pytest.raises(loop.Diverged, match="the loss is nan before step 10: lower lr"):
        loop.validate(trainer, [])


def test_the_record_stays_json_for_every_reader(plain: Run) -> None:
    for text in plain.metrics_file.read_text().splitlines():
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_users_config_is_the_config_of_the_run(plain: Run) -> None:
    assert plain.config == Config.from_keys(**tiny.KEYS | {"steps": 120})


def test_an_encoding_gives_way_to_the_next_after_its_share_of_the_steps(tmp_path: Path) -> None:
    trainer = tiny.trainer(encoding="learned:then=rope", steps=10, switch_fraction=0.5)
    groups = []
    for _ in range(10):
        loop.step(trainer)
        groups.append(trainer.model.current[0].group)
    assert groups == ["APE"] * 5 + ["RPE"] * 5


def test_a_run_whose_encoding_gave_way_is_evaluated_with_the_last_one(tmp_path: Path) -> None:
    from rpecli.evaluate.load import load

    run = tiny.trained_run(tmp_path, encoding="rope:then=none")
    loaded, _ = load(run, "cpu")
    assert [encoding.group for encoding in loaded.model.current] == ["none"]

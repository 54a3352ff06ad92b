"""Stacked runs: one program for several, and every run as if it had trained alone."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import training as tiny
from safetensors.torch import load_file

from rpecli import catalog, encoding
from rpecli.config.recipe import Config, EvalSettings
from rpecli.evaluate.request import EvalRequest
from rpecli.launch.job import Job
from rpecli.launch.stacking import MAX_STACK, group_stackable, max_stack, stack_key
from rpecli.run.directory import Run, Stopped, find_runs
from rpecli.train import loop
from rpecli.train.batches import draw_batch, group_by_length
from rpecli.train.loop import train
from rpecli.train.stacked import LAUNCH, NotStackable, Stack, train_together, why_not_stackable
from rpecli.train.state import Trainer, build_trainer, checkpoint_step

CPU = torch.device("cpu")
LONGER: dict[str, Any] = {"length": 9, "n_layer": 2}  # batches of many shapes
WAYS: list[dict[str, Any]] = [
    {"positions": "offset", "encoding": "learned"},
    {"positions": "randomized", "encoding": "t5"},
    {"positions": "randomized", "positions_per": "layer"},
    {"positions": "coupled", "task": "addition", "encoding": "learned"},
    {"curriculum": 0.5},
    {"task": "parity"},
    {"encoding": "rope+none"},
    {"encoding": "dape:over=t5"},
    {"logit_scale": "ssmax"},
    {"normalizer": "stick-breaking"},
    {"attention": "bidirectional", "logit_scale": "logn"},
]


@pytest.fixture
def rpe(rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> tiny.Rpe:
    monkeypatch.setattr("rpecli.launch.pool.n_cores", lambda: 1)
    return rpe


def seeds(number: int = 3, **keys: Any) -> list[Config]:
    return [tiny.config(**{**LONGER, **keys, "seed": seed}) for seed in range(number)]


def built(configs: list[Config]) -> list[Trainer]:
    return [build_trainer(config, CPU) for config in configs]


def backward(trainer: Trainer) -> tuple[float, int]:
    """The gradients of a run alone in its first step, and its loss and number of tokens."""
    batch = draw_batch(trainer, 0)
    loss = loop.answer_losses(trainer.model, batch, CPU).mean()
    loss.backward()
    return loss.item(), batch.n_tokens


def gradient(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def parameters(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def same_gradients(configs: list[Config]) -> None:
    """Losses, gradients and buffers of one stacked step and of the runs alone."""
    single, stack = built(configs), Stack(built(configs))
    stack.backward()
    assert stack.flat_KxP.grad is not None
    for trainer, other, grad_P in zip(single, stack.trainers, stack.flat_KxP.grad, strict=True):
        loss, n_tokens = backward(trainer)
        assert other.losses[0].item() == pytest.approx(loss, abs=1e-5)
        assert other.tokens == n_tokens
        torch.testing.assert_close(grad_P, gradient(trainer), atol=1e-5, rtol=1e-4)
        assert all(torch.equal(a, b) for a, b in zip(trainer.model.buffers(), other.model.buffers(), strict=True))


def close(one: Run, other: Run) -> None:
    """Whether two runs ended alike within float tolerance."""
    (a, b), (lines, others) = ([load_file(p.weights_file) for p in (one, other)], map(tiny.metrics, (one, other)))
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        torch.testing.assert_close(tensor, b[name], atol=2e-3, rtol=1e-2)
    for line, other in zip(lines, others, strict=True):
        assert [*line] == [*other]
        assert (line["step"], line["tokens"], line["lr"]) == (other["step"], other["tokens"], other["lr"])
        assert line["loss"] == pytest.approx(other["loss"], abs=1e-3)


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_a_stacked_step_has_the_losses_and_gradients_of_the_runs_alone(encoding_name: str, attention: str) -> None:
    if attention != "causal" and catalog.load_class("encodings", encoding_name, encoding.Encoding).causal_only:
        pytest.skip("has no form for attention in both directions")
    configs = seeds(encoding=encoding_name, attention=attention)
    if reason := why_not_stackable(configs, CPU):
        assert reason.startswith("torch cannot batch it: ")
        pytest.skip(reason)
    same_gradients(configs)


@pytest.mark.parametrize("keys", WAYS, ids=str)
def test_so_does_every_other_way_to_train(keys: dict[str, Any]) -> None:
    assert why_not_stackable(seeds(**keys), CPU) is None
    same_gradients(seeds(**keys))


def same_but_seed(configs: list[Config]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for k, config in enumerate(configs):
        groups.setdefault(stack_key(config), []).append(k)
    return list(groups.values())


def stackable(configs: list[Config]) -> tuple[list[list[int]], dict[int, str]]:
    """Which of these runs can train together, as indices, and why the others train alone."""
    groups: list[list[int]] = []
    single: dict[int, str] = {}
    for group in same_but_seed(configs):
        reason = why_not_stackable([configs[k] for k in group], CPU) if len(group) > 1 else "no other run is of its kind"
        if reason is None:
            groups.append(group)
        else:
            single |= dict.fromkeys(group, reason)
    return groups, single


def test_of_the_shipped_encodings_one_trains_alone() -> None:
    names = catalog.names("encodings")
    groups, single = stackable([config for name in names for config in seeds(2, encoding=name)])
    assert {names[k // 2] for k in single} == {"abacus"}
    assert len(groups) == len(names) - 1


def test_padding_is_at_work_in_these_tests() -> None:
    stack = Stack(built(seeds()))
    shapes = [draw_batch(trainer, 0).shape for trainer in stack.trainers]
    assert len(set(shapes)) == 3
    assert len(group_by_length(shapes, LAUNCH["cpu"] / stack.flat_KxP.shape[1])) == 1


@pytest.mark.parametrize("launch", [0.0, 1e30])
def test_however_a_step_is_cut_it_is_the_same_step(launch: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAUNCH, "cpu", launch)
    same_gradients(seeds(4, encoding="learned"))


def test_a_step_is_cut_where_that_costs_the_least() -> None:
    shapes = [(100, 5), (14, 33), (90, 6), (16, 30), (40, 12)]
    assert sorted(map(sorted, group_by_length(shapes, 0))) == [[0], [1], [2], [3], [4]]
    assert sorted(map(sorted, group_by_length(shapes, 300))) == [[0, 2], [1, 3], [4]]
    assert sorted(map(sorted, group_by_length(shapes, 1e9))) == [[0, 1, 2, 3, 4]]
    assert group_by_length([(7, 9), (7, 9)], 0) != []


def test_runs_of_one_shape_never_go_apart() -> None:
    assert group_by_length([(3, 8)] * 3, 1) == [[0, 1, 2]]


def test_every_run_is_clipped_by_its_own_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, norms = Stack(built(seeds(clip=0.125))), []
    step = stack.optimizer.step
    monkeypatch.setattr(stack.optimizer, "step", lambda: (norms.extend(r.grad.norm().item() for r in stack.rows), step()))
    stack.step()
    assert norms == pytest.approx([0.125] * 3, rel=1e-3)


def test_a_gradient_below_the_limit_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    configs, gradients = seeds(clip=1e6), []
    single, stack = built(configs), Stack(built(configs))
    step = stack.optimizer.step
    monkeypatch.setattr(stack.optimizer, "step", lambda: (gradients.extend(r.grad.clone() for r in stack.rows), step()))
    stack.step()
    for trainer, grad_P in zip(single, gradients, strict=True):
        backward(trainer)
        torch.testing.assert_close(grad_P, gradient(trainer), atol=1e-5, rtol=1e-4)


def test_every_run_has_its_own_rate_and_its_own_data() -> None:
    own = [{"seed": 0}, {"seed": 0, "lr": 0.05}, {"seed": 0, "data_seed": 7}, {"seed": 1, "lr": 0.05}]
    configs = [tiny.config(**LONGER | {"warmup": 0, "beta1": 0.5} | keys) for keys in own]
    single, stack = built(configs), Stack(built(configs))
    for _ in range(4):
        stack.step()
        for trainer in single:
            loop.step(trainer)
    ends = [parameters(trainer) for trainer in stack.trainers]
    for trainer, end in zip(single, ends, strict=True):
        torch.testing.assert_close(end, parameters(trainer), atol=2e-3, rtol=1e-3)
    assert min((a - b).abs().max() for a, b in itertools.combinations(ends, 2)) > 0.01


def test_the_models_are_never_behind_the_stack() -> None:
    stack = Stack(built(seeds(encoding="learned")))
    for _ in range(2):
        stack.step()
    for trainer, row_P in zip(stack.trainers, stack.flat_KxP, strict=True):
        assert torch.equal(parameters(trainer), row_P)
    touched = [trainer.model.state()["encodings.0.touched_R"] for trainer in stack.trainers]
    assert all(rows.any() for rows in touched)
    assert not all(torch.equal(touched[0], rows) for rows in touched), "padding must not mark rows that a run has not seen"


MINE = '''"""An encoding that a stack cannot take."""

import torch
from torch import nn

from rpecli.encoding import Encoding


class Mine(Encoding):
    def __init__(self, shape):
        super().__init__(shape)
        self.size = float(torch.rand(()))
        self.idle = nn.Parameter(torch.zeros(3)) if IDLE else None

    def embed(self, x_BxTxM, positions_BxT, ids_BxT):
        return x_BxTxM * (self.size if not IDLE else 2.0)
'''


@pytest.mark.parametrize(
    ("idle", "reason"), [(False, "a stacked step is not the step alone"), (True, "some of its parameters have no gradient")]
)
def test_an_encoding_whose_stacked_step_is_another_is_found_out(idle: bool, reason: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace("IDLE", str(idle)))
    assert why_not_stackable(seeds(2, encoding=str(tmp_path / "mine.py")), CPU) == reason


def test_an_encoding_that_changes_on_the_way_trains_alone() -> None:
    assert why_not_stackable(seeds(2, encoding="rope:then=none"), CPU) == "its encoding changes on the way"


def test_only_runs_that_differ_in_seed_or_rate_go_together() -> None:
    configs = [*seeds(2), *seeds(2, encoding="none"), tiny.config(**LONGER, lr=0.1), tiny.config(**LONGER, data_seed=3)]
    groups, single = stackable([*configs, tiny.config(**LONGER, clip=0.5)])
    assert groups == [[0, 1, 4, 5], [2, 3]]
    assert single == {6: "no other run is of its kind"}


def test_what_is_measured_later_keeps_no_runs_apart() -> None:
    assert stackable([tiny.config(), tiny.config(seed=1, lengths="1x:8x", samples=64)])[0] == [[0, 1]]


def jobs(runs: list[Run]) -> list[Job]:
    return [Job(run, train=True, device="cpu") for run in runs]


def test_runs_that_stand_at_the_same_step_go_together(tmp_path: Path, trap: tiny.Trap) -> None:
    runs = [tiny.new_run(tmp_path, task=str(trap.task), seed=seed) for seed in range(5)]
    for run in runs[:2]:
        trap.arm(3, "SIGTERM")
        with pytest.raises(Stopped):
            train(run, "cpu")
    stacks = group_stackable(jobs(runs), 2)
    assert [list(job.runs) for job in stacks] == [runs[:2], runs[2:4], runs[4:]]
    assert len(group_stackable(jobs(runs), 16)) == 2
    runs[0].checkpoint_file.write_bytes(b"no")
    assert sorted(len(job.runs) for job in group_stackable(jobs(runs), 16)) == [1, 1, 3]


def test_a_run_to_measure_alone_is_left_as_it_is(tmp_path: Path) -> None:
    runs = [tiny.new_run(tmp_path, seed=seed) for seed in range(3)]
    mixed = [*jobs(runs[:2]), Job(runs[2], train=False)]
    assert [job.runs for job in group_stackable(mixed, 16)] == [tuple(runs[:2]), (runs[2],)]


def test_what_auto_takes_is_what_is_quicker_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max_stack("auto", "cpu") == max_stack("off", "cpu") == 1
    assert max_stack("on", "cpu") == MAX_STACK
    assert max_stack("5", "cpu") == 5
    monkeypatch.setattr("rpecli.launch.stacking.pick_device", lambda name: torch.device("cuda"))
    assert max_stack("auto", "auto") == MAX_STACK
    for word in ("0", "yes", "-1"):
        with pytest.raises(ValueError, match=f"--stack {word}: write auto, on, off, or how many"):
            max_stack(word, "cpu")


def created(folder: Path, number: int = 3, **keys: Any) -> list[Run]:
    return [tiny.new_run(folder, **{**keys, "seed": seed}) for seed in range(number)]


@pytest.mark.parametrize("keys", [{}, {"encoding": "learned", "n_layer": 2, "positions": "offset"}], ids=str)
def test_a_run_of_a_stack_ends_as_it_would_alone(keys: dict[str, Any], tmp_path: Path) -> None:
    runs, reported = created(tmp_path, **keys), list[Run]()
    assert train_together(runs, "cpu", progress=lambda run, line: reported.append(run)) == []
    assert reported == runs * 4
    for seed, run in enumerate(runs):
        single = tiny.trained_run(tmp_path / "alone", **keys, seed=seed)
        close(run, single)
        assert {file.name for file in run.path.iterdir()} == {file.name for file in single.path.iterdir()}
        record, other = run.record, single.record
        assert [*record] == [*other]
        assert (record["stacked"], other["stacked"]) == (3, None)
        shared = {"status", "step", "steps", "tokens", "sources", "parameters", "error", "commit"}
        assert {key: record[key] for key in shared} == {key: other[key] for key in shared}


def stopped_at(step: int, trap: tiny.Trap, go: Callable[[], Any], number: signal.Signals = signal.SIGTERM) -> None:
    trap.arm(step, number.name)
    with pytest.raises(Stopped) as stop:
        go()
    assert stop.value.signal == number


def test_a_stopped_stack_leaves_what_a_run_alone_leaves(tmp_path: Path, trap: tiny.Trap) -> None:
    runs, single = (created(tmp_path / name, task=str(trap.task)) for name in ("stacked", "alone"))
    stopped_at(17, trap, lambda: train_together(runs, "cpu"), signal.SIGINT)
    for run, other in zip(runs, single, strict=True):
        stopped_at(17, trap, lambda other=other: train(other, "cpu"))
        assert (run.record["status"], run.record["step"]) == ("stopped", 17)
        state, expected = (load_file(p.checkpoint_file) for p in (run, other))
        assert {name: (t.shape, t.dtype) for name, t in state.items()} == {n: (t.shape, t.dtype) for n, t in expected.items()}
        for name in state:
            torch.testing.assert_close(state[name], expected[name], atol=2e-3, rtol=1e-2)


@pytest.mark.parametrize("first", ["stacked", "alone"])
def test_runs_change_between_stack_and_alone(first: str, tmp_path: Path, trap: tiny.Trap) -> None:
    runs = created(tmp_path, task=str(trap.task), encoding="learned")
    ways: dict[str, Callable[[], Any]] = {
        "stacked": lambda: train_together(runs, "cpu"),
        "alone": lambda: [train(run, "cpu") for run in runs],
    }
    if first == "stacked":
        stopped_at(23, trap, ways["stacked"])
        ways["alone"]()
    else:
        for run in runs:
            stopped_at(23, trap, lambda run=run: train(run, "cpu"))
        ways["stacked"]()
    for seed, run in enumerate(runs):
        close(run, tiny.trained_run(tmp_path / "undisturbed", task=str(trap.task), encoding="learned", seed=seed))
        assert run.record["stacked"] == 3


def test_a_stack_saves_now_and_then_and_goes_on_after_a_crash(tmp_path: Path, trap: tiny.Trap) -> None:
    runs = created(tmp_path, task=str(trap.task))
    trap.arm(31, "raise")
    with pytest.raises(ValueError, match="the trap"):
        train_together(runs, "cpu")
    steps = {checkpoint_step(run) for run in runs}
    assert len(steps) == 1
    assert steps.pop() >= 10
    train_together(runs, "cpu")
    for seed, run in enumerate(runs):
        close(run, tiny.trained_run(tmp_path / "undisturbed", task=str(trap.task), seed=seed))


def test_a_run_that_is_good_enough_leaves_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = created(tmp_path, 4, stop_at=1.0)
    good = {20: [1], 30: [0, 2]}
    validate = loop.validate

    def validate_as_told(trainer: Trainer, sets: Any) -> dict[str, Any]:
        return validate(trainer, sets) | {"exact_match": float(trainer.config.seed in good.get(trainer.step, []))}

    sizes, step = list[int](), Stack.step
    monkeypatch.setattr(loop, "validate", validate_as_told)
    monkeypatch.setattr(Stack, "step", lambda self: (sizes.append(len(self.trainers)), step(self))[1])
    assert train_together(runs, "cpu") == [runs[3]], "the last one is left to train alone"
    assert sizes == [4] * 20 + [3] * 10
    assert [(run.record["status"], run.record["step"]) for run in runs] == [
        ("trained", 30), ("trained", 20), ("trained", 30), ("stopped", 30),
    ]  # fmt: skip
    train(runs[3], "cpu")
    for seed, run in enumerate(runs):
        close(run, tiny.trained_run(tmp_path / "alone", stop_at=1.0, seed=seed))


def test_a_run_whose_loss_is_no_number_leaves_and_fails_alone(tmp_path: Path) -> None:
    fine, bad = created(tmp_path, 2), tiny.new_run(tmp_path, seed=2, lr=1e30, warmup=5)
    lines = list[dict[str, Any]]()
    assert train_together([*fine, bad], "cpu", progress=lambda run, line: lines.append(line)) == [bad]
    assert next(line["diverged"] for line in lines if "diverged" in line).startswith("the loss is nan before step")
    assert bad.record["status"] == "stopped"
    for seed, run in enumerate(fine):
        close(run, tiny.trained_run(tmp_path / "alone", seed=seed))
    with pytest.raises(loop.Diverged):
        train(bad, "cpu")


def test_a_run_that_another_process_holds_is_left_to_it(tmp_path: Path) -> None:
    runs = created(tmp_path)
    before = runs[1].record_file.read_bytes()
    with runs[1].lock():
        assert train_together(runs, "cpu") == [runs[1]]
    assert runs[1].record_file.read_bytes() == before
    assert [run.record["status"] for run in runs] == ["trained", "created", "trained"]


def test_a_trained_run_is_not_trained_again(tmp_path: Path) -> None:
    runs = created(tmp_path)
    train(runs[0], "cpu")
    before = runs[0].weights_file.stat().st_mtime_ns
    assert train_together(runs, "cpu") == [runs[0]]
    assert runs[0].weights_file.stat().st_mtime_ns == before


def test_runs_stopped_in_their_last_step_take_no_more(tmp_path: Path, trap: tiny.Trap) -> None:
    runs = created(tmp_path, 2, task=str(trap.task))
    for run in runs:
        stopped_at(40, trap, lambda run=run: train(run, "cpu"))
    assert [checkpoint_step(run) for run in runs] == [40, 40]
    assert train_together(runs, "cpu") == runs
    for run in runs:
        train(run, "cpu")
        assert (run.record["status"], run.record["step"]) == ("trained", 40)
        assert [line["step"] for line in run.metrics()] == [10, 20, 30, 40]


def test_runs_at_different_steps_are_refused_and_stay_as_they_were(tmp_path: Path, trap: tiny.Trap) -> None:
    runs = created(tmp_path, 2, task=str(trap.task))
    stopped_at(7, trap, lambda: train(runs[0], "cpu"))
    before = [run.record_file.read_bytes() for run in runs]
    with pytest.raises(NotStackable, match="different steps"):
        train_together(runs, "cpu")
    assert [run.record_file.read_bytes() for run in runs] == before


@pytest.mark.parametrize("n_jobs", [0, 1])
def test_the_command_stacks_what_it_can_and_does_the_rest_alone(n_jobs: int, tmp_path: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(tmp_path, encoding="rope,abacus", seed="0:2", lengths="1x")
    arguments = ("run", file, "--runs", tmp_path / "runs", "--out", tmp_path / "results", "--jobs", n_jobs, "--device", "cpu")
    result = rpe(*arguments, "--stack", "on")
    assert result.code == 0
    runs = find_runs(tmp_path / "runs")[0]
    assert [run.record["stacked"] for run in runs] == [None, None, 2, 2]
    assert all(len(run.evaluations()) == 1 for run in runs)
    for seed, run in enumerate(runs[2:]):
        close(run, tiny.trained_run(tmp_path / "alone", seed=seed, lengths="1x"))
    text = result.err + "".join(run.log_file.read_text() for run in runs if run.log_file.exists())
    assert "2 runs train one by one: torch cannot batch it: " in text
    assert runs[2].log_file.read_text().count(f"{runs[2].name}  step ") == 4
    if n_jobs:
        assert all(result.err.count(f"{run.name}  trained in ") == 1 for run in runs)


def test_without_the_option_nothing_is_stacked_on_a_cpu(tmp_path: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(tmp_path, seed="0:2")
    assert rpe("train", file, "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu").code == 0
    assert [run.record["stacked"] for run in find_runs(tmp_path / "runs")[0]] == [None, None]


def test_runs_that_several_processes_train_or_that_are_evaluated_otherwise_are_not_joined(tmp_path: Path, rpe: tiny.Rpe) -> None:
    runs = created(tmp_path, 2)
    assert len(group_stackable([Job(run, train=True, nproc=2) for run in runs], 16)) == 2
    requests = [EvalRequest(EvalSettings(lengths=lengths)) for lengths in ("1x,2x", "1x,3x")]
    alone = group_stackable([Job(run, True, request) for run, request in zip(runs, requests, strict=True)], 16)
    assert [(job.runs, job.request) for job in alone] == [((run,), request) for run, request in zip(runs, requests, strict=True)]
    result = rpe("train", "tiny", "--nproc", "2", "--stack", "4")
    assert result.code == 2
    assert "--stack 4 trains several runs in one process, --nproc 2 one run in several: give one of them" in result.err


def test_a_word_that_the_option_does_not_know_is_a_mistake(tmp_path: Path, rpe: tiny.Rpe) -> None:
    result = rpe("train", "tiny", "--runs", tmp_path / "runs", "--stack", "maybe")
    assert result.code == 2
    assert "--stack maybe: write auto, on, off, or how many at most: --stack 8" in result.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
@pytest.mark.parametrize("n_jobs", [0, 1])
def test_a_stopped_command_saves_the_whole_stack(
    n_jobs: int, number: signal.Signals, code: int, tmp_path: Path, rpe: tiny.Rpe, trap: tiny.Trap
) -> None:
    file = tiny.recipe_file(tmp_path, task=trap.task, seed="0:3")
    arguments = ("train", file, "--runs", tmp_path / "runs", "--device", "cpu", "--jobs", n_jobs, "--stack", "on")
    trap.arm(17, number.name)
    result = rpe(*arguments)
    assert result.code == code
    assert "start the same command again to go on" in result.err
    runs = find_runs(tmp_path / "runs")[0]
    assert [(run.record["status"], run.record["step"]) for run in runs] == [("stopped", 17)] * 3
    assert rpe(*arguments).code == 0
    assert [run.record["status"] for run in runs] == ["trained"] * 3


def test_runs_of_a_stack_that_is_killed_go_on_alone(tmp_path: Path, rpe: tiny.Rpe, trap: tiny.Trap) -> None:
    file = tiny.recipe_file(tmp_path, task=trap.task, seed="0:2")
    trap.arm(17, "SIGKILL")
    result = rpe("train", file, "--runs", tmp_path / "runs", "--device", "cpu", "--jobs", 1, "--stack", "on")
    assert result.code == 0
    for seed, run in enumerate(find_runs(tmp_path / "runs")[0]):
        close(run, tiny.trained_run(tmp_path / "undisturbed", task=str(trap.task), seed=seed))

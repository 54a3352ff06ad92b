"""Keys of training that published protocols ask for: batches of mixed lengths, a linear schedule, what decays, validation."""

import numpy as np
import pytest
import torch
from helpers import training as tiny

from rpecli import data, task
from rpecli.cli._run_tables import runs_table
from rpecli.evaluate.duplicates import seen
from rpecli.evaluate.load import load
from rpecli.launch.sizes import training_bytes
from rpecli.run.directory import find_runs
from rpecli.table import whole_percent
from rpecli.task import END, PAD
from rpecli.train import chosen, loop, scores
from rpecli.train.loop import train
from rpecli.train.stacked import train_together, why_not_stackable
from rpecli.train.state import build_trainer, parameter_groups

MIXED = {"batch": 24, "batch_lengths": "mixed", "length": 9, "min_length": 2}


def test_a_mixed_batch_has_sequences_of_all_lengths_padded_behind():
    config = tiny.config(**MIXED)
    copy = task.build("copy")
    lengths = []
    for step in range(40):
        batch = data.train_batch(copy, config, step)
        assert len(batch.tokens_BxT) == 24
        for tokens_T, answer_T in zip(batch.tokens_BxT, batch.answer_mask_BxT, strict=True):
            (end,) = np.flatnonzero(tokens_T == END)
            n = (end - 2) // 2
            lengths.append(n)
            assert (tokens_T[end + 1 :] == PAD).all()
            assert answer_T.tolist() == [n + 2 <= place < end for place in range(len(answer_T))]
            assert (tokens_T[1 : n + 1] == tokens_T[n + 2 : end]).all()
        assert batch.tokens_BxT.shape[1] == 2 * max(lengths[-24:]) + 3
    counts = np.bincount(lengths, minlength=10)[2:]
    assert counts.min() > 0.7 * 24 * 40 / 8
    assert counts.max() < 1.3 * 24 * 40 / 8
    again = data.train_batch(copy, config, 39)
    assert (again.tokens_BxT == batch.tokens_BxT).all()


def test_a_batch_counts_sequences_or_tokens():
    copy = task.build("copy")
    assert len(data.train_batch(copy, tiny.config(batch=7), 3).tokens_BxT) == 7
    by_tokens = tiny.config(tokens=200, batch_lengths="mixed", length=9)
    assert len(data.train_batch(copy, by_tokens, 0).tokens_BxT) == 200 // (2 * 9 + 3)
    assert tiny.config(batch=7, tokens=64).id == tiny.config(batch=7, tokens=4096).id
    assert training_bytes(tiny.config(batch=10_000), 100, 20) > 100 * training_bytes(tiny.config(batch=10), 100, 20) / 2


def test_joined_batches_keep_sets_and_masks():
    dyck, rng = task.build("dyck"), np.random.default_rng(0)
    short, long = dyck.sample(rng, 2, 4), dyck.sample(rng, 3, 10)
    both = task.joined([short, long])
    T = long.tokens_BxT.shape[1]
    assert both.tokens_BxT.shape == both.sets_BxT.shape == (5, T)
    t = short.tokens_BxT.shape[1]
    assert (both.sets_BxT[:2, :t] == short.sets_BxT).all()
    assert not both.sets_BxT[:2, t:].any()
    assert not both.answer_mask_BxT[:2, t:].any()
    assert (both.tokens_BxT[2:] == long.tokens_BxT).all()
    assert both.group_B is None


def test_the_loss_of_a_mixed_batch_ignores_its_padding():
    trainer = tiny.trainer(**MIXED, encoding="t5")
    batch = loop.draw_batch(trainer, 0)
    together = loop.answer_losses(trainer.model, batch, torch.device("cpu")).detach()
    tokens_BxT = data.train_batch(trainer.task, trainer.config, 0).tokens_BxT
    alone = []
    for tokens_T in tokens_BxT:
        ids = torch.from_numpy(tokens_T[tokens_T != PAD])[None]
        n = (ids.shape[1] - 3) // 2
        logits = trainer.model.head(trainer.model(ids[:, :-1]))[0, n + 1 :]
        alone.append(torch.nn.functional.cross_entropy(logits, ids[0, n + 2 :], reduction="none").detach())
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_every_sequence_of_a_mixed_batch_starts_at_an_offset_of_its_own_range():
    config = tiny.config(**MIXED, positions="offset", max_position=21)
    copy = task.build("copy")
    starts: dict[int, set[int]] = {}
    for step in range(150):
        batch = data.train_batch(copy, config, step)
        positions_BxT = data.train_positions(copy, config, batch, step)
        assert int(positions_BxT.min()) >= 0
        assert int(positions_BxT.max()) <= 20
        for tokens_T, positions_T in zip(batch.tokens_BxT, positions_BxT, strict=True):
            n = int((tokens_T != PAD).sum())
            inside_T = positions_T[: n - 1]  # the inputs of a decoder
            assert (np.diff(inside_T) == 1).all()
            starts.setdefault(n, set()).add(int(inside_T[0]))
    assert starts[21] == {0}
    assert starts[7] == set(range(15))


def test_offsets_of_batches_of_one_length_are_as_before():
    config = tiny.config(positions="offset", max_position=64)
    copy = task.build("copy")
    batch = data.train_batch(copy, config, 3)
    B, T = batch.tokens_BxT.shape
    rng = data.task_generator("offset", config, 0, 3)
    expected_BxT = rng.integers(64 - (T - 1) + 1, size=(B, 1)) + np.arange(T - 1)
    assert (data.train_positions(copy, config, batch, 3) == expected_BxT).all()


def test_a_linear_schedule():
    config = tiny.config(schedule="linear", warmup=0, lr=1e-3, lr_end=0.0, steps=101)
    assert [loop.learning_rate(config, step) for step in (0, 25, 50, 100)] == pytest.approx([1e-3, 7.5e-4, 5e-4, 0.0])
    config = tiny.config(schedule="linear", warmup=10, lr=1.0, lr_end=0.5, steps=111)
    assert [loop.learning_rate(config, step) for step in (0, 9, 10, 60, 110)] == pytest.approx([0.1, 1.0, 1.0, 0.75, 0.5])


def test_biases_and_norms_need_not_decay():
    keys = {"block": "gpt2", "weight_decay": 0.1, "decayed": "matrices", "lr": 1e-2, "warmup": 0, "encoding": "none"}
    trainer = tiny.trainer(**keys)
    decayed, kept = parameter_groups(trainer.model, trainer.config)
    assert {p.dim() for p in decayed["params"]} == {2}
    assert {p.dim() for p in kept["params"]} == {1}
    assert len(decayed["params"]) + len(kept["params"]) == len(list(trainer.model.parameters()))
    before = {name: tensor.clone() for name, tensor in trainer.model.state().items()}
    for parameter in trainer.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer.step()
    for name, tensor in trainer.model.state().items():
        torch.testing.assert_close(tensor, before[name] * (1 - 1e-2 * 0.1 * (tensor.dim() > 1)))


def test_the_penalty_on_positions_written_out():
    trainer = tiny.trainer(encoding="learned", n_layer=2, length=3)
    table_RxM, n = trainer.model.current[0].table_RxM.detach(), 7
    expected = 0.0
    for block in trainer.model.blocks:
        for head in range(2):
            of = slice(8 * head, 8 * head + 8)
            w_q, w_k = (linear.weight.detach()[of] for linear in (block.attention.q, block.attention.k))
            for j in range(n):
                products = [float((w_q @ table_RxM[i]) @ (w_k @ table_RxM[j])) for i in range(j, n)]
                expected += sum(product**2 for product in products) / n
    assert float(loop.position_score_size(trainer.model, n).detach()) == pytest.approx(expected, rel=1e-4)
    assert float(loop.position_score_size(tiny.trainer(encoding="rope").model, n).detach()) == 0


def test_a_penalty_makes_what_positions_give_to_scores_smaller():
    sizes = []
    for penalty in (0.0, 1.0):
        trainer = tiny.trainer(encoding="learned:std=0.1", position_penalty=penalty, steps=20, warmup=0)
        for _ in range(20):
            loop.step(trainer)
        sizes.append(float(loop.position_score_size(trainer.model, 10).detach()))
    assert sizes[1] < 0.5 * sizes[0]


def test_validation_at_all_lengths():
    copy = task.build("copy")
    every = tiny.config(length=6, min_length=3, validation_lengths="all", validation_samples=5)
    for config, sizes in ((every, [(5, n) for n in (3, 4, 5, 6)]), (tiny.config(length=8), [(64, n) for n in (4, 6, 8)])):
        shapes = [batch.tokens_BxT.shape for batch in data.validation_sets(copy, config)]
        assert [(B, (T - 3) // 2) for B, T in shapes] == sizes


@pytest.mark.parametrize(
    ("keys", "word"), [({"dropout": 0.1}, "drops"), ({"decayed": "matrices"}, "decay"), ({"position_penalty": 1e-3}, "penalty")]
)
def test_what_cannot_be_stacked_says_so(keys, word):
    assert word in why_not_stackable([tiny.config(seed=seed, **keys) for seed in range(2)], torch.device("cpu"))


def test_repeated_problems_of_mixed_batches_are_not_counted():
    config, copy = tiny.config(**MIXED), task.build("copy")
    blocks = list(data.evaluation_blocks(copy, 3, 8, 0))
    assert seen(config, copy, 3, blocks, 5) is None
    assert seen(config, copy, 10, blocks, 5) == 0.0


def test_a_run_with_every_key_of_a_protocol_trains_and_resumes(tmp_path):
    keys = {**MIXED, "block": "llama", "dropout": 0.1, "schedule": "linear", "decayed": "matrices", "positions": "offset",
            "max_position": 40, "validation_lengths": "all", "encoding": "learned"}  # fmt: skip
    run = tiny.trained_run(tmp_path, **keys)
    assert run.record["status"] == "trained"
    assert [line["step"] for line in run.metrics()] == [10, 20, 30, 40]


@pytest.mark.parametrize("block", ["plain", "gpt2", "llama"])
def test_init_torch_gives_what_torch_gives_new_modules(block: str) -> None:
    """Standard deviations over 16 models beside those of fresh linear layers; a tied output stays the embedding."""
    keys = {"block": block, "init": "torch", "d_model": 32, "n_head": 4, "encoding": "none"}
    models = [tiny.trainer(**keys, seed=seed).model for seed in range(16)]

    def deviation(of: str) -> float:
        return float(torch.cat([dict(model.named_parameters())[of].detach().flatten() for model in models]).std())

    fresh = [torch.nn.Linear(32, 32, bias=True) for _ in range(64)]
    expected = float(torch.cat([linear.weight.detach().flatten() for linear in fresh]).std())
    assert deviation("embedding.weight") == pytest.approx(1.0, rel=0.03)
    assert deviation("blocks.0.attention.q.weight") == pytest.approx(expected, rel=0.03)
    assert deviation("blocks.0.mlp.down.weight") == pytest.approx(expected / 2, rel=0.03)  # four times as many inputs
    if block == "gpt2":
        bias = float(torch.cat([linear.bias.detach() for linear in fresh]).std())
        assert deviation("blocks.0.attention.v.bias") == pytest.approx(bias, rel=0.15)
        assert models[0].out.weight is models[0].embedding.weight
    else:
        assert deviation("out.weight") == pytest.approx(expected, rel=0.03)
    assert (models[0].norm.weight == 1).all()


CHOOSING = {"task": "binary-majority", "encoding": "learned", "checkpoint_lengths": "2x,3x", "steps": 60}


def test_the_weights_kept_are_those_of_the_best_validation_at_the_lengths_asked(tmp_path):
    runs = [tiny.trained_run(tmp_path, **CHOOSING, seed=seed) for seed in range(3)]
    for run in runs:
        shares = {line["step"]: line["checkpoint_match"] for line in run.metrics()}
        best = max(shares, key=lambda step: (shares[step], step))  # the last of several
        assert run.record["checkpoint"] == {"step": best, "exact_match": shares[best], "lengths": [8, 12]}
        assert list(run.path.glob("*.safetensors")) == [run.weights_file]
        loaded, _ = load(run, "cpu")
        right = [scores.scores(loaded, batch)[1] for batch in chosen.sets(loaded.task, run.config)]
        assert np.mean(right) == pytest.approx(shares[best], abs=1e-6)
    earlier = [run for run in runs if run.record["checkpoint"]["step"] < 60]
    assert earlier
    table, accuracy = runs_table(runs), {line["step"]: line["token_accuracy"] for line in earlier[0].metrics()}
    row = next(row for row in table.rows if row[0] == earlier[0].name)
    assert row[table.columns.index("valid.")] == whole_percent(accuracy[earlier[0].record["checkpoint"]["step"]])


def test_a_choice_of_weights_changes_nothing_in_training(tmp_path):
    chosen_run, plain = (tiny.trained_run(tmp_path, **CHOOSING | keys) for keys in ({}, {"checkpoint_lengths": None}))
    lines = [[(line["step"], line["loss"], line["exact_match"]) for line in run.metrics()] for run in (chosen_run, plain)]
    assert lines[0] == lines[1]
    assert chosen_run.name != plain.name
    assert "checkpoint" not in plain.record
    assert "checkpoint_match" not in plain.metrics()[0]


def test_where_no_string_is_ever_right_the_last_weights_are_kept(tmp_path):
    keys = CHOOSING | {"task": "copy", "steps": 8, "validate_every": 2}
    chosen_run, plain = (tiny.trained_run(tmp_path, **keys | more) for more in ({}, {"checkpoint_lengths": None}))
    assert chosen_run.record["checkpoint"] == {"step": 8, "exact_match": 0.0, "lengths": [8, 12]}
    assert chosen_run.weights_file.read_bytes() == plain.weights_file.read_bytes()


def test_weights_of_running_text_are_not_chosen_by_whole_strings(tmp_path, rpe):
    text = tmp_path / "book.txt"
    text.write_text(" ".join(map(str, range(2000))))
    result = rpe(
        "train", "--task", f"text:path={text}", "--length", "8", "--checkpoint-lengths", "1x", "--runs", tmp_path / "runs"
    )
    assert (result.code, "is measured by perplexity, and whole strings are counted: remove it" in result.err) == (2, True)


def test_a_run_that_changes_its_encoding_is_chosen_by_what_is_evaluated(tmp_path):
    keys = CHOOSING | {"encoding": "learned:then=none", "switch_fraction": 0.5, "validate_every": 5}
    run = tiny.trained_run(tmp_path, **keys)
    loaded, _ = load(run, "cpu")
    right = [scores.scores(loaded, batch)[1] for batch in chosen.sets(loaded.task, run.config)]
    assert np.mean(right) == pytest.approx(run.record["checkpoint"]["exact_match"], abs=1e-6)


def test_a_checkpoint_holds_the_weights_that_were_best_when_it_was_written(tmp_path, monkeypatch):
    run = tiny.new_run(tmp_path, **CHOOSING)
    trainer = build_trainer(run.config, torch.device("cpu"))
    sets = data.validation_sets(trainer.task, trainer.config)
    session = loop.start(run, trainer, resumed=False)
    assert session.choice
    loop.step(trainer)
    session.validate(sets)
    session.save()
    kept = {name: tensor.clone() for name, tensor in session.choice.weights.items()}
    loop.step(trainer)
    monkeypatch.setattr(session.choice, "_exact_match", lambda _: 1.0)
    session.validate(sets)  # better, and killed before the next checkpoint
    assert session.choice.step == 2
    resumed = loop.start(run, *loop.build_or_load(run, trainer.device))
    assert resumed.choice
    assert resumed.choice.step == 1
    assert all(torch.equal(tensor, kept[name]) for name, tensor in resumed.choice.weights.items())
    assert resumed.choice.weights.keys() == kept.keys()


def test_a_killed_run_chooses_the_weights_that_it_would_have_chosen(tmp_path):
    trap = tiny.trap_in(tmp_path)
    keys = CHOOSING | {"task": str(trap.task)}
    whole = tiny.trained_run(tmp_path / "whole", **keys)
    run = tiny.new_run(tmp_path / "killed", **keys)
    trap.arm(45, "raise")
    with pytest.raises(ValueError, match="the trap"):
        train(run, "cpu")
    assert list(run.path.glob("*.safetensors")) == [run.checkpoint_file]
    train(run, "cpu")
    assert run.record["checkpoint"] == whole.record["checkpoint"]
    assert run.weights_file.read_bytes() == whole.weights_file.read_bytes()


def test_runs_of_a_stack_choose_their_weights_each(tmp_path):
    alone = [tiny.trained_run(tmp_path / "alone", **CHOOSING, seed=seed) for seed in range(2)]
    stacked = [tiny.new_run(tmp_path / "stacked", **CHOOSING, seed=seed) for seed in range(2)]
    assert not train_together(stacked, "cpu")
    for one, other in zip(alone, stacked, strict=True):
        assert one.record["checkpoint"]["lengths"] == other.record["checkpoint"]["lengths"]
        shares = {line["step"]: line["checkpoint_match"] for line in other.metrics()}
        assert other.record["checkpoint"]["exact_match"] == max(shares.values())
        assert shares == pytest.approx({line["step"]: line["checkpoint_match"] for line in one.metrics()}, abs=0.05)
    loaded, _ = load(stacked[1], "cpu")
    right = [scores.scores(loaded, batch)[1] for batch in chosen.sets(loaded.task, stacked[1].config)]
    assert np.mean(right) == pytest.approx(stacked[1].record["checkpoint"]["exact_match"], abs=1e-6)


def test_lengths_beyond_training_that_chose_the_weights_are_said_in_reports_and_of_the_run(tmp_path, rpe):
    beyond = tiny.recipe_file(tmp_path, **CHOOSING)
    assert rpe("run", beyond, "--runs", tmp_path / "runs", "--out", tmp_path / "out", "-j", "0").code == 0
    said = "1 run whose weights were chosen by lengths beyond training (checkpoint_lengths), up to 12: what is measured there is"
    assert said in (tmp_path / "out" / "mine" / "report.md").read_text()
    (run,) = find_runs(tmp_path / "runs")[0]
    shown = rpe("show", run.path).out
    assert f"Weights    those of step {run.record['checkpoint']['step']}, most strings right at 8 to 12" in shown
    within = tiny.recipe_file(tmp_path, **CHOOSING | {"checkpoint_lengths": "1x"})
    assert rpe("run", within, "--runs", tmp_path / "within", "--out", tmp_path / "out2", "-j", "0").code == 0
    assert "no test" not in (tmp_path / "out2" / "mine" / "report.md").read_text()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"checkpoint_lengths": "999999999"}, "checkpoint_lengths: a batch of the longest needs"),
        ({"checkpoint_lengths": "70000", "encoding": "xpos", "tokens": 8}, "checkpoint_lengths: 70004 positions: xPos overflows"),
        ({"checkpoint_lengths": "0"}, "checkpoint_lengths: "),
        ({"checkpoint_lengths": "many"}, "checkpoint_lengths: "),
        ({"checkpoint_lengths": "4x:8"}, "checkpoint_lengths: '4x:8' descends: write 8:4x"),
        ({"checkpoint_lengths": "0.01x"}, "checkpoint_lengths: '0.01x': lengths start at 1: write 1"),
        ({"length": 400, "validation_samples": 999_999_999}, "validation_samples: holding the strings of validation needs"),
        ({"checkpoint_lengths": "1:9999:1", "validation_samples": 10**6}, "checkpoint_lengths: holding their strings needs"),
        (
            {"task": "sort", "checkpoint_lengths": "8,1000"},
            "checkpoint_lengths: sort holds out no problem longer than 149: write",
        ),
    ],
)
def test_lengths_that_cannot_choose_are_refused_before_training(tmp_path, rpe, keys, message):
    result = rpe("train", tiny.recipe_file(tmp_path, **CHOOSING | keys), "--runs", tmp_path / "runs")
    assert result.code == 2
    assert message in result.err
    assert not (tmp_path / "runs").exists()

"""Recipes that vary any key, leave combinations out and set keys of single encodings; and what a recipe would do."""

import json
from pathlib import Path

import pytest
from helpers import run_folders
from typer.testing import CliRunner, Result

from rpecli import catalog
from rpecli.cli import _dry_run
from rpecli.cli._execute import Workplace
from rpecli.cli.app import app
from rpecli.config import load as config_load
from rpecli.config.recipe import Config
from rpecli.config.yaml_source import RecipeError
from rpecli.launch import plan, pool, receipt
from rpecli.run import code
from rpecli.run.directory import Run

SMALL = """\
task: copy
encoding: [rope, learned]
seed: 0,1
steps: 3
length: 4
warmup: 1
tokens: 64
d_model: 16
n_head: 2
n_layer: 1
lengths: 1x
samples: 4
"""


def load(folder: Path, text: str, flags: dict[str, str] | None = None) -> list[Config]:
    (folder / "mine.yaml").write_text(SMALL + text)
    return config_load.load(str(folder / "mine.yaml"), flags)[0].configs()


def problem(folder: Path, text: str, flags: dict[str, str] | None = None) -> str:
    with pytest.raises(RecipeError) as error:
        load(folder, text, flags)
    return str(error.value).replace(str(folder), "")


def test_every_combination_of_what_varies_is_a_run(tmp_path: Path) -> None:
    configs = load(tmp_path, "vary:\n  lr: [1e-3, 3e-3]\n  length: 4:16\n")
    assert {(config.lr, config.length) for config in configs} == {(lr, n) for lr in (1e-3, 3e-3) for n in (4, 8, 16)}
    assert len(configs) == len({config.id for config in configs}) == 2 * 2 * 2 * 3


def test_keys_with_a_stroke_between_them_vary_together(tmp_path: Path) -> None:
    configs = load(tmp_path, "vary: {d_model/n_head: [16/2, 32/4]}\n")
    assert {(config.d_model, config.n_head) for config in configs} == {(16, 2), (32, 4)}
    assert len(configs) == 8


def test_lengths_that_choose_weights_and_tasks_of_an_evaluation_are_no_ranges(tmp_path: Path) -> None:
    configs = load(tmp_path, 'vary: {checkpoint_lengths: [1x:2x, "4,8", null]}\nexclude: ["checkpoint_lengths=4,8"]\n')
    assert [config.checkpoint_lengths for config in configs[:4:2]] == ["1x:2x", None]
    assert len(configs) == 8
    (task,) = {config.eval.eval_task for config in load(tmp_path, "vary: {eval_task: [copy:symbols=12]}\n")}
    assert task == "copy:symbols=12"


def test_what_contradicts_in_a_combination_that_is_left_out_is_no_error(tmp_path: Path) -> None:
    text = "vary: {normalizer: [softmax, stick-breaking], attention: [causal, bidirectional]}\n"
    line = "exclude: [normalizer=stick-breaking and attention=bidirectional]\n"
    assert len(load(tmp_path, text + line)) == 12
    assert "/mine.yaml:13: vary: normalizer: stick-breaking needs causal attention" in problem(tmp_path, text)
    assert "needs causal" in problem(tmp_path, text + line.replace("bidirectional", "bidirectional and seed=0"))


def test_what_contradicts_stands_where_the_encoding_or_the_variation_sets_it(tmp_path: Path) -> None:
    of_encoding = "by_encoding:\n  learned: {d_model: 63}\n"
    told = problem(tmp_path, of_encoding)
    assert told == "/mine.yaml:14: by_encoding: learned: d_model: d_model=63 is not divisible by n_head=2: d_model=64 is"
    text = SMALL.replace("d_model: 16\n", "")
    (tmp_path / "other.yaml").write_text(f"{text}vary: {{d_model: [16, 63]}}\n")
    with pytest.raises(RecipeError, match=r"other.yaml:12: vary: d_model: d_model=63 is not divisible"):
        config_load.load(str(tmp_path / "other.yaml"))
    with pytest.raises(RecipeError, match=r"^--d-model: d_model=65 is not divisible"):
        config_load.load(str(tmp_path / "other.yaml"), {"d_model": "65"})


def test_a_recipe_without_variation_has_the_runs_that_it_had(tmp_path: Path) -> None:
    plain = load(tmp_path, "lr: 1e-3\n")
    assert [config.id for config in load(tmp_path, "vary: {lr: [1e-3]}\n")] == [config.id for config in plain]


def test_excluded_combinations_are_left_out(tmp_path: Path) -> None:
    text = "vary: {lr: [1e-3, 3e-3]}\nexclude:\n  - encoding=learned and lr=0.003\n  - seed=1\n"
    assert [(config.encoding, config.lr) for config in load(tmp_path, text)] == [
        ("rope", 1e-3),
        ("rope", 3e-3),
        ("learned", 1e-3),
    ]


def test_a_name_without_options_excludes_it_with_any_options(tmp_path: Path) -> None:
    flags = {"encoding": "rope,rope:base=500,learned"}
    assert {config.encoding for config in load(tmp_path, "exclude: encoding=rope\n", flags)} == {"learned"}
    assert {config.encoding for config in load(tmp_path, "exclude: encoding=rope:base=500\n", flags)} == {"rope", "learned"}


def test_an_exclusion_may_name_what_is_kept(tmp_path: Path) -> None:
    flags = {"encoding": "rope,rope:base=500,learned", "positions": "start,offset"}
    kept = {
        (config.encoding, config.positions)
        for config in load(tmp_path, "exclude: positions=offset and encoding!=learned\n", flags)
    }
    assert kept == {("rope", "start"), ("rope:base=500", "start"), ("learned", "start"), ("learned", "offset")}
    assert {config.encoding for config in load(tmp_path, "exclude: encoding != rope\n", flags)} == {"rope", "rope:base=500"}
    assert {config.lr for config in load(tmp_path, "vary: {lr: [1e-3, 3e-3]}\nexclude: lr!=0.001\n")} == {1e-3}


def test_settings_of_an_encoding_are_above_those_of_a_task_and_below_flags(tmp_path: Path) -> None:
    text = "lr: 1e-3\nby_task: {copy: {lr: 2e-3, tokens: 128}}\nby_encoding:\n  rope: {lr: 3e-3}\n  rope:base=500: {lr: 4e-3}\n"
    flags = {"encoding": "rope,rope:base=500,learned", "seed": "0"}
    assert [config.lr for config in load(tmp_path, text, flags)] == [3e-3, 4e-3, 2e-3]
    assert {config.tokens for config in load(tmp_path, text, flags)} == {128}
    assert {config.lr for config in load(tmp_path, text, flags | {"lr": "5e-3"})} == {5e-3}


def test_what_an_encoding_sets_does_not_vary_for_it_and_a_flag_ends_the_variation(tmp_path: Path) -> None:
    text = "vary: {lr: [1e-3, 3e-3]}\nby_encoding: {rope: {lr: 2e-3}}\n"
    configs = load(tmp_path, text, {"seed": "0"})
    assert [(config.encoding, config.lr) for config in configs] == [("rope", 2e-3), ("learned", 1e-3), ("learned", 3e-3)]
    assert [config.lr for config in load(tmp_path, text, {"seed": "0", "lr": "9e-3"})] == [9e-3, 9e-3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vary: {sseed: [1, 2]}\n", "/mine.yaml:13: vary: sseed: unknown key 'sseed': did you mean"),
        ("vary: {seed: [1, 2]}\n", "/mine.yaml:13: vary: seed: seed takes a list itself: write it outside vary"),
        ("vary: {lr: [1e-3, fast]}\n", "/mine.yaml:13: vary: lr: 'fast': input should be a valid number"),
        ("vary: {steps: 1x:4x}\n", "/mine.yaml:13: vary: steps: '1x:4x': input should be a valid integer"),
        ("vary: {lr: -1}\n", "/mine.yaml:13: vary: lr: '-1': input should be greater than 0"),
        ("vary: {d_model/n_head: [64/4, 128]}\n", "vary: d_model/n_head: '128' has 1 values for 2 keys: write 1/1"),
        ("vary: {d_model: [15]}\n", "d_model=15 is not divisible by n_head=2"),
        ("vary: [lr]\n", "/mine.yaml:13: vary: ['lr']: write keys with lists of values"),
        ("vary:\n", "is empty"),
        ("lr: [1e-3, 3e-3]\n", "/mine.yaml:13: lr: takes one value: to vary it, write vary: {lr: [1e-3, 3e-3]}"),
        ("exclude: rope\n", "/mine.yaml:13: exclude: 'rope' is not key=value: write encoding=learned and"),
        ("exclude: lrr=1\n", "/mine.yaml:13: exclude: 'lrr=1': unknown key 'lrr': did you mean lr"),
        ("exclude: task=copy\n", "/mine.yaml:13: exclude: 'task=copy' leaves no run: add a condition, or remove the line"),
        ("by_encoding: {alibi: {lr: 1e-3}}\n", "/mine.yaml:13: by_encoding: alibi: is not an encoding of this recipe"),
        ("by_encoding: {rope: {lrr: 1e-3}}\n", "/mine.yaml:13: by_encoding: rope: lrr: unknown key: did you mean lr"),
        ("by_encoding: {nope: {lr: 1e-3}}\n", "unknown encoding 'nope'"),
        ("by_encoding: {rope: 3}\n", "/mine.yaml:13: by_encoding: rope: '3': write settings of single encodings in a file"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_line_and_key(text: str, words: str, tmp_path: Path) -> None:
    assert words in problem(tmp_path, text)


def test_a_flag_for_one_of_several_keys_that_vary_together_is_refused(tmp_path: Path) -> None:
    assert "d_model/n_head vary together" in problem(tmp_path, "vary: {d_model/n_head: [16/2]}\n", {"n_head": "4"})


def rpe(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


def states(folder: Path, recipe: Path) -> list[str]:
    result = rpe("run", recipe, "--dry-run", "--json", "--device", "cpu", "--runs", folder)
    assert result.exit_code == 0, result.output
    return [run["state"] for run in json.loads(result.stdout)]


def test_a_dry_run_tells_what_is_done_and_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe, runs = tmp_path / "mine.yaml", tmp_path / "runs"
    recipe.write_text(SMALL + "vary: {lr: [1e-3, 3e-3]}\n")
    planned = json.loads(rpe("run", recipe, "--dry-run", "--json", "--device", "cpu").stdout)
    assert [run["state"] for run in planned] == ["to train"] * 8
    assert all(run["seconds"] >= 0 and 3 * 48 < run["tokens"] <= 3 * 64 and run["steps_left"] == 3 for run in planned)
    assert not runs.exists(), "nothing was created"

    first = rpe("run", recipe, "--encoding", "rope", "--seed", 0, "--jobs", 0, "--device", "cpu")
    assert first.exit_code == 0, first.output
    assert states(runs, recipe) == ["done", "to train", "done", *["to train"] * 5]
    recipe.write_text(recipe.read_text().replace("lengths: 1x\n", "lengths: 1x,2x\n"))
    assert states(runs, recipe) == ["to evaluate", "to train", "to evaluate", *["to train"] * 5]

    shown = rpe("run", recipe, "--dry-run", "--device", "cpu").stdout
    assert "8 runs: 2 to evaluate, 6 to train." in shown
    assert "in 18 steps" in shown
    assert "| seed |    lr | steps |" in shown, "the key that varies has a column"


def test_a_dry_run_counts_the_cores_that_the_processes_of_a_run_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "n_cores", lambda: 4)
    monkeypatch.setattr(pool, "available_memory", lambda: 1 << 40)
    runs = [plan.PlannedRun(config, plan.NEW, config.steps, config.id, seconds=60.0) for config in load(tmp_path, "")]
    for nproc, said in (
        (1, "1 min 00 s with 4 at a time"),
        (2, "2 min 00 s with 2 at a time"),
        (4, "4 min 00 s with 1 at a time"),
    ):
        assert said in _dry_run.summary(runs, Workplace("cpu", None, nproc=nproc))[1]


def test_a_stopped_run_is_planned_from_its_checkpoint(tmp_path: Path) -> None:
    recipe, runs = tmp_path / "mine.yaml", tmp_path / "runs"
    recipe.write_text(SMALL)
    run = Run.create(config_load.load(str(recipe))[0].configs()[1], runs)
    run_folders.append_line(run.metrics_file, run_folders.validation(2, 0.5))
    run.checkpoint_file.write_bytes(b"")
    run.update(status="stopped", step=2)
    run_folders.append_line(run.metrics_file, run_folders.validation(3, 0.5))  # after the checkpoint: done again
    assert states(runs, recipe) == ["to train", "to resume at step 2", "to train", "to train"]


def test_an_extended_recipe_trains_the_new_runs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(SMALL.replace("[rope, learned]", "rope").replace("0,1", "0"))
    assert rpe("run", recipe, "--jobs", 0, "--device", "cpu").exit_code == 0
    first = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/weights.safetensors")}
    recipe.write_text(SMALL)
    result = rpe("run", recipe, "--jobs", 0, "--device", "cpu")
    assert "1 of 4 runs are already trained and evaluated." in result.stderr
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/weights.safetensors")}
    assert len(after) == 4
    assert first.items() <= after.items(), "the run that was there is as it was"


def test_a_run_whose_weights_are_others_than_those_evaluated_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(SMALL.replace("[rope, learned]", "rope").replace("0,1", "0"))
    assert rpe("run", recipe, "--jobs", 0, "--device", "cpu").exit_code == 0
    (run,) = map(Run, (tmp_path / "runs").iterdir())
    assert states(tmp_path / "runs", recipe) == ["done"]
    run.update(weights="other")  # as after training again: files of the same sizes
    assert states(tmp_path / "runs", recipe) == ["to evaluate"]


def test_a_finished_run_whose_recipe_is_damaged_or_gone_has_it_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(SMALL.replace("[rope, learned]", "rope"))
    words = ("run", recipe, "--jobs", 0, "--device", "cpu")
    assert rpe(*words).exit_code == 0
    damaged, gone = (Run(path) for path in sorted((tmp_path / "runs").iterdir()))
    before, weights = damaged.recipe_file.read_bytes(), damaged.weights_file.stat().st_mtime_ns
    damaged.recipe_file.write_text("")
    gone.recipe_file.unlink()
    assert states(tmp_path / "runs", recipe) == ["to evaluate"] * 2
    result = rpe(*words)
    assert result.exit_code == 0
    assert "0 of 2 runs" not in result.stderr
    assert result.stderr.count("it is written anew") == 2
    assert (damaged.recipe_file.read_bytes(), damaged.weights_file.stat().st_mtime_ns) == (before, weights)
    assert "2 of 2 runs are already trained and evaluated." in rpe(*words).stderr


def test_a_finished_run_without_its_copy_of_own_code_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.yaml"
    (tmp_path / "mine.py").write_text(catalog.find("encodings", "alibi").read_text())
    recipe.write_text(SMALL.replace("[rope, learned]", "./mine.py").replace("0,1", "0"))
    words = ("run", recipe, "--jobs", 0, "--device", "cpu")
    assert rpe(*words).exit_code == 0
    (copy,) = tmp_path.glob("runs/*/code/encodings/mine.py")
    copy.unlink()
    receipt._code.cache_clear()  # as in a new process
    code._files_of.cache_clear()
    result = rpe(*words)
    assert result.exit_code == 1
    assert "/code: a file of this run is gone from here: put it back" in result.stderr


def test_a_dry_run_refuses_flags_of_reports() -> None:
    assert rpe("run", "tiny", "--dry-run", "--tables").exit_code == 2

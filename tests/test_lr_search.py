"""A recipe whose learning rate is searched: what is compared, what is taken, and what a report says of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import fake_runs
from helpers import training as tiny

from rpecli.config import load as config_load
from rpecli.config.recipe import Recipe
from rpecli.config.yaml_source import RecipeError
from rpecli.report import warnings
from rpecli.report.aggregate import aggregate
from rpecli.report.tables import lr_search as lr_table
from rpecli.run import lr_search
from rpecli.run.directory import Run, Status, find_runs
from rpecli.run.records import LrTrials, MetricsLine

KEYS: dict[str, Any] = {"encoding": "rope", "seed": "0:2", "steps": 4, "validate_every": 2, "warmup": 1, "lr_search": "1e-3,3e-3"}


def recipe(folder: Path, **keys: Any) -> Recipe:
    return config_load.load(str(tiny.recipe_file(folder, **KEYS | keys)))[0]


def tried(rate: float, accuracy: float | None, loss: float | None) -> LrTrials:
    return LrTrials(lr=rate, runs=[], token_accuracy=accuracy, loss=loss)


def end_trial(run: Run, accuracy: float, loss: float) -> None:
    """Makes a trial one that was trained, with this last validation."""
    line = MetricsLine(step=4, tokens=512, loss=loss, lr=1e-3, token_accuracy=accuracy, exact_match=0.0, seconds=1.0)
    run.append_metrics(line)
    run.weights_file.write_bytes(b"weights")
    run.update(status=Status.TRAINED)


def folders(runs: Path) -> dict[str, Run]:
    return {run.name: run for run in find_runs(runs / lr_search.FOLDER)[0]}


@pytest.mark.parametrize(
    ("rates", "taken"),
    [
        ([tried(1e-3, 0.5, 1.0), tried(3e-3, 0.75, 2.0), tried(1e-2, 0.7, 0.5)], 3e-3),
        ([tried(1e-3, 1.0, 0.2), tried(3e-3, 1.0, 0.1), tried(1e-2, 1.0, 0.3)], 3e-3),
        ([tried(1e-3, 0.1, 3.0), tried(3e-3, None, None)], 1e-3),
        ([tried(1e-3, 0.0, 3.0), tried(3e-3, 0.0, 3.0)], 1e-3),
        ([tried(1e-3, None, None), tried(3e-3, None, None)], None),
    ],
)
def test_the_rate_with_the_most_tokens_right_is_taken_then_that_with_the_lowest_loss(
    rates: list[LrTrials], taken: float | None
) -> None:
    assert lr_search.best(rates) == taken


def test_every_rate_is_tried_with_each_encoding_on_seeds_that_are_not_reported(tmp_path: Path) -> None:
    searched = recipe(tmp_path, encoding="rope,alibi", lr_search_seed="7,8")
    trials = searched.trials()
    assert {(trial.encoding, trial.lr, trial.seed) for trial in trials} == {
        (encoding, rate, seed) for encoding in ("rope", "alibi") for rate in (1e-3, 3e-3) for seed in (7, 8)
    }
    assert {config.seed for config in searched.configs()} == {0, 1}
    assert not recipe(tmp_path, lr_search="1e-3,3e-3").model_copy(update={"lr_search": []}).trials()


def test_an_encoding_of_which_some_seeds_are_left_out_is_searched_too(tmp_path: Path) -> None:
    for line, encodings in (("encoding=alibi and seed!=0", {"rope", "alibi"}), ("encoding=alibi", {"rope"})):
        searched = recipe(tmp_path, encoding="rope,alibi", exclude=line)
        assert {trial.encoding for trial in searched.trials()} == encodings
        known = lr_search.choices(searched, tmp_path / "runs")
        assert (known.configs, {config.encoding for config in known.undecided}) == ([], encodings)


def test_the_choice_is_by_the_mean_over_seeds_and_for_each_encoding(tmp_path: Path) -> None:
    searched = recipe(tmp_path, encoding="rope,alibi", lr_search_seed="7,8")
    accuracies = {
        ("rope", 1e-3): (0.9, 0.3),
        ("rope", 3e-3): (0.7, 0.7),
        ("alibi", 1e-3): (0.4, 0.4),
        ("alibi", 3e-3): (0.1, 0.5),
    }
    known = lr_search.choices(searched, tmp_path)
    assert (len(known.trials), known.configs, len(known.undecided)) == (8, [], 4)
    for trial in known.trials:
        run = Run.create(trial, tmp_path / lr_search.FOLDER)
        end_trial(run, accuracies[trial.encoding, trial.lr][trial.seed - 7], loss=2.0)
    known = lr_search.choices(searched, tmp_path)
    assert {(config.encoding, config.seed): config.lr for config in known.configs} == {
        ("rope", 0): 3e-3, ("rope", 1): 3e-3, ("alibi", 0): 1e-3, ("alibi", 1): 1e-3
    }  # fmt: skip
    assert not known.undecided
    search = known.searches[known.configs[0].id]
    assert (search["taken"], search["seeds"]) == (3e-3, [7, 8])
    assert [(one["lr"], one["token_accuracy"], one["loss"]) for one in search["tried"]] == [(1e-3, 0.6, 2.0), (3e-3, 0.7, 2.0)]


def test_a_rate_whose_loss_was_not_finite_is_not_taken_and_a_missing_trial_leaves_the_choice_open(tmp_path: Path) -> None:
    searched = recipe(tmp_path)
    small, large = (Run.create(trial, tmp_path / lr_search.FOLDER) for trial in searched.trials())
    large.update(status=Status.FAILED, diverged=2)
    assert len(lr_search.choices(searched, tmp_path).undecided) == 2
    end_trial(small, 0.1, 3.0)
    assert {config.lr for config in lr_search.choices(searched, tmp_path).configs} == {1e-3}
    small.update(status=Status.FAILED)
    assert len(lr_search.choices(searched, tmp_path).undecided) == 2


def test_a_rate_of_a_single_encoding_or_a_flag_ends_the_search(tmp_path: Path) -> None:
    file = tiny.recipe_file(tmp_path, **KEYS | {"encoding": "rope,alibi"})
    file.write_text(file.read_text() + "by_encoding: {alibi: {lr: 2e-3}}\n")
    known = lr_search.choices(config_load.load(str(file))[0], tmp_path)
    assert {trial.encoding for trial in known.trials} == {"rope"}
    assert {(config.encoding, config.lr) for config in known.configs} == {("alibi", 2e-3)}
    flagged = config_load.load(str(file), {"lr": "5e-3"})[0]
    assert (flagged.trials(), {config.lr for config in flagged.configs()}) == ([], {5e-3})


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("lr_search: [1e-3]", {}, "one learning rate is no choice: write two or more, or lr"),
        ("lr_search: [1e-3, fast]", {}, "'fast' is not a learning rate"),
        ("lr_search: [0, 1e-3]", {}, "learning rates are above 0 and finite"),
        ("lr_search: [1e-3, 3e-3]\nvary: {lr: [1e-3, 2e-3]}", {}, "lr varies too"),
        ("lr_search: [1e-3, 3e-3]\nexclude: lr=1e-3", {}, "lr is searched"),
        ("lr_search: [1e-3, 3e-3]\nexclude: encoding=rope and lr!=1e-3", {}, "lr is searched"),
        ("lr_search: [1e-3, 3e-3]\nlr_search_seed: 1", {}, "mine.yaml:17: lr_search_seed: seed 1 is reported too"),
        ("lr_search_seed: 5", {}, "of use with lr_search only"),
        ("", {"lr": "1e-3", "lr_search": "1e-3,3e-3"}, "--lr: given beside --lr-search"),
    ],
)
def test_what_contradicts_a_search_is_an_error(text: str, flags: dict[str, str], message: str, tmp_path: Path) -> None:
    file = tiny.recipe_file(tmp_path, seed="0:2")
    file.write_text(f"{file.read_text()}{text}\n")
    with pytest.raises(RecipeError) as error:
        config_load.load(str(file), flags)
    assert message in str(error.value)


def test_run_searches_first_never_evaluates_a_trial_and_reports_what_it_took(here: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(here, **KEYS)
    plan = json.loads(rpe("run", file, "--dry-run", "--json").out)
    assert [(row["state"], row["lr"], row["run"] is None) for row in plan] == [
        ("to search", 1e-3, False), ("to search", 3e-3, False), *[("to train after the search", None, True)] * 2
    ]  # fmt: skip
    assert not Path("runs").exists()
    done = rpe("run", file, "--jobs", 0, "--no-reference")
    assert done.code == 0, done
    trials = folders(Path("runs"))
    assert len(trials) == 2
    for trial in trials.values():
        assert not trial.evaluations_file.exists()
        assert not trial.probes_file.exists()
    accuracy = {trial.config.lr: (line["token_accuracy"], -line["loss"])
                for trial in trials.values() if (line := trial.last_metrics())}  # fmt: skip
    best = max(accuracy, key=lambda rate: accuracy[rate])
    runs = find_runs(Path("runs"))[0]
    assert [(run.config.lr, run.config.seed) for run in runs] == [(best, 0), (best, 1)]
    for run in runs:
        search = run.record["lr_search"]
        assert search["taken"] == best
        assert {one["lr"]: one["runs"] for one in search["tried"]} == {trial.config.lr: [trial.name] for trial in trials.values()}
    which = "smallest" if best == 1e-3 else "largest"
    assert f"rope on copy ({best:g}, the {which}): extend lr_search" in done.err
    page = Path("results/mine/report.md").read_text()
    assert "Learning rates tried" in page
    assert f"Your RoPE, lr={best:g}" not in page


def test_the_same_command_does_what_is_missing_of_a_search_and_another_rate_is_tried_alone(here: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(here, **KEYS)
    assert rpe("run", file, "--jobs", 0).code == 0
    before = {run.name: run.record for run in folders(Path("runs")).values()}
    again = rpe("run", file, "--jobs", 0)
    assert "2 of 2 runs are already trained and evaluated." in again.err
    assert "Learning-rate search" not in again.err
    more = rpe("run", file, "--jobs", 0, "--lr-search", "1e-3,2e-3,3e-3")
    assert "Learning-rate search: 1 run of 3 to train, with rates 0.001, 0.002, 0.003." in more.err
    after = {run.name: run.record for run in folders(Path("runs")).values()}
    assert {name: after[name] for name in before} == before
    assert len(after) == 3
    assert all(len(run.record["lr_search"]["tried"]) == 3 for run in find_runs(Path("runs"))[0] if run.config.lr == 2e-3)
    assert rpe("report", "--recipe", file).code == 0


def test_a_diverging_rate_is_part_of_the_result_and_not_tried_again(here: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(here, **KEYS | {"lr_search": "1e-3,1e20", "clip": "1e30", "steps": 8})
    first = rpe("train", file, "--jobs", 0)
    assert first.code == 0, first
    (diverged,) = [run for run in folders(Path("runs")).values() if run.config.lr == 1e20]
    assert diverged.record["diverged"] > 0
    assert {run.config.lr for run in find_runs(Path("runs"))[0]} == {1e-3}
    assert "Learning-rate search" not in rpe("train", file, "--jobs", 0).err


def test_a_search_without_a_finite_rate_leaves_its_runs_out_and_fails(here: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(here, **KEYS | {"lr_search": "1e19,1e20", "clip": "1e30", "steps": 8})
    file.write_text(file.read_text().replace("encoding: rope", "encoding: rope,none") + "by_encoding: {none: {lr: 1e-3}}\n")
    result = rpe("train", file, "--jobs", 0)
    assert result.code == 1
    assert "no learning rate for RoPE on Copy: a trial failed, or no rate has a finite loss" in result.err
    assert {run.config.encoding for run in find_runs(Path("runs"))[0]} == {"none"}
    assert rpe("ls", "runs", "--runs", "runs/.lr_search").code == 0


def test_a_search_in_which_no_rate_trains_says_so_each_time(here: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(here, **KEYS | {"lr_search": "1e19,1e20", "clip": "1e30", "steps": 8})
    for command in ("train", "run", "train"):
        result = rpe(command, file, "--jobs", 0)
        assert (result.code, "no learning rate for RoPE on Copy" in result.err) == (1, True), result


def test_a_run_that_another_process_works_on_keeps_what_its_record_says(tmp_path: Path) -> None:
    run = tiny.new_run(tmp_path)
    search: Any = {"taken": 6e-3, "seeds": [1000], "tried": [dict(tried(3e-3, 0.1, 3.0)), dict(tried(6e-3, 0.2, 2.0))]}
    with run.lock():
        lr_search.record([run], {run.name: search})
    assert "lr_search" not in run.record
    lr_search.record([run], {run.name: search})
    assert run.record["lr_search"] == search


def searched_run(encoding: str, task: str, taken: float, rates: tuple[float, ...] = (1e-3, 3e-3, 6e-3)) -> Any:
    search = {"taken": taken, "seeds": [1000], "tried": [dict(tried(rate, rate * 100, 0.5)) for rate in rates]}
    run = fake_runs.fake_run(encoding, 0, {16: 1.0, 32: 0.5}, task=task, lr_search=search)
    return replace(run, settings={"lr": taken, "dropout": 0.0})


def test_encodings_with_different_chosen_rates_are_named_as_they_would_be_without() -> None:
    runs = [searched_run("rope", "copy", 1e-3), searched_run("alibi", "copy", 3e-3), searched_run("rope", "sort", 6e-3)]
    assert [[one.label for one in task.encodings] for task in aggregate(runs)] == [["alibi", "rope"], ["rope"]]
    fixed = replace(fake_runs.fake_run("rope", 1, {16: 1.0, 32: 0.5}), settings={"lr": 2e-3, "dropout": 0.0})
    labels = [one.label for one in aggregate([*runs[:2], fixed])[0].encodings]
    assert labels == ["alibi lr=best of 0.001/0.003/0.006", "rope lr=0.002", "rope lr=best of 0.001/0.003/0.006"]


def test_a_report_has_a_table_of_what_was_tried_and_warns_of_the_ends() -> None:
    runs = [
        searched_run("rope", "copy", 6e-3),
        searched_run("alibi", "copy", 3e-3, (3e-3, 6e-3)),
        searched_run("t5", "copy", 3e-3),
    ]
    (table,) = lr_table.tables(aggregate(runs)[0])
    assert list(table.columns) == ["encoding", "0.001", "0.003", "0.006", "taken"]
    assert table.rows == [
        ["ALiBi, lr=best of 0.003/0.006", "-", "30.0 (0.5)", "60.0 (0.5)", "0.003"],
        ["RoPE, lr=best of 0.001/0.003/0.006", "10.0 (0.5)", "30.0 (0.5)", "60.0 (0.5)", "0.006"],
        ["T5 bias, lr=best of 0.001/0.003/0.006", "10.0 (0.5)", "30.0 (0.5)", "60.0 (0.5)", "0.003"],
    ]
    assert table.bold[1] == [False, False, False, True, False]
    (warning,) = warnings.ends_of_search(runs)
    assert "rope on copy (0.006, the largest), alibi on copy (0.003, the smallest): extend lr_search" in warning
    assert not warnings.ends_of_search([searched_run("t5", "copy", 3e-3)])
    assert not lr_table.tables(fake_runs.fake_study({"rope": [0.5]})[0])

"""The commands that a report gives to make its runs again."""

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.run_folders import evaluation, make_run, write_run

from rpecli.config import load as config_load
from rpecli.report import retrain
from rpecli.report.load import RunResults, load_runs

FLAGS = " --lengths 32 --samples 100"  # of `rpe eval`, that measure runs of make_run at 16 and 32


def commands(folder: Path, flag: str = "", shifted: bool = False) -> list[str]:
    return retrain.commands(load_runs(sorted(folder.iterdir())).runs, flag, shifted)


def of_recipe(name: str, folder: Path, flags: dict[str, str], study: str | None = None) -> None:
    for config in config_load.load(name, flags)[0].configs():
        keys = {key: value for key, value in config.to_keys().items() if value is not None}
        make_run(folder, {16: 1.0}, info={"study": study or name}, **keys)


def test_runs_that_differ_in_encoding_and_seed_are_one_command(tmp_path: Path) -> None:
    for encoding in ("rope", "alibi"):
        for seed in range(3):
            make_run(tmp_path, {16: 1.0, 32: 0.5}, encoding=encoding, seed=seed, lr=0.002)
    train = "rpe train --task copy --encoding alibi,rope --seed 0:3 --steps 100 --lr 0.002"
    assert commands(tmp_path) == [train.replace("--steps", "--length 16 --steps"), f"rpe eval{FLAGS}"]
    assert commands(tmp_path, " --runs mine", shifted=True)[1:] == [
        f"rpe eval{FLAGS} --runs mine",
        "rpe inspect --shift --runs mine",
    ]


def test_a_seed_that_one_encoding_lacks_takes_a_command_of_its_own(tmp_path: Path) -> None:
    for encoding, seed in (("rope", 0), ("rope", 1), ("alibi", 0)):
        make_run(tmp_path, {16: 1.0}, encoding=encoding, seed=seed, positions="randomized")
    assert commands(tmp_path)[:-1] == [
        "rpe train --task copy --encoding alibi --positions randomized --length 16 --steps 100",
        "rpe train --task copy --encoding rope --positions randomized --seed 0:2 --length 16 --steps 100",
    ]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({}, "rpe run quick"),
        ({"seed": "0", "encoding": "rope,none"}, "rpe run quick --encoding none,rope --seed 0"),
        ({"steps": "7", "task": "copy"}, None),  # not what the recipe trains
    ],
)
def test_runs_of_a_recipe_name_it_where_it_makes_them(tmp_path: Path, flags: dict[str, str], line: str | None) -> None:
    of_recipe("quick", tmp_path, flags)
    first, *others = commands(tmp_path)
    assert first == line if line else first.startswith("rpe train --task copy --encoding ")
    assert others == ["rpe eval --lengths 16 --samples 100"]


def test_lengths_and_ways_that_the_recipe_does_not_measure_are_commands_too(tmp_path: Path) -> None:
    run = write_run(tmp_path, {16: 1.0, 999: 0.5})
    (line, *_) = run.evaluations()
    run.append_evaluation({**line, "encoding_override": "rope:scaling=yarn"})
    assert commands(tmp_path)[1:] == [
        "rpe eval --lengths 16,999",  # 100 sequences at 999 are more than any --samples makes
        "rpe eval --swap-encoding rope:scaling=yarn --eval-positions start --lengths 16,999",
    ]


def test_files_of_the_user_and_many_settings_have_no_command(tmp_path: Path) -> None:
    for number in range(retrain.MOST):
        make_run(tmp_path / "many", {16: 1.0}, lr=0.001 * (number + 1))
    assert commands(tmp_path / "many") == []
    rows = tmp_path / "mine.jsonl"
    rows.write_text('{"input": "a", "target": "a"}\n' * 20)
    make_run(tmp_path / "own", {16: 1.0}, task=f"data:path={rows}")
    assert commands(tmp_path / "own") == []


def test_a_command_that_trains_needs_no_other(tmp_path: Path) -> None:
    make_run(tmp_path, {16: 1.0})
    runs = load_runs(sorted(tmp_path.iterdir())).runs
    assert retrain.reproducing("rpe run quick && rpe report", runs, False) == ["rpe run quick && rpe report"]
    lines = retrain.reproducing("rpe report --runs 'my runs' --name x", runs, False)
    assert lines == [
        "rpe train --task copy --encoding rope --length 16 --steps 100 --runs 'my runs'",
        "rpe eval --lengths 16 --samples 100 --runs 'my runs'",
        "rpe report --runs 'my runs' --name x",
    ]  # fmt: skip
    assert retrain.reproducing("", runs, False) == [line.removesuffix(" --runs 'my runs'") for line in lines[:-1]]


def test_a_report_of_files_says_why_it_trains_nothing(tmp_path: Path) -> None:
    rows = tmp_path / "mine.jsonl"
    rows.write_text('{"input": "a", "target": "a"}\n' * 20)
    make_run(tmp_path / "own", {16: 1.0}, task=f"data:path={rows}")
    own = load_runs(sorted((tmp_path / "own").iterdir())).runs
    assert retrain.reproducing("rpe report", own, False) == [retrain.FILES, "rpe report"]
    assert retrain.more(own, [{"seed": 1}]) == ""


@pytest.mark.parametrize(
    ("length", "samples", "seed", "flags"),
    [
        (32, 256, 0, " --lengths 32"),
        (32, 8, 0, " --lengths 32 --samples 8"),
        (32, 256, 7, " --lengths 32 --eval-seed 7"),
        (128, 256, 0, " --lengths 16,128"),  # without 16, 32 and 64 would be measured too
    ],
)
def test_how_runs_were_measured_is_told_to_eval(tmp_path: Path, length: int, samples: int, seed: int, flags: str) -> None:
    run = write_run(tmp_path, {})
    for n in (16, length):
        run.append_evaluation({**evaluation(n, 0.5, 0.5), "n": samples, "eval_seed": seed})
    assert commands(tmp_path)[1:] == [f"rpe eval{flags}"]


def test_runs_measured_as_their_recipe_says_need_no_flag(tmp_path: Path) -> None:
    run = write_run(tmp_path, {})
    for n in (16, 32, 64, 128):
        run.append_evaluation({**evaluation(n, 0.5, 0.5), "n": 256})
    assert commands(tmp_path)[1:] == ["rpe eval"]


def test_more_seeds_are_the_flags_of_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_recipe("quick", tmp_path / "a", {"task": "copy", "encoding": "rope,learned", "steps": "7", "seed": "0:2"})
    runs = load_runs(sorted((tmp_path / "a").iterdir())).runs
    changes = [{"seed": seed} for seed in range(7)]
    line = retrain.more(runs, changes)
    monkeypatch.setattr(retrain, "LONG", len(line) - 1)
    assert retrain.more(runs, changes) == "", "too long for a sentence"
    assert line.startswith("rpe train --task copy --encoding learned,rope --seed 0:7 --length 16 --curriculum 0.0 --steps 7 ")
    flags = {key.removeprefix("--").replace("-", "_"): value for key, value in pairwise(line.split(", then")[0].split()[2:])}
    made = {config.id for config in config_load.load(None, flags)[0].configs()}
    assert made == {run.config.model_copy(update=change).id for run in runs for change in changes}
    of_recipe("quick", tmp_path / "b", {"task": "copy", "encoding": "rope,learned", "seed": "0:2"})
    same = load_runs(sorted((tmp_path / "b").iterdir())).runs
    assert retrain.more(same, changes).startswith("rpe run quick --task copy --encoding learned,rope --seed 0:7")


@pytest.mark.parametrize("key", ["task", "encoding"])
def test_a_name_that_this_version_lacks_has_no_command(tmp_path: Path, key: str) -> None:
    (run,) = load_runs([make_run(tmp_path, {16: 1.0})]).runs
    lost = replace(run, config=run.config.model_copy(update={key: "gone"}), path=tmp_path / "lost")
    assert retrain.commands([run, lost]) == []
    assert retrain.more([run, lost], [{"seed": 1}]) == ""


def test_many_seeds_of_many_runs_are_a_sentence_too(tmp_path: Path) -> None:
    (run,) = load_runs([make_run(tmp_path, {16: 1.0})]).runs
    configs = [run.config.model_copy(update={"seed": seed}) for seed in range(500)]
    runs = [replace(run, config=config, path=tmp_path / config.id) for config in configs]
    assert retrain.more(runs, [{"seed": seed} for seed in range(30)]).startswith(
        "rpe train --task copy --encoding rope --seed 0:30 "
    )


def pairwise(words: list[str]) -> list[tuple[str, str]]:
    return list(zip(words[::2], words[1::2], strict=True))


OWN = "task: parity\nencoding: [rope]\nseed: 0:3\nlength: 8\nsteps: 60\nlengths: 1x:4x\nd_model: 16\n"


def own_study(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> list[RunResults]:
    """Runs that `rpe run ./mine.yaml` trained in this folder."""
    monkeypatch.chdir(folder)
    (folder / "mine.yaml").write_text(text)
    of_recipe("./mine.yaml", folder / "runs", {}, "mine")
    return load_runs(sorted((folder / "runs").iterdir())).runs


def test_more_runs_of_a_recipe_in_the_folder_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = own_study(tmp_path, f"# d_model/n_head: ours\n{OWN}", monkeypatch)
    measured = ", then rpe eval --lengths 16 --samples 100"
    assert retrain.more(runs, [{"seed": seed} for seed in range(7)]) == f"rpe run ./mine.yaml --seed 0:7{measured}"
    assert retrain.more(runs, [{"encoding": "sinusoidal"}]) == f"rpe run ./mine.yaml --encoding rope,sinusoidal{measured}"
    assert retrain.commands(runs)[0] == "rpe run ./mine.yaml"


@pytest.mark.parametrize("text", [OWN.replace("60", "61"), "task: [", OWN + "extra: ./mine.py\n"])
def test_a_recipe_that_makes_other_runs_or_is_damaged_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    runs = own_study(tmp_path, OWN, monkeypatch)
    (tmp_path / "mine.yaml").write_text(text)
    train = "rpe train --task parity --encoding sinusoidal --seed 0:3 --length 8 --steps 60 --d-model 16 --lengths 1x:4x"
    assert (
        retrain.more(runs, [{"encoding": "sinusoidal"}]) == f"{train}, then rpe eval --lengths 16 --samples 100, then rpe report"
    )

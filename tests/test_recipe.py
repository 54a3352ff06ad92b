"""Recipes: precedence of defaults, tasks, files and flags; how values are read; the round trip through recipe.yaml."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import training as tiny
from helpers.recipes import config, errors, load_text, task_file

from rpecli import catalog
from rpecli.choice import canonical
from rpecli.cli._inputs import read_recipe
from rpecli.config import load as config_load
from rpecli.config.ranges import parse_grid, parse_lengths
from rpecli.config.recipe import Config, Recipe
from rpecli.config.yaml_source import RecipeError
from rpecli.encoding import Encoding


def test_flags_beat_the_recipe_which_beats_the_task_which_beats_the_schema(tmp_path: Path) -> None:
    task = task_file(tmp_path / "mine.py", '{"length": 40, "steps": 41, "lr": 0.5}')
    (run,) = load_text(f"task: {task}\nsteps: 7\nlr: 0.25", tmp_path, lr="0.125").configs()
    assert (run.lr, run.steps, run.length) == (0.125, 7, 40)
    assert run.n_layer == Recipe.model_fields["n_layer"].default


def test_what_equals_the_schemas_default_still_beats_the_task(tmp_path: Path) -> None:
    task = task_file(tmp_path / "mine.py", '{"length": 40}')
    (run,) = load_text(f"task: {task}\nlength: {Recipe.model_fields['length'].default}", tmp_path).configs()
    assert run.length == Recipe.model_fields["length"].default


def test_null_takes_back_what_a_task_sets_by_default(tmp_path: Path) -> None:
    task = task_file(tmp_path / "mine.py", '{"stop_at": 0.5}')
    assert [c.stop_at for c in load_text(f"task: {task}", tmp_path).configs()] == [0.5]
    assert [c.stop_at for c in load_text(f"task: {task}\nstop_at: null", tmp_path).configs()] == [None]


def steps(text: str, tmp_path: Path, **flags: str) -> dict[str, int]:
    return {c.task.replace(f"{tmp_path}/", ""): c.steps for c in load_text(text, tmp_path, **flags).configs()}


BY_TASK = "task: [copy, sort, sort:distinct=true]\nsteps: 5\nby_task:\n  copy: {steps: 6}\n  sort: {steps: 7, lr: 0.5}\n"


def test_by_task_beats_the_keys_for_all_and_flags_beat_both(tmp_path: Path) -> None:
    task = task_file(tmp_path / "mine.py", '{"steps": 41, "length": 40}')
    text = f"task: [{task}, copy]\nlength: 30\nby_task:\n  {task}: {{lr: 0.5}}\n  copy: {{steps: 6}}"
    assert steps(text, tmp_path) == {"mine.py": 41, "copy": 6}
    assert steps(f"{text}\nsteps: 5", tmp_path) == {"mine.py": 5, "copy": 6}
    assert steps(f"{text}\nsteps: 5", tmp_path, steps="3") == {"mine.py": 3, "copy": 3}
    assert [(c.length, c.lr) for c in load_text(text, tmp_path).configs()] == [(30, 0.5), (30, Recipe.model_fields["lr"].default)]


def test_the_name_of_a_task_stands_for_it_with_any_options_and_the_very_choice_above_it_key_by_key(tmp_path: Path) -> None:
    assert steps(BY_TASK, tmp_path) == {"copy": 6, "sort": 7, "sort:distinct=true": 7}
    for choice in ("sort:distinct=true", "'sort: distinct=true'"):
        for text in (f"{BY_TASK}  {choice}: {{steps: 8}}", BY_TASK.replace("  copy", f"  {choice}: {{steps: 8}}\n  copy")):
            assert steps(text, tmp_path) == {"copy": 6, "sort": 7, "sort:distinct=true": 8}
            assert [c.lr == 0.5 for c in load_text(text, tmp_path).configs()] == [False, True, True]


def test_a_flag_takes_back_the_one_key_of_by_task_even_a_wrong_value(tmp_path: Path) -> None:
    configs = load_text(BY_TASK.replace("7", "some"), tmp_path, steps="3").configs()
    assert [(c.steps, c.lr == 0.5) for c in configs] == [(3, False), (3, True), (3, True)]
    assert load_text(BY_TASK.replace("0.5", "fast"), tmp_path, lr="0.25").configs()[1].lr == 0.25
    (line,) = errors("task: copy\nby_task: {copy: {min_length: 8, length: 9}}", tmp_path, min_length="10")
    assert line.startswith("--min-length: ")


def test_where_a_flag_chooses_the_tasks_by_task_may_speak_of_others(tmp_path: Path) -> None:
    assert steps(BY_TASK, tmp_path, task="sort:symbols=9") == {"sort:symbols=9": 7}
    assert steps(BY_TASK, tmp_path, task="parity") == {"parity": 5}


def test_null_under_a_task_takes_back_what_is_set_for_all(tmp_path: Path) -> None:
    text = "task: [copy, sort]\nstop_at: 0.5\nby_task: {copy: {stop_at: null, lengths: [16, 1x:4x]}}"
    assert [(c.stop_at, c.eval.lengths) for c in load_text(text, tmp_path).configs()] == [
        (None, "16,1x:4x"),
        (0.5, "1x,2x,4x,8x"),
    ]


def test_a_run_is_the_same_run_whichever_way_its_settings_came_about(tmp_path: Path) -> None:
    (direct,) = load_text("task: copy\nsteps: 6", tmp_path).configs()
    (by_task,) = load_text("task: copy\nsteps: 7\nby_task: {copy: {steps: 6}}", tmp_path).configs()
    assert (direct, direct.id, direct.to_yaml(tmp_path)) == (by_task, by_task.id, by_task.to_yaml(tmp_path))
    assert "by_task" not in Config.model_fields


def test_the_quick_recipe_says_the_budgets_of_its_tasks() -> None:
    configs = config_load.load("quick")[0].configs()
    assert {(c.task, c.steps, c.lr) for c in configs} == {
        ("copy", 1000, 0.006), ("sort", 1100, 0.008), ("parity", 450, 0.006),
    }  # fmt: skip
    assert len(configs) == 63


def test_no_recipe_an_empty_file_and_a_file_of_comments_are_the_defaults(tmp_path: Path) -> None:
    assert config_load.load()[0] == load_text("", tmp_path) == load_text("# nothing\n\n", tmp_path) == Recipe()


def test_a_recipe_is_a_grid_of_runs(tmp_path: Path) -> None:
    text = "task: [copy, sort]\nencoding: alibi,shaw\nseed: 0:3\npositions: [start, offset]"
    configs = load_text(text, tmp_path).configs()
    assert len(configs) == len({c.id for c in configs}) == 2 * 2 * 3 * 2


def test_a_choice_or_seed_given_twice_is_one_run(tmp_path: Path) -> None:
    text = "task: [sort:distinct=true:symbols=9, 'sort: symbols=9:distinct=true']\nseed: 1,1:2\npositions: [start, start]"
    assert len(load_text(text, tmp_path).configs()) == 1


def test_the_source_says_where_each_key_stands(tmp_path: Path) -> None:
    path = tmp_path / "my_study.yaml"
    path.write_text("# one\nlr: 1\nsteps: 2\n")
    _, source = config_load.load(str(path), {"d-model": "8"})
    assert source.name == "my-study"
    assert source.locations == {"lr": f"{path}:2", "steps": f"{path}:3", "d_model": "--d-model"}


def test_colons_stay_text(tmp_path: Path) -> None:
    recipe = load_text("lengths: 16:32\nseed: 0:2", tmp_path)
    assert parse_lengths(recipe.lengths) == [16, 32]
    assert recipe.seed == [0, 1]


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    assert load_text("lr: 1e-3", tmp_path).lr == 0.001
    assert load_text("lr: 1E-3\nsteps: '20'\nseed: 007", tmp_path).model_dump(include={"lr", "steps", "seed"}) == {
        "lr": 0.001,
        "steps": 20,
        "seed": [7],
    }


def test_lists_may_be_yaml_or_commas(tmp_path: Path) -> None:
    for text in ("lengths: [16, 1x:4x]", "lengths: 16, 1x:4x", "lengths:\n- 16\n- 1x:4x"):
        assert load_text(text, tmp_path).lengths == "16,1x:4x"
    for text in ("task: [copy, 'sort:symbols=9']", "task: copy,sort:symbols=9", "task:\n- copy\n- sort:symbols=9"):
        assert load_text(text, tmp_path).task == ["copy", "sort:symbols=9"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_error(tmp_path: Path) -> None:
    assert load_text(b"\xef\xbb\xbflr: 0.5\r\nsteps: 3\r\n", tmp_path).steps == 3


def test_lengths_below_and_between_multiples_wait_for_the_training_length(tmp_path: Path) -> None:
    (run,) = load_text("task: copy\nlength: 32\nlengths: 0.5x,16:2x,1x:64", tmp_path).configs()
    assert parse_lengths(run.eval.lengths, run.length) == [16, 32, 64]
    (line,) = errors("task: copy\nlengths: 4x:32\nlength: 16", tmp_path)
    assert line == "r.yaml:2: lengths: '4x:32' descends: write 32:4x  (copy trains on length 16)"
    (run,) = load_text("task: copy\nlength: 32\ngrid: 0.5x,16:2x/1x:64", tmp_path).configs()
    assert parse_grid(run.eval.grid or "", run.length) == [(m, n) for m in (16, 32, 64) for n in (32, 64)]
    (line,) = errors("task: copy\ngrid: 2/4x:32\nlength: 16", tmp_path)
    assert line == "r.yaml:2: grid: '4x:32' descends: write 32:4x  (copy trains on length 16)"


def _settings(rng: random.Random, folder: Path) -> dict[str, Any]:
    """Random keys of a run, with extreme values that the schema allows."""
    tiny = rng.choice([1e-7, 3e-5, 0.1, 1 / 3, 1e-300])
    keys = {"lr": tiny * 3, "lr_end": tiny, "clip": rng.choice([1.0, 1e16, 5e-324]), "stop_at": rng.choice([None, 1.0, tiny])}
    keys |= {"data_seed": rng.choice([None, 0, 999_999_999]), "lengths": rng.choice(["16:32", "1x,2x", "8", "0.5x:4x"])}
    keys |= {"seed": rng.randrange(10**9), "dtype": rng.choice(["float32", "bfloat16"]), "weight_decay": tiny}
    keys |= {"positions": rng.choice(["start", "offset", "randomized"]), "n_head": rng.choice([1, 2, 8]), "eval_seed": 8}
    keys = {key: value for key, value in keys.items() if rng.random() < 0.7}
    names = [
        "my task.py",
        "a,b.py",
        "# odd.py",
        "naïve.py",
        "123.py",
        f"{'long name ' * 12}.py",
        'it\'s "q".py',
    ]
    path = task_file(folder / rng.choice(names), rng.choice(["{}", '{"stop_at": 0.25, "length": 77, "data_seed": 4}']))
    task = rng.choice(["copy", "sort:distinct=true:symbols=99", path, f"{path}:law=a,b"])
    return {**keys, "task": canonical(task), "encoding": rng.choice(["none", "rope:base=1e4:pairing=half", "transformer-xl"])}


def test_the_recipe_of_a_run_loads_again_to_the_very_run(tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(150):
        before = config(**_settings(rng, tmp_path / "my tasks"))
        (after,) = load_text(before.to_yaml(tmp_path), tmp_path).configs()
        assert after == before
        assert after.id == before.id


def test_every_shipped_recipe_loads() -> None:
    for name in catalog.names("recipes"):
        assert config_load.load(name)[0].configs()


def test_baselines_stand_for_the_encodings_whose_files_say_so(tmp_path: Path) -> None:
    baselines = {name for name in catalog.names("encodings") if catalog.load_class("encodings", name, Encoding).baseline}
    recipe = load_text("encoding: [fox, baselines, rope]", tmp_path)
    assert recipe.encoding[0] == "fox"
    assert sorted(recipe.encoding) == sorted({"fox", *baselines})
    assert set(config_load.load("quick")[0].encoding) == baselines


def test_added_encodings_join_those_of_the_recipe(tmp_path: Path) -> None:
    own = tmp_path / "a,b.py"
    own.write_text(Path(catalog.find("encodings", "rope")).read_text())
    recipe, _ = read_recipe("tiny", {}, None, str(own))
    assert recipe.encoding == [*config_load.load("tiny")[0].encoding, canonical(str(own))]
    recipe, _ = read_recipe("tiny", {"encoding": str(own)}, None, "alibi")
    assert recipe.encoding == [canonical(str(own)), "alibi"]


def test_the_recipe_of_a_run_is_read_the_same_for_every_seed(tmp_path: Path) -> None:
    """Recipes that differ in their seed alone are parsed once; one with an error, or with a file of the user's, never so."""
    for seed in (0, 7, 123456789):
        known = config(seed=seed, encoding="rope:base=500")
        file = tmp_path / f"{seed}.yaml"
        file.write_text(known.to_yaml(tmp_path))
        assert config_load.load_config(file) == known
    text = config().to_yaml(tmp_path)
    for name, line in (("first", "steps: few"), ("second", "seed: 7\nsteps: few")):
        file = tmp_path / f"{name}.yaml"
        file.write_text(re.sub(r"^steps: .*", "", text, flags=re.MULTILINE) + line + "\n")
        with pytest.raises(RecipeError, match=f"{name}.yaml:[0-9]+: (steps|seed)"):
            config_load.load_config(file)
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        (folder / "mine.py").write_text("")
        (folder / "recipe.yaml").write_text(text.replace("encoding: rope", "encoding: mine.py"))
        assert str(folder / "mine.py") in config_load.load_config(folder / "recipe.yaml").encoding


def test_a_seed_inside_a_text_is_not_that_of_the_run(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    text = re.sub(r"^seed: .*\n", "", config().to_yaml(tmp_path), flags=re.MULTILINE)
    for seed in (3, 4):
        file.write_text(f'{text}task: "copy:symbols=16\nseed: {seed}\n"\n'.replace("task: copy\n", ""))
        assert config_load.load_config(file).seed == 0


def test_lengths_of_an_evaluation_need_not_suit_the_tasks_of_the_default_recipe() -> None:
    assert config_load.load_evaluation({"lengths": "40:2x"}).lengths == "40:2x"  # of a run that is trained on 64


def test_keys_of_a_file_that_no_run_reads_are_told_and_kept(rpe: tiny.Rpe, here: Path) -> None:
    """A flag of that kind is refused: a file may have them for the runs that a later line adds."""
    Path("r.yaml").write_text("encoding: [rope, none]\npositions_per: layer\nlogit_scale_in: evaluation\nmax_position: 99\n")
    result = rpe("check", "r.yaml")
    assert (result.code, result.err.replace(str(here / "r.yaml"), "r.yaml").splitlines()) == (
        0,
        [
            "r.yaml:4: max_position: of use with positions offset, randomized or coupled only: no run reads it",
            "r.yaml:2: positions_per: of use with positions randomized only: no run reads it",
            "r.yaml:3: logit_scale_in: of use with logit_scale only: no run reads it",
        ],
    )
    Path("r.yaml").write_text("encoding: rope\npositions: [start, randomized]\neval_positions: randomized\nmax_position: 4096\n")
    assert rpe("check", "r.yaml").err == ""

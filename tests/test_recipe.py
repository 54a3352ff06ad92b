"""Recipes: the grammar of lengths and seeds, precedence, every error at once with its place, and the identity of a run."""

import itertools
import random
import re
from pathlib import Path
from typing import Any

import pytest

from rpecli import catalog
from rpecli.config import load as config_load
from rpecli.config import recipe
from rpecli.config.ranges import parse_lengths, parse_seeds
from rpecli.config.recipe import Config, EvalSettings, Recipe
from rpecli.config.yaml_source import RecipeError

TASK = "from rpecli.task import Task\n\n\nclass Mine(Task):\n    defaults = {defaults}\n"


def made(text: str | bytes, tmp_path: Path, **flags: str) -> Recipe:
    path = tmp_path / "r.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return config_load.load(str(path), flags)[0]


def errors(text: str | bytes, tmp_path: Path, **flags: str) -> list[str]:
    """What is wrong, a line each, with the file's path cut to its name."""
    with pytest.raises(RecipeError) as caught:
        made(text, tmp_path, **flags)
    return str(caught.value).replace(f"{tmp_path}/", "").split("\n")


def task_file(path: Path, defaults: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TASK.format(defaults=defaults))
    return str(path)


def config(**keys: Any) -> Config:
    return Config.from_keys(**{"task": "copy", "encoding": "rope", **keys})


# --------------------------------------------------------------------------------------------------------------- lengths


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("16", [16]),
        ("512:4096", [512, 1024, 2048, 4096]),
        ("16:50", [16, 32]),
        ("16:16", [16]),
        ("16:64:16", [16, 32, 48, 64]),
        ("16:60:16", [16, 32, 48]),
        ("32, 16,32 ,8", [8, 16, 32]),
        ("1x,2x", [20, 40]),
        ("1x:8x", [20, 40, 80, 160]),
        ("1x:3x:1x", [20, 40, 60]),
        ("0.5x:1.5x:0.5x", [10, 20, 30]),
        ("20:4x", [20, 40, 80]),
        ("1x:64", [20, 40]),
        ("1:4,1x,30", [1, 2, 4, 20, 30]),
        (" 16 : 32 ", [16, 32]),
        ("1:999999999", [2**k for k in range(30)]),
    ],
)
def test_lengths_double_add_list_and_multiply(text: str, lengths: list[int]) -> None:
    assert parse_lengths(text, 20) == lengths


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("0:10", "lengths start at 1: write 1:10"),
        ("0", "lengths start at 1: write 1"),
        ("10:64:0", "lengths start at 1: write 10:64:1"),
        ("10:0", "lengths start at 1: write 10:1"),
        ("0.01x", "lengths start at 1: write 1"),
        ("32:16", "descends: write 16:32"),
        ("32:16:8", "descends: write 16:32:8"),
        ("4x:1x", "descends: write 1x:4x"),
        ("abc", "'abc' is no length"),
        ("-4", "'-4' is no length"),
        ("1.5", "'1.5' is no length"),
        ("1e3", "'1e3' is no length"),
        ("x", "'x' is no length"),
        ("2x2", "'2x2' is no length"),
        ("", "is no length: write 16,32 or"),
        ("16,,32", "is no length: write 16,32 or"),
        ("16:", "'' is no length"),
        (":16", "'' is no length"),
        ("1:2:3:4", "is no length: write 16,32 or"),
        ("9" * 400, "below 10^9"),
        ("9" * 400 + "x", "below 10^9"),
        ("1:999999999:1", "more than 10000 lengths"),
    ],
)
def test_bad_lengths_say_what_to_write(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=re.escape(remedy)):
        parse_lengths(text, 20)


def test_multiples_follow_the_training_length() -> None:
    assert parse_lengths("1x,4x", 16) == [16, 64]
    assert parse_lengths("1x,4x", 7) == [7, 28]


# ----------------------------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", [3]), ("0,4", [0, 4]), ("0:3", [0, 1, 2]), ("4,0:2,4", [4, 0, 1]), (" 1 , 2 ", [1, 2]), ("7:8", [7])],
)
def test_seeds_are_numbers_lists_and_ranges(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "-1", "1.0", "3:3", "3:1", "0:", ":3", "0:4:2", "1,,2", "0:999999999", "9" * 5000])
def test_bad_seeds_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="seed"):
        parse_seeds(text)


# ------------------------------------------------------------------------------------------------------------ precedence


def test_flags_beat_the_recipe_which_beats_the_task_which_beats_the_schema(tmp_path: Path) -> None:
    task = task_file(tmp_path / "mine.py", '{"length": 40, "steps": 41, "lr": 0.5}')
    (made_config,) = made(f"task: {task}\nsteps: 7\nlr: 0.25", tmp_path, lr="0.125").configs()
    assert (made_config.lr, made_config.steps, made_config.length) == (0.125, 7, 40)
    assert made_config.n_layer == Recipe.model_fields["n_layer"].default


def test_what_equals_the_schemas_default_still_beats_the_task(tmp_path: Path) -> None:
    task = task_file(tmp_path / "mine.py", '{"length": 40}')
    (made_config,) = made(f"task: {task}\nlength: {Recipe.model_fields['length'].default}", tmp_path).configs()
    assert made_config.length == Recipe.model_fields["length"].default


def test_null_takes_back_what_a_task_sets_by_default(tmp_path: Path) -> None:
    task = task_file(tmp_path / "mine.py", '{"stop_at": 0.5}')
    assert [c.stop_at for c in made(f"task: {task}", tmp_path).configs()] == [0.5]
    assert [c.stop_at for c in made(f"task: {task}\nstop_at: null", tmp_path).configs()] == [None]


def steps(text: str, tmp_path: Path, **flags: str) -> dict[str, int]:
    return {c.task.replace(f"{tmp_path}/", ""): c.steps for c in made(text, tmp_path, **flags).configs()}


BY_TASK = "task: [copy, sort, sort:distinct=true]\nsteps: 5\nby_task:\n  copy: {steps: 6}\n  sort: {steps: 7, lr: 0.5}\n"


def test_by_task_beats_the_keys_for_all_and_flags_beat_both(tmp_path: Path) -> None:
    task = task_file(tmp_path / "mine.py", '{"steps": 41, "length": 40}')
    text = f"task: [{task}, copy]\nlength: 30\nby_task:\n  {task}: {{lr: 0.5}}\n  copy: {{steps: 6}}"
    assert steps(text, tmp_path) == {"mine.py": 41, "copy": 6}
    assert steps(f"{text}\nsteps: 5", tmp_path) == {"mine.py": 5, "copy": 6}
    assert steps(f"{text}\nsteps: 5", tmp_path, steps="3") == {"mine.py": 3, "copy": 3}
    assert [(c.length, c.lr) for c in made(text, tmp_path).configs()] == [(30, 0.5), (30, Recipe.model_fields["lr"].default)]


def test_the_name_of_a_task_stands_for_it_with_any_options_and_the_very_choice_above_it_key_by_key(tmp_path: Path) -> None:
    assert steps(BY_TASK, tmp_path) == {"copy": 6, "sort": 7, "sort:distinct=true": 7}
    for choice in ("sort:distinct=true", "'sort: distinct=true'"):
        for text in (f"{BY_TASK}  {choice}: {{steps: 8}}", BY_TASK.replace("  copy", f"  {choice}: {{steps: 8}}\n  copy")):
            assert steps(text, tmp_path) == {"copy": 6, "sort": 7, "sort:distinct=true": 8}
            assert [c.lr == 0.5 for c in made(text, tmp_path).configs()] == [False, True, True]


def test_a_flag_takes_back_the_one_key_of_by_task_even_a_wrong_value(tmp_path: Path) -> None:
    configs = made(BY_TASK.replace("7", "some"), tmp_path, steps="3").configs()
    assert [(c.steps, c.lr == 0.5) for c in configs] == [(3, False), (3, True), (3, True)]
    assert made(BY_TASK.replace("0.5", "fast"), tmp_path, lr="0.25").configs()[1].lr == 0.25
    (line,) = errors("task: copy\nby_task: {copy: {min_length: 8, length: 9}}", tmp_path, min_length="10")
    assert line.startswith("--min-length: ")


def test_where_a_flag_chooses_the_tasks_by_task_may_speak_of_others(tmp_path: Path) -> None:
    assert steps(BY_TASK, tmp_path, task="sort:symbols=9") == {"sort:symbols=9": 7}
    assert steps(BY_TASK, tmp_path, task="parity") == {"parity": 5}


def test_null_under_a_task_takes_back_what_is_set_for_all(tmp_path: Path) -> None:
    text = "task: [copy, sort]\nstop_at: 0.5\nby_task: {copy: {stop_at: null, lengths: [16, 1x:4x]}}"
    assert [(c.stop_at, c.eval.lengths) for c in made(text, tmp_path).configs()] == [(None, "16,1x:4x"), (0.5, "1x,2x,4x,8x")]


def test_a_run_is_the_same_run_whichever_way_its_settings_came_about(tmp_path: Path) -> None:
    (one,) = made("task: copy\nsteps: 6", tmp_path).configs()
    (other,) = made("task: copy\nsteps: 7\nby_task: {copy: {steps: 6}}", tmp_path).configs()
    assert (one, one.id, one.to_yaml()) == (other, other.id, other.to_yaml())
    assert "by_task" not in Config.model_fields


def test_the_quick_recipe_says_the_budgets_of_its_tasks() -> None:
    configs = config_load.load("quick")[0].configs()
    assert {(c.task, c.steps, c.lr) for c in configs} == {
        ("copy", 1050, 0.006), ("sort:distinct=true", 1200, 0.008), ("parity", 500, 0.006),
    }  # fmt: skip
    assert len(configs) == 63


def test_no_recipe_an_empty_file_and_a_file_of_comments_are_the_defaults(tmp_path: Path) -> None:
    assert config_load.load()[0] == made("", tmp_path) == made("# nothing\n\n", tmp_path) == Recipe()


def test_a_recipe_is_a_grid_of_runs(tmp_path: Path) -> None:
    text = "task: [copy, sort]\nencoding: alibi,shaw\nseed: 0:3\npositions: [start, offset]"
    configs = made(text, tmp_path).configs()
    assert len(configs) == len({c.id for c in configs}) == 2 * 2 * 3 * 2


def test_a_choice_or_seed_given_twice_is_one_run(tmp_path: Path) -> None:
    text = "task: [sort:distinct=true:symbols=9, 'sort: symbols=9:distinct=true']\nseed: 1,1:2\npositions: [start, start]"
    assert len(made(text, tmp_path).configs()) == 1


def test_the_source_says_where_each_key_stands(tmp_path: Path) -> None:
    path = tmp_path / "my_study.yaml"
    path.write_text("# one\nlr: 1\nsteps: 2\n")
    _, source = config_load.load(str(path), {"d-model": "8"})
    assert source.name == "my-study"
    assert source.where == {"lr": f"{path}:2", "steps": f"{path}:3", "d_model": "--d-model"}


# ---------------------------------------------------------------------------------------------------------------- values


def test_colons_stay_text(tmp_path: Path) -> None:
    text = made("lengths: 16:32\nseed: 0:2", tmp_path)
    assert parse_lengths(text.lengths) == [16, 32]
    assert text.seed == [0, 1]


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    assert made("lr: 1e-3", tmp_path).lr == 0.001
    assert made("lr: 1E-3\nsteps: '20'\nseed: 007", tmp_path).model_dump(include={"lr", "steps", "seed"}) == {
        "lr": 0.001,
        "steps": 20,
        "seed": [7],
    }


def test_lists_may_be_yaml_or_commas(tmp_path: Path) -> None:
    for text in ("lengths: [16, 1x:4x]", "lengths: 16, 1x:4x", "lengths:\n- 16\n- 1x:4x"):
        assert made(text, tmp_path).lengths == "16,1x:4x"
    for text in ("task: [copy, 'sort:symbols=9']", "task: copy,sort:symbols=9", "task:\n- copy\n- sort:symbols=9"):
        assert made(text, tmp_path).task == ["copy", "sort:symbols=9"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_error(tmp_path: Path) -> None:
    assert made(b"\xef\xbb\xbflr: 0.5\r\nsteps: 3\r\n", tmp_path).steps == 3


def test_lengths_below_and_between_multiples_wait_for_the_training_length(tmp_path: Path) -> None:
    (one,) = made("task: copy\nlength: 32\nlengths: 0.5x,16:2x,1x:64", tmp_path).configs()
    assert parse_lengths(one.eval.lengths, one.length) == [16, 32, 64]
    (line,) = errors("task: copy\nlengths: 4x:32\nlength: 16", tmp_path)
    assert line == "r.yaml:2: lengths: '4x:32' descends: write 32:4x  (copy trains on length 16)"


# ---------------------------------------------------------------------------------------------------------------- errors


def test_every_error_comes_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """lrr: 1
task: [copy, srot, rcall]
lr: fast
n_head: 3
d_model: 64
steps: 1.5
lr: 0.1
rope: {base: 3}
encoding: rop
lengths: 32:16
"""
    found = errors(text, tmp_path, warmup="some", clip="0")
    assert found[0].startswith("r.yaml:1: lrr: unknown key: did you mean lr?")
    assert "r.yaml:2: task: unknown task 'srot': did you mean sort?" in found[1]
    assert "unknown task 'rcall': did you mean recall?" in found[1]
    assert found[2].startswith("r.yaml:3: lr: 'fast' is not a number: write for example 0.0")
    assert re.match(r"r.yaml:5: d_model: .* not divisible by n_head=3: d_model=66 is", found[3])
    assert found[4].startswith("r.yaml:6: steps: '1.5' is not a whole number: write for example ")
    assert found[5] == "r.yaml:7: lr: stands twice (first at r.yaml:3): keep one"
    assert found[6].startswith("r.yaml:8: rope: takes a value or a list of values")
    assert found[7].startswith("r.yaml:9: encoding: unknown encoding 'rop': did you mean rope")
    assert found[8] == "r.yaml:10: lengths: '32:16' descends: write 16:32"
    assert found[9].startswith("--warmup: 'some' is not a whole number")
    assert found[10].startswith("--clip: '0': ")
    assert len(found) == 11


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("lr", ["inf", "-inf", "nan", ".inf", "1e999", "0", "-0.1", "fast", "''", "true", "0x10", "[1, 2]", "'null'"]),
        ("weight_decay", ["inf", "nan", "-1"]),
        ("clip", ["inf", "0"]),
        ("steps", ["1.5", "true", "0", "-3", "1e3", "1000000000", "9" * 5000, "3 4", "''"]),
        ("d_model", ["0", "10000000000000000000000"]),
        ("curriculum", ["-0.1", "1.1", "50%"]),
        ("beta2", ["1", "-0.5"]),
        ("stop_at", ["0", "1.01", "no"]),
        ("data_seed", ["-1", "0:2"]),
        ("seed", ["-1", "x", "[]", "[1, -1]", "1.0"]),
        ("lengths", ["[]", "16:8", "1x:abc", "x"]),
        ("dtype", ["half", "no"]),
        ("positions", ["middle", "[]", "[start, end]"]),
        ("task", ["[]", "''", "[copy, '']", "'copy:'", "copy:symbols", "gone.py", "[[copy]]", "[{sort: x}]", "{sort: x}"]),
        ("encoding", ["RoPEE", "rope:base=1:base=2"]),
    ],
)
def test_wrong_values_are_refused_with_their_place(key: str, values: list[str], tmp_path: Path) -> None:
    for value in values:
        (line,) = errors(f"# a recipe\n{key}: {value}", tmp_path)
        assert line.startswith(f"r.yaml:2: {key}: "), line
        assert len(line) < 700


def test_errors_of_by_task_come_at_once_each_with_its_line_and_remedy(tmp_path: Path) -> None:
    text = """task: [copy, sort:distinct=true]
by_task:
  copy:
    stepz: 5
    lr: fast
    seed: 3
    lengths: 8:4
    d_model: {a: b}
    steps: 1
    steps: 2
  srot: {steps: 5}
  sort: 5
  sort:distinct=true:
  'sort: distinct=true': {steps: 3}
  copy:symbols: {steps: 3}
"""
    found = errors(text, tmp_path)
    assert found[0].startswith("r.yaml:4: by_task: copy: stepz: unknown key: did you mean steps")
    assert found[1] == "r.yaml:5: by_task: copy: lr: 'fast' is not a number: write for example 0.006"
    assert found[2] == "r.yaml:6: by_task: copy: seed: is for the whole recipe: write it outside by_task"
    assert found[3] == "r.yaml:7: by_task: copy: lengths: '8:4' descends: write 4:8"
    assert found[4].startswith("r.yaml:8: by_task: copy: d_model: takes a value or a list of values, no more; ")
    assert found[5] == "r.yaml:10: by_task: copy: steps: stands twice (first at r.yaml:9): keep one"
    assert found[6].startswith("r.yaml:11: by_task: srot: unknown task 'srot': did you mean sort?")
    assert found[7] == "r.yaml:12: by_task: sort: '5': write a task, then its keys, in a file: by_task: {NAME: {steps: 500}}"
    assert found[8] == "r.yaml:13: by_task: sort:distinct=true: is empty: write a value, or leave the line out"
    assert found[9] == "r.yaml:14: by_task: sort:distinct=true: stands twice (first at r.yaml:13): keep one"
    assert found[10].startswith("r.yaml:15: by_task: copy:symbols: 'copy:symbols': 'symbols' is not option=value")
    assert len(found) == 11


def test_a_task_of_by_task_that_the_recipe_does_not_train_is_told_the_nearest_that_it_does(tmp_path: Path) -> None:
    text = "task: [copy, sort:distinct=true]\nby_task:\n  sort:distinct=false: {steps: 3}\n  addition: {steps: 3}"
    one, other = errors(text, tmp_path)
    assert one.startswith("r.yaml:3: by_task: sort:distinct=false: is no task of this recipe: did you mean sort:distinct=true")
    assert other == "r.yaml:4: by_task: addition: is no task of this recipe: known: copy, sort, sort:distinct=true"
    (line,) = errors("task: srot\nby_task: {sort: {steps: 3}}", tmp_path)
    assert line.startswith("r.yaml:1: task: unknown task")


@pytest.mark.parametrize("value", ["copy", "[copy]", "[{copy: 3}]", "{copy: [3]}", "{}", "{copy: {}}", "{copy: {steps: {a: 3}}}"])
def test_what_is_not_tasks_with_keys_under_them_is_refused(value: str, tmp_path: Path) -> None:
    (line,) = errors(f"# a recipe\nby_task: {value}", tmp_path)
    assert line.startswith("r.yaml:2: by_task: ")


def test_by_task_is_for_files_and_a_mapping_elsewhere_is_told_of_it(tmp_path: Path) -> None:
    (line,) = errors("task: copy", tmp_path, by_task="copy:steps=3", steps="4")
    assert line.startswith("--by-task: 'copy:steps=3': write a task, then its keys, in a file")
    (line,) = errors("steps: {copy: 1050}", tmp_path)
    assert line.endswith("settings of one task under by_task")


def test_what_keys_of_a_task_get_wrong_together_stands_where_the_key_to_change_stands(tmp_path: Path) -> None:
    text = "task: [copy, sort]\nmin_length: 9\nby_task:\n  sort: {length: 5}\n  copy: {d_model: 63}"
    assert [line[:40] for line in errors(text, tmp_path)] == [
        "r.yaml:2: min_length: min_length=9 is ab", "r.yaml:5: by_task: copy: d_model: d_mode",
    ]  # fmt: skip
    (line,) = errors("task: [copy, sort]\nby_task:\n  sort: {lengths: 4x:32}", tmp_path)
    assert line == "r.yaml:3: by_task: sort: lengths: '4x:32' descends: write 32:4x  (sort trains on length 16)"


def test_what_a_wrong_by_task_was_to_set_brings_no_second_error(tmp_path: Path) -> None:
    text = "task: [copy, sort]\nmin_length: 20\nn_head: 3\nby_task:\n  copy: {length: 4o}\n  sort: {length: 40}"
    assert [line[:9] for line in errors(text, tmp_path)] == ["r.yaml:3:", "r.yaml:5:"]


@pytest.mark.parametrize("value", ["", "null", "~"])
def test_an_empty_value_says_so_except_where_null_means_something(value: str, tmp_path: Path) -> None:
    assert made(f"stop_at: {value}\ndata_seed: {value}", tmp_path).stop_at is None
    for key in set(Recipe.model_fields) - {"stop_at", "data_seed"}:
        assert errors(f"{key}: {value}", tmp_path) == [f"r.yaml:1: {key}: is empty: write a value, or leave the line out"]


@pytest.mark.parametrize("key", ["task", "encoding", "positions", "seed", "lengths"])
def test_an_empty_list_or_text_says_so(key: str, tmp_path: Path) -> None:
    for value in ("[]", "''"):
        assert errors(f"{key}: {value}", tmp_path) == [f"r.yaml:1: {key}: is empty: write a value, or leave the line out"]


def test_null_in_quotes_is_text(tmp_path: Path) -> None:
    assert errors("stop_at: 'null'", tmp_path)[0].startswith("r.yaml:1: stop_at: 'null' is not a number")


def test_an_unknown_key_far_from_all_gets_the_whole_list(tmp_path: Path) -> None:
    (line,) = errors("zzz: 1", tmp_path)
    assert "known: attention, beta1, " in line
    assert errors("LR: 1", tmp_path)[0].startswith("r.yaml:1: LR: unknown key: did you mean lr")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- copy\n- sort", "r.yaml:1: a recipe is lines of `key: value`"),
        ("copy", "r.yaml:1: a recipe is lines of `key: value`"),
        ("lr: 1\nsteps: [1", "r.yaml:2: not YAML: "),
        ("lr: 1\n\tsteps: 2", "r.yaml:2: not YAML: found character '\\t'"),
        ("lr: 1\n---\nlr: 2", "r.yaml:2: not YAML: "),
        ("lr: 1\nsteps: a: b", "r.yaml:2: not YAML: "),
        (b"lr: \xff\xfe", "r.yaml: not YAML: "),
        (b"lr: \0", "r.yaml: not YAML: unacceptable character"),
        ("task: &all [copy, *all]", "r.yaml:1: task: takes a value or a list of values"),
        ("? [lr]\n: 1", "r.yaml:1: a recipe is lines of `key: value`"),
        ("<<: 1", "r.yaml:1: <<: unknown key"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_line_with_its_place(text: str | bytes, line: str, tmp_path: Path) -> None:
    (found,) = errors(text, tmp_path)
    assert found.startswith(line)


def test_a_key_of_the_third_kind_twice_is_still_noticed(tmp_path: Path) -> None:
    assert [line[:9] for line in errors("task: {a: b}\ntask: copy\nlr: 1\nlr: 1", tmp_path)] == [
        "r.yaml:1:",
        "r.yaml:2:",
        "r.yaml:4:",
    ]


def test_a_missing_recipe_or_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "dir.yaml").mkdir()
    for name in ("gone.yaml", "dir.yaml"):
        with pytest.raises(RecipeError, match=name):
            config_load.load(str(tmp_path / name))
    with pytest.raises(RecipeError, match="unknown recipe"):
        config_load.load(str(tmp_path))


def test_errors_of_flags_name_the_flag(tmp_path: Path) -> None:
    found = errors("d_model: 64\nlr: 1", tmp_path, lr="fast", n_head="3", eval_seed="-1", lengths="0", task="srot")
    assert {line.split(":")[0] for line in found} == {"--lr", "--eval-seed", "--lengths", "--task", "r.yaml"}
    assert not any(line.count("lr: ") > 1 for line in found)
    (line,) = errors("", tmp_path, n_head="3")
    assert line.startswith("--n-head: ")


def test_a_flag_mends_what_the_recipe_gets_wrong(tmp_path: Path) -> None:
    assert made("lr: fast\nsteps: 3", tmp_path, lr="0.5").lr == 0.5


def test_heads_that_do_not_divide_the_width_are_told_a_width_that_does(tmp_path: Path) -> None:
    for width, heads in itertools.product((1, 5, 64, 100), (3, 7, 8, 200)):
        if width % heads:
            (line,) = errors(f"d_model: {width}\nn_head: {heads}", tmp_path)
            near = re.search(r"d_model=(\d+) is$", line)
            assert near
            assert made(f"d_model: {near[1]}\nn_head: {heads}", tmp_path).d_model % (2 * heads) == 0


def test_a_wrong_head_count_brings_no_second_error(tmp_path: Path) -> None:
    assert len(errors("d_model: 63\nn_head: three", tmp_path)) == 1


def test_a_shortest_problem_above_the_longest_is_said_once(tmp_path: Path) -> None:
    (line,) = errors("min_length: 9\nlength: 5\ntask: [copy, sort]", tmp_path)
    assert line.startswith("r.yaml:1: min_length: ")
    (line,) = errors("length: 5", tmp_path, min_length="9")
    assert line.startswith("--min-length: ")


@pytest.mark.parametrize(
    ("defaults", "said"),
    [
        ('{"lenght": 3}', "lenght"),
        ('{"length": 0}', "length"),
        ('{"length": "a"}', "length"),
        ("3", "`defaults`"),
        ("{", ".py:5"),
    ],
)
def test_a_task_with_wrong_defaults_is_an_error_that_names_its_file(defaults: str, said: str, tmp_path: Path) -> None:
    task = task_file(tmp_path / "mine.py", defaults)
    (line,) = errors(f"\ntask: {task}", tmp_path)
    assert line.startswith("r.yaml:2: task: mine.py")
    assert said in line


# -------------------------------------------------------------------------------------------------------------- identity


def test_the_id_of_a_known_config_never_changes() -> None:
    """Pinned: another value would orphan every run trained before. When the training itself changes, FORMAT goes up."""
    keys = {"length": 16, "min_length": 1, "steps": 1000, "curriculum": 0.0, "tokens": 1024, "lr": 6e-3, "warmup": 100}
    keys |= {"lr_end": 0.05, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.98, "clip": 1.0, "d_model": 64, "n_layer": 2}
    keys |= {"n_head": 4, "mlp_ratio": 4, "dtype": "float32", "data_seed": None, "validate_every": 50, "stop_at": None}
    assert config(seed=1, **keys).id == "copy-rope-s1-8fa7878c"


OTHER: dict[str, Any] = {"task": "sort", "encoding": "alibi", "positions": "offset", "seed": 5, "length": 17, "min_length": 2}
OTHER |= {"steps": 9, "curriculum": 0.5, "tokens": 7, "lr": 0.5, "warmup": 3, "lr_end": 0.5, "weight_decay": 0.5, "beta1": 0.5}
OTHER |= {"beta2": 0.5, "clip": 0.5, "d_model": 32, "n_layer": 3, "n_head": 2, "mlp_ratio": 2, "dtype": "bfloat16"}
OTHER |= {"data_seed": 3, "validate_every": 7, "stop_at": 0.5, "attention": "bidirectional", "normalizer": "stick-breaking"}
OTHER |= {"logit_scale": "logn"}
MEASURING = {"lengths": "16", "samples": 3, "eval_tokens": 99, "eval_seed": 4, "eval_positions": "start"}


def test_every_key_of_training_changes_the_id() -> None:
    assert OTHER.keys() | {"max_position", "positions_per", "switch_fraction"} == set(Config.model_fields) - {"eval"}
    assert MEASURING.keys() == set(EvalSettings.model_fields)
    ids = [config().id, *(config(**{key: value}).id for key, value in OTHER.items())]
    assert len(set(ids)) == len(ids)
    assert len({name[-8:] for name in ids}) == len(ids)


def test_what_is_measured_does_not_change_the_id() -> None:
    assert config(**MEASURING).id == config().id


def test_max_position_counts_only_where_positions_are_drawn() -> None:
    assert config(max_position=64).id == config().id
    drawn = {config(positions=p, max_position=n).id for p in ("offset", "randomized") for n in (64, 128)}
    assert len(drawn) == 4


def test_keys_that_go_with_another_count_only_beside_it() -> None:
    dropped = {"encoding": "rope:then=none"}
    assert config(switch_fraction=0.5).id == config().id
    assert len({config().id, config(**dropped).id, config(**dropped, switch_fraction=0.5).id}) == 3
    assert config(positions_per="layer").id == config().id
    assert config(positions="randomized", positions_per="layer").id != config(positions="randomized").id


def test_a_key_at_its_default_does_not_count_so_that_new_keys_orphan_no_run() -> None:
    assert config(lr=Config.model_fields["lr"].default).id == config().id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("lr: 1e-3", "lr: 0.001"),
        ("lr: 1", "lr: 1.0"),
        ("steps: 20", "steps: 20.0"),
        ("seed: 3", "seed: 3:4"),
        ("task: sort:distinct=true:symbols=9", "task: ['sort: symbols = 9 : distinct=true']"),
        ("encoding: transformer-xl", "encoding: transformer_xl"),
        ("data_seed: null", ""),
        ("lengths: 16", "lengths: 32"),
    ],
)
def test_equivalent_spellings_are_one_run(one: str, other: str, tmp_path: Path) -> None:
    assert [c.id for c in made(one, tmp_path).configs()] == [c.id for c in made(other, tmp_path).configs()]


def test_a_file_of_the_users_own_counts_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my enc.py"
    path.write_text("x = 1")
    before = config(encoding=f"{path}:base=2").id
    assert before.startswith("copy-my-enc-base-2-s0-")
    monkeypatch.chdir(tmp_path)
    assert config(encoding="./my enc.py:base=2").id == before
    assert config(encoding=f"{path}:base=3").id != before
    path.write_text("x = 2")
    assert config(encoding=f"{path}:base=2").id != before
    path.write_text("x = 1")
    assert config(encoding=f"{path}:base=2").id == before


def test_a_users_file_is_not_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "rope.py"
    path.write_bytes(catalog.find("encodings", "rope").read_bytes())
    assert config(encoding=str(path)).id != config().id


@pytest.mark.parametrize("stem", ["a b", "naïve", "..x", ".hidden", "-rf", "CON", "a&b;c$(d)'\"*?", "x" * 200, "日本"])
def test_ids_are_safe_as_directory_names(stem: str, tmp_path: Path) -> None:
    path = tmp_path / f"{stem}.py"
    path.write_text("")
    for name in (config(task=str(path)).id, config(encoding=f"{path}:a=../../b:c=d e").id):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*-s0-[0-9a-f]{8}", name)
        assert len(name) < 150
        (tmp_path / name).mkdir()


def test_choices_that_read_alike_have_different_ids() -> None:
    alike = ["x:a=1", "x:a-1=1", "x:a=-1", "x:a=+1", "x:a= 1_", "x:a=1:a-1=1"]
    ids = [config(encoding=choice).id for choice in alike]
    assert len(set(ids)) == len(alike)


def test_a_label_is_the_name_tables_show() -> None:
    assert recipe.label("sort:distinct=true") == "sort:distinct=true"
    assert recipe.label("/some where/my_enc.py:base=2") == "my-enc:base=2"
    assert recipe.label("rope") == "rope"


# ------------------------------------------------------------------------------------------------------------ round trip


def _settings(rng: random.Random, folder: Path) -> dict[str, Any]:
    """Some keys of a run, drawn over what the schema allows."""
    tiny = rng.choice([1e-7, 3e-5, 0.1, 1 / 3, 1e-300])
    drawn = {"lr": tiny * 3, "lr_end": tiny, "clip": rng.choice([1.0, 1e16, 5e-324]), "stop_at": rng.choice([None, 1.0, tiny])}
    drawn |= {"data_seed": rng.choice([None, 0, 999_999_999]), "lengths": rng.choice(["16:32", "1x,2x", "8", "0.5x:4x"])}
    drawn |= {"seed": rng.randrange(10**9), "dtype": rng.choice(["float32", "bfloat16"]), "weight_decay": tiny}
    drawn |= {"positions": rng.choice(["start", "offset", "randomized"]), "n_head": rng.choice([1, 2, 8]), "eval_seed": 8}
    kept = {key: value for key, value in drawn.items() if rng.random() < 0.7}
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
    return {**kept, "task": task, "encoding": rng.choice(["none", "rope:base=1e4:pairing=half", "transformer-xl"])}


def test_the_recipe_of_a_run_loads_again_to_the_very_run(tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(150):
        before = config(**_settings(rng, tmp_path / "my tasks"))
        (after,) = made(before.to_yaml(), tmp_path).configs()
        assert after == before
        assert after.id == before.id


def test_every_shipped_recipe_loads() -> None:
    for name in catalog.names("recipes"):
        assert config_load.load(name)[0].configs()

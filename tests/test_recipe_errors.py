"""Errors of recipes: all at once, in the order of the file, each with file, line, key and remedy."""

import itertools
import re
from pathlib import Path

import pytest
from helpers.recipes import errors, load_text, task_file
from typer.testing import CliRunner

from rpecli.cli.app import app
from rpecli.config import load as config_load
from rpecli.config.recipe import Recipe
from rpecli.config.yaml_source import RecipeError


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
    lines = errors(text, tmp_path, warmup="some", clip="0")
    assert lines[0].startswith("r.yaml:1: lrr: unknown key: did you mean lr or lr_search?")
    assert "r.yaml:2: task: unknown task 'srot': did you mean sort" in lines[1]
    assert "unknown task 'rcall': did you mean recall or fuzzy-recall?" in lines[1]
    assert lines[2].startswith("r.yaml:3: lr: 'fast' is not a number: write for example 0.0")
    assert re.match(r"r.yaml:5: d_model: .* not divisible by n_head=3: d_model=66 is", lines[3])
    assert lines[4].startswith("r.yaml:6: steps: '1.5' is not a whole number: write for example ")
    assert lines[5] == "r.yaml:7: lr: is given twice (first at r.yaml:3): keep one"
    assert lines[6].startswith("r.yaml:8: rope: takes a value or a list of values")
    assert lines[7].startswith("r.yaml:9: encoding: unknown encoding 'rop': did you mean rope")
    assert lines[8] == "r.yaml:10: lengths: '32:16' descends: write 16:32"
    assert lines[9].startswith("--warmup: 'some' is not a whole number")
    assert lines[10].startswith("--clip: '0': ")
    assert len(lines) == 11


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
        assert len(line) < 1000


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
    lines = errors(text, tmp_path)
    assert lines[0].startswith("r.yaml:4: by_task: copy: stepz: unknown key: did you mean steps")
    assert lines[1] == "r.yaml:5: by_task: copy: lr: 'fast' is not a number: write for example 0.006"
    assert lines[2] == "r.yaml:6: by_task: copy: seed: applies to the whole recipe: write it outside by_task"
    assert lines[3] == "r.yaml:7: by_task: copy: lengths: '8:4' descends: write 4:8"
    assert lines[4].startswith("r.yaml:8: by_task: copy: d_model: takes a value or a list of values, nothing nested; ")
    assert lines[5] == "r.yaml:10: by_task: copy: steps: is given twice (first at r.yaml:9): keep one"
    assert lines[6].startswith("r.yaml:11: by_task: srot: unknown task 'srot': did you mean sort")
    assert lines[7] == "r.yaml:12: by_task: sort: '5': write settings of single tasks in a file: by_task: {NAME: {steps: 500}}"
    assert lines[8] == "r.yaml:13: by_task: sort:distinct=true: is empty: write a value, or leave it out"
    assert lines[9] == "r.yaml:14: by_task: sort:distinct=true: is given twice (first at r.yaml:13): keep one"
    assert lines[10].startswith("r.yaml:15: by_task: copy:symbols: 'copy:symbols': 'symbols' is not option=value")
    assert len(lines) == 11


def test_a_task_of_by_task_that_the_recipe_does_not_train_is_told_the_nearest_that_it_does(tmp_path: Path) -> None:
    text = "task: [copy, sort:distinct=true]\nby_task:\n  sort:distinct=false: {steps: 3}\n  addition: {steps: 3}"
    first, second = errors(text, tmp_path)
    assert first.startswith(
        "r.yaml:3: by_task: sort:distinct=false: is not a task of this recipe: did you mean sort:distinct=true"
    )
    assert second == "r.yaml:4: by_task: addition: is not a task of this recipe: known: copy, sort, sort:distinct=true"
    (line,) = errors("task: srot\nby_task: {sort: {steps: 3}}", tmp_path)
    assert line.startswith("r.yaml:1: task: unknown task")


@pytest.mark.parametrize("value", ["copy", "[copy]", "[{copy: 3}]", "{copy: [3]}", "{}", "{copy: {}}", "{copy: {steps: {a: 3}}}"])
def test_what_is_not_tasks_with_keys_under_them_is_refused(value: str, tmp_path: Path) -> None:
    (line,) = errors(f"# a recipe\nby_task: {value}", tmp_path)
    assert line.startswith("r.yaml:2: by_task: ")


def test_by_task_is_for_files_and_a_mapping_elsewhere_is_told_of_it(tmp_path: Path) -> None:
    (line,) = errors("task: copy", tmp_path, by_task="copy:steps=3", steps="4")
    assert line.startswith("--by-task: 'copy:steps=3': write settings of single tasks in a file")
    (line,) = errors("steps: {copy: 1050}", tmp_path)
    assert line.endswith("settings of one task under by_task")


def test_what_keys_of_a_task_get_wrong_together_stands_where_the_key_to_change_stands(tmp_path: Path) -> None:
    text = "task: [copy, sort]\nmin_length: 9\nby_task:\n  sort: {length: 5}\n  copy: {d_model: 63}"
    assert [line[:40] for line in errors(text, tmp_path)] == [
        "r.yaml:2: min_length: min_length=9 is ab", "r.yaml:5: by_task: copy: d_model: d_mode",
    ]  # fmt: skip
    (line,) = errors("task: [copy, sort]\nby_task:\n  sort: {lengths: 4x:32}", tmp_path)
    assert line == "r.yaml:3: by_task: sort: lengths: '4x:32' descends: write 32:4x  (sort trains on length 32)"


def test_what_a_wrong_by_task_was_to_set_brings_no_second_error(tmp_path: Path) -> None:
    text = "task: [copy, sort]\nmin_length: 20\nn_head: 3\nby_task:\n  copy: {length: 4o}\n  sort: {length: 40}"
    assert [line[:9] for line in errors(text, tmp_path)] == ["r.yaml:3:", "r.yaml:5:"]


@pytest.mark.parametrize("value", ["", "null", "~"])
def test_an_empty_value_says_so_except_where_null_means_something(value: str, tmp_path: Path) -> None:
    assert load_text(f"stop_at: {value}\ndata_seed: {value}\neval_task: {value}\nbatch: {value}", tmp_path).stop_at is None
    for key in set(Recipe.model_fields) - {
        "stop_at",
        "data_seed",
        "eval_task",
        "grid",
        "batch",
        "eval_loops",
        "canon",
        "checkpoint_lengths",
    }:
        assert errors(f"{key}: {value}", tmp_path) == [f"r.yaml:1: {key}: is empty: write a value, or leave it out"]


@pytest.mark.parametrize("key", ["task", "encoding", "positions", "seed", "lengths"])
def test_an_empty_list_or_text_says_so(key: str, tmp_path: Path) -> None:
    for value in ("[]", "''"):
        assert errors(f"{key}: {value}", tmp_path) == [f"r.yaml:1: {key}: is empty: write a value, or leave it out"]


def test_null_in_quotes_is_text(tmp_path: Path) -> None:
    assert errors("stop_at: 'null'", tmp_path)[0].startswith("r.yaml:1: stop_at: 'null' is not a number")


def test_an_unknown_key_far_from_all_gets_the_closest_ones(tmp_path: Path) -> None:
    (line,) = errors("zzz: 1", tmp_path)
    assert re.search(r"unknown key: the closest of \d+ are \w+, \w+, \w+  \(rpe check --keys\)$", line)
    assert errors("LR: 1", tmp_path)[0].startswith("r.yaml:1: LR: unknown key: did you mean lr")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- copy\n- sort", "r.yaml:1: a recipe must consist of lines `key: value`"),
        ("copy", "r.yaml:1: a recipe must consist of lines `key: value`"),
        ("lr: 1\nsteps: [1", "r.yaml:2: not YAML: "),
        ("lr: 1\n\tsteps: 2", "r.yaml:2: not YAML: found character '\\t'"),
        ("lr: 1\n---\nlr: 2", "r.yaml:2: not YAML: "),
        ("lr: 1\nsteps: a: b", "r.yaml:2: not YAML: "),
        (b"lr: \xff\xfe", "r.yaml: not YAML: "),
        (b"lr: \0", "r.yaml: not YAML: unacceptable character"),
        ("task: &all [copy, *all]", "r.yaml:1: task: takes a value or a list of values"),
        ("? [lr]\n: 1", "r.yaml:1: a recipe must consist of lines `key: value`"),
        ("<<: 1", "r.yaml:1: <<: unknown key"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_line_with_its_place(text: str | bytes, line: str, tmp_path: Path) -> None:
    (message,) = errors(text, tmp_path)
    assert message.startswith(line)


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
    lines = errors("d_model: 64\nlr: 1", tmp_path, lr="fast", n_head="3", eval_seed="-1", lengths="0", task="srot")
    assert {line.split(":")[0] for line in lines} == {"--lr", "--eval-seed", "--lengths", "--task", "r.yaml"}
    assert not any(line.count("lr: ") > 1 for line in lines)
    (line,) = errors("", tmp_path, n_head="3")
    assert line.startswith("--n-head: ")


def test_a_flag_mends_what_the_recipe_gets_wrong(tmp_path: Path) -> None:
    assert load_text("lr: fast\nsteps: 3", tmp_path, lr="0.5").lr == 0.5


def test_heads_that_do_not_divide_the_width_are_told_a_width_that_does(tmp_path: Path) -> None:
    for width, heads in itertools.product((1, 5, 64, 100), (3, 7, 8, 200)):
        if width % heads:
            (line,) = errors(f"d_model: {width}\nn_head: {heads}", tmp_path)
            near = re.search(r"d_model=(\d+) is$", line)
            assert near
            assert load_text(f"d_model: {near[1]}\nn_head: {heads}", tmp_path).d_model % (2 * heads) == 0


def test_a_wrong_head_count_brings_no_second_error(tmp_path: Path) -> None:
    assert len(errors("d_model: 63\nn_head: three", tmp_path)) == 1


def test_a_shortest_problem_above_the_longest_is_said_once(tmp_path: Path) -> None:
    (line,) = errors("min_length: 9\nlength: 5\ntask: [copy, sort]", tmp_path)
    assert line.startswith("r.yaml:1: min_length: ")
    (line,) = errors("length: 5", tmp_path, min_length="9")
    assert line.startswith("--min-length: ")


@pytest.mark.parametrize(
    ("defaults", "word"),
    [
        ('{"lenght": 3}', "lenght"),
        ('{"length": 0}', "length"),
        ('{"length": "a"}', "length"),
        ("3", "`defaults`"),
        ("{", ".py:5"),
    ],
)
def test_a_task_with_wrong_defaults_is_an_error_that_names_its_file(defaults: str, word: str, tmp_path: Path) -> None:
    task = task_file(tmp_path / "mine.py", defaults)
    (line,) = errors(f"\ntask: {task}", tmp_path)
    assert line.startswith("r.yaml:2: task: mine.py")
    assert word in line


def test_what_is_wrong_in_one_place_hides_nothing_elsewhere(tmp_path: Path) -> None:
    text = """task: [copy, sort]
encoding: [rope, ropee]
positions: [start, of, midle]
exclude: [encoding=fire, seed=first, task=typo, seed=7, positions=of]
vary: {samples: [3, 4], lr: [fast, slow], steps: [5, x]}
lengths: 4x:1x
by_task: {recall: {steps: 3}, sort: {lr: fast}}
"""
    lines = errors(text, tmp_path)
    assert [": ".join(line.split(": ")[:2]) for line in lines] == [
        "r.yaml:2: encoding", "r.yaml:3: positions", "r.yaml:4: exclude", "r.yaml:4: exclude", "r.yaml:5: vary", "r.yaml:5: vary",
        "r.yaml:6: lengths", "r.yaml:7: by_task", "r.yaml:7: by_task",
    ]  # fmt: skip
    assert all(f"unknown positions '{word}'" in lines[1] for word in ("of", "midle"))
    assert all(word in lines[2] for word in ("'first' is not a seed", "unknown task 'typo'", "unknown positions 'of'"))
    assert "'seed=7' leaves out nothing, because no run of this recipe has seed=7" in lines[3]
    numbers = ("lr: 'fast'", "lr: 'slow'", "steps: 'x'")
    assert all(f"{number}: input should be a valid" in lines[4] for number in numbers)
    assert "samples: is about evaluation" in lines[5]
    assert lines[6] == "r.yaml:6: lengths: '4x:1x' descends: write 1x:4x"
    assert lines[8] == "r.yaml:7: by_task: recall: is not a task of this recipe: known: copy, sort"


def test_a_line_of_exclude_about_what_is_wrong_elsewhere_is_not_judged(tmp_path: Path) -> None:
    (line,) = errors("encoding: [rope, ropee]\nexclude: [encoding=fire, steps=3]", tmp_path)
    assert line.startswith("r.yaml:1: encoding: unknown encoding 'ropee'")
    (line,) = errors("encoding: [rope, alibi]\nlengths: 2:1\nexclude: [encoding=rope and lengths=7]", tmp_path)
    assert line.startswith("r.yaml:2: lengths: ")


def test_a_task_with_wrong_defaults_beside_what_varies_is_one_error(tmp_path: Path) -> None:
    task = task_file(tmp_path / "mine.py", '{"lenght": 3}')
    (line,) = errors(f"task: {task}\nvary: {{lr: [1, 2]}}\nexclude: [seed=0 and lr=1]", tmp_path)
    assert line.startswith("r.yaml:1: task: mine.py: `defaults` must hold recipe keys")


def test_wrong_options_of_what_ships_are_told_beside_the_errors_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("encoding: [rope, ropee, alibi:lerned=true]\ntask: [copy, copy:symbls=3]\nlengths: 4x:1x\n")
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 2
    lines = result.stderr.replace(f"{tmp_path}/", "").splitlines()
    assert lines[0].startswith("r.yaml:1: encoding: unknown encoding 'ropee'")
    assert lines[1] == "r.yaml:1: encoding: encoding alibi has no option 'lerned': did you mean learned?"
    assert lines[2] == "r.yaml:2: task: task copy has no option 'symbls': did you mean symbols?"
    assert lines[3] == "r.yaml:3: lengths: '4x:1x' descends: write 1x:4x"
    assert len(lines) == 4

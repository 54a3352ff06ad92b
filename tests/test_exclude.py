"""Lines of `exclude`: what they leave out, and an error for each that is not understood or of no effect."""

from pathlib import Path

import pytest
from hypothesis import given, strategies
from test_sweep import load, problem

from rpecli.config import exclusions
from rpecli.config.exclusions import parse_exclusion


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("encoding=rope", {("learned", 0), ("learned", 1)}),
        ("  encoding  =  rope  ", {("learned", 0), ("learned", 1)}),
        ("encoding=rope and seed=0", {("rope", 1), ("learned", 0), ("learned", 1)}),
        ("encoding=rope\\tand seed = 0", {("rope", 1), ("learned", 0), ("learned", 1)}),
        ("encoding!=rope and seed!=0", {("rope", 0), ("rope", 1), ("learned", 0)}),
        ("encoding!=alibi and encoding!=learned", {("learned", 0), ("learned", 1)}),
        ("d_model/n_head=16/2 and seed=1", {("rope", 0), ("learned", 0)}),
        ("lengths=1x and seed=1", {("rope", 0), ("learned", 0)}),
        ("batch=null and seed=1", {("rope", 0), ("learned", 0)}),
    ],
)
def test_a_run_that_meets_every_condition_of_a_line_is_left_out(line: str, left: set[tuple[str, int]], tmp_path: Path) -> None:
    assert {(config.encoding, config.seed) for config in load(tmp_path, f'exclude: ["{line}"]\n')} == left


def test_a_line_is_enough(tmp_path: Path) -> None:
    text = "exclude: [encoding=rope and seed=0, encoding=learned and seed=1]\n"
    assert {(config.encoding, config.seed) for config in load(tmp_path, text)} == {("rope", 1), ("learned", 0)}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("encoding=rope and", "a condition is missing beside `and`"),
        ("and encoding=rope", "a condition is missing beside `and`"),
        ("encoding=rope and and seed=1", "a condition is missing beside `and`"),
        ("encoding=rope AND seed=0", "'AND' is not `and`: write encoding=learned and positions=randomized"),
        ("encoding=rope && seed=0", "'&&' is not `and`"),
        ("encoding=rope&&seed=0", "'&&' is not `and`"),
        ("encoding=rope & seed=0", "'&' is not `and`"),
        ("encoding=rope or seed=0", "'or': write each side in a line of its own"),
        ("encoding=rope || seed=0", "'||': write each side in a line of its own"),
        ("not encoding=rope", "'not': write key!=value"),
        ("encoding = = rope", "is neither key=value nor key!=value"),
        ("encoding==rope", "is neither key=value nor key!=value"),
        ("encoding!==rope", "is neither key=value nor key!=value"),
        ("encoding=!rope", "is neither key=value nor key!=value"),
        ("encoding!=rope!=learned", "is neither key=value nor key!=value"),
        ("lr<0.01", "is neither key=value nor key!=value"),
        ("lr<=0.01", "is neither key=value nor key!=value"),
        ("encoding", "'encoding' is not key=value"),
        ("encoding=", "'encoding=' is not key=value"),
        ("=rope", "'=rope' is not key=value"),
        ("encoding!=rope,learned", "a condition has one value: write encoding!=rope and encoding!=learned"),
        ("encoding=rope,learned", "a condition has one value: write encoding=rope and encoding=learned in separate lines"),
        ("encoding=rope, seed=0", "conditions have `and` between them: write encoding=rope and seed=0"),
        ("seed=0:2", "'0:2' is 2 values, and a condition has one"),
        ("length=4:16", "'4:16' is 3 values, and a condition has one"),
        ("encodin=rope", "unknown key 'encodin': did you mean encoding"),
        ("lr_search=0.1", "unknown key 'lr_search'"),
        ("encoding=typo", "unknown encoding 'typo'"),
        ("encoding!=typo", "unknown encoding 'typo'"),
        ("task=typo", "unknown task 'typo'"),
        ("positions=of", "unknown positions 'of': did you mean offset?"),
        ("seed=first", "'first' is not a seed"),
        ("lr=fast", "lr: 'fast': input should be a valid number"),
        (
            "encoding=rope and encoding=learned",
            "no run has both encoding=rope and encoding=learned: write",
        ),
        ("encoding=rope and encoding!=rope", "are about one value: keep one of them"),
        ("seed=7", "leaves out nothing, because no run of this recipe has seed=7"),
        ("encoding=alibi", "leaves out nothing, because no run of this recipe has encoding=alibi"),
        ("encoding!=rope and encoding!=learned", "leaves out nothing, because no run of this recipe meets all of its conditions"),
        ("encoding!=alibi", "leaves no run: add a condition, or remove the line"),
    ],
)
def test_a_line_that_is_not_understood_or_has_no_effect_is_an_error(line: str, words: str, tmp_path: Path) -> None:
    told = problem(tmp_path, f'exclude: ["{line}"]\n')
    assert told.startswith("/mine.yaml:13: exclude: ")
    assert words in told
    assert len(told.splitlines()) == 1


def test_lines_that_together_leave_no_run_are_an_error(tmp_path: Path) -> None:
    told = problem(tmp_path, "exclude: [encoding=rope, encoding=learned]\n")
    assert told == "/mine.yaml:13: exclude: its lines together leave no run: remove a line, or add a condition to it"


def test_a_line_whose_key_a_flag_sets_may_leave_out_nothing(tmp_path: Path) -> None:
    text = "exclude: [encoding=learned and seed=1]\n"
    assert len(load(tmp_path, text, {"encoding": "rope"})) == 2
    assert len(load(tmp_path, text, {"seed": "0"})) == 2
    assert len(load(tmp_path, text, {"steps": "4"})) == 3
    told = problem(tmp_path, "exclude: [encoding=alibi and seed=1]\n", {"steps": "4"})
    assert "no run of this recipe has encoding=alibi" in told


def test_a_name_stands_for_any_options_of_an_encoding_and_for_no_pattern_of_layers(tmp_path: Path) -> None:
    flags = {"encoding": "rope:base=500,rope:window=4+none,rope:base=5+rope:base=7,rope"}
    left = {config.encoding for config in load(tmp_path, "exclude: encoding=rope\n", flags)}
    assert left == {"rope:window=4+none", "rope:base=5+rope:base=7"}


def test_a_path_is_relative_to_the_folder_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(Path(exclusions.__file__).with_name("__init__.py").read_text())
    left = load(tmp_path, "exclude: [encoding=./own.py]\n", {"encoding": f"{tmp_path}/own.py,rope"})
    assert {config.encoding for config in left} == {"rope"}


WORDS = ["encoding", "seed", "lr", "=", "!=", "==", " and ", "AND", " or ", "rope", "learned", "0", "1", "&&", ",", " ", "!", "/"]


@given(strategies.lists(strategies.sampled_from(WORDS), max_size=7).map("".join))
def test_any_text_is_understood_as_it_is_written_or_an_error(text: str) -> None:
    """Every condition that was read is in the text, and nothing else is."""
    try:
        line = parse_exclusion(text)
    except ValueError:
        return
    assert "".join(" and ".join(one.text for one in line.conditions).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vary: {lr/lr: [1/2]}\n", "vary: lr is given twice"),
        ("vary: {lr: [1e-3, 2e-3], lr/steps: [1e-3/5]}\n", "vary: lr is given twice"),
        ("vary: {steps: [3, 5]}\nby_encoding: {rope: {steps: 4}, learned: {steps: 4}}\n", "vary: steps: varies for no run"),
        ("vary: {samples: [4, 8]}\n", "vary: samples: is about evaluation, and its runs would be the same ones"),
        ("vary: {eval_seed: [0, 1]}\n", "measure more with rpe eval --eval-seed"),
        ("vary: {max_position: [64, 128]}\n", "max_position: is of use with positions offset, randomized or coupled only"),
        ("vary: {logit_scale_on: [all, unrotated]}\n", "logit_scale_on: is of use with logit_scale only: its runs would be the"),
        ("lr_search: [1e-3, 3e-3]\nlr: 5e-3\n", "lr: given beside"),
        ("lr_search: [1e-3, 3e-3]\nby_encoding: {rope: {lr: 1}, learned: {lr: 1}}\n", "lr_search: searches nothing"),
    ],
)
def test_what_varies_nothing_is_an_error(text: str, words: str, tmp_path: Path) -> None:
    told = problem(tmp_path, text)
    assert words in told
    assert told.startswith("/mine.yaml:1")


def test_a_flag_searches_above_the_rate_of_a_file(tmp_path: Path) -> None:
    assert len(load(tmp_path, "lr: 5e-3\n", {"lr_search": "1e-3,3e-3", "seed": "0"})) == 2


def test_encodings_of_one_option_each_alternate(tmp_path: Path) -> None:
    (config,) = load(tmp_path, "", {"encoding": "rope:base=500+rope:base=900", "seed": "0"})
    assert config.encoding == "rope:base=500+rope:base=900"

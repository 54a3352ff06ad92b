"""Options at the door: in range, of the task, in one spelling, and with the memory that they would need."""

import inspect

import pytest
from helpers import training as tiny

from rpecli import catalog
from rpecli.config import load as config_load
from rpecli.encoding import Encoding
from rpecli.launch import preflight
from rpecli.task import Task

SMALL = {
    "steps": "3",
    "length": "4",
    "d_model": "16",
    "n_head": "2",
    "n_layer": "1",
    "samples": "4",
    "lengths": "1x",
    "tokens": "64",
}
HUGE = 1_000_000_000 - 2  # even, of nine digits
NO_TABLE = {  # whole numbers that no tensor grows with: of widths in tokens and of distances
    "rerope:window", "rope:window", "rope:chunk", "self-extend:window", "self-extend:group", "t5:max_distance", "window:width",
}  # fmt: skip
BASES = {"encodings": Encoding, "tasks": Task}


def problems(**flags: str) -> list[str]:
    recipe, source = config_load.load(None, SMALL | {"task": "copy", "encoding": "rope"} | flags)
    return list(map(str, preflight.problems(recipe, source)))


def whole_numbers(kind: str) -> list[str]:
    """`rope:window`: every option of what ships that is a whole number."""
    return [
        f"{name}:{option.name}"
        for name in catalog.names(kind)
        for option in inspect.signature(catalog.load_class(kind, name, BASES[kind]).__init__).parameters.values()
        if type(option.default) is int
    ]


@pytest.mark.parametrize("option", whole_numbers("encodings"))
def test_a_huge_number_in_an_encoding_is_refused_before_memory_is_taken(option: str) -> None:
    told = problems(encoding=f"{option}={HUGE}")
    if option in NO_TABLE:
        assert told == []
        return
    (line,) = told
    assert line.startswith("--encoding: encoding ")
    assert "Error" not in line, "no exception of a library"
    assert "is not done after" not in line


@pytest.mark.parametrize("option", sorted({*whole_numbers("tasks")} - {"mqar:every"}))  # a distance: there is one key then
def test_a_huge_number_in_a_task_is_refused_before_memory_is_taken(option: str) -> None:
    recipe, source = config_load.load(None, {"task": f"{option}={HUGE}", "encoding": "none"})
    (line,) = map(str, preflight.problems(recipe, source))
    assert "Error" not in line
    assert "GiB of memory" in line or f"{option}={HUGE}" in line


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("bipe:rows=999999999", "a table of 999,999,999 rows needs at least 238 GiB of memory"),
        ("cope:npos=999999999", "needs at least 119 GiB of memory"),
        ("mlp-bias:depth=999999999", "the network has 1 to 100 layers"),
        ("bipe:ends=99999", "names symbol 99,999, and copy has the symbols 0 to 15: name these"),
        ("bipe:ends=16", "names symbol 16"),
        ("abacus:digits=17", "names symbol 16"),
        ("bipe:ends=1..2", "not '1..2'"),
        ("bipe:ends=.1", "not '.1'"),
        ("bipe:ends=1.1", "symbols ascend, each once: write ends=1"),
        ("bipe:ends=2.1", "symbols ascend, each once: write ends=1.2"),
        ("bipe:ends=01", "symbols ascend, each once: write ends=1"),
        ("bipe:ends=\u0661", "symbols ascend, each once: write ends=1"),
        ("bipe:over=rope:base=5", "encoding bipe has no option 'base': for rope, write 'bipe:over=\"rope:base=5\"'"),
    ],
)
def test_options_are_in_range_of_the_task_and_in_one_spelling(encoding: str, words: str) -> None:
    (line,) = problems(encoding=encoding)
    assert line.startswith("--encoding: ")
    assert words in line


@pytest.mark.parametrize("encoding", ["bipe:ends=15", "bipe:ends=1.2", "bipe", "abacus:digits=16", 'bipe:over="rope:base=5"'])
def test_options_that_make_sense_are_taken(encoding: str) -> None:
    assert problems(encoding=encoding) == []


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("encoding", "rope,rope:base=1e4", "rope and rope:base=1e4 are the same encoding in two spellings: keep one"),
        ("encoding", "rope:base=500,rope:base=5e2", "rope:base=500 and rope:base=5e2 are the same encoding"),
        ("encoding", "rope+none,rope:window=0+none", "rope+none and rope:window=0+none are the same encoding"),
        ("task", "copy,copy:symbols=16", "copy and copy:symbols=16 are the same task"),
    ],
)
def test_two_spellings_of_one_choice_are_no_two_choices(key: str, text: str, words: str) -> None:
    (line,) = problems(**{key: text})
    assert line.startswith(f"--{key}: {words}")


def test_different_options_are_different_encodings() -> None:
    assert problems(encoding="rope,rope:base=500,rope+none,rope:then=none") == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["train", "--lr-search", "1e-3,3e-3", "--dry-run"],
            "No such option: --dry-run, which is of rpe run: rpe run RECIPE --dry-run",
        ),
        (["train", "--eval-tokens", "99999999999999999999"], "must be below 1,000,000,000: write for example 131072"),
        (["train", "--lr-end", "7"], "must be at most 1: write for example 0.05"),
    ],
)
def test_a_flag_that_is_refused_is_told_with_what_to_type(words: list[str], told: str, rpe: tiny.Rpe) -> None:
    result = rpe(*words)
    assert result.code == 2
    assert told in " ".join(result.err.replace("│", " ").split())


def test_a_scaling_with_options_is_an_encoding_to_swap_in(tmp_path, rpe: tiny.Rpe) -> None:
    tiny.trained_run(tmp_path / "runs", encoding="rope", steps=1)
    result = rpe("eval", "--rope-scaling", "longrope:factors=1/2", "--runs", tmp_path / "runs")
    told = "--rope-scaling takes a name alone: with options, write --swap-encoding rope:scaling=longrope:factors=1/2\n"
    assert (result.code, result.err) == (2, told)

"""`rpe choose` with models of milliseconds: the answer, going on, what is cut, and every error before anything starts."""

import json
import random
import re
from pathlib import Path

import pytest
from helpers import training as tiny

from rpecli.cli import _rounds, _study
from rpecli.launch import budget
from rpecli.launch.budget import Plan
from rpecli.run.directory import find_runs

SMALL = ["d_model=16", "n_head=2", "n_layer=1", "tokens=128", "warmup=5", "validate_every=10", "samples=16"]
WORDS = ["red", "blue", "green", "one", "two", "three"]


@pytest.fixture(autouse=True)
def known_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes a millisecond, and twice that with the second encoding; nothing is timed."""

    def measure(study, *_) -> Plan:
        times = {name: 0.001 * (1 + (number == 1)) for number, name in enumerate(study.configs)}
        ratios = {name: 1000 * seconds for name, seconds in times.items()}
        return Plan(asked_steps=study.config.steps, fixed_steps=study.fixed_steps, step_seconds=times, step_ratio=ratios,
                    attention_ratio=ratios, attention_length=64)  # fmt: skip

    monkeypatch.setattr(_rounds, "measure", measure)
    monkeypatch.setattr(budget, "RUN_SECONDS", 0.0)


@pytest.fixture
def pairs(here: Path) -> Path:
    """300 rows: words of 1 to 12 tokens, and the same words."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 12))) for _ in range(300)]
    (here / "pairs.jsonl").write_text("".join(json.dumps({"input": text, "target": text}) + "\n" for text in texts))
    return here / "pairs.jsonl"


def choose(rpe: tiny.Rpe, *words: str, minutes: float = 1, steps: int | None = 20):
    sets = [f"--set={key}" for key in [*SMALL, *([f"steps={steps}"] if steps else [])]]
    return rpe("choose", *words, "--encoding", "rope,alibi", "--minutes", minutes, "--jobs", 0, "--device", "cpu", *sets)


def test_an_answer_for_own_rows(rpe: tiny.Rpe, pairs: Path, here: Path) -> None:
    result = choose(rpe, "--data", "pairs.jsonl", "--lengths", "1x:4x", "--seeds", "2", "--length", "3")
    assert result.code == 0, result.err
    first, *lines = result.out.splitlines()
    assert first.startswith(("No answer yet: no encoding learned even lengths up to 3, so", "No encoding holds at 6 and 12"))
    assert max(map(len, [first, *lines])) <= 80
    assert "4 runs of 20 steps on lengths up to 3 in" in result.out
    assert ("To keep a pretrained RoPE model" in result.out) != first.startswith("No answer yet"), "of what learned nothing"
    assert any("scaling=yarn" in str(line) for line in find_runs(here / "runs")[0][-1].evaluations()), "but it was measured"
    assert result.out.rstrip().endswith("Page: results/choose-data-pairs.jsonl/report.html")
    assert (here / "results/choose-data-pairs.jsonl/report.html").is_file()
    assert "trains on" in result.err


def test_started_again_it_trains_nothing_and_says_the_same(rpe: tiny.Rpe, pairs: Path) -> None:
    words = ("--data", "pairs.jsonl", "--seeds", "1", "--length", "3")
    first = choose(rpe, *words)
    times = {run.path: run.weights_file.stat().st_mtime_ns for run in find_runs(Path("runs"))[0]}
    again = choose(rpe, *words)
    assert len(times) == 2
    assert {run.path: run.weights_file.stat().st_mtime_ns for run in find_runs(Path("runs"))[0]} == times
    assert again.out.splitlines()[0] == first.out.splitlines()[0]


def test_more_seeds_go_on_from_the_same_plan(rpe: tiny.Rpe, here: Path) -> None:
    choose(rpe, "--task", "copy", "--length", "3", "--seeds", "1")
    (plan,) = (here / "runs").glob("choose-*.json")
    result = choose(rpe, "--task", "copy", "--length", "3", "--seeds", "2", "--json")
    data = json.loads(result.out)
    assert list((here / "runs").glob("choose-*.json")) == [plan]
    assert [one["seed"] for one in data["plan"]["rounds"]] == [0, 1]
    assert len(data["runs"]) == 4
    assert data["lengths"] == [6, 12]
    assert {one["label"]: one["step_ratio"] for one in data["candidates"]} == {"rope": 1.0, "alibi": 2.0}
    assert len(data["pretrained"][0]["scaled"]) == 5


def test_an_encoding_that_is_trained_with_a_scaling_is_not_measured_with_others(rpe: tiny.Rpe, here: Path) -> None:
    words = ("--task", "copy", "--length", "3", "--seeds", "1", "--json")
    sets = [f"--set={key}" for key in [*SMALL, "steps=20"]]
    for encodings, titles in (("rope:scaling=yarn,alibi", []), ("rope:scaling=yarn,rope", ["RoPE"])):
        result = rpe("choose", *words, "--encoding", encodings, "--minutes", 1, "--jobs", 0, "--device", "cpu", *sets)
        assert result.code == 0, result.err
        assert [one["title"] for one in json.loads(result.out)["pretrained"]] == titles
        assert "left out" not in result.err


def test_steps_that_the_user_fixes_are_another_plan_than_the_same_by_default(here: Path) -> None:
    keys = {"task": "copy", "encoding": "rope,alibi", "lengths": "1x", "length": "3"}
    asked = [_study.read_study(keys, sets, None, (here, 0, "cpu"))
             for sets in ([], ["steps=4000"], ["samples=256"], ["steps=4000", "samples=256"])]  # fmt: skip
    assert len({study.configs["rope"].id for study in asked}) == 1
    assert len({study.plan_file for study in asked}) == 4


def test_an_interrupted_command_keeps_its_plan_and_goes_on(rpe: tiny.Rpe, trap: tiny.Trap, here: Path) -> None:
    trap.arm(12, "SIGINT")
    words = ("--task", str(trap.task), "--length", "3", "--seeds", "1")
    first = choose(rpe, *words)
    assert first.code == 130, first.err
    assert "start the same command again to go on" in first.err
    again = choose(rpe, *words)
    assert again.code == 0, again.err
    assert all(run.is_trained for run in find_runs(here / "runs")[0])


def test_an_encoding_whose_run_fails_is_named_and_left_out(rpe: tiny.Rpe, trap: tiny.Trap, here: Path) -> None:
    trap.arm(12, "raise")
    result = choose(rpe, "--task", str(trap.task), "--length", "3", "--seeds", "2")
    assert result.code == 1
    assert "ValueError: the trap" in result.err
    assert "Left out: ALiBi, of which a run failed (told above)." in " ".join(result.out.split())
    assert len(find_runs(here / "runs")[0]) == 3


def test_too_little_time_is_told_with_an_estimate_before_any_run(rpe: tiny.Rpe, here: Path) -> None:
    result = choose(rpe, "--task", "copy", "--length", "3", minutes=0.001, steps=None)
    assert (result.code, result.out) == (2, "")
    estimate = "one run of each of 2 encodings takes about 1 s with 400 steps, and 3 seeds of each with 4,000 steps 46 s"
    said = rf"--minutes 0.001 is too short: \d+ s went to timing, and {estimate}: write --minutes 1, or fewer"
    assert re.search(said, " ".join(result.err.split()))
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("steps", "said"), [(None, "1 s with 400 steps, and 1 seed of each with 4,000 steps 15 s"), (900, "3 s with 900 steps")]
)
def test_too_little_time_is_told_for_the_seeds_that_were_asked_for(
    steps: int | None, said: str, rpe: tiny.Rpe, here: Path
) -> None:
    result = choose(rpe, "--task", "copy", "--length", "3", "--seeds", "1", minutes=0.001, steps=steps)
    assert (result.code, f"takes about {said}: write --minutes 1, or fewer" in " ".join(result.err.split())) == (2, True), (
        result.err
    )


def test_cut_steps_are_said(rpe: tiny.Rpe, trap: tiny.Trap, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """85 % of 2.4 s, at 1.3 times 3 ms for a step of both encodings, are 523 steps of one seed."""
    monkeypatch.setattr(_rounds.Clock, "spent", 0.0)
    monkeypatch.setattr(_rounds.Session, "save", lambda session: None)
    monkeypatch.setattr(budget, "longer_steps", lambda *_: None)  # which depends on how long the first round took
    result = choose(rpe, "--task", str(trap.task), "--length", "3", "--seeds", "1", minutes=0.04, steps=None)
    assert result.code == 0, result.err
    text = " ".join(result.out.split())
    assert "Cut: 500 steps a run in place of 1,000. 1 seed, as asked (--seeds); an interval needs three." in text


def test_rows_without_longer_ones_are_judged_at_the_training_length(rpe: tiny.Rpe, here: Path) -> None:
    rows = "".join(json.dumps({"input": f"{a} {b}", "target": WORDS[a]}) + "\n" for a in range(3) for b in range(100))
    (here / "short.jsonl").write_text(rows)
    result = choose(rpe, "--data", "short.jsonl:tokens=space", "--seeds", "1", steps=400)
    assert result.code == 0, result.err
    assert "There is nothing longer than 1 to test with" in result.err
    assert "Nothing longer than 1 was tested, so this says nothing about longer inputs." in result.out


def test_lengths_that_the_rows_lack_are_replaced_and_said(rpe: tiny.Rpe, pairs: Path) -> None:
    result = choose(rpe, "--data", "pairs.jsonl", "--lengths", "1x,2x,5x", "--length", "3", "--seeds", "1")
    assert result.code == 0, result.err
    assert "There are no problems of length 15: tested at 3, 6, 12." in result.err


def test_the_training_length_of_own_rows_follows_from_their_lengths(rpe: tiny.Rpe, pairs: Path) -> None:
    """The longest row has 12 tokens, a quarter of which is 3; 200 rows need all up to 12, which leaves no longer ones."""
    result = choose(rpe, "--data", "pairs.jsonl", "--seeds", "1")
    assert "Training length: 6 (--length sets another)." in result.err
    assert "tested at 6, 12" in result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name what to choose for: --data FILE, your own rows, or --task NAME"),
        (("--task", "copy", "--data", "x.jsonl"), "and not both"),
        (("--data", "nope.jsonl"), "nope.jsonl: there is no such file"),
        (("--task", "copi"), "unknown task 'copi': did you mean copy"),
        (("--task", "copy,sort"), "rpe choose looks at one: keep one"),
        (("--task", "copy", "--minutes", "0"), "--minutes 0: write a number above 0"),
        (("--task", "copy", "--minutes", "nan"), "--minutes nan: write a number above 0"),
        (("--task", "copy", "--encoding", "rope"), "there is nothing to choose between"),
        (("--task", "copy", "--set", "seed=3"), "--seeds is the most"),
        (("--task", "copy", "--set", "exclude=encoding=rope", "--encoding", "rope,alibi"), "there is nothing to choose between"),
        (("--task", "copy", "--set", "lengths=2x"), "--set lengths=2x: write --lengths 2x"),
        (("--task", "copy", "--lengths", "2x", "--set", "lengths=2x"), "--set lengths=2x: lengths is given twice: keep one"),
        (("--task", "copy", "--lengths", "8x:1x"), "'8x:1x' descends: write 1x:8x"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(words: tuple[str, ...], message: str, rpe: tiny.Rpe, here: Path) -> None:
    result = rpe("choose", *words, "--jobs", 0)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert not list(here.iterdir())


def test_rows_that_are_known_by_heart_need_more_rows(rpe: tiny.Rpe, here: Path) -> None:
    rng = random.Random(1)
    rows = [{"input": " ".join(rng.choices(WORDS, k=4)), "target": rng.choice(WORDS)} for _ in range(30)]
    (here / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = choose(rpe, "--data", "few.jsonl:tokens=space", "--seeds", "1", steps=600)
    assert result.code == 0, result.err
    text = " ".join(result.out.split())
    assert text.startswith("No answer yet")
    assert "More minutes will not help: these runs fit their training rows and fail on held-out ones." in text

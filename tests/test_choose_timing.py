"""What `rpe choose` times before it trains, by a clock that advances by known seconds: what is left out."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import training as tiny

from rpecli.bench import attention, in_turn, machine, timing
from rpecli.cli import _rounds, _timing
from rpecli.cli._timing import Clock
from rpecli.config.recipe import Config
from rpecli.evaluate import cost

SMALL = {"task": "copy", "length": 4, "d_model": 16, "n_head": 2, "n_layer": 1, "steps": 100}


class Machine:
    """A clock; a training step, an evaluation and a call of attention advance it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: float, evaluation: float, attention_call: float) -> None:
        self.now, self.timed = 0.0, list[str]()
        monkeypatch.setattr(in_turn, "quick_step", lambda config, *_, **__: (self.take("look", config.encoding, step), 1))
        monkeypatch.setattr(
            in_turn, "_steps", lambda config, _: lambda: self.take("steps", config.encoding, in_turn.STEPS * step)
        )
        call = lambda choice, *_: lambda: self.take("attention", choice or "plain", attention_call)  # noqa: E731
        monkeypatch.setattr(attention, "attention_call", call)
        by_length = lambda loaded, _: {4: self.take("evaluation", loaded.config.encoding, evaluation)}  # noqa: E731
        monkeypatch.setattr(cost, "by_length", by_length)
        monkeypatch.setattr(machine, "stopwatch", lambda *_: timing.Stopwatch(0.0, clock=lambda: self.now))

    def take(self, kind: str, name: str, seconds: float) -> float:
        self.now += seconds
        self.timed.append(f"{kind} {name}")
        return seconds

    def clock(self, minutes: float) -> Clock:
        return Clock(minutes, 0.0, now=lambda: self.now)


def study(*encodings: str, **keys: object):
    config = Config.model_validate({**SMALL, "encoding": "rope", **keys})
    configs = {name: config.model_copy(update={"encoding": name}) for name in encodings}
    return SimpleNamespace(configs=configs, config=config, device="cpu", fixed_steps=False, fixed_samples=True)


def test_with_enough_time_everything_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Machine(monkeypatch, step=0.01, evaluation=0.1, attention_call=0.1)
    plan = _timing.measure(study("rope", "alibi"), fake.clock(10), 3, workers=1)
    assert plan.step_ratio == pytest.approx({"rope": 1, "alibi": 1})
    assert plan.attention_ratio == pytest.approx({"rope": 1, "alibi": 1})
    assert fake.timed.count("attention rope") == 2 + 5


def test_timing_ends_with_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of 60 s is 15; a call of attention takes 2 s, and no other one begins after that."""
    fake = Machine(monkeypatch, step=0.01, evaluation=0.1, attention_call=2.0)
    plan = _timing.measure(study("rope", "alibi", "t5", "none", "fire"), fake.clock(1), 3, workers=1)
    assert fake.now < 15 + 2
    assert "attention fire" not in fake.timed
    assert set(plan.step_ratio) == {"rope", "alibi", "t5", "none", "fire"}
    assert "rope" in plan.attention_ratio
    assert "fire" not in plan.attention_ratio


def test_steps_and_evaluations_that_there_is_no_time_for_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """15 % of 60 s are 9: two looks of 0.2 s and four calls of 1.6 s and 8 steps each; then evaluations end at 12 s."""
    fake = Machine(monkeypatch, step=0.2, evaluation=6.0, attention_call=1.0)
    plan = _timing.measure(study("rope", "alibi", validation_samples=10, validate_every=100), fake.clock(1), 3, workers=1)
    assert [one for one in fake.timed if one.startswith("evaluation")] == ["evaluation rope"]
    assert plan.evaluation_seconds["alibi"] == pytest.approx(plan.evaluation_seconds["rope"])
    assert plan.step_seconds == pytest.approx({"rope": 0.2 + 0.6, "alibi": 0.2 + 0.6})
    assert plan.attention_ratio == {}
    assert not any(one.startswith("attention") for one in fake.timed)


def test_steps_without_a_turn_are_known_from_the_first_look(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Machine(monkeypatch, step=0.5, evaluation=1e-9, attention_call=0.01)
    asked = study("rope", "alibi", "t5", "fire", "learned", steps=10)
    plan = _timing.measure(asked, fake.clock(1), 3, workers=8)
    assert plan.step_seconds == pytest.approx(dict.fromkeys(asked.configs, 0.5))
    assert list(plan.step_ratio) == ["rope"], "2.5 s of looks, then 4 s each for plain attention and one encoding"
    assert fake.now < 9 + in_turn.STEPS * 0.5


def test_minutes_that_cannot_suffice_are_refused_after_a_look(rpe: tiny.Rpe, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes 3 s: 100 of them at 1.3 times that, of one encoding, are over the time; the others are not looked at."""
    fake = Machine(monkeypatch, step=3.0, evaluation=1.0, attention_call=1.0)
    monkeypatch.setattr(_rounds, "Clock", lambda minutes, _: fake.clock(minutes))
    result = rpe("choose", "--task", "copy", "--encoding", "rope,alibi", "--minutes", 1, "--jobs", 0, "--set=steps=1000",
                 "--device", "cpu", "--length", 3)  # fmt: skip
    assert (result.code, result.out) == (2, "")
    said = "--minutes 1 is too short: by a first look at 1 encoding, one run of each of 2 encodings takes about 2 h 10 min with "
    said += "1,000 steps, and 3 seeds of each 6 h 30 min"
    assert f"{said}: write --minutes 651, or fewer encodings (--encoding)" in " ".join(result.err.split())
    assert fake.timed == ["look rope"]
    assert not (here / "runs").exists()


def test_what_was_not_timed_is_said() -> None:
    from rpecli.cli import choose
    from rpecli.launch.budget import Plan

    ratios = {"rope": 1.0}
    plan = Plan(asked_steps=1, fixed_steps=False, step_seconds={"rope": 1, "alibi": 1}, step_ratio={**ratios, "alibi": 1.0},
                attention_ratio=ratios, attention_length=2048)  # fmt: skip
    session = SimpleNamespace(plan=plan, study=SimpleNamespace(titles=", ".join))
    said = "Not timed in turn, since timing takes a quarter of --minutes at most: attention at 2,048 tokens with alibi."
    assert choose._untimed(session) == [said]
    plan.attention_ratio["alibi"] = 1.0
    assert choose._untimed(session) == []


@pytest.mark.parametrize(
    ("earlier", "seconds", "said"), [(700, 700, "Earlier calls"), (100, 700, "is the machine busy"), (100, 600, "")]
)
def test_why_it_took_longer_is_said(earlier: float, seconds: float, said: str) -> None:
    from rpecli.cli import choose

    session = SimpleNamespace(plan=SimpleNamespace(seconds=seconds), clock=Clock(10, earlier))
    text = " ".join(choose._overrun(session))
    assert said in text
    assert bool(text) == bool(said)


@pytest.mark.parametrize(
    ("seeds", "said"), [(1, r"To settle it: .* --minutes 20\. If"), (2, r"To settle it: a larger --set steps than 1000\. If")]
)
def test_more_minutes_are_proposed_where_they_make_longer_runs(seeds: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from rpecli.cli import choose
    from rpecli.launch.budget import Plan, Round
    from rpecli.report.recommendation import UNLEARNED

    times = {"rope": 0.01, "alibi": 0.01}
    rounds = [Round(seed=seed, steps=1000, encodings=list(times)) for seed in range(seeds)]
    plan = Plan(asked_steps=1000, fixed_steps=False, step_seconds=times, step_ratio={}, attention_ratio={}, attention_length=1,
                steps=1000, rounds=rounds, seconds=500.0)  # fmt: skip
    session = SimpleNamespace(plan=plan, clock=Clock(10, 500.0), most_seeds=10, workers=1)
    monkeypatch.setattr(_rounds, "knows_by_heart", lambda session: False)
    (text,) = choose._settling(session, SimpleNamespace(outcome=UNLEARNED))
    assert re.match(said, text), text

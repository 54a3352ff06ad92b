"""What fits into the time of `rpe choose`: steps, seeds and leaders, on plans whose every second is known."""

from pathlib import Path

import pytest

from rpecli.launch import budget
from rpecli.launch.budget import Plan, Round
from rpecli.run.files import RunError

SEVEN = [f"encoding{number}" for number in range(7)]


@pytest.fixture(autouse=True)
def exact_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run takes its steps and nothing else, and no longer beside other runs."""
    monkeypatch.setattr(budget, "RUN_SECONDS", 0.0)
    monkeypatch.setattr(budget, "SLOWDOWN", 1.0)


def plan(n: int = 7, seconds: float = 0.01, **keys: object) -> Plan:
    times = dict.fromkeys(SEVEN[:n], seconds)
    ratios = dict.fromkeys(SEVEN[:n], 1.0)
    return Plan.model_validate({"asked_steps": 1000, "fixed_steps": False, "step_seconds": times, "step_ratio": ratios,
                                "attention_ratio": ratios, "attention_length": 64, **keys})  # fmt: skip


def begun(seeds: int, steps: int = 1000, **keys: object) -> Plan:
    return plan(steps=steps, rounds=[Round(seed=seed, steps=steps, encodings=SEVEN) for seed in range(seeds)], **keys)


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [
        (210, 1000),  # 7 runs of 10 s, three seeds, one at a time
        (1000, 1000),  # more time is for more seeds
        (147, 700),  # three seeds of 7 runs of 7 s
        (104, 500),  # less than half of the steps: 7 runs of 5 s, and three seeds of three leaders
        (80, 500),  # exactly these 16 runs
        (40, 250),  # the same with fewer steps
        (10, 100),  # one seed of the fewest steps
    ],
)
def test_the_steps_follow_from_the_time(seconds: float, steps: int) -> None:
    assert budget.first_steps(plan(), 10, seconds + 0.1, workers=1) == steps


def test_several_processes_share_the_time() -> None:
    assert budget.first_steps(plan(), 10, 105.1, workers=2) == 1000


def test_less_than_one_short_run_of_each_is_no_plan() -> None:
    assert budget.first_steps(plan(), 10, 6.9, workers=1) is None
    assert budget.least_seconds(plan(), workers=1) == pytest.approx(7)
    assert budget.planned_seconds(plan(), 10, workers=1) == pytest.approx(210)


@pytest.mark.parametrize(
    ("most_seeds", "seconds", "steps"), [(1, 70, 1000), (1, 42, 600), (1, 21, 300), (1, 7, 100), (2, 140, 1000)]
)
def test_no_time_is_kept_for_seeds_that_are_not_allowed(most_seeds: int, seconds: float, steps: int) -> None:
    assert budget.first_steps(plan(), most_seeds, seconds + 0.1, workers=1) == steps
    assert budget.planned_seconds(plan(), most_seeds, workers=1) == pytest.approx(70 * most_seeds)


def test_samples_and_longer_runs_count_on_the_seeds_that_are_allowed() -> None:
    assert budget.evaluated_samples(evaluated(), 1, 128.1, workers=1) == 256
    assert budget.longer_steps(begun(1), 1, 3, 140.1, workers=1) == 2000


def test_two_encodings_have_no_leaders() -> None:
    assert budget.first_steps(plan(2), 10, 3 * 2 * 4.1, workers=1) == 400  # of 1000: three seeds of two runs of 4 s


def test_steps_of_the_user_are_not_cut() -> None:
    assert budget.first_steps(plan(fixed_steps=True), 10, 70.1, workers=1) == 1000
    assert budget.first_steps(plan(fixed_steps=True), 10, 69, workers=1) is None


def test_a_round_is_as_slow_as_the_rounds_before_it() -> None:
    slow = plan(expected=10.0, measured=30.0)
    assert budget.round_seconds(slow, SEVEN, 1000, 1) == pytest.approx(210)


def test_a_round_takes_at_least_its_slowest_run() -> None:
    uneven = plan(2).model_copy(update={"step_seconds": {"encoding0": 0.001, "encoding1": 0.1}})
    assert budget.round_seconds(uneven, ["encoding0", "encoding1"], 1000, workers=2) == pytest.approx(100)


def test_seeds_are_added_while_there_is_time() -> None:
    another = budget.next_round(begun(3), SEVEN, 10, seconds=70.1, workers=1)
    assert another == Round(seed=3, steps=1000, encodings=SEVEN)
    assert budget.next_round(begun(3), SEVEN, 10, seconds=69, workers=1) is None
    assert budget.next_round(begun(3), SEVEN, 3, seconds=700, workers=1) is None


def test_the_slowest_encoding_of_a_round_comes_first() -> None:
    times = {"encoding0": 0.01, "encoding1": 0.03, "encoding2": 0.02}
    another = budget.next_round(plan(3, steps=10, step_seconds=times), list(times), 10, 700, 1)
    assert another is not None
    assert another.encodings == ["encoding1", "encoding2", "encoding0"]


@pytest.mark.parametrize(("seconds", "only"), [(140.1, False), (139, True), (90.1, True), (89, False)])
def test_leaders_alone_go_on_where_three_seeds_of_all_do_not_fit(seconds: float, only: bool) -> None:
    assert budget.only_leaders_fit(begun(1), SEVEN, 10, seconds, workers=1) is only
    assert not budget.only_leaders_fit(begun(1), SEVEN, 3, seconds, workers=1)  # no seed would be left to compare


def test_the_seed_that_chose_the_leaders_is_not_compared() -> None:
    assert begun(3).counted_seeds == [0, 1, 2]
    assert begun(3, leaders=SEVEN[:3]).counted_seeds == [1, 2]


@pytest.mark.parametrize(
    ("seeds", "learned", "seconds", "steps"),
    [
        (1, 3, 420.1, 2000),  # three seeds of 7 runs of 20 s
        (1, 4, 420.1, None),  # half of them learned it
        (1, 3, 419, None),
        (1, 0, 419, 5950),  # none did: steps come before seeds
        (1, 0, 4190, 2000),  # as long as three seeds of twice the steps fit
        (1, 0, 139, None),  # one seed of twice the steps does not
        (2, 0, 4200, None),
    ],
)
def test_runs_are_longer_after_the_first_seed_where_few_learn(
    seeds: int, learned: int, seconds: float, steps: int | None
) -> None:
    assert budget.longer_steps(begun(seeds), 10, learned, seconds, workers=1) == steps


def test_the_time_that_is_named_for_longer_runs_suffices_for_them() -> None:
    for learned in (0, 3):
        seconds = budget.seconds_of_longer(begun(1, seconds=90.0), 10, 1)
        assert seconds is not None
        assert budget.longer_steps(begun(1), 10, learned, seconds - 90, workers=1) == 2000
    for no_longer in (begun(2), begun(1, fixed_steps=True), begun(1, steps=8000)):
        assert budget.seconds_of_longer(no_longer, 10, 1) is None
        assert budget.longer_steps(no_longer, 10, 0, 1e9, workers=1) is None


def test_rounds_of_fewer_steps_are_not_of_the_present_plan() -> None:
    doubled = begun(1).model_copy(update={"steps": 2000})
    assert doubled.current == []
    assert budget.next_round(doubled, SEVEN, 10, 140, 1) == Round(seed=0, steps=2000, encodings=SEVEN)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    assert budget.read(file) is None
    written = begun(2, leaders=SEVEN[:3])
    budget.write(written, file)
    assert budget.read(file) == written


@pytest.mark.parametrize("change", [lambda data: data[:-40], lambda data: data.replace(b"1000", b"1001", 1), lambda data: b""])
def test_a_damaged_plan_is_named_with_its_remedy(change, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    budget.write(begun(1), file)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(RunError, match=r"plan\.json: .*delete the file; runs that are trained are kept"):
        budget.read(file)


def evaluated(**keys: object) -> Plan:
    """An evaluation of two encodings takes 8 and 24 s with all samples, and half of that with half of them."""
    seconds = {"encoding0": {256: 8.0, 128: 4.0, 64: 2.0, 32: 1.0}, "encoding1": {256: 24.0, 128: 12.0, 64: 6.0, 32: 3.0}}
    return plan(2, evaluation_seconds=seconds, **keys)


def test_a_run_takes_its_evaluation_too() -> None:
    assert budget.expected_seconds(evaluated(), SEVEN[:2], 1000, workers=1) == pytest.approx(20 + 32)
    assert budget.expected_seconds(evaluated(samples=64), SEVEN[:2], 1000, workers=1) == pytest.approx(20 + 8)
    assert budget.expected_seconds(evaluated(samples=64), SEVEN[:2], 1000, workers=2) == pytest.approx(16)
    assert budget.first_steps(evaluated(samples=64), 10, 3 * 28.1, workers=1) == 1000


@pytest.mark.parametrize(
    ("seconds", "workers", "samples"),
    [(384.1, 1, 256), (383, 1, 128), (192.1, 2, 256), (96.1, 1, 64), (48.1, 1, 32), (1, 1, 32)],
)
def test_evaluations_of_three_seeds_take_a_quarter_of_the_time_at_most(seconds: float, workers: int, samples: int) -> None:
    assert budget.evaluated_samples(evaluated(), 10, seconds, workers) == samples


def test_plans_whose_evaluations_were_not_measured_have_all_samples() -> None:
    assert budget.evaluated_samples(plan(), 10, 10, workers=1) == 0
    assert budget.evaluation(plan(), "encoding0") == 0


def test_samples_are_halved_down_to_the_fewest() -> None:
    assert budget.fewer_samples(256) == [256, 128, 64, 32]
    assert budget.fewer_samples(100) == [100, 50]
    assert budget.fewer_samples(8) == [8]

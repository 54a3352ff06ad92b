"""Which runs fit into a given time: how many steps each, which seeds, and whether all encodings or the leading ones get more.

A plan is a file beside the runs, so that a command that was stopped goes on with the steps and the seeds it had chosen. Steps
follow from the time of a step and from validation on training lengths; no evaluated length decides them.
"""

from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from rpecli.run.files import RunError, read_bytes, unseal, write_json

FORMAT = 1
SEEDS = 3  # of an encoding that an interval needs
LEADERS = 3  # encodings that get more seeds where not all can
FEWEST = 0.1  # of the steps that were asked for: with fewer, nothing is learned
ENOUGH = 0.5  # of these steps: rather than fewer, only the leaders get more seeds
MOST_STEPS = 8  # times as many as were asked for
ROUND_STEPS = 50  # steps are a multiple of so many
RUN_SECONDS = 2.0  # of a run beside its training steps and its evaluation: its start, and what is written
EVALUATED = 0.25  # of the time, that evaluations take at most: with more, fewer sequences are evaluated
FEWEST_SAMPLES = 32
SLOWDOWN = 1.3  # of steps beside other runs, until a round has been measured


class Round(BaseModel):
    """One seed of several encodings."""

    seed: int
    steps: int
    encodings: list[str]


class Plan(BaseModel):
    """What was measured before training, and what was decided since."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    asked_steps: int  # those of the task, or of the user
    fixed_steps: bool  # whether they are the user's
    step_seconds: dict[str, float]  # by encoding, with its share of the validations
    evaluation_seconds: dict[str, dict[int, float]] = {}  # of a run, by encoding, and by the samples of a length
    step_ratio: dict[str, float]  # over plain attention, in the same model
    attention_ratio: dict[str, float]  # of attention alone
    attention_length: int
    steps: int = 0  # of a run; 0 before the first round
    samples: int = 0  # of a length in an evaluation; 0: those that were asked for
    rounds: list[Round] = []
    leaders: list[str] = []  # that alone get more seeds; empty: all do
    seconds: float = 0.0  # spent so far
    expected: float = 0.0  # that finished rounds would have taken by `step_seconds`
    measured: float = 0.0  # and took

    @property
    def encodings(self) -> list[str]:
        return list(self.step_seconds)

    @property
    def counted_seeds(self) -> list[int]:
        """The seeds that are compared: where the first one chose the leaders, those after it."""
        return [one.seed for one in self.current if one.seed or not self.leaders]

    @property
    def current(self) -> list[Round]:
        """The rounds with the present number of steps."""
        return [one for one in self.rounds if one.steps == self.steps]

    @property
    def slowdown(self) -> float:
        return self.measured / self.expected if self.expected else SLOWDOWN


def read(path: Path) -> Plan | None:
    """The plan of a file; None where there is none. Raises RunError for a file that is not one."""
    data = read_bytes(path)
    if data is None:
        return None
    try:
        return Plan.model_validate_json(unseal(data))
    except ValidationError as error:
        problem = ": ".join([*map(str, error.errors()[0]["loc"]), error.errors()[0]["msg"].lower()])
    except ValueError as error:
        problem = str(error)
    raise RunError(f"{path}: {problem}: delete the file; runs that are trained are kept")


def write(plan: Plan, path: Path) -> None:
    write_json(path, plan.model_dump())


def evaluation(plan: Plan, encoding: str) -> float:
    """Seconds of the evaluation of a run, with the samples of the plan; 0 where it was not measured."""
    by_samples = plan.evaluation_seconds.get(encoding, {})
    return by_samples.get(plan.samples or max(by_samples, default=0), 0.0)


def planned_seeds(most_seeds: int) -> int:
    """The seeds that are planned for at first: as many as an interval needs, or as were asked for if those are fewer."""
    return min(SEEDS, most_seeds)


def evaluated_samples(plan: Plan, most_seeds: int, seconds: float, workers: int) -> int:
    """The most samples with which evaluating all encodings takes EVALUATED of the time; the fewest if none do."""
    choices = sorted({samples for by_samples in plan.evaluation_seconds.values() for samples in by_samples}, reverse=True)
    for samples in choices:
        of_a_seed = sum(by_samples[samples] for by_samples in plan.evaluation_seconds.values())
        if planned_seeds(most_seeds) * plan.slowdown * of_a_seed / workers <= EVALUATED * seconds:
            return samples
    return choices[-1] if choices else 0


def fewer_samples(asked: int) -> list[int]:
    """As many samples as were asked for, half of them, a quarter, ... down to FEWEST_SAMPLES."""
    halves = [asked >> power for power in range(asked.bit_length())]
    return [samples for samples in halves if samples == asked or samples >= FEWEST_SAMPLES]


def expected_seconds(plan: Plan, encodings: Collection[str], steps: int, workers: int) -> float:
    """Seconds of one run of each encoding, by the measured steps."""
    runs = [steps * plan.step_seconds[name] + evaluation(plan, name) + RUN_SECONDS for name in encodings]
    return max(sum(runs) / workers, *runs)


def round_seconds(plan: Plan, encodings: Collection[str], steps: int, workers: int) -> float:
    """The same beside other runs, as the rounds so far have shown."""
    return plan.slowdown * expected_seconds(plan, encodings, steps, workers)


def first_steps(plan: Plan, most_seeds: int, seconds: float, workers: int) -> int | None:
    """The steps of a run that the time allows; None where not even one short run of each encoding fits.

    In this order: the steps asked for with three seeds of all encodings, or with as many as are allowed; at least half of them;
    three more seeds of the leaders alone; one seed.
    """
    every, asked = plan.encodings, plan.asked_steps
    if plan.fixed_steps:
        return asked if round_seconds(plan, every, asked, workers) <= seconds else None
    seeds = planned_seeds(most_seeds)
    rounds_of_leaders = min(seeds, 1 + SEEDS * min(LEADERS, len(every)) / len(every))
    of_all, of_leaders, of_one = (_steps_in(plan, seconds / rounds, workers) for rounds in (seeds, rounds_of_leaders, 1))
    if of_all >= ENOUGH * asked:
        return min(asked, of_all)
    steps = min(int(ENOUGH * asked), of_leaders)
    steps = steps if steps >= FEWEST * asked else min(fewest_steps(plan), of_one)
    return steps if steps >= fewest_steps(plan) else None


def fewest_steps(plan: Plan) -> int:
    """The steps below which nothing is trained; those of the user are not cut."""
    return plan.asked_steps if plan.fixed_steps else max(1, int(FEWEST * plan.asked_steps))


def _steps_in(plan: Plan, seconds: float, workers: int) -> int:
    """Steps of a run of each encoding in so many seconds, in round numbers."""
    alone = round_seconds(plan, plan.encodings, 0, workers)
    per_step = (round_seconds(plan, plan.encodings, 1000, workers) - alone) / 1000
    steps = int(max(0.0, seconds - alone) / per_step)
    return steps - steps % ROUND_STEPS if steps >= ROUND_STEPS else steps


def least_seconds(plan: Plan, workers: int) -> float:
    """Seconds for one seed of all encodings with the fewest steps."""
    return round_seconds(plan, plan.encodings, fewest_steps(plan), workers)


def planned_seconds(plan: Plan, most_seeds: int, workers: int) -> float:
    """Seconds for the planned seeds of all encodings with all steps."""
    return planned_seeds(most_seeds) * round_seconds(plan, plan.encodings, plan.asked_steps, workers)


def longer_steps(plan: Plan, most_seeds: int, learned: int, seconds: float, workers: int) -> int | None:
    """After the first seed, the steps to begin anew with where too few encodings learned their training length; else None.

    Where fewer than half did, twice the steps if the planned seeds fit; where none did, comparisons say nothing, so steps come
    before seeds: as many as one seed of all has time for.
    """
    if plan.fixed_steps or len(plan.current) != 1 or 2 * learned >= len(plan.encodings):
        return None
    most, double = MOST_STEPS * plan.asked_steps, 2 * plan.steps
    if planned_seeds(most_seeds) * round_seconds(plan, plan.encodings, double, workers) <= seconds and double <= most:
        return double
    steps = 0 if learned else min(most, _steps_in(plan, seconds, workers))
    return steps if steps >= double else None


def seconds_of_longer(plan: Plan, most_seeds: int, workers: int) -> float | None:
    """Seconds, those that were spent included, with which `longer_steps` begins anew; None where no time makes it do so."""
    double = 2 * plan.steps
    if plan.fixed_steps or len(plan.current) != 1 or double > MOST_STEPS * plan.asked_steps:
        return None
    return plan.seconds + planned_seeds(most_seeds) * round_seconds(plan, plan.encodings, double + ROUND_STEPS, workers)


def next_round(plan: Plan, encodings: list[str], most_seeds: int, seconds: float, workers: int) -> Round | None:
    """The next seed of these encodings; None where the time does not allow it, or all seeds are there."""
    seed = len(plan.current)
    if seed >= most_seeds or round_seconds(plan, encodings, plan.steps, workers) > seconds:
        return None
    slowest_first = sorted(encodings, key=lambda name: -plan.step_seconds[name])
    return Round(seed=seed, steps=plan.steps, encodings=slowest_first)


def only_leaders_fit(plan: Plan, encodings: list[str], most_seeds: int, seconds: float, workers: int) -> bool:
    """After the first seed: whether there is no time for three seeds of all encodings, but for three more of the leaders.

    The seed that chooses them is not compared, so they are not chosen where no more than three seeds are allowed.
    """
    if len(plan.current) != 1 or plan.leaders or len(encodings) <= LEADERS or most_seeds <= SEEDS:
        return False
    all_fit = (SEEDS - 1) * round_seconds(plan, encodings, plan.steps, workers) <= seconds
    leaders = sorted(encodings, key=lambda name: -plan.step_seconds[name])[:LEADERS]  # the slowest, to be sure
    return not all_fit and SEEDS * round_seconds(plan, leaders, plan.steps, workers) <= seconds

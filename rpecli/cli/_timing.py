"""Times what `rpe choose` plans with, in a share of its time; what that share does not suffice for is estimated or left out."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from rpecli import titles
from rpecli.cli._exit import USAGE, stop
from rpecli.cli._output import say
from rpecli.cli._study import Study
from rpecli.config.recipe import Config
from rpecli.launch import budget
from rpecli.launch.budget import Plan
from rpecli.table import duration, plural

if TYPE_CHECKING:
    import torch

PLANNED = 0.85  # of the time; the rest is for scalings, the report, and runs that take longer than expected
STEPS, EVALUATIONS, ALL = 0.15, 0.2, 0.25  # of the time, at which timing steps ends, timing evaluations, and timing attention
ROUGH = 0.5  # of what a first look says: if even that does not fit, nothing else is timed
TIMED_TOKENS = 4096  # of a batch by which evaluation is timed


@dataclass
class Clock:
    """Seconds of work, in this process and in those before it."""

    minutes: float
    earlier: float
    now: Callable[[], float] = time.monotonic
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.now()

    @property
    def spent(self) -> float:
        return self.earlier + self.now() - self.start

    def left(self, share: float = 1.0) -> float:
        return share * 60 * self.minutes - self.spent

    def is_over(self, share: float) -> bool:
        return self.left(share) <= 0


def measure(study: Study, clock: Clock, most_seeds: int, workers: int) -> Plan:
    """Times a training step of every encoding and of plain attention, in turn, an evaluation of each, and attention alone.

    All of it takes no more than a quarter of the time, apart from the measurement that is under way by then. Stops where a first
    look at the steps tells that the time is too short.
    """
    from rpecli import catalog
    from rpecli.bench import Options, in_turn, timing
    from rpecli.device import pick_device

    device = pick_device(study.device)
    looked = first_look(study, device, clock, most_seeds, workers)
    plain = next(name for name in catalog.names("encodings") if titles.constants("encodings", name).get("group") == "none")
    configs = {plain: study.config.model_copy(update={"encoding": plain}), **study.configs}
    steps = in_turn.step_timings(configs, device, _log, lambda: clock.is_over(STEPS))
    seconds = {name: steps[name].median / in_turn.STEPS if steps[name].rounds else looked[name] for name in study.configs}
    evaluations, validations = evaluation_timings(study, device, seconds, clock)
    alone = in_turn.attention_ratios(list(study.configs), Options(device=study.device), _log, lambda: clock.is_over(ALL))
    return Plan(
        asked_steps=study.config.steps, fixed_steps=study.fixed_steps,
        step_seconds={name: seconds[name] + validations[name] for name in study.configs},
        evaluation_seconds=evaluations,
        step_ratio={name: timing.ratio(steps[name], steps[plain]) for name in study.configs if steps[name].rounds},
        attention_ratio=alone, attention_length=in_turn.ATTENTION_LENGTH,
    )  # fmt: skip


def _log(text: str) -> None:
    say(text, err=True)


def first_look(study: Study, device: "torch.device", clock: Clock, most_seeds: int, workers: int) -> dict[str, float]:
    """Seconds of a training step of each encoding, by one step; stops at the first by which the time is far too short."""
    from rpecli.bench import in_turn

    looked = dict[str, float]()
    for name, config in study.configs.items():
        looked[name] = in_turn.quick_step(config, device, warm=1, steps=1)[0]
        plan = Plan(asked_steps=config.steps, fixed_steps=study.fixed_steps, step_seconds=looked, step_ratio={},
                    attention_ratio={}, attention_length=in_turn.ATTENTION_LENGTH)  # fmt: skip
        if ROUGH * budget.least_seconds(plan, workers) > clock.left(PLANNED):
            _stop_early(plan, study, clock, most_seeds, workers)
    return looked


def _stop_early(plan: Plan, study: Study, clock: Clock, most_seeds: int, workers: int) -> None:
    """Says how long it takes by the encodings that were looked at, as if the others were as slow."""
    share = len(plan.encodings) / len(study.configs)
    least, planned = (
        seconds / share for seconds in (budget.least_seconds(plan, workers), budget.planned_seconds(plan, most_seeds, workers))
    )
    needed = needed_text(plan, len(study.configs), most_seeds, least, planned)
    stop_too_short(clock, f"by a first look at {plural(len(plan.encodings), 'encoding')}, {needed}", planned / (PLANNED - ALL))


def stop_too_short(clock: Clock, why: str, seconds: float) -> NoReturn:
    """Stops before any run: the time does not suffice, and so many seconds would."""
    remedy = f"write --minutes {minutes_of(seconds)}, or fewer encodings (--encoding)"
    stop(f"--minutes {clock.minutes:g} is too short: {why}: {remedy}", USAGE)


def needed_text(plan: Plan, n_encodings: int, most_seeds: int, least: float, planned: float) -> str:
    """What the shortest plan and the whole one take beside the timing: one seed with the fewest steps, all seeds with all."""
    fewest, asked, seeds = budget.fewest_steps(plan), plan.asked_steps, budget.planned_seeds(most_seeds)
    text = f"one run of each of {n_encodings} encodings takes about {duration(least)} with {fewest:,} steps"
    if (seeds, fewest) == (1, asked):
        return text
    all_steps = f" with {asked:,} steps" * (asked != fewest)
    return f"{text}, and {plural(seeds, 'seed')} of each{all_steps} {duration(planned)}"


def minutes_of(seconds: float) -> str:
    """Minutes as a user types them, rounded up."""
    return f"{-(-seconds // 60):.0f}"


def evaluation_timings(
    study: Study, device: "torch.device", steps: dict[str, float], clock: Clock
) -> tuple[dict[str, dict[int, float]], dict[str, float]]:
    """Seconds of an evaluation by encoding and samples, and of the validations of a training step, from a few sequences each.

    The first is timed; when there is no time for another one, it is taken to be as much slower as its training step.
    """
    evaluations, validations = dict[str, dict[int, float]](), dict[str, float]()
    _log("timing a short evaluation of each")
    first = next(iter(study.configs))
    for name, config in study.configs.items():
        if name == first or not clock.is_over(EVALUATIONS):
            evaluations[name], validations[name] = _evaluation_timing(study, config, device)
            continue
        slower = steps[name] / steps[first]
        evaluations[name] = {samples: seconds * slower for samples, seconds in evaluations[first].items()}
        validations[name] = validations[first] * slower
    return evaluations, validations


def _evaluation_timing(study: Study, config: Config, device: "torch.device") -> tuple[dict[int, float], float]:
    from rpecli import model
    from rpecli.evaluate import cost

    loaded, settings = model.build(config, device), config.eval
    loaded.model.eval()
    of_sequence = cost.by_length(loaded, TIMED_TOKENS)
    evaluations = {
        samples: sum(
            seconds * settings.model_copy(update={"samples": samples}).n_sequences(loaded.task.sequence(length))
            for length, seconds in of_sequence.items()
        )
        for samples in ([settings.samples] if study.fixed_samples else budget.fewer_samples(settings.samples))
    }
    return evaluations, of_sequence[min(of_sequence)] * config.validation_samples / config.validate_every

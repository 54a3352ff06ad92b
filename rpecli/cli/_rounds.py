"""Trains what fits into the time of `rpe choose`, one seed of several encodings after another, and loads the results."""

import time
from dataclasses import dataclass, field

from rpecli.cli._execute import execute
from rpecli.cli._exit import FAILURE, stop
from rpecli.cli._output import say
from rpecli.cli._select import create_runs
from rpecli.cli._study import Study
from rpecli.cli._timing import PLANNED, Clock, measure, needed_text, stop_too_short
from rpecli.config.recipe import label
from rpecli.evaluate.request import EvalRequest
from rpecli.launch import budget
from rpecli.launch.budget import Plan, Round
from rpecli.launch.job import Job
from rpecli.report import stats
from rpecli.report.aggregate import TaskResults, aggregate
from rpecli.report.load import load_runs
from rpecli.report.measures import EXACT, scoring_of
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.table import duration, plural

BY_HEART = 0.05  # nats per token
NEARLY = 0.95  # of the time: what a third seed or a scaling may use; the rest is for the report


@dataclass
class Session:
    """A study, its plan and the time that is left."""

    study: Study
    plan: Plan
    clock: Clock
    workers: int
    most_seeds: int
    unmeasured: list[str] = field(default_factory=list)  # scalings for which no time was left

    def save(self) -> None:
        self.plan.seconds = round(self.clock.spent, 1)
        self.study.runs.mkdir(parents=True, exist_ok=True)
        budget.write(self.plan, self.study.plan_file)

    def runs(self, seeds: list[int] | None = None) -> list[Run]:
        """The runs with the present number of steps that are trained, of these seeds."""
        wanted = [one for one in self.plan.current if seeds is None or one.seed in seeds]
        runs = [self.study.run_of(name, one.seed, one.steps) for one in wanted for name in one.encodings]
        return [run for run in runs if _is_trained(run)]

    def failed(self) -> list[str]:
        """The encodings that lack a run of some seed."""
        return [name for name in self.study.configs if any(name in one.encodings and name not in self.trained(one.seed)
                                                           for one in self.plan.current)]  # fmt: skip

    def trained(self, seed: int = 0) -> list[str]:
        """The encodings whose run of a seed is trained."""
        names = {self.study.run_of(name, seed, self.plan.steps).name: name for name in self.study.configs}
        runs = {run.name for run in self.runs([seed])}
        return [name for id, name in names.items() if id in runs]


def _is_trained(run: Run) -> bool:
    try:
        return run.is_trained
    except RunError:
        return False


def open_session(study: Study, minutes: float, most_seeds: int) -> Session:
    """The plan of an earlier command, or a new one from timing a training step of every encoding."""
    from rpecli.launch import pool

    clock = Clock(minutes, 0.0)
    workers = max(1, study.jobs) if study.jobs is not None else pool.processes_for(len(study.configs), study.config.threads)
    plan = budget.read(study.plan_file)
    if plan is None:
        plan = measure(study, clock, most_seeds, workers)
    clock.earlier = plan.seconds
    return Session(study, plan, clock, workers, most_seeds)


def train(session: Session) -> None:
    """Every round that there is time for; what an earlier command began comes first."""
    plan = session.plan
    left = session.clock.left(PLANNED)
    plan.samples = plan.samples or budget.evaluated_samples(plan, session.most_seeds, left, session.workers)
    plan.steps = plan.steps or first_steps(session)
    try:
        for one in plan.current:
            execute_round(session, one)
        while another := next_round(session):
            plan.rounds.append(another)
            session.save()
            execute_round(session, another)
    finally:  # also where Ctrl-C ends it
        session.save()


def first_steps(session: Session) -> int:
    """The steps of a run; stops where there is no time for one run of each encoding."""
    plan, clock, seeds, workers = session.plan, session.clock, session.most_seeds, session.workers
    steps = budget.first_steps(plan, seeds, clock.left(PLANNED), workers)
    if steps is None:
        least, planned = budget.least_seconds(plan, workers), budget.planned_seconds(plan, seeds, workers)
        needed = needed_text(plan, len(plan.encodings), seeds, least, planned)
        stop_too_short(clock, f"{duration(clock.spent)} went to timing, and {needed}", (planned + clock.spent) / PLANNED)
    return steps


def next_round(session: Session) -> Round | None:
    """Longer runs where too few learn, more seeds of the leaders where there is no time for all, else the next seed of all."""
    plan, workers = session.plan, session.workers
    encodings = session.trained() if plan.current else plan.encodings
    if plan.current and not encodings:
        stop("no run could be trained: see above", FAILURE)
    left = session.clock.left(NEARLY if len(plan.current) < budget.SEEDS else PLANNED)
    if longer := budget.longer_steps(plan, session.most_seeds, _learned(session), session.clock.left(PLANNED), workers):
        plan.steps = longer
        say(f"Too few encodings learned the training length: runs of {plan.steps:,} steps now.", err=True)
        return budget.next_round(plan, plan.encodings, session.most_seeds, left, workers)
    if budget.only_leaders_fit(plan, encodings, session.most_seeds, left, workers):
        plan.leaders = leaders(session)
    return budget.next_round(plan, plan.leaders or encodings, session.most_seeds, left, workers)


def _learned(session: Session) -> int:
    """How many encodings learned their training length, by their last validation; all where that is not known of a task."""
    runs = session.runs([0])
    if not runs or scoring_of(runs[0].record).decides is not EXACT:
        return len(session.plan.encodings)
    return sum(lines[-1]["exact_match"] >= stats.SOLVED for run in runs if (lines := run.metrics()))


def knows_by_heart(session: Session) -> bool:
    """Whether the training loss of some run is near 0: its rows are learned, and held-out ones are not told by them."""
    lines = [run.metrics() for run in session.runs()]
    return any(one[-1]["loss"] < BY_HEART for one in lines if one)


def leaders(session: Session) -> list[str]:
    """The encodings that the first seed puts first; it is not compared afterwards."""
    from rpecli.report.recommendation import recommend

    (task,) = results(session, [0])
    labels = [one.label for one in recommend(task, {}).candidates[: budget.LEADERS]]
    return [name for name in session.study.configs if label(name) in labels]


def execute_round(session: Session, one: Round) -> None:
    """Trains and evaluates what is missing of a round, and learns from it how long rounds take."""
    from rpecli.evaluate.asked import is_answered

    study, plan = session.study, session.plan
    configs = [study.config_of(name, one.seed, one.steps) for name in one.encodings]
    ids = {config.id for config in configs}
    done = {run.name for run in session.runs([one.seed]) if run.name in ids and is_answered(run, request(session))}
    if len(done) == len(configs):
        return
    runs, _ = create_runs(configs, study.name, study.runs, done)
    todo = [run for run in runs if run.name not in done]
    fresh = len(todo) == len(configs) and not any(run.checkpoint_file.exists() or run.is_trained for run in todo)
    expected = budget.expected_seconds(plan, one.encodings, one.steps, session.workers)
    say(
        f"Seed {one.seed}: {plural(len(todo), 'run')} of {one.steps:,} steps, about {duration(expected * plan.slowdown)}.",
        err=True,
    )
    start = time.monotonic()
    jobs = [Job(run, train=not run.is_trained, request=request(session), device=study.device) for run in todo]
    execute(jobs, study.jobs, stop_on_failure=False)
    if fresh:
        plan.expected += expected
        plan.measured += time.monotonic() - start


def request(session: Session) -> EvalRequest:
    """How every run is evaluated: as asked, with as many samples as there is time for."""
    settings = session.study.config.eval
    return EvalRequest(settings.model_copy(update={"samples": session.plan.samples or settings.samples}))


def evaluate_scalings(session: Session) -> dict[Run, list[EvalRequest]]:
    """Each trained run whose encoding has scalings of its frequencies and none yet, measured with each that there is time for.

    A scaling takes as long as the evaluations of these runs have taken. By run, what was asked.
    """
    from rpecli.cli._requests import can_be_scaled, eval_requests
    from rpecli.encodings._rotary import SCALINGS
    from rpecli.evaluate.asked import asked_lines, is_answered

    runs = [run for run in session.runs() if can_be_scaled(run.config.encoding)]
    asked: dict[Run, list[EvalRequest]] = {run: [] for run in runs}
    if not runs or session.study.lengths[-1] <= session.study.config.length:
        return {}
    for scaling in reversed(SCALINGS[1:]):  # the newest first
        settings = request(session).settings
        assert settings
        requests, _ = eval_requests(runs, EvalRequest(), settings.model_dump(), None, scaling)
        todo = [run for run, one in requests.items() if not is_answered(run, one)]
        taken = sum(line["seconds"] for run in todo for line in asked_lines(run, request(session)).values())
        if todo and taken > session.clock.left(NEARLY):
            session.unmeasured.append(scaling)
            continue
        for run, one in requests.items():
            asked[run].append(one)
        jobs = [Job(run, train=False, request=requests[run], device=session.study.device) for run in todo]
        execute(jobs, 0, stop_on_failure=False)  # in this process, where torch is loaded: that takes less than a process each
    return asked


def results(
    session: Session, seeds: list[int] | None = None, scalings: dict[Run, list[EvalRequest]] | None = None
) -> list[TaskResults]:
    """The results of the trained runs at the lengths that were asked for, and with the scalings that were measured."""
    from rpecli.evaluate.asked import asked_lines

    runs = session.runs(seeds)
    requests = {run: [request(session), *(scalings or {}).get(run, [])] for run in runs}
    lines = {run: [line for one in requests[run] for line in asked_lines(run, one).values()] for run in runs}
    loaded = load_runs((run.path for run in runs), keep=lambda run, line: line in lines[run])
    return aggregate(loaded.runs)

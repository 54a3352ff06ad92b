"""`rpe choose`: says which encoding to use on a task, such as your own data, from runs that fit into a given time."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._execute import Workplace
from rpecli.cli._exit import FAILURE, USAGE, stop
from rpecli.cli._inputs import check_device
from rpecli.cli._output import check_report_place, command_line, print_json, say, text_width
from rpecli.table import plural

if TYPE_CHECKING:
    from rpecli.cli._rounds import Session
    from rpecli.launch.budget import Plan
    from rpecli.report.recommendation import Recommendation
    from rpecli.report.recommendation_text import Costs

MOST_SEEDS = 10
LATE = 1.1  # times --minutes, from which on it is said
EXAMPLES = """
Examples:
  # which encoding for my data? Ten minutes; longer rows decide
  rpe choose --data pairs.jsonl --lengths 1x:4x --minutes 10

  # columns with other names, and a training length of your own
  rpe choose --data pairs.csv:input=question:target=answer --length 20

  # on a task that ships, with your own encoding among the candidates
  rpe choose --task recall --add-encoding ./mine.py
"""


def choose(
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="Your rows, as for the task data: pairs.jsonl, or FILE:option=value.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="A task, in place of --data.", autocompletion=flags.complete_names("tasks"))
    ] = None,
    encoding: Annotated[
        str, typer.Option(help="The candidates.", autocompletion=flags.complete_names("encodings"))
    ] = "baselines",
    add_encoding: flags.AddEncoding = None,
    lengths: Annotated[str, typer.Option(help="Tested lengths; those beyond the training length decide.")] = "1x:4x",
    length: Annotated[
        int | None,
        typer.Option(min=1, help="Training length; else that of the task, and with --data one of which there are multiples."),
    ] = None,
    minutes: Annotated[float, typer.Option(help="Time for all of it, that of earlier calls included.")] = 10.0,
    seeds: Annotated[int, typer.Option(min=1, help="The most seeds per encoding.")] = MOST_SEEDS,
    sets: flags.Sets = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    device: flags.Device = "auto",
    name: Annotated[str | None, typer.Option(help="Name of the report; by default choose-TASK.")] = None,
    out: flags.Out = Path("results"),
    as_json: flags.Json = False,
) -> None:
    """Say which encoding to use: train candidates on a task or on your own rows within a time, and compare them.

    Steps follow from the time and from validation on training lengths; seeds are added while time allows. Started again, it goes
    on where it was stopped; with more minutes, it adds seeds.
    """
    from rpecli.cli import _rounds
    from rpecli.cli._study import data_choice, read_study

    if (data is None) == (task is None):
        stop("name what to choose for: --data FILE, your own rows, or --task NAME, and not both", USAGE)
    if not 0 < minutes < 1e6:
        stop(f"--minutes {minutes:g}: write a number above 0", USAGE)
    check_device(device)
    Workplace(device, jobs).open()
    keys = {"task": data_choice(data) if data is not None else str(task), "encoding": encoding, "lengths": lengths}
    keys |= {} if length is None else {"length": str(length)}
    study = read_study(keys, sets, add_encoding, (runs, jobs, device))
    name = study.name if name is None else name
    check_report_place(name, out)
    session = _rounds.open_session(study, minutes, seeds)
    _rounds.train(session)
    scalings = _rounds.evaluate_scalings(session)
    session.save()
    _tell(session, scalings, as_json)
    page = _write_page(session, name, out)
    if not as_json:
        say(f"\nPage: {page}")
    if session.failed():
        raise SystemExit(FAILURE)


def _tell(session: "Session", scalings: dict[Any, Any], as_json: bool) -> None:
    """The answer, in words or as data."""
    from rpecli.cli import _rounds
    from rpecli.report import recommendation_text as text
    from rpecli.report.recommendation import recommend
    from rpecli.report.write.text import overview_lines, wrap

    plan, width = session.plan, text_width()
    (every,) = _rounds.results(session, scalings=scalings)
    (compared,) = _rounds.results(session, plan.counted_seeds, scalings)
    costs = _costs(plan)
    result = recommend(compared, costs.step)
    answer = text.answer(result, compared)
    paragraphs = [*text.details(result, compared, costs), *_done(session, result), *_settling(session, result)]
    if as_json:
        print_json(_data(session, result, answer, paragraphs))
        return
    first, *more = wrap(answer, width)
    say(first, bold=True)
    say("\n".join(more), bold=True) if more else None
    for paragraph in paragraphs:
        say("\n".join(["", *wrap(paragraph, width)]))
    say("\n".join(["", *overview_lines(text.ranking(result, [every], costs), width)]))


def _costs(plan: "Plan") -> "Costs":
    from rpecli.config.recipe import label
    from rpecli.report.recommendation_text import Costs

    step, attention = (
        {label(name): ratio for name, ratio in ratios.items()} for ratios in (plan.step_ratio, plan.attention_ratio)
    )
    return Costs(step, attention, plan.attention_length)


def _done(session: "Session", result: "Recommendation") -> list[str]:
    """What was trained, and what was cut to fit into the time."""
    plan, config = session.plan, session.study.config
    runs = session.runs()
    first = (
        f"{plural(len(runs), 'run')} of {plan.steps:,} steps on lengths up to {config.length} in "
        f"{plan.seconds / 60:.1f} of {session.clock.minutes:g} minutes; no tested length decided the steps or the learning rate."
    )
    return [" ".join([first, *_cuts(session)])]


def _cuts(session: "Session") -> list[str]:
    plan, asked = session.plan, session.study.config.eval.samples
    cuts = _untimed(session)
    if plan.samples and plan.samples < asked:
        cuts.append(f"Cut: {plan.samples} test sequences a length in place of {asked}.")
    if session.unmeasured:
        cuts.append(f"Left out, since no time was left: scaling={', '.join(session.unmeasured)}.")
    cuts += _overrun(session)
    if failed := session.failed():
        cuts.append(f"Left out: {session.study.titles(failed)}, of which a run failed (told above).")
    if plan.steps < plan.asked_steps:
        cuts.append(f"Cut: {plan.steps:,} steps a run in place of {plan.asked_steps:,}.")
    if plan.steps > plan.asked_steps:
        cuts.append(f"Raised: {plan.steps:,} steps in place of {plan.asked_steps:,}, since too few learned the training length.")
    if plan.leaders:
        names = session.study.titles(plan.leaders)
        cuts.append(f"Cut: only the first three of seed 0 ({names}) got more seeds; seed 0, which chose them, is not compared.")
    elif len(plan.current) < 3 and len(plan.current) == session.most_seeds:
        cuts.append(f"{plural(len(plan.current), 'seed').capitalize()}, as asked (--seeds); an interval needs three.")
    elif len(plan.current) < 3:
        cuts.append(f"Cut: {plural(len(plan.current), 'seed')}; an interval needs three.")
    return cuts


def _overrun(session: "Session") -> list[str]:
    """Why it took longer than `--minutes`, if it did."""
    most = LATE * 60 * session.clock.minutes
    if session.clock.earlier > most:
        return ["Earlier calls took longer than --minutes, so that no seed was added."]
    if session.plan.seconds > most:
        return ["It took longer than --minutes, since runs took longer than what was timed: is the machine busy?"]
    return []


def _untimed(session: "Session") -> list[str]:
    """What the share of timing did not suffice for, which the table and the cost lack."""
    plan, titles = session.plan, session.study.titles
    of = {"a training step": plan.step_ratio, f"attention at {plan.attention_length:,} tokens": plan.attention_ratio}
    missing = {what: [name for name in plan.encodings if name not in ratios] for what, ratios in of.items()}
    texts = [f"{what} with {titles(names)}" for what, names in missing.items() if names]
    return [f"Not timed in turn, since timing takes a quarter of --minutes at most: {'; '.join(texts)}."] if texts else []


def _settling(session: "Session", result: "Recommendation") -> list[str]:
    """What would decide it."""
    from rpecli.cli import _rounds
    from rpecli.launch import budget
    from rpecli.report.recommendation import OPEN, UNLEARNED
    from rpecli.report.sample_size import MOST

    plan, clock = session.plan, session.clock
    if result.outcome == UNLEARNED and _rounds.knows_by_heart(session):
        return ["More minutes will not help: these runs fit their training rows and fail on held-out ones. Add rows of up to "
                f"{session.study.config.length} tokens, or train on longer ones too (--length)."]  # fmt: skip
    if result.outcome == UNLEARNED:
        longer = budget.seconds_of_longer(plan, session.most_seeds, session.workers)
        more = f"a larger --set steps than {plan.steps}"
        if longer is not None:
            more = _again(max(2 * clock.minutes, longer / 60 / _rounds.PLANNED), session.most_seeds)
        return [f"To settle it: {more}. If the answers cannot be predicted better, read the table as it stands."]
    if result.outcome != OPEN:
        return []
    if result.seeds_needed is None:
        return [
            f"More than {MOST} seeds would be needed to settle it: the difference is small against its spread. Let cost decide."
        ]
    missing = result.seeds_needed - result.best.seeds
    encodings = plan.leaders or list(session.study.configs)
    seconds = plan.seconds + missing * budget.round_seconds(plan, encodings, plan.steps, session.workers)
    needed = result.seeds_needed + len(plan.current) - len(plan.counted_seeds)
    command = _again(max(seconds / 60 / _rounds.PLANNED, clock.minutes), max(session.most_seeds, needed))
    return [f"To settle it, about {result.seeds_needed} seeds: {command}"]


def _again(minutes: float, seeds: int) -> str:
    """The same command with more time."""
    text = re.sub(r" --(?:minutes|seeds)[ =]\S+", "", command_line())
    more = f" --minutes {-(-minutes // 1):.0f}"
    return text + more + ("" if seeds == MOST_SEEDS else f" --seeds {seeds}")


def _data(session: "Session", result: "Recommendation", answer: str, paragraphs: list[str]) -> dict[str, Any]:
    """What `--json` prints."""
    plan = session.plan
    difference = lambda one: None if one is None else one.model_dump()  # noqa: E731
    return {
        "answer": answer,
        "details": paragraphs,
        "outcome": result.outcome,
        "choice": result.choice.label,
        "measure": result.measure.key,
        "lengths": result.lengths,
        "candidates": [
            asdict(one) | {"behind": difference(one.behind), "step_ratio": _costs(plan).step.get(one.label),
                           "attention_ratio": _costs(plan).attention.get(one.label)}
            for one in result.candidates
        ],
        "pretrained": [
            {"title": one.title, "score": one.score,
             "scaled": [asdict(scaled) | {"gain": difference(scaled.gain)} for scaled in one.scaled]}
            for one in result.pretrained
        ],
        "seeds_needed": result.seeds_needed,
        "plan": plan.model_dump(),
        "runs": [str(run.path) for run in session.runs()],
    }  # fmt: skip


def _write_page(session: "Session", name: str, out: Path) -> Path:
    """The report of the runs, with every table and figure."""
    from rpecli.report import build
    from rpecli.report.load import ReportError

    try:
        build.build_report([run.path for run in session.runs()], name, out, command_line())
    except ReportError as error:
        stop(str(error), FAILURE)
    return out / name / "report.html"

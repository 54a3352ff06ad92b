"""`rpe reproduce`: runs published settings to the letter of their protocol, and prints published numbers beside ours."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._execute import Workplace, left_to_do
from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.cli._output import print_json, print_tables, say
from rpecli.cli._select import create_runs, warn_of
from rpecli.device import n_cores
from rpecli.evaluate.request import EvalRequest
from rpecli.launch.receipt import is_done
from rpecli.run.directory import Run, directories, readable_runs
from rpecli.run.files import RunError
from rpecli.run.problems import Message
from rpecli.table import duration, few, plural

if TYPE_CHECKING:
    from rpecli.config.recipe import Config
    from rpecli.config.settings import EvalSettings
    from rpecli.reproduce.outcome import SeedResult
    from rpecli.reproduce.paper import Cell, Paper

EXAMPLES = """
Examples:
  # the papers that ship
  rpe reproduce

  # the cells of one of them, with what they cost on this machine (minutes)
  rpe reproduce crasp --list

  # published and ours, side by side
  rpe reproduce crasp --cells binary-majority

  # what fits into half an hour
  rpe reproduce crasp --budget 30m
"""
OF_PAPER = ("--cells", "--budget", "--show", "--seeds", "--runs", "--jobs", "--on", "--nproc", "--stack", "--device")
BUDGET = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)")
SEED = re.compile(r"-s(\d+)-[0-9a-f]+$")
UNIT = {"s": 1, "m": 60, "h": 3600}


def reproduce(
    paper: Annotated[str | None, typer.Argument(help="A paper (rpe reproduce lists them), or a file of the same form.")] = None,
    cells: Annotated[
        str | None, typer.Option(metavar="CELL,...", help="Only these cells: names, beginnings of names, or patterns with *.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Seeds of every cell: 0, 1, ...")] = 3,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only the cheapest cells that fit into 30m, 2h or 90s.")
    ] = None,
    list_cells: Annotated[
        bool, typer.Option("--list", help="List the cells and their cost here, of all papers if none is named; run nothing.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Show what was run so far, of all seeds unless --seeds is given; run nothing.")
    ] = False,
    runs: flags.Runs = Path("runs/papers"),
    jobs: flags.Jobs = None,
    on: flags.On = None,
    nproc: flags.Nproc = 1,
    stack: flags.Stack = "auto",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Run published settings and print published numbers beside ours.

    Started again, it does only what is missing.
    """
    from rpecli.reproduce import paper as papers
    from rpecli.reproduce import tables

    flags.one_of("--list", "--show", "--budget", why="--list and --show run nothing")
    flags.one_of("--list", "--show", "--on", why="--list and --show run nothing")
    flags.one_of("--list", "--seeds", why="--list tells the cost of one seed")
    if on is not None:
        flags.refuse(flags.given("--budget"), f"with --on {on} runs take the time of other machines (--cells chooses cells)")
    if paper is None:
        flags.refuse(flags.given(*OF_PAPER), "a paper is needed (rpe reproduce lists them)")
        shipped = {name: papers.load(name) for name in papers.names()}
        if list_cells:
            _list({name: (one, one.cells) for name, one in shipped.items()}, as_json)
        elif as_json:
            print_json([tables.paper_record(name, one) for name, one in shipped.items()])
        else:
            print_tables(tables.papers_table(shipped))
        return
    if list_cells or show:
        runs_nothing = f"{'--list' if list_cells else '--show'} runs nothing"
        flags.refuse(flags.given("--jobs", "--nproc", "--stack", "--device"), runs_nothing)
    place = Workplace.of(on, device, jobs, nproc, None, stack)
    limit = _seconds(budget)
    try:
        loaded = papers.load(paper)
    except papers.PaperError as error:
        stop(str(error), USAGE)
    chosen = _choose(loaded, cells)
    if show and not flags.given("--seeds"):
        seeds = max(seeds, _seeds_there(runs))
    if not show:  # those whose runs are there were checked before
        _check(loaded, paper, [c for c in chosen if not all((runs / config.id).is_dir() for config in loaded.configs(c, seeds))])
    if list_cells:
        _list({paper: (loaded, chosen)}, as_json)
        return
    if limit is not None:
        chosen = _within(loaded, chosen, limit, seeds, jobs, _done(loaded, chosen, seeds, runs))
    configs = {config.id: config for cell in chosen for config in loaded.configs(cell, seeds)}
    failed = False if show else _run(loaded, configs, paper, runs, place)
    results, problems = _results(loaded, chosen, seeds, runs)
    warn_of(problems, runs)
    _print_outcomes(loaded, chosen, seeds, results, as_json)
    if failed or problems:
        raise SystemExit(FAILURE)


def _seeds_there(folder: Path) -> int:
    """How many seeds 0, 1, ... the runs of a folder have, by their names."""
    seeds = [int(match[1]) for path in directories(folder) if (match := SEED.search(path.name))]
    return max(seeds, default=-1) + 1


def _done(paper: "Paper", cells: list["Cell"], seeds: int, folder: Path) -> set[str]:
    """The runs of cells that are trained, and evaluated in every bin."""
    return set(_results(paper, cells, seeds, folder)[0])


def _results(paper: "Paper", cells: list["Cell"], seeds: int, folder: Path) -> tuple[dict[str, "SeedResult"], list[Message]]:
    """What each of these runs came to, by its id; and what is wrong with those that cannot be read."""
    from rpecli.reproduce import outcome

    ids = {config.id for cell in cells for config in paper.configs(cell, seeds)}
    runs, problems = readable_runs(path for path in directories(folder) if path.name in ids)
    results = {}
    for run in runs:
        try:
            if result := outcome.seed_result(paper, run):
                results[run.name] = result
        except RunError as error:
            problems.append((run.path, str(error)))
    return results, problems


def _check(paper: "Paper", file: str, cells: list["Cell"]) -> None:
    """Stops where a run of a cell cannot be trained, or evaluated in every bin; names the paper's file."""
    from rpecli import task
    from rpecli.evaluate.eval_set import eval_lengths
    from rpecli.launch import preflight

    by_cell = {cell.name: paper.configs(cell, 1)[0] for cell in cells}
    problems = {config.id: f"{key}: {text}" for config, key, text in preflight.problems_of_runs(list(by_cell.values()))}
    for name, config in by_cell.items():
        if problem := problems.get(config.id):
            stop(f"{file}: cell {name}: {problem}", USAGE)
        for number, settings in enumerate(paper.evaluations(config)):
            one = config.model_copy(update={"eval": settings})
            lengths = eval_lengths(one, task.build(one.evaluated_task))
            test_set = settings.eval_task if number else None
            for first, last in (part.lengths for part in paper.bins if part.task == test_set):
                if not any(first <= length <= last for length in lengths):
                    where = f"{one.evaluated_task} is evaluated at no length from {first} to {last}"
                    stop(f"{file}: cell {name}: {where}: change the bins", USAGE)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = BUDGET.fullmatch(text)
    if not match or not float(match[1]):
        stop(f"--budget {text}: write a time such as 30m, 2h or 90s", USAGE)
    return float(match[1]) * UNIT[match[2]]


def _choose(paper: "Paper", text: str | None) -> list["Cell"]:
    """The cells that a list of names, beginnings and patterns means, in the order of the paper."""
    from rpecli import catalog

    if text is None:
        return paper.cells
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not any(_means(word, cell.name) for cell in paper.cells):
            stop(f"--cells: {catalog.unknown('cell', word, [*paper.tasks, *paper.by_name])}  (rpe reproduce --list)", USAGE)
    return [cell for cell in paper.cells if any(_means(word, cell.name) for word in words)]


def _means(word: str, name: str) -> bool:
    return name == word or name.startswith(word.rstrip("/") + "/") or fnmatchcase(name, word)


def _list(papers: Mapping[str, tuple["Paper", list["Cell"]]], as_json: bool) -> None:
    """The cells of papers with what they cost here, each paper as soon as it is measured; one list as JSON."""
    from rpecli.reproduce import tables

    records = []
    for name, (paper, cells) in papers.items():
        seconds = _cost(paper, cells, f" of {name}")
        if as_json:
            records += [tables.cell_record(name, paper, cell, seconds[cell.name]) for cell in cells]
        else:
            print_tables(tables.cells_table(paper, cells, seconds))
    if as_json:
        print_json(records)


def _cost(paper: "Paper", cells: list["Cell"], of: str = "") -> dict[str, float]:
    """The seconds of one run of each cell; a run that several cells share is measured once."""
    from rpecli.reproduce.cost import run_seconds

    say(f"Measuring a few steps of {plural(len(cells), 'cell')}{of} ...", err=True)
    by_id: dict[str, float] = {}
    seconds = {}
    for cell in cells:
        config = paper.configs(cell, 1)[0]
        if config.id not in by_id:
            by_id[config.id] = run_seconds(config)
        seconds[cell.name] = by_id[config.id]
    return seconds


def _within(paper: "Paper", cells: list["Cell"], limit: float, seeds: int, jobs: int | None, done: set[str]) -> list["Cell"]:
    """The cheapest cells whose missing runs, so many at a time, take no longer than a limit; what is left out is said."""
    seconds = _cost(paper, cells)
    at_once = max(1, n_cores() if jobs is None else jobs)
    left, fitting, counted = limit * at_once, set[str](), done
    for cell in sorted(cells, key=lambda cell: seconds[cell.name]):
        new = {config.id for config in paper.configs(cell, seeds)} - counted
        cost = len(new) * seconds[cell.name]
        if cost <= left:
            left, counted = left - cost, counted | new
            fitting.add(cell.name)
    if not fitting:
        missing = {cell.name: len({config.id for config in paper.configs(cell, seeds)} - done) for cell in cells}
        cheapest = min(missing, key=lambda name: missing[name] * seconds[name])
        needed = missing[cheapest] * seconds[cheapest] / min(missing[cheapest], at_once)
        stop(f"--budget: no cell fits: the cheapest, {cheapest}, needs about {duration(needed)}", USAGE)
    if omitted := [cell.name for cell in cells if cell.name not in fitting]:
        warn(f"{plural(len(omitted), 'cell')} left out, over the budget: {few(omitted, 3)}")
    return [cell for cell in cells if cell.name in fitting]


def _run(paper: "Paper", configs: dict[str, "Config"], name: str, folder: Path, place: Workplace) -> bool:
    """Trains and evaluates what is missing, one test set after another; whether a run failed."""
    evaluations = {id: paper.evaluations(config) for id, config in configs.items()}
    failed = False
    for number in range(max(map(len, evaluations.values()))):
        failed |= _run_set(configs, {id: sets[number] for id, sets in evaluations.items()}, name, folder, place)
    return failed


def _run_set(
    configs: dict[str, "Config"], settings: dict[str, "EvalSettings"], name: str, folder: Path, place: Workplace
) -> bool:
    work = {id: place.job(Run(folder / id), EvalRequest(settings[id])) for id in configs}
    done = {id for id, job in work.items() if is_done(job, configs[id])}
    if len(done) == len(work):
        return False
    place.open()
    created, unusable = create_runs(list(configs.values()), Path(name).stem, folder, done)
    return place.do(left_to_do(work, created, done)) or bool(unusable)


def _print_outcomes(paper: "Paper", cells: list["Cell"], seeds: int, results: Mapping[str, "SeedResult"], as_json: bool) -> None:
    from rpecli.reproduce import order, outcome, tables

    outcomes = [
        outcome.outcome(paper, cell, [results[config.id] for config in paper.configs(cell, seeds) if config.id in results])
        for cell in cells
    ]
    orders = order.orders(outcomes, paper.best_is_least) if paper.compare == "order" else []
    if as_json:
        records = [tables.record(each) for each in outcomes]
        ordered = {"cells": records, "orders": [tables.order_record(each) for each in orders]}
        print_json(ordered if paper.compare == "order" else records)
        return
    print_tables(tables.outcome_table(paper, outcomes), *([tables.order_table(orders)] if orders else []))
    if paper.compare == "order":
        return
    with_verdict = [each for each in outcomes if each.verdict == outcome.AGREES or each.verdict.startswith("differs")]
    agreeing = sum(each.verdict == outcome.AGREES for each in with_verdict)
    agree = "agrees" if agreeing == 1 else "agree"
    say(f"{agreeing} of {plural(len(with_verdict), 'cell')} with a verdict {agree}; {len(outcomes) - len(with_verdict)} without.")

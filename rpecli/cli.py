"""The commands: train, eval, report, run, ls, show, inspect, check, bench, data.

The only file that prints; heavy imports live inside functions, so that `rpe --help` answers at once.
"""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from rpecli import flags

if TYPE_CHECKING:
    from rpecli.order import Job, Order
    from rpecli.recipe import Recipe, Source

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A bench for positional encodings and length generalization.",
    epilog="Start here: rpe run quick. One by one: rpe train --encoding rope, rpe eval --lengths 512:4096, rpe report.",
)
USAGE, FAILURE, SAVED, INTERRUPTED = 2, 1, 75, 130


def main() -> None:
    """The `rpe` command: every error a line or two on stderr, and a fixed exit code."""
    from rpecli.content import ContentError
    from rpecli.run import RunError

    try:
        app()
    except (_Interrupted, KeyboardInterrupt):
        _stop("interrupted; start the same command again to go on", INTERRUPTED)
    except _Terminated:
        _stop("stopped by SIGTERM after saving; start the same command again to go on", SAVED)
    except ContentError as error:
        _stop(str(error), USAGE)
    except RunError as error:
        _stop(str(error), FAILURE)


def _stop(message: str, code: int) -> NoReturn:
    _warn(message, "red")
    raise SystemExit(code)


def _warn(message: str, colour: str = "yellow") -> None:
    """To stderr, a line at a time; typer knows nothing of NO_COLOR."""
    for line in message.splitlines():
        typer.secho(line, err=True, fg=None if os.environ.get("NO_COLOR") else colour)


class _Interrupted(BaseException):
    """Ctrl-C, by a name that typer does not know: it would end the command without a word."""


class _Terminated(BaseException):
    """SIGTERM, as an exception, so that `finally` blocks stop the children."""


@contextmanager
def _terminable() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _Terminated

    old = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


@app.command()
@flags.takes_recipe_keys()
def train(
    given: dict[str, str],
    recipe: flags.MaybeRecipeName = None,
    sets: flags.Sets = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    stack: flags.Stack = "auto",
    device: flags.Device = "auto",
) -> None:
    """Train: every task x encoding x positions x seed is a run. Defaults < recipe < flags; every key but by_task is a flag."""
    from rpecli import order

    made, source = _recipe(recipe, given, sets)
    paths = _create(made, source, runs)
    todo = [order.Job(path, train=True, device=device) for path in paths if not _trained(path)]
    stacked = _stacked(todo, stack, device)
    if len(todo) < len(paths):
        typer.echo(f"{len(paths) - len(todo)} of {len(paths)} runs are trained already.")
    _execute(stacked, jobs)
    _show_runs(paths)
    typer.echo(f"Next: rpe eval --lengths 512:4096{'' if runs == Path('runs') else f' --runs {runs}'}")


@app.command("eval")
@flags.takes_recipe_keys("lengths", "samples", "eval_tokens", "eval_seed", "eval_positions")
def evaluate(
    given: dict[str, str],
    names: flags.RunNames = None,
    again: flags.Again = False,
    data: flags.Data = None,
    encoding: flags.As = None,
    rope_scaling: flags.RopeScaling = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    device: flags.Device = "auto",
) -> None:
    """Evaluate runs at lengths, and always at the training length. What has been evaluated is not evaluated again."""
    from rpecli import order

    asked = _order(given, again, data)
    ready = _ready(runs, names)
    wanted = _orders(asked, ready, encoding, rope_scaling)
    _warn_of_lengths(ready, given.get("lengths"))
    _execute([order.Job(path, train=False, order=wanted[path], device=device) for path in ready], jobs)
    _show_lengths(ready)
    typer.echo(f"Next: rpe report{'' if runs == Path('runs') else f' --runs {runs}'}")


@app.command()
def report(
    names: flags.RunNames = None,
    runs: flags.Runs = Path("runs"),
    recipe: Annotated[
        str | None, typer.Option(help="Only the runs of this recipe.", autocompletion=flags.complete_names("recipes"))
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Two studies side by side: reports, folders of runs, runs or recipes."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="First follow the runs until none is waiting or at work.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks, with --watch.")] = 2.0,
    name: flags.Name = None,
    out: flags.Out = Path("results"),
    as_json: flags.Json = False,
) -> None:
    """Write tables and figures of runs to results/NAME/ and show the tables; or set two studies side by side."""
    if compare is not None:
        more = [*(names or []), *filter(None, [recipe]), *(["--watch"] if watch else [])]
        _compare(compare, more, runs, out, name, as_json)
        return
    wanted = None
    if recipe is not None:
        made, source = _load(recipe, {})
        wanted, name = {config.id for config in made.configs()}, name or source.name
    if watch:
        _watch(runs, names, wanted, every)
    paths = [path for path in _select(runs, names) if wanted is None or path.name in wanted]
    _report(paths, name, out, as_json)


@app.command()
@flags.takes_recipe_keys()
def run(
    given: dict[str, str],
    recipe: flags.RecipeName,
    sets: flags.Sets = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    stack: flags.Stack = "auto",
    device: flags.Device = "auto",
    name: flags.Name = None,
    out: flags.Out = Path("results"),
    as_json: flags.Json = False,
) -> None:
    """Train, evaluate and report a recipe; started again it does only what is missing."""
    from rpecli import order
    from rpecli.recipe import NOT_IDENTITY

    made, source = _recipe(recipe, given, sets)
    paths = _create(made, source, runs)
    wanted = {config.id: order.Order(tuple((k, getattr(config, k)) for k in sorted(NOT_IDENTITY))) for config in made.configs()}
    todo = [order.Job(p, train=not _trained(p), order=wanted[p.name], device=device) for p in paths]
    failed = _execute(_stacked(todo, stack, device), jobs, end=False)
    _report(paths, name or source.name, out, as_json)
    if failed:
        raise SystemExit(FAILURE)


@app.command("ls")
def listing(
    kind: Annotated[str, typer.Argument(help="encodings, tasks, recipes or runs.")] = "encodings",
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
) -> None:
    """List encodings, tasks, recipes or runs."""
    from rpecli import content, tables

    kinds = [*content.SUFFIX, "runs"]
    if kind not in kinds:
        _stop(f"unknown kind {kind!r}: {content.nearest(kind, kinds)}", USAGE)
    if kind == "runs":
        paths = _select(runs, None)
        _json([_info(path) for path in paths]) if as_json else _show_runs(paths)
        return
    rows = tables.rows(kind)
    _json(rows) if as_json else _show(tables.rich_table(rows))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A run (id, path, pattern), or an encoding (rope, rope:base=500, ./mine.py).")],
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
    out: Annotated[Path | None, typer.Option(help="Write the figure of an encoding: FILE.svg, .png or .pdf.")] = None,
    d_model: Annotated[int, typer.Option(help="Width to draw an encoding with.")] = 64,
    n_head: Annotated[int, typer.Option(help="Heads to draw an encoding with.")] = 4,
    length: Annotated[int, typer.Option(help="Trained length of an encoding; drawn to twice that.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of an encoding's initial values.")] = 0,
) -> None:
    """Show what a run is and how it went, or what an encoding does to the scores, untrained."""
    from rpecli import content, run, screen

    encoding = content.parse_choice(content.parts(name)[0])[0]
    if encoding.endswith(".py") or encoding.replace("_", "-") in content.names("encodings"):
        _show_encoding(name, out, as_json, d_model=d_model, n_head=n_head, length=length, seed=seed)
        return
    paths = _select(runs, [name])
    lines = {path: run.read_lines(path / "eval.jsonl") for path in paths}
    if as_json:
        found = [_info(path) | {"config": run.config_of(path).model_dump(), "eval": lines[path]} for path in paths]
        _json(found if len(found) > 1 else found[0])
        return
    made = [(screen.run_table(path), screen.evaluation_table(path) if lines[path] else None) for path in paths]
    _show(*(table for pair in made for table in pair if table))


@app.command()
@flags.takes_recipe_keys("samples", "eval_tokens", "eval_seed", "eval_positions")
def inspect(
    given: dict[str, str],
    names: flags.RunNames = None,
    shift: Annotated[bool, typer.Option("--shift", help="Move the evaluation strings instead: what changes?")] = False,
    shifts: Annotated[str, typer.Option(help="Positions to move by, with --shift.")] = "1,4,16,64,256",
    lengths: Annotated[str, typer.Option(help="Lengths to look at: 1x,4x or 16:128.")] = "1x,2x,4x",
    again: flags.Again = False,
    data: flags.Data = None,
    encoding: flags.As = None,
    rope_scaling: flags.RopeScaling = None,
    runs: flags.Runs = Path("runs"),
    device: flags.Device = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for the figures, each as .png, .svg and .pdf.")] = None,
    as_json: flags.Json = False,
) -> None:
    """Look into trained runs: where and why their heads look, how alike they are; with --shift, whether position matters."""
    from rpecli.report import probe_text

    _check_lengths(lengths)
    by = _shifts(shifts)
    asked = _order(given, again, data)
    wanted = _orders(asked, _ready(runs, names), encoding, rope_scaling)
    if not shift:
        found = _looked_into(wanted, lengths, device)
        _probed(found, probe_text.tables(found), found, {}, out, as_json)
        return
    from rpecli.probes import kept

    known = [kept.facts(path, order) for path, order in wanted.items()]
    lines = {probe_text.name_of(each): _moved(path, by, device, wanted[path]) for path, each in zip(wanted, known, strict=True)}
    _probed(lines, probe_text.shift_tables(lines), {"runs": known}, lines, out, as_json)


@app.command()
def check(
    recipe: flags.MaybeRecipeName = None,
    keys: Annotated[bool, typer.Option("--keys", help="List every recipe key with its default.")] = False,
) -> None:
    """Validate a recipe, or every recipe that ships: all errors at once, with file, line, key and remedy."""
    from rpecli import content, tables

    if keys:
        _show(tables.rich_table(tables.keys()))
        return
    for name in [recipe] if recipe else content.names("recipes"):
        made, source = _load(name, {})
        _check(made, source)
        typer.echo(f"{name}: {len(made.configs())} runs, all well")


@app.command()
def bench(
    what: Annotated[str | None, typer.Argument(help="attention, train, eval or stack; unless given, three in short.")] = None,
    encodings: Annotated[
        str | None, typer.Option(help="Encodings: rope,t5:buckets=16.", autocompletion=flags.complete_names("encodings"))
    ] = None,
    lengths: Annotated[str | None, typer.Option(help="Lengths: 2048:16384 or 512,2048.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds in which the cases take turns.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    device: flags.Device = "cpu",
    sizes: Annotated[
        str | None, typer.Option(help="Models of `train`: width x layers x heads x length x batch, as in 64x2x4x64x128,...")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of matrix products in `train`.")] = "float32,bfloat16",
    trained: Annotated[
        Path | None, typer.Option("--run", help="A trained run for `eval`; a small one is made unless given.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path("results/bench"),
) -> None:
    """Measure speed and memory beside plain attention and the peers that are installed; tables to results/bench/."""
    options = _bench_options(encodings, lengths, repeats, threads, device, sizes, dtype, trained, short=what is None)
    from rpecli import bench

    if what is not None and what not in bench.BENCHES:
        from rpecli import content

        _stop(f"unknown benchmark {what!r}: {content.nearest(what, list(bench.BENCHES))}", USAGE)
    for name in [what] if what else bench.IN_SHORT:
        result = bench.measure(name, options, lambda text: typer.echo(text, err=True))
        console = _console()
        if console.is_terminal:
            for table in result.tables:
                console.print(table.rich(), "")
        else:
            typer.echo(result.markdown())
        files = result.write(out)
        typer.echo(f"Written: {files[0].with_suffix('')}.md, .csv and .json", err=True)


@app.command()
def data(
    task: Annotated[str, typer.Argument(help="Task: NAME or NAME:option=value.", autocompletion=flags.complete_names("tasks"))],
    lengths: Annotated[str, typer.Option(help="Problem lengths: 16,32 or 16:128.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    samples: Annotated[int, typer.Option(min=1, help="Sequences a length.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Evaluation seed.")] = 0,
) -> None:
    """Write evaluation sets as a Hugging Face dataset (parquet) with a card."""
    from rpecli import recipe

    _check_lengths(lengths)
    if "x" in lengths:
        _stop(f"--lengths {lengths}: multiples need a training length, and a dataset has none: write 16,32 or 16:128", USAGE)
    from rpecli import export
    from rpecli import task as tasks

    made, wanted = tasks.build(task), recipe.parse_lengths(lengths)
    longest = made.longest()
    if longest is not None and wanted[-1] > longest:
        _stop(f"--lengths {lengths}: {task} has no problem longer than {longest}", USAGE)
    export.write(task, made, wanted, samples, seed, out)
    typer.echo(f"{len(wanted)} lengths, {samples} sequences each, in {out}")


# ------------------------------------------------------------------------------------------------------- shared by commands


def _recipe(name: str | None, given: dict[str, str], sets: list[str] | None) -> tuple["Recipe", "Source"]:
    """The recipe with every flag of this command on top, checked to the last option."""
    for text in sets or []:
        key, equals, value = text.partition("=")
        if not equals:
            _stop(f"--set {text}: write --set key=value", USAGE)
        given[key.strip()] = value.strip()
    made, source = _load(name, given)
    _check(made, source)
    return made, source


def _load(name: str | None, given: dict[str, str]) -> tuple["Recipe", "Source"]:
    from rpecli import recipe

    try:
        return recipe.load(name, given)
    except recipe.RecipeError as error:
        _stop(str(error), USAGE)


def _check(made: "Recipe", source: "Source") -> None:
    from rpecli import check

    found = check.problems(made, source)
    if found:
        _stop("\n".join(map(str, found)), USAGE)


def _bench_options(
    encodings: str | None,
    lengths: str | None,
    repeats: int,
    threads: int,
    device: str,
    sizes: str | None,
    dtype: str,
    trained: Path | None,
    short: bool,
) -> Any:
    """The flags of `rpe bench`, checked."""
    from rpecli import bench, content, recipe, train

    if lengths and "x" in lengths:
        _stop(f"--lengths {lengths}: multiples need a training length: write 2048:16384 or 512,2048", USAGE)
    try:
        train.pick_device(device)
        choices = tuple(content.canonical(part.strip()) for part in encodings.split(",")) if encodings else None
        for choice in choices or ():
            content.find("encodings", content.parse_choice(choice)[0])
        return bench.Options(
            encodings=choices,
            lengths=tuple(recipe.parse_lengths(lengths)) if lengths else None,
            repeats=repeats,
            threads=threads,
            device=device,
            sizes=tuple(bench.size_of(part.strip()) for part in sizes.split(",")) if sizes else None,
            dtypes=bench.dtypes_of(dtype),
            run=trained,
            short=short,
        )
    except ValueError as error:  # ContentError is one
        _stop(str(error), USAGE)


def _check_lengths(lengths: str | None) -> None:
    from rpecli import recipe

    try:
        recipe.parse_lengths(lengths or "1x", 1)
    except ValueError as error:
        _stop(f"--lengths: {error}", USAGE)


def _warn_of_lengths(paths: list[Path], lengths: str | None) -> None:
    """Says, once for each task, which of the lengths asked for it has no problem of."""
    from rpecli import recipe, run, task

    said = set()
    for config in (_or_stop(run.config_of, path) for path in paths):
        longest = task.build(config.task).longest()
        past = [n for n in recipe.parse_lengths(lengths or config.lengths, config.length) if longest and n > longest]
        if past and config.task not in said:
            said.add(config.task)
            _warn(f"{config.task} has no problem longer than {longest}: left out at {', '.join(map(str, past))}")


def _order(given: dict[str, str], again: bool, data: Path | None) -> "Order":
    """What to measure of any run, checked before a run is looked for."""
    from rpecli import order

    made, _ = _load(None, given)
    if data is not None and not (data / "data").is_dir():
        _stop(f"--data {data}: no data/length_N.parquet there: write it with rpe data TASK --lengths 16,32 --out {data}", USAGE)
    return order.Order(tuple((key, getattr(made, key)) for key in given), again, data)


def _orders(asked: "Order", paths: list[Path], encoding: str | None, scaling: str | None) -> dict[Path, "Order"]:
    """What to measure of each run, with the encoding to put into it."""
    return {path: replace(asked, encoding=_swap(path, encoding, scaling)) for path in paths}


def _swap(path: Path, encoding: str | None, scaling: str | None) -> str | None:
    """The encoding to put into a trained model, checked; None for its own."""
    from rpecli import content, run

    if encoding is None and scaling is None:
        return None
    from rpecli import encoding as encodings

    config = _or_stop(run.config_of, path)
    choice = content.canonical(encoding or config.encoding + f":scaling={scaling}")
    encodings.every(choice, encodings.Shape(config.d_model, config.n_head, causal=config.attention == "causal"))
    return choice


def _ready(runs: Path, names: list[str] | None) -> list[Path]:
    """The selected runs that are trained; the others are said."""
    paths = _select(runs, names)
    ready = [path for path in paths if _trained(path)]
    for path in paths:
        if path not in ready:
            _warn(f"{path.name} is not trained, so it is left out: rpe train {path / 'recipe.yaml'}")
    if not ready:
        _stop(f"no trained run under {runs}: rpe train --encoding rope", FAILURE)
    return ready


def _shifts(text: str) -> tuple[int, ...]:
    from rpecli import recipe

    _check_lengths(text)
    if "x" in text:
        _stop(f"--shifts {text}: write numbers of positions: 1,4,16", USAGE)
    return tuple(recipe.parse_lengths(text))


def _looked_into(orders: dict[Path, "Order"], lengths: str, device: str) -> dict[str, Any]:
    from rpecli.probes import why

    data = why.inspect(list(orders), lengths, device, orders)
    for path, each in zip(orders, data["runs"], strict=True):
        if each["left_out"]:
            where = each["task"] if orders[path].folder is None else orders[path].folder
            _warn(f"{each['run']}: {where} has no problem of length {', '.join(map(str, each['left_out']))}: left out")
    return data


def _moved(path: Path, shifts: tuple[int, ...], device: str, order: "Order") -> list[dict[str, Any]]:
    from rpecli import run
    from rpecli.probes import shift

    try:
        return shift.probe(path, shifts, device, order)
    except run.Stopped as stopped:
        raise (_Interrupted if stopped.signal == signal.SIGINT else _Terminated) from None


def _probed(value: Any, tables: list[Any], data: dict[str, Any], lines: dict[str, Any], out: Path | None, as_json: bool) -> None:
    """What a probe found as JSON or tables, and its figures."""
    from rpecli import report
    from rpecli.report import probe_figure

    try:
        files = probe_figure.write(out, data, lines) if out is not None else []
    except report.ReportError as error:
        _stop(str(error), USAGE)
    _json(value) if as_json else _show(*tables)
    if files:
        typer.echo(f"Written: {out}/ ({len(files)} files)", err=True)


def _create(made: "Recipe", source: "Source", runs: Path) -> list[Path]:
    """A directory a run; says which of the finished ones were trained by other code of the task or encoding."""
    from rpecli import run

    paths = []
    for config in made.configs():
        path = _or_stop(run.create, config, runs, source.name)
        old = run.read(path).get("sources")
        if _trained(path) and old != run.sources(config):
            changed = "task" if old and old["tasks"] != run.sources(config)["tasks"] else "encoding"
            _warn(f"{path.name}: the {changed}'s file has changed since; delete {path} to train anew")
        paths.append(path)
    return list(dict.fromkeys(paths))


def _or_stop(function: Any, *arguments: Any) -> Any:
    from rpecli import run

    try:
        return function(*arguments)
    except (run.RunError, OSError) as error:
        _stop(str(error), FAILURE)


def _info(path: Path) -> Any:
    from rpecli import run

    return _or_stop(run.read, path)


def _trained(path: Path) -> bool:
    return _info(path)["status"] == "trained" and (path / "weights.safetensors").exists()


def _select(runs: Path, names: list[str] | None) -> list[Path]:
    """Run directories by id, path or pattern; all of `runs` unless named. Damaged and foreign ones are said, not used."""
    from rpecli import content, run

    found, trouble = run.listing(runs)
    if not names:
        for text in trouble:
            _warn(text)
        if not found:
            _stop(f"no runs under {runs}: rpe train --encoding rope makes some", FAILURE)
        return found
    chosen: list[Path] = []
    for name in names:
        matches = [path for path in found if path.match(name)] or ([Path(name)] if Path(name).is_dir() else [])
        if not matches:
            hint = content.nearest(name, [path.name for path in found]) if found else "there is none yet: rpe train makes some"
            _stop(f"no run {name!r} under {runs}: {hint}", USAGE)
        chosen += [path for path in matches if _info(path)]
    return list(dict.fromkeys(chosen))


def _stacked(todo: list["Job"], how: str, device: str) -> list["Job"]:
    """The jobs, those that can train together as one where `--stack` asks for it."""
    if how == "off":
        return todo
    from rpecli import stack

    try:
        most = stack.most(how, device)
    except ValueError as error:
        _stop(str(error), USAGE)
    return stack.together(todo, most) if most > 1 else todo


def _execute(todo: list["Job"], jobs: int | None, end: bool = True) -> bool:
    """Does the jobs, in this process for `--jobs 0`; says what failed. Returns whether any did, or ends the command."""
    from rpecli import run, screen, sweep, work

    if not todo:
        return False
    codes: dict[Path, int] = {}
    paths = [path for job in todo for path in job.paths]
    with _terminable():
        try:
            if jobs == 0:
                _one_by_one(todo, codes)
            else:
                events = sweep.execute(todo, jobs or min(len(paths), run.cores()))
                codes = screen.follow(events, _console(stderr=True), paths)
        except KeyboardInterrupt:
            raise _Interrupted from None
    if INTERRUPTED in codes.values():
        raise _Interrupted
    if SAVED in codes.values():
        raise _Terminated
    failed = [path for path, code in codes.items() if code]
    for path in failed:
        log = f"  ({path / 'log.txt'})" if jobs != 0 else ""
        _warn(f"{path.name}: {work.why(path, codes[path])}{log}", "red")
    if failed and end:
        _stop(f"{len(failed)} of {len(paths)} runs failed; start the same command again once that is mended", FAILURE)
    return bool(failed)


def _one_by_one(todo: list["Job"], codes: dict[Path, int]) -> None:
    """Jobs in this process, until one of them was asked to stop."""
    from rpecli import work

    waiting = list(todo)
    while waiting:
        job = waiting.pop(0)
        code = work.do(job, say=lambda text: typer.echo(text, err=True))
        if job.others and code not in (INTERRUPTED, SAVED):
            waiting = job.each() + waiting
            continue
        codes |= dict.fromkeys(job.paths, code)
        if code in (INTERRUPTED, SAVED):
            break


def _report(paths: list[Path], name: str | None, out: Path, as_json: bool) -> None:
    from rpecli import report

    studies = {_info(path).get("study", "default") for path in paths}
    name = name or (studies.pop() if len(studies) == 1 else "all")
    try:
        made = report.make(paths, name, out, f"rpe {shlex.join(sys.argv[1:])}")
    except report.ReportError as error:
        _stop(str(error), FAILURE)
    for text in made.problems:
        _warn(text)
    console = _console()
    if as_json:
        _json(made.data)
        return
    if not console.is_terminal:
        typer.echo(report.markdown_tables(made))
    else:
        for table in made.tables:
            console.print(report.rich_table(table), "")
        for each in made.verdicts:
            typer.secho(f"{each.claim}: {each.outcome}", bold=True)
            typer.echo("".join(f"  {line}\n" for line in each.lines))
    typer.secho(f"Written: {made.files[0].parent}/", err=not console.is_terminal)


def _watch(runs: Path, names: list[str] | None, wanted: set[str] | None, every: float) -> None:
    """Shows runs on stderr until they have ended, those that begin meanwhile too."""
    from rpecli.report import watch

    _select(runs, names)  # a mistake in a name is said at once

    def find() -> list[Path]:
        named = [Path(name) for name in names or [] if (Path(name) / "run.json").is_file()]
        known = [path for path in watch.directories(runs) if not names or any(path.match(name) for name in names)]
        return [path for path in dict.fromkeys([*named, *known]) if wanted is None or path.name in wanted]

    try:
        watch.follow(watch.Watch(find), _console(stderr=True), every)
    except KeyboardInterrupt:
        raise _Interrupted from None


def _compare(words: tuple[str, str], more: list[str], runs: Path, out: Path, name: str | None, as_json: bool) -> None:
    from rpecli import report

    if more:
        _stop(f"--compare {shlex.join(words)} takes two studies and nothing beside them: leave out {shlex.join(more)}", USAGE)
    try:
        made = report.compare_studies(words, runs, out, name, f"rpe {shlex.join(sys.argv[1:])}")
    except report.ReportError as error:
        _stop(str(error), FAILURE)
    console = _console()
    if as_json:
        _json(made.data)
        return
    if not console.is_terminal:
        typer.echo(made.markdown)
    else:
        typer.echo("".join(f"{line}\n" for line in made.lines))
        for table in made.tables:
            console.print(report.rich_table(table), "")
    typer.secho(f"Written: {made.files[0].parent}/", err=not console.is_terminal)


def _show_encoding(choice: str, out: Path | None, as_json: bool, **shape: int) -> None:
    from rpecli import portrait, report
    from rpecli.report import portrait_figure, portrait_text

    data, console = portrait.draw(choice, **shape).data(), _console()
    if out is not None:
        try:
            portrait_figure.write(data, out)
        except report.ReportError as error:
            _stop(str(error), USAGE)
    if as_json:
        _json(data)
    elif not console.is_terminal:
        typer.echo(portrait_text.markdown(data))
    else:
        for part in portrait_text.terminal(data):
            console.print(part)
    if out is not None:
        typer.echo(f"Written: {out}", err=True)


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr)


def _show(*tables: Any) -> None:
    """Rich tables in a terminal, Markdown in a pipe, where a blank line keeps two tables apart."""
    from rpecli import screen

    console = _console()
    if console.is_terminal:
        console.print(*tables, sep="\n")
    else:
        typer.echo("\n\n".join(map(screen.plain, tables)))


def _show_runs(paths: list[Path]) -> None:
    from rpecli import screen

    _show(screen.runs_table(paths))


def _show_lengths(paths: list[Path]) -> None:
    from rpecli import screen

    _show(*(screen.lengths_table(paths, metric) for metric in ("exact_match", "token_accuracy")))


def _json(value: Any) -> None:
    import json

    typer.echo(json.dumps(value, indent=1))

"""Writes the generated parts of README.md and docs/; with `--check` it only lists what is out of date.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`. NAME is a key of GENERATORS, and every generator
has exactly one place in all pages. docs/report.schema.json is generated as a whole, and so is the copy of the glossary
in rpecli/report/templates.
"""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, get_args

import crasp
import decision_table
import papers
import record_docs
import report_schema
import typer

from rpecli import catalog, encoding_facts
from rpecli.attention import kernels
from rpecli.cli.app import COMMANDS
from rpecli.config import suites
from rpecli.config.keys import recipe_keys
from rpecli.describe import learned, listing, task_card
from rpecli.escape import Markdown
from rpecli.report import reference
from rpecli.report.aggregate import TaskResults, aggregate
from rpecli.report.heatmap import HeatMap, heat_map
from rpecli.report.overview import UNSOLVED
from rpecli.reproduce import order, paper
from rpecli.reproduce import tables as paper_rows
from rpecli.reproduce.outcome import AGREES, MIN_SEEDS
from rpecli.table import MISSING, Table, few, plural
from rpecli.trial import encoding_checks, task_checks

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "results" / "shipped"
RESULTS = [ROOT / "results" / folder / "README.md" for folder in ("", "tasks", "papers", "crasp")]
PAGES = [ROOT / "README.md", *RESULTS, *sorted((ROOT / "docs").glob("*.md"))]
SCHEMA = ROOT / "docs" / "report.schema.json"
GLOSSARY = ROOT / "rpecli/report/templates/glossary.md"  # a copy of docs/glossary.md, which a report's page reads
COMMAND = "python scripts/docs.py"
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
INDEX = ["encoding", "title", "group", "what it does"]
PROPERTIES = ["encoding", "group", "learns", "shift invariant", "kernel", "attention", "past the training length", "year"]
MAX_NAMES = 7  # in a list
KEPT = 90  # per cent of the way from chance to all tokens right, for an encoding that holds
FOLDERS = {  # what README.md says of folders that have no docstring; those of the package come between
    "rpecli/encodings": "One file per encoding.",
    "tasks": "One file per task.",
    "recipes": "One YAML file per recipe.",
    "tests": "The tests; helpers in tests/helpers/.",
    "docs": "The documentation.",
    "results": "Reports, benchmarks and published cells that come with rpe; your own reports are written beside them.",
    "scripts": "Tools of the project: docs.py writes the generated parts of the documentation.",
    ".ci": "run is the gate: tests, lint, types, wheel.",
}
LEARNS = {"yes": "yes", "no": "no", "option": "only with an option"}


def table(rows: list[dict[str, str]]) -> str:
    """Markdown of rows that have the same keys, which are the columns."""
    return Table.of(rows).markdown(padded=False)


def encoding_table(columns: list[str]) -> str:
    """One row per encoding; the name is a link to its section on the same page."""
    rows = [{column: row[column] for column in columns} for row in listing.rows("encodings")]
    return table([row | {"encoding": Markdown(f"[{row['encoding']}](#{row['encoding']})")} for row in rows])


def encoding_sections() -> str:
    """One section per encoding."""
    return "\n\n".join(encoding_section(encoding_facts.read(name)) for name in catalog.names("encodings"))


def encoding_section(facts: encoding_facts.EncodingFacts) -> str:
    """Heading, summary, docstring as it stands (formulas are laid out in it), then the facts as a list."""
    lines = {
        "Paper": " ".join(filter(None, (facts.paper, facts.year and f"({facts.year})"))) or "none",
        "Group": facts.group,
        "Acts on": "; ".join(facts.acts_on) + (f" (`{'`, `'.join(facts.hooks)}`)" if facts.hooks else ""),
        "Kernel": f"`{facts.kernel}`",
        "Learned parameters": LEARNS[facts.learns] + ("; one instance for all layers" if facts.shared else ""),
        "Shift invariant": "yes" if facts.shift_invariant else "no",
        "Attention": "causal only" if facts.causal_only else "causal or in both directions",
        "Options": ", ".join(f"`{key}={value}`" for key, value in facts.options.items()) or "none",
        "Past the training length": facts.extrapolation,
    }
    about = f"```text\n{facts.about}\n```\n\n" if facts.about else ""
    return f"## {facts.name}\n\n{facts.summary}\n\n{about}" + "\n".join(f"- {key}: {value}" for key, value in lines.items())


def task_table() -> str:
    """One row per task, without its variants; the name is a link to its section."""
    rows = [row for row in listing.rows("tasks") if ":" not in row["task"]]
    columns = ["family", listing.ASKS, "example"]
    links = [Markdown(f"[{row['task']}](#{row['task']})") for row in rows]
    return table([{"task": link} | {key: row[key] for key in columns} for link, row in zip(links, rows, strict=True)])


def suite_table() -> str:
    """One row per suite: its recipe, what it shows, and its tasks."""
    rows = []
    for name in suites.names():
        path = catalog.find("recipes", suites.FILE + name)
        tasks = ", ".join(f"`{task}`" for task in suites.tasks(name))
        rows.append({"suite": name, "recipe": f"`{suites.FILE}{name}`", "what it is": catalog.summary(path), "tasks": tasks})
    return table(rows)


def task_sections() -> str:
    """One section per task: its docstring, facts, variants, and an example of each."""
    return "\n\n".join(task_section(name) for name in catalog.names("tasks"))


def task_section(name: str) -> str:
    card = task_card.card(name)
    facts = "\n".join(task_card.fact_lines(card))
    choices = [choice for choice in listing.task_choices() if choice.partition(":")[0] == name]
    shown = "\n".join(task_example(task_card.card(choice, seed=1)) for choice in choices)
    return f"## {name}\n\n{card.summary}\n\n```text\n{facts}\n```\n\nExamples:\n\n```text\n{shown}\n```"


def task_example(card: task_card.TaskCard) -> str:
    """A choice with an example of it, and of a variant, whose card is not shown, whether it is learned."""
    facts = [f"{name}: {line}" for name in ("Learned", "Tried") for line in card.facts.get(name, "").splitlines()]
    return "\n    ".join([card.choice, card.drawn[0], *(facts if ":" in card.choice else [])])


def kernel_table() -> str:
    """One row per attention kernel: what it costs."""
    return table([{"kernel": f"`{kernel}`", "cost": cost} for kernel, cost in kernels.COST.items()])


def shipped_report(name: str) -> dict[str, Any]:
    """What report.json of a shipped report holds."""
    report: dict[str, Any] = json.loads((SHIPPED / name / "report.json").read_text(encoding="utf-8"))
    return report


def quick_answer() -> str:
    """What `rpe run quick` found: headline and claims, from its shipped report."""
    report = shipped_report("quick")
    claims = [f"- **{verdict['claim']}.** {verdict['summary']}" for verdict in report["verdicts"]]
    title, first = report["headline"]["title"], report["headline"]["detail"][0]
    source = "([the whole report](results/shipped/quick/report.md), with commit and machine)"
    return "\n\n".join([f"**{title}** {first}", "\n".join(claims), f"{report_runs(report)}, on two CPU cores {source}."])


def gallery() -> str:
    """One picture per encoding: `rpe show NAME --out FILE` drew it."""
    parts = []
    for row in listing.rows("encodings"):
        name, text = row["encoding"], f"{row['what it does']} ([more](encodings.md#{row['encoding']}))"
        parts.append(f"## {name}\n\n{text}\n\n![{row['title']}](images/{name}.svg)")
    return "\n\n".join(parts)


def claim_table() -> str:
    """What the shipped studies say about each claim."""
    reports = {name: shipped_report(name) for name in ("quick", "reference")}
    studies = {name: f"[{report_runs(report)}](../results/shipped/{name}/report.md)" for name, report in reports.items()}
    claims = [verdict["claim"] for verdict in reports["quick"]["verdicts"]]
    return table([{"claim": claim} | {Markdown(studies[name]): outcome(report, claim) for name, report in reports.items()}
                  for claim in claims])  # fmt: skip


def outcome(report: dict[str, Any], claim: str) -> str:
    """The verdict on a claim, without the encodings and tasks it is about."""
    summary = next(verdict["summary"] for verdict in report["verdicts"] if verdict["claim"] == claim)
    return str(summary.split(";")[0])


def report_runs(report: dict[str, Any]) -> str:
    """`63 runs of `rpe run quick`: 7 encodings on 3 tasks, 3 seeds`."""
    tasks, encodings, seeds = ({run[key] for run in report["runs"]} for key in ("task", "encoding", "seed"))
    return f"{len(report['runs'])} runs: {len(encodings)} encodings on {len(tasks)} tasks, {len(seeds)} seeds"


def command_sections() -> str:
    """One section per command of `rpe`: what it does, its arguments and options, and examples."""
    return "\n\n".join(command_section(name, *command) for name, command in COMMANDS.items())


def command_section(name: str, function: Callable[..., None], examples: str) -> str:
    """Flags for recipe keys are in recipes.md; they are named where a command takes a few of them."""
    keys = {key.name for key in recipe_keys()}
    flags = {
        key: value for key, value in inspect.signature(function).parameters.items() if isinstance(value.annotation, type(FLAG))
    }
    of_keys = [
        f"`{flag_name(key, value)}`"
        for key, value in flags.items()
        if key in keys and get_args(value.annotation)[1].rich_help_panel
    ]
    own = {key: value for key, value in flags.items() if f"`{flag_name(key, value)}`" not in of_keys}
    rows = [{"": f"`{flag_text(key, value)}`", "meaning": flag_help(value)} for key, value in own.items()]
    more = "a flag for every [key of a recipe](recipes.md)" if len(of_keys) > MAX_NAMES else ", ".join(of_keys)
    text = [f"## rpe {name}", inspect.getdoc(function), table(rows), f"Further: {more}." if of_keys else "",
            f"```text\n{examples.strip()}\n```"]  # fmt: skip
    return "\n\n".join(filter(None, text))


FLAG = Annotated[str, None]
WORDS = {str: "TEXT", Path: "PATH", int: "INT", float: "FLOAT"}


def flag_name(name: str, parameter: inspect.Parameter) -> str:
    """`--runs`, `--jobs, -j`, or the name of an argument."""
    info = get_args(parameter.annotation)[1]
    given = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str) and word.startswith("-")]
    is_argument = isinstance(info, typer.models.ArgumentInfo)
    return name if is_argument else ", ".join(given) or "--" + name.replace("_", "-")


def flag_text(name: str, parameter: inspect.Parameter) -> str:
    """`--runs PATH`, `--json`, or the name of an argument."""
    kind, info = get_args(parameter.annotation)
    has_value = "bool" not in str(kind) and not isinstance(info, typer.models.ArgumentInfo)
    word = next((word for type_, word in WORDS.items() if type_.__name__ in str(kind)), "")
    return " ".join(filter(None, [flag_name(name, parameter), info.metavar or (word if has_value else "")]))


def flag_help(parameter: inspect.Parameter) -> str:
    """What a flag means, with its default."""
    text = " ".join((get_args(parameter.annotation)[1].help or "").split())
    default = parameter.default
    return text if default in (None, False, True, inspect.Parameter.empty) else f"{text} Default: `{default}`."


def template(kind: str) -> str:
    """The file that `rpe new` writes."""
    return f"```python\n{(catalog.PACKAGE / 'templates' / f'{kind}.py').read_text(encoding='utf-8')}```"


def checks_table() -> str:
    """One row per check of an encoding and of a task: what holds where it passes, and what a failure means."""
    return table([
        {"of": kind, "check": f"`{name}`", "what holds": check.holds, "if it fails": check.remedy}
        for kind, checks in (("encoding", encoding_checks.CHECKS), ("task", task_checks.CHECKS)) for name, check in checks.items()
    ])  # fmt: skip


@cache
def reference_results() -> tuple[list[TaskResults], HeatMap]:
    """The reference results by task, and their heat map."""
    tasks = aggregate(reference.read())
    return tasks, heat_map(tasks)


def reference_table() -> str:
    """Every encoding of the reference results: a column for each task and length."""
    tasks, heat = reference_results()
    runs = {one.short_title: one for task in tasks for one in task.encodings}
    heads = [f"{task.title} {length}" for task in heat.tasks for length in task.lengths]
    rows = []
    for row in heat.rows:
        name, seeds = Markdown(f"[{row.title}](encodings.md#{runs[row.title].label})"), len(runs[row.title].evaluated_runs)
        cells = [f"{cell.text}{UNSOLVED * cell.unsolved}" if cell else MISSING for cells in row.cells for cell in cells]
        rows.append({"encoding": name, "group": row.group, "seeds": str(seeds), "beyond": Markdown(f"**{row.mean}**"),
                     **dict(zip(heads, cells, strict=True))})  # fmt: skip
    return table(rows)


def reference_findings() -> str:
    """By task: which encodings keep their tokens to the end, and which did not learn the training length; the best rows first."""
    _, heat = reference_results()
    rows = []
    for column, task in enumerate(heat.tasks):
        ends = {row.title: (row.cells[column][0], row.cells[column][-1]) for row in heat.rows}
        unsolved = [title for title, (first, _) in ends.items() if first and first.unsolved]
        kept = [title for title, (_, last) in ends.items() if title not in unsolved and last and last.level >= KEPT]
        rows.append({"task": f"{task.title}, trained to {task.lengths[0]}", "tested to": str(task.lengths[-1]),
                     f"keep {KEPT} % there": ", ".join(kept) or "none",
                     "not learned by every run": ", ".join(unsolved) or "none"})  # fmt: skip
    return table(rows)


def folders() -> str:
    """The folders of the repository: where encodings, tasks and recipes go, the package with its docstrings, the others."""
    package = {f"rpecli/{path.parent.name}": catalog.summary(path) for path in sorted((ROOT / "rpecli").glob("*/__init__.py"))}
    first = ["rpecli/encodings", "tasks", "recipes"]
    texts = {name: FOLDERS[name] for name in first} | package | FOLDERS
    return table([{"folder": Markdown(f"[{name}/]({name}/)"), "what it holds": Markdown(text)} for name, text in texts.items()])


def results_index() -> str:
    """Every report that ships with its headline and its claims, then what is known of tasks and of papers."""
    lines = (_reference_line(), _tasks_line(), _papers_line(), _crasp_line())
    return "\n".join([*map(_report_line, sorted(SHIPPED.glob("*/report.json"))), *lines])


def _report_line(file: Path) -> str:
    report = json.loads(file.read_text(encoding="utf-8"))
    claims = ", ".join(f"{verdict['claim'].lower()} {verdict['outcome']}" for verdict in report["verdicts"])
    title, (detail, *_) = report["headline"]["title"], report["headline"]["detail"]
    return f"- **[{file.parent.name}](shipped/{file.parent.name}/report.md)**: {title} {detail} Claims: {claims}."


def _reference_line() -> str:
    tasks, heat = reference_results()
    seeds = sorted({len(one.evaluated_runs) for task in tasks for one in task.encodings})
    n_runs = sum(len(one.evaluated_runs) for task in tasks for one in task.encodings)
    first = few([row.title for row in heat.rows], 3)
    return (
        f"- **[every encoding](../docs/reference-results.md)**: {n_runs} runs of {len(heat.rows)} encodings on {len(tasks)} "
        f"tasks, {seeds[0]} to {seeds[-1]} seeds each; in the order of what they keep beyond the training length: {first}."
    )


def _tasks_line() -> str:
    rows = learned.results()
    known = sum(any(result.is_learned for result in results) for results in rows.values())
    return (
        f"- **[tasks](tasks/README.md)**: of {len(rows)} tasks and variants measured at their defaults, {known} are learned at "
        "their training length by at least one of RoPE, ALiBi and NoPE."
    )


def _papers_line() -> str:
    """How many cells agree, and on how many tasks the order of encodings is the published one."""
    run = {name: [each for each in papers.outcomes(name) if each.n_kept >= MIN_SEEDS] for name in paper.names()}
    values = [each for outcomes in run.values() for each in outcomes if not each.order_only]
    agreeing = sum(each.verdict == AGREES for each in values)
    found = [one for name in paper.names() for one in paper_orders(name) if one.is_like_published is not None]
    alike = sum(one.is_like_published is True for one in found)
    n_order = sum(each.order_only for outcomes in run.values() for each in outcomes)
    orders = f": as published on {alike} of {plural(len(found), 'task')} with five encodings or more" if found else ""
    smaller = f" Of {n_order} in a smaller size the order of encodings is compared{orders}." if n_order else ""
    return (
        f"- **[papers](papers/README.md)**: of {len(values)} published cells run with enough seeds in the published size, "
        f"{agreeing} agree.{smaller}"
    )


def paper_orders(name: str) -> list[order.Order]:
    """The orders of a paper whose values are of another size; none of one whose values are compared."""
    loaded = papers.load(name)
    return order.orders(papers.outcomes(name), loaded.best_is_least) if loaded.compare == "order" else []


def _crasp_line() -> str:
    return f"- **[crasp](crasp/README.md)**: {crasp.finding()}"


def paper_tables() -> str:
    """One section per paper: what was run, and what differs from the paper's protocol."""
    return "\n\n".join(paper_section(name) for name in paper.names())


def paper_section(name: str) -> str:
    loaded = papers.load(name)
    run = [each for each in papers.outcomes(name) if each.n_runs]
    known = _named_list("Deviations and defects", [*loaded.deviations, *loaded.defects])
    found = _named_list("What came out", loaded.findings)
    rows = paper_rows.outcome_table(loaded, run)
    written = Table("", rows.columns, rows.align, rows.rows).markdown(padded=False) if run else "Not run yet."
    if orders := paper_orders(name):
        written += f"\n\n{paper_rows.order_table(orders).markdown(padded=False)}"
    parts = (f"## {name}", f"{loaded.title}. Numbers from {loaded.source}.", written, found, known)
    return "\n\n".join(filter(None, parts))


def _named_list(title: str, texts: list[str]) -> str:
    """`Title:` and a line a text; nothing without texts."""
    return "\n".join((f"{title}:\n", *(f"- {text}" for text in texts))) if texts else ""


GENERATORS: dict[str, Callable[[], str]] = {
    "encodings": lambda: encoding_table(INDEX),
    "properties": lambda: encoding_table(PROPERTIES),
    "kernels": kernel_table,
    "sections": encoding_sections,
    "tasks": task_table,
    "suites": suite_table,
    "task_sections": task_sections,
    "recipes": lambda: table(listing.first_names(listing.rows("recipes"), MAX_NAMES)),
    "keys": lambda: table(listing.keys()),
    "template_encoding": lambda: template("encoding"),
    "template_task": lambda: template("task"),
    "checks": checks_table,
    "report": report_schema.documentation,
    **{name: partial(record_docs.documentation, name) for name in record_docs.SECTIONS},
    "answer": quick_answer,
    "claims": claim_table,
    "commands": command_sections,
    "gallery": gallery,
    "decisions": decision_table.decisions,
    "costs": decision_table.costs,
    "pretrained": decision_table.pretrained,
    "reference": reference_table,
    "reference_findings": reference_findings,
    "papers": paper_tables,
    "crasp": crasp.crasp_table,
    "crasp_findings": crasp.crasp_findings,
    "crasp_sizes": crasp.crasp_sizes,
    "results_index": results_index,
    "files": folders,
    "learned": lambda: table(learned.table_rows()),
    "tried": lambda: table(learned.tried_rows()),
}


def problems() -> list[str]:
    """Generators without a place, with more than one, and marks that name no generator or have no end."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    names = [match[2] for text in texts for match in BLOCK.finditer(text)]
    marks = sum(text.count("<!-- generated") for text in texts)
    lines = [f"{name}: {names.count(name)} places instead of 1" for name in GENERATORS if names.count(name) != 1]
    lines += [f"{name}: no generator of this name in scripts/docs.py" for name in sorted(set(names) - set(GENERATORS))]
    return lines + (["a mark <!-- generated: NAME --> without <!-- end -->"] if marks != len(names) else [])


def generated() -> dict[Path, str]:
    """Every file with generated parts, and what it should say. Raises KeyError for a block that no generator is named after."""
    pages = {page: BLOCK.sub(lambda match: f"{match[1]}{GENERATORS[match[2]]()}\n{match[4]}", page.read_text(encoding="utf-8"))
             for page in PAGES}  # fmt: skip
    glossary = [text for page, text in pages.items() if page.name == GLOSSARY.name]
    return (
        pages | ({GLOSSARY: glossary[0]} if glossary else {}) | {SCHEMA: json.dumps(report_schema.json_schema(), indent=1) + "\n"}
    )


def stale() -> dict[Path, str]:
    """The files that are out of date, and what they should say."""
    return {path: text for path, text in generated().items() if not path.exists() or path.read_text(encoding="utf-8") != text}


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the generated parts of README.md and docs/, and docs/report.schema.json.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is out of date")
    arguments = parser.parse_args(words)
    if lines := problems():
        print("\n".join(lines), file=sys.stderr)
        return 1
    files = stale()
    for path, text in files.items():
        print(f"{path.relative_to(ROOT)} {'is out of date' if arguments.check else 'written'}")
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
    if files and arguments.check:
        print(f"Run: {COMMAND}", file=sys.stderr)
    return 1 if files and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

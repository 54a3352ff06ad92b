"""The tables of docs/choose.md: which encoding by task, length and constraint, from committed results alone."""

import csv
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from rpecli import catalog, encoding_facts
from rpecli.config.recipe import label
from rpecli.escape import Markdown
from rpecli.report import attention_cost, reference
from rpecli.report.aggregate import TaskResults, aggregate
from rpecli.report.overview import UNSOLVED
from rpecli.report.recommendation import AT_CHANCE, CLEAR, EQUAL, UNLEARNED, Recommendation, recommend
from rpecli.report.stats import MIN_SEEDS
from rpecli.report.studies import load_study
from rpecli.table import Table, few
from rpecli.titles import display

SHIPPED = Path(__file__).resolve().parents[1] / "results" / "shipped"
CHEAP, SMALL = 1.2, 2.0  # times plain attention; MB beyond it
FACTORS = (2, 4, 8, 16)
NOT_MEASURED = "not measured"
WORDS = {"exact_match": "strings", "token_accuracy": "tokens", "nll": "perplexity"}
RIVALS = 3  # that a cell names


def studies() -> list[tuple[str, list[TaskResults]]]:
    """The committed results, with the page that has all of each."""
    quick, long, scaling = (load_study(str(SHIPPED / name), SHIPPED, SHIPPED).tasks if (SHIPPED / name).exists() else []
                            for name in ("quick", "long", "scaling"))  # fmt: skip
    return [("quick", quick), ("reference", aggregate(reference.read())), ("long", long), ("scaling", scaling)]


def memory() -> dict[str, float]:
    """MB of attention beyond plain attention at its shortest measured length, by encoding."""
    rows = list(csv.DictReader((SHIPPED / "bench" / "attention.csv").read_text(encoding="utf-8").splitlines()))
    return {row["encoding"]: float(row["extra_mb"]) for row in reversed(rows) if row["extra_mb"] not in ("", "nan")}


def decisions() -> str:
    """One row per task, training length and multiple of it."""
    cost, megabytes = attention_cost.read().ratio, memory()
    limits: dict[str, Callable[[str], bool]] = {
        "any encoding": lambda name: True,
        f"attention at most {CHEAP:g} times as slow": lambda name: cost.get(name, 9e9) <= CHEAP,
        f"at most {SMALL:g} MB more": lambda name: megabytes.get(name, 9e9) <= SMALL,
    }
    rows = []
    for study, tasks in studies()[:3]:
        for task in map(with_seeds, tasks):
            for factor in FACTORS:
                if factor * task.train_length in task.lengths:
                    cells = {head: cell(task, factor * task.train_length, allowed) for head, allowed in limits.items()}
                    rows.append({"task": task.title, "tested at": f"{factor}x", "results": study, **cells})
    return Table.of(rows).markdown(padded=False)


def with_seeds(task: TaskResults) -> TaskResults:
    """Only encodings of which there are seeds enough for an interval."""
    return replace(task, encodings=[one for one in task.encodings if len(one.evaluated_runs) >= MIN_SEEDS])


def cell(task: TaskResults, length: int, allowed: Callable[[str], bool]) -> str:
    encodings = [one for one in task.encodings if allowed(label(one.runs[0].config.encoding)) and not one.runs[0].is_variant]
    if not any(length in one.by_length for one in encodings):
        return NOT_MEASURED
    return words(recommend(replace(task, encodings=encodings), attention_cost.read().ratio, [length]), unlearned(task))


def unlearned(task: TaskResults) -> set[str]:
    """The titles of encodings of which not every run learned the training length."""
    return {one.short_title for one in task.own if not all(one.solved_flags)}


def words(result: Recommendation, unlearned: Collection[str] = ()) -> str:
    """`**ALiBi** (98 % of strings)`, `T5 bias* (84 % of tokens); not told from it: ALiBi, FIRE*`."""
    best = result.choice
    names = {one.title: one.title + UNSOLVED * (one.title in unlearned) for one in result.candidates}
    value = f"{result.measure.write_score(best.score)} of {WORDS[result.measure.key]}"
    if result.outcome in (AT_CHANCE, UNLEARNED):
        none = "none holds" if result.outcome == AT_CHANCE else "none learned it"
        return f"{none} (best: {names[best.title]}, {value})"
    if result.outcome == CLEAR:
        mark = r"\*" if best.title in unlearned else ""
        return Markdown(f"**{best.title}**{mark} ({value})")
    others = few([names[one.title] for one in (result.best, *result.rivals) if one is not best], RIVALS)
    relation = "as good" if result.outcome == EQUAL else "not told from it"
    return f"{names[best.title]} ({value}); {relation}: {others}"


def costs() -> str:
    """One row per encoding: what it costs and what it can be used for."""
    ratios, megabytes = attention_cost.read().ratio, memory()
    rows = []
    for name in sorted(catalog.names("encodings"), key=lambda name: (ratios.get(name, 9e9), name)):
        facts = encoding_facts.read(name)
        rows.append({
            "encoding": display("encodings", name),
            "attention": f"{ratios[name]:.2f}x" if name in ratios else NOT_MEASURED,
            "memory": f"{max(0.0, megabytes[name]) or 0:.0f} MB" if name in megabytes else NOT_MEASURED,
            "learns": facts.learns if facts.learns != "option" else "with an option",
            "direction": "causal only" if facts.causal_only else "both",
        })  # fmt: skip
    return Table.of(rows).markdown(padded=False)


def pretrained() -> str:
    """One row per task and multiple: RoPE as it is, and with each scaling of its frequencies."""
    rows = []
    for _, tasks in studies():
        for task in tasks:
            names = {one.label.partition(" as ")[2]: one for one in task.encodings if one.runs[0].is_variant}
            for factor in FACTORS if names else ():
                if factor * task.train_length not in task.lengths:
                    continue
                result = recommend(task, {}, [factor * task.train_length])
                for model in result.pretrained:
                    scaled = {f"`{one.encoding}`": result.measure.write_score(one.score) for one in model.scaled}
                    best = model.best
                    title = task.title + UNSOLVED * (model.title in unlearned(task))
                    rows.append({"task": title, "tested at": f"{factor}x", "of": WORDS[result.measure.key],
                                 "as it is": result.measure.write_score(model.score), **dict(sorted(scaled.items())),
                                 "better with its whole interval": f"`{best.encoding}`" if best else "none"})  # fmt: skip
    return Table.of(rows).markdown(padded=False) if rows else f"Scalings of trained models: {NOT_MEASURED}."

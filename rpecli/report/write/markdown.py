"""The page of a report as Markdown, `report.md`."""

from rpecli.report.aggregate import TaskResults
from rpecli.report.content import ReportContent
from rpecli.report.provenance import provenance_lines
from rpecli.report.records import Provenance, Verdict
from rpecli.report.tables import runs
from rpecli.report.tables.accuracy import group_sentence
from rpecli.report.verdict import RULES
from rpecli.table import slug

DATA = (
    "Data: `summary.csv` (encodings by length), `runs.csv` (runs by length), `pairs.csv` (pairs of encodings), `pooled.csv` "
    "(families of tasks and groups), `mcnemar.csv` (pairs of models), `report.json`, `tables.tex`; figures also as `.svg` and "
    "`.pdf`."
)
LEARNING = "Validation within the training lengths, mean over seeds with the range from lowest to highest."
LEGEND = (
    "Lines are means over seeds, bands the range from the lowest to the highest seed. Dotted vertical line: the training length. "
    "Gray dashed line: chance, for token accuracy."
)


def page(content: ReportContent, figures: list[str]) -> str:
    """`report.md` as text, with the figures of these file names."""
    parts = [f"# Report: {content.name}", content.summary, _verdicts(content.verdicts)]
    if content.command:
        parts.append(f"Reproduce with:\n\n```sh\n{content.command}\n```")
    parts.append(f"![Accuracy against length, one panel per task](accuracy.png)\n\n{LEGEND}")
    if "learning.png" in figures:
        parts.append(f"![Learning curves, one panel per task](learning.png)\n\n{LEARNING}")
    parts.append("## APE and RPE\n\n" + "\n".join(f"- {group_sentence(task)}" for task in content.tasks))
    parts += [table.markdown(level=2) for table in content.tables_over_tasks]
    for task in content.tasks:
        tables = [table.markdown(level=3) for table in content.tables_of(task)]
        parts += [f"## {task.title}", *tables, *_attention_figures(task, figures), runs.table(task).markdown(level=3)]
    if content.warnings:
        parts.append("## Warnings\n\n" + "\n".join(f"- {' '.join(text.split())}" for text in content.warnings))
    parts += [_provenance(content.provenance), DATA]
    return "\n\n".join(parts) + "\n"


def _verdicts(verdicts: list[Verdict]) -> str:
    lines = []
    for verdict in verdicts:
        lines += [f"- **{verdict.claim}: {verdict.outcome}**", *(f"  - {line}" for line in verdict.lines)]
    return "\n".join(["## Verdict\n", RULES + "\n", *lines])


def _attention_figures(task: TaskResults, figures: list[str]) -> list[str]:
    start = f"why-{slug(task.title)}-"
    names = [name for name in figures if name.startswith(start)]
    return ["### Attention patterns", *(f"![{name[len(start) : -4]}]({name})" for name in names)] if names else []


def _provenance(provenance: Provenance) -> str:
    lines = ["## Provenance", "", *(f"- {line}" for line in provenance_lines(provenance))]
    shared = "\n".join(f"{key}: {value}" for key, value in provenance.shared.items())
    return "\n".join(lines) + f"\n\nRecipe keys that all runs share:\n\n```yaml\n{shared}\n```"

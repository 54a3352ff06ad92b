"""The page of a report as Markdown, `report.md`."""

from collections.abc import Collection

from rpecli.report.content import ReportContent
from rpecli.report.figures.report import GRID, PLACES, PROBES, SHIFT
from rpecli.report.provenance import provenance_lines
from rpecli.report.tables import places, runs
from rpecli.report.tables.accuracy import group_sentence
from rpecli.report.verdict import RULES
from rpecli.report.write.templates import render
from rpecli.table import slug

DATA = {
    "summary.csv": "encodings by length", "runs.csv": "runs by length", "pairs.csv": "pairs of encodings",
    "pooled.csv": "families of tasks and groups", "suites.csv": "suites and families by encoding",
    "profiles.csv": "runs above thresholds", "mcnemar.csv": "pairs of models", "grid.csv": "pairs of sizes",
}  # fmt: skip
LEARNING = "Validation within the training lengths, mean over seeds with the range from lowest to highest."
LEGEND = (
    "Lines are means over seeds, bands the range from the lowest to the highest seed. Dotted vertical line: the training length. "
    "Gray dashed line: chance."
)
PROFILES = (
    "Performance profiles: the share of runs, over all tasks and seeds, whose mean over log length beyond training is above a "
    "threshold. Bands: pointwise 95 % bootstrap intervals over seeds within each task."
)
GRIDS = "Exact match in per cent, mean over seeds; the outline holds the sizes of training."
NOTES = {
    "rules": RULES, "figure_note": LEGEND, "learning_note": LEARNING, "places_note": places.CAPTION, "profiles_note": PROFILES,
    "grid_note": GRIDS,
}  # fmt: skip


def page(content: ReportContent, figures: Collection[str], data: Collection[str]) -> str:
    """`report.md` as text, with the figures and the files of data of these names."""
    sections = [
        {
            "title": task.title,
            "groups": group_sentence(task),
            "tables": [*content.tables_of(task), runs.table(task)],
            "attention": {name: file for name, file in _figures(task.title, figures).items() if name != SHIFT},
            "places": _figure(PLACES, task.title, figures),
            "shift": _figures(task.title, figures).get(SHIFT),
            "grid": _figure(GRID, task.title, figures),
        }
        for task in content.tasks_in_order
    ]
    return render("report.md.j2", report=content, sections=sections, figures=figures, **origin(content, data), **NOTES)


def origin(content: ReportContent, data: Collection[str]) -> dict[str, object]:
    """Warnings, provenance, the recipe keys that all runs share and the files of data, as both pages write them."""
    shared = "\n".join(f"{key}: {value}" for key, value in content.provenance.shared.items())
    warnings = [" ".join(warning.split()) for warning in content.warnings]
    files = ", ".join(f"`{name}` ({what})" for name, what in DATA.items() if name in data)
    data_note = f"Data: {files}, `report.json`, `paper.tex` and `appendix.tex`; figures also as `.svg` and `.pdf`."
    provenance = provenance_lines(content.provenance)
    return {"warnings": warnings, "provenance": provenance, "shared": shared, "data_note": data_note}


def _figure(kind: str, title: str, files: Collection[str]) -> str | None:
    """The file of a task's only figure of a kind, if it is one of these."""
    file = f"{kind}{slug(title)}.png"
    return file if file in files else None


def _figures(title: str, files: Collection[str]) -> dict[str, str]:
    """The files of a task's probes by the name of the figure."""
    start = f"{PROBES}{slug(title)}-"
    return {file.removeprefix(start).removesuffix(".svg"): file for file in files if file.startswith(start)}

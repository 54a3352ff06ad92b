"""All figures of a report, drawn once: for files as they are, and for a page that takes them apart."""

import gc
from dataclasses import dataclass
from typing import Any

from rpecli.plot import SeriesStyle, no_collection
from rpecli.report.aggregate import own_tasks
from rpecli.report.content import ReportContent
from rpecli.report.figures.accuracy import accuracy_figure, series_styles, with_reference
from rpecli.report.figures.attention import task_figures
from rpecli.report.figures.copy_weight import copy_weight_figure
from rpecli.report.figures.grid import grid_figure
from rpecli.report.figures.heads import head_looks, heads_overview
from rpecli.report.figures.invariance import shift_figure
from rpecli.report.figures.layout import Drawing
from rpecli.report.figures.learning import learning_figure
from rpecli.report.figures.places import places_figure
from rpecli.report.figures.profiles import profiles_figure
from rpecli.report.grid import grids as task_grids
from rpecli.table import slug

PLACES = "places-"  # how the names of the files of perplexity by place begin
PROBES = "inspect-"  # how the names of the files of probes begin
GRID = "grid-"  # how the names of the files of grids begin
TASKS_A_FILE = 12  # of the accuracy figure: more would be taller than a screen shows
SHIFT = "shift"  # the name of the figure of what a shift changes


@dataclass(frozen=True)
class Figures:
    """The figures of a report; those of probes by the title of their task and their own name."""

    styles: dict[str, SeriesStyle]
    accuracy: Drawing
    accuracy_files: dict[str, Drawing]  # the same by the stem of a file, TASKS_A_FILE tasks in each
    learning: Drawing | None
    profiles: Drawing | None
    copy_weight: Drawing | None  # on the page alone
    places: dict[str, Drawing]  # perplexity by place, by the title of the task
    grids: dict[str, Drawing]  # by the title of the task
    probes: dict[str, dict[str, Drawing]]
    heads: dict[str, Drawing]  # by the title of the task, one run per encoding
    head_looks: dict[str, dict[str, Any]]

    @no_collection()
    def files(self) -> dict[str, bytes]:
        """Every file by name: accuracy, learning curves and profiles as png, svg and pdf, those of probes as svg."""
        files = {name: data for stem, drawing in self.accuracy_files.items() for name, data in drawing.files(stem).items()}
        files |= self.learning.files("learning") if self.learning else {}
        files |= self.profiles.files("profiles") if self.profiles else {}
        for title, drawing in self.places.items():
            files |= drawing.files(f"{PLACES}{slug(title)}", ["png", "svg"])
        for title, drawing in self.grids.items():
            files |= drawing.files(f"{GRID}{slug(title)}")
        for title, drawings in self.probes.items():
            for name, drawing in drawings.items():
                files |= drawing.files(f"{PROBES}{slug(title)}-{name}", ["svg"])
        return files


@no_collection()
def report_figures(content: ReportContent) -> Figures:
    """Draws every figure that there are data for."""
    tasks = [task for task in content.tasks if task.lengths]
    styles = series_styles(tasks)
    probes, heads = dict[str, dict[str, Drawing]](), dict[str, Drawing]()
    for title in dict.fromkeys([*content.probes, *content.shifts]):
        probes[title] = {name: drawing.keep_svg() for name, drawing in _probe_figures(content, title, styles).items()}
        if inspected := content.probes.get(title):
            heads[title] = heads_overview([inspected.runs_of(label)[0] for label in inspected.labels]).keep_svg()
        gc.collect(0)  # the cycles of the emptied figures: all that was made since; the objects of the report are frozen
    looks = [head_looks(run) for inspected in content.probes.values() for run in inspected.runs]
    drawn = with_reference(tasks, content.shown_reference)
    all_styles = series_styles(drawn)
    accuracy, learning = accuracy_figure(drawn, all_styles), learning_figure(own_tasks(tasks), styles)
    parts = [drawn[start : start + TASKS_A_FILE] for start in range(0, len(drawn), TASKS_A_FILE)]
    several = [accuracy_figure(part, all_styles) for part in parts] if len(parts) > 1 else [accuracy]
    accuracy_files = {"accuracy" + (f"-{number}" if number > 1 else ""): part for number, part in enumerate(several, 1)}
    profiles = profiles_figure(content.profiles, styles)
    copying = copy_weight_figure(content.copy_weight, styles) if content.copy_weight else None
    places = {task.title: drawing for task in tasks if (drawing := places_figure(task, styles))}
    grids = {task.title: drawing for task in tasks if (drawing := grid_figure(task_grids(task)))}
    look = max(looks, key=len, default={})
    return Figures(
        all_styles, accuracy, accuracy_files, learning, profiles, copying, places, grids, probes, heads, look
    )  # fmt: skip


def _probe_figures(content: ReportContent, title: str, styles: dict[str, SeriesStyle]) -> dict[str, Drawing]:
    """The figures of one task's inspections and shifts, by name."""
    inspected, shifts = content.probes.get(title), content.shifts.get(title, {})
    drawings = task_figures(title, inspected.runs, inspected.pairs, styles) if inspected else {}
    lines = {label: [list(shifts.values()) for shifts in by_seed.values()] for label, by_seed in shifts.items()}
    return drawings | ({SHIFT: shift_figure(title, lines, styles)} if lines else {})

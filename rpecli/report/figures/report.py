"""Every figure of a report, each drawn once: the files that show it, and the drawings that a page takes apart."""

from dataclasses import dataclass
from typing import Any

from rpecli.plot import SeriesStyle, no_collection
from rpecli.report.aggregate import Panel
from rpecli.report.figures.accuracy import accuracy_figure, series_styles
from rpecli.report.figures.attention import task_figures
from rpecli.report.figures.heads import head_looks, heads_overview
from rpecli.report.figures.invariance import shift_figure
from rpecli.report.figures.layout import Drawing
from rpecli.report.figures.learning import learning_figure
from rpecli.report.load_probes import Seen
from rpecli.report.tables.invariance import Moves
from rpecli.table import slug

PROBES = "inspect-"  # how the names of the files of probes begin
SHIFT = "shift"  # the name of the figure of what a shift changes


@dataclass(frozen=True)
class Figures:
    """The figures of a report; those of probes by the title of their panel and by their own name."""

    styles: dict[str, SeriesStyle]
    accuracy: Drawing
    learning: Drawing | None
    probes: dict[str, dict[str, Drawing]]
    heads: dict[str, Drawing]  # of each panel, one run per encoding
    head_looks: dict[str, dict[str, Any]]

    @no_collection()
    def files(self) -> dict[str, bytes]:
        """Every file by name: the first two as png, svg and pdf, those of probes as svg."""
        files = self.accuracy.files("accuracy") | (self.learning.files("learning") if self.learning else {})
        for title, drawings in self.probes.items():
            for name, drawing in drawings.items():
                files |= drawing.files(f"{PROBES}{slug(title)}-{name}", ["svg"])
        return files


@no_collection()
def report_figures(panels: list[Panel], seen: dict[str, Seen], moves: dict[str, dict[str, dict[int, Moves]]]) -> Figures:
    """Draws every figure that there are data for."""
    panels = [panel for panel in panels if panel.lengths]
    styles = series_styles(panels)
    probes: dict[str, dict[str, Drawing]] = {}
    for panel in panels:
        if panel.title in seen:
            probes[panel.title] = task_figures(panel.title, seen[panel.title].runs, seen[panel.title].pairs, styles)
        if panel.title in moves:
            shifts = {label: [list(lines.values()) for lines in runs.values()] for label, runs in moves[panel.title].items()}
            probes.setdefault(panel.title, {})[SHIFT] = shift_figure(panel.title, shifts, styles)
    heads = {title: heads_overview([inspected.of(label)[0] for label in inspected.labels]) for title, inspected in seen.items()}
    looks = [head_looks(run) for inspected in seen.values() for run in inspected.runs]
    accuracy, learning = accuracy_figure(panels, styles), learning_figure(panels, styles)
    return Figures(styles, accuracy, learning, probes, heads, max(looks, key=len, default={}))

"""The page of a report for a browser, `report.html`: one self-contained file, readable with and without its script."""

from collections.abc import Collection
from dataclasses import dataclass, field

from rpecli.plot import no_collection
from rpecli.report import glossary
from rpecli.report.aggregate import TaskResults
from rpecli.report.answers import task_answers
from rpecli.report.attention_maps import EncodingMaps, attention_maps
from rpecli.report.content import ReportContent
from rpecli.report.definitions import names_in
from rpecli.report.figures.accuracy import PANELS
from rpecli.report.figures.page_svg import Chart, LegendBlock, PageCharts
from rpecli.report.figures.report import SHIFT, Figures
from rpecli.report.figures.score_terms import TERM_LOOKS
from rpecli.report.heatmap import css, heat_map
from rpecli.report.load import RunResults
from rpecli.report.provenance import revision
from rpecli.report.suites import MANY
from rpecli.report.tables import runs
from rpecli.report.write.markdown import NOTES, origin
from rpecli.report.write.templates import render
from rpecli.table import Table, plural

SIGNS = {"supported": "\u2714", "contradicted": "\u2716", "mixed": "\u25d0", "no difference": "="}
TERMS = "terms"  # the figure with a legend of its own
PREDICTIONS = "changed"  # the measure of a shift that is shown first


@dataclass
class Charts:
    """Every chart of the page and the legends over them; those of probes by the title of their task."""

    legend: list[LegendBlock]
    accuracy: list[Chart]
    second: list[Chart]  # exact match, or token accuracy beside perplexity
    learning: list[Chart]
    places: list[Chart]
    profiles: list[Chart]
    copying: list[Chart]
    grids: dict[str, list[Chart]] = field(default_factory=dict)
    attention: dict[str, list[Chart]] = field(default_factory=dict)
    terms: dict[str, list[Chart]] = field(default_factory=dict)
    heads: dict[str, list[Chart]] = field(default_factory=dict)
    shift: dict[str, tuple[list[Chart], list[Chart]]] = field(default_factory=dict)  # predictions, and all other measures
    term_legend: list[LegendBlock] = field(default_factory=list)
    head_legend: list[LegendBlock] = field(default_factory=list)
    markers: str = ""


@dataclass(frozen=True)
class Section:
    """One task: its tables by what they are about, and its runs."""

    title: str
    family: str
    accuracy: list[Table]
    grid: list[Table]
    training: list[Table]
    attention: list[Table]
    shift: list[Table]
    runs_note: str
    runs: dict[str, list[tuple[str, str]]]  # by encoding: path, and a few words about it


@no_collection()
def page(content: ReportContent, figures: Figures, data: Collection[str]) -> str:
    """`report.html`, the same bytes for the same runs; `data` are the names of its files of data."""
    page_charts = PageCharts()
    charts = _charts(page_charts, figures)
    heat = heat_map(content.tasks, content.reference)
    maps_task, maps = _maps(content)
    context = {
        "report": content, "counts": _counts(content), "links": _links(content), "signs": SIGNS, "heat": heat, "charts": charts,
        "answers": task_answers(content.tasks, content.reference), "maps_task": maps_task, "maps": maps,
        "sections": [_section(content, task) for task in content.tasks_in_order], "glossary": glossary.terms(),
        "term_id": glossary.term_id, "MANY": MANY,
        "style": page_charts.css() + css(heat),
    }  # fmt: skip
    return render("report.html.j2", **context, **origin(content, data), **NOTES)


def _maps(content: ReportContent) -> tuple[str, list[EncodingMaps]]:
    """The attention of one string: of the task that the weight of copying heads is told of, else of the first that has any."""
    by_task = {probes.task.short_title: attention_maps(probes) for probes in content.probes.values()}
    copying = content.copy_weight.task if content.copy_weight else ""
    return max(by_task.items(), key=lambda item: (bool(item[1]), item[0] == copying), default=("", []))


def _counts(content: ReportContent) -> str:
    """How many encodings, tasks and seeds."""
    seeds = {run.config.seed for run in content.runs}
    numbers = [plural(len(content.labels), "encoding"), plural(len(content.tasks), "task"), plural(len(seeds), "seed")]
    return " \u00d7 ".join(numbers)


def _links(content: ReportContent) -> dict[str, str]:
    """Where the definition of each encoding is, by both of its titles."""
    links: dict[str, str] = {}
    for encoding in (encoding for task in (*content.tasks, *content.reference) for encoding in task.encodings):
        names = [name for name in names_in(encoding.runs[0].config.encoding) if name in content.definitions]
        if names:
            links |= dict.fromkeys((encoding.title, encoding.short_title), f"#{content.definitions[names[0]].id}")
    return links


def _section(content: ReportContent, task: TaskResults) -> Section:
    by_part: dict[str, list[Table]] = {"accuracy": [], "grid": [], "training": [], "attention": [], "shift": []}
    for table in (table for table in content.all_tables if table.section == task.title):
        by_part[table.part].append(table.within_section())
    by_encoding = {encoding.title: [(str(run.path), _about(run)) for run in encoding.runs] for encoding in task.encodings}
    return Section(title=task.title, family=task.family, **by_part, runs_note=runs.description(task), runs=by_encoding)


def _about(run: RunResults) -> str:
    return f"seed {run.config.seed}, {run.record['status']}, commit {revision(run)}"


def _charts(page: PageCharts, figures: Figures) -> Charts:
    accuracy = page.charts(figures.accuracy)
    learning, profiles, copying = (page.charts(drawing) if drawing else []
                                   for drawing in (figures.learning, figures.profiles, figures.copy_weight))  # fmt: skip
    charts = Charts(
        legend=page.styles_legend(figures.styles),
        accuracy=[chart for chart in accuracy if chart.key == PANELS[0]],
        second=[chart for chart in accuracy if chart.key != PANELS[0]],
        learning=learning,
        places=[chart for drawing in figures.places.values() for chart in page.charts(drawing)],
        profiles=profiles,
        copying=copying,
    )
    charts.grids = {title: page.charts(drawing) for title, drawing in figures.grids.items()}
    for title, drawings in figures.probes.items():
        attention = [name for name in drawings if name not in (TERMS, SHIFT)]
        if attention:
            charts.attention[title] = [chart for name in attention for chart in page.charts(drawings[name])]
            charts.terms[title] = page.charts(drawings[TERMS]) if TERMS in drawings else []
            charts.heads[title] = page.charts(figures.heads[title])
        if SHIFT in drawings:
            shift = page.charts(drawings[SHIFT])
            first = [chart for chart in shift if chart.key == PREDICTIONS]
            charts.shift[title] = first, [chart for chart in shift if chart.key != PREDICTIONS]
    charts.term_legend = [page.legend(TERMS, TERM_LOOKS)]
    charts.head_legend = [page.legend("heads", figures.head_looks)]
    charts.markers = page.definitions()
    return charts

"""The page of a report for a browser, `report.html`: one self-contained file, readable with and without its script."""

from dataclasses import dataclass, field

from rpecli.plot import no_collection
from rpecli.report.content import ReportContent
from rpecli.report.figures.page_svg import Chart, LegendBlock, PageCharts
from rpecli.report.figures.report import SHIFT, Figures
from rpecli.report.figures.score_terms import TERM_LOOKS
from rpecli.report.format import plural
from rpecli.report.heatmap import css, heat_map
from rpecli.report.load import RunResults
from rpecli.report.provenance import revision
from rpecli.report.tables import runs
from rpecli.report.write.markdown import NOTES, origin
from rpecli.report.write.templates import render
from rpecli.table import slug

SIGNS = {"supported": "\u2714", "contradicted": "\u2716", "mixed": "\u25d0", "no difference": "="}
TERMS = "terms"  # the figure with a legend of its own
PREDICTIONS = "changed"  # the measure of a shift that is shown first


@dataclass
class Charts:
    """Every chart of the page and the legends over them; those of probes by the title of their task."""

    legend: list[LegendBlock]
    accuracy: list[Chart]
    learning: list[Chart]
    profiles: list[Chart]
    attention: dict[str, list[Chart]] = field(default_factory=dict)
    terms: dict[str, list[Chart]] = field(default_factory=dict)
    heads: dict[str, list[Chart]] = field(default_factory=dict)
    shift: dict[str, tuple[list[Chart], list[Chart]]] = field(default_factory=dict)  # predictions, and all other measures
    term_legend: list[LegendBlock] = field(default_factory=list)
    head_legend: list[LegendBlock] = field(default_factory=list)
    markers: str = ""


@no_collection()
def page(content: ReportContent, figures: Figures) -> str:
    """`report.html`, the same bytes for the same runs."""
    charts_of_page = PageCharts()
    charts = _charts(charts_of_page, figures)
    sections = [
        {
            "title": task.title,
            "tables": content.tables_of(task),
            "runs_note": runs.description(task),
            "runs": {encoding.title: [(str(run.path), _about(run)) for run in encoding.runs] for encoding in task.encodings},
            "links": {encoding.title: f"#runs-{slug(task.title)}-{place}" for place, encoding in enumerate(task.encodings)},
        }
        for task in content.tasks
    ]
    heat = heat_map(content.tasks, content.reference)
    context = {"report": content, "sections": sections, "charts": charts, "signs": SIGNS, "heat": heat,
               "counts": _counts(content), "links": {}, "style": charts_of_page.css() + css(heat)}  # fmt: skip
    return render("report.html.j2", **context, **origin(content), **NOTES)


def _counts(content: ReportContent) -> str:
    """How many encodings, tasks and seeds."""
    labels = {encoding.label for task in content.tasks for encoding in task.encodings}
    seeds = {run.config.seed for run in content.runs}
    numbers = [plural(len(labels), "encoding"), plural(len(content.tasks), "task"), plural(len(seeds), "seed")]
    return " \u00d7 ".join(numbers)


def _about(run: RunResults) -> str:
    return f"seed {run.config.seed}, {run.record['status']}, commit {revision(run)}"


def _charts(page: PageCharts, figures: Figures) -> Charts:
    learning = page.charts(figures.learning) if figures.learning else []
    charts = Charts(
        page.styles_legend(figures.styles),
        page.charts(figures.accuracy),
        learning,
        page.charts(figures.profiles) if figures.profiles else [],
    )
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

"""The page of a report for a browser, `report.html`: one file that asks the network for nothing, with or without script."""

import re
from html import escape
from typing import Any

from rpecli.report.aggregate import TaskResults
from rpecli.report.content import ReportContent
from rpecli.report.figures import attention_chart
from rpecli.report.figures import inline as svg
from rpecli.report.figures import learning_chart as learning
from rpecli.report.figures.accuracy import looks
from rpecli.report.load import RunResults
from rpecli.report.provenance import provenance_lines, revision
from rpecli.report.records import Provenance
from rpecli.report.tables import runs as runs_table
from rpecli.report.verdict import RULES, Verdict
from rpecli.report.write import markdown
from rpecli.report.write.page_style import CSS, SCRIPT
from rpecli.table import Table, slug

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
SIGNS = {"supported": "\u2714", "contradicted": "\u2716", "mixed": "\u25d0", "no difference": "="}


def page(content: ReportContent) -> str:
    """The whole page, the same bytes for the same runs."""
    drawn = [panel for panel in content.tasks if panel.lengths]
    known = looks(drawn)
    inside = attention_chart.sections(content.tasks, content.probes, content.shifts)
    parts = [f"<h1>Report: {escape(content.name)}</h1><p>{escape(content.summary)}</p>", ""]
    parts += [_verdicts(content.verdicts), _figure(drawn, known)]
    over = [table_html(table, None, 2) for table in content.tables_over_tasks]
    parts += [f'<section id="overall">{"".join(over)}</section>'] if over else []
    parts += [_panel(panel, content.tables_of(panel), inside[panel.title]) for panel in content.tasks]
    parts += [warnings_html(content.warnings), _provenance(content.provenance, content.command)]
    parts[1] = _contents(content.tasks, "".join(parts))
    return document(content.name, parts, svg.colours(known))


def document(title: str, parts: list[str], style: str = "") -> str:
    """A whole page of these parts."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f'<title>{escape(title)}</title><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    body = "\n".join(part for part in parts if part)
    ended = f"</main><script>{SCRIPT}</script></body></html>\n"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{CSS}{style}</style></head>\n<body><main>\n{body}\n{ended}'


def _contents(panels: list[TaskResults], body: str) -> str:
    """Links to the sections that there are."""
    links = [("verdict", "Verdict"), ("figure", "Accuracy"), ("learning", "Learning curves"), ("overall", "All tasks")]
    links += [(slug(panel.title), panel.title) for panel in panels]
    links += [("warnings", "Warnings"), ("provenance", "Provenance")]
    shown = "".join(f'<a href="#{to}">{escape(text)}</a>' for to, text in links if f'<section id="{to}"' in body)
    return f"<nav>{shown}</nav>"


def _verdicts(verdicts: list[Verdict]) -> str:
    cards = []
    for each in verdicts:
        sign = SIGNS.get(each.outcome, "?")
        lines = "".join(f"<li>{escape(text)}</li>" for text in each.lines)
        head = (
            f'<h3>{escape(each.claim)}</h3><p class="outcome"><span aria-hidden="true">{sign}</span> {escape(each.outcome)}</p>'
        )
        cards.append(f'<article class="claim {slug(each.outcome)}">{head}<ul>{lines}</ul></article>')
    rules = f'<p class="quiet">{escape(RULES)}</p>'
    return f'<section id="verdict"><h2>Verdict</h2><div class="claims">{"".join(cards)}</div>{rules}</section>'


def _figure(panels: list[TaskResults], known: Any) -> str:
    charts = "".join(svg.chart(panel, measure, known) for panel in panels for measure in ("token_accuracy", "exact_match"))
    said = f'<p class="quiet">{escape(markdown.LEGEND)}</p>'
    shown = f'{svg.legend(known)}<div class="charts">{charts}</div>{said}'
    return f'<section id="figure"><h2>Accuracy against length</h2>{shown}</section>{_learning(panels, known)}'


def _learning(panels: list[TaskResults], known: Any) -> str:
    curves = [(panel, learning.curves(panel)) for panel in panels]
    charts = "".join(learning.chart(panel, found, known) for panel, found in curves if found)
    said = f'<p class="quiet">{escape(markdown.LEARNING)}</p>'
    shown = f'{svg.legend(known)}<div class="charts">{charts}</div>{said}'
    return f'<section id="learning"><h2>Learning curves</h2>{shown}</section>' if charts else ""


def _panel(panel: TaskResults, tables: list[Table], inside: str) -> str:
    shown = "".join(table_html(table, panel, 3) for table in tables)
    return f'<section id="{slug(panel.title)}"><h2>{escape(panel.title)}</h2>{shown}{inside}{_runs(panel)}</section>'


def _runs(panel: TaskResults) -> str:
    """Which directories each row's numbers come from, and the strings that they were measured on."""
    items = []
    for row in panel.encodings:
        runs = ", ".join(_run(each) for each in row.runs)
        items.append(f'<li id="{_row_id(panel, row.label)}"><b>{escape(row.label)}</b>: {runs}</li>')
    shown = f'<p class="quiet">{_code(runs_table.description(panel))}</p><ul class="runs">{"".join(items)}</ul>'
    return f"<details><summary><h3>Runs behind these numbers</h3></summary>{shown}</details>"


def _run(each: RunResults) -> str:
    what = f"seed {each.config.seed}, {each.record['status']}, commit {revision(each)}"
    return f"<code>{escape(str(each.path))}</code> ({escape(what)})"


def _row_id(panel: TaskResults, label: str) -> str:
    """By place, since two labels may differ in signs alone."""
    return f"runs-{slug(panel.title)}-{[row.label for row in panel.encodings].index(label)}"


def table_html(table: Table, panel: TaskResults | None, level: int) -> str:
    """A table that sorts; of a panel, its rows lead to the runs behind them."""
    title = table.title
    linked = panel is not None and table.columns[0] == "encoding"
    links = {row.label: f"#{_row_id(panel, row.label)}" for row in panel.encodings} if panel is not None and linked else {}
    region = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">{table.html(links)}</div>'
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.footnotes)
    inner = f'{region}<p class="caption">{escape(table.caption)}</p>{notes}'
    heading = f"<h{level}>{escape(title)}</h{level}>"
    return f"<details><summary>{heading}</summary>{inner}</details>" if table.folded else heading + inner


def warnings_html(warnings: list[str]) -> str:
    items = "".join(f"<li>{escape(' '.join(text.split()))}</li>" for text in warnings)
    return f'<section id="warnings"><h2>Warnings</h2><ul>{items}</ul></section>' if items else ""


def _provenance(found: Provenance, command: str | None) -> str:
    items = "".join(f"<li>{_code(line)}</li>" for line in provenance_lines(found))
    shared = escape("\n".join(f"{key}: {value}" for key, value in found.shared.items()))
    again = f"<h3>Reproduce with</h3><pre>{escape(command)}</pre>" if command else ""
    keys = f"<h3>Recipe keys that all runs share</h3><pre>{shared}</pre>"
    return f'<section id="provenance"><h2>Provenance</h2>{again}<ul>{items}</ul>{keys}<p>{_code(markdown.DATA)}</p></section>'


def _code(text: str) -> str:
    """Backquotes of Markdown as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))

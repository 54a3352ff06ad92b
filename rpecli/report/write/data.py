"""The data of a report: report.json, and CSV files of runs, rows, pairs of encodings and pairs of models, as schema.py says."""

import json
import math
from dataclasses import asdict
from typing import Any

from rpecli import __version__
from rpecli.report import paired as compare
from rpecli.report import stats
from rpecli.report.aggregate import MEASURES, Panel, Row
from rpecli.report.load import Collected, Run
from rpecli.report.schema import FORMAT
from rpecli.report.tables import pooled as overall
from rpecli.report.verdict import Verdict
from rpecli.report.write.content import provenance

WHOLE = ("training_length", "length", "runs", "solved", "judged", "failed", "steps_to_90_reached", "steps_to_90_runs")
AREAS = {"area": "token_accuracy", "exact_match_area": "exact_match"}
INTERVALS = ("exact_match", "token_accuracy")  # measures whose bootstrap interval is worth its milliseconds


def data(name: str, command: str | None, collected: Collected, panels: list[Panel], verdicts: list[Verdict]) -> dict[str, Any]:
    """`report.json`."""
    made: dict[str, Any] = {"format": FORMAT, "rpe": __version__, "name": name, "command": command}
    made |= {"verdicts": [asdict(each) for each in verdicts], "provenance": provenance(collected.runs)}
    made |= {"runs": [run_record(each) for each in collected.runs], "rows": summary_rows(panels)}
    made |= {"groups": group_rows(panels), "pairs": pair_rows(panels), "pooled": overall.rows(panels)}
    cleaned: dict[str, Any] = plain(made | {"problems": collected.problems})
    return cleaned


def run_record(each: Run) -> dict[str, Any]:
    """A run with all that `--compare` needs to read it again."""
    about = {"id": each.id, "path": str(each.path), **each.info}
    return about | {"recipe": each.config.to_keys(), "settings": each.settings, "evaluations": list(each.lines.values())}


def files(collected: Collected, panels: list[Panel], found: dict[str, Any]) -> dict[str, bytes]:
    """The CSV files, of the rows that `data` holds; those of pairs only where there are any."""
    import pandas as pd

    made = {"runs.csv": collected.frame, "summary.csv": pd.DataFrame(found["rows"]).astype(dict.fromkeys(WHOLE, "Int64"))}
    strings = [_of(panel) | _renamed(asdict(each)) for panel in panels for each in compare.strings(panel)]
    more = {"pairs.csv": found["pairs"], "pooled.csv": found["pooled"], "strings.csv": strings}
    made |= {name: pd.DataFrame(rows) for name, rows in more.items() if rows}
    return {name: str(frame.to_csv(index=False, lineterminator="\n")).encode() for name, frame in made.items()}


def _renamed(row: dict[str, Any]) -> dict[str, Any]:
    return {{"holm": "p_holm"}.get(key, key): value for key, value in row.items()}


def as_json(found: dict[str, Any]) -> bytes:
    return (json.dumps(found, indent=1, allow_nan=False) + "\n").encode()


def _of(panel: Panel) -> dict[str, Any]:
    return {"task": panel.task, "training_length": panel.length}


def pair_rows(panels: list[Panel]) -> list[dict[str, Any]]:
    """`pairs.csv`: every two encodings of a panel by both measures beyond training; Holm within panel and measure."""
    made = []
    for panel in panels:
        for measure in compare.MEASURES:
            for pair in compare.pairs(compare.scores(panel, measure)):
                row = {"measure": measure, "first": pair.first, "second": pair.second, **asdict(pair.difference)}
                made.append(_of(panel) | row | {"p_holm": pair.holm})
    return made


def summary_rows(panels: list[Panel]) -> list[dict[str, Any]]:
    """`summary.csv`: one row per panel, encoding and length; an encoding without evaluations keeps one row."""
    return [_summary(panel, row, length) for panel in panels for row in panel.rows for length in (row.cells or [None])]


def _summary(panel: Panel, row: Row, length: int | None) -> dict[str, Any]:
    cells = row.cells[length] if length else {}
    made: dict[str, Any] = {"task": panel.task, "training_length": panel.length, "encoding": row.label, "group": row.group}
    made |= {"length": length, "factor": length / panel.length if length else None}
    made["runs"] = cells["token_accuracy"].number if cells else 0
    for measure in MEASURES:
        found = cells.get(measure)
        made |= {f"{measure}_{part}": getattr(found, part, None) for part in ("mean", "median", "low", "high")}
    for measure in INTERVALS:
        values = [each.lines[length][measure] for each in row.evaluated if length in each.lines] if length else []
        low, high = stats.mean_interval([values]) or (None, None)
        made |= {f"{measure}_interval_low": low, f"{measure}_interval_high": high}
    made |= {"chance": panel.chance.get(length) if length else None, "untrained_positions": row.untrained.get(length or 0, 0.0)}
    steps = row.steps_to_90
    made |= {"solved": sum(row.judged), "judged": len(row.judged), "failed": row.failed}
    for name, reach in (("effective_length", row.effective()), ("half_length", row.effective(stats.HALF))):
        made |= {f"{name}_{part}": getattr(reach, part, None) for part in ("mean", "low", "high")}
    made |= {f"{name}_mean": getattr(row.area(m), "mean", None) for name, m in AREAS.items()}
    made |= {"steps_to_90_median": stats.censored_median(steps)}
    made |= {"steps_to_90_reached": sum(s is not None for s in steps), "steps_to_90_runs": len(steps)}
    return made


def group_rows(panels: list[Panel]) -> list[dict[str, Any]]:
    """The groups of each panel by length."""
    made = []
    for panel in panels:
        for group in panel.groups:
            head = {"task": panel.task, "training_length": panel.length, "group": group.name, "encodings": len(group.rows)}
            head |= {"runs": group.runs, "solved": sum(group.judged), "judged": len(group.judged)}
            for length, cells in group.cells.items():
                means = {measure: cells[measure].mean if measure in cells else None for measure in MEASURES}
                made.append(head | {"length": length, "factor": length / panel.length, **means})
    return made


def plain(value: Any) -> Any:
    """Without what strict JSON has no word for: nan and infinities become null."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

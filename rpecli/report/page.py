"""The page of a report, `report.md`, and its data: summary rows, provenance, what all runs share and where they differ."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rpecli import stats
from rpecli.report.frames import Run
from rpecli.report.panels import MEASURES, Panel, Row
from rpecli.report.tables import Table, to_markdown
from rpecli.report.views import comparison


def page(name: str, runs: list[Run], panels: list[Panel], tables: list[Table], problems: list[str], command: str | None) -> str:
    """`report.md` as text."""
    parts = [f"# Report: {name}", _what(runs, panels)]
    if command:
        parts.append(f"Made again with:\n\n```sh\n{command}\n```")
    parts.append(f"![Accuracy against length, a panel per task](accuracy.png)\n\n{LEGEND}")
    parts.append("## APE against RPE\n\n" + "\n".join(f"- {comparison(panel)}" for panel in panels))
    for panel in panels:
        parts.append("\n".join([f"## {panel.title}\n", *_under(panel, tables)]).rstrip())
    if problems:
        parts.append("## What is missing or wrong\n\n" + "\n".join(f"- {' '.join(text.split())}" for text in problems))
    parts.append(_provenance(provenance(runs)))
    parts.append("Data: `runs.csv` (each run and length), `summary.csv` (each row and length), `report.json`, `tables.tex`.")
    return "\n\n".join(parts) + "\n"


def _under(panel: Panel, tables: list[Table]) -> list[str]:
    """A panel's tables, their titles without the panel's own, which is the heading above them."""
    start = f"{panel.title}: "
    mine = [table for table in tables if table.title.startswith(start)]
    return [to_markdown(replace(table, title=table.title.removeprefix(start).capitalize())) for table in mine]


LEGEND = (
    "Lines are means over seeds, bands the range from the lowest to the highest seed. Dotted vertical line: the training length. "
    "Grey dashed line: chance, for token accuracy."
)


def _what(runs: list[Run], panels: list[Panel]) -> str:
    statuses = Counter(str(each.info["status"]) for each in runs)
    said = ", ".join(f"{number} {status}" for status, number in sorted(statuses.items(), key=lambda item: (-item[1], item[0])))
    labels = {row.label for panel in panels for row in panel.rows}
    seeds = sorted({each.config.seed for each in runs})
    lengths = sorted({length for panel in panels for length in panel.lengths})
    text = f"{_plural(len(runs), 'run')} ({said}): {_plural(len(panels), 'task')} ({'; '.join(p.title for p in panels)}), "
    text += f"{_plural(len(labels), 'encoding')}, {_plural(len(seeds), 'seed')}, evaluated at lengths {_listed(lengths)}."
    return text


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


# ------------------------------------------------------------------------------------------------------------- provenance


def provenance(runs: list[Run]) -> dict[str, Any]:
    """Where the numbers come from: code, versions, machines, and the recipe keys that all runs share or do not."""
    infos = [each.info for each in runs if each.lines]
    commits = Counter(f"{info['commit']}{' + changes' if info.get('dirty') else ''}" for info in infos if info.get("commit"))
    versions = {key: _values(info.get("versions", {}).get(key) for info in infos) for key in _keys(infos)}
    dumps = [each.config.model_dump(exclude_none=True) for each in runs]
    keys = dict.fromkeys(key for dump in dumps for key in dump)
    values = {key: _values(dump.get(key) for dump in dumps) for key in keys}
    apart = ("task", "encoding", "positions", "seed")
    return {
        "commits": dict(sorted(commits.items())),
        "versions": versions,
        **{key: _values(info.get(key) for info in infos) for key in ("machine", "device", "threads", "platform", "study")},
        "sets": _values(line.get("eval_seed") for each in runs for line in each.lines.values()),
        "shared": {key: found[0] for key, found in values.items() if len(found) == 1 and key not in apart},
        "differing": {key: found for key, found in values.items() if len(found) > 1 or key in apart},
    }


def _keys(infos: list[dict[str, Any]]) -> list[str]:
    return sorted({key for info in infos for key in info.get("versions", {})})


def _values(found: Iterable[Any]) -> list[Any]:
    """What was found, each value once, in a stable order, nothing for None."""
    return sorted({value for value in found if value is not None}, key=lambda value: (isinstance(value, str), value))


def _provenance(found: dict[str, Any]) -> str:
    lines = ["## Provenance", ""]
    commits = [f"`{commit}` ({_plural(number, 'run')})" for commit, number in found["commits"].items()]
    versions = [f"{package} {_listed(values)}" for package, values in found["versions"].items() if values]
    lines += [f"- commit: {_listed(commits) or 'unknown'}", f"- versions: {_listed(versions) or 'unknown'}"]
    lines += [f"- {key}: {_listed(found[key])}" for key in ("machine", "device", "threads", "study") if found[key]]
    lines += [f"- seed of the evaluation sets: {_listed(found['sets'])}"] if found["sets"] else []
    lines += [f"- {key}: {_listed(values)}" for key, values in found["differing"].items()]
    shared = "\n".join(f"{key}: {value}" for key, value in found["shared"].items())
    return "\n".join(lines) + f"\n\nRecipe keys that all runs share:\n\n```yaml\n{shared}\n```"


# ------------------------------------------------------------------------------------------------------------------- data


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
        made |= {f"{measure}_{part}": getattr(found, part, None) for part in ("mean", "low", "high")}
    made |= {"chance": panel.chance.get(length) if length else None, "untrained_positions": row.untrained.get(length or 0, 0.0)}
    reach, steps = row.effective, row.steps_to_90
    made |= {"solved": sum(row.judged), "judged": len(row.judged), "failed": row.failed}
    made |= {f"effective_length_{part}": getattr(reach, part, None) for part in ("mean", "low", "high")}
    made |= {"area_mean": getattr(row.area, "mean", None), "steps_to_90_median": stats.censored_median(steps)}
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
                means = {measure: found.mean for measure, found in cells.items()}
                made.append(head | {"length": length, "factor": length / panel.length, **means})
    return made


def plain(value: Any) -> Any:
    """Without what strict JSON has no word for: nan and infinities become null."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

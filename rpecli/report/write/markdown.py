"""The page of a report, `report.md`: verdict, figure, tables, provenance, what all runs share and where they differ."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rpecli.report.aggregate import Panel
from rpecli.report.load import Collected, Run
from rpecli.report.tables.accuracy import comparison
from rpecli.report.verdict import Verdict
from rpecli.table import Table, slug


def page(
    name: str,
    collected: Collected,
    panels: list[Panel],
    tables: list[Table],
    verdicts: list[Verdict],
    command: str | None,
    figures: list[str],
) -> str:
    """`report.md` as text; of the figures, those that were drawn are shown."""
    runs, problems = collected.runs, collected.problems
    parts = [f"# Report: {name}", what(runs, panels), _verdict(verdicts)]
    if command:
        parts.append(f"Made again with:\n\n```sh\n{command}\n```")
    parts.append(f"![Accuracy against length, a panel per task](accuracy.png)\n\n{LEGEND}")
    if "learning.png" in figures:
        parts.append(f"![Learning curves, a panel per task](learning.png)\n\n{LEARNING}")
    parts.append("## APE against RPE\n\n" + "\n".join(f"- {comparison(panel)}" for panel in panels))
    parts += [table.markdown(level=2) for table in tables if not panel_of(table, panels)]
    for panel in panels:
        inside = [*_under(panel, tables), *_why(panel, figures), runs_table(panel).markdown(level=3)]
        parts.append("\n\n".join([f"## {panel.title}", *inside]))
    if problems:
        parts.append("## What is missing or wrong\n\n" + "\n".join(f"- {' '.join(text.split())}" for text in problems))
    parts.append(_provenance(provenance(runs)))
    parts.append(DATA)
    return "\n\n".join(parts) + "\n"


def _verdict(verdicts: list[Verdict]) -> str:
    lines = [
        line for each in verdicts for line in (f"- **{each.claim}: {each.outcome}**", *(f"  - {text}" for text in each.lines))
    ]
    return "\n".join(["## Verdict\n", RULES + "\n", *lines])


def panel_of(table: Table, panels: list[Panel]) -> Panel | None:
    """The panel that a table is of; None for one over all of them."""
    return next((panel for panel in panels if table.title.startswith(f"{panel.title}: ")), None)


def _under(panel: Panel, tables: list[Table]) -> list[str]:
    """A panel's tables, their titles without the panel's own, which is the heading above them."""
    start = f"{panel.title}: "
    mine = [table for table in tables if table.title.startswith(start)]
    return [replace(table, title=table.title.removeprefix(start).capitalize()).markdown(level=3) for table in mine]


def _why(panel: Panel, figures: list[str]) -> list[str]:
    """The pictures of what inspect found in a panel's runs."""
    start = f"why-{slug(panel.title)}-"
    mine = [name for name in figures if name.startswith(start)]
    return ["### Where and why heads look", *(f"![{name[len(start) : -4]}]({name})" for name in mine)] if mine else []


def fingerprints(panel: Panel) -> str:
    """Which strings were answered at each length: one mark, since a report of several is refused."""
    marks = {
        n: {str(each.lines[n].get("fingerprint")) for row in panel.rows for each in row.evaluated if n in each.lines}
        for n in panel.lengths
    }
    return "Fingerprints of the evaluation strings by length: " + ", ".join(
        f"{n}: {' '.join(sorted(found))}" for n, found in marks.items()
    )


def runs_table(panel: Panel) -> Table:
    """The directory behind every number, its seed, status and commit."""
    lines = [[row.label, str(each.config.seed), str(each.info["status"]), revision(each), f"`{each.path}`"]
             for row in panel.rows for each in row.runs]  # fmt: skip
    caption = f"Each is trained again by `rpe train RUN/recipe.yaml`. {fingerprints(panel)}."
    mask = [[False] * 5 for _ in lines]
    columns = ["encoding", "seed", "status", "commit", "run"]
    return Table("Runs behind these numbers", columns, "lrlll", lines, mask, caption, [], folded=True)


def revision(each: Run) -> str:
    """The first digits of a run's commit, `+` where tracked files differed from it."""
    return str(each.info.get("commit") or "unknown")[:8] + ("+" if each.info.get("dirty") else "")


RULES = (
    "Relative (RPE) against absolute (APE) encodings, paired by seed within each task, by rules fixed before any run. Supported "
    "or contradicted: the sign-flip test over all pairs has p below .05, adjusted for the claims tested together (Holm), and the "
    "95 % bootstrap interval leaves out 0. No "
    "difference: the interval lies within .05 of accuracy, or a tenth of the steps. Mixed: one task's interval lies on the other "
    "side. Fewer than 3 seeds a task, or 6 pairs in all, decide nothing."
)
DATA = (
    "Data: `summary.csv` (each row and length), `runs.csv` (each run and length), `pairs.csv` (every two encodings), "
    "`pooled.csv` (families and groups of tasks), `strings.csv` (every two models on the same strings), `report.json`, "
    "`tables.tex`; figures also as `.svg` and `.pdf`."
)
LEARNING = "Validation within the training lengths, mean over seeds with the range from lowest to highest."
LEGEND = (
    "Lines are means over seeds, bands the range from the lowest to the highest seed. Dotted vertical line: the training length. "
    "Grey dashed line: chance, for token accuracy."
)


def what(runs: list[Run], panels: list[Panel]) -> str:
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
    dumps = [each.config.to_keys() for each in runs]
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


def provenance_lines(found: dict[str, Any]) -> list[str]:
    """Code, versions, machines, and the recipe keys that differ, a line each."""
    commits = [f"`{commit}` ({_plural(number, 'run')})" for commit, number in found["commits"].items()]
    versions = [f"{package} {_listed(values)}" for package, values in found["versions"].items() if values]
    lines = [f"commit: {_listed(commits) or 'unknown'}", f"versions: {_listed(versions) or 'unknown'}"]
    lines += [f"{key}: {_listed(found[key])}" for key in ("machine", "device", "threads", "study") if found[key]]
    lines += [f"seed of the evaluation sets: {_listed(found['sets'])}"] if found["sets"] else []
    return lines + [f"{key}: {_listed(values)}" for key, values in found["differing"].items()]


def _provenance(found: dict[str, Any]) -> str:
    lines = ["## Provenance", "", *(f"- {line}" for line in provenance_lines(found))]
    shared = "\n".join(f"{key}: {value}" for key, value in found["shared"].items())
    return "\n".join(lines) + f"\n\nRecipe keys that all runs share:\n\n```yaml\n{shared}\n```"

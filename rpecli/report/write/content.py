"""What a report says, once for its Markdown and its HTML: summary, notes, sections and where the numbers come from."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from rpecli.report.aggregate import Panel, Row
from rpecli.report.figures.report import PROBES
from rpecli.report.load import Collected, Run
from rpecli.report.tables.accuracy import comparison
from rpecli.report.verdict import Verdict
from rpecli.table import Table, slug

RULES = (
    "Relative (RPE) against absolute (APE) encodings, paired by seed within each task, by rules fixed before any run. Supported "
    "or contradicted: the sign-flip test over all pairs gives p < 0.05, adjusted for the claims that are tested together (Holm), "
    "and the 95 % bootstrap interval excludes 0. No difference: the interval lies within 0.05 of accuracy, or a tenth of the "
    "steps. Mixed: the interval of one task lies on the other side. At least 3 seeds per task and 6 pairs in total are required."
)
DATA = (
    "Data: `summary.csv` (per encoding and length), `runs.csv` (per run and length), `pairs.csv` (per pair of encodings), "
    "`pooled.csv` (families and groups of tasks), `strings.csv` (per pair of models on the same sequences), `report.json` (all "
    "of it), `tables.tex` (every table for LaTeX). The figures are also there as `.svg` and `.pdf`."
)
LEARNING = "Validation within the training lengths. Lines are means over seeds; bands span the lowest to the highest seed."
LEGEND = (
    "Lines are means over seeds; bands span the lowest to the highest seed. Dotted vertical line: the training length. Dashed "
    "gray line: chance (token accuracy)."
)
AXES = ("task", "encoding", "positions", "seed")  # recipe keys by which the runs of a study differ


@dataclass(frozen=True)
class RunFacts:
    """A run behind the numbers of a row."""

    path: str
    seed: int
    status: str
    commit: str  # its first digits, `+` where tracked files differed from it

    @property
    def about(self) -> str:
        return f"seed {self.seed}, {self.status}, commit {self.commit}"


@dataclass(frozen=True)
class EncodingRuns:
    """One row of a section's tables and the runs behind it."""

    label: str
    runs: list[RunFacts]


@dataclass(frozen=True)
class Section:
    """One task at one training length."""

    title: str
    comparison: str  # RPE against APE in a sentence
    tables: list[Table]  # their titles without that of the section
    encodings: list[EncodingRuns]
    fingerprints: str

    @property
    def links(self) -> dict[str, str]:
        """The address of the runs of every label, by its place: two labels may differ in signs alone."""
        return {encoding.label: f"#runs-{slug(self.title)}-{place}" for place, encoding in enumerate(self.encodings)}

    @property
    def runs_note(self) -> str:
        return f"Train a run again with `rpe train RUN/recipe.yaml`. {self.fingerprints}."

    @property
    def runs_table(self) -> Table:
        """The directory behind every number, its seed, status and commit."""
        rows = [[encoding.label, str(run.seed), run.status, run.commit, f"`{run.path}`"]
                for encoding in self.encodings for run in encoding.runs]  # fmt: skip
        columns = ["encoding", "seed", "status", "commit", "run"]
        return Table("Runs", columns, "lrlll", rows, caption=self.runs_note, folded=True)

    def figures(self, files: Iterable[str]) -> list[tuple[str, str]]:
        """Name and file of the figures of this section among all files."""
        start = f"{PROBES}{slug(self.title)}-"
        return [(file[len(start) :].removesuffix(".svg"), file) for file in files if file.startswith(start)]


@dataclass(frozen=True)
class Content:
    """What a report says, in the order of its pages."""

    name: str
    command: str | None
    summary: str
    verdicts: list[Verdict]
    tables: list[Table]  # over all tasks
    sections: list[Section]
    problems: list[str]
    provenance: list[str]
    shared: str  # recipe keys that all runs share, as YAML

    rules = RULES
    figure_note = LEGEND
    learning_note = LEARNING
    data_note = DATA


def content(
    name: str, command: str | None, collected: Collected, panels: list[Panel], tables: list[Table], verdicts: list[Verdict]
) -> Content:
    """What a report of these runs says."""
    facts = provenance(collected.runs)
    return Content(
        name, command, summary(collected.runs, panels), verdicts,
        tables=[table for table in tables if not any(_belongs(table, panel) for panel in panels)],
        sections=[_section(panel, tables) for panel in panels],
        problems=[" ".join(problem.split()) for problem in collected.problems],
        provenance=provenance_lines(facts),
        shared="\n".join(f"{key}: {value}" for key, value in facts["shared"].items()),
    )  # fmt: skip


def _belongs(table: Table, panel: Panel) -> bool:
    return table.title.startswith(f"{panel.title}: ")


def _section(panel: Panel, tables: list[Table]) -> Section:
    own = [_shortened(table, panel) for table in tables if _belongs(table, panel)]
    return Section(panel.title, comparison(panel), own, [_encoding(row) for row in panel.rows], fingerprints(panel))


def _shortened(table: Table, panel: Panel) -> Table:
    """A table of a section without the title of the section in its own."""
    title = table.title.removeprefix(f"{panel.title}: ")
    return replace(table, title=title[:1].upper() + title[1:])


def _encoding(row: Row) -> EncodingRuns:
    runs = [RunFacts(str(run.path), run.config.seed, str(run.info["status"]), revision(run)) for run in row.runs]
    return EncodingRuns(row.label, runs)


def fingerprints(panel: Panel) -> str:
    """Which evaluation set was used at each length: one fingerprint, since a report of several is refused."""
    runs = [run for row in panel.rows for run in row.evaluated]
    marks = {
        length: {str(run.lines[length].get("fingerprint")) for run in runs if length in run.lines} for length in panel.lengths
    }
    texts = (f"{length}: {' '.join(sorted(of_length))}" for length, of_length in marks.items())
    return f"Fingerprints of the evaluation sets by length: {', '.join(texts)}"


def revision(run: Run) -> str:
    """The first digits of a run's commit, `+` where tracked files differed from it."""
    return str(run.info.get("commit") or "unknown")[:8] + ("+" if run.info.get("dirty") else "")


def summary(runs: list[Run], panels: list[Panel]) -> str:
    """How many runs, tasks, encodings, seeds and lengths a report is of."""
    statuses = Counter(str(run.info["status"]) for run in runs)
    counts = sorted(statuses.items(), key=lambda item: (-item[1], item[0]))
    labels = {row.label for panel in panels for row in panel.rows}
    seeds = {run.config.seed for run in runs}
    lengths = sorted({length for panel in panels for length in panel.lengths})
    return (
        f"{_plural(len(runs), 'run')} ({_listed(f'{number} {status}' for status, number in counts)}): "
        f"{_plural(len(panels), 'task')} ({'; '.join(panel.title for panel in panels)}), {_plural(len(labels), 'encoding')}, "
        f"{_plural(len(seeds), 'seed')}, evaluated at lengths {_listed(lengths)}."
    )


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def provenance(runs: list[Run]) -> dict[str, Any]:
    """Where the numbers come from: code, versions, machines, and the recipe keys that all runs share or do not."""
    infos = [run.info for run in runs if run.lines]
    commits = Counter(f"{info['commit']}{' + changes' if info.get('dirty') else ''}" for info in infos if info.get("commit"))
    packages = sorted({key for info in infos for key in info.get("versions", {})})
    dumps = [run.config.to_keys() for run in runs]
    values = {key: _unique(dump.get(key) for dump in dumps) for key in dict.fromkeys(key for dump in dumps for key in dump)}
    return {
        "commits": dict(sorted(commits.items())),
        "versions": {package: _unique(info.get("versions", {}).get(package) for info in infos) for package in packages},
        **{key: _unique(info.get(key) for info in infos) for key in ("machine", "device", "threads", "platform", "study")},
        "sets": _unique(line.get("eval_seed") for run in runs for line in run.lines.values()),
        "shared": {key: options[0] for key, options in values.items() if len(options) == 1 and key not in AXES},
        "differing": {key: options for key, options in values.items() if len(options) > 1 or key in AXES},
    }


def _unique(values: Iterable[Any]) -> list[Any]:
    """Each value once, in a stable order, nothing for None."""
    return sorted({value for value in values if value is not None}, key=lambda value: (isinstance(value, str), value))


def provenance_lines(facts: dict[str, Any]) -> list[str]:
    """Code, versions, machines, and the recipe keys that differ, one line each."""
    commits = [f"`{commit}` ({_plural(number, 'run')})" for commit, number in facts["commits"].items()]
    versions = [f"{package} {_listed(values)}" for package, values in facts["versions"].items() if values]
    lines = [f"commit: {_listed(commits) or 'unknown'}", f"versions: {_listed(versions) or 'unknown'}"]
    lines += [f"{key}: {_listed(facts[key])}" for key in ("machine", "device", "threads", "study") if facts[key]]
    lines += [f"seed of the evaluation sets: {_listed(facts['sets'])}"] if facts["sets"] else []
    return lines + [f"{key}: {_listed(values)}" for key, values in facts["differing"].items()]

"""A report from run directories alone: load the runs, aggregate, test, tabulate, draw, and write every file."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpecli import catalog
from rpecli.choice import canonical
from rpecli.config.recipe import label
from rpecli.escape import finite, name_problem
from rpecli.plot import no_collection
from rpecli.report.content import ReportContent
from rpecli.report.load import NothingMatchesError, ReportError, RunResults
from rpecli.report.records import Verdict
from rpecli.run.files import problem_of_folder, write_files
from rpecli.table import Table

if TYPE_CHECKING:
    from rpecli.report.aggregate import TaskResults


@dataclass(frozen=True)
class Report:
    """What was written, and what a terminal shows of it."""

    content: ReportContent
    markdown: str
    files: list[Path]

    @cached_property
    def data(self) -> dict[str, Any]:
        """What report.json holds."""
        plain: dict[str, Any] = finite(self.content.data)
        return plain

    @property
    def tables(self) -> list[Table]:
        return self.content.tables

    @property
    def verdicts(self) -> list[Verdict]:
        return self.content.verdicts

    @property
    def warnings(self) -> list[str]:
        return self.content.warnings


@dataclass(frozen=True)
class Reference:
    """The reference results that a report may use, and whether its tests and means count them too."""

    runs: list[RunResults] = field(default_factory=list)
    in_tests: bool = False


NO_REFERENCE = Reference()


@dataclass(frozen=True)
class Paper:
    """What a paper needs of a report: the length of its table as a multiple of the training length, and whose row is ours.

    `figure` is a size of figures/paper.py, for figures that have their text at 8 points there, `serif` whether with serifs.
    """

    factor: float | None = None
    ours: str | None = None
    figure: str | None = None
    serif: bool = False


NO_PAPER = Paper()


@no_collection()
def build_report(
    paths: list[Path], name: str, out: Path, command: str | None = None, reference: Reference = NO_REFERENCE,
    paper: Paper = NO_PAPER,
) -> Report:  # fmt: skip
    """Reports the runs in `paths` into the folder `out/name`. Raises ReportError, before anything is written."""
    # the imports of matplotlib and scipy wait until a report is built
    from rpecli.report.figures import paper as paper_figures
    from rpecli.report.figures.report import report_figures
    from rpecli.report.write import data, html, latex, markdown

    check_place(name, out)
    content = report_content(paths, name, command, reference, paper)
    ours = paper.ours and label_of_ours(content.tasks, paper.ours, paper.factor)
    if paper.factor is not None:
        content = _with_length(content, paper.factor)
    data_files = data.files(content)  # before there are figures: each takes hundreds of megabytes where runs are thousands
    figures = report_figures(content)
    figure_files = figures.files()
    text = markdown.page(content, figure_files, data_files)
    files = {
        "report.md": text.encode(),
        "report.html": html.page(content, figures, data_files).encode(),
        "paper.tex": latex.paper(content, paper.factor, ours),
        "appendix.tex": latex.appendix(content),
        **data_files,
        **figure_files,
        **(paper_figures.files(content, paper.figure, paper.serif) if paper.figure else {}),
    }
    return Report(content, text, write(out / name, files))


def _with_length(content: ReportContent, factor: float) -> ReportContent:
    """The same, with a warning of the tasks that were not evaluated at so many times their training length."""
    lacking = _lacking_length(content.tasks, factor)
    if not lacking:
        return content
    warning = f"paper.tex leaves out {', '.join(lacking)}: not evaluated at {factor:g}x: rpe eval --lengths {factor:g}x"
    return replace(content, warnings=[*content.warnings, warning])


def _lacking_length(tasks: "list[TaskResults]", factor: float) -> list[str]:
    """The tasks that were not evaluated at so many times their training length.

    Raises NothingMatchesError where none was: paper.tex would be empty.
    """
    from rpecli.report.format import format_factor
    from rpecli.report.write.latex import length_of

    lacking = [task.short_title for task in tasks if length_of(task, factor) is None]
    if len(lacking) == len(tasks):
        known = {(n / task.train_length, format_factor(n, task.train_length)) for task in tasks for n in task.lengths}
        measured = ", ".join(text for _, text in sorted(known))
        raise NothingMatchesError(f"--at {factor:g}x: no task was evaluated at that multiple of its length: there are {measured}")
    return lacking


def label_of_ours(tasks: "list[TaskResults]", name: str, factor: float | None = None) -> str:
    """The label of the encoding that a user calls by a name, or by the path of its file.

    Raises NothingMatchesError for one of no run, and for one that has no task with the length of paper.tex.
    """
    from rpecli.report.write.latex import length_of

    labels = list(dict.fromkeys(one.label for task in tasks for one in task.own))
    wanted = label(canonical(name))
    if wanted not in labels:
        raise NothingMatchesError(f"--ours {name}: no encoding of these runs: {catalog.nearest(wanted, labels)}")
    if not any(one.label == wanted for task in tasks if length_of(task, factor) is not None for one in task.own):
        where, length = ("beyond the training length", "2x") if factor is None else (f"at {factor:g}x", f"{factor:g}x")
        raise NothingMatchesError(f"--ours {name}: none of its tasks was evaluated {where}: rpe eval --lengths {length}")
    return wanted


def report_content(
    paths: list[Path],
    name: str,
    command: str | None = None,
    reference: Reference = NO_REFERENCE,
    paper: Paper = NO_PAPER,
) -> ReportContent:
    """The results, verdicts and tables of these runs. Raises ReportError, for what a paper lacks before anything is compared."""
    from rpecli.report import paired, verdict
    from rpecli.report.aggregate import aggregate, counted_tasks, own_tasks
    from rpecli.report.load import load_runs
    from rpecli.report.load_probes import load_probes
    from rpecli.report.reference import Background, matching
    from rpecli.report.reference import background as reference_background
    from rpecli.report.tables import accuracy, attention, grid, invariance, lr_search, places, pooled, seeds

    loaded = load_runs(paths)
    tasks = aggregate(loaded.runs)
    messages = loaded.warnings + [message for task in tasks for message in paired.left_out(task)]
    background = Background()
    if reference.in_tests:
        own = {run.id for run in loaded.runs}  # a run of the reference that was trained again is one seed, not two
        tasks = aggregate(loaded.runs + [run for run in matching(loaded.runs, reference.runs)[0] if run.id not in own])
    _check_paper(tasks, paper)
    if reference.runs and not reference.in_tests:
        background = reference_background(tasks, loaded.runs, reference.runs)
    probes, shifts = load_probes(tasks), invariance.load_shifts(tasks)
    trained = own_tasks(tasks)
    own_shifts = {
        task.title: by_label
        for task in trained
        if (by_label := {label: by_seed for label, by_seed in shifts.get(task.title, {}).items() if label in task.own_labels})
    }
    verdicts = verdict.verdicts(trained, {kind: invariance.predictions_kept(own_shifts, kind) for kind in invariance.KINDS})
    if background.matches and not all(one.difference for one in verdicts):
        verdicts = verdict.beside_reference(verdicts, background.compared)

    tables = [table for task in tasks for table in _in_part("accuracy", accuracy.tables(task))]
    more_tables = pooled.tables(counted_tasks(tasks))
    for task in tasks:
        more_tables += _in_part("grid", grid.tables(task))
        training = [*accuracy.more_tables(task), *places.tables(task), *lr_search.tables(task), *seeds.tables(task)]
        more_tables += _in_part("training", training)
        more_tables += _in_part("shift", invariance.tables(task, shifts[task.title]) if task.title in shifts else [])
        more_tables += _in_part("attention", attention.tables(probes[task.title]) if task.title in probes else [])
    results = (tasks, probes, shifts, verdicts, tables, more_tables, background.tasks, background.notes)
    return ReportContent(name, command, loaded.runs, messages, *results)


def _check_paper(tasks: "list[TaskResults]", paper: Paper) -> None:
    """Raises NothingMatchesError for an encoding or a length that these results lack."""
    if paper.ours:
        label_of_ours(tasks, paper.ours, paper.factor)
    if paper.factor is not None:
        _lacking_length(tasks, paper.factor)


def _in_part(part: str, tables: list[Table]) -> list[Table]:
    return [replace(table, part=part) for table in tables]


@dataclass(frozen=True)
class Comparison:
    """Two studies side by side: sentences, tables, page, data, files."""

    lines: list[str]
    tables: list[Table]
    markdown: str
    data: dict[str, Any]
    files: list[Path]


def compare_studies(names: tuple[str, str], runs: Path, out: Path, name: str | None, command: str | None = None) -> Comparison:
    """Compares two studies into the folder `out/name`. Raises ReportError, before anything is written."""
    from rpecli.report.studies import load_study
    from rpecli.report.two_studies import compare
    from rpecli.report.write import two_studies

    first, second = (load_study(study, runs, out) for study in names)
    comparison = compare(first, second, command)
    name = name or two_studies.folder_name(*names)
    check_place(name, out)
    context = two_studies.context(comparison)
    files = two_studies.files(comparison, context)
    lines, markdown = context["headline"] + comparison.notes, files["compare.md"].decode()
    return Comparison(lines, context["tables"], markdown, finite(comparison.data), write(out / name, files))


def check_place(name: str, out: Path) -> None:
    """Raises ReportError unless the name is one folder of `out`, in which files can be written."""
    if problem := name_problem(name):
        raise ReportError(f"{name!r} is not a name for a report ({problem}): write --name WORD; it becomes a folder of {out}")
    if problem := problem_of_folder(out / name):
        raise ReportError(f"{out / name} cannot be written ({problem}): choose another folder with --out, or another --name")


def markdown_tables(report: Report) -> str:
    """The tables alone, for a pipe."""
    return "\n\n".join(table.markdown(level=2) for table in report.tables) + "\n"


def write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Writes the files of a report, and removes those that an earlier one left there. Raises ReportError."""
    from rpecli.report.write.leftovers import leftovers

    try:
        left = leftovers(folder, files)
        paths = write_files(folder, files)
        for path in left:
            path.unlink(missing_ok=True)
        return paths
    except OSError as error:
        raise ReportError(f"the report cannot be written: {error}: choose another folder") from error

"""What a report is made of, before it is written to files."""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property

from rpecli import __version__
from rpecli.report import retrain, rows
from rpecli.report.aggregate import TaskResults, by_scoring, counted_tasks, own_tasks
from rpecli.report.copy_weight import CopyWeight, copy_weight
from rpecli.report.definitions import Definition, definitions
from rpecli.report.headline import Headline, headline
from rpecli.report.load import RunResults, one_per_directory
from rpecli.report.load_probes import TaskProbes
from rpecli.report.measures import ACCURACY
from rpecli.report.overview import REFERENCE, Overview, brief, overview
from rpecli.report.profiles import profile_points
from rpecli.report.provenance import provenance
from rpecli.report.records import FORMAT, ProfilePoint, Verdict
from rpecli.report.report_data import Provenance, ReportData
from rpecli.report.suites import Suites
from rpecli.report.tables import choice
from rpecli.report.tables.invariance import TaskShifts
from rpecli.table import Table, plural


@dataclass(frozen=True)
class ReportContent:
    """The results, verdicts and tables of a report: all that its writers take."""

    name: str
    command: str | None  # reproduces the report
    runs: list[RunResults]
    warnings: list[str]  # what is missing or wrong
    tasks: list[TaskResults]
    probes: dict[str, TaskProbes]  # by task title
    shifts: dict[str, TaskShifts]  # by task title
    verdicts: list[Verdict]
    tables: list[Table]  # shown in the terminal too
    more_tables: list[Table]  # behind the verdicts: in every file, but too long for a terminal
    reference: list[TaskResults] = field(default_factory=list)  # shown beside these results, in no test and no mean of theirs
    reference_notes: list[str] = field(default_factory=list)  # how the runs compare with it, or why there is none

    @property
    def summary(self) -> str:
        """How many runs, tasks, encodings and seeds, and which lengths."""
        trained = one_per_directory(self.runs)
        statuses = Counter(run.state for run in trained)
        by_number = sorted(statuses.items(), key=lambda item: (-item[1], item[0]))
        seeds = {run.config.seed for run in self.runs}
        lengths = sorted({length for task in self.tasks for length in task.lengths})
        return (
            f"{plural(len(trained), 'run')} ({', '.join(f'{number} {status}' for status, number in by_number)}): "
            f"{plural(len(self.tasks), 'task')} ({'; '.join(task.title for task in self.tasks)}), "
            f"{plural(len(self.labels), 'encoding')}, {plural(len(seeds), 'seed')}, "
            f"evaluated at lengths {', '.join(map(str, lengths))}."
        )

    @cached_property
    def labels(self) -> set[str]:
        """The trained encodings."""
        return {label for task in counted_tasks(self.tasks) for label in task.own_labels}

    @cached_property
    def commands(self) -> list[str]:
        """What trains and evaluates the runs again, and what made the report of them."""
        return retrain.reproducing(self.command or "", self.runs, bool(self.shifts))

    @property
    def all_tables(self) -> list[Table]:
        return [*self.suites.tables, *self.tables, self.choice, *self.more_tables]

    def tables_of(self, task: TaskResults) -> list[Table]:
        """The tables of one task, in order, with titles that do not repeat the task's."""
        return [table.within_section() for table in self.all_tables if table.section == task.title]

    @property
    def tables_over_tasks(self) -> list[Table]:
        """The tables that are not about one task."""
        return [table for table in self.all_tables if not table.section]

    @cached_property
    def choice(self) -> Table:
        """What to use, and what it costs."""
        return choice.table(counted_tasks(self.tasks), self.reference, self.definitions)

    @cached_property
    def headline(self) -> Headline:
        return headline(own_tasks(self.tasks), self.reference)

    @cached_property
    def shown_reference(self) -> list[TaskResults]:
        """The reference results of a few encodings, for places that have no room for all."""
        titles = {name for name, _, source in brief(self.overview).rows if source == REFERENCE}
        return [replace(task, encodings=[one for one in task.encodings if one.short_title in titles]) for task in self.reference]

    def against_length(self, panel: int) -> str:
        """`Token accuracy and perplexity against length`: what the first, or the second, panels of the tasks show."""
        names = dict.fromkeys(scoring.panels[panel].name for scoring, _ in by_scoring(self.tasks))
        return f"{' and '.join(names)} against length".capitalize()

    @cached_property
    def overview(self) -> Overview:
        return overview(self.tasks, self.reference)

    @cached_property
    def suites(self) -> Suites:
        return Suites(self.tasks)

    @property
    def tasks_in_order(self) -> list[TaskResults]:
        """The tasks; of many, those of a family together."""
        return sorted(self.tasks, key=lambda task: task.family) if self.suites else self.tasks

    @property
    def advice(self) -> str:
        """What to use, in a sentence."""
        return choice.advice(self.choice)

    @cached_property
    def copy_weight(self) -> CopyWeight | None:
        return copy_weight(self.probes.values())

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """Of all encodings that occur, by name."""
        tasks = [*self.tasks, *self.reference]
        return definitions(encoding.runs[0].config.encoding for task in tasks for encoding in task.encodings)

    @cached_property
    def provenance(self) -> Provenance:
        return provenance(self.runs)

    @cached_property
    def profiles(self) -> list[ProfilePoint]:
        """The performance profiles of both measures of accuracy; of several runs an encoding only."""
        tasks = [task for task in own_tasks(self.tasks) if task.scoring is ACCURACY]
        points = [point for measure in ACCURACY.compared for point in profile_points(tasks, measure)]
        return points if any(point.runs > 1 for point in points) else []

    @property  # not kept: of thousands of runs it is the largest part of a report
    def data(self) -> ReportData:
        """The records of report.json."""
        return ReportData(
            format=FORMAT,
            rpe=__version__,
            name=self.name,
            command=self.command,
            commands=self.commands,
            headline=self.headline,
            verdicts=self.verdicts,
            provenance=self.provenance,
            runs=[rows.run_record(run) for run in self.runs],
            rows=rows.summary_rows(self.tasks),
            reference=rows.summary_rows(self.reference),
            reference_notes=self.reference_notes,
            groups=rows.group_rows(self.tasks),
            pairs=rows.pair_rows(self.tasks),
            pooled=rows.pooled_rows(counted_tasks(self.tasks)),
            suites=self.suites.rows if self.suites else [],
            profiles=self.profiles,
            warnings=self.warnings,
        )

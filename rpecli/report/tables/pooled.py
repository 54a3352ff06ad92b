"""Tables over several tasks: all of them together, by family of tasks, and the groups APE, RPE, content and none."""

from rpecli.catalog import GROUPS
from rpecli.report import paired, stats
from rpecli.report.aggregate import TaskResults, by_scoring, natural_key
from rpecli.report.format import format_count, format_interval
from rpecli.report.measures import Measure, Scoring
from rpecli.report.paired import families
from rpecli.report.records import Pooled
from rpecli.table import MISSING, Table, plural

IQM = "interquartile mean (IQM) over all (task, seed) of the mean over log2 length beyond training"
BOOTSTRAP = "95 % interval bootstrapped over seeds within each task"


def tables(tasks: list[TaskResults]) -> list[Table]:
    """The tables of each scoring; none for one task: its own tables hold the same numbers."""
    return [table for scoring, members in by_scoring(tasks) if len(members) > 1 for table in _tables(members, scoring)]


def _tables(tasks: list[TaskResults], scoring: Scoring) -> list[Table]:
    by_family = [_by_family(tasks, scoring.decides)] if len(families(tasks)) > 1 else []
    return [table for table in (_all_tasks(tasks, scoring.decides), *by_family, _groups(tasks, scoring)) if table.rows]


def titles_of(tasks: list[TaskResults]) -> dict[str, str]:
    """The encodings of all tasks as people know them, by label."""
    return {label: title for task in tasks for label, title in task.titles.items()}


def _no_intervals(pooled: list[Pooled]) -> str:
    if all(row.iqm_interval for row in pooled):
        return ""
    return f" A task has fewer than {stats.MIN_SEEDS} seeds, so there are no intervals and the order is not conclusive."


def _table(title: str, columns: list[str], rows: list[list[str]], caption: str) -> Table:
    return Table(title, columns, "ll" + "r" * (len(columns) - 2), rows, caption=caption)


def _all_tasks(tasks: list[TaskResults], measure: Measure) -> Table:
    pooled, titles = paired.pooled(tasks, measure), titles_of(tasks)
    rows = [
        [titles[row.label], row.group, str(row.tasks), str(row.runs), measure.write_score(row.iqm),
         measure.write_interval(row.iqm_interval),
         MISSING if row.rank is None else f"{row.rank:.2f}", format_interval(row.rank_interval, "{:.2f}".format)]
        for row in pooled
    ]  # fmt: skip
    columns = ["encoding", "group", "tasks", "runs", "IQM", "95 % interval", "mean rank", "95 % interval of rank"]
    caption = (
        f"{measure.name.capitalize()}: {IQM}, with its {BOOTSTRAP}. Rank: within each task and seed, 1 the {measure.highest}, "
        f"ties averaged; mean over tasks. Encodings that a task lacks are left out.{_no_intervals(pooled)}"
    )
    return _table("All tasks together", columns, rows, caption)


def _by_family(tasks: list[TaskResults], measure: Measure) -> Table:
    """One row per encoding and one column per family; no number where a task of the family lacks the encoding."""
    columns = [{row.label: row for row in paired.pooled(members, measure, family)} for family, members in families(tasks).items()]
    labels = {(GROUPS.index(entry.group), entry.label) for task in tasks for entry in task.own if entry.by_length}
    rows = [
        [titles_of(tasks)[label], GROUPS[group], *(_cell(column.get(label), measure) for column in columns)]
        for group, label in sorted(labels, key=lambda item: (item[0], natural_key(item[1])))
    ]
    caption = f"{measure.name.capitalize()}: {IQM}, and in brackets its {BOOTSTRAP}. {MISSING}: a task of the family lacks the "
    caption += f"encoding, or lengths beyond training.{_no_intervals([row for column in columns for row in column.values()])}"
    return _table("By task family", ["encoding", "group", *_family_columns(tasks)], rows, caption)


def _groups(tasks: list[TaskResults], scoring: Scoring) -> Table:
    """One row per group and measure and one column per family."""
    rows: list[list[str]] = []
    pooled: list[Pooled] = []
    for measure in scoring.compared:
        columns = [
            {row.group: row for row in paired.pooled_groups(members, measure, family)}
            for family, members in families(tasks).items()
        ]
        pooled += [row for column in columns for row in column.values()]
        rows += [[group, measure.name, *(_cell(column.get(group), measure) for column in columns)]
                 for group in GROUPS if any(group in column for column in columns)]  # fmt: skip
    groups = {group.name for task in tasks for group in task.groups}
    rows += [[group, "solved", *(_solved(members, group) for members in families(tasks).values())]
             for group in GROUPS if group in groups]  # fmt: skip
    caption = f"All runs of a group's encodings: {IQM}, and in brackets its {BOOTSTRAP} and encoding. Solved: runs that learned "
    caption += f"their training length.{_no_intervals(pooled)}"
    return _table("Groups by task family", ["group", "measure", *_family_columns(tasks)], rows, caption)


def _family_columns(tasks: list[TaskResults]) -> list[str]:
    return [f"{family} ({plural(len(members), 'task')})" for family, members in families(tasks).items()]


def _cell(pooled: Pooled | None, measure: Measure) -> str:
    """`60 % [52, 71]`."""
    if pooled is None:
        return MISSING
    return measure.write_with_interval(pooled.iqm, pooled.iqm_interval)


def _solved(tasks: list[TaskResults], group: str) -> str:
    return format_count([flag for task in tasks for entry in task.groups if entry.name == group for flag in entry.solved_flags])

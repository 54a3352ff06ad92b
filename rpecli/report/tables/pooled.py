"""Tables over several tasks: all of them together, by family of tasks, and the groups APE, RPE, content and none."""

from dataclasses import asdict
from typing import Any

from rpecli.catalog import GROUPS
from rpecli.report import paired as compare
from rpecli.report import stats
from rpecli.report.aggregate import Panel, natural
from rpecli.report.format import MISSING, WORDS, count, number
from rpecli.report.paired import Pooled
from rpecli.table import Table

ALL = "all"  # the family of every task
TITLES = ("All tasks together", "By task family", "Groups by task family")
MIDDLE = (
    "interquartile mean (the mean of the middle half) over all (task, seed) of the mean over log2 length beyond training, and in "
    "brackets its 95 % interval, bootstrapped over seeds within each task"
)


def families(panels: list[Panel]) -> dict[str, list[Panel]]:
    """Panels by family, sorted, and all of them at the end where there is more than one family."""
    names = sorted({panel.family for panel in panels})
    made = {name: [panel for panel in panels if panel.family == name] for name in names}
    return made | ({ALL: panels} if len(names) > 1 else {})


def tables(panels: list[Panel]) -> list[Table]:
    """None for one task: its own tables say it all."""
    if len(panels) < 2:
        return []
    by_family = [_by_family(panels)] if len(families(panels)) > 1 else []
    made = [_together(panels), *by_family, _groups(panels)]
    return [table for table in made if table and table.rows]


def rows(panels: list[Panel]) -> list[dict[str, Any]]:
    """`pooled.csv`: encodings, and groups (without a label), over the tasks of each family and over all, by both measures."""
    made = []
    for family, members in ({ALL: panels} | families(panels)).items():
        for measure in compare.MEASURES:
            found = [*compare.pooled(members, measure), *compare.pooled_groups(members, measure)]
            made += [{"family": family, "measure": measure, **_flat(each)} for each in found]
    return made


def _flat(each: Pooled) -> dict[str, Any]:
    found = asdict(each)
    for key in ("middle_interval", "rank_interval"):
        found[key.replace("interval", "low")], found[key.replace("interval", "high")] = found.pop(key) or (None, None)
    return found


def _few(found: list[Pooled]) -> str:
    if all(each.middle_interval for each in found):
        return ""
    return f" A task has fewer than {stats.SEEDS} seeds, so there are no intervals and the order proves nothing."


def _table(title: str, columns: list[str], lines: list[list[str]], caption: str) -> Table:
    mask = [[False] * len(columns) for _ in lines]
    return Table(title, columns, "ll" + "r" * (len(columns) - 2), lines, mask, caption, [])


def _together(panels: list[Panel]) -> Table:
    """Never a rank without its spread."""
    found = compare.pooled(panels, "exact_match")
    lines = [[each.label, each.group, str(each.tasks), str(each.runs), number(each.middle), _interval(each.middle_interval),
              f"{each.rank:.2f}", _ranks(each.rank_interval)] for each in found]  # fmt: skip
    columns = ["encoding", "group", "tasks", "runs", "interquartile mean", "95 % interval", "mean rank", "95 % interval of rank"]
    caption = f"Exact match: {MIDDLE.replace('in brackets its', 'its')}. Rank: within each task and seed, 1 the highest, ties "
    caption += f"averaged; the mean over tasks. Encodings that a task lacks are left out.{_few(found)}"
    return _table(TITLES[0], columns, lines, caption)


def _interval(found: tuple[float, float] | None) -> str:
    return f"{number(found[0])}-{number(found[1])}" if found else MISSING


def _ranks(found: tuple[float, float] | None) -> str:
    return f"{found[0]:.2f}-{found[1]:.2f}" if found else MISSING


def _by_family(panels: list[Panel]) -> Table:
    """A row an encoding, a column a family: where a task of the family lacks the encoding, nothing."""
    by = {name: {each.label: each for each in compare.pooled(each, "exact_match")} for name, each in families(panels).items()}
    labels = {(GROUPS.index(row.group), row.label) for panel in panels for row in panel.rows if row.cells}
    lines = [
        [label, GROUPS[group], *(_cell(found.get(label)) for found in by.values())]
        for group, label in sorted(labels, key=lambda pair: (pair[0], natural(pair[1])))
    ]
    caption = f"Exact match: {MIDDLE}. {MISSING}: a task of the family lacks the encoding, or lengths beyond training."
    return _table(TITLES[1], ["encoding", "group", *_heads(panels)], lines, caption + _few(_all(by)))


def _groups(panels: list[Panel]) -> Table:
    """A row a group and measure, a column a family."""
    apart = families(panels)
    lines: list[list[str]] = []
    every: list[Pooled] = []
    for measure in compare.MEASURES:
        by = {name: {each.group: each for each in compare.pooled_groups(members, measure)} for name, members in apart.items()}
        every += _all(by)
        lines += [[group, WORDS[measure], *(_cell(found.get(group)) for found in by.values())]
                  for group in GROUPS if any(group in found for found in by.values())]  # fmt: skip
    solved = [
        [group, "solved", *(_solved(members, group) for members in apart.values())]
        for group in GROUPS if any(group == each.name for panel in panels for each in panel.groups)
    ]  # fmt: skip
    caption = f"All runs of a group's encodings: {MIDDLE} and encoding. Solved: runs that learned their training length."
    return _table(TITLES[2], ["group", "measure", *_heads(panels)], lines + solved, caption + _few(every))


def _heads(panels: list[Panel]) -> list[str]:
    return [f"{name} ({len(each)} task{'s' * (len(each) != 1)})" for name, each in families(panels).items()]


def _all(by: dict[str, dict[str, Pooled]]) -> list[Pooled]:
    return [each for found in by.values() for each in found.values()]


def _cell(found: Pooled | None) -> str:
    if found is None:
        return MISSING
    low_high = found.middle_interval
    return number(found.middle) + (f" [{number(low_high[0])}, {number(low_high[1])}]" if low_high else "")


def _solved(panels: list[Panel], group: str) -> str:
    return count([flag for panel in panels for each in panel.groups if each.name == group for flag in each.judged])

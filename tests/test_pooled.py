"""Tables over several tasks on runs whose every number is known: all together, by family, groups by family."""

import pytest
from helpers.fake_runs import fake_run, fake_study
from helpers.run_folders import make_run, write_run

from rpecli.report import build, paired, rows
from rpecli.report.aggregate import TaskResults, aggregate
from rpecli.report.measures import EXACT
from rpecli.report.tables import pooled
from rpecli.table import Table

SIX, LOWER = [0.9, 0.85, 0.95, 0.9, 0.88, 0.92], [0.2, 0.3, 0.1, 0.25, 0.15, 0.2]
FAMILY = {"copy": "copying", "reverse": "copying", "sort": "ordering"}


def row(table: Table, label: str, measure: str | None = None) -> dict[str, str]:
    lines = [dict(zip(table.columns, cells, strict=True)) for cells in table.rows]
    return next(line for line in lines if label in line.values() and measure in (None, line.get("measure")))


def in_families(scores: dict[tuple[str, str], list[float]]) -> list[TaskResults]:
    """`{(encoding, task): exact match beyond training by seed}`, the tasks in their families."""
    return aggregate([
        fake_run(encoding, seed, {16: 1.0, 32: score, 64: score}, task=task, family=FAMILY[task])
        for (encoding, task), by_seed in scores.items() for seed, score in enumerate(by_seed)
    ])  # fmt: skip


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    scores = {("rope", "copy"): [0.8] * 3, ("rope", "reverse"): [0.4] * 3, ("rope", "sort"): [0.1, 0.2, 0.3],
              ("alibi", "copy"): [0.6] * 3, ("alibi", "reverse"): [0.2] * 3, ("learned", "sort"): [0] * 3}  # fmt: skip
    return {table.title: table for table in pooled.tables(in_families(scores))}


def test_one_task_alone_has_no_table_over_tasks():
    assert pooled.tables(fake_study({"rope": SIX})) == []


def test_ranks_over_all_tasks_have_their_interval():
    all_tasks, groups = pooled.tables(fake_study({"rope": SIX, "learned": LOWER}, ("copy", "sort")))
    assert row(all_tasks, "RoPE")["mean rank"] == "1.00"
    assert row(all_tasks, "RoPE")["95 % interval of rank"] == "1.00 to 1.00"
    assert groups.columns == ["group", "measure", "other (2 tasks)"]


def test_two_seeds_have_no_interval():
    all_tasks, groups = pooled.tables(fake_study({"rope": SIX[:2], "learned": LOWER[:2]}, ("copy", "sort")))
    assert (row(all_tasks, "RoPE")["95 % interval"], row(all_tasks, "RoPE")["95 % interval of rank"]) == ("-", "-")
    for table in (all_tasks, groups):
        assert "no intervals" in table.caption


def test_a_family_is_the_interquartile_mean_of_its_tasks_with_its_interval(tables):
    """Of 0.8 0.8 0.8 0.4 0.4 0.4 the middle four are 0.8 0.8 0.4 0.4; equal seeds leave the interval no room."""
    cells = row(tables["By task family"], "RoPE")
    assert cells["copying (2 tasks)"] == "60 % [60, 60]"
    assert cells["ordering (1 task)"] == "20 % [10, 30]"


def test_an_encoding_that_a_task_of_the_family_lacks_has_no_number_there(tables):
    cells = row(tables["By task family"], "ALiBi")
    assert cells["copying (2 tasks)"] == "40 % [40, 40]"
    assert (cells["ordering (1 task)"], cells["all (3 tasks)"]) == ("-", "-")


def test_a_group_is_all_runs_of_its_encodings(tables):
    """Copying: 0.8 x 3, 0.6 x 3, 0.4 x 3, 0.2 x 3, of which the middle six are 0.6 x 3, 0.4 x 3."""
    groups = tables["Groups by task family"]
    assert row(groups, "RPE", "exact match")["copying (2 tasks)"] == "50 % [50, 50]"
    assert row(groups, "APE", "exact match")["copying (2 tasks)"] == "-"
    assert row(groups, "APE", "exact match")["ordering (1 task)"] == "0 % [0, 0]"
    assert row(groups, "RPE", "solved")["all (3 tasks)"] == "15/15"


def test_a_group_is_resampled_within_each_encoding_and_task():
    """Resampled over both encodings together its interval would reach from 0.2 to 0.8."""
    (group,) = paired.pooled_groups(fake_study({"rope": [0.8] * 3, "alibi": [0.2] * 3}), EXACT)
    assert (group.iqm, group.iqm_interval) == (0.5, (0.5, 0.5))


def test_the_rows_hold_families_groups_and_all():
    pooled_rows = rows.pooled_rows(in_families({("rope", "copy"): [0.8] * 3, ("rope", "sort"): [0.2] * 3}))
    exact = {(line.family, line.label): line.iqm for line in pooled_rows if line.measure == "exact_match"}
    assert exact == {
        ("all", "rope"): pytest.approx(0.5), ("all", ""): pytest.approx(0.5),
        ("copying", "rope"): pytest.approx(0.8), ("copying", ""): pytest.approx(0.8),
        ("ordering", "rope"): pytest.approx(0.2), ("ordering", ""): pytest.approx(0.2),
    }  # fmt: skip


def test_a_run_records_the_family_of_its_task(tmp_path):
    assert write_run(tmp_path, {16: 1.0}).record["family"] == "copying"


def test_families_are_in_the_report_of_directories(tmp_path):
    paths = [
        make_run(tmp_path, {16: 1.0, 32: 0.5}, task=task, line={"fingerprint": task}) for task in ("copy", "sort", "reverse")
    ]
    report = build.build_report(paths, "mine", tmp_path / "results")
    (table,) = [table for table in report.content.tables_over_tasks if table.title == "By task family"]
    assert table.columns == ["encoding", "group", "copying (2 tasks)", "ordering (1 task)", "all (3 tasks)"]
    assert {line["family"] for line in report.data["pooled"]} == {"all", "copying", "ordering"}

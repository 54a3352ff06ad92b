"""Tables over several tasks on runs whose every number is known: all together, by family, groups by family."""

import pytest
from helpers.fake_runs import made_up, study
from helpers.run_folders import make_run

from rpecli.report import build as report
from rpecli.report import load as frames
from rpecli.report import paired as compare
from rpecli.report.aggregate import Panel, panels
from rpecli.report.tables import pooled as overall
from rpecli.run import directory as run
from rpecli.run.files import write_json
from rpecli.table import Table

SIX, LOWER = [0.9, 0.85, 0.95, 0.9, 0.88, 0.92], [0.2, 0.3, 0.1, 0.25, 0.15, 0.2]
FAMILY = {"copy": "copying", "reverse": "copying", "sort": "ordering"}


def row(found: Table, label: str, measure: str | None = None) -> dict[str, str]:
    rows = [dict(zip(found.columns, cells, strict=True)) for cells in found.rows]
    return next(each for each in rows if label in each.values() and measure in (None, each.get("measure")))


def mixed(values: dict[tuple[str, str], list[float]]) -> list[Panel]:
    """`{(encoding, task): exact match beyond training by seed}`, the tasks in their families."""
    return panels([
        made_up(name, seed, {16: 1.0, 32: value, 64: value}, task=task, family=FAMILY[task])
        for (name, task), seeds in values.items() for seed, value in enumerate(seeds)
    ])  # fmt: skip


@pytest.fixture(scope="module")
def found() -> dict[str, Table]:
    values = {("rope", "copy"): [0.8] * 3, ("rope", "reverse"): [0.4] * 3, ("rope", "sort"): [0.1, 0.2, 0.3],
              ("alibi", "copy"): [0.6] * 3, ("alibi", "reverse"): [0.2] * 3, ("learned", "sort"): [0] * 3}  # fmt: skip
    return {each.title: each for each in overall.tables(mixed(values))}


def test_one_task_alone_has_no_table_over_tasks():
    assert overall.tables(study({"rope": SIX})) == []


def test_all_tasks_together_take_ranks_with_their_spread():
    made, groups = overall.tables(study({"rope": SIX, "learned": LOWER}, ("copy", "sort")))
    assert row(made, "rope")["mean rank"] == "1.00"
    assert row(made, "rope")["95 % interval of rank"] == "1.00-1.00"
    assert groups.columns == ["group", "measure", "other (2 tasks)"]
    few, _ = overall.tables(study({"rope": SIX[:2], "learned": LOWER[:2]}, ("copy", "sort")))
    assert "the order proves nothing" in few.caption


def test_a_family_is_the_interquartile_mean_of_its_tasks_with_its_interval(found):
    """Of .8 .8 .8 .4 .4 .4 the middle four are .8 .8 .4 .4; equal seeds leave the interval no room."""
    cells = row(found["By task family"], "rope")
    assert cells["copying (2 tasks)"] == ".60 [.60, .60]"
    assert cells["ordering (1 task)"] == ".20 [.10, .30]"


def test_an_encoding_that_a_task_of_the_family_lacks_has_no_number_there(found):
    assert row(found["By task family"], "alibi")["copying (2 tasks)"] == ".40 [.40, .40]"
    assert row(found["By task family"], "alibi")["ordering (1 task)"] == "-"
    assert row(found["By task family"], "alibi")["all (3 tasks)"] == "-"


def test_a_group_is_all_runs_of_its_encodings(found):
    """Copying: .8 x 3, .6 x 3, .4 x 3, .2 x 3, of which the middle six are .6 x 3, .4 x 3."""
    groups = found["Groups by task family"]
    assert row(groups, "RPE", "exact match")["copying (2 tasks)"] == ".50 [.50, .50]"
    assert row(groups, "APE", "exact match")["copying (2 tasks)"] == "-"
    assert row(groups, "APE", "exact match")["ordering (1 task)"] == ".00 [.00, .00]"
    assert row(groups, "RPE", "solved")["all (3 tasks)"] == "15/15"


def test_a_group_is_drawn_again_within_each_encoding_and_task():
    """Drawn over both encodings together its interval would reach from .2 to .8."""
    (one,) = compare.pooled_groups(study({"rope": [0.8] * 3, "alibi": [0.2] * 3}), "exact_match")
    assert (one.middle, one.middle_interval) == (0.5, (0.5, 0.5))


def test_the_rows_hold_families_groups_and_all():
    made = overall.rows(mixed({("rope", "copy"): [0.8] * 3, ("rope", "sort"): [0.2] * 3}))
    exact = {(each["family"], each["label"]): each["middle"] for each in made if each["measure"] == "exact_match"}
    assert exact == {
        ("all", "rope"): pytest.approx(0.5), ("all", ""): pytest.approx(0.5),
        ("copying", "rope"): pytest.approx(0.8), ("copying", ""): pytest.approx(0.8),
        ("ordering", "rope"): pytest.approx(0.2), ("ordering", ""): pytest.approx(0.2),
    }  # fmt: skip


def test_a_run_records_its_family_and_an_older_one_takes_its_tasks(tmp_path):
    path = make_run(tmp_path, {16: 1.0})
    assert run.read(path)["family"] == "copying"
    info = run.read(path)
    del info["family"]
    write_json(path / "run.json", info)
    assert frames.collect([path]).runs[0].info["family"] == "copying"


def test_families_are_in_the_report_of_directories(tmp_path):
    paths = [
        make_run(tmp_path, {16: 1.0, 32: 0.5}, task=task, line={"fingerprint": task}) for task in ("copy", "sort", "reverse")
    ]
    made = report.make(paths, "mine", tmp_path / "results")
    assert "| encoding | group | copying (2 tasks) | ordering (1 task) | all (3 tasks) |" in made.markdown
    assert made.data["pooled"][0]["family"] == "all"

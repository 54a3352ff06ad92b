"""Reports of a suite or of many tasks: suites and families by encoding, one line per task, a summary that fits a screen."""

import json
from pathlib import Path

import pytest
from helpers.fake_results import result
from helpers.run_folders import make_run
from helpers.training import Rpe

from rpecli.config import suites as config_suites
from rpecli.report import build
from rpecli.report.aggregate import aggregate
from rpecli.report.load import RunResults
from rpecli.report.records import SuiteRow
from rpecli.report.suites import Suites
from rpecli.report.write import text

MINE = ["copy", "copy:symbols=2", "sort"]


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One suite of three tasks in two families."""
    monkeypatch.setattr(config_suites, "names", lambda: ["mine"])
    monkeypatch.setattr(config_suites, "tasks", lambda name: {"mine": MINE}[name])


def run(task: str, encoding: str, seed: int, *accuracy: float, exact: tuple[float, ...] | None = None) -> RunResults:
    """A run that is evaluated at 16, 32 and 64 after training to 16."""
    lengths = (16, 32, 64)
    tokens, strings = (dict(zip(lengths, values, strict=True)) for values in (accuracy, exact or accuracy))
    made = result(encoding, tokens, strings, task=task, seed=seed)
    made.record["family"] = "ordering" if task == "sort" else "copying"
    return made


RUNS = [
    *(run("copy", "alibi", seed, 1.0, 1.0, 0.96) for seed in (0, 1, 2)),
    *(run("copy", "rope", seed, 1.0, 0.8, 0.4) for seed in (0, 1, 2)),
    *(run("copy:symbols=2", "alibi", seed, 1.0, 0.9, 0.5) for seed in (0, 1, 2)),
    *(run("copy:symbols=2", "rope", seed, 1.0, 1.0, accuracy) for seed, accuracy in enumerate((1.0, 1.0, 0.2))),
    *(run("sort", "alibi", seed, 0.99, 0.7, 0.5, exact=(exact, 0.1, 0.0)) for seed, exact in enumerate((0.95, 0.8, 0.7))),
]


def numbers(suites: Suites) -> dict[tuple[str, str, str], tuple[int, float | None, int, int]]:
    rows = suites.rows
    return {
        (row.kind, row.name, row.title): (row.tasks, row.token_accuracy and round(row.token_accuracy, 4), row.solved, row.held)
        for row in rows
    }


def test_every_number_of_a_suite_and_its_families(mine: None) -> None:
    suites = Suites(aggregate(RUNS))
    assert suites
    assert numbers(suites) == {
        ("suite", "mine", "ALiBi"): (3, round((0.98 + 0.7 + 0.6) / 3, 4), 2, 1),
        ("suite", "mine", "RoPE"): (2, round((0.6 + (1 + 1 + 0.6) / 3) / 2, 4), 2, 1),
        ("family", "copying", "ALiBi"): (2, 0.84, 2, 1),
        ("family", "copying", "RoPE"): (2, round((0.6 + (1 + 1 + 0.6) / 3) / 2, 4), 2, 1),
        ("family", "ordering", "ALiBi"): (1, 0.6, 0, 0),
    }


def test_tasks_stand_by_family_with_their_prediction_and_a_mark_where_they_are_not_learned(mine: None) -> None:
    by_suite, by_task = Suites(aggregate(RUNS)).tables
    assert by_suite.columns == ["suite or family", "measure", "ALiBi", "RoPE"]
    assert by_suite.rows[:3] == [
        ["suite mine (3 tasks)", "tokens right, %", "76", "73"],
        ["suite mine (3 tasks)", "tasks solved", "2", "2"],
        ["suite mine (3 tasks)", "tasks held", "1", "1"],
    ]
    assert by_suite.rows[-3] == ["ordering (1 task)", "tokens right, %", "60", "-"]
    assert by_suite.bold[0] == [False, False, True, False]
    assert not any(by_suite.bold[1])
    assert by_task.columns == ["family", "task", "trained to", "C-RASP", "ALiBi", "RoPE"]
    assert by_task.rows == [
        ["copying", "Copy", "16", "-", "98", "60"],
        ["copying", "Copy (symbols=2)", "16", "no / no", "70", "87"],
        ["ordering", "Sort", "16", "yes / yes", "60*", "-"],
    ]
    assert "C-RASP: whether" in by_task.caption


def test_a_suite_with_a_task_without_results_is_not_covered_and_few_tasks_make_no_table(mine: None) -> None:
    assert not Suites(aggregate([made for made in RUNS if made.record["task"] != "sort"]))
    assert not Suites([])


def test_many_tasks_of_no_suite_have_families_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_suites, "names", list)
    tasks = [f"copy:symbols={n}" for n in range(2, 8)]
    runs = [run(task, "rope", 0, 1.0, 0.5, 0.5) for task in (*tasks, "sort")]
    suites = Suites(aggregate(runs))
    assert [one.title for one in suites.collections] == ["copying (6 tasks)", "ordering (1 task)", "all (7 tasks)"]
    assert not Suites(aggregate(runs[1:]))


def suite_runs(name: str) -> list[Path]:
    """A run of five encodings on every task of a suite."""
    scores = {"none": 0.5, "learned": 0.3, "rope": 0.4, "alibi": 0.9, "t5": 0.8}
    return [
        make_run(Path("runs"), {16: 1.0, 32: value, 64: value / 2}, task=task, encoding=encoding)
        for task in config_suites.tasks(name) for encoding, value in scores.items()
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["kazemnejad", "formal", "state"])
def test_the_summary_of_any_suite_fits_a_screen(name: str, here: Path) -> None:
    lines = text.summary(build.report_content(suite_runs(name), name), 80)
    assert len(lines) <= 38  # and two lines about the page
    assert max(map(len, lines)) <= 80
    assert f"suite {name} ({len(config_suites.tasks(name))} tasks)" in "\n".join(lines)


def test_the_tables_of_a_suite_are_in_every_file(rpe: Rpe, here: Path) -> None:
    name = "crasp"
    suite_runs(name)
    result = rpe("report", "--no-reference")
    assert result.code == 0, result.err
    assert f"suite {name} ({len(config_suites.tasks(name))} tasks)" in result.out
    (folder,) = Path("results").iterdir()
    data = json.loads((folder / "report.json").read_text())
    (alibi,) = (row for row in data["suites"] if (row["kind"], row["title"]) == ("suite", "ALiBi"))
    assert (alibi["tasks"], alibi["solved"], alibi["held"]) == (len(config_suites.tasks(name)), alibi["tasks"], 0)
    assert (folder / "suites.csv").read_text().partition("\n")[0].split(",") == [*SuiteRow.model_fields]
    markdown, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    assert markdown.count("## Suites and families") == markdown.count("## Tasks by family") == 1
    assert "## Tokens right, in per cent" not in markdown
    assert page.count('id="suites-and-families"') == page.count('id="tasks-by-family"') == 1
    assert "more tasks</summary>" in page
    assert "Suites and families" in (folder / "appendix.tex").read_text()


def test_a_report_of_few_tasks_is_as_it_was(here: Path) -> None:
    for task in ("copy", "sort"):
        make_run(Path("runs"), {16: 1.0, 32: 0.5}, task=task)
    report = build.build_report(list(Path("runs").iterdir()), "few", Path("results"))
    assert not report.content.suites
    assert report.content.data.suites == []
    assert not Path("results/few/suites.csv").exists()
    assert "Tokens right, in per cent" in report.markdown

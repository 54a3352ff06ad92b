"""The tables behind the verdict, moved content, and the files of a report, on runs whose every number is known."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from helpers.fake_runs import made_up, study
from helpers.run_folders import make_run

from rpecli.plot import SeriesStyle, new_figure
from rpecli.report import build as report
from rpecli.report.aggregate import panels
from rpecli.report.figures.layout import Drawing
from rpecli.report.figures.series import Series, add_series
from rpecli.report.stats import Summary
from rpecli.report.tables import seeds as evidence
from rpecli.run.files import append_line
from rpecli.table import Table

SIX, LOWER = [0.9, 0.85, 0.95, 0.9, 0.88, 0.92], [0.2, 0.3, 0.1, 0.25, 0.15, 0.2]


def table(made: list[Table], title: str) -> Table:
    return next(each for each in made if each.title == f"copy, trained to 16: {title}")


def row(found: Table, label: str, column: str = "encoding") -> dict[str, str]:
    place = found.columns.index(column)
    return dict(zip(found.columns, next(cells for cells in found.rows if cells[place] == label), strict=True))


def of(made: list, title: str) -> Table:
    return table(evidence.tables(made[0]), title)


def test_the_spread_over_seeds_is_told_in_full():
    found = row(of(study({"rope": [0.8, 0.4, 0.6], "learned": [0.0, 0.0, 0.0]}), "exact match beyond training"), "rope")
    assert found == {
        "encoding": "rope", "group": "RPE", "seeds": "3", "mean": ".60", "95 % interval": ".40-.80",
        "median": ".60", "lowest": ".40", "highest": ".80", "area": ".70",
        "to 95 %": "16", "to 50 %": "64",
    }  # fmt: skip


def test_all_that_lie_within_the_interval_of_the_best_are_bold():
    found = of(
        study({"rope": [0.9, 0.5, 0.7], "alibi": [0.8, 0.4, 0.6], "learned": [0.0, 0.1, 0.0]}), "exact match beyond training"
    )
    assert {line[0]: marks[0] for line, marks in zip(found.rows, found.bold, strict=True)} == {
        "learned": False, "alibi": True, "rope": True,
    }  # fmt: skip


def test_two_seeds_make_nothing_bold_and_have_no_interval():
    found = of(study({"rope": [0.9, 0.5], "learned": [0.0, 0.1]}), "exact match beyond training")
    assert not any(any(marks) for marks in found.bold)
    assert row(found, "rope")["95 % interval"] == "-"


def test_the_highest_is_compared_with_every_other():
    found = of(study({"rope": SIX, "learned": LOWER}), "the highest against the others")
    assert row(found, "learned", "against") == {
        "encoding": "rope", "against": "learned", "difference": "+.70", "95 % interval": "+.63 to +.77", "seeds": "6",
        "p": ".031", "p (Holm)": ".031",
    }  # fmt: skip


def test_pairs_of_two_seeds_are_shown_untested():
    found = of(study({"rope": SIX[:2], "learned": LOWER[:2]}), "the highest against the others")
    assert row(found, "learned", "against")["p"] == "-"
    assert "fewer than 3 seeds are not tested" in found.caption


def test_single_models_are_shown_where_seeds_are_few_and_said_to_be_single():
    runs = [made_up("learned", 0, {16: 1, 32: 0.5}, right={32: "0f"}), made_up("rope", 0, {16: 1, 32: 0.9}, right={32: "f3"})]
    found = of(panels(runs), "single models")
    assert row(found, "learned", "against") == {
        "encoding": "rope", "against": "learned", "seed": "0", "only it right": "4", "only the other": "2", "strings": "8",
        "p (Holm)": ".688",
    }  # fmt: skip
    assert "About these two trained models only" in found.caption
    assert not any(each.title.endswith("single models") for each in evidence.tables(study({"rope": SIX, "learned": LOWER})[0]))


def test_steps_are_medians_with_those_that_never_got_there_censored():
    runs = [made_up("rope", seed, {16: 1, 32: 1}, steps=steps) for seed, steps in enumerate([20, None, 40])]
    found = row(of(panels(runs), "sample efficiency"), "rope")
    told = [found[key] for key in ("token accuracy", "steps", "tokens", "TFLOP", "got there")]
    assert told == ["90 %", "40", "40", "2.4e-07", "2/3"]
    never = [made_up("rope", seed, {16: 1, 32: 1}, steps=None) for seed in range(3)]
    assert row(of(panels(never), "sample efficiency"), "rope")["steps"] == "-"


def test_a_run_that_was_stopped_early_is_censored_at_its_own_budget():
    """Stopped at 10 it says nothing of 20 and 40; stopped at 100 it would say that half took longer than 40."""
    runs = [made_up("rope", seed, {16: 1, 32: 1}, steps=steps) for seed, steps in enumerate([20, 40, None, None])]
    assert row(of(panels(runs), "sample efficiency"), "rope")["steps"] == "-"
    short = [replace(each, config=each.config.model_copy(update={"steps": 10})) for each in runs[2:]]
    assert row(of(panels([*runs[:2], *short]), "sample efficiency"), "rope")["steps"] == "30"


def test_the_band_of_a_learning_curve_is_its_range_over_seeds():
    axes = new_figure().add_subplot()
    points = {10: Summary(0.5, 0.25, 0.75, 3), 20: Summary(0.75, 0.5, 1.0, 3)}
    line = Series("rope", SeriesStyle("RPE", "#0072B2", "o"), points, lambda step, summary: f"at {step}: {summary.mean}")
    add_series(Drawing(axes.figure), axes, line)
    (band,) = axes.collections
    extent = band.get_paths()[0].get_extents()
    assert (extent.x0, extent.y0, extent.x1, extent.y1) == (10, 0.25, 20, 1.0)


def test_memory_is_told_where_runs_recorded_it():
    runs = [made_up("rope", seed, {16: 1, 32: 1}, peak_memory=peak) for seed, peak in enumerate([1e8, 3e8, 4e8])]
    assert row(of(panels(runs), "cost"), "rope")["peak memory, MB"] == "300"
    assert "peak memory, MB" not in of(study({"rope": SIX}), "cost").columns


# --------------------------------------------------------------------------------------------------------------- on disk


def probe(path: Path, changed: float, kind: str = "positions", **given: object) -> None:
    for shift in (1, 16):
        line = {
            "probe": kind,
            "shift": shift,
            "changed": changed,
            "kl_mean": changed / 10,
            "weights": "w",
            "encoding_override": None,
        }
        line |= {"positions": None, "eval_seed": 0, "length": 16, "fingerprint": "set16"}
        append_line(path / "probes.jsonl", line | given)


@pytest.fixture(scope="module")
def moved(tmp_path_factory) -> report.Report:
    """Eight seeds of a relative encoding that keeps every answer and of an absolute one that changes half."""
    runs = tmp_path_factory.mktemp("moved")
    paths = []
    for name, changed in (("rope", 0.0), ("learned", 0.5)):
        for seed in range(8):
            paths.append(make_run(runs, {16: 1.0, 32: 0.9 - changed}, encoding=name, seed=seed))
            probe(paths[-1], changed)
            for other in ({"weights": "older"}, {"encoding_override": "none"}, {"eval_seed": 1}, {"fingerprint": "another set"}):
                probe(paths[-1], 0.25, **other)
    return report.make(paths, "mine", runs / "results")


def test_moved_content_is_in_the_verdict_and_in_a_table(moved):
    found = moved.verdicts[1]
    assert (found.claim, found.outcome, found.difference.mean) == ("Translation invariance", "supported", 0.5)
    cells = row(table(moved.evidence, "moved positions"), "learned")
    assert cells["+16"] == ".50 (0.05)"
    assert not any(each.title.endswith("behind a prefix") for each in moved.evidence), "nobody measured them"


def test_every_measure_of_moved_content_is_told_with_means_over_seeds_and_layers(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.5}, seed=seed) for seed in (0, 1)]
    for path, after in zip(paths, (0.5, 0.7), strict=True):
        given = {"logits_mean": 0.25, "attention": [0.1, 0.3], "exact_match_before": 1.0, "exact_match": after}
        probe(path, 0.5, kind="prefix", **given)
    found = row(table(report.make(paths, "mine", tmp_path / "results").evidence, "moved content, every measure"), "rope")
    assert found == {
        "encoding": "rope", "moved": "prefix", "by": "1", "changed": ".50", "KL, nats": "0.05", "logits": "0.25",
        "attention": "0.2", "exact match before": "1.00", "exact match": ".60", "token acc. before": "-", "token acc.": "-",
    }  # fmt: skip


def test_the_verdict_heads_the_page_and_the_data(moved):
    page = moved.markdown
    assert page.index("## Verdict") < page.index("## copy, trained to 16")
    assert "- **Length extrapolation: supported**" in page
    (data,) = [json.loads(file.read_text()) for file in moved.files if file.name == "report.json"]
    assert [each["outcome"] for each in data["verdicts"]] == ["supported", "supported", "no difference"]
    assert data["verdicts"][0]["difference"]["pairs"] == 8
    assert data["verdicts"][0]["p_holm"] == pytest.approx(3 * 2 / 2**8)


def test_pairs_and_strings_are_files_of_their_own(moved):
    by_name = {file.name: file for file in moved.files}
    pairs = pd.read_csv(by_name["pairs.csv"])
    assert list(pairs["measure"]) == ["exact_match", "token_accuracy"]
    assert pairs["mean"][0] == pytest.approx(-0.5)
    summary = pd.read_csv(by_name["summary.csv"])
    assert summary["exact_match_interval_low"].notna().all()
    assert "strings.csv" not in by_name, "two hexadecimal digits are no hundred strings"


def test_learning_curves_are_means_at_steps_that_all_runs_have(tmp_path):
    for seed, values in enumerate([[0.2, 0.5, 0.9], [0.4, 0.7]]):
        path = make_run(tmp_path / "runs", {16: 1.0, 32: 0.5}, seed=seed)
        for place, value in enumerate(values, 1):
            append_line(path / "metrics.jsonl", {"step": 10 * place, "token_accuracy": value})
    made = report.make(sorted((tmp_path / "runs").iterdir()), "mine", tmp_path / "results")
    page = next(file for file in made.files if file.name == "report.html").read_text()
    assert "<title>rope at step 10: .30 (.20-.40)</title>" in page
    assert "<title>rope at step 20: .60 (.50-.70)</title>" in page
    assert "rope at step 30" not in page
    drawn = {file.name: file.read_bytes() for file in made.files if file.name.startswith("learning.")}
    assert {name: data[:4] for name, data in drawn.items()} == {
        "learning.png": b"\x89PNG", "learning.svg": b"<?xm", "learning.pdf": b"%PDF",
    }  # fmt: skip
    assert "](learning.png)" in made.markdown
    again = report.make(sorted((tmp_path / "runs").iterdir()), "mine", tmp_path / "again")
    assert all(file.read_bytes() == drawn[file.name] for file in again.files if file.name in drawn)
    found = row(table(made.evidence, "sample efficiency"), "rope")
    assert (found["token accuracy"], found["steps"], found["tokens"], found["got there"]) == ("50 %", "20", "-", "2/2")

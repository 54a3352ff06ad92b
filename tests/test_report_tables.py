"""Tables behind the verdicts, shifted content, and the files of a report, on runs whose every number is known."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fake_runs import fake_run, fake_study
from helpers.run_folders import make_run, validation
from helpers.run_folders import shifted as shift_line

from rpecli.plot import SeriesStyle, new_figure
from rpecli.report import build
from rpecli.report.aggregate import TaskResults, aggregate
from rpecli.report.figures.layout import Drawing
from rpecli.report.figures.series import Series, add_series
from rpecli.report.heatmap import heat_map
from rpecli.report.stats import Summary
from rpecli.report.tables import choice, seeds
from rpecli.report.tables.accuracy import group_sentence
from rpecli.run.files import append_line
from rpecli.table import MISSING, Table

SIX, LOWER = [0.9, 0.85, 0.95, 0.9, 0.88, 0.92], [0.2, 0.3, 0.1, 0.25, 0.15, 0.2]
BEYOND, BEST = "exact match beyond training", "the best encoding minus the others"


def find(tables: list[Table], title: str) -> Table:
    return next(table for table in tables if table.heading == f"Copy, trained to 16: {title}")


def row(table: Table, label: str, column: str = "encoding") -> dict[str, str]:
    index = list(table.columns).index(column)
    return dict(zip(table.columns, next(cells for cells in table.rows if cells[index] == label), strict=True))


def of(tasks: list[TaskResults], title: str) -> Table:
    return find(seeds.tables(tasks[0]), title)


def read_csv(report: build.Report, name: str) -> list[dict[str, str]]:
    (file,) = [file for file in report.files if file.name == name]
    return list(csv.DictReader(file.read_text().splitlines()))


def test_scores_over_seeds_are_shown_in_full():
    assert row(of(fake_study({"rope": [0.8, 0.4, 0.6], "learned": [0.0, 0.0, 0.0]}), BEYOND), "RoPE") == {
        "encoding": "RoPE", "group": "RPE", "seeds": "3", "mean": "60 %", "95 % interval": "10 to 100",
        "median": "60 %", "lowest": "40 %", "highest": "80 %", "area": "70 %", "to 95 %": "16", "to 50 %": "64",
    }  # fmt: skip


def test_all_that_lie_within_the_interval_of_the_best_are_bold():
    table = of(fake_study({"rope": [0.9, 0.5, 0.7], "alibi": [0.8, 0.4, 0.6], "learned": [0.0, 0.1, 0.0]}), BEYOND)
    bold = {cells[0]: flags[0] for cells, flags in zip(table.rows, table.bold, strict=True)}
    assert bold == {"Learned APE": False, "ALiBi": True, "RoPE": True}


def test_two_seeds_make_nothing_bold_and_have_no_interval():
    table = of(fake_study({"rope": [0.9, 0.5], "learned": [0.0, 0.1]}), BEYOND)
    assert not any(any(flags) for flags in table.bold)
    assert row(table, "RoPE")["95 % interval"] == "-"


def test_the_best_is_compared_with_every_other():
    assert row(of(fake_study({"rope": SIX, "learned": LOWER}), BEST), "Learned APE", "minus") == {
        "encoding": "RoPE", "minus": "Learned APE", "points": "+70", "95 % interval": "+63 to +77", "seeds": "6",
        "p": "0.031", "p (Holm)": "0.031",
    }  # fmt: skip


def test_encodings_that_tie_for_the_best_are_named_beside_it():
    caption = of(fake_study({"rope": SIX, "alibi": SIX, "learned": LOWER}), BEST).caption
    assert "ALiBi, which has the highest mean together with RoPE, minus each other encoding" in caption


@pytest.mark.parametrize(
    ("learned", "said"),
    [
        ({"rope": 0.1, "learned": 0.1}, "No RPE and no APE run did, so their numbers beyond training"),
        ({"rope": 1.0, "learned": 0.1}, "No APE run did, so its numbers beyond training"),
    ],
)
def test_runs_that_learned_nothing_are_told_below_the_groups(learned, said):
    (task,) = aggregate([fake_run(name, 0, {16: score, 32: 0.1}) for name, score in learned.items()])
    assert said in group_sentence(task)


def test_pairs_of_two_seeds_are_shown_untested():
    table = of(fake_study({"rope": SIX[:2], "learned": LOWER[:2]}), BEST)
    assert row(table, "Learned APE", "minus")["p"] == "-"
    assert "fewer than 3 seeds are not tested" in table.caption


def test_single_models_are_compared_where_seeds_are_few():
    runs = [
        fake_run("learned", 0, {16: 1, 32: 0.5}, correct={32: "0f"}),
        fake_run("rope", 0, {16: 1, 32: 0.9}, correct={32: "f3"}),
    ]
    assert row(of(aggregate(runs), "single models"), "Learned APE", "other") == {
        "encoding": "RoPE", "other": "Learned APE", "seed": "0", "only it correct": "4", "only the other correct": "2",
        "sequences": "8", "p (Holm)": "0.688",
    }  # fmt: skip
    many = seeds.tables(fake_study({"rope": SIX, "learned": LOWER})[0])
    assert not any(table.title.endswith("single models") for table in many)


def test_steps_are_medians_with_runs_that_never_reached_the_target_censored():
    runs = [fake_run("rope", seed, {16: 1, 32: 1}, steps=steps) for seed, steps in enumerate([20, None, 40])]
    costs = row(of(aggregate(runs), "sample efficiency"), "RoPE")
    cells = [costs[key] for key in ("token accuracy", "steps", "tokens", "TFLOP", "reached")]
    assert cells == ["90 %", "40", "40", "2.4e-07", "2/3"]
    half = [fake_run("rope", seed, {16: 1, 32: 1}, steps=steps) for seed, steps in enumerate([20, None])]
    table = of(aggregate(half), "sample efficiency")
    assert (row(table, "RoPE")["steps"], row(table, "RoPE")["reached"]) == ("-", "1/2")
    assert "'-': no more than half reached it" in table.caption
    never = [fake_run("rope", seed, {16: 1, 32: 1}, steps=None) for seed in range(3)]
    assert row(of(aggregate(never), "sample efficiency"), "RoPE")["steps"] == "-"


def test_a_run_that_was_stopped_early_is_censored_at_its_own_budget():
    """Censored at 10 it says nothing of 20 and 40; censored at 100 it would say that half took longer than 40."""
    runs = [fake_run("rope", seed, {16: 1, 32: 1}, steps=steps) for seed, steps in enumerate([20, 40, None, None])]
    assert row(of(aggregate(runs), "sample efficiency"), "RoPE")["steps"] == "-"
    short = [replace(run, config=run.config.model_copy(update={"steps": 10})) for run in runs[2:]]
    assert row(of(aggregate([*runs[:2], *short]), "sample efficiency"), "RoPE")["steps"] == "30"


def test_the_band_of_a_learning_curve_is_its_range_over_seeds():
    axes = new_figure().add_subplot()
    points = {10: Summary(0.5, 0.25, 0.75, 3), 20: Summary(0.75, 0.5, 1.0, 3)}
    line = Series(SeriesStyle("RoPE", "RPE", "#0072B2", "o"), points, lambda step, summary: f"at {step}: {summary.mean}")
    add_series(Drawing(axes.figure), axes, line)
    (band,) = axes.collections
    extent = band.get_paths()[0].get_extents()
    assert (extent.x0, extent.y0, extent.x1, extent.y1) == (10, 0.25, 20, 1.0)


def probe(path: Path, changed: float, kind: str = "positions", **more: object) -> None:
    """Two lines of probes.jsonl, of a shift by 1 and by 16."""
    for shift in (1, 16):
        append_line(path / "probes.jsonl", shift_line(kind, shift, changed=changed, kl_mean=changed / 10, **more))


@pytest.fixture(scope="module")
def shifted(tmp_path_factory) -> build.Report:
    """Eight seeds of a relative encoding that keeps every prediction and of an absolute one that changes half."""
    folder = tmp_path_factory.mktemp("shifted")
    paths = []
    for encoding, changed in (("rope", 0.0), ("learned", 0.5)):
        for seed in range(8):
            paths.append(make_run(folder, {16: 1.0, 32: 0.9 - changed}, encoding=encoding, seed=seed))
            probe(paths[-1], changed)
            for other in ({"weights": "older"}, {"encoding_override": "none"}, {"eval_seed": 1}, {"fingerprint": "another set"}):
                probe(paths[-1], 0.25, **other)
    return build.build_report(paths, "mine", folder / "results")


def test_shifted_content_is_in_the_verdict_and_in_a_table(shifted):
    verdict = shifted.verdicts[1]
    assert (verdict.claim, verdict.outcome, verdict.difference.mean) == ("Translation invariance", "supported", 0.5)
    assert row(find(shifted.content.more_tables, "position shift"), "Learned APE")["+16"] == "50 % (0.05)"
    assert not any(table.title == "random-prefix shift" for table in shifted.content.more_tables), "there are no such lines"


def test_every_measure_of_shifted_content_is_shown_with_means_over_seeds_and_layers(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.5}, seed=seed) for seed in (0, 1)]
    for path, after in zip(paths, (0.5, 0.7), strict=True):
        measures = {"logits_mean": 0.25, "attention": [0.1, 0.3], "exact_match_before": 1.0, "exact_match": after}
        probe(path, 0.5, kind="prefix", **measures)
    content = build.report_content(paths, "mine")
    assert row(find(content.more_tables, "position shift, all measures"), "RoPE") == {
        "encoding": "RoPE", "shift": "prefix", "by": "1", "changed": "50 %", "KL, nats": "0.05", "logits": "0.25",
        "attention": "0.2", "exact match before": "100 %", "exact match": "60 %",
        "token acc. before": "100 %", "token acc.": "100 %",
    }  # fmt: skip


def test_the_verdict_heads_the_page_and_the_data(shifted):
    page = shifted.markdown
    assert page.index("## Verdict") < page.index("## Copy, trained to 16")
    assert "- **Length extrapolation: supported**" in page
    (data,) = [json.loads(file.read_text()) for file in shifted.files if file.name == "report.json"]
    assert [verdict["outcome"] for verdict in data["verdicts"]] == ["supported", "supported", "no difference"]
    assert data["verdicts"][0]["difference"]["pairs"] == 8
    assert data["verdicts"][0]["p_holm"] == pytest.approx(3 * 2 / 2**8)


def test_pairs_and_intervals_are_in_files_of_their_own(shifted):
    pairs = read_csv(shifted, "pairs.csv")
    assert [pair["measure"] for pair in pairs] == ["exact_match", "token_accuracy"]
    assert float(pairs[0]["mean"]) == pytest.approx(-0.5)
    assert all(line["exact_match_interval_low"] for line in read_csv(shifted, "summary.csv"))
    assert "mcnemar.csv" not in {file.name for file in shifted.files}, "two hexadecimal digits are not a hundred sequences"


def test_learning_curves_are_means_at_steps_that_all_runs_have(tmp_path):
    for seed, accuracies in enumerate([[0.2, 0.5, 0.9], [0.4, 0.7]]):
        path = make_run(tmp_path / "runs", {16: 1.0, 32: 0.5}, seed=seed)
        for number, accuracy in enumerate(accuracies, 1):
            append_line(path / "metrics.jsonl", validation(10 * number, accuracy))
    report = build.build_report(sorted((tmp_path / "runs").iterdir()), "mine", tmp_path / "results")
    page = next(file for file in report.files if file.name == "report.html").read_text()
    assert "<title>RoPE at step 10: 30 % (20 to 40)</title>" in page
    assert "<title>RoPE at step 20: 60 % (50 to 70)</title>" in page
    assert "RoPE at step 30" not in page
    drawn = {file.name: file.read_bytes() for file in report.files if file.name.startswith("learning.")}
    assert {name: data[:4] for name, data in drawn.items()} == {
        "learning.png": b"\x89PNG", "learning.svg": b"<?xm", "learning.pdf": b"%PDF",
    }  # fmt: skip
    assert "](learning.png)" in report.markdown
    second = build.build_report(sorted((tmp_path / "runs").iterdir()), "mine", tmp_path / "second")
    assert all(file.read_bytes() == drawn[file.name] for file in second.files if file.name in drawn)
    costs = row(find(report.content.more_tables, "sample efficiency"), "RoPE")
    assert (costs["token accuracy"], costs["steps"], costs["tokens"], costs["reached"]) == ("50 %", "20", "1,000", "2/2")


def test_encodings_are_ranked_by_the_tasks_that_most_have_and_one_that_lacks_some_has_no_mean():
    """ALiBi is perfect on the only task it has, the easy one; a ranking by that task alone would put it first."""
    scores = {
        "copy": {"rope": 1.0, "learned": 1.0, "none": 1.0, "alibi": 1.0},
        "sort": {"rope": 0.5, "learned": 0.2, "none": 0.4},
    }
    tasks = aggregate(
        [fake_run(label, 0, {16: 1, 32: score}, task=task) for task, one in scores.items() for label, score in one.items()]
    )
    table = choice.table(tasks, [], {})
    names = [cells[0] for cells in table.rows]
    assert names == ["RoPE", "NoPE", "Learned APE", "ALiBi"]
    assert row(table, "ALiBi")["mean beyond"] == MISSING
    assert (
        "over log2 length and the tasks that most encodings have (Copy, Sort); - for one that lacks some of them" in table.caption
    )
    assert "ALiBi" not in choice.advice(table)
    assert heat_map(tasks).rows[-1].mean is None


def test_encodings_that_share_no_task_are_ranked_by_their_own():
    tasks = aggregate([fake_run(label, 0, {16: 1, 32: 0.5}, task=task) for label, task in (("rope", "copy"), ("alibi", "sort"))])
    table = choice.table(tasks, [], {})
    assert MISSING not in {cells[2] for cells in table.rows}
    assert "over log2 length and the tasks of each, which are not the same" in table.caption

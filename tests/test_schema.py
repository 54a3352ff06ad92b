"""Real reports against the records that document them."""

import csv
import json
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import report_schema
from helpers.run_folders import add_inspection, evaluation, make_run, validation
from pydantic import BaseModel, ValidationError

from rpecli.config import recipe
from rpecli.report import build, records, report_data
from rpecli.run.directory import Run
from rpecli.run.files import append_line

CSV_FILES = {
    "summary.csv": report_data.SummaryRow,
    "pairs.csv": records.Pair,
    "pooled.csv": records.Pooled,
    "mcnemar.csv": records.McNemarPair,
    "grid.csv": records.GridRow,
}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> build.Report:
    """A report that has everything: three seeds, a failed run, groups, recorded sequences, learning curves, two tasks."""
    folder = tmp_path_factory.mktemp("schema")
    lines = {"copy": {"correct": "f" * 26}, "sort": {"correct": "f" * 26, "fingerprint": "other"}}
    paths = [make_run(folder, {16: 1.0, 32: 0.1 * seed}, encoding=name, seed=seed, task=task, line=line)
             for name in ("rope", "learned", "none") for seed in range(3) for task, line in lines.items()]  # fmt: skip
    paths += [make_run(folder, {}, encoding="alibi", info={"status": "failed", "error": "nan"})]
    add_inspection(paths[0], 0.9)
    cell = {"sizes": [2, 8], "names": ["rows", "columns"], "trained": [4, 4]}
    Run(paths[0]).append_evaluation(evaluation(8, 0.5, 0.5) | {"grid": cell})
    append_line(paths[0] / "metrics.jsonl", validation(10, 0.5))
    return build.build_report(paths, "mine", folder / "results", "rpe report")


def written(report: build.Report) -> dict[str, Path]:
    return {file.name: file for file in report.files}


def columns(report: build.Report, name: str) -> list[str]:
    return next(csv.reader(written(report)[name].read_text().splitlines()))


def flat_columns(model: type[BaseModel]) -> list[str]:
    """The columns of a record, the keys of nested records joined with `_`."""
    names = []
    for key, field in model.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        names += [f"{key}_{part}" for part in field.annotation.model_fields] if nested else [key]
    return names


def test_a_report_is_what_the_records_say(report):
    text = written(report)["report.json"].read_bytes()
    assert report_data.ReportData.model_validate_json(text, strict=True).name == "mine"
    assert list(json.loads(text)) == list(report_data.ReportData.model_fields)


def test_every_run_in_it_can_be_traced(report):
    data = json.loads(written(report)["report.json"].read_bytes())
    assert data["command"] == "rpe report"
    for run in data["runs"]:
        assert recipe.Config.from_keys(**run["recipe"]).id == run["id"]
        assert (run["commit"], run["versions"]["torch"], Path(run["path"]).name) == ("c0ffee", "2.9", run["id"])
        assert all(line["fingerprint"] and line["weights"] for line in run["evaluations"])


def test_two_seeds_without_a_baseline_fit_the_records_too(tmp_path):
    few = build.build_report([make_run(tmp_path, {32: 1.0}, seed=seed) for seed in (0, 1)], "few", tmp_path / "results")
    assert report_data.ReportData.model_validate(few.data, strict=True).pairs == []


def test_a_key_that_is_not_described_is_refused(report):
    with pytest.raises(ValidationError, match="surprise"):
        report_data.ReportData.model_validate(report.data | {"surprise": 1})


@pytest.mark.parametrize("name", CSV_FILES)
def test_a_csv_file_has_the_columns_that_are_described(report, name):
    assert columns(report, name) == flat_columns(CSV_FILES[name])


def test_runs_csv_has_the_columns_that_are_described_and_recipe_keys(report):
    described, actual = set(get_type_hints(report_data.RunRow)), set(columns(report, "runs.csv"))
    assert described <= actual
    assert actual - described <= {*recipe.Settings.model_fields}


def test_every_file_is_described_and_nothing_else_is(report):
    figures = {name.removesuffix(".png") for name in report_schema.FILES if name.endswith(".png")}
    formats = {name + end for name in figures for end in (".png", ".svg", ".pdf")}
    names = {re.sub(r"^(inspect|grid)-.*(?=\.)", r"\1-*", name) for name in written(report)}
    elsewhere = {"suites.csv", "paper-*.pdf"}  # of many tasks, and asked for: test_report_suites.py, test_paper_figures.py
    assert names | elsewhere == {*report_schema.FILES} | formats


@pytest.mark.parametrize("name", [*report_schema.RECORDS, *report_schema.COMPARISON_RECORDS])
def test_every_key_of_a_record_is_described(name):
    record: Any = (report_schema.RECORDS | report_schema.COMPARISON_RECORDS)[name]
    described = report_schema.schema_of(record)
    assert described["description"]
    for key, field in described["properties"].items():
        assert field.get("description"), key


def test_the_documentation_holds_every_file_and_key():
    text = report_schema.documentation()
    for name in (*report_schema.FILES, "iqm_low", "only_first_correct", "interval_low", "accuracy_by_decile", "same_eval_set"):
        assert f"`{name}`" in text

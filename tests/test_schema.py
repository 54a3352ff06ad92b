"""The documented schema of report.json and of the CSV files, held against reports of made-up runs."""

import json
from pathlib import Path

import pandas as pd
import pytest
from helpers.run_folders import look_into, make_run
from pydantic import BaseModel, ValidationError

from rpecli.config import recipe
from rpecli.report import build as report
from rpecli.report import schema
from rpecli.run.files import append_line

TABLES = {"summary.csv": schema.Row, "pairs.csv": schema.Pair, "pooled.csv": schema.Pooled, "strings.csv": schema.Strings}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> report.Report:
    """A report that has everything: three seeds, a failed run, groups, kept strings, learning curves, two tasks."""
    runs = tmp_path_factory.mktemp("schema")
    kept = {"copy": {"correct": "f" * 26}, "sort": {"correct": "f" * 26, "fingerprint": "other"}}
    paths = [make_run(runs, {16: 1.0, 32: 0.1 * seed}, encoding=name, seed=seed, task=task, line=line)
             for name in ("rope", "learned", "none") for seed in range(3) for task, line in kept.items()]  # fmt: skip
    paths += [make_run(runs, {}, encoding="alibi", info={"status": "failed", "error": "nan"})]
    look_into(paths[0], 0.9)
    append_line(paths[0] / "metrics.jsonl", {"step": 10, "token_accuracy": 0.5})
    return report.make(paths, "mine", runs / "results", "rpe report")


def by_name(made: report.Report) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in made.files}


def test_a_report_is_what_the_schema_says(made):
    found = json.loads(by_name(made)["report.json"])
    assert schema.Report.model_validate(found, strict=True).name == "mine"
    assert {*found} == {*schema.Report.model_fields}


def test_every_run_in_it_can_be_traced(made):
    found = json.loads(by_name(made)["report.json"])
    assert found["command"] == "rpe report"
    for each in found["runs"]:
        assert recipe.Config.from_keys(**each["recipe"]).id == each["id"]
        assert (each["commit"], each["versions"]["torch"], Path(each["path"]).name) == ("c0ffee", "2.9", each["id"])
        assert all(line["fingerprint"] and line["weights"] for line in each["evaluations"])


def test_two_seeds_and_no_baseline_fit_the_schema_too(tmp_path):
    few = report.make([make_run(tmp_path, {32: 1.0}, seed=seed) for seed in (0, 1)], "few", tmp_path / "results")
    schema.Report.model_validate(few.data, strict=True)


def test_a_key_that_is_not_described_is_refused(made):
    with pytest.raises(ValidationError, match="surprise"):
        schema.Report.model_validate(made.data | {"surprise": 1})


@pytest.mark.parametrize("name", TABLES)
def test_a_csv_file_has_the_columns_that_are_described(made, name):
    frame = pd.read_csv(next(file for file in made.files if file.name == name))
    assert {*frame.columns} == {*TABLES[name].model_fields}


def test_runs_csv_has_the_columns_that_are_described_and_recipe_keys(made):
    columns = {*pd.read_csv(next(file for file in made.files if file.name == "runs.csv")).columns}
    told = {key for keys in schema.RUNS for key in keys.split(", ")}
    assert told <= columns
    assert columns - told <= {*recipe.Settings.model_fields}


def test_every_file_is_described_and_nothing_else_is(made):
    drawn = {name.removesuffix(".png") for name in schema.FILES if name.endswith(".png")}
    formats = {name + end for name in drawn for end in (".png", ".svg", ".pdf")}
    written = {"inspect-*.svg" if name.startswith("inspect-") else name for name in by_name(made)}
    assert written == {*schema.FILES} | formats


def models(model: type[BaseModel]) -> set[type[BaseModel]]:
    return {model, *schema.LISTED.values(), *schema.COMPARED.values()}


def test_every_key_is_described():
    for model in models(schema.Report):
        for key, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{key}"
    assert "| `exact_match_mean`, `_median`, `_low`, `_high` | all answer tokens right" in schema.described()

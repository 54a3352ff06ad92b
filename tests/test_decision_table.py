"""The tables of docs/choose.md agree with the committed results."""

import re
from pathlib import Path
from statistics import fmean

import decision_table
import pytest

from rpecli.report import attention_cost
from rpecli.report.aggregate import aggregate
from rpecli.report.reference import read

PAGE = Path(__file__).resolve().parents[1] / "docs" / "choose.md"


def rows() -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in decision_table.decisions().splitlines()[2:]]


def test_a_clear_cell_is_the_highest_mean_of_the_committed_runs() -> None:
    """Parity at four times 128: the runs of reference.jsonl, without the functions that choose."""
    scores: dict[str, list[float]] = {}
    for run in read():
        if run.record["task"] == "parity" and 512 in run.evaluations:
            scores.setdefault(run.config.encoding, []).append(run.evaluations[512]["exact_match"])
    means = {name: fmean(values) for name, values in scores.items() if len(values) >= 3}
    assert max(means, key=lambda name: means[name]) == "alibi"
    (row,) = [row for row in rows() if row[:3] == ["Parity, trained to 128", "4x", "reference"]]
    assert row[3] == f"**ALiBi** ({100 * means['alibi']:.0f} % of strings)"


def test_an_encoding_that_did_not_learn_its_training_length_is_marked() -> None:
    """In quick, no encoding learned to sort with every seed, and all did at 32."""
    first = {(row[0], row[2]): row[3].split(" (")[0] for row in rows() if row[1] == "2x"}
    assert first["Sort, trained to 16", "quick"] == r"FIRE\*"
    assert first["Sort, trained to 32", "reference"] == "NoPE"
    assert r"| Sort, trained to 16\* |" in decision_table.pretrained()
    assert "| Copy, trained to 16 |" in decision_table.pretrained()


def test_a_constraint_leaves_out_what_costs_more() -> None:
    ratio = attention_cost.read().ratio
    assert ratio["fire"] > decision_table.CHEAP > ratio["alibi"]
    cells = {name for row in rows() for name in re.findall(r"FIRE", " ".join(row[4:]))}
    assert cells == set()
    assert any("FIRE" in row[3] for row in rows())


def test_an_encoding_with_one_seed_decides_nothing() -> None:
    (task,) = [task for task in aggregate(read()) if task.name == "recall"]
    assert len(task.encodings) > len(decision_table.with_seeds(task).encodings) == 7


@pytest.mark.parametrize("name", ["decisions", "costs", "pretrained"])
def test_the_page_has_what_is_generated(name: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"<!-- generated: {name} -->\n{getattr(decision_table, name)()}\n<!-- end -->" in text


def test_a_length_that_nobody_measured_is_called_so() -> None:
    (task,) = [task for task in aggregate(read()) if task.name == "recall"]
    assert decision_table.cell(task, 999, lambda name: True) == decision_table.NOT_MEASURED
    assert decision_table.cell(task, 512, lambda name: False) == decision_table.NOT_MEASURED

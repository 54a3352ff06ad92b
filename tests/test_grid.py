"""Evaluation on a grid of two sizes: its cells, its lines, the table of `rpe eval`, and the figure and table of a report."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import training as tiny
from helpers.run_folders import EVAL_IDENTITY, evaluation, write_run

from rpecli import data
from rpecli import task as tasks
from rpecli.choice import ChoiceError
from rpecli.config.ranges import parse_grid
from rpecli.config.recipe import Config
from rpecli.evaluate import grid
from rpecli.evaluate.asked import asked_cells, is_answered
from rpecli.evaluate.measure import evaluate
from rpecli.evaluate.request import EvalRequest
from rpecli.ragged import ABSENT
from rpecli.report import build
from rpecli.report.aggregate import aggregate
from rpecli.report.figures.grid import grid_figure
from rpecli.report.grid import Grid, grids
from rpecli.report.load import load_runs
from rpecli.report.tables import grid as grid_tables
from rpecli.run.directory import Run

MIXED = "addition:operands=mixed"
NAMES = ["digits of the first", "digits of the second"]


def config(choice: str, text: str | None, length: int = 4) -> Config:
    return Config.from_keys(task=choice, encoding="rope", length=length, grid=text, samples=40)


def cells_of(choice: str, text: str) -> list[tuple[int, int]]:
    return grid.cells(config(choice, text), tasks.build(choice))


def test_a_grid_is_every_pair_of_one_range_or_of_two() -> None:
    assert parse_grid("2:4") == [(2, 2), (2, 4), (4, 2), (4, 4)]
    assert parse_grid("1x,3/5", 2) == [(2, 5), (3, 5)]
    with pytest.raises(ValueError, match="more than two sizes"):
        parse_grid("1/2/3")
    assert cells_of(MIXED, "1,3") == [(1, 1), (1, 3), (3, 1), (3, 3)]
    assert cells_of("addition:hints=4", "2,4") == [(2, 2)], "a longer sum has no hints"
    assert grid.cells(config("copy", None), tasks.build("copy")) == []
    with pytest.raises(ChoiceError, match="copy has one size, its length"):
        cells_of("copy", "2:4")


@pytest.mark.parametrize("choice", [MIXED, "addition", "multiplication", "multiplication:second=2", "addition:hints=20"])
def test_all_problems_of_a_cell_have_its_sizes(choice: str) -> None:
    task = tasks.build(choice)
    sized = grid.of_sizes(task, (2, 5))
    x = sized.draw(np.random.default_rng(0), 50, 99)[:, :2]
    assert ((x != ABSENT).sum(axis=2) == [2, 5]).all()
    blocks = list(data.evaluation_blocks(sized, 5, 70, 0))
    assert [len(block.tokens_BxT) for block in blocks] == [32, 32, 6]
    assert max(block.tokens_BxT.shape[1] for block in blocks) <= sized.sequence(1) + 1
    assert 0 < sized.chance(5) < 0.5
    other = list(data.evaluation_blocks(grid.of_sizes(task, (5, 2)), 5, 70, 0))
    assert data.fingerprint(blocks) != data.fingerprint(other)
    assert data.fingerprint(blocks) == data.fingerprint(list(data.evaluation_blocks(grid.of_sizes(task, (2, 5)), 5, 70, 0)))
    assert task.sequence(4) == tasks.build(choice).sequence(4), "the task itself is as it was"


def test_training_sizes_are_those_of_the_task() -> None:
    assert tasks.build(MIXED).trained_sizes(8) == (8, 8)
    assert tasks.build("addition:count=5:operands=mixed").trained_sizes(8) == (8, 5)
    assert tasks.build("multiplication:second=2").trained_sizes(8) == (8, 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny.trained_run(tmp_path_factory.mktemp("grid"), task=MIXED, steps=2, grid="1,6", lengths="1x")


def test_cells_are_measured_once_and_told_apart_from_lengths(run: Run) -> None:
    assert evaluate(run, device="cpu") == []
    lengths, cells = run.evaluations(), run.grid_evaluations()
    assert [line["length"] for line in lengths] == [4]
    assert [line["grid"]["sizes"] for line in cells] == [[1, 1], [1, 6], [6, 1], [6, 6]]
    assert [line["length"] for line in cells] == [1, 6, 6, 6]
    assert all(line["grid"]["names"] == NAMES for line in cells)
    assert all(line["grid"]["trained"] == [4, 4] for line in cells)
    assert len({line["fingerprint"] for line in cells}) == 4
    assert all(line["n"] == 32 for line in cells)
    assert is_answered(run, EvalRequest())
    assert set(asked_cells(run, EvalRequest())) == {(1, 1), (1, 6), (6, 1), (6, 6)}
    assert evaluate(run, device="cpu") == []
    assert len(run.grid_evaluations()) == 4
    wider = EvalRequest(run.config.eval.model_copy(update={"grid": "1,6/1,3"}))
    assert not is_answered(run, wider)
    evaluate(run, wider, device="cpu")
    assert [line["grid"]["sizes"] for line in run.grid_evaluations()[4:]] == [[1, 3], [6, 3]]


def test_a_grid_leaves_results_by_length_as_they_are(run: Run) -> None:
    evaluate(run, device="cpu")
    (loaded,) = load_runs([run.path]).runs
    assert list(loaded.evaluations) == [4]
    assert loaded.evaluations[4] == run.evaluations()[0]
    assert set(loaded.grid) >= {(1, 1), (6, 6)}


def cell_line(sizes: tuple[int, int], match: float, fingerprint: str = "one") -> dict[str, object]:
    line = evaluation(max(sizes), match, match) | EVAL_IDENTITY | {"fingerprint": f"{fingerprint}{sizes}"}
    return line | {"grid": {"sizes": list(sizes), "names": NAMES, "trained": [4, 4]}}


def study(folder: Path) -> list[Path]:
    """Two encodings, two seeds: rope has 1 and 0.5 at (2, 8), the second seed of none another set there."""
    paths = []
    for encoding, by_seed in {"rope": (1.0, 0.5), "none": (0.0, 0.25)}.items():
        for seed, match in enumerate(by_seed):
            written = write_run(folder, {4: 1.0, 8: 0.5}, task=MIXED, encoding=encoding, seed=seed, length=4)
            for sizes, value in {(2, 2): 1.0, (2, 8): match, (8, 2): 0.0, (8, 8): 0.0}.items():
                other = (encoding, seed, sizes) == ("none", 1, (2, 8))
                written.append_evaluation(cell_line(sizes, value, "two" if other else "one"))  # type: ignore[arg-type]
            paths.append(written.path)
    return paths


def test_cells_are_means_over_seeds_on_one_set(tmp_path: Path) -> None:
    (task,) = aggregate(load_runs(study(tmp_path)).runs)
    by_title = {entry.title: entry for entry in grids(task)}
    assert list(by_title) == ["RoPE", "NoPE"]
    rope, none = by_title["RoPE"], by_title["NoPE"]
    assert (rope.first, rope.second, rope.trained) == ([2, 8], [2, 8], (4, 4))
    assert rope.cells[2, 8].mean == 0.75
    assert (rope.cells[2, 8].low, rope.cells[2, 8].high, rope.cells[2, 8].n) == (0.5, 1.0, 2)
    assert (none.cells[2, 8].mean, none.cells[2, 8].n) == (0.0, 1), "the other set does not count"
    table, _ = grid_tables.tables(task)
    assert table.rows == [["2", "100 %", "75 %"], ["8", "0 %", "0 %"]]
    assert table.bold == [[False, True, False], [False, False, False]]


def test_a_report_draws_the_grid_and_writes_its_numbers(tmp_path: Path) -> None:
    report = build.build_report(study(tmp_path / "runs"), "mine", tmp_path / "results")
    files = {file.name: file for file in report.files}
    drawn = [name for name in files if name.startswith("grid-")]
    assert sorted(Path(name).suffix for name in drawn) == [".pdf", ".png", ".svg"]
    rows = list(csv.DictReader(files["grid.csv"].read_text().splitlines()))
    assert len(rows) == 8
    assert [row for row in rows if row["label"] == "rope" and (row["first"], row["second"]) == ("2", "8")] == [
        {"task": MIXED, "training_length": "4", "label": "rope", "first_name": NAMES[0], "first": "2", "second_name": NAMES[1],
         "second": "8", "trained": "False", "seeds": "2", "exact_match": "0.75", "low": "0.5", "high": "1.0"}
    ]  # fmt: skip
    page = files["report.html"].read_text()
    assert "<title>RoPE: 2 and 8: 75 % (50 to 100), 2 seeds</title>" in page
    assert ".png)" in files["report.md"].read_text().split("one panel per encoding](grid-")[1][:80]


def test_the_outline_holds_the_sizes_of_training() -> None:
    from rpecli.report.stats import Summary

    cells = {(a, b): Summary(0.5, 0.5, 0.5, 1) for a in (1, 4, 6, 9) for b in (2, 3)}
    drawing = grid_figure([Grid("rope", "RoPE", ("a", "b"), (6, 2), cells)])
    assert drawing is not None
    (axes,) = drawing.figure.axes
    (outline,) = [patch for patch in axes.patches if not patch.get_fill()]
    assert outline.get_bbox().bounds == (0, 0, 1, 3)
    assert grid_figure([]) is None


def test_the_command_prints_a_table_and_refuses_a_task_of_one_size(rpe: tiny.Rpe, here: Path) -> None:
    flags = ["--steps=1", "--warmup=1", "--d-model=16", "--n-head=2", "--length=3", "--lengths=1x", "--device=cpu"]
    assert rpe("train", "--task", f"{MIXED},copy", "--encoding", "rope", *flags).code == 0
    refused = rpe("eval", "copy-*", "--grid", "1,2", "--device", "cpu")
    assert refused.code == 2
    assert "grid: copy has one size, its length" in refused.err
    assert rpe("eval", "--grid", "2:x").code == 2
    assert "--grid: '1x:1' descends: write 1:1x  (trained on length 3)" in rpe("eval", "addition-*", "--grid", "1x:1").err
    result = rpe("eval", "addition-*", "--grid", "1,5", "--samples", "8", "--device", "cpu")
    assert result.code == 0, result.err
    assert "| digits of the first" in result.out
    assert "Bold: sizes of training, up to 3 and 3." in result.out
    shown = json.loads(rpe("eval", "addition-*", "--grid", "1,5", "--samples", "8", "--device", "cpu", "--json").out)
    assert [line["grid"]["sizes"] for line in shown[0]["grid"]] == [[1, 1], [1, 5], [5, 1], [5, 5]]
    refused = rpe("train", "--task", "copy", "--encoding", "rope", "--grid", "1,2", *flags)
    assert refused.code == 2
    assert "copy has one size" in refused.err


OWN = '''"""Own."""
from rpecli.task import Task, prompt_answer
class Own(Task):
    symbols = 4
    size_names = ("rows", "columns")
    def draw(self, rng, batch, length):
        return rng.integers(4, size=(batch, length))
    def layout(self, x_BxN):
        return prompt_answer(x_BxN, x_BxN)
'''


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "draw_sizes: NotImplementedError"),
        ("    def draw_sizes(self, rng, batch, sizes):\n        return 1\n", "layout: "),
        ("    def draw_sizes(self, rng, batch, sizes):\n        return self.draw(rng, 2, 3)\n", "expected [B, T] = [4, T]"),
        ("    size_names = 'rows'\n", "expected two words such as"),
        (
            "    def draw_sizes(self, rng, batch, sizes):\n        return self.draw(rng, batch, sum(sizes))\n"
            "    def trained_sizes(self, length):\n        return length\n",
            "expected two whole numbers",
        ),
    ],
)
def test_an_own_task_of_two_sizes_is_tried_first(more: str, message: str, rpe: tiny.Rpe, here: Path) -> None:
    Path("own.py").write_text(OWN + more)
    result = rpe("train", "--task", "./own.py", "--encoding", "rope", "--steps", "1", "--warmup", "1")
    assert result.code == 2
    assert "own.py" in result.err
    assert message in result.err
    assert "Traceback" not in result.err

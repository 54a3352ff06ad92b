"""`rpe reproduce`: papers as data, the rule of the verdict, and the command from the first run to the table."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import training as tiny
from helpers.run_folders import evaluation, validation

from rpecli import data, task
from rpecli.reproduce import cost, order, outcome, paper, tables
from rpecli.reproduce.cost import run_seconds
from rpecli.reproduce.outcome import SeedResult
from rpecli.reproduce.paper import Cell, Paper, PaperError

OFFSETS: dict[str, Any] = {"encoding": "learned", "positions": "offset", "max_position": 20}
PAPER: dict[str, Any] = {
    "title": "A made-up paper",
    "source": "nowhere",
    "summary": "copying",
    "bins": [[1, 4], [5, 6]],
    "protocol": {**{k: v for k, v in tiny.KEYS.items() if k not in ("task", "encoding", "samples", "lengths")}, "steps": 3},
    "tasks": {"copy": {"task": "copy:symbols=2"}},
    "arms": {"nope": {"encoding": "none"}, "ape": OFFSETS},
    "cells": [
        {"task": "copy", "arm": "nope", "size": "1/2/16", "seeds": [[0.0, 0.0]], "file": "a.txt"},
        {"task": "copy", "arm": "ape", "size": "1/2/16", "seeds": [[0.9, 0.9], [0.8, 0.8], [1, 1]], "file": "a.txt",
         "keep": "perfect"},
    ],
}  # fmt: skip

OWN = '''"""No position information, from a file of the user's."""

from rpecli.encoding import Encoding


class Mine(Encoding):
    pass
'''


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "made-up.yaml"
    path.write_text(yaml.safe_dump(PAPER | changes))
    return path


def cell(**keys: Any) -> Cell:
    return Cell(**{"task": "t", "arm": "a", "size": "1/1/16", "seeds": [[1.0, 0.5]], "file": "f", **keys})


def results(*bins: list[float], perfect: bool = True) -> list[SeedResult]:
    return [SeedResult(seed, values, perfect) for seed, values in enumerate(bins)]


@pytest.mark.parametrize("name", paper.names())
def test_shipped_papers_name_what_exists_and_have_problems_in_every_bin(name: str) -> None:
    loaded = paper.load(name)
    assert loaded.cells
    for choice in {config.task: config for each in loaded.cells for config in loaded.configs(each, 1)}:
        for part in loaded.bins:
            first, last = part.lengths
            assert any(map(task.build(part.task or choice).has_length, range(first, last + 1)))
    for each in loaded.cells:
        values = [value for seed in each.seeds for value in seed]
        assert all(value >= 1 if loaded.measure == "perplexity" else 0 <= value <= 1 for value in values)


def test_published_means_are_those_of_the_tables() -> None:
    loaded = paper.load("crasp")
    ape = outcome.outcome(loaded, loaded.by_name["binary-majority/ape/1/1/16/seeds"], [])
    assert [round(part.published, 4) for part in ape.bins] == [1.0, 0.9999, 0.9996]
    copy = outcome.outcome(loaded, loaded.by_name["unique-copy/ape/2/1/64/seeds"], [])
    assert [round(part.published, 4) for part in copy.bins] == [1.0, 0.9986, 0.9874]
    rope = paper.load("crasp-rope")
    stopped = outcome.outcome(rope, rope.by_name["unique-copy/rope/2/1/64/d0.1-stopped"], [])
    assert [round(part.published, 4) for part in stopped.bins] == [1.0, 0.1105, 0.0]
    assert rope.configs(stopped.cell, 1)[0].stop_at == 1.0


def test_a_protocol_reaches_its_runs() -> None:
    loaded = paper.load("crasp")
    first, second = loaded.configs(loaded.by_name["unique-copy/ape/2/1/64/seeds"], 2)
    assert (first.seed, second.seed) == (0, 1)
    assert (first.n_layer, first.n_head, first.d_model, first.block) == (2, 1, 64, "gpt2")
    assert (first.encoding, first.positions, first.max_position) == ("learned:std=0.02", "offset", 303)
    assert (first.steps, first.batch, first.batch_lengths, first.schedule, first.warmup) == (30000, 64, "mixed", "linear", 0)
    assert (first.lr, first.lr_end, first.weight_decay, first.decayed, first.curriculum) == (1e-3, 0, 0.01, "matrices", 0)


def bins_of(published: list[list[float]], ours: list[list[float]], **keys: Any) -> outcome.Outcome:
    made_up = Paper.model_validate(PAPER)
    return outcome.outcome(made_up, cell(seeds=published, **keys), results(*ours))


def test_equal_within_half_a_point_agrees_and_more_differs() -> None:
    exact = [[1.0, 0.7]] * 3
    assert bins_of([[1.0, 0.7]], exact).verdict == "agrees"
    assert bins_of([[1.0, 0.7049]], exact).verdict == "agrees"
    assert bins_of([[1.0, 0.706]], exact).verdict == "differs at [5,6]"
    assert bins_of([[0.9, 0.706]], exact).verdict == "differs at [1,4], [5,6]"


def test_seeds_that_scatter_allow_what_chance_makes_of_them() -> None:
    ours = [[1.0, 0.4], [1.0, 0.5], [1.0, 0.6]]  # mean 0.5, standard deviation 0.1
    allowed = bins_of([[1.0, 0.0]], ours).bins[1].allowed
    assert allowed == pytest.approx(4.302653 * 0.1 * (1 / 3 + 1) ** 0.5, rel=1e-5)  # t of 2 degrees of freedom
    published = [[1.0, 0.2], [1.0, 0.4], [1.0, 0.6], [1.0, 0.8]]  # standard deviation 0.2582, the larger
    allowed = bins_of(published, ours).bins[1].allowed
    assert allowed == pytest.approx(2.570582 * 0.2581989 * (1 / 3 + 1 / 4) ** 0.5, rel=1e-5)  # t of 5 degrees of freedom


def test_few_seeds_have_no_verdict_and_perfect_ones_alone_count_where_the_paper_says_so() -> None:
    made_up = Paper.model_validate(PAPER)
    assert outcome.outcome(made_up, cell(), []).verdict == "not run"
    assert bins_of([[1.0, 0.5]], [[1.0, 0.5]] * 2).verdict == "not enough seeds (2 of at least 3)"
    mixed = [*results([1.0, 0.5], [1.0, 0.6]), SeedResult(2, [0.5, 0.1], perfect=False)]
    some = outcome.outcome(made_up, cell(keep="perfect"), mixed)
    assert some.verdict == "not enough seeds (2 of at least 3; 2 of 3 runs learned it)"
    assert (some.n_runs, some.n_kept) == (3, 2)
    assert (some.bins[1].ours, some.bins[1].of_all) == (pytest.approx(0.55), pytest.approx(0.4))
    assert outcome.outcome(made_up, cell(), mixed).n_kept == 3


def in_order(published: list[float], ours: list[float], seeds: int = 3) -> order.Order:
    """The order of encodings a, b, ... with these published and own values."""
    one_bin = Paper.model_validate(PAPER | {"bins": [[5, 6]], "compare": "order"})
    outcomes = [
        outcome.outcome(one_bin, cell(arm=arm, seeds=[[value]]), results(*[[own]] * seeds))
        for arm, value, own in zip("abcdefghi", published, ours, strict=False)
    ]
    assert {each.verdict for each in outcomes} == {"order only"}
    return order.orders(outcomes)[0]


def test_orders_are_compared_by_rank() -> None:
    same = in_order([0.9, 0.7, 0.5, 0.3], [0.4, 0.3, 0.2, 0.1])
    assert (same.arms, same.correlation, same.interval, same.is_like_published) == ([["a"], ["b"], ["c"], ["d"]], 1.0, None, None)
    six = in_order([0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert (six.correlation, six.is_like_published) == (pytest.approx(1), True)
    assert six.interval == pytest.approx((0.382651, 1), abs=1e-6)  # from where that of one swap begins
    opposite = in_order([0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert (opposite.arms, opposite.arms_here) == ([[arm] for arm in "abcdef"], [[arm] for arm in "fedcba"])
    assert opposite.interval == pytest.approx((-1, -0.382651), abs=1e-6)
    assert in_order([0.9, 0.7, 0.5, 0.3], [0.1, 0.2, 0.3, 0.4]).correlation == -1
    one_swap = in_order([0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [0.5, 0.6, 0.4, 0.3, 0.2, 0.1])
    assert one_swap.correlation == pytest.approx(1 - 6 * 2 / (6 * 35))  # 1 - 6 sum d^2 / (n (n^2 - 1))
    assert one_swap.interval == pytest.approx((0.382651, 0.996133), abs=1e-6)  # tanh(1.7631 +- 1.3600)
    assert one_swap.p == pytest.approx(2 * 6 / 720)  # itself, the same order, and four more with two neighbours exchanged
    assert in_order([0.9, 0.7, 0.5], [0.3, 0.2, 0.1]).correlation is None  # three encodings
    assert in_order([0.5, 0.5, 0.5, 0.5], [0.3, 0.2, 0.1, 0.0]).interval is None  # no order


def test_the_permutation_test_decides_whether_an_order_is_as_published() -> None:
    published = [0.9, 0.8, 0.5, 0.1, 0.05]
    same = in_order(published, [0.8, 0.7, 0.4, 0.2, 0.0])
    assert (same.p, same.is_like_published) == (pytest.approx(2 / 120), True)  # of 120 orders the same one, and the opposite
    swapped = in_order(published, [0.8, 0.7, 0.4, 0.0, 0.2])
    assert (swapped.p, swapped.is_like_published) == (pytest.approx(2 * 5 / 120), False)
    opposite = in_order(published, [0.0, 0.2, 0.4, 0.7, 0.8])
    assert (opposite.p, opposite.is_like_published) == (pytest.approx(2 / 120), False)
    four = in_order(published[:4], [0.8, 0.7, 0.4, 0.2])
    assert (four.correlation, four.p, four.is_like_published) == (pytest.approx(1), None, None)
    assert "0.017" in tables.order_table([same]).markdown()


def test_more_than_eight_encodings_are_permuted_at_random_and_always_the_same() -> None:
    values = [n / 10 for n in range(9)]
    ours = [0.2, 0.0, 0.1, 0.4, 0.3, 0.6, 0.5, 0.8, 0.7]
    assert in_order(values, ours).p == in_order(values, ours).p < 0.01


def test_a_published_order_is_of_the_encodings_that_have_seeds() -> None:
    one_bin = Paper.model_validate(PAPER | {"bins": [[5, 6]], "compare": "order"})
    few = outcome.outcome(one_bin, cell(arm="b", seeds=[[0.2]]), results([0.5]))
    enough = outcome.outcome(one_bin, cell(arm="a", seeds=[[0.1]]), results(*[[0.5]] * 3))
    (found,) = order.orders([few, enough])
    assert (found.arms, found.n_published) == ([["a"]], 2)
    assert order.orders([few]) == []
    table = tables.order_table([found]).markdown()
    assert "1 of 2" in table


def test_the_own_order_begins_with_the_least_where_the_least_is_best() -> None:
    one_bin = Paper.model_validate(PAPER | {"bins": [[5, 6]], "compare": "order"})
    made = [outcome.outcome(one_bin, cell(arm=arm, seeds=[[value]]), results(*[[own]] * 3)) for arm, value, own in
            [("a", 1.0, 7.0), ("b", 2.0, 5.0), ("c", 3.0, 7.0)]]  # fmt: skip
    (found,) = order.orders(made, best_is_least=True)
    assert (found.arms, found.arms_here) == ([["a"], ["b"], ["c"]], [["b"], ["a", "c"]])
    assert "| a, b, c         | b, a = c |" in tables.order_table([found]).markdown()


def test_tokens_count_where_the_paper_counts_them(tmp_path: Path) -> None:
    loaded = paper.load(str(written(tmp_path, measure="token_accuracy")))
    run = tiny.new_run(tmp_path, **{"encoding": "none"})
    as_asked = {"weights": "w", "encoding_override": None, "positions": "start", "eval_seed": 0, "n": run.config.eval.samples}
    as_asked["positions"] = data.fixed_kind(run.config)
    shares = {5: (0.1, 0.6), 6: (0.3, 0.8), **dict.fromkeys((1, 2, 3, 4), (1.0, 1.0))}
    lines = [as_asked | {"length": n, "exact_match_eos": a, "token_accuracy": b} for n, (a, b) in shares.items()]
    wrong = {"length": 5, "exact_match_eos": 0.7, "token_accuracy": 0.7}
    otherwise = [as_asked | wrong | {"eval_seed": 3}, as_asked | wrong | {"positions": "x"}, as_asked | wrong | {"n": 1}]

    class Trained:
        is_trained, config, record, path = True, run.config, {"weights": "w"}, run.path
        all_evaluations = staticmethod(lambda: lines + otherwise)
        last_metrics = staticmethod(lambda: {"exact_match": 1.0})

    assert outcome.seed_result(loaded, Trained()) == SeedResult(0, [1.0, pytest.approx(0.7)], True)  # type: ignore[arg-type]
    strings = paper.load(str(written(tmp_path)))
    assert outcome.seed_result(strings, Trained()) == SeedResult(0, [1.0, pytest.approx(0.2)], True)  # type: ignore[arg-type]


def test_a_run_counts_once_it_is_evaluated_at_every_length_of_every_bin_that_its_task_has(tmp_path: Path) -> None:
    loaded = paper.load(str(written(tmp_path, bins=[[1, 4], {"lengths": [5, 9], "step": 2}], tasks={"copy": {"task": "copy"}})))
    (config,) = loaded.configs(loaded.cells[0], 1)
    run = tiny.Run.create(config, tmp_path)
    run.update(status="trained", weights="w")
    run.weights_file.touch()
    run.append_metrics(validation(config.steps, 1.0))
    for length in (1, 2, 3, 4, 5, 7, 9):
        assert outcome.seed_result(loaded, run) is None
        run.append_evaluation(evaluation(length, 1.0, 1.0) | {"positions": data.fixed_kind(config)})
    assert outcome.seed_result(loaded, run) == SeedResult(0, [1.0, 1.0], True)


def test_the_command_runs_what_is_missing_and_prints_both(tmp_path: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path)
    words = ("reproduce", file, "--jobs", 0, "--device", "cpu")
    first = rpe(*words)
    assert first.code == 0
    assert "copy/nope/1/2/16" in first.out
    assert "not enough seeds (0 of at least 3; 0 of 3 runs learned it)" in first.out
    assert len(list((tmp_path / "runs/papers").iterdir())) == 6
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("eval.jsonl")}
    again = rpe(*words, "--cells", "copy/nope", "--json")
    (record,) = json.loads(again.out)
    assert record["cell"] == "copy/nope/1/2/16"
    assert (record["runs"], record["kept"], record["published_seeds"]) == (3, 3, 1)
    assert [part["name"] for part in record["bins"]] == ["[1,4]", "[5,6]"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    loaded = paper.load(str(file))
    runs = [tiny.Run(tmp_path / "runs/papers" / config.id) for config in loaded.configs(loaded.cells[0], 3)]
    by_hand = [run.latest_evaluations()[5]["exact_match_eos"] + run.latest_evaluations()[6]["exact_match_eos"] for run in runs]
    assert record["bins"][1]["ours"] == pytest.approx(sum(by_hand) / 6)


def test_a_damaged_evaluation_leaves_out_its_run_alone(tmp_path: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("reproduce", written(tmp_path), "--cells", "copy/nope")
    assert rpe(*words, "--jobs", 0, "--device", "cpu").code == 0
    run = tiny.Run(next((tmp_path / "runs/papers").glob("*-s1-*")))
    run.evaluations_file.write_bytes(run.evaluations_file.read_bytes().replace(b'"length": 1', b'"length": 2', 1))
    for more in (("--show",), ("--jobs", 0, "--device", "cpu")):
        result = rpe(*words, *more)
        assert f"{run.name}/eval.jsonl:1: damaged" in result.err
        assert "not enough seeds (2 of at least 3" in result.out
        assert result.code == 1


SETS: dict[str, Any] = {
    "bins": [[4, 4], {"lengths": [4, 5], "label": "sparse", "task": "flip-flop:format=lm:ignore=0.9"}],
    "measure": "token_accuracy",
    "tasks": {"copy": {"task": "flip-flop:format=lm"}},
}


def test_a_bin_may_be_of_the_task_with_other_options(tmp_path: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, **SETS)
    words = ("reproduce", file, "--jobs", 0, "--device", "cpu", "--cells", "copy/nope", "--json")
    (record,) = json.loads(rpe(*words).out)
    loaded = paper.load(str(file))
    runs = [tiny.Run(tmp_path / "runs/papers" / config.id) for config in loaded.configs(loaded.cells[0], 3)]
    lines = [[(line["length"], line.get("task_override")) for line in run.evaluations()] for run in runs]
    other = "flip-flop:format=lm:ignore=0.9"
    assert lines == [[(4, None), (4, other), (5, other)]] * 3
    sparse = [{line["length"]: line for line in run.evaluations() if line.get("task_override")} for run in runs]
    by_hand = sum(each[n]["token_accuracy"] for each in sparse for n in (4, 5)) / 6
    assert [part["name"] for part in record["bins"]] == ["[4,4]", "sparse"]
    assert record["bins"][1]["ours"] == pytest.approx(by_hand)
    assert record["bins"][0]["ours"] == pytest.approx(sum(run.latest_evaluations()[4]["token_accuracy"] for run in runs) / 3)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("eval.jsonl")}
    assert json.loads(rpe(*words).out) == [record]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_perplexity_is_best_where_it_is_least(tmp_path: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [{**PAPER["cells"][0], "arm": arm, "seeds": [[4.5, value]]} for arm, value in (("nope", 20.0), ("ape", 7.25))]
    text = {"measure": "perplexity", "compare": "order", "tasks": {"copy": {"task": "text"}}, "cells": cells}
    shown = rpe("reproduce", written(tmp_path, **text), "--jobs", 0, "--device", "cpu").out
    run = tiny.Run(next((tmp_path / "runs/papers").glob("text-none-s0-*")))
    nll = [line["nll"] for length, line in run.latest_evaluations().items() if length > 4]
    assert outcome.seed_result(paper.load("made-up.yaml"), run).bins[1] == pytest.approx(sum(map(math.exp, nll)) / 2)
    assert "Perplexity, published | ours" in shown
    assert r"20 \| " in shown
    assert "ape, nope" in shown
    assert "not the values.\n\n**Order of the encodings**" in shown
    records = json.loads(rpe("reproduce", "made-up.yaml", "--show", "--json").out)
    assert [record["cell"] for record in records["cells"]] == ["copy/nope/1/2/16", "copy/ape/1/2/16"]
    assert {(part["allowed"], part["agrees"]) for record in records["cells"] for part in record["bins"]} == {(None, None)}
    (ordered,) = records["orders"]
    assert (ordered["task"], ordered["arms"], ordered["as_published"]) == ("copy", [["ape"], ["nope"]], None)


def test_files_of_the_users_in_a_paper_are_relative_to_it_and_may_run(here: Path, rpe: tiny.Rpe) -> None:
    folder = here / "papers"
    folder.mkdir()
    (folder / "mine.py").write_text(OWN)
    file = written(folder, arms={"nope": {"encoding": "mine.py"}}, cells=PAPER["cells"][:1])
    result = rpe("reproduce", file, "--seeds", 1, "--jobs", 1, "--device", "cpu")
    assert (result.code, "1 of 1" in result.out) == (0, True), result
    assert [path.name for path in (here / "runs/papers").iterdir() if "mine" in path.name]


@pytest.mark.parametrize("words", [["--list"], ["--show"], ["--budget", "1m"]])
def test_what_runs_nothing_or_times_this_machine_has_no_other_place(words: list[str], rpe: tiny.Rpe) -> None:
    result = rpe("reproduce", "crasp", *words, "--on", "tcp://127.0.0.1:1")
    assert (result.code, words[0] in result.err, "--on" in result.err) == (2, True, True)


def test_what_was_run_is_shown_without_running(tmp_path: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = rpe("reproduce", written(tmp_path), "--show")
    assert result.code == 0
    assert result.out.count("not run") == 2
    assert not (tmp_path / "runs").exists()


def test_runs_that_are_done_cost_nothing_and_all_seeds_are_shown(
    tmp_path: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "run_seconds", lambda config: 400.0)
    words = ("reproduce", written(tmp_path), "--cells", "copy/nope", "--jobs", 1, "--device", "cpu")
    assert "needs about 20 min 00 s" in rpe(*words, "--budget", "1s").err
    shown = rpe(*words, "--seeds", 4).out
    assert "4 of 4" in shown
    assert "1 of 1 cell with a verdict agrees; 0 without." in shown
    assert rpe(*words, "--seeds", 4, "--budget", "1s").code == 0
    refused = rpe(*words, "--seeds", 5, "--budget", "1s")
    assert (refused.code, "copy/nope/1/2/16, needs about 6 min 40 s" in refused.err) == (2, True), refused.err
    assert "4 of 4" in rpe("reproduce", "made-up.yaml", "--show").out
    assert "2 of 2" in rpe("reproduce", "made-up.yaml", "--show", "--seeds", 2).out


def test_the_list_and_the_budget_measure_steps(tmp_path: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, protocol=PAPER["protocol"] | {"steps": 10**8})
    listed = rpe("reproduce", file, "--list")
    assert listed.code == 0
    assert " h " in listed.out
    assert "90.00" in listed.out
    _, ape = json.loads(rpe("reproduce", file, "--list", "--json").out)
    assert ape["cell"] == "copy/ape/1/2/16"
    assert ape["published"] == {"[1,4]": pytest.approx(0.9), "[5,6]": pytest.approx(0.9)}
    assert ape["seconds_a_seed"] > 3600
    refused = rpe("reproduce", file, "--budget", "30s")
    assert refused.code == 2
    assert "no cell fits: the cheapest" in refused.err
    assert run_seconds(paper.load(str(written(tmp_path))).configs(paper.load(str(file)).cells[0], 1)[0]) < 60


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["crsp"], "did you mean crasp"),
        (["crasp", "--cells", "binary-majorty"], "did you mean binary-majority"),
        (["crasp", "--budget", "soon"], "write a time such as 30m"),
        (["crasp", "--budget", "0m"], "write a time such as 30m"),
        (["--cells", "parity"], "a paper is needed"),
        (["--seeds", "5"], "--seeds: a paper is needed"),
        (["--list", "--runs", "x", "--jobs", "2", "--device", "cpu", "--stack", "off"], "a paper is needed"),
        (["crasp", "--list", "--seeds", "5"], "--list and --seeds contradict each other"),
        (["crasp", "--list", "--show"], "contradict"),
        (["crasp", "--list", "-j", "2", "--device", "cpu"], "--jobs and --device: --list runs nothing: remove them"),
        (["crasp", "--show", "--stack", "off"], "--stack: --show runs nothing: remove it"),
        (["./nothing.yaml"], "there is no file ./nothing.yaml"),
    ],
)
def test_what_cannot_be_meant_is_an_error_before_anything_starts(rpe: tiny.Rpe, words: list[str], message: str) -> None:
    result = rpe("reproduce", *words)
    assert result.code == 2
    assert message in " ".join(result.err.split())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cells": [PAPER["cells"][0], PAPER["cells"][0]]}, "two cells are named copy/nope/1/2/16"),
        ({"cells": [PAPER["cells"][0] | {"arm": "nop"}]}, "did you mean nope?"),
        ({"cells": [PAPER["cells"][0] | {"seeds": [[1.0]]}]}, "every seed has 2 values"),
        ({"cells": [PAPER["cells"][0] | {"size": "1/16"}]}, "a size is LAYERS/HEADS/WIDTH"),
        (
            {"cells": [PAPER["cells"][0] | {"keys": {"stepps": 3}}]},
            "cell copy/nope/1/2/16: stepps: unknown key: did you mean steps",
        ),
        ({"title": None}, "title"),
        ({"bins": [{"lengths": [1, 4], "task": "copy"}, [5, 6]]}, "bins: the first is of the trained task"),
        ({"cells": []}, "cells: needs at least one"),
        ({"bins": []}, "bins: needs at least one"),
        ({"arms": {}}, "arms: needs at least one"),
        ({"tasks": {}}, "tasks: needs at least one"),
        ({"cells": [PAPER["cells"][0] | {"seeds": []}]}, "cells.0.seeds: needs at least one"),
        ({"bins": [[1, 4], [1, 4]]}, "bins: two are named [1,4]: tell them apart with label"),
        ({"bins": [{"lengths": [1, 4], "label": "x"}, {"lengths": [5, 6], "label": "x"}]}, "bins: two are named x: tell"),
        ({"bins": [{"lengths": [1, 4], "label": "seeds"}, [5, 6]]}, "bins: seeds: a column of the table has this name"),
        ({"bins": [[1, 5], [5, 6]]}, "bins: [1,5] and [5,6] share lengths of one test set"),
        ({"bins": [{"lengths": [1, 4], "step": 0}, [5, 6]]}, "bins.0.step"),
        ({"bins": [[True, 4], [5, 6]]}, "bins.0.lengths.0: true is not a number"),
        ({"cells": [PAPER["cells"][0] | {"seeds": [[True, 0.5]]}]}, "cells.0.seeds.0.0: true is not a number"),
        ({"protocol": PAPER["protocol"] | {"lengths": "1:4:1"}}, "lengths: the bins say what is evaluated"),
        ({"tasks": {"copy": {"task": "copy", "eval_task": "copy:symbols=2"}}}, "eval_task: the bins say what is evaluated"),
        ({"protocol": PAPER["protocol"] | {"by_task": {"copy": {"lengths": "8"}}}}, "by_task: a cell has one task"),
        ({"arms": PAPER["arms"] | {"nope": {}}}, "nope/1/2/16: no encoding is given: write arms: {nope: {encoding: NAME}}"),
        ({"tasks": {"copy": {}}}, "cell copy/nope/1/2/16: no task is given: write tasks: {copy: {task: NAME}}"),
        (
            {"cells": [{"arms" if key == "arm" else key: value for key, value in PAPER["cells"][0].items()}]},
            "cells.0.arms: unknown key: did you mean arm",
        ),
        ({"bins": [[1, 4], {"lengths": [5, 6], "task": "copyy"}]}, "did you mean copy"),
        ({"bins": [[1, 4], {"length": [5, 6]}]}, "bins.1"),
        ({"bins": [[4, 1], [5, 6]]}, "write the first length, from 1 on, and then the last"),
        ({"measure": "perplexity"}, "write compare: order"),
        ({"cells": [PAPER["cells"][0] | {"seeds": [[99.5, 0.2]]}]}, "99.5: a value of exact_match_eos is from 0 to 1"),
        ({"cells": [PAPER["cells"][0] | {"seeds": [[float("nan"), 0.2]]}]}, "should be a finite number"),
        ({"cells": [PAPER["cells"][0] | {"keys": {"lr_search": [0.1, 0.2]}}]}, "lr_search: a published protocol has one"),
        ({"cells": [PAPER["cells"][0] | {"keys": {"vary": {"lr": [0.1, 0.2]}}}]}, "vary: a cell is one run: remove it"),
        ({"arms": {"nope": {"encoding": "none"}, "ape": OFFSETS | {"positions": ["start", "offset"]}}}, "2 runs"),
        ({"protocol": PAPER["protocol"] | {"seed": 3}}, "seed: seeds are 0, 1"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PaperError, match=rf"made-up\.yaml: .*{re.escape(message)}"):
        paper.load(str(written(tmp_path, **changes)))


def test_a_missing_key_that_is_misspelt_is_told_as_misspelt(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_text(file.read_text().replace("source:", "sourc:"))
    with pytest.raises(PaperError, match=r"made-up\.yaml: sourc: unknown key: did you mean source"):
        paper.load(str(file))


def test_an_arm_needs_no_encoding_where_the_protocol_gives_one(tmp_path: Path) -> None:
    arms: dict[str, Any] = {"nope": {}, "ape": {"positions": "offset", "max_position": 20}}
    loaded = paper.load(str(written(tmp_path, arms=arms, protocol=PAPER["protocol"] | {"encoding": "none"})))
    assert {config.encoding for each in loaded.cells for config in loaded.configs(each, 1)} == {"none"}


def test_a_bin_may_be_of_one_length_in_so_many(tmp_path: Path) -> None:
    loaded = paper.load(str(written(tmp_path, bins=[[1, 4], {"lengths": [5, 9], "step": 3}])))
    (config,) = loaded.configs(loaded.cells[0], 1)
    assert config.eval.lengths == "1:4:1,5:9:3"
    assert loaded.bins[1].lengths_of(config) == [5, 8]
    loaded = paper.load("dape")
    (dape,), (config, *_) = loaded.bins, loaded.configs(loaded.cells[0], 1)
    assert (dape.name, dape.lengths_of(config)[:2]) == ("[41,500]", [41, 92])


@pytest.mark.parametrize(("more", "key"), [("title: another\n", "title"), ("{task: a, task: b}\n", "task")])
def test_a_key_that_is_given_twice_is_not_the_last_one(more: str, key: str, tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_text(file.read_text() + (more if key == "title" else f"notes: {more}"))
    with pytest.raises(PaperError, match=rf"made-up\.yaml:\d+: {key} is given twice \(first in line \d+\): keep one$"):
        paper.load(str(file))


@pytest.mark.parametrize("text", [b"", b"- 1", b"\xff\xfe\x00", b"[" * 5000, b"a: ]"])
def test_a_file_that_is_no_paper_is_one_line(tmp_path: Path, rpe: tiny.Rpe, text: bytes) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(text)
    result = rpe("reproduce", file)
    assert (result.code, result.err.count("odd.yaml"), "Traceback" in result.err) == (2, 1, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": {"copy": {"task": "sort"}}, "bins": [[1, 4], [200, 300]]}, "sort is evaluated at no length from 200 to 300"),
        (
            {"cells": [PAPER["cells"][0] | {"size": "1/3/16", "keys": {"encoding": "rope"}}]},
            "made-up.yaml: cell copy/nope/1/3/16: encoding: encoding rope: head",
        ),
        ({"protocol": PAPER["protocol"] | {"length": 10**8}}, "length: training needs at least"),
        ({"tasks": {"copy": {"task": "sort", "length": 500}}}, "length: 500: sort has no problem"),
    ],
)
def test_cells_that_cannot_be_run_are_refused_before_anything_starts(
    here: Path, rpe: tiny.Rpe, changes: dict[str, Any], message: str
) -> None:
    result = rpe("reproduce", written(here, **changes))
    assert (result.code, message in result.err) == (2, True), result.err
    assert "made-up.yaml: cell " in result.err
    assert not (here / "runs").exists()


@pytest.mark.parametrize("words", [[], ["--list"], ["--show"]])
def test_a_paper_without_cells_is_refused_by_every_command(words: list[str], here: Path, rpe: tiny.Rpe) -> None:
    result = rpe("reproduce", written(here, cells=[]), *words)
    assert (result.code, result.out, "cells: needs at least one" in result.err) == (2, "", True)


def test_the_cells_of_all_papers_are_listed_with_their_cost(rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "run_seconds", lambda config: 90.0)
    result = rpe("reproduce", "--list")
    assert (result.code, result.out.count("1 min 30 s")) == (0, sum(len(paper.load(name).cells) for name in paper.names()))
    assert all(f" of {name} ..." in result.err for name in paper.names())


def test_papers_are_listed(rpe: tiny.Rpe) -> None:
    result = rpe("reproduce")
    assert result.code == 0
    assert all(name in result.out for name in paper.names())
    records = json.loads(rpe("reproduce", "--json").out)
    assert [(record["paper"], len(record["cells"])) for record in records] == [
        (name, len(paper.load(name).cells)) for name in paper.names()
    ]


def test_numbers_read_as_in_the_papers() -> None:
    shares = (0.9996, 1.0, 0.0, None, 0.12345)
    assert [tables.value(share, "exact_match_eos") for share in shares] == ["99.96", "100", "0", "-", "12.35"]
    assert [tables.value(number, "perplexity") for number in (4.5755, 265.5, None)] == ["4.575", "265.5", "-"]

"""`rpe inspect` below the command: run directories in, lines, tables and figures out."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import training as tiny

from rpecli import task as tasks
from rpecli.config.recipe import EvalSettings
from rpecli.evaluate import hf_dataset
from rpecli.evaluate.data_set import DataSetError
from rpecli.evaluate.measure import evaluate
from rpecli.evaluate.request import EvalRequest
from rpecli.plot import FigureError
from rpecli.probes import inspect as inspecting
from rpecli.probes import invariance, similarity
from rpecli.probes.inspect import inspect
from rpecli.probes.invariance import probe
from rpecli.probes.store import run_names, tell_apart
from rpecli.report import probe_values
from rpecli.report.figures import attention as probe_figure
from rpecli.report.tables import attention_text as probe_text
from rpecli.run.directory import Run
from rpecli.run.files import RunError, line_bytes
from rpecli.table import Table

THREE_BACK = '''"""Attends to the token three back."""

from rpecli.encoding import DistanceBias


class ThreeBack(DistanceBias):
    def by_distance(self, distance):
        return ((distance - 3).abs() * -1e3).expand(self.shape.n_head, *distance.shape)
'''


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Trained runs: a rotary, an absolute and no encoding."""
    folder = tmp_path_factory.mktemp("runs")
    return [tiny.trained_run(folder, encoding=name, n_layer=2) for name in ("rope", "learned", "none")]


def inspected(*runs: Run, lengths: str = "1x,2x,4x", request: EvalRequest = EvalRequest()) -> dict[str, Any]:  # noqa: B008 - frozen
    return inspect(dict.fromkeys(runs, request), lengths, "cpu")


def shifted(run: Run, *shifts: int, request: EvalRequest = EvalRequest()) -> list[Any]:  # noqa: B008 - frozen
    return probe(run, shifts, "cpu", request)


def lines_of(run: Run, *probes: str) -> list[Any]:
    return [line for line in run.probes() if line["probe"] in (probes or invariance.KINDS)]


@pytest.fixture(scope="module")
def inspection(runs: list[Run]) -> dict[str, Any]:
    return inspected(*runs)


@pytest.fixture(scope="module")
def shifts(runs: list[Run]) -> dict[str, list[Any]]:
    return {run.name: shifted(run, 1, 8) for run in runs}


def test_a_shift_is_measured_once_and_saved_in_the_run(
    runs: list[Run], shifts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = lines_of(runs[0])
    assert [(line["probe"], line["shift"]) for line in lines] == [(kind, by) for kind in invariance.KINDS for by in (1, 8)]
    monkeypatch.setattr(invariance, "measure", lambda *_: pytest.fail("measured again"))
    assert shifted(runs[0], 8, 1) == [lines[1], lines[0], lines[3], lines[2]]


def test_a_new_shift_is_added_to_those_that_are_there(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, steps=5)
    shifted(run, 2)
    shifted(run, 2, 3)
    assert [(line["probe"], line["shift"]) for line in lines_of(run)] == [
        ("positions", 2), ("prefix", 2), ("positions", 3), ("prefix", 3)]  # fmt: skip


def test_lines_of_other_weights_do_not_count(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, steps=5)
    shifted(run, 2)
    lines = [line | {"weights": "00000000"} for line in run.probes()]
    run.probes_file.write_bytes(b"".join(map(line_bytes, lines)))
    shifted(run, 2)
    assert len(lines_of(run)) == 4


def test_accuracy_before_a_shift_is_that_of_the_evaluation(runs: list[Run], shifts: dict[str, Any]) -> None:
    for run in runs:
        evaluate(run, device="cpu")
        (line,) = [line for line in run.evaluations() if line["length"] == 4]
        for shift in shifts[run.name]:
            assert (shift["exact_match_before"], shift["fingerprint"]) == (line["exact_match"], line["fingerprint"])
            assert shift["token_accuracy_before"] == line["token_accuracy"]
            assert shift["weights"] == line["weights"]


def test_trained_relative_encodings_ignore_a_shift_and_an_absolute_one_does_not(shifts: dict[str, Any]) -> None:
    rope, learned, none = ([line for line in lines if line["probe"] == "positions"] for lines in shifts.values())
    assert max(line["logits_max"] for line in rope + none) < 1e-3
    assert min(line["logits_mean"] for line in learned) > 0.1


def test_a_run_that_is_not_trained_is_refused(tmp_path: Path) -> None:
    run = tiny.new_run(tmp_path)
    for function in (shifted, inspected):
        with pytest.raises(RunError, match="is not trained yet"):
            function(run)


def test_a_head_forced_to_attend_three_back_is_named(tmp_path: Path) -> None:
    file = tmp_path / "three_back.py"
    file.write_text(THREE_BACK)
    (run,) = inspected(tiny.trained_run(tmp_path, encoding=str(file), steps=1))["runs"]
    assert [(head["head"], head["pattern"]) for head in run["patterned_heads"]] == [(1, "distance 3"), (2, "distance 3")]
    assert run["patterned_heads"][0]["share"] == {"2": 1.0, "4": 1.0, "8": 1.0, "16": 1.0}
    attention_map = run["attention_map"]
    assert (attention_map["layer"], attention_map["head"], attention_map["pattern"]) == (1, 1, "distance 3")
    for length, rows in attention_map["rows"].items():  # > x1 ... xn | y1 ...: the row that predicts y1 is that of |
        n = int(length)
        assert [row.index("9") for row in rows] == [n + 1 + t - 3 for t in range(n)]
        assert {len(row) for row in rows} == {2 * n + 2}
    heads = run["lengths"][1]["layers"][0]
    assert [head["distance"] for head in heads] == [3, 3]
    assert [head["entropy"] for head in heads] == [0, 0]
    assert min(fit["r2"] for line in run["lengths"] for fit in line["scores"][0]) > 0.999


def test_an_inspection_has_every_length_layer_and_head(inspection: dict[str, Any]) -> None:
    assert json.loads(json.dumps(inspection)) == inspection
    for run in inspection["runs"]:
        assert [line["length"] for line in run["lengths"]] == [2, 4, 8, 16]
        for line in run["lengths"]:
            assert [len(layer) for layer in line["layers"]] == [2, 2]
            for head in [head for layer in line["layers"] for head in layer]:
                assert sum(head["by_distance"]) == pytest.approx(1, abs=1e-3)
                assert 0 <= head["entropy"] <= head["uniform"] + 1e-4
            assert [[0 <= fit["r2"] <= 1 for fit in layer] for layer in line["scores"]] == [[True] * 2] * 2
            assert (line["terms"] is not None) == (run["encoding"] == "learned")


def test_runs_that_differ_in_their_recipe_have_sentences_of_their_own(tmp_path: Path) -> None:
    made = [tiny.new_run(tmp_path, seed=seed, steps=steps) for steps, seed in ((4, 0), (4, 1), (8, 0))]
    records = [run_names(run, EvalRequest()) | {"train_length": run.config.length} for run in made]
    tell_apart(records, made)
    assert [record["title"] for record in records] == ["RoPE, steps=4", "RoPE, steps=4", "RoPE, steps=8"]
    alike = records[:2]
    tell_apart(alike, made)
    assert alike[0]["title"] == "RoPE, steps=4", "repeats with other seeds are told together"


def test_pairs_are_of_one_task(runs: list[Run], tmp_path: Path) -> None:
    other_task = tiny.trained_run(tmp_path, task="reverse", n_layer=2, steps=5)
    pairs = inspected(*runs, other_task, lengths="1x")["similarity"]
    assert len(pairs) == 3
    assert {pair["task"] for pair in pairs} == {"copy"}


def test_a_run_is_like_its_copy(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path / "runs", n_layer=2, steps=5)
    copied = Run(Path(shutil.copytree(run.path, tmp_path / "copy")))
    (pair,) = inspected(run, copied, lengths="1x")["similarity"]
    assert [(layer["mean"], layer["paired"]) for layer in pair["layers"]] == [(1, 1), (1, 1)]


@pytest.mark.parametrize(
    "keys",
    [
        {"attention": "bidirectional", "encoding": "t5"},
        {"positions": "randomized", "positions_per": "layer", "n_layer": 2, "encoding": "sinusoidal", "max_position": 64},
        {"normalizer": "stick-breaking", "encoding": "none"},
        {"task": "addition", "positions": "coupled", "encoding": "learned", "max_position": 64},
        {"task": "parity", "encoding": "rope+none", "n_layer": 2},
        {"encoding": "sinusoidal", "loops": 3},
    ],
    ids=str,
)
def test_every_kind_of_run_can_be_inspected(tmp_path: Path, keys: dict[str, Any]) -> None:
    run = tiny.trained_run(tmp_path, **{"steps": 2} | keys)
    inspection = inspected(run, lengths="1x,2x")
    lines = shifted(run, 3)
    assert len(lines) == 2
    assert all(0 <= change <= 1 for line in lines for change in line["attention"])
    assert probe_text.tables(inspection)


def test_lengths_that_the_task_does_not_have_are_reported(tmp_path: Path) -> None:
    (run,) = inspected(tiny.trained_run(tmp_path, task="sort:distinct=true", steps=2), lengths="1x,99999")["runs"]
    assert run["missing_lengths"] == [99999]


def test_attention_that_does_not_fit_is_refused(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspecting, "available_memory", lambda: 1000)
    with pytest.raises(RunError, match=r"length 2: its attention needs about .* give shorter --lengths"):
        inspected(runs[0], request=EvalRequest(overwrite=True))


def test_whole_scores_that_are_too_large_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspecting, "MAX_SCORES", 2 * 11 * 11)  # two heads of the training length's matrix
    (run,) = inspected(tiny.trained_run(tmp_path, encoding="learned", steps=2), lengths="1x,2x")["runs"]
    assert [line["scores"] is None for line in run["lengths"]] == [False, False, True]
    assert [line["terms"] is None for line in run["lengths"]] == [False, False, True]
    _, _, _, share, _, _, terms, fits = map(Table.markdown, probe_text.tables({"runs": [run], "similarity": []}))
    assert share.splitlines()[-1].count("%") == 2
    assert "2x" not in terms + fits
    assert probe_figure.figures({"runs": [run]}, {})


def test_a_run_is_inspected_once_and_again_if_overwritten(
    runs: list[Run], inspection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [len(lines_of(run, "attention")) for run in runs]
    with monkeypatch.context() as patch:
        patch.setattr(inspecting, "measure", lambda *_: pytest.fail("measured again"))
        patch.setattr(similarity, "run_similarity", lambda *_: pytest.fail("measured again"))
        assert inspected(*runs) == inspection
    assert [len(lines_of(run, "attention")) for run in runs] == before
    inspected(runs[0], request=EvalRequest(overwrite=True))
    assert [len(lines_of(run, "attention")) for run in runs] == [before[0] + 1, *before[1:]]


def test_a_pair_is_saved_in_the_run_whose_name_comes_first(runs: list[Run], inspection: dict[str, Any]) -> None:
    learned, none, rope = sorted(runs)
    others = [{line["other"]["run"] for line in lines_of(run, "similarity")} for run in (learned, none, rope)]
    assert others == [{none.name, rope.name}, {rope.name}, set()]


def test_a_pair_is_measured_again_if_either_run_is(tmp_path: Path) -> None:
    first, second = sorted(tiny.trained_run(tmp_path, encoding=name, steps=2) for name in ("rope", "none"))
    overwrite = EvalRequest(overwrite=True)
    for requests in ({}, {}, {first: overwrite}, {second: overwrite}):
        inspect({run: requests.get(run, EvalRequest()) for run in (second, first)}, "1x", "cpu")
    assert [line["other"]["run"] for line in lines_of(first, "similarity")] == [second.name] * 3


def test_a_swapped_encoding_is_measured_apart_from_the_own_one(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, steps=5)
    requests = (EvalRequest(), EvalRequest(encoding_override="none"), EvalRequest(EvalSettings(samples=32, eval_seed=7)))
    own, swapped, other_seed = (inspected(run, lengths="1x", request=request)["runs"][0] for request in requests)
    names = [(record["label"], record["group"]) for record in (own, swapped, other_seed)]
    assert names == [("rope", "RPE"), ("rope as none", "none"), ("rope", "RPE")]
    assert probe_values.run_name(swapped) == f"{run.name} as none"
    first, *_ = [shifted(run, 8, request=request) for request in requests]
    for kind in ("attention", "positions", "prefix"):
        lines = lines_of(run, kind)
        assert [(line["encoding_override"], line["eval_seed"]) for line in lines] == [(None, 0), ("none", 0), (None, 7)]
    assert shifted(run, 8) == first
    assert inspected(run, lengths="1x")["runs"][0] == own
    assert own["lengths"] != swapped["lengths"]


def test_other_loops_are_measured_apart_and_each_pass_through_a_layer_counts(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, steps=5, n_layer=1, loops=2)
    requests = (EvalRequest(), EvalRequest(run.config.eval.model_copy(update={"eval_loops": 4})))
    own, more = (inspected(run, lengths="1x", request=request)["runs"][0] for request in requests)
    assert [len(record["lengths"][0]["layers"]) for record in (own, more)] == [2, 4]
    assert [len(shifted(run, 8, request=request)[0]["attention"]) for request in requests] == [2, 4]
    assert [line["loops"] for line in lines_of(run, "attention", "prefix")] == [None, 4, None, 4]


def test_a_shift_is_measured_again_if_overwritten(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, steps=5)
    for _ in range(2):
        assert len(shifted(run, 2, request=EvalRequest(overwrite=True))) == 2
    assert len(lines_of(run)) == 4


def test_a_data_set_is_inspected_and_its_missing_lengths_are_reported(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, steps=5)
    hf_dataset.write("copy", tasks.build("copy"), [4, 8], 16, 5, tmp_path / "set")
    request = EvalRequest(folder=tmp_path / "set")
    (record,) = inspected(run, request=request)["runs"]
    assert ([line["length"] for line in record["lengths"]], record["missing_lengths"]) == ([4, 8], [16])
    assert len(shifted(run, 2, request=request)) == 2
    hf_dataset.write("copy", tasks.build("copy"), [8], 16, 5, tmp_path / "other")
    for function in (inspected, shifted):
        with pytest.raises(DataSetError, match="no sequences of length 4"):
            function(run, request=EvalRequest(folder=tmp_path / "other"))


def test_tables_name_runs_heads_and_shares(inspection: dict[str, Any], shifts: dict[str, Any]) -> None:
    tables = list(map(Table.markdown, probe_text.tables(inspection)))
    distance, entropy, rules, share, centered, noise, terms, functions, alike = tables
    for table in (distance, entropy, share, centered, noise):
        assert table.count("copy-rope-s0") == table.count("copy-none-s0") == 4
        assert "| 2.2 " in table
    assert share.splitlines()[-1].count("%") == 4
    assert terms.count("copy-learned-s0") == functions.count("copy-learned-s0") == 2 * 4
    assert max(len(line) for table in tables for line in table.splitlines()) <= 80
    assert "none" in rules or "layer" in rules
    assert " P-P |" in terms
    assert "copy-rope" not in terms
    assert alike.count("1.00") >= 3
    logits, kl, changed, exact, attention = map(Table.markdown, probe_text.shift_tables(shifts))
    assert re.search(r"copy-rope-s0-\w+ +\| at later positions \| +0 \| +0 \|", logits)
    assert "0.0 %" in changed
    for table in (changed, attention):
        assert re.search(r"copy-learned-s0-\w+ +\| at later positions \| +[1-9][\d.]* % \|", table)
    assert exact.splitlines()[2].split("|")[3].strip() == "0"
    assert "nats" in kl
    name = next(iter(shifts))
    answers, inside = map(Table.markdown, probe_text.shift_tables({name: shifts[name]}))
    assert ("exact" in answers, "layer 2" in inside) == (True, True)


def test_figures_are_the_same_bytes_again_in_every_kind_and_name_no_date(
    inspection: dict[str, Any], shifts: dict[str, Any], tmp_path: Path
) -> None:
    first, second = (probe_figure.write(tmp_path / name, inspection, shifts) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    words = {path.stem.partition("-")[0] for path in first}
    assert words == {"heads", "distance", "mean", "entropy", "function", "terms", "similarity", "shift"}
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert len(first) == len({path.stem for path in first}) * len(starts)
    for path in first:
        content = path.read_bytes()
        assert content.startswith(starts[path.suffix])
        assert not re.search(b"dc:date|CreationDate", content)
        assert path.suffix != ".pdf" or (b"/FontFile2" in content and b"/Type3" not in content)  # text that can be searched


def test_shifts_alone_make_one_figure(runs: list[Run], shifts: dict[str, Any], tmp_path: Path) -> None:
    names = [run_names(run, EvalRequest()) for run in runs]
    files = probe_figure.write(tmp_path / "figures", {"runs": names}, shifts)
    assert sorted(file.name for file in files) == ["shift-copy.pdf", "shift-copy.png", "shift-copy.svg"]


def test_a_folder_that_cannot_be_written_is_named(inspection: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(FigureError, match=r"taken.*choose another place"):
        probe_figure.write(tmp_path / "taken", inspection, {})


def test_one_file_for_all_figures_is_refused_with_the_folder_to_write(inspection: dict[str, Any], tmp_path: Path) -> None:
    for name in ("why.pdf", "why.PNG"):
        with pytest.raises(FigureError, match=r"each as \.png, \.svg and \.pdf, go into a folder: write for example .*/why$"):
            probe_figure.write(tmp_path / name, inspection, {})
    assert not [*tmp_path.iterdir()]

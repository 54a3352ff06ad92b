"""`rpe inspect` below the command: run directories in, lines, tables and figures out."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import training as tiny

from rpecli import task
from rpecli.config.recipe import EvalSettings
from rpecli.evaluate import hf_dataset as export
from rpecli.evaluate.request import EvalRequest
from rpecli.plot import FigureError
from rpecli.probes import inspect as why
from rpecli.probes import invariance as shift
from rpecli.probes import store as kept
from rpecli.report import probe_values
from rpecli.report.figures import attention as probe_figure
from rpecli.report.tables import attention_text as probe_text
from rpecli.run.files import RunError, read_lines
from rpecli.table import Table

THREE_BACK = '''"""Sees what stands three before."""

from rpecli.encoding import DistanceBias


class ThreeBack(DistanceBias):
    def by_distance(self, distance):
        return ((distance - 3).abs() * -1e3).expand(self.shape.n_head, *distance.shape)
'''


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A tiny run of a rotary, an absolute and no encoding, trained."""
    folder = tmp_path_factory.mktemp("runs")
    return [tiny.trained(folder, encoding=name, n_layer=2) for name in ("rope", "learned", "none")]


@pytest.fixture(scope="module")
def found(runs: list[Path]) -> dict[str, Any]:
    return why.inspect(runs, device="cpu", threads=1)


@pytest.fixture(scope="module")
def moved(runs: list[Path]) -> dict[str, list[dict[str, Any]]]:
    return {path.name: shift.probe(path, (1, 8), "cpu", threads=1) for path in runs}


def test_a_shift_is_measured_once_and_kept_in_the_run(
    runs: list[Path], moved: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = read_lines(runs[0] / "probes.jsonl")
    assert [(line["probe"], line["shift"]) for line in lines] == [(kind, by) for kind in shift.KINDS for by in (1, 8)]
    monkeypatch.setattr(shift, "measure", lambda *_: pytest.fail("measured again"))
    assert shift.probe(runs[0], (8, 1), "cpu", threads=1) == [lines[1], lines[0], lines[3], lines[2]]


def test_a_new_shift_is_added_to_those_that_are_there(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, steps=5)
    shift.probe(path, (2,), "cpu", threads=1)
    shift.probe(path, (2, 3), "cpu", threads=1)
    lines = read_lines(path / "probes.jsonl")
    assert [(line["probe"], line["shift"]) for line in lines] == [
        ("positions", 2), ("prefix", 2), ("positions", 3), ("prefix", 3)]  # fmt: skip


def test_lines_of_other_weights_are_not_taken_for_these(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, steps=5)
    (first, _) = shift.probe(path, (2,), "cpu", threads=1)
    file = path / "probes.jsonl"
    file.write_text(file.read_text().replace(first["weights"], "00000000"))
    shift.probe(path, (2,), "cpu", threads=1)
    assert len(read_lines(file)) == 4


def test_unmoved_accuracy_is_what_the_evaluation_found(runs: list[Path], moved: dict[str, Any]) -> None:
    from rpecli.evaluate import measure as evaluate

    for path in runs:
        evaluate.evaluate(path, device="cpu", threads=1)
        (line,) = [each for each in read_lines(path / "eval.jsonl") if each["length"] == 4]
        for each in moved[path.name]:
            assert (each["exact_match_before"], each["fingerprint"]) == (line["exact_match"], line["fingerprint"])
            assert each["token_accuracy_before"] == line["token_accuracy"]
            assert each["weights"] == line["weights"]


def test_trained_relative_encodings_ignore_a_shift_and_an_absolute_one_does_not(moved: dict[str, Any]) -> None:
    rope, learned, none = ([line for line in lines if line["probe"] == "positions"] for lines in moved.values())
    assert max(line["logits_max"] for line in rope + none) < 1e-3
    assert min(line["logits_mean"] for line in learned) > 0.1


def test_a_run_that_is_not_trained_is_refused(tmp_path: Path) -> None:
    path = tiny.create(tmp_path)
    for probe in (lambda: shift.probe(path, (1,), "cpu"), lambda: why.inspect([path], device="cpu")):
        with pytest.raises(RunError, match="is not trained yet"):
            probe()


def test_a_head_forced_to_look_three_back_is_named(tmp_path: Path) -> None:
    file = tmp_path / "three_back.py"
    file.write_text(THREE_BACK)
    path = tiny.trained(tmp_path, encoding=str(file), steps=1)
    (made,) = why.inspect([path], device="cpu", threads=1)["runs"]
    assert [(each["head"], each["rule"]) for each in made["patterned_heads"]] == [(1, "distance 3"), (2, "distance 3")]
    assert made["patterned_heads"][0]["share"] == {"2": 1.0, "4": 1.0, "8": 1.0, "16": 1.0}
    heads = made["lengths"][1]["layers"][0]
    assert [head["distance"] for head in heads] == [3, 3]
    assert [head["entropy"] for head in heads] == [0, 0]
    assert min(fit["r2"] for line in made["lengths"] for fit in line["scores"][0]) > 0.999


def test_what_is_found_has_every_length_layer_and_head(found: dict[str, Any]) -> None:
    assert json.loads(json.dumps(found)) == found
    for each in found["runs"]:
        assert [line["length"] for line in each["lengths"]] == [2, 4, 8, 16]
        for line in each["lengths"]:
            assert [len(layer) for layer in line["layers"]] == [2, 2]
            for head in [head for layer in line["layers"] for head in layer]:
                assert sum(head["by_distance"]) == pytest.approx(1, abs=1e-3)
                assert 0 <= head["entropy"] <= head["uniform"] + 1e-4
            assert [[0 <= fit["r2"] <= 1 for fit in layer] for layer in line["scores"]] == [[True] * 2] * 2
            assert (line["terms"] is not None) == (each["encoding"] == "learned")


def test_a_run_is_like_itself_and_pairs_are_of_one_task(runs: list[Path], tmp_path: Path) -> None:
    other = tiny.trained(tmp_path, task="reverse", n_layer=2, steps=5)
    pairs = why.inspect([runs[0], runs[0], other], "1x", "cpu", threads=1)["similarity"]
    assert len(pairs) == 1
    assert [(layer["mean"], layer["paired"]) for layer in pairs[0]["layers"]] == [(1, 1), (1, 1)]


@pytest.mark.parametrize(
    "keys",
    [
        {"attention": "bidirectional", "encoding": "t5"},
        {"positions": "randomized", "positions_per": "layer", "n_layer": 2, "encoding": "sinusoidal", "max_position": 64},
        {"normalizer": "stick-breaking", "encoding": "none"},
        {"task": "addition", "positions": "coupled", "encoding": "learned", "max_position": 64},
        {"task": "parity", "encoding": "rope+none", "n_layer": 2},
    ],
    ids=str,
)
def test_every_kind_of_run_can_be_looked_into(tmp_path: Path, keys: dict[str, Any]) -> None:
    path = tiny.trained(tmp_path, **{"steps": 2} | keys)
    (made,) = why.inspect([path], "1x,2x", "cpu", threads=1)["runs"]
    lines = shift.probe(path, (3,), "cpu", threads=1)
    assert len(lines) == 2
    assert all(0 <= each <= 1 for line in lines for each in line["attention"])
    assert probe_text.tables({"runs": [made], "similarity": []})


def test_lengths_that_the_task_has_not_are_said(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, task="sort:distinct=true", steps=2)
    (made,) = why.inspect([path], "1x,99999", "cpu", threads=1)["runs"]
    assert made["left_out"] == [99999]


def test_attention_that_does_not_fit_is_refused(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(why, "available_memory", lambda: 1000)
    with pytest.raises(RunError, match=r"length 2: its attention needs about .* give shorter --lengths"):
        why.inspect(runs[:1], device="cpu", requests={runs[0]: EvalRequest(overwrite=True)}, threads=1)


def test_whole_scores_that_are_too_large_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny.trained(tmp_path, encoding="learned", steps=2)
    monkeypatch.setattr(why, "WHOLE", 2 * 11 * 11)  # two heads of the training length's matrix
    (made,) = why.inspect([path], "1x,2x", "cpu", threads=1)["runs"]
    assert [line["scores"] is None for line in made["lengths"]] == [False, False, True]
    assert [line["terms"] is None for line in made["lengths"]] == [False, False, True]
    _, _, functions, terms = map(Table.markdown, probe_text.tables({"runs": [made], "similarity": []}))
    assert functions.splitlines()[-1].count("%") == 6
    assert "2x" not in terms
    assert probe_figure.figures({"runs": [made]}, {})


# -------------------------------------------------------------------------------------------------------- kept in the run


def kept_lines(path: Path, probe: str) -> list[dict[str, Any]]:
    return [line for line in read_lines(path / "probes.jsonl") if line["probe"] == probe]


def test_a_run_is_looked_into_once_and_again_when_asked(
    runs: list[Path], found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [len(kept_lines(path, "why")) for path in runs]
    monkeypatch.setattr(why, "_attended", lambda *_: pytest.fail("measured again"))
    with monkeypatch.context() as only:
        only.setattr(why, "_measured", lambda *_: pytest.fail("measured again"))
        assert why.inspect(runs, device="cpu", threads=1) == found
    assert [len(kept_lines(path, "why")) for path in runs] == before
    why.inspect(runs[:1], device="cpu", requests={runs[0]: EvalRequest(overwrite=True)}, threads=1)
    assert [len(kept_lines(path, "why")) for path in runs] == [before[0] + 1, *before[1:]]


def test_a_pair_is_kept_by_the_run_whose_name_comes_first(runs: list[Path], found: dict[str, Any]) -> None:
    learned, none, rope = sorted(runs)
    others = [[line["other"]["run"] for line in kept_lines(path, "similarity")] for path in (learned, none, rope)]
    assert [set(names) - {path.name} for names, path in zip(others, (learned, none, rope), strict=True)] == [
        {none.name, rope.name}, {rope.name}, set()]  # fmt: skip


def test_a_pair_is_measured_again_when_either_is(tmp_path: Path) -> None:
    first, second = sorted(tiny.trained(tmp_path, encoding=name, steps=2) for name in ("rope", "none"))
    for requests in ({}, {}, {first: EvalRequest(overwrite=True)}, {second: EvalRequest(overwrite=True)}):
        why.inspect([second, first], "1x", "cpu", requests, threads=1)
    assert [line["other"]["run"] for line in kept_lines(first, "similarity")] == [second.name] * 3


def test_another_encoding_in_a_model_is_measured_apart_from_its_own(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, steps=5)
    swapped, other = EvalRequest(encoding_override="none"), EvalRequest(EvalSettings(samples=32, eval_seed=7))
    looked = [why.inspect([path], "1x", "cpu", {path: order}, threads=1)["runs"][0] for order in (EvalRequest(), swapped, other)]
    assert [(each["label"], each["group"]) for each in looked] == [("rope", "RPE"), ("rope as none", "none"), ("rope", "RPE")]
    assert probe_values.run_name(looked[1]) == f"{path.name} as none"
    moved = [shift.probe(path, (8,), "cpu", order, threads=1) for order in (EvalRequest(), swapped, other)]
    for probe, number in (("why", 3), ("positions", 3), ("prefix", 3)):
        lines = kept_lines(path, probe)
        assert [(line["encoding_override"], line["eval_seed"]) for line in lines] == [(None, 0), ("none", 0), (None, 7)]
        assert len(lines) == number
    assert shift.probe(path, (8,), "cpu", threads=1) == moved[0]
    assert why.inspect([path], "1x", "cpu", threads=1)["runs"][0] == looked[0]
    assert looked[0]["lengths"] != looked[1]["lengths"]


def test_a_shift_is_measured_again_when_asked(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, steps=5)
    for _ in range(2):
        assert len(shift.probe(path, (2,), "cpu", EvalRequest(overwrite=True), threads=1)) == 2
    assert len(read_lines(path / "probes.jsonl")) == 4


def test_strings_of_a_folder_are_looked_at_and_its_missing_lengths_are_said(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, steps=5)
    export.write("copy", task.build("copy"), [4, 8], 16, 5, tmp_path / "set")
    order = EvalRequest(folder=tmp_path / "set")
    (made,) = why.inspect([path], "1x,2x,4x", "cpu", {path: order}, threads=1)["runs"]
    assert ([line["length"] for line in made["lengths"]], made["left_out"]) == ([4, 8], [16])
    assert len(shift.probe(path, (2,), "cpu", order, threads=1)) == 2
    export.write("copy", task.build("copy"), [8], 16, 5, tmp_path / "other")
    for probe in (lambda o: why.inspect([path], "1x", "cpu", {path: o}), lambda o: shift.probe(path, (2,), "cpu", o)):
        with pytest.raises(RunError, match="no strings of length 4"):
            probe(EvalRequest(folder=tmp_path / "other"))


# ---------------------------------------------------------------------------------------------------------- tables, figures


def test_tables_name_runs_heads_and_shares(found: dict[str, Any], moved: dict[str, Any]) -> None:
    heads, rules, functions, terms, alike = map(Table.markdown, probe_text.tables(found))
    for table in (heads, functions):
        assert table.count("copy-rope-s0") == table.count("copy-none-s0") == 4
        assert "| 2.2 " in table
    assert functions.splitlines()[-1].count("%") == 12
    assert terms.count("copy-learned-s0") == 2 * 4
    assert "none" in rules or "layer" in rules
    assert "position-position" in terms
    assert "copy-rope" not in terms
    assert alike.count("1.00") >= 3
    logits, kl, changed, exact, attention = map(Table.markdown, probe_text.shift_tables(moved))
    assert re.search(r"copy-rope-s0-\w+ +\| later positions \| +0 \| +0 \|", logits)
    assert "0.0 %" in changed
    for table in (changed, attention):
        assert re.search(r"copy-learned-s0-\w+ +\| later positions \| +[1-9][\d.]* % \|", table)
    assert exact.splitlines()[2].split("|")[3].strip() == "0"
    assert "nats" in kl
    name = next(iter(moved))
    (one,) = map(Table.markdown, probe_text.shift_tables({name: moved[name]}))
    assert "attention 2" in one


def test_figures_are_the_same_bytes_again_in_every_kind_and_name_no_date(
    found: dict[str, Any], moved: dict[str, Any], tmp_path: Path
) -> None:
    first, second = (probe_figure.write(tmp_path / name, found, moved) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    words = {path.stem.partition("-")[0] for path in first}
    assert words == {"distance", "attended", "entropy", "function", "terms", "similarity", "shift"}
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert len(first) == len({path.stem for path in first}) * len(starts)
    for path in first:
        drawn = path.read_bytes()
        assert drawn.startswith(starts[path.suffix])
        assert not re.search(b"dc:date|CreationDate", drawn)
        assert path.suffix != ".pdf" or (b"/FontFile2" in drawn and b"/Type3" not in drawn)  # text that can be searched


def test_shifts_alone_make_one_figure(runs: list[Path], moved: dict[str, Any], tmp_path: Path) -> None:
    facts = [kept.facts(path, EvalRequest()) for path in runs]
    written = probe_figure.write(tmp_path / "figures", {"runs": facts}, moved)
    assert sorted(path.name for path in written) == ["shift-copy.pdf", "shift-copy.png", "shift-copy.svg"]


def test_a_folder_that_cannot_be_written_is_named(found: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(FigureError, match=r"taken.*choose another place"):
        probe_figure.write(tmp_path / "taken", found, {})


def test_one_file_for_all_figures_is_refused_with_the_folder_to_write(found: dict[str, Any], tmp_path: Path) -> None:
    for name in ("why.pdf", "why.PNG"):
        with pytest.raises(FigureError, match=r"each as \.png, \.svg and \.pdf, go into a folder: write for example .*/why$"):
            probe_figure.write(tmp_path / name, found, {})
    assert not [*tmp_path.iterdir()]

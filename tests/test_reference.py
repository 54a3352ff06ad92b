"""The reference results: what is written of a run, which of them stand behind a report, and that they enter no test."""

import json
from pathlib import Path

import pytest
from helpers.run_folders import make_run

from rpecli import catalog
from rpecli.config import load as config_load
from rpecli.config.recipe import FORMAT
from rpecli.report import build, reference
from rpecli.report.build import Reference
from rpecli.report.figures.report import report_figures
from rpecli.report.heatmap import heat_map
from rpecli.report.load import RunResults, load_runs
from rpecli.report.write import text


def reference_of(folder: Path, **runs: list[float]) -> list[RunResults]:
    """Reference runs trained to 16, by encoding: token accuracy at 32 of each seed."""
    paths = [
        make_run(folder / "reference", {16: 1.0, 32: value}, encoding=encoding.replace("_", "-"), seed=seed)
        for encoding, values in runs.items() for seed, value in enumerate(values)
    ]  # fmt: skip
    file = folder / "reference.jsonl"
    file.write_text("".join(json.dumps(reference.reference_line(run)) + "\n" for run in load_runs(paths).runs))
    return reference.read(file)


def own(folder: Path, accuracy: float, **keys: object) -> Path:
    return make_run(folder / "runs", {16: 1.0, 32: accuracy}, **keys)


def test_a_run_read_back_from_its_line_is_the_run(tmp_path: Path) -> None:
    (run,) = reference_of(tmp_path, rope=[0.5])
    assert (run.config.encoding, run.config.length, run.config.seed) == ("rope", 16, 0)
    assert run.by_length("token_accuracy") == {16: 1.0, 32: 0.5}
    assert (run.trained, run.solved, run.is_reference) == (True, True, True)
    assert run.source.startswith("reference (c0ffee, a CPU, 2 cores")
    assert (run.validations, run.probes) == ([], [])
    assert run.path == Path("reference", run.id), "not where rpe is installed: the same runs give the same report everywhere"


def test_lines_of_another_format_are_not_read(tmp_path: Path) -> None:
    reference_of(tmp_path, rope=[0.5])
    file = tmp_path / "reference.jsonl"
    line = json.loads(file.read_text())
    file.write_text(json.dumps(line | {"format": FORMAT - 1}))
    assert reference.read(file) == []
    assert reference.read(tmp_path / "none.jsonl") == []


def test_other_encodings_stand_behind_a_report_and_enter_no_number_of_it(tmp_path: Path) -> None:
    others = reference_of(tmp_path, rope=[0.4, 0.5, 0.6], sinusoidal=[0.1, 0.2, 0.3])
    paths = [own(tmp_path, 0.5)]
    plain, content = (build.report_content(paths, "mine", reference=Reference(runs)).data for runs in ([], others))
    described = {"reference": [], "reference_notes": [], "headline": plain.headline, "verdicts": plain.verdicts}
    assert content.model_copy(update=described) == plain
    assert [(row.encoding, row.length, row.token_accuracy.mean) for row in content.reference] == [
        ("sinusoidal", 16, 1.0), ("sinusoidal", 32, pytest.approx(0.2)),
    ]  # fmt: skip
    assert {row.source for row in content.rows} == {"yours"}
    assert all(row.source.startswith("reference (c0ffee") for row in content.reference)


def test_a_claim_that_the_runs_do_not_measure_has_the_answer_of_the_reference(tmp_path: Path) -> None:
    scores = [0.8, 0.82, 0.81, 0.83, 0.8, 0.82, 0.81, 0.8]
    others = reference_of(tmp_path, rope=scores, alibi=scores, sinusoidal=[0.1] * 8, fire=[0.0])
    content = build.report_content([own(tmp_path, 0.5)], "mine", reference=Reference(others))
    by_claim = {one.claim: one for one in content.verdicts}
    extrapolation, invariance = by_claim["Length extrapolation"], by_claim["Translation invariance"]
    assert extrapolation.outcome == "not measured"
    assert extrapolation.reference.startswith("Supported (reference): +71 points [")
    assert extrapolation.reference_compared == "2 relative encodings against this absolute one on this task"  # FIRE has one seed
    command = "rpe train --task copy --encoding sinusoidal --length 16 --steps 100, then rpe eval --lengths 32 --samples 100"
    assert extrapolation.summary == f"Not measured: no absolute encoding: {command}"
    assert (invariance.reference, invariance.beside) == (None, "")
    lines = " ".join(" ".join(text.claim_lines(content.verdicts, 80)).split())
    assert lines.count(command) == 1
    report = build.build_report([own(tmp_path, 0.5)], "mine", tmp_path / "results", reference=Reference(others))
    assert f"{extrapolation.beside} {extrapolation.summary}" in report.markdown
    assert f"{extrapolation.reference}." in lines


def test_runs_of_other_settings_do_not_hide_that_an_encoding_of_the_reference_was_trained(tmp_path: Path) -> None:
    others = reference_of(tmp_path, rope=[0.4, 0.5, 0.6], sinusoidal=[0.1, 0.2, 0.3])
    content = build.report_content([own(tmp_path, 0.5), own(tmp_path, 0.7, steps=200)], "mine", reference=Reference(others))
    assert {row.encoding for row in content.data.reference} == {"sinusoidal"}
    assert "Your RoPE, steps=100, seed 0, reproduces the reference: Copy at 32 50 % (40 % to 60 %)." in content.reference_notes


def test_a_reference_encoding_that_did_not_learn_is_marked(tmp_path: Path) -> None:
    path = make_run(tmp_path / "reference", {16: 0.5, 32: 0.1}, encoding="sinusoidal")
    (line,) = [reference.reference_line(run) for run in load_runs([path]).runs]
    file = tmp_path / "reference.jsonl"
    file.write_text(json.dumps(line))
    content = build.report_content([own(tmp_path, 0.5)], "mine", reference=Reference(reference.read(file)))
    (row,) = [line for line in text.summary(content, 80) if line.startswith("Sinusoidal")]
    assert "50*" in row.split()
    assert heat_map(content.tasks, content.reference).unsolved


def test_a_claim_that_the_runs_measure_themselves_is_theirs(tmp_path: Path) -> None:
    others = reference_of(tmp_path, rope=[0.8] * 6, sinusoidal=[0.1] * 6)
    paths = [own(tmp_path, 0.5), own(tmp_path, 0.4, encoding="learned")]
    verdicts = build.report_content(paths, "mine", reference=Reference(others)).verdicts
    assert {one.claim: one.reference for one in verdicts} == dict.fromkeys([one.claim for one in verdicts])


@pytest.mark.parametrize(("accuracy", "outcome"), [(0.45, "reproduces"), (0.65, "agrees with"), (1.0, "differs from")])
def test_an_encoding_that_the_reference_has_is_compared_with_it(accuracy: float, outcome: str, tmp_path: Path) -> None:
    others = reference_of(tmp_path, rope=[0.4, 0.5, 0.45])
    (note,) = build.report_content([own(tmp_path, accuracy)], "mine", reference=Reference(others)).reference_notes
    assert note == f"Your RoPE, seed 0, {outcome} the reference: Copy at 32 {100 * accuracy:.0f} % (40 % to 50 %)."


def test_a_single_reference_run_is_reproduced_exactly_or_not(tmp_path: Path) -> None:
    others = reference_of(tmp_path, rope=[0.5])
    notes = [
        build.report_content([own(tmp_path / str(value), value)], "mine", reference=Reference(others)).reference_notes
        for value in (0.5, 0.6)
    ]
    assert notes == [
        ["Your RoPE, seed 0, reproduces the reference: Copy at 32 50 %."],
        ["Your RoPE, seed 0, differs from the reference: Copy at 32 60 % (50 %)."],
    ]


def test_of_many_runs_the_outcomes_are_counted(tmp_path: Path) -> None:
    others = reference_of(tmp_path, rope=[0.4, 0.5, 0.45])
    paths = [own(tmp_path, value, seed=seed) for seed, value in enumerate((0.45, 0.41, 0.65, 1.0, 0.44))]
    assert build.report_content(paths, "mine", reference=Reference(others)).reference_notes == [
        "Of 5 runs beside the reference, 3 reproduce it, 1 agree with it, 1 differ from it.",
        "Your RoPE, seed 3, differs from the reference: Copy at 32 100 % (40 % to 50 %).",
    ]


def test_runs_with_different_lengths_share_the_lengths_of_all(tmp_path: Path) -> None:
    others = reference_of(tmp_path, sinusoidal=[0.1])
    paths = [make_run(tmp_path / "runs", {32: 0.5}, seed=0), make_run(tmp_path / "runs", {16: 1.0}, seed=1)]
    content = build.report_content(paths, "mine", reference=Reference(others))
    assert [row.length for row in content.data.reference] == [16, 32]


def test_a_run_with_another_key_has_no_reference_and_a_note_names_the_key(tmp_path: Path) -> None:
    others = reference_of(tmp_path, sinusoidal=[0.1])
    content = build.report_content([own(tmp_path, 0.5, lr=0.25)], "mine", reference=Reference(others))
    assert content.data.reference == []
    assert content.reference_notes == ["No reference results with lr=0.25 for Copy (only 0.006)."]


def test_other_sequences_are_not_compared(tmp_path: Path) -> None:
    others = reference_of(tmp_path, sinusoidal=[0.1])
    path = make_run(tmp_path / "runs", {16: 1.0, 32: 0.5}, line={"fingerprint": "another"})
    content = build.report_content([path], "mine", reference=Reference(others))
    assert (content.data.reference, content.reference_notes) == ([], [])


def test_reference_runs_count_where_that_is_asked_for(tmp_path: Path) -> None:
    others = reference_of(tmp_path, sinusoidal=[0.1, 0.2, 0.3])
    paths = [own(tmp_path, 0.8, seed=seed) for seed in range(3)]
    content = build.report_content(paths, "mine", reference=Reference(others, in_tests=True))
    assert [(row.first, row.second) for row in content.data.pairs if row.measure == "token_accuracy"] == [("sinusoidal", "rope")]
    assert content.data.reference == []
    assert {row.source == "yours" for row in content.data.rows if row.encoding == "sinusoidal"} == {False}


def test_a_run_that_the_reference_has_too_counts_once(tmp_path: Path) -> None:
    others = reference_of(tmp_path, rope=[0.4, 0.6])
    content = build.report_content([own(tmp_path, 0.5)], "mine", reference=Reference(others, in_tests=True))
    (row,) = [row for row in content.data.rows if row.length == 32]
    assert (row.runs, row.token_accuracy.mean, row.solved_known) == (2, pytest.approx(0.55), 2)
    assert "changed between its seeds" not in " ".join(note for table in content.all_tables for note in table.footnotes)


def test_the_shipped_recipe_has_every_encoding_that_needs_no_other_positions() -> None:
    recipe = config_load.load("reference")[0]
    assert sorted(recipe.encoding) == sorted(set(catalog.names("encodings")) - {"abacus"})
    assert recipe.task == config_load.load()[0].task


def test_the_script_adds_runs_and_keeps_the_lines_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of the recipe alone, in its order."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    import reference as script

    configs = config_load.load("reference")[0].configs()
    first, second = configs[0], configs[5]
    file = tmp_path / "reference.jsonl"
    for number, config in enumerate((second, first)):
        keys = {key: value for key, value in config.to_keys().items() if value is not None}
        folder = tmp_path / str(number)
        make_run(folder, {64: 1.0, 128: 0.5}, **keys)
        make_run(folder, {16: 1.0})  # not of the recipe
        file.write_text("".join(f"{line}\n" for line in script.reference_lines(folder, file)))
    assert [run.id for run in reference.read(file)] == [first.id, second.id]


def test_figures_draw_reference_results_hollow(tmp_path: Path) -> None:
    others = reference_of(tmp_path, rope=[0.4], sinusoidal=[0.1])
    content = build.report_content([own(tmp_path, 0.5)], "mine", reference=Reference(others))
    styles = report_figures(content).styles
    assert {label: (style.title, style.hollow) for label, style in styles.items()} == {
        "rope": ("RoPE", False), "sinusoidal": ("Sinusoidal APE, reference", True)}  # fmt: skip

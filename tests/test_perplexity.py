"""Reports of tasks that are measured by perplexity: lower is better in every table, sentence, test and color."""

import math
from typing import Any

import pytest
from helpers.fake_runs import fake_run, fake_study

from rpecli.report import heatmap, paired, places, rows, verdict
from rpecli.report import overview as overviews
from rpecli.report.aggregate import TaskResults, aggregate
from rpecli.report.figures import accuracy as accuracy_figure
from rpecli.report.format import change_percent, perplexity, write_perplexity_change
from rpecli.report.headline import headline
from rpecli.report.load import RunResults
from rpecli.report.measures import BITS, EXACT, PERPLEXITY
from rpecli.report.records import Verdict
from rpecli.report.tables import accuracy, choice, pooled, seeds
from rpecli.report.tables import places as places_table
from rpecli.report.write.text import overview_lines

CHANCE = math.log(20)
ALIBI, ROPE, SINUSOIDAL = {16: 8.0, 32: 8.0, 64: 8.0}, {16: 6.0, 32: 6.03, 64: 12.0}, {16: 7.0, 32: 10.0, 64: 40.0}


def text_run(encoding: str, perplexities: dict[int, float], seed: int = 0, **line: Any) -> RunResults:
    """A run of the task text with these perplexities by length; the best guess has 20."""
    run = fake_run(encoding, seed, dict.fromkeys(perplexities, 0.0), task="text", measure="perplexity", steps=None)
    for length, value in perplexities.items():
        run.evaluations[length].update({"nll": math.log(value), "chance_nll": CHANCE, "token_accuracy": 0.4, **line})
    return run


def text_task(*runs: RunResults) -> TaskResults:
    (task,) = aggregate([*runs])
    return task


@pytest.fixture
def task() -> TaskResults:
    return text_task(text_run("alibi", ALIBI), text_run("rope", ROPE), text_run("sinusoidal", SINUSOIDAL))


def test_nats_are_written_as_perplexity_with_three_digits() -> None:
    assert [perplexity(math.log(value)) for value in (1, 7.214, 23.6, 152.6, 4321, 2e7)] == [
        "1.00", "7.21", "23.6", "153", "4321", "2e+07",
    ]  # fmt: skip
    assert perplexity(1e9) == "1e+304"
    assert BITS.write(math.log(8)) == "3.00"


def test_a_difference_is_a_change_of_perplexity() -> None:
    assert write_perplexity_change(math.log(2), (math.log(1.25), math.log(4))) == "50 % lower perplexity [20, 75]"
    assert write_perplexity_change(-math.log(2), None) == "100 % higher perplexity"
    no_change = "no difference in perplexity [from 20 % lower to 10 % higher]"
    assert write_perplexity_change(0.0, (-math.log(1.1), math.log(1.25))) == no_change
    assert (change_percent(math.log(2)), change_percent(-math.log(1.5))) == ("-50", "+50")


@pytest.mark.parametrize(("at_training", "learned"), [(20**0.899, True), (20**0.901, False)])
def test_a_run_has_learned_if_it_saves_a_tenth_of_the_nats_of_the_best_guess(at_training: float, learned: bool) -> None:
    assert text_run("rope", {16: at_training, 32: 1.0}).solved is learned
    assert text_run("rope", {32: 1.0}).solved is None


def test_a_length_holds_where_perplexity_is_hardly_above_that_at_the_training_length() -> None:
    run = text_run("rope", {8: 50.0, 16: 8.0, 32: 8.07, 64: 8.7, 128: 9.0, 256: 8.0})
    assert (run.effective_length(), run.effective_length(half=True)) == (32, 64)
    assert text_run("rope", {16: 8.0, 32: 7.0, 64: 8.09}).effective_length() == 32
    assert text_run("rope", {32: 7.0}).effective_length() == 0


def test_scores_are_minus_nats_so_that_the_lowest_perplexity_is_the_best(task: TaskResults) -> None:
    scores = paired.scores(task, PERPLEXITY)
    assert scores["rope"][0] == pytest.approx(-(math.log(6.03) + math.log(12)) / 2)
    assert paired.best_label(scores) == "alibi"
    pair = next(pair for pair in paired.pairs(task, PERPLEXITY) if {pair.first, pair.second} == {"alibi", "sinusoidal"})
    sign = 1 if pair.first == "alibi" else -1
    assert pair.mean == pytest.approx(sign * (math.log(20) - math.log(8)))  # of the geometric means 20 and 8
    assert pair.measure == "nll"
    assert paired.mcnemar_pairs(task) == []


def test_tables_mark_the_lowest_perplexity_and_have_the_best_guess_as_their_foot(task: TaskResults) -> None:
    table, groups = accuracy.tables(task)
    cells = {row[0]: row[3:] for row in table.rows}
    assert cells == {
        "Sinusoidal APE": ["7.00", "10.0", "40.0", "16"],
        "ALiBi": ["8.00", "8.00", "8.00", "64"],
        "RoPE": ["6.00", "6.03", "12.0", "32"],
        "chance": ["20.0", "20.0", "20.0", "-"],
    }
    bold = {row[0]: flags[3:6] for row, flags in zip(table.rows, table.bold, strict=True)}
    assert bold == {"Sinusoidal APE": [False] * 3, "ALiBi": [False, False, True], "RoPE": [True, True, False],
                    "chance": [False] * 3}  # fmt: skip
    assert "at most 1 % above that at the training length" in str(table.caption)
    assert "exact match" not in f"{table.caption} {groups.caption} {groups.rows}".lower()
    assert [table.title for table in map(type(table).within_section, accuracy.more_tables(task))] == [
        "Bits per token", "Token accuracy",
    ]  # fmt: skip


def test_intervals_over_seeds_have_the_lower_perplexity_first() -> None:
    values = [8.0, 9.0, 10.0]
    table = seeds.tables(
        text_task(*(text_run("rope", dict.fromkeys((16, 32), value), seed) for seed, value in enumerate(values)))
    )
    (row,) = table[0].rows
    low, high = map(float, row[4].split(" to "))
    assert low < float(row[3]) < high
    assert (row[5], row[6], row[7]) == ("9.00", "8.00", "10.0")
    assert float(row[3]) == pytest.approx((8 * 9 * 10) ** (1 / 3), abs=0.01)


def test_the_heat_map_is_empty_at_the_best_guess_and_full_at_the_lowest_perplexity(task: TaskResults) -> None:
    heat = heatmap.heat_map([task])
    by_title = {row.title: [(cell.text, cell.level) for cell in row.cells[0] if cell] for row in heat.rows}
    assert by_title["RoPE"][0] == ("6.00", 100)
    assert by_title["Sinusoidal"][2] == ("40.0", 0)
    assert by_title["ALiBi"][0] == ("8.00", round(100 * math.log(20 / 8) / math.log(20 / 6)))
    assert (heat.heading, heat.top, heat.tasks[0].chance) == ("Perplexity", "lowest", ["20.0"] * 3)
    assert [row.title for row in heat.rows] == ["ALiBi", "RoPE", "Sinusoidal"]
    assert heat.rows[0].mean == round(100 * (1 - math.log(8) / math.log(20)))
    assert choice.advice(choice.table([task], [], {})).startswith("Highest mean beyond training: ALiBi (31 %)")


def test_the_overview_shows_perplexity_and_says_so(task: TaskResults) -> None:
    lines = overview_lines(overviews.overview([task]), 80)
    assert [line.split() for line in lines if line.startswith(("RoPE", "chance"))] == [
        ["RoPE", "RPE", "6.00", "6.03", "12.0"], ["chance", "20.0", "20.0", "20.0"],
    ]  # fmt: skip
    assert "Perplexity (lower is better), geometric mean over seeds." in " ".join(lines)


def test_the_headline_names_perplexities(task: TaskResults) -> None:
    answer = headline([task])
    assert answer.title == (
        "Trained on lengths up to 16 and tested at 32, relative encodings have a perplexity of 6.95, Sinusoidal (absolute) 10.0."
    )
    detail = " ".join(answer.detail)
    assert f"Bits per token at 32: relative {math.log2(math.sqrt(8 * 6.03)):.2f}, absolute {math.log2(10):.2f}." in detail
    assert "ALiBi (8.00) and RoPE (12.0) hold longest." in detail
    assert detail.endswith("running text.")
    assert "tokens right" not in detail


def test_encodings_within_five_per_cent_are_equal_in_the_headline() -> None:
    equal = text_task(text_run("rope", {16: 6.0, 32: 6.0}), text_run("sinusoidal", {16: 6.0, 32: 6.25}))
    assert "do about equally well: a perplexity of 6.00 and 6.25" in headline([equal]).title


def study(ratio: float, n_seeds: int = 7) -> list[TaskResults]:
    """Absolute encodings have `ratio` times the perplexity of relative ones, in every seed."""
    runs = [
        text_run(encoding, dict.fromkeys((16, 32, 64), (1 + 0.01 * seed) * base), seed)
        for seed in range(n_seeds) for encoding, base in (("rope", 8.0), ("sinusoidal", 8.0 * ratio))
    ]  # fmt: skip
    return aggregate(runs)


@pytest.mark.parametrize(
    ("ratio", "outcome", "effect"),
    [(1.25, "supported", "20 % lower perplexity [20, 20] beyond training"),
     (0.8, "contradicted", "25 % higher perplexity [25, 25] beyond training"),
     (1.01, "no difference", "1 % lower perplexity [1, 1] beyond training")],
)  # fmt: skip
def test_the_claim_of_extrapolation_rests_on_nats_with_the_sign_turned(ratio: float, outcome: str, effect: str) -> None:
    extrapolation, _, efficiency = verdict.verdicts(study(ratio))
    assert (extrapolation.outcome, extrapolation.effect) == (outcome, effect)
    assert extrapolation.difference is not None
    assert extrapolation.difference.mean == pytest.approx(math.log(ratio))
    assert extrapolation.margin == math.log(1.05)
    assert extrapolation.lines[0] == (
        f"Mean perplexity beyond training: RPE {perplexity(_mean_of(8.0))}, APE {perplexity(_mean_of(8.0 * ratio))}."
    )
    assert (efficiency.outcome, efficiency.difference) == ("not measured", None)


def test_four_claims_ask_for_as_many_seeds_as_decide_them() -> None:
    def claims(n_seeds: int) -> list[Verdict]:
        steps: dict[str, int | None] = {"rope": 25, "sinusoidal": 50}
        tasks = fake_study({"rope": [0.8] * n_seeds, "sinusoidal": [0.2] * n_seeds}, steps=steps) + study(1.25, n_seeds)
        kept = {"rope": dict.fromkeys(range(n_seeds), 0.9), "sinusoidal": dict.fromkeys(range(n_seeds), 0.5)}
        return verdict.verdicts(tasks, {"positions": {tasks[0].title: kept}})

    assert [claim.seeds_needed for claim in claims(3)] == [8] * 4
    assert {claim.outcome for claim in claims(7)} == {"not enough evidence"}
    assert {claim.outcome for claim in claims(8)} == {"supported"}


def _mean_of(base: float) -> float:
    return sum(math.log((1 + 0.01 * seed) * base) for seed in range(7)) / 7


def test_accuracies_and_perplexities_are_claims_and_pools_of_their_own() -> None:
    mixed = fake_study({"rope": [0.8] * 7, "sinusoidal": [0.2] * 7}, ("copy", "sort")) + study(1.25)
    claims = verdict.verdicts(mixed)
    assert [claim.claim for claim in claims] == [
        "Length extrapolation", "Length extrapolation (perplexity)", "Translation invariance", "Sample efficiency",
    ]  # fmt: skip
    assert [claim.difference.tasks for claim in claims if claim.difference] == [2, 1, 2]
    answer = headline(mixed)
    assert "RoPE (relative) still gets 80 % of tokens right, Sinusoidal (absolute) 20 %" in answer.title
    assert any(line.startswith("Text (perplexity): trained on lengths up to 16 and tested at 32, ") for line in answer.detail)
    assert {(row.measure, row.tasks) for row in rows.pooled_rows(mixed) if row.family == "all"} == {
        ("exact_match", 2), ("token_accuracy", 2), ("nll", 1),
    }  # fmt: skip
    assert {table.title for table in pooled.tables(mixed)} == {"All tasks together", "Groups by task family"}
    notes = overviews.overview(mixed).notes
    assert "Text: perplexity (lower is better), geometric mean over seeds." in notes
    assert heatmap.heat_map(mixed).heading == "Token accuracy, %; perplexity of Text"


def test_files_have_perplexity_beside_nats(task: TaskResults) -> None:
    row = next(row for row in rows.summary_rows([task]) if (row.encoding, row.length) == ("rope", 64))
    assert (row.measure, row.perplexity.mean, row.chance_nll) == ("perplexity", pytest.approx(12.0), CHANCE)
    assert (row.effective_length.mean, row.solved) == (32, 1)
    lines = {
        (line["encoding"], line["length"]): line for line in rows.run_rows([text_run("rope", ROPE, nll_by_place=[3.0, None])])
    }
    assert lines["rope", 32]["perplexity"] == pytest.approx(6.03)
    assert lines["rope", 32]["nll_by_place"] == "3.0 None"


def test_perplexity_by_place_has_a_row_per_length_and_encoding() -> None:
    runs = [text_run("rope", {length: 8.0}, nll_by_place=by_place) for length, by_place in (
        (16, [math.log(value) for value in (20, 10, 8, 6, 5)]), (64, [math.log(value) for value in (20, 10, 8, 6, 5, 9, 11)]),
    )]  # fmt: skip
    runs[0].evaluations.update(runs[1].evaluations)
    (table,) = places_table.tables(text_task(runs[0]))
    assert table.columns == ["encoding", "group", "length", "1", "2", "3-4", "5-8", "9-16", "17-32", "33-64"]
    assert table.rows == [
        ["RoPE", "RPE", "16 (1x)", "20.0", "10.0", "8.00", "6.00", "5.00", "-", "-"],
        ["RoPE", "RPE", "64 (4x)", "20.0", "10.0", "8.00", "6.00", "5.00", "9.00", "11.0"],
    ]
    sliding = text_run("rope", {16: 8.0}, nll_by_place=[None, None, None, None, 2.0])
    assert places.places_by_length(text_task(sliding)) == {}
    assert places_table.tables(text_task(text_run("rope", {16: 8.0}))) == []


def test_the_panels_are_perplexity_and_token_accuracy(task: TaskResults) -> None:
    drawing = accuracy_figure.accuracy_figure([task], accuracy_figure.series_styles([task]))
    assert [(crop.key, crop.labels[1]) for crop in drawing.crops] == [("first", "perplexity"), ("second", "token accuracy (%)")]
    assert "RoPE 6.00 at 16, 12.0 at 64" in drawing.crops[0].alt
    low, high = drawing.figure.axes[0].get_ylim()
    assert low < math.log(6) < math.log(40) < high
    assert {"10", "20"} <= {label.get_text() for label in drawing.figure.axes[0].get_yticklabels()}


def test_runs_without_the_key_are_scored_by_accuracy() -> None:
    assert fake_run("rope", 0, {16: 1.0}).scoring.decides is EXACT

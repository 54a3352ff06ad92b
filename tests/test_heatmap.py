"""The heat map of a page: colors that stand out, levels from chance, order by result, bands of tasks."""

import pytest
from helpers.fake_runs import fake_run, fake_study

from rpecli.report import heatmap
from rpecli.report.aggregate import aggregate
from rpecli.report.heatmap import HeatMap, HeatTask, contrast, heat_map, ink, mixed
from rpecli.report.measures import ACCURACY


@pytest.mark.parametrize("ends", [(heatmap.LOW, heatmap.HIGH), (heatmap.LOW_DARK, heatmap.HIGH_DARK)], ids=["light", "dark"])
def test_the_number_in_a_cell_of_any_level_can_be_read(ends) -> None:
    grounds = [mixed(level, *ends) for level in range(101)]
    assert (grounds[0], grounds[100]) == ends
    assert min(contrast(ground, ink(ground)) for ground in grounds) >= 4.5


def test_contrast_of_known_colors() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((118, 118, 118), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)


def with_chance(encoding: str, seed: int, accuracy: dict[int, float], chance: float):
    run = fake_run(encoding, seed, accuracy)
    for line in run.evaluations.values():
        line["chance"] = chance
    return run


def test_the_color_is_empty_at_chance_and_full_at_100_per_cent() -> None:
    (task,) = aggregate([with_chance("rope", 0, {16: 1.0, 32: 0.75, 64: 0.5, 128: 0.3}, 0.5)])
    (row,) = heat_map([task]).rows
    assert [(cell.text, cell.level) for cell in row.cells[0]] == [("100", 100), ("75", 50), ("50", 0), ("30", 0)]


def test_rows_are_ordered_by_their_mean_beyond_training_and_say_it() -> None:
    heat = heat_map(fake_study({"learned": [0.2], "rope": [0.4, 0.6], "alibi": [0.9]}))
    assert [(row.title, row.group, row.mean) for row in heat.rows] == [
        ("ALiBi", "RPE", 90),
        ("RoPE", "RPE", 50),
        ("Learned", "APE", 20),
    ]
    words = heat.rows[1].cells[0][1].words
    assert words == "RoPE, Copy, length 32 (2x); token accuracy 50 % (40 to 60); exact match 50 % (40 to 60); 2 seeds"
    assert not heat.unsolved


def test_a_training_length_that_is_not_learned_is_marked_there_alone() -> None:
    heat = heat_map(fake_study({"rope": [0.4, 0.6]}, learned=0.5))
    assert [cell.unsolved for cell in heat.rows[0].cells[0]] == [True, False, False]
    assert heat.unsolved
    assert "0 of 2 learned the training length" in heat.rows[0].cells[0][0].words


def test_yours_are_rows_before_those_of_the_reference() -> None:
    heat = heat_map(fake_study({"rope": [0.5], "none": [0.1]}), fake_study({"rope": [0.4], "alibi": [0.9]}))
    assert [(row.title, row.source, row.mean) for row in heat.rows] == [
        ("RoPE", "yours", 50), ("NoPE", "yours", 10), ("ALiBi", "reference", 90), ("RoPE", "reference", 40)]  # fmt: skip
    assert heat.sources


def test_an_encoding_that_a_task_lacks_has_empty_cells_there() -> None:
    tasks = fake_study({"rope": [0.5], "alibi": [0.4]}) + fake_study({"rope": [0.5]}, tasks=("parity",))
    (alibi,) = [row for row in heat_map(tasks).rows if row.title == "ALiBi"]
    assert alibi.cells[1] == [None, None, None]
    assert alibi.mean == 40


def test_tasks_stand_side_by_side_as_far_as_they_fit() -> None:
    tasks = [HeatTask(str(n), 16, list(range(lengths)), [], ACCURACY, 1.0) for n, lengths in enumerate((8, 8, 8, 8, 8, 4))]
    assert HeatMap(tasks, [], sources=False, over="tasks").bands == [[0, 1, 2, 3], [4, 5]]
    assert HeatMap([], [], sources=False, over="tasks").bands == []


def test_a_length_that_others_lack_does_not_change_the_order() -> None:
    """An easy length, evaluated for one encoding alone, would raise its mean."""
    runs = [fake_run("rope", 0, {16: 1.0, 17: 1.0, 32: 0.4}), fake_run("alibi", 0, {16: 1.0, 32: 0.5})]
    assert [(row.title, row.mean) for row in heat_map(aggregate(runs)).rows] == [("ALiBi", 50), ("RoPE", 40)]


def test_a_task_that_others_lack_does_not_change_the_order() -> None:
    """As where reference results have other training lengths: an easy task of one encoding alone would raise its mean."""
    runs = [fake_run("rope", 0, {16: 1.0, 32: 0.4}), fake_run("alibi", 0, {16: 1.0, 32: 0.5})]
    runs += [fake_run("rope", 0, {16: 1.0, 32: 1.0}, task="sort")]
    assert [(row.title, row.mean) for row in heat_map(aggregate(runs)).rows] == [("ALiBi", 50), ("RoPE", 40)]

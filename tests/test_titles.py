"""Names as people know them, and one color and marker for an encoding in every figure."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fake_runs import fake_run

from rpecli import catalog, plot
from rpecli.report.aggregate import aggregate
from rpecli.report.figures.accuracy import series_styles
from rpecli.titles import constants, display, display_trained


@pytest.mark.parametrize(
    ("choice", "title"),
    [
        ("rope", "RoPE"),
        ("none", "NoPE"),
        ("t5", "T5 bias"),
        ("kerple_log", "KERPLE-log"),
        ("transformer-xl", "Transformer-XL"),
        ("rope:scaling=yarn", "RoPE (scaling=yarn)"),
        ("alibi:learned=true", "ALiBi (learned)"),
        ("rope+none", "RoPE + NoPE"),
        ("rope:then=none", "RoPE, then NoPE"),
        ("rope:scaling=yarn:then=none", "RoPE (scaling=yarn), then NoPE"),
        ("nowhere/my_own.py:a=1", "my-own (a=1)"),
        ("mine", "mine"),
    ],
)
def test_a_choice_of_an_encoding_has_a_name(choice: str, title: str) -> None:
    assert display("encodings", choice) == title


def test_tasks_and_positions_have_names() -> None:
    assert display("tasks", "copy") == "Copy"
    assert display("tasks", "sort:distinct=true") == "Sort (distinct)"
    assert display_trained("rope", "randomized") == "RoPE, randomized positions"
    assert display_trained("rope") == "RoPE"


def test_absolute_encodings_are_marked_where_asked() -> None:
    assert display("encodings", "learned", marked=True) == "Learned APE"
    assert display("encodings", "learned+rope", marked=True) == "Learned APE + RoPE"
    assert display("encodings", "learned") == "Learned"


def test_a_users_file_may_state_its_name(tmp_path: Path) -> None:
    path = tmp_path / "log_bias.py"
    path.write_text('class Mine:\n    title = "LogBias"\n')
    assert display("encodings", f"{path}:slope=2") == "LogBias (slope=2)"
    path.write_text("class Mine:\n    pass\n")
    assert display("encodings", str(path)) == "log-bias"


@pytest.mark.parametrize("kind", ["encodings", "tasks"])
def test_every_shipped_file_states_a_name_of_its_own(kind: str) -> None:
    titles = [constants(kind, name)["title"] for name in catalog.names(kind)]
    assert all(title.strip() for title in titles)
    assert len(titles) == len(set(titles))


def test_a_label_with_settings_and_positions_has_a_title() -> None:
    run = replace(fake_run("learned", 0, {16: 1.0}), settings={"steps": 100})
    config = run.config.model_copy(update={"positions": "offset"})
    other = replace(run, settings={"steps": 200}, config=config)
    (task,) = aggregate([run, other])
    assert task.titles == {
        "learned steps=100": "Learned APE, steps=100",
        "learned+offset steps=200": "Learned APE, offset positions, steps=200",
    }


def style(name: str) -> plot.SeriesStyle:
    return plot.series_style(name, constants("encodings", name).get("group", "RPE"), "")


def test_no_two_shipped_encodings_look_alike() -> None:
    """One that collides by its name states a `look` in its file."""
    looks = {name: (style(name).color, style(name).marker) for name in catalog.names("encodings")}
    twice = [look for look, number in Counter(looks.values()).items() if number > 1]
    assert not twice, [name for name, look in looks.items() if look in twice]


@pytest.mark.parametrize("name", catalog.names("encodings"))
def test_a_look_is_of_the_palette_of_its_group_and_not_the_users(name: str) -> None:
    own = style(name)
    assert own.color in plot.COLORS[own.group]
    assert own.marker in plot.MARKERS
    assert plot.OWN[0] not in plot.COLORS[own.group]
    assert plot.OWN[1] not in plot.MARKERS


def luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("color", [color for colors in plot.COLORS.values() for color in colors] + [plot.OWN[0]])
def test_every_color_stands_out_on_both_grounds(color: str) -> None:
    assert 1.05 / (luminance(color) + 0.05) >= 3
    assert (luminance(plot.DARK[color]) + 0.05) / (luminance(plot.DARK[plot.GROUND]) + 0.05) >= 3


def test_the_style_of_an_encoding_does_not_depend_on_the_others() -> None:
    alone = series_styles(aggregate([fake_run("rope", 0, {16: 1.0})]))
    among = series_styles(aggregate([fake_run(name, 0, {16: 1.0}) for name in ("alibi", "learned", "none", "rope", "t5")]))
    assert alone["rope"] == among["rope"] == plot.SeriesStyle("RoPE", "RPE", "#0072B2", "o")


def test_a_users_own_encoding_has_the_reserved_look() -> None:
    own = plot.series_style("./mine.py", "RPE", "mine")
    assert (own.color, own.marker) == plot.OWN
    assert plot.series_style("mine", "RPE", "mine") == own, "a label has the stem alone"
    assert plot.series_style("./mine.py:a=1", "RPE", "mine").color == plot.OWN[0]


def test_a_variant_keeps_the_color_of_its_encoding_with_another_marker() -> None:
    plain, yarn = style("rope"), plot.series_style("rope:scaling=yarn", "RPE", "")
    offset = plot.series_style("rope", "RPE", "", "+offset")
    assert plain.color == yarn.color == offset.color
    assert plain.marker not in (yarn.marker, offset.marker)

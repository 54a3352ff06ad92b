"""Panels of figures for a page: what is kept of matplotlib's SVG, what is shared, and what marks say."""

import re

import pytest
from helpers.fake_runs import fake_study

from rpecli import plot
from rpecli.plot import MARKERS, SeriesStyle
from rpecli.report.figures.accuracy import accuracy_figure, series_styles
from rpecli.report.figures.layout import Drawing, Layout, Subplot, draw
from rpecli.report.figures.page_svg import PageCharts, short_path


def figure() -> Drawing:
    tasks = fake_study({"rope": [0.9, 0.7], "learned": [0.2, 0.1], "none": [0.3, 0.1]})
    return accuracy_figure(tasks, series_styles(tasks))


def one_panel(draw_panel) -> Drawing:
    return draw([[Subplot(draw_panel, "a title", "what it shows")]], Layout())


def test_a_panel_of_a_page_shows_nothing_that_only_a_file_needs() -> None:
    (chart, _) = PageCharts().charts(figure())
    for text in ("clip-path", "metadata", "DejaVu", "rotate(-0", "Copy</text>", "APE (absolute)", "label-", "#0072b2"):
        assert text not in chart.svg
    assert b"#0072b2" in figure().svg
    assert b">Copy</text>" in figure().svg


def test_the_axes_of_every_panel_are_labeled_in_a_page() -> None:
    for chart, label in zip(PageCharts().charts(figure()), ("token accuracy (%)", "exact match (%)"), strict=True):
        below, beside = re.findall(r'<text ([^>]*) class="axis">([^<]*)</text>', chart.svg)
        assert (below[1], beside[1]) == ("test length (multiple of the training length)", label)
        left, top, wide, high = map(float, re.search(r'viewBox="([^"]*)"', chart.svg)[1].split())
        x, y = map(float, re.findall(r"[\d.]+", below[0]))
        assert left < x < left + wide
        assert top + high - 11 < y < top + high
        x, y = map(float, re.findall(r"[\d.]+", beside[0])[:2])
        assert left < x < left + 11
        assert top < y < top + high


def test_every_marker_says_its_value_and_belongs_to_its_series() -> None:
    (_, chart) = PageCharts().charts(figure())
    series = dict(re.findall(r'<g class="series" data-k="([^"]+)">(<path [^>]*/><use.*?)</g>', chart.svg))
    assert [*series] == ["Learned APE", "RoPE", "NoPE"]
    for label, marks in series.items():
        assert re.findall(r"<title>(.+?) at (\d+)", marks) == [(label, "16"), (label, "32"), (label, "64")]
        assert marks.count("<use ") == 3
    assert chart.svg.count('data-k="RoPE"') == 2, "the line, and the band over its seeds"


def test_colors_are_custom_properties_that_a_dark_ground_changes() -> None:
    page = PageCharts()
    page.charts(figure())
    style = page.css()
    light, dark = re.search(r":root\{(.*?)\}\n@media screen and \(prefers-color-scheme: dark\)\{:root\{(.*?)\}\}", style).groups()
    names = re.findall(r"(--x[0-9a-f]{6}):", light)
    assert names == re.findall(r"(--x[0-9a-f]{6}):", dark)
    assert {*re.findall(r"var\((.*?)\)", style)} <= {*names}
    assert not re.search(r"\.f\d+\{[^}]*#[0-9a-f]{6}", style), "a color without a counterpart on a dark ground"
    palette = [color for colors in plot.COLORS.values() for color in colors] + plot.HEAD_COLORS + [plot.OWN[0]]
    assert {*palette} <= {*plot.DARK}


def test_equal_styles_and_markers_are_written_once_for_all_figures() -> None:
    page = PageCharts()
    page.charts(figure())
    looks, markers = dict(page.looks), dict(page.markers)
    charts = page.charts(figure())
    assert (page.looks, page.markers) == (looks, markers)
    for chart in charts:
        assert {*re.findall(r'href="#(\w+)"', chart.svg)} <= {*markers}
        assert {*re.findall(r"\bf\d+\b", chart.svg)} <= {*looks.values()}


def test_a_mark_without_a_series_says_what_it_is() -> None:
    (chart, _) = PageCharts().charts(figure())
    assert "<title>training length</title></path>" in chart.svg


def test_words_are_escaped() -> None:
    def marked(drawing, axes) -> None:
        (line,) = axes.plot([1, 2], [1, 2], marker="o")
        drawing.tip(line, '<a> & "b"', ["x < 1", "x > 1"])

    (chart,) = PageCharts().charts(one_panel(marked))
    assert 'data-k="&lt;a&gt; &amp; &quot;b&quot;"' in chart.svg
    assert "<title>x &lt; 1</title>" in chart.svg


def test_a_part_of_a_crowded_panel_is_shown_alone() -> None:
    def crowded(drawing, axes) -> None:
        for name in ("one", "two"):
            (line,) = axes.plot([1, 2], [1, 2])
            drawing.tip(line, name, [name], part=name)

    drawing = one_panel(crowded)
    (crop,) = drawing.crops
    drawing.crops[:] = [type(crop)(**(vars(crop) | {"part": name})) for name in ("one", "two")]
    first, second = PageCharts().charts(drawing)
    assert ("<title>one</title>" in first.svg, "<title>two</title>" in first.svg) == (True, False)
    assert ("<title>one</title>" in second.svg, "<title>two</title>" in second.svg) == (False, True)


def test_a_legend_has_an_entry_per_label_in_its_group() -> None:
    styles = {name: SeriesStyle(name, "RPE", "#0072B2", marker) for name, marker in zip("abcdefghijkl", MARKERS, strict=True)}
    ((title, entries),) = PageCharts().styles_legend(styles)
    assert title == plot.TITLES["RPE"]
    assert [entry.label for entry in entries] == [*styles]
    assert len({re.search(r'href="#(\w+)"', entry.svg)[1] for entry in entries}) == len(MARKERS), "each marker looks different"
    assert PageCharts().legend("none", {}) == ("none", [])


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("M 0 0 \nL 10.26 5.04 \nz\n", "M0 0L10.3 5z"),
        ("M 1 1 \nL 2 2 \nL 2.5 1.5 \n", "M1 1l1 1 .5-.5"),
        ("M 1 1 \nL 1.04 1 \nL 1.3 1.2 \n", "M1 1l0 0 .3.2"),
        ("M 0 2.1 \nC 0.556927 2.1 1.1 1.9 1.5 1.5 \nz\n", "M0 2.1C0.6 2.1 1.1 1.9 1.5 1.5z"),
    ],
)
def test_a_path_keeps_tenths_of_a_point(path: str, short: str) -> None:
    assert short_path(path) == short


def test_steps_add_up_to_the_points_they_stand_for() -> None:
    points = [(1.23 * n, 40 + 17.7 * (n % 5)) for n in range(60)]
    path = "M " + " \nL ".join(f"{x:.6f} {y:.6f}" for x, y in points)
    numbers = [float(word) for word in re.findall(r"-?(?:\d+\.\d|\.\d|\d+)", short_path(path))]
    places = [[numbers[0]], [numbers[1]]]
    for step, value in enumerate(numbers[2:]):
        places[step % 2].append(places[step % 2][-1] + value)
    for (x, y), (a, b) in zip(points, zip(*places, strict=True), strict=True):
        assert (x, y) == pytest.approx((a, b), abs=0.051)


def test_a_moved_path_is_moved() -> None:
    assert short_path("M 1 -5 \nL 2 -4 \n", 0.5, 100) == "M1.5 95L2.5 96"

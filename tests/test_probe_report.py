"""Results of `rpe inspect` in a report: only those of the report's own weights, settings and evaluation sets."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.run_folders import add_inspection, add_similarity, make_run, shifted

from rpecli.report import build, probe_values
from rpecli.report.load_probes import TaskProbes
from rpecli.report.tables import attention
from rpecli.run.directory import Run
from rpecli.run.files import append_line
from rpecli.table import Table


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Two seeds of a relative and of an absolute encoding, and one run that was not inspected."""
    folder = tmp_path_factory.mktemp("runs")
    paths = [make_run(folder, {16: 1.0, 32: 0.5}, encoding=name, seed=seed) for name in ("rope", "learned") for seed in (0, 1)]
    for path, share in zip(paths, (0.9, 0.7, 0.6, 0.6), strict=True):
        add_inspection(path, share, terms="learned" in path.name)
    for n, path in enumerate(sorted(paths)):
        for m, other in enumerate(sorted(paths)[n + 1 :], n + 1):
            add_similarity(path, [other], 0.8 if (n, m) in ((0, 1), (2, 3)) else 0.4)
    return [*paths, make_run(folder, {16: 1.0, 32: 0.5}, encoding="t5")]


def probes_of(paths: list[Path]) -> TaskProbes:
    (probes,) = build.report_content(paths, "mine").probes.values()
    return probes


def row(table: Table, label: str) -> dict[str, str]:
    (cells,) = [dict(zip(table.columns, cells, strict=True)) for cells in table.rows if cells[0] == label]
    return cells


def test_numbers_are_means_over_heads_and_seeds(runs):
    heads, patterns, terms, _ = attention.tables(probes_of(runs))
    assert [cells[0] for cells in heads.rows] == ["Learned APE", "RoPE"]
    rope = row(heads, "RoPE")
    columns = ("distance 1x", "distance 2x", "entropy 1x", "f(i-j) 1x")
    assert [rope[name] for name in columns] == ["12.00", "24.00", "0.75", "80 %"]
    assert (rope["runs"], rope["patterned heads"]) == ("2", "2/4")
    assert row(patterns, "RoPE") | {"pattern": "distance n", "heads": "2", "1x": "80 %", "2x": "25 %"} == row(patterns, "RoPE")
    assert [cells[0] for cells in terms.rows] == ["Learned APE", "Learned APE"]
    assert terms.rows[0][3:] == ["10 %", "20 %", "30 %", "40 %", "60 %", "60 %", "5 %"]


def test_similarity_is_by_encoding_and_with_itself_between_seeds(runs):
    *_, similarity = attention.tables(probes_of(runs))
    rope, learned = row(similarity, "RoPE"), row(similarity, "Learned APE")
    assert (rope["RoPE"], rope["Learned APE"], learned["RoPE"]) == ("0.80", "0.40", "0.40")


@pytest.mark.parametrize(
    "other",
    [{"weights": "older"}, {"encoding_override": "none"}, {"positions": "randomized"}, {"eval_seed": 1},
     {"fingerprints": {"16": "another"}},
     {"fingerprints": {"8": "set8"}}, {"fingerprints": {"16": "set16", "32": "another"}}],
    ids=str,
)  # fmt: skip
def test_an_inspection_of_other_weights_settings_or_sets_is_left_out(tmp_path, other):
    path = make_run(tmp_path, {16: 1.0, 32: 0.5})
    add_inspection(path, 0.6)
    add_inspection(path, 0.9, **other)
    assert probe_values.distance_r2(probes_of([path]), "rope", 1) == [0.6]
    add_inspection(path, 0.7)
    assert probe_values.distance_r2(probes_of([path]), "rope", 1) == [0.7]


def test_a_swapped_encoding_has_a_row_of_its_own(tmp_path):
    path = make_run(tmp_path, {16: 1.0, 32: 0.5})
    for line in Run(path).evaluations():
        Run(path).append_evaluation(line | {"encoding_override": "none", "exact_match": 0.0})
    add_inspection(path, 0.6)
    add_inspection(path, 0.9, **{"encoding_override": "none"})
    probes = probes_of([path])
    assert sorted(probes.labels) == ["rope", "rope as none"]
    assert [probe_values.distance_r2(probes, label, 1) for label in ("rope", "rope as none")] == [[0.6], [0.9]]


def test_a_report_shows_it_in_text_in_figures_and_on_the_page(runs, tmp_path):
    report = build.build_report(runs, "mine", tmp_path)
    figures = {path.name for path in report.files if path.name.startswith("inspect-")}
    kinds = ("mean-distance", "entropy", "function", "patterns", "distance", "terms", "similarity")
    assert figures == {f"inspect-copy-trained-to-16-{kind}.svg" for kind in kinds}
    assert all(f"({name})" in report.markdown for name in figures)
    page = (tmp_path / "mine" / "report.html").read_text()
    titles = re.findall("<figcaption>(.*?)</figcaption>", page)
    for title in ("mean attention distance, layer 1", "attention entropy, layer 1", "similarity of attention (1 - JS/ln 2)",
                  "attention weight by distance i-j, last layer, at 2x the training length",
                  "RoPE, seed 0, layer 1 at 2x: head 1: distance n", "RoPE, seed 0, layer 1 at 1x: head 1: distance n",
                  "Learned APE, seed 0, layer 1 at 2x: head 1: distance n"):  # fmt: skip
        assert titles.count(title) == 1, title
    assert "<title>Learned APE, 1x: content-position 20 %</title>" in page
    assert "<title>Learned APE and RoPE: 0.40</title>" in page


def test_a_page_and_a_file_show_the_same_points(runs, tmp_path):
    report = build.build_report(runs, "mine", tmp_path)
    (file,) = [path for path in report.files if path.name.endswith("mean-distance.svg")]
    panel = ElementTree.fromstring(file.read_bytes()).find(".//*[@id='panel-1']")
    points = [use.attrib for use in panel.iter() if use.tag.endswith("use") and "#0072b2" in use.attrib["style"]]
    page = (tmp_path / "mine" / "report.html").read_text()
    chart = page.partition("<figcaption>mean attention distance, layer 1</figcaption>")[2].partition("</figure>")[0]
    marks = ElementTree.fromstring(chart).findall(".//*[@data-k='RoPE']//use")
    assert [mark[0].text for mark in marks] == [f"RoPE at {length}: {0.75 * length:g}, 2 runs" for length in (8, 16, 32)]
    for point, mark in zip(points[: len(marks)], marks, strict=True):
        for axis in "xy":
            assert float(mark.attrib[axis]) == pytest.approx(float(point[axis]), abs=0.051)


def test_what_a_shift_changed_is_on_the_page_by_measure(tmp_path):
    path = make_run(tmp_path, {16: 1.0})
    numbers = {"changed": 0.25, "kl_mean": 0.03, "logits_mean": 1.5, "exact_match": 0.5, "attention": [0.2, 0.4]}
    for kind, by in (("positions", 1), ("positions", 16), ("prefix", 1)):
        append_line(path / "probes.jsonl", shifted(kind, by, **numbers))
    build.build_report([path], "mine", tmp_path / "out")
    page = (tmp_path / "out" / "mine" / "report.html").read_text()
    for words in ("RoPE shifted by 16: 0.25, 1 run<", "RoPE shifted by 16: 0.3, 1 run<", "RoPE shifted by 1: 0.03, 1 run<"):
        assert words in page
    words = "exact match, the same tokens after a prefix of random symbols on Copy, trained to 16, mean over seeds: RoPE 0.5 +1."
    assert f'aria-label="{words}"' in page
    assert (tmp_path / "out" / "mine" / "inspect-copy-trained-to-16-shift.svg").is_file()


def test_without_probes_a_report_says_nothing_of_them(tmp_path):
    report = build.build_report([make_run(tmp_path, {16: 1.0})], "mine", tmp_path / "out")
    assert not [path for path in report.files if path.name.startswith("inspect-")]
    page = (tmp_path / "out" / "mine" / "report.html").read_text()
    for text in (report.markdown, page):
        assert "attention patterns" not in text.lower()


@pytest.mark.parametrize(("file", "what"), [("probes.jsonl", "probes"), ("metrics.jsonl", "learning curve")])
def test_a_damaged_line_costs_the_probes_or_the_curve_of_that_run_alone(file, what, tmp_path):
    path = make_run(tmp_path, {16: 1.0})
    (path / file).write_text("{broken\n")
    content = build.report_content([path], "mine")
    (warning,) = content.warnings
    assert warning.startswith(f"{path / file}:1: damaged: no checksum: delete that line")
    assert warning.endswith(f"(its {what} left out)")
    assert content.data.rows[0].exact_match.mean == 1.0

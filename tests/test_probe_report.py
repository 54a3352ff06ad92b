"""What inspect kept in runs, in a report of them: only what is of the report's own weights, way and strings."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.run_folders import WAY, alike, look_into, make_run

from rpecli import table as tables
from rpecli.report import aggregate as panels
from rpecli.report import build as report
from rpecli.report import load as frames
from rpecli.report import load_probes as probe_read
from rpecli.report.load import ReportError
from rpecli.report.tables import attention as probe_table
from rpecli.run.files import RunError, append_line, read_lines


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Two seeds of a relative and of an absolute encoding, and one run that nobody looked into."""
    folder = tmp_path_factory.mktemp("runs")
    made = [make_run(folder, {16: 1.0, 32: 0.5}, encoding=name, seed=seed) for name in ("rope", "learned") for seed in (0, 1)]
    for path, share in zip(made, (0.9, 0.7, 0.6, 0.6), strict=True):
        look_into(path, share, terms="learned" in path.name)
    for n, path in enumerate(sorted(made)):
        for m, other in enumerate(sorted(made)[n + 1 :], n + 1):
            alike(path, [other], 0.8 if (n, m) in ((0, 1), (2, 3)) else 0.4)
    return [*made, make_run(folder, {16: 1.0, 32: 0.5}, encoding="t5")]


def seen_of(paths: list[Path]) -> probe_read.Seen:
    (seen,) = probe_read.read(panels.panels(frames.collect(paths).runs)).values()
    return seen


def row(table: tables.Table, label: str) -> dict[str, str]:
    (found,) = [dict(zip(table.columns, line, strict=True)) for line in table.rows if line[0] == label]
    return found


def test_numbers_are_means_over_heads_and_seeds(runs):
    looks, rules, terms, _ = probe_table.tables(seen_of(runs))
    assert [line[0] for line in looks.rows] == ["learned", "rope"]
    found = row(looks, "rope")
    columns = ("distance 1x", "distance 2x", "entropy 1x", "f(i-j) 1x")
    assert [found[name] for name in columns] == ["12.00", "24.00", "0.75", ".80"]
    assert (found["runs"], found["by a rule"]) == ("2", "2/4")
    assert row(rules, "rope") | {"rule": "distance n", "heads": "2", "1x": ".80", "2x": ".25"} == row(rules, "rope")
    assert [line[0] for line in terms.rows] == ["learned", "learned"]
    assert terms.rows[0][3:] == [".10", ".20", ".30", ".40", ".60", ".60", ".05"]


def test_similarity_is_by_encoding_and_with_itself_between_seeds(runs):
    *_, found = probe_table.tables(seen_of(runs))
    assert (row(found, "rope")["rope"], row(found, "rope")["learned"], row(found, "learned")["rope"]) == (".80", ".40", ".40")


@pytest.mark.parametrize(
    "other",
    [{"weights": "older"}, {"encoding_override": "none"}, {"positions": "randomized"}, {"eval_seed": 1},
     {"fingerprints": {"16": "another"}},
     {"fingerprints": {"8": "set8"}}, {"fingerprints": {"16": "set16", "32": "another"}}],
    ids=str,
)  # fmt: skip
def test_what_was_seen_in_another_way_is_not_mixed_in(tmp_path, other):
    path = make_run(tmp_path, {16: 1.0, 32: 0.5})
    look_into(path, 0.6)
    look_into(path, 0.9, **other)
    assert probe_table.functions(seen_of([path]), "rope", 1) == [0.6]
    look_into(path, 0.7)
    assert probe_table.functions(seen_of([path]), "rope", 1) == [0.7]


def test_a_swapped_encoding_has_a_row_of_its_own(tmp_path):
    path = make_run(tmp_path, {16: 1.0, 32: 0.5})
    for line in read_lines(path / "eval.jsonl"):
        append_line(path / "eval.jsonl", line | {"encoding_override": "none", "exact_match": 0.0})
    look_into(path, 0.6)
    look_into(path, 0.9, **{"encoding_override": "none"})
    seen = seen_of([path])
    assert sorted(seen.labels) == ["rope", "rope as none"]
    assert [probe_table.functions(seen, label, 1) for label in ("rope", "rope as none")] == [[0.6], [0.9]]


def test_a_report_shows_it_in_text_in_figures_and_on_the_page(runs, tmp_path):
    written = report.make(runs, "mine", tmp_path)
    figures = {path.name for path in written.files if path.name.startswith("inspect-")}
    kinds = ("mean-distance", "entropy", "function", "patterns", "distance", "terms", "similarity")
    assert figures == {f"inspect-copy-trained-to-16-{kind}.svg" for kind in kinds}
    assert all(f"({name})" in written.markdown for name in figures)
    page = (tmp_path / "mine" / "report.html").read_text()
    titles = re.findall("<figcaption>(.*?)</figcaption>", page)
    for title in ("mean attention distance, layer 1", "attention entropy, layer 1", "similarity of attention (1 - JS/ln 2)",
                  "attention weight by distance i-j, last layer, at 2x the training length",
                  "rope, seed 0, layer 1 at 2x: head 1: distance n", "rope, seed 0, layer 1 at 1x: head 1: distance n",
                  "learned, seed 0, layer 1 at 2x: head 1: distance n"):  # fmt: skip
        assert titles.count(title) == 1, title
    assert "<title>learned, 1x: content-position .20</title>" in page
    assert "<title>learned and rope: .40</title>" in page


def test_a_page_and_a_file_show_the_same_points(runs, tmp_path):
    written = report.make(runs, "mine", tmp_path)
    (file,) = [path for path in written.files if path.name.endswith("mean-distance.svg")]
    panel = ElementTree.fromstring(file.read_bytes()).find(".//*[@id='panel-1']")
    points = [use.attrib for use in panel.iter() if use.tag.endswith("use") and "#0072b2" in use.attrib["style"]]
    page = (tmp_path / "mine" / "report.html").read_text()
    chart = page.partition("<figcaption>mean attention distance, layer 1</figcaption>")[2].partition("</figure>")[0]
    marks = ElementTree.fromstring(chart).findall(".//*[@data-k='rope']//use")
    assert [mark[0].text for mark in marks] == [f"rope at {length}: {0.75 * length:g}, 2 runs" for length in (8, 16, 32)]
    for point, mark in zip(points[: len(marks)], marks, strict=True):
        for axis in "xy":
            assert float(mark.attrib[axis]) == pytest.approx(float(point[axis]), abs=0.051)


def test_what_a_shift_changed_is_on_the_page_by_measure(tmp_path):
    path = make_run(tmp_path, {16: 1.0})
    numbers = {"changed": 0.25, "kl_mean": 0.03, "logits_mean": 1.5, "exact_match": 0.5, "attention": [0.2, 0.4]}
    for kind, by in (("positions", 1), ("positions", 16), ("prefix", 1)):
        line = {"probe": kind, "shift": by, **WAY, "length": 16, "fingerprint": "set16", **numbers}
        append_line(path / "probes.jsonl", line)
    report.make([path], "mine", tmp_path / "out")
    page = (tmp_path / "out" / "mine" / "report.html").read_text()
    for words in ("rope shifted by 16: 0.25, 1 run<", "rope shifted by 16: 0.3, 1 run<", "rope shifted by 1: 0.03, 1 run<"):
        assert words in page
    assert "exact match, the same tokens behind a prefix on copy, trained to 16, mean over seeds: rope 0.5 +1." in page
    assert (tmp_path / "out" / "mine" / "inspect-copy-trained-to-16-shift.svg").is_file()


def test_a_report_without_probes_has_no_section_for_them(tmp_path):
    written = report.make([make_run(tmp_path, {16: 1.0})], "mine", tmp_path / "out")
    assert not [path for path in written.files if path.name.startswith("inspect-")]
    assert "### Attention" not in written.markdown
    page = (tmp_path / "out" / "mine" / "report.html").read_text()
    assert "<h3>Attention</h3>" not in page
    assert "<h3>Translation invariance</h3></section>" not in page


def test_a_damaged_line_is_named(runs, tmp_path):
    path = make_run(tmp_path, {16: 1.0})
    (path / "probes.jsonl").write_text("{broken\n")
    with pytest.raises((ReportError, RunError), match=r"probes\.jsonl:1"):
        report.make([path], "mine", tmp_path / "out")

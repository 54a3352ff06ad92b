"""What inspect kept in runs, in a report of them: only what is of the report's own weights, way and strings."""

from pathlib import Path

import pytest
from helpers.run_folders import WAY, alike, look_into, make_run

from rpecli import table as tables
from rpecli.report import aggregate as panels
from rpecli.report import build as report
from rpecli.report import load as frames
from rpecli.report import load_probes as probe_read
from rpecli.report.figures import attention_chart as probe_chart
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
    made = report.make(runs, "mine", tmp_path)
    drawn = {path.name for path in made.files if path.name.startswith("why-")}
    kinds = ("attended", "entropy", "function", "rules", "terms", "similarity")
    assert drawn == {f"why-copy-trained-to-16-{kind}.svg" for kind in kinds}
    assert all(f"({name})" in made.markdown for name in drawn)
    page = (tmp_path / "mine" / "report.html").read_text()
    for words in ("mean distance attended to", "entropy of attention", "function of i-j", "attention by distance", "score terms",
                  "how alike encodings attend", "layer 1 at 2x: head 1: distance n"):  # fmt: skip
        assert words in page
    assert "Heads that look by a rule" in made.markdown


def test_what_moving_changed_is_on_the_page_by_measure(tmp_path):
    path = make_run(tmp_path, {16: 1.0})
    numbers = {"changed": 0.25, "kl_mean": 0.03, "logits_mean": 1.5, "exact_match": 0.5, "attention": [0.2, 0.4]}
    for kind, by in (("positions", 1), ("positions", 16), ("prefix", 1)):
        line = {"probe": kind, "shift": by, **WAY, "length": 16, "fingerprint": "set16", **numbers}
        append_line(path / "probes.jsonl", line)
    report.make([path], "mine", tmp_path / "out")
    page = (tmp_path / "out" / "mine" / "report.html").read_text()
    for words in ("rope moved by 16: 0.25, 1 run<", "rope moved by 16: 0.3, 1 run<", "rope moved by 1: 0.03, 1 run<"):
        assert words in page
    assert "exact match, the same tokens behind a prefix on copy, trained to 16, mean over seeds: rope 0.5 +1." in page


def test_without_probes_a_report_says_nothing_of_them(tmp_path):
    made = report.make([make_run(tmp_path, {16: 1.0})], "mine", tmp_path / "out")
    assert not [path for path in made.files if path.name.startswith("why-")]
    assert "heads look" not in made.markdown
    assert "heads look" not in (tmp_path / "out" / "mine" / "report.html").read_text()


def test_a_damaged_line_is_named(runs, tmp_path):
    path = make_run(tmp_path, {16: 1.0})
    (path / "probes.jsonl").write_text("{broken\n")
    with pytest.raises((ReportError, RunError), match=r"probes\.jsonl:1"):
        report.make([path], "mine", tmp_path / "out")


@pytest.mark.parametrize(("value", "above"), [(0.03, 0.04), (1, 1), (3.2, 4), (7, 8), (99, 100)])
def test_an_axis_ends_at_a_round_number(value, above):
    assert probe_chart._above(value) == pytest.approx(above)

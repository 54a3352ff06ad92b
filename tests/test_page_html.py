"""The page for a browser: one file, nothing asked of the network, read without its script, sorted and hovered over with it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.fake_runs import fake_study
from helpers.run_folders import make_page

from rpecli import plot, table
from rpecli.report.figures import accuracy as figure
from rpecli.report.figures import inline as svg

VOID = {"meta", "br", "path"}


class Reader(HTMLParser):
    """Checks that what opens closes, and collects ids and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[key] for key in ("href", "src", "srcset", "action") if key in given]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return make_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def read(written) -> Reader:
    reader = Reader()
    reader.feed(written.read_text())
    return reader


def test_what_opens_closes(read):
    assert read.open == []


def test_ids_are_unique_and_every_link_leads_to_one(read):
    assert len(read.ids) == len(set(read.ids))
    assert read.links
    assert all(link.startswith("#") and link[1:] in read.ids for link in read.links)


def test_nothing_is_asked_of_the_network(written):
    text = written.read_text()
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<link|<img|<iframe|fetch\(|XMLHttp", text)
    assert "default-src 'none'" in text


def test_without_script_every_number_is_there(written):
    text = re.sub(r"<script>.*?</script>", "", written.read_text(), flags=re.DOTALL)
    for words in ("Length extrapolation", ">0.80<", "95 % interval", "commit: <code>c0ffee</code> (9 runs)", "copy-rope-s0-"):
        assert words in text
    assert "<title>rope at 32 (2x): 0.80, 3 runs</title>" in text


def test_what_looks_like_a_tag_is_text(written):
    text = written.read_text()
    assert "&lt;b&gt;nan&lt;/b&gt; &amp; &quot;worse&quot;" in text
    assert "rpe report &#x27;&lt;runs&gt;&#x27;" in text


def test_every_row_leads_to_the_directories_behind_it(written):
    text = written.read_text()
    place = re.search(r'<a href="#(runs-copy-trained-to-16-\d+)">rope</a>', text).group(1)
    item = re.search(rf'<li id="{place}">(.*?)</li>', text).group(1)
    assert item.startswith("<b>rope</b>")
    assert item.count("<code>") == 3


def test_a_chart_says_in_words_what_it_shows():
    (panel,) = fake_study({"rope": [0.9, 0.7], "learned": [0.2, 0.1]})
    text = "exact match against length on copy, trained to 16, mean over seeds: "
    text += "learned 1.00 at 16, 0.15 at 64; rope 1.00 at 16, 0.80 at 64."
    assert svg.described(panel, "exact_match") == text
    assert f'aria-label="{text}"' in svg.chart(panel, "exact_match", figure.looks([panel]))


def test_each_marker_has_an_outline_of_its_own():
    outlines = [tuple(svg._outline(marker)) for marker in plot.MARKERS]
    assert len(set(outlines)) == len(plot.MARKERS)


@pytest.mark.parametrize(
    ("text", "value"),
    [(".84 (.80-.88)", 0.84), ("1,217,798", 1217798), ("<.01", 0.0099), (">.99", 0.9901), ("-.05", -0.05), ("+.40 to +.50", 0.4),
     ("-", None), ("rope", None), ("<16 (<16-32)", 15.9999), ("2/3", 2), ("1.2e+05", 120000), (">-.01", -0.0099),
     ("< .001", 0.0009)],
)  # fmt: skip
def test_a_cell_sorts_by_the_number_it_begins_with(text, value):
    assert table.sort_key(text) == (None if value is None else pytest.approx(value))

"""The page for a browser: one self-contained file that can be read without its script, its words escaped, its links whole."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.fake_runs import fake_study
from helpers.run_folders import make_page

from rpecli.report.figures import accuracy
from rpecli.report.figures.page_svg import PageCharts
from rpecli.report.measures import EXACT

VOID = {"meta", "br", "path", "use", "link", "img"}


class Reader(HTMLParser):
    """Checks that every element that opens closes, and collects ids and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.ids += [str(attributes["id"])] if "id" in attributes else []
        keys = [] if tag in ("link", "img") else ["href", "src", "srcset", "action"]
        self.links += [str(attributes[key]) for key in keys if key in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return make_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def reader(written) -> Reader:
    reader = Reader()
    reader.feed(written.read_text())
    return reader


def test_every_element_that_opens_closes(reader) -> None:
    assert reader.open == []


def test_ids_are_unique_and_every_link_leads_to_one(reader) -> None:
    assert len(reader.ids) == len(set(reader.ids))
    assert reader.links
    inner = [link[1:] for link in reader.links if link.startswith("#")]
    assert {*inner} <= {*reader.ids}
    assert all(re.fullmatch(r"#.+|https://arxiv\.org/abs/\d{4}\.\d{5}", link) for link in reader.links)


def test_a_page_loads_nothing_from_the_network(written) -> None:
    text = written.read_text()
    icon = re.search(r'<link rel="icon" href="data:image/svg\+xml,[^"]*">', text).group(0)
    text = re.sub(r'<a href="https://arxiv[^"]*">', "", text.replace(icon, ""))  # leads away, and loads nothing
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<link|<img (?!src=.data:)|<iframe|fetch\(|XMLHttp", text)
    assert "default-src 'none'" in text


def test_without_script_every_number_is_there(written) -> None:
    text = re.sub(r"<script>.*?</script>", "", written.read_text(), flags=re.DOTALL)
    for words in ("Length extrapolation", ">80 %<", "95 % interval", "commit: <code>c0ffee</code> (9 runs)", "copy-rope-s0-"):
        assert words in text
    assert "<title>RoPE at 32 (2x): 80 %, 3 runs</title>" in text


def test_text_that_looks_like_a_tag_is_escaped(written) -> None:
    text = written.read_text()
    assert "&lt;b&gt;nan&lt;/b&gt; &amp; &quot;worse&quot;" in text
    assert "rpe report &#39;&lt;runs&gt;&#39;" in text


def test_the_name_of_an_encoding_leads_to_its_definition_and_paper(written) -> None:
    text = written.read_text()
    assert text.count('<a href="#encoding-rope">RoPE</a>') > 5
    entry = re.search(r'<dt id="encoding-rope">(.*?)</dd>', text, re.DOTALL).group(1)
    assert "Rotary position embedding: queries and keys rotate" in entry
    assert "pair c rotates by i w_c (j w_c),  w_c = base^(-2c/D)  (paper, equation 34)" in entry
    assert '<a href="https://arxiv.org/abs/2104.09864">RoFormer' in entry


def test_the_runs_of_every_encoding_are_listed(written) -> None:
    item = re.search(r"<li><b>RoPE</b>:(.*?)</li>", written.read_text()).group(1)
    assert item.count("<code>") == 3


def test_the_answers_of_models_stand_below_the_target_with_errors_marked(written) -> None:
    text = written.read_text()
    assert "Length 32 (2x the training length)" in text
    answer = r'RoPE</th><td>ab<mark>x</mark>d</td><td class="quiet">3 of 4 right'
    assert re.search(rf"target</th><td>abcd</td>.*?{answer}", text, re.DOTALL)


def test_what_to_use_names_the_best_and_the_best_without_a_special_kernel(written) -> None:
    text = written.read_text().replace("\u00a0", " ")
    assert "Highest mean beyond training: RoPE (56 %), then ALiBi (44 %). Without a special kernel: RoPE (56 %), then " in text
    assert "training tokens/s" not in text


def test_the_attention_of_one_string_is_shown_from_the_training_length_on(written) -> None:
    text = written.read_text()
    assert "<h3>Attention of one string</h3>" in text
    assert len(re.findall(r'<img src="data:image/png;base64,[^"]+" width="\d+" height="4"', text)) == 2
    assert 'alt="Attention of RoPE, layer 1, head 1, at length 16">16 (1x)</span>' in text


def test_every_term_of_the_glossary_is_on_the_page(written) -> None:
    text = written.read_text()
    assert '<dt id="term-iqm">IQM</dt><dd><p>Interquartile mean:' in text
    assert '<a href="#term-solved">solved</a>' in text


def test_a_chart_says_in_words_what_it_shows() -> None:
    (task,) = fake_study({"rope": [0.9, 0.7], "learned": [0.2, 0.1]})
    text = "exact match against length on Copy, trained to 16, mean over seeds: "
    text += "Learned APE 100 % at 16, 15 % at 64; RoPE 100 % at 16, 80 % at 64."
    assert accuracy.described(task, EXACT) == text
    charts = PageCharts().charts(accuracy.accuracy_figure([task], accuracy.series_styles([task])))
    assert [chart.key for chart in charts] == ["first", "second"]
    assert f'aria-label="{text}"' in charts[1].svg


def test_a_page_of_the_same_runs_has_the_same_bytes(written, tmp_path) -> None:
    again = make_page(tmp_path)
    assert again.read_text().replace(str(again.parents[2]), "") == written.read_text().replace(str(written.parents[2]), "")

"""The page for a browser: one file, nothing asked of the network, read without its script, sorted and hovered over with it."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from runs_in_memory import study
from runs_on_disk import make_run

from rpecli import report
from rpecli.report import figure, page_html, svg

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
VOID = {"meta", "br", "path"}
PROBE = """
<script>
const out = {}, table = document.querySelectorAll("table")[1], column = 4;
const labels = () => Array.from(table.tBodies[0].rows, row => row.cells[0].firstChild.textContent).join(" ");
const head = table.tHead.rows[0].cells[column], button = head.querySelector("button");
button.click(); out.first = labels() + " " + head.getAttribute("aria-sort");
button.click(); out.second = labels() + " " + head.getAttribute("aria-sort");
out.foot = table.tFoot ? table.tFoot.textContent : "";
const point = document.querySelector(".point path");
point.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
out.tip = document.getElementById("tip").textContent + " " + document.getElementById("tip").hidden;
out.lit = document.querySelectorAll(".series.lit").length;
out.wide = document.documentElement.scrollWidth <= document.documentElement.clientWidth;
for (const [key, value] of Object.entries(out)) document.body.setAttribute("data-out-" + key, value);
</script>
"""


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
    """Names and errors hold what HTML would take for tags."""
    runs = tmp_path_factory.mktemp("page")
    paths = [make_run(runs, {16: 1.0, 32: 0.8, 64: 0.4}, seed=seed) for seed in range(3)]
    paths += [make_run(runs, {16: 1.0, 32: 0.9, 64: 0.1}, encoding="alibi", seed=seed) for seed in range(3)]
    paths += [make_run(runs, {16: 1.0, 32: 0.2, 64: 0.0}, encoding="learned", seed=seed) for seed in range(3)]
    paths.append(make_run(runs, {}, encoding="none", info={"status": "failed", "error": '<b>nan</b> & "worse"'}))
    report.make(paths, "mine", runs / "results", "rpe report '<runs>'")
    return runs / "results" / "mine" / "report.html"


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
    for words in ("Length extrapolation", ">.80<", "95 % interval", "commit: <code>c0ffee</code> (9 runs)", "copy-rope-s0-"):
        assert words in text
    assert "<title>rope at 32 (2x): .80, 3 runs</title>" in text


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
    (panel,) = study({"rope": [0.9, 0.7], "learned": [0.2, 0.1]})
    text = "exact match against length on copy, trained to 16, mean over seeds: "
    text += "learned 1.00 at 16, .15 at 64; rope 1.00 at 16, .80 at 64."
    assert svg.described(panel, "exact_match") == text
    assert f'aria-label="{text}"' in svg.chart(panel, "exact_match", figure.looks([panel]))


def test_each_marker_has_an_outline_of_its_own():
    outlines = [tuple(svg._outline(marker)) for marker in figure.MARKERS]
    assert len(set(outlines)) == len(figure.MARKERS)


@pytest.mark.parametrize(
    ("text", "value"),
    [(".84 (.80-.88)", 0.84), ("1,217,798", 1217798), ("<.01", 0.0099), (">.99", 0.9901), ("-.05", -0.05), ("+.40 to +.50", 0.4),
     ("-", None), ("rope", None), ("<16 (<16-32)", 15.9999), ("2/3", 2), ("1.2e+05", 120000), (">-.01", -0.0099), ("< .001", 0.0009)],
)  # fmt: skip
def test_a_cell_sorts_by_the_number_it_begins_with(text, value):
    assert page_html.sort_key(text) == (None if value is None else pytest.approx(value))


# ---------------------------------------------------------------------------------------------------------------- browser


def browse(page: Path, folder: Path, *flags: str) -> tuple[str, str]:
    """The page as a browser has it after its scripts, and what the browser said."""
    command = [BROWSER, *QUIET.split(), "--disable-sync", f"--user-data-dir={folder}", "--enable-logging=stderr", *flags]
    done = subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=120, env=os.environ | {"HOME": str(folder)}
    )
    return done.stdout, done.stderr


@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
@pytest.mark.parametrize("width", [1200, 500])  # a headless window is never narrower than 500
def test_a_browser_renders_sorts_and_hovers_without_an_error(written, tmp_path, width):
    page = tmp_path / "probe.html"
    page.write_text(written.read_text().replace("</body>", PROBE + "</body>"))
    found, said = browse(page, tmp_path / "profile", "--dump-dom", f"--window-size={width},900")
    out = dict(re.findall(r'data-out-(\w+)="([^"]*)"', found))
    assert "CONSOLE" not in said, said
    assert out["first"] == "alibi rope learned none descending"
    assert out["second"] == "learned rope alibi none ascending"
    assert out["tip"] == "learned at 16 (1x): 1.00, 3 runs false"
    assert out["foot"].startswith("chance")
    assert int(out["lit"]) >= 2
    assert out["wide"] == "true"

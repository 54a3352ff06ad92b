"""The page of a report in a real browser: with and without its script, wide and narrow, light and dark, loading nothing else.

Skipped if no browser is installed; a failure then if RPE_BROWSER=required, as the gate sets it.
"""

import csv
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from helpers.run_folders import make_page

from rpecli.report.heatmap import HeatCell, HeatMap, HeatRow, HeatTask, css
from rpecli.report.measures import ACCURACY
from rpecli.report.write import templates

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
MISSING = "no browser for the report's page: apt-get install chromium, or put Chromium or Chrome on PATH"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
         "--disable-component-update", "--enable-logging=stderr", "--window-size=1400,1000",
         "--allow-file-access-from-files"]  # fmt: skip  # the last one: to read a frame
LIGHT, DARK = "--blink-settings=preferredColorScheme=1", "--blink-settings=preferredColorScheme=0"

FRAME = """<!DOCTYPE html><body><iframe src="page.html" width="WIDTH" height="900" SANDBOX></iframe><script>
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument, out = {};
  (LOOK)(page, out);
  document.body.setAttribute("data-out", JSON.stringify(out));
});
</script></body>"""

SORT_AND_HOVER = """(page, out) => {
  const table = page.querySelector('[aria-label="Token accuracy"] > table'), head = table.tHead.rows[0].cells[4];
  const button = head.querySelector("button");
  const labels = () => Array.from(table.tBodies[0].rows, row => row.cells[0].firstChild.textContent).join(" ");
  button.click(); out.first = labels() + " " + head.getAttribute("aria-sort");
  button.click(); out.second = labels() + " " + head.getAttribute("aria-sort");
  out.foot = table.tFoot ? table.tFoot.textContent : "";
  const Pointer = page.defaultView.PointerEvent, tip = page.getElementById("tip");
  const point = element => element.dispatchEvent(new Pointer("pointerover", { bubbles: true }));
  const series = () => Array.from(page.querySelectorAll(".series.lit"), element => element.dataset.k);
  point(page.querySelector(".series .point"));
  out.tip = tip.textContent; out.hidden = tip.hidden; out.lit = series();
  out.charts = new Set(Array.from(page.querySelectorAll(".series.lit"), element => element.closest("figure"))).size;
  const faded = page.querySelector('figure .series:not(.lit)');
  out.opacity = [getComputedStyle(page.querySelector("figure .series.lit")).opacity, getComputedStyle(faded).opacity];
  point(page.querySelector('.legend [data-k="RoPE"]'));
  out.legend = [tip.hidden, [...new Set(series())]];
  point(page.body);
  out.left = [tip.hidden, series().length, page.body.classList.contains("faded")];
}"""
SORT_ALL = """(page, out) => {
  out.wrong = [];
  for (const fold of page.querySelectorAll("details")) fold.open = true;
  for (const head of page.querySelectorAll("table:not(.heat, .strings) thead th")) {
    const table = head.closest("table"), column = Array.from(head.parentNode.children).indexOf(head);
    const keys = () => Array.from(table.tBodies[0].rows, row => row.cells[column].dataset.v).filter(v => v).map(Number);
    for (const sign of head.classList.contains("l") ? [1, -1] : [-1, 1]) {
      head.querySelector("button").click();
      if (keys().some((v, i, all) => i && sign * (v - all[i - 1]) < 0)) out.wrong.push(head.textContent);
    }
  }
  out.heads = page.querySelectorAll("table:not(.heat, .strings) thead th").length;
}"""
LAYOUT = """(page, out) => {
  const root = page.documentElement, main = page.querySelector("main");
  for (const fold of page.querySelectorAll("details")) fold.open = true;
  out.width = [root.scrollWidth, root.clientWidth];
  out.buttons = page.querySelectorAll("button").length;
  out.text = main.innerText;
  const size = element => element.getBoundingClientRect();
  const visible = element => size(element).width > 20 && size(element).height > 10;
  out.tables = Array.from(page.querySelectorAll("table:not(.heat, .strings)"), visible);
  out.charts = Array.from(page.querySelectorAll("figure svg"), visible);
  out.markers = Array.from(page.querySelectorAll(".series use"), element => size(element).width > 3);
  out.smallest = Math.min(...Array.from(page.querySelectorAll("p, li, td, th"), e => parseFloat(getComputedStyle(e).fontSize)));
  const scale = svg => size(svg).width / svg.viewBox.baseVal.width;
  out.label = Math.min(...Array.from(page.querySelectorAll("figure svg"), svg => 8 * scale(svg)));
  const inside = text => { const box = size(text), svg = size(text.closest("svg"));
    return box.left > svg.left - 3 && box.right < svg.right + 3 && box.bottom < svg.bottom + 3 && box.top > svg.top - 3; };
  out.outside = Array.from(page.querySelectorAll("figure svg text")).filter(text => !inside(text)).map(text => text.textContent);
}"""
FIRST_SCREEN = """(page, out) => {
  const box = selector => page.querySelector(selector).getBoundingClientRect();
  const cards = [1, 2, 3].map(n => `.card:nth-child(${n})`);
  out.ends = [".answer", ...cards, ".heat-wide table"].map(s => box(s).bottom);
  out.tops = [".answer", ".cards", ".heat-wide table"].map(s => box(s).top);
  out.cells = Array.from(page.querySelectorAll(".heat-wide tbody td[class*=h]"), cell => cell.getBoundingClientRect().width);
}"""
LAYOUT_OF_HEAT = """(page, out) => {
  const shown = selector => page.querySelector(selector).getClientRects().length > 0, box = page.querySelector(".heat-wide");
  out.shown = [shown(".heat-wide"), shown(".heat-narrow")];
  out.box = [box.scrollWidth, box.clientWidth];
  out.bottom = box.getBoundingClientRect().bottom;
  const cells = Array.from(box.querySelectorAll("tr:last-child > [scope=col], tbody td[class*=h]"));
  const words = cell => {
    const range = page.createRange();
    range.setStart(cell, 0);
    range.setEnd(cell, Math.min(1, cell.childNodes.length));
    return range.getBoundingClientRect();
  };
  const overlaps = (one, next) => next && words(one).bottom > words(next).top && words(one).top < words(next).bottom
    && words(one).right > words(next).left && words(one).left < words(next).right;
  out.overlaps = cells.filter((cell, n) => overlaps(cell, cells[n + 1])).map(cell => cell.textContent);
}"""
PHONE = """(page, out) => {
  const root = page.documentElement;
  out.width = [root.scrollWidth, root.clientWidth];
  const numbers = selector => Array.from(page.querySelectorAll(selector)).map(cell => cell.textContent).sort();
  out.wide = numbers(".heat-wide tbody td:not(.l)"); out.narrow = numbers(".heat-narrow tbody td:not(.l)");
  const cells = Array.from(page.querySelectorAll(".heat-narrow td, .heat-narrow th"));
  const text = cell => {
    const range = page.createRange();
    range.selectNodeContents(cell);
    return range.getBoundingClientRect();
  };
  out.outside = cells.filter(cell => text(cell).width === 0 || text(cell).left < 0 || text(cell).right > root.clientWidth + .5)
    .map(cell => cell.textContent);
}"""
COPY = """(page, out) => {
  const view = page.defaultView, region = page.querySelector('[aria-label="Exact match"]');
  const written = [];
  Object.defineProperty(view.navigator, "clipboard", { value: { writeText: async text => written.push(text) } });
  for (const button of region.nextElementSibling.querySelectorAll("button")) button.click();
  page.querySelector(".heat-wide + .tools > button").click();
  [out.csv, out.latex, out.heat] = written;
}"""
NARROW = """(page, out) => {
  for (const fold of page.querySelectorAll("details")) fold.open = true;
  const shown = selector => Array.from(page.querySelectorAll(selector)).filter(one => one.getClientRects().length).length;
  out.shown = [shown(".minor"), shown(".range"), shown('[aria-label="Exact match"] td[data-v]')];
  const region = page.querySelector('[aria-label="Exact match"]');
  out.width = [region.scrollWidth, region.clientWidth];
}"""
FOLDS = """(page, out) => {
  const shown = id => !page.getElementById(id).closest("details:not([open])");
  out.before = ["encoding-rope", "term-iqm", "why"].map(shown);
  for (const id of ["encoding-rope", "term-iqm"]) {
    page.defaultView.location.hash = id;
    page.defaultView.dispatchEvent(new Event("hashchange"));
  }
  out.after = ["encoding-rope", "term-iqm", "why"].map(shown);
  out.height = page.documentElement.scrollHeight;
}"""
REQUESTS = (
    """(page, out) => { out.loaded = page.defaultView.performance.getEntriesByType("resource").map(entry => entry.name); }"""
)
CONTRAST = """(page, out) => {
  for (const fold of page.querySelectorAll("details")) fold.open = true;
  const luminance = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ratio = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  const ground = element => {
    for (let parent = element; parent; parent = parent.parentElement) {
      const color = getComputedStyle(parent).backgroundColor;
      if (!/, 0\\)|transparent/.test(color)) return luminance(color);
    }
  };
  const lowest = (selector, property) => Array.from(page.querySelectorAll(selector)).reduce((lowest, element) => {
    const value = ratio(luminance(getComputedStyle(element)[property]), ground(element));
    return value < lowest[0] ? [value, element.className.baseVal ?? element.className, element.textContent.slice(0, 40)] : lowest;
  }, [99]);
  out.ground = getComputedStyle(page.body).backgroundColor;
  out.text = lowest("h1, h2, h3, p, li, td, th, a, code, pre, summary, figcaption, button", "color");
  out.labels = lowest("figure svg text", "fill");
  out.heat = lowest(".heat-wide td", "color");
  out.lines = lowest(".series > path.point, .series:has(use) > path", "stroke");
  out.markers = lowest(".series use", "fill");
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """report.html in a folder of its own, as page.html."""
    if BROWSER is None and os.environ.get("RPE_BROWSER") == "required":
        pytest.fail(MISSING)
    if BROWSER is None:
        pytest.skip(MISSING)
    report = make_page(tmp_path_factory.mktemp("page"))
    return report.rename(report.with_name("page.html"))


def browse(
    page: Path, look: str, *flags: str, width: int = 1200, script: bool = True, address: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """What the function `look` reports of the page in a frame of that width, and the page's own lines on the console."""
    sandbox = "" if script else 'sandbox="allow-same-origin"'
    around = page.with_name("around.html")
    around.write_text(FRAME.replace("WIDTH", str(width)).replace("LOOK", look).replace("SANDBOX", sandbox))
    profile = page.parent / "profile"
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", *flags, "--dump-dom"]
    command.append((address or f"{page.parent.as_uri()}/") + around.name)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | {"HOME": str(profile)})
    match = re.search(r'data-out="([^"]*)"', done.stdout)
    assert match, f"the page did not load: {done.stdout[:2000]}\n{done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "'allow-scripts' permission" not in line]
    return json.loads(unescape(match[1])), console


@pytest.mark.parametrize("width", [1200, 360])
def test_a_browser_sorts_and_hovers_without_an_error(page, width) -> None:
    out, console = browse(page, SORT_AND_HOVER, width=width)
    assert console == []
    assert out["first"] == "ALiBi RoPE Learned APE NoPE descending"
    assert out["second"] == "Learned APE RoPE ALiBi NoPE ascending"
    assert out["foot"].startswith("chance")
    assert (out["tip"], out["hidden"]) == ("Learned APE at 16 (1x): 100 %, 3 runs", False)
    assert {*out["lit"]} == {"Learned APE"}, "one encoding is highlighted"
    assert out["charts"] > 10, "in every chart of the page"
    assert float(out["opacity"][0]) == 1 > 0.2 > float(out["opacity"][1])
    assert out["legend"] == [True, ["RoPE"]]
    assert out["left"] == [True, 0, False]


def test_every_column_of_every_table_sorts(page) -> None:
    out, console = browse(page, SORT_ALL)
    assert (out["wrong"], console) == ([], [])
    assert out["heads"] > 30


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("width", [1200, 360])
def test_a_page_of_any_width_is_whole_with_and_without_its_script(page, width, script) -> None:
    out, console = browse(page, LAYOUT, width=width, script=script)
    assert console == []
    assert out["width"][0] <= out["width"][1] <= width
    assert (out["buttons"] > 0) == script
    for elements in ("tables", "charts", "markers"):
        assert out[elements]
        assert all(out[elements]), elements
    assert out["smallest"] >= 12
    assert out["label"] >= 8
    assert out["outside"] == []
    for words in ("Length extrapolation", "80 %", "95 % interval", "commit", "copy-rope-s0-", "Attention", "distance n"):
        assert words in out["text"]


@pytest.mark.parametrize(("flag", "ground"), [(LIGHT, "rgb(255, 255, 255)"), (DARK, "rgb(20, 23, 27)")], ids=["light", "dark"])
def test_text_lines_and_markers_stand_out_from_either_ground(page, flag, ground) -> None:
    out, _ = browse(page, CONTRAST, flag)
    assert out["ground"] == ground
    assert out["text"][0] >= 4.5, out["text"]
    assert out["labels"][0] >= 4.5, out["labels"]
    assert out["heat"][0] >= 4.5, out["heat"]
    assert out["lines"][0] >= 2, out["lines"]
    assert out["markers"][0] >= 2, out["markers"]


def test_the_first_screen_has_the_answer_the_claims_and_the_heat_map(page) -> None:
    out, console = browse(page, FIRST_SCREEN, width=1400)
    assert console == []
    assert out["tops"] == sorted(out["tops"])
    assert all(0 < end <= 900 for end in out["ends"]), out["ends"]
    assert len(out["cells"]) == 9, "three encodings at three lengths; the fourth has no evaluation"


def heat_page(folder: Path, encodings: int, tasks: int, lengths: int) -> Path:
    """A page with nothing but a heat map."""
    columns = [
        HeatTask(f"Task {n}", 128, [128 * 2**k for k in range(lengths)], ["10"] * lengths, ACCURACY, 1.0) for n in range(tasks)
    ]
    cells = [[HeatCell(100 - 10 * k, 100 - 11 * k, "words", k == 0) for k in range(lengths)] for _ in range(tasks)]
    rows = [HeatRow(f"Encoding ({n})", "RPE", "yours" if n else "reference", cells, 50) for n in range(encodings)]
    heat = HeatMap(columns, rows, sources=True, over="tasks")
    template = '{% extends "page.html.j2" %}{% import "heatmap.html.j2" as heatmap with context %}'
    template += "{% block main %}{{ heatmap.section(heat, {}) }}{% endblock %}"
    file = folder / "page.html"
    file.write_text(templates.environment(is_html=True).from_string(template).render(heat=heat, style=css(heat)))
    return file


@pytest.mark.parametrize(("tasks", "lengths"), [(1, 3), (3, 4), (4, 4), (4, 5), (3, 8), (4, 8), (6, 5)])
def test_a_heat_map_of_any_width_shows_numbers_beside_each_other_where_it_shows_tasks_so(page, tmp_path, tasks, lengths) -> None:
    heat = heat_page(tmp_path, encodings=3, tasks=tasks, lengths=lengths)
    (narrowest,) = re.findall(r"@media \(max-width:(\d+)px\)\{\.heat-wide", heat.read_text())
    out, _ = browse(heat, LAYOUT_OF_HEAT, width=int(narrowest) + 1)
    assert out["shown"] == [True, False]
    assert (out["overlaps"], out["box"][0]) == ([], out["box"][1])


def test_thirty_encodings_on_four_tasks_at_eight_lengths_fit_a_wide_screen_and_a_phone(page, tmp_path) -> None:
    heat = heat_page(tmp_path, encodings=30, tasks=4, lengths=8)
    wide, _ = browse(heat, LAYOUT_OF_HEAT, width=1400)
    assert wide["shown"] == [True, False]
    assert wide["box"][0] <= wide["box"][1], "no scrolling sideways"
    assert wide["bottom"] <= 900
    assert wide["overlaps"] == []
    for width in (390, 360):
        phone, _ = browse(heat, PHONE, width=width)
        assert phone["width"][0] <= phone["width"][1] <= width
        assert phone["outside"] == []
        assert len(phone["narrow"]) == 30 * (4 * 8 + 1) == len(phone["wide"])


def test_a_phone_shows_every_number_of_the_heat_map_without_scrolling_sideways(page) -> None:
    out, console = browse(page, PHONE, width=390)
    assert console == []
    assert out["width"][0] <= out["width"][1] <= 390
    assert out["outside"] == []
    assert {"80", "40", "90", "10", "20", "0"} <= {*out["narrow"]} == {*out["wide"]}


def test_a_table_is_copied_as_csv_and_as_latex(page) -> None:
    out, console = browse(page, COPY)
    assert console == []
    head, *rows = list(csv.reader(out["csv"].splitlines()))
    assert head == ["encoding", "group", "solved", "16 (1x)", "32 (2x)", "64 (4x)", "effective length"]
    assert {row[0]: row[4] for row in rows} == {"Learned APE": "20 %", "ALiBi": "90 %", "RoPE": "80 %", "NoPE": "-"}
    assert out["latex"].startswith("\\begin{tabular}{lrrrrrr}\n\\toprule\nencoding & group & solved & 16 (1x) & ")
    assert "RoPE & RPE & 3/3 & 100 \\% & 80 \\% & 40 \\% & 16 \\\\\n" in out["latex"]
    heat_head, *heat_rows = list(csv.reader(out["heat"].splitlines()))
    assert heat_head == ["Encoding", "Group", "Copy 1x 16", "Copy 2x 32", "Copy 4x 64", "mean beyond"]
    assert heat_rows[0] == ["RoPE", "RPE", "100", "80", "40", "56"]


def test_a_narrow_page_leaves_out_minor_columns_and_ranges(page) -> None:
    wide, _ = browse(page, NARROW, width=1200)
    narrow, _ = browse(page, NARROW, width=390)
    assert wide["shown"][0] > 0
    assert narrow["shown"][:2] == [0, 0]
    assert narrow["shown"][2] > 0
    assert narrow["width"][0] <= narrow["width"][1], "the table needs no scrolling sideways"


def test_a_link_into_a_fold_opens_it(page) -> None:
    out, _ = browse(page, FOLDS)
    assert (out["before"], out["after"]) == ([False, False, True], [True, True, True])


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a folder on a server, and the paths that were requested: a browser counts no requests of files."""
    paths: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Writes nothing."""

        def log_request(self, *_: object) -> None:
            if self.path != "/favicon.ico":  # browsers request that of any server
                paths.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", paths
    finally:
        server.shutdown()
        server.server_close()


def test_a_page_requests_nothing_but_itself(page) -> None:
    with served(page.parent) as (address, paths):
        assert browse(page, REQUESTS, address=address) == ({"loaded": []}, [])
    assert paths == ["/around.html", "/page.html"]


def test_a_page_that_requested_more_would_be_refused_and_noticed(page, tmp_path) -> None:
    text = page.read_text().replace("</main>", '<img src="picture.svg"></main>')
    versions = {"with the policy": text, "without the policy": re.sub("<meta http-equiv[^>]*>", "", text)}
    results = {}
    for name, content in versions.items():
        folder = tmp_path / name  # and a profile: to a file server, a page changed within a second is not modified
        folder.mkdir()
        (folder / "picture.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
        (folder / "page.html").write_text(content)
        with served(folder) as (address, paths):
            results[name] = *browse(folder / "page.html", REQUESTS, address=address), "/picture.svg" in paths
    _, console, requested = results["with the policy"]
    assert "Content Security Policy" in console[0]
    assert not requested
    out, _, requested = results["without the policy"]
    assert out["loaded"][0].endswith("/picture.svg")
    assert requested

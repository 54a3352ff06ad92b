"""The page of a report in a real browser: with and without its script, wide and narrow, light and dark, asking for nothing.

Skipped where no browser is found, a failure there where RPE_BROWSER=required, as the gate sets it.
"""

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

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
MISSING = "no browser for the report's page: apt-get install chromium, or put Chromium or Chrome on PATH"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--enable-logging=stderr",
    "--allow-file-access-from-files",
]  # the last: to read a frame
LIGHT, DARK = "--blink-settings=preferredColorScheme=1", "--blink-settings=preferredColorScheme=0"

FRAME = """<!DOCTYPE html><body><iframe src="page.html" width="WIDE" height="900" SANDBOX></iframe><script>
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument, out = {};
  (LOOK)(page, out);
  document.body.setAttribute("data-out", JSON.stringify(out));
});
</script></body>"""

USE = """(page, out) => {
  const table = page.querySelectorAll("table")[1], head = table.tHead.rows[0].cells[4], button = head.querySelector("button");
  const labels = () => Array.from(table.tBodies[0].rows, row => row.cells[0].firstChild.textContent).join(" ");
  button.click(); out.first = labels() + " " + head.getAttribute("aria-sort");
  button.click(); out.second = labels() + " " + head.getAttribute("aria-sort");
  out.foot = table.tFoot ? table.tFoot.textContent : "";
  const point = page.querySelector(".point path"), Pointer = page.defaultView.PointerEvent;
  point.dispatchEvent(new Pointer("pointerover", { bubbles: true }));
  out.tip = page.getElementById("tip").textContent;
  out.hidden = page.getElementById("tip").hidden;
  out.lit = page.querySelectorAll(".series.lit").length;
}"""
SORT_ALL = """(page, out) => {
  out.wrong = [];
  for (const fold of page.querySelectorAll("details")) fold.open = true;
  for (const head of page.querySelectorAll("thead th")) {
    const table = head.closest("table"), column = Array.from(head.parentNode.children).indexOf(head);
    const keys = () => Array.from(table.tBodies[0].rows, row => row.cells[column].dataset.v).filter(v => v).map(Number);
    for (const sign of head.classList.contains("l") ? [1, -1] : [-1, 1]) {
      head.querySelector("button").click();
      if (keys().some((v, i, all) => i && sign * (v - all[i - 1]) < 0)) out.wrong.push(head.textContent);
    }
  }
  out.heads = page.querySelectorAll("thead th").length;
}"""
LAYOUT = """(page, out) => {
  const root = page.documentElement, main = page.querySelector("main");
  for (const fold of page.querySelectorAll("details")) fold.open = true;
  out.wide = [root.scrollWidth, root.clientWidth];
  out.buttons = page.querySelectorAll("button").length;
  out.text = main.innerText;
  const seen = each => each.getBoundingClientRect().width > 20 && each.getBoundingClientRect().height > 10;
  out.tables = Array.from(page.querySelectorAll("table"), seen);
  out.charts = Array.from(page.querySelectorAll("figure svg"), seen);
  out.small = Math.min(...Array.from(page.querySelectorAll("p, li, td, th"), e => parseFloat(getComputedStyle(e).fontSize)));
}"""
REQUESTS = """(page, out) => { out.asked = page.defaultView.performance.getEntriesByType("resource").map(each => each.name); }"""
CONTRAST = """(page, out) => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ratio = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  const ground = each => {
    for (let at = each; at; at = at.parentElement) {
      const found = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)|transparent/.test(found)) return light(found);
    }
  };
  const least = (selector, property) => Array.from(page.querySelectorAll(selector)).reduce((most, each) => {
    const found = ratio(light(getComputedStyle(each)[property]), ground(each));
    return found < most[0] ? [found, each.className.baseVal ?? each.className, each.textContent.slice(0, 40)] : most;
  }, [99]);
  out.ground = getComputedStyle(page.body).backgroundColor;
  out.text = least("h1, h2, h3, p, li, td, th, a, code, pre, summary, figcaption, button", "color");
  out.labels = least("svg text", "fill");
  out.lines = least(".series path.line", "stroke");
  out.markers = least(".series .point path", "fill");
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """report.html in a folder of its own, as page.html."""
    if BROWSER is None and os.environ.get("RPE_BROWSER") == "required":
        pytest.fail(MISSING)
    if BROWSER is None:
        pytest.skip(MISSING)
    made = make_page(tmp_path_factory.mktemp("page"))
    return made.rename(made.with_name("page.html"))


def browse(
    page: Path, look: str, *flags: str, wide: int = 1200, script: bool = True, address: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """What `look` finds in the page, shown in a frame of that width, and what the console said of the page's own."""
    frame = (
        FRAME.replace("WIDE", str(wide)).replace("LOOK", look).replace("SANDBOX", "" if script else 'sandbox="allow-same-origin"')
    )
    around = page.with_name("around.html")
    around.write_text(frame)
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={page.parent / 'profile'}", "--window-size=1400,1000", *flags]
    home = os.environ | {"HOME": str(page.parent / "profile")}
    done = subprocess.run(
        [*command, "--dump-dom", (address or f"{page.parent.as_uri()}/") + around.name],
        capture_output=True,
        text=True,
        timeout=120,
        env=home,
    )
    found = re.search(r'data-out="([^"]*)"', done.stdout)
    assert found, f"the page did not load: {done.stdout[:2000]}\n{done.stderr[-2000:]}"
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "'allow-scripts' permission" not in line]
    return json.loads(unescape(found.group(1))), said


@pytest.mark.parametrize("wide", [1200, 360])
def test_a_browser_sorts_and_hovers_without_an_error(page, wide):
    out, said = browse(page, USE, wide=wide)
    assert said == []
    assert out["first"] == "alibi rope learned none descending"
    assert out["second"] == "learned rope alibi none ascending"
    assert (out["tip"], out["hidden"]) == ("learned at 16 (1x): 1.00, 3 runs", False)
    assert out["foot"].startswith("chance")
    assert out["lit"] >= 2


def test_every_column_of_every_table_sorts(page):
    out, said = browse(page, SORT_ALL)
    assert (out["wrong"], said) == ([], [])
    assert out["heads"] > 30


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("wide", [1200, 360])
def test_a_page_of_any_width_is_whole_with_and_without_its_script(page, wide, script):
    out, said = browse(page, LAYOUT, wide=wide, script=script)
    assert said == []
    assert out["wide"][0] <= out["wide"][1] <= wide
    assert (out["buttons"] > 0) == script
    assert out["tables"]
    assert out["charts"]
    assert all(out["tables"] + out["charts"])
    assert out["small"] >= 12
    words = ("Length extrapolation", ".80", "95 % interval", "commit", "copy-rope-s0-", "Where and why heads look", "distance n")
    for word in words:
        assert word in out["text"]


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a folder, and what was asked of it: a browser counts no requests of files."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def log_request(self, *_: object) -> None:
            if self.path != "/favicon.ico":  # browsers ask any server for that
                asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_page_asks_for_nothing_but_itself(page):
    with served(page.parent) as (address, asked):
        assert browse(page, REQUESTS, address=address) == ({"asked": []}, [])
    assert asked == ["/around.html", "/page.html"]


def test_a_page_that_asked_for_more_would_be_refused_it_and_found_out(page, tmp_path):
    text = page.read_text().replace("</main>", '<img src="picture.svg"></main>')
    found = {}
    for name, content in {"as it is": text, "without the policy": re.sub("<meta http-equiv[^>]*>", "", text)}.items():
        folder = tmp_path / name  # and a profile: a page changed within a second is not modified, says a server of files
        folder.mkdir()
        (folder / "picture.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
        (folder / "page.html").write_text(content)
        with served(folder) as (address, asked):
            found[name] = browse(folder / "page.html", REQUESTS, address=address), "/picture.svg" in asked
    (_, said), asked = found["as it is"]
    assert "Content Security Policy" in said[0]
    assert not asked
    (out, _), asked = found["without the policy"]
    assert out["asked"][0].endswith("/picture.svg")
    assert asked

"""What report.html looks like and what it does beyond that: one style sheet and one script, both written into the page."""

CSS = """
:root { color-scheme: light dark; --ground: #ffffff; --soft: #f4f5f7; --line: #d9dce1; --text: #1b1f24; --quiet: #5b6470;
  --link: #0a58ca; --good: #00664d; --bad: #a33b00; --open: #5b4a00; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --soft: #1d2127; --line: #363c45; --text: #e7eaee;
  --quiet: #a3acb8; --link: #7db4ff; --good: #5fd3b0; --bad: #ffa06b; --open: #e8cf6a; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.75rem 0 .5rem; }
p, li { max-width: 48rem; }
h2, p, li { overflow-wrap: anywhere; }
a { color: var(--link); }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .75rem 0; font-size: .92rem; }
code, pre { font: .86em/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .75rem; overflow-x: auto; border-radius: 6px; }
.quiet, .caption, .note { color: var(--quiet); font-size: .9rem; }
.claims { display: grid; gap: .9rem; }
.claim { background: var(--soft); border: 1px solid var(--line); border-left: .35rem solid var(--open); border-radius: 6px;
  padding: .75rem .9rem; }
.claim h3 { margin: 0; }
.claim .outcome { font-weight: 650; color: var(--open); margin: .15rem 0 .4rem; }
.claim.supported { border-left-color: var(--good); } .claim.supported .outcome { color: var(--good); }
.claim.contradicted { border-left-color: var(--bad); } .claim.contradicted .outcome { color: var(--bad); }
.claim ul { margin: 0; padding-left: 1.1rem; font-size: .92rem; } .claim li:first-child { font-size: 1rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .6rem; white-space: nowrap; text-align: right; border-bottom: 1px solid var(--line); }
th.l, td.l { text-align: left; }
thead th { background: var(--soft); vertical-align: bottom; }
tbody tr:last-child td, tbody tr:last-child th, tfoot tr:last-child th { border-bottom: 0; }
tfoot th, tfoot td { color: var(--quiet); border-top: 1px solid var(--line); font-weight: 400; }
tbody th, tfoot th { font-weight: 500; position: sticky; left: 0; background: var(--ground); text-align: left; }
tbody tr:hover td, tbody tr:hover th { background: var(--soft); }
thead button { font: inherit; font-weight: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
thead button::after { content: " \\2195"; color: var(--quiet); }
th[aria-sort=ascending] button::after { content: " \\2191"; color: inherit; }
th[aria-sort=descending] button::after { content: " \\2193"; color: inherit; }
sup { line-height: 0; color: var(--quiet); }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .9rem; font-weight: 600; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--quiet); font: 11px system-ui, sans-serif; }
.grid { stroke: var(--line); stroke-width: .7; } .end { stroke: var(--quiet); stroke-dasharray: 1.5 3; }
.chance { stroke: var(--quiet); stroke-dasharray: 6 4; fill: none; }
.series path.line { fill: none; stroke-width: 1.8; } .series .band { opacity: .13; stroke: none; }
.bar { fill: var(--link); } svg text.in { fill: var(--text); text-anchor: middle; }
.series .point path { stroke: var(--ground); stroke-width: .8; }
.faded .series:not(.lit) { opacity: .14; }
.legend, .legend ul { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; padding: 0; margin: 0; list-style: none; }
.legend { margin: .5rem 0 1rem; gap: .35rem 2rem; font-size: .9rem; }
.legend li { display: flex; align-items: center; gap: .4rem; cursor: default; } .legend svg { width: 2.4rem; flex: none; }
.legend .head { font-weight: 600; }
details { margin: .5rem 0; } summary { cursor: pointer; } summary > * { display: inline; border: 0; }
details[open] > summary { margin-bottom: .5rem; }
.runs code { overflow-wrap: anywhere; }
#tip { position: absolute; z-index: 2; max-width: 18rem; padding: .3rem .55rem; border-radius: 5px; font-size: .85rem;
  background: var(--text); color: var(--ground); pointer-events: none; }
@media print { .scroll { overflow: visible; } details > * { display: block; } }
"""

SCRIPT = """
"use strict";
function key(cell) { return cell.hasAttribute("data-v") ? Number(cell.getAttribute("data-v")) : null; }
function order(a, b, up) {
  const x = key(a), y = key(b);
  if (x === null || y === null) {
    if (x !== null || y !== null) return x === null ? 1 : -1;
    return (up ? 1 : -1) * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  }
  return up ? x - y : y - x;
}
function sort(head, column) {
  const table = head.closest("table"), up = head.getAttribute("aria-sort") === "descending" ||
    (head.classList.contains("l") && head.getAttribute("aria-sort") !== "ascending");
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const body = table.tBodies[0], rows = Array.from(body.rows);
  rows.sort((a, b) => order(a.cells[column], b.cells[column], up));
  for (const row of rows) body.append(row);
}
for (const head of document.querySelectorAll("thead th")) {
  const button = document.createElement("button"), column = Array.from(head.parentNode.children).indexOf(head);
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(head, column));
  head.append(button);
}
function unfold() {
  const target = location.hash ? document.getElementById(location.hash.slice(1)) : null;
  const folded = target ? target.closest("details") : null;
  if (folded && !folded.open) { folded.open = true; target.scrollIntoView(); }
}
addEventListener("hashchange", unfold);
unfold();
const tip = document.createElement("div");
tip.id = "tip"; tip.hidden = true; tip.setAttribute("role", "status");
document.body.append(tip);
for (const title of document.querySelectorAll(".point > title")) {
  title.parentNode.dataset.tip = title.textContent;
  title.remove();
}
function light(name) {
  document.body.classList.toggle("faded", name !== undefined);
  for (const each of document.querySelectorAll(".series")) each.classList.toggle("lit", each.dataset.k === name);
}
function over(event) {
  const found = event.target.closest ? event.target.closest("[data-k]") : null;
  const point = event.target.closest ? event.target.closest(".point") : null;
  light(found ? found.dataset.k : undefined);
  tip.hidden = !point;
  if (!point) return;
  tip.textContent = point.dataset.tip;
  const box = point.getBoundingClientRect(), wide = document.documentElement.clientWidth;
  tip.style.left = Math.max(4, Math.min(box.left + 12, wide - tip.offsetWidth - 4)) + scrollX + "px";
  tip.style.top = box.top + scrollY - tip.offsetHeight - 8 + "px";
}
document.addEventListener("pointerover", over);
document.addEventListener("focusin", over);
document.addEventListener("focusout", () => light());
"""

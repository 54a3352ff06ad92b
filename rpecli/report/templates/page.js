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
for (const head of document.querySelectorAll("table:not(.heat, .strings) > thead th")) {
  const button = document.createElement("button"), column = Array.from(head.parentNode.children).indexOf(head);
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(head, column));
  head.append(button);
}
function words(cell) {
  const copy = cell.cloneNode(true);
  for (const mark of copy.querySelectorAll("sup")) mark.remove();
  for (const below of copy.querySelectorAll("small, br")) below.before(" ");
  return copy.textContent.trim().replace(/\s+/g, " ");
}
function grid(table) {
  const lines = Array.from(table.rows, () => []);
  Array.from(table.rows).forEach((row, y) => {
    for (const cell of row.cells) {
      let x = 0;
      while (lines[y][x] !== undefined) x++;
      for (let down = 0; down < cell.rowSpan; down++) for (let right = 0; right < cell.colSpan; right++)
        lines[y + down][x + right] = down ? "" : words(cell);
    }
  });
  const count = table.tHead.rows.length;
  const head = lines[0].map((_, x) => lines.slice(0, count).map(line => line[x]).filter(text => text).join(" "));
  return [head, ...lines.slice(count)];
}
const quoted = text => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
const escaped = text => text.replace(/[\\&%$#_{}~^]/g, sign => ({ "\\": "\\textbackslash{}", "~": "\\textasciitilde{}",
  "^": "\\textasciicircum{}" })[sign] ?? "\\" + sign).replace(/[<>|]/g, "$$$&$$");
const formats = {
  CSV: lines => lines.map(line => line.map(quoted).join(",") + "\n").join(""),
  LaTeX: ([head, ...body]) => `\\begin{tabular}{l${"r".repeat(head.length - 1)}}\n\\toprule\n` +
    [head, ...body].map((line, y) => line.map(escaped).join(" & ") + " \\\\\n" + (y ? "" : "\\midrule\n")).join("") +
    "\\bottomrule\n\\end{tabular}\n",
};
async function copy(button, text) {
  try { await navigator.clipboard.writeText(text); } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
}
for (const table of document.querySelectorAll(".scroll > table, .heat-wide > table")) {
  const tools = document.createElement("div");
  tools.className = "tools";
  for (const [name, text] of Object.entries(formats)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Copy ${name}`;
    button.addEventListener("click", () => copy(button, text(grid(table))));
    tools.append(button);
  }
  table.parentNode.after(tools);
}
function unfold() {
  const target = location.hash ? document.getElementById(location.hash.slice(1)) : null;
  for (let folded = target?.closest("details"); folded; folded = folded.parentNode.closest("details")) folded.open = true;
  if (target?.tagName === "H2") target.parentNode.querySelector(":scope > details:only-of-type")?.setAttribute("open", "");
  target?.scrollIntoView();
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
for (const cell of document.querySelectorAll(".heat [title]")) {
  cell.dataset.tip = cell.title;
  cell.classList.add("point");
  cell.removeAttribute("title");
}
function highlight(name) {
  document.body.classList.toggle("faded", name !== undefined);
  for (const series of document.querySelectorAll("[data-k]")) series.classList.toggle("lit", series.dataset.k === name);
}
function over(event) {
  const series = event.target.closest ? event.target.closest("[data-k]") : null;
  const point = event.target.closest ? event.target.closest(".point") : null;
  highlight(series ? series.dataset.k : undefined);
  tip.hidden = !point;
  if (!point) return;
  tip.textContent = point.dataset.tip;
  const box = point.getBoundingClientRect(), width = document.documentElement.clientWidth;
  tip.style.left = Math.max(4, Math.min((event.clientX ?? box.left) + 12, width - tip.offsetWidth - 4)) + scrollX + "px";
  tip.style.top = (event.clientY ?? box.top) + scrollY - tip.offsetHeight - 12 + "px";
}
document.addEventListener("pointerover", over);
document.addEventListener("focusin", over);
document.addEventListener("focusout", () => highlight());

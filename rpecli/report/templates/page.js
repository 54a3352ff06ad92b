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
for (const head of document.querySelectorAll("table:not(.heat) > thead th")) {
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

"use strict";
// Sorting, filtering, switching curves, copying. The page shows everything without this script.

for (const part of document.querySelectorAll("[data-needs-script]")) part.hidden = false;

const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function valueOf(row, column) {
  const cell = row.cells[column];
  const text = cell.textContent.trim();
  if (text === "-" || text === "") return null;
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const number = Number.parseFloat(text.replace("−", "-"));
  return /^[-−]?[\d.]/.test(text) && !Number.isNaN(number) ? number : text;
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return order.compare(String(one), String(other));
}

function sort(table, header) {
  const column = header.cellIndex;
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const cell of header.parentElement.cells) cell.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const keyed = Array.from(body.rows, (row, place) => ({ row, place, value: valueOf(row, column) }));
  keyed.sort((one, other) => {
    if (one.value === null || other.value === null) {
      return (one.value === null) - (other.value === null) || one.place - other.place;
    }
    const sign = compare(one.value, other.value);
    return (descending ? -sign : sign) || one.place - other.place;
  });
  body.append(...keyed.map((item) => item.row));
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(table, header));
  }
}

for (const input of document.querySelectorAll("[data-filters]")) {
  const table = document.getElementById(input.dataset.filters);
  const count = document.getElementById(`${input.dataset.filters}-count`);
  const rows = Array.from(table.tBodies[0].rows, (row) => [row, row.textContent.toLowerCase()]);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
  });
}

for (const box of document.querySelectorAll("[data-switches]")) {
  const figure = document.getElementById(box.dataset.figure);
  const curves = figure.querySelectorAll(`[data-series="${box.dataset.switches}"]`);
  box.addEventListener("change", () => {
    for (const curve of curves) {
      if (box.checked) curve.removeAttribute("visibility");
      else curve.setAttribute("visibility", "hidden");
    }
  });
}

for (const button of document.querySelectorAll("[data-copies]")) {
  const source = document.getElementById(button.dataset.copies);
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(source);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected: press Ctrl+C";
    }
  });
}

// Print every part, also those that are closed or switched off.
let closed = [];
let hidden = [];
addEventListener("beforeprint", () => {
  closed = Array.from(document.querySelectorAll("details:not([open])"));
  for (const part of closed) part.open = true;
  hidden = Array.from(document.querySelectorAll('svg [visibility="hidden"]'));
  for (const curve of hidden) curve.removeAttribute("visibility");
});
addEventListener("afterprint", () => {
  for (const part of closed) part.open = false;
  for (const curve of hidden) curve.setAttribute("visibility", "hidden");
});

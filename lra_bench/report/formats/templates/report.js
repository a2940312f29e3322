"use strict";

const THEMES = ["auto", "light", "dark"];
const THEME_KEY = "lra-bench-theme";

// Storage may be forbidden, as some browsers do for files: the page then forgets, and works.
function remembered() {
  try {
    return localStorage.getItem(THEME_KEY);
  } catch {
    return null;
  }
}

function remember(theme) {
  try {
    localStorage.setItem(THEME_KEY, theme);
  } catch {}
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

function startTheme(button) {
  const show = () => (button.textContent = `Theme: ${document.documentElement.dataset.theme}`);
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    setTheme(next);
    remember(next);
    show();
  });
  show();
}

const LAID_OUT = 200; // rows of a table, until its reader asks for all: laying out 10,000 takes seconds
const collator = new Intl.Collator("en", { numeric: true });
const query = { words: [], status: "" };

// What a cell is sorted by: a number, a text, or null where there is nothing.
function sortKey(cell) {
  const text = cell.dataset.value ?? cell.textContent;
  if (text === "") return null;
  const number = Number(text);
  return Number.isNaN(number) ? text : number;
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return sign * (typeof a === "number" ? a - b : collator.compare(a, b));
}

function makeButton(...content) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...content);
  return button;
}

// A table whose rows are sorted and narrowed in their groups, which keep their places and their headings.
class Rows {
  constructor(table) {
    this.table = table;
    this.headers = Array.from(table.tHead.rows[0].cells);
    this.statusColumn = this.headers.findIndex((header) => "status" in header.dataset);
    this.summary = table.closest("details")?.querySelector("summary");
    this.size = this.groups().reduce((sum, { rows }) => sum + rows.length, 0);
    this.most = LAID_OUT;
    this.texts = new Map();
    this.headers.forEach((header, column) => this.addSorting(header, column));
    this.more = makeButton();
    this.more.className = "more";
    this.more.addEventListener("click", () => {
      this.most = Infinity;
      this.show();
    });
    table.parentElement.after(this.more);
    this.show();
  }

  groups() {
    return Array.from(this.table.tBodies, (body) => {
      const heading = body.querySelector(".group");
      return { body, heading, rows: Array.from(body.rows).slice(heading ? 1 : 0) };
    });
  }

  addSorting(header, column) {
    const name = header.firstElementChild;
    const button = makeButton(...name.childNodes);
    name.replaceWith(button);
    button.addEventListener("click", () => {
      const down = header.getAttribute("aria-sort") === "ascending";
      for (const other of this.headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      this.sort(column, down ? -1 : 1);
      this.show();
    });
  }

  sort(column, sign) {
    for (const { body, rows } of this.groups()) {
      const keyed = rows.map((row) => [sortKey(row.cells[column]), row]);
      keyed.sort(([a], [b]) => compare(a, b, sign));
      const next = body.nextSibling;
      body.remove(); // rows move faster outside of the document
      for (const [, row] of keyed) body.append(row);
      this.table.insertBefore(body, next);
    }
  }

  fits(row) {
    if (query.words.length === 0 && query.status === "") return true;
    if (!this.texts.has(row)) {
      const cells = Array.from(row.cells, (cell) => cell.textContent);
      this.texts.set(row, { all: cells.join("\n").toLowerCase(), status: cells[this.statusColumn] });
    }
    const { all, status } = this.texts.get(row);
    const ended = query.status === "" || status === undefined || status === query.status;
    return ended && query.words.every((word) => all.includes(word));
  }

  // Shows the rows that fit the query, and returns how many do.
  show() {
    let fitting = 0;
    for (const { heading, rows } of this.groups()) {
      const before = fitting;
      for (const row of rows) {
        const fits = this.fits(row);
        const hidden = !fits || fitting >= this.most;
        if (row.hidden !== hidden) row.hidden = hidden;
        if (fits) fitting += 1;
      }
      if (heading) heading.hidden = fitting === before;
    }
    this.more.hidden = fitting <= this.most;
    this.more.textContent = `Show all ${fitting.toLocaleString("en")} rows`;
    if (this.summary) {
      if (fitting < this.size) this.summary.dataset.matches = `${fitting.toLocaleString("en")} match`;
      else delete this.summary.dataset.matches;
    }
    return fitting;
  }
}

function startFilter(tables, filter, status, output) {
  const total = tables.reduce((sum, table) => sum + table.size, 0);
  const apply = () => {
    query.words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    query.status = status.value;
    const fitting = tables.reduce((sum, table) => sum + table.show(), 0);
    output.textContent = `${fitting.toLocaleString("en")} of ${total.toLocaleString("en")} rows match`;
  };
  filter.addEventListener("input", apply);
  status.addEventListener("change", apply);
  apply(); // a browser may bring back what was typed when a page is reloaded
}

// Paper shows the short parts that are folded away on the screen; not thousands of trials.
function startPrinting() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = Array.from(document.querySelectorAll("details.brief:not([open])"));
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
}

setTheme(THEMES.includes(remembered()) ? remembered() : "auto"); // before anything is painted

addEventListener("DOMContentLoaded", () => {
  const byId = (id) => document.getElementById(id);
  const tables = Array.from(document.querySelectorAll("table.sortable"), (table) => new Rows(table));
  startFilter(tables, byId("filter"), byId("status"), byId("matching"));
  startTheme(byId("theme"));
  startPrinting();
  document.querySelector(".controls").hidden = false;
});

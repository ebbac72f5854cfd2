/** Tables of figures that scroll in a box of their own where the page is narrow. */

import { el } from "./dom.js";

/**
 * Return a table.
 * @param {string} name what it holds, for a reader of screens
 * @param {string[]} columns
 * @param {(string|Node)[][]} lines cells; the first of a line names it
 * @param {{text?: number[], foot?: (string|Node)[], kinds?: string[]}} [more] text: columns of words, to the left; foot: a
 *   last line; kinds: a class for each line
 */
export function dataTable(name, columns, lines, { text = [], foot = null, kinds = [] } = {}) {
  const kind = (index) => (text.includes(index) ? "text" : null);
  const head = columns.map((title, index) => el("th", { scope: "col", class: kind(index) }, title));
  const cells = (line) =>
    line.map((cell, index) => (index === 0 ? el("th", { scope: "row" }, cell) : el("td", { class: kind(index) }, cell)));
  const body = lines.map((line, index) => el("tr", { class: kinds[index] ?? null }, ...cells(line)));
  const end = foot === null ? null : el("tfoot", {}, el("tr", {}, ...cells(foot)));
  const made = el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body), end);
  return el("div.scroll", { tabindex: "0", role: "region", "aria-label": name }, made);
}

/** Horizontal bars with a label and a figure each; another bar of the same row can stand behind as an outline. */

import { el } from "./dom.js";

/**
 * @typedef {Object} Bar
 * @property {string} label
 * @property {number} value from 0 to 1
 * @property {string} figure the value in words
 * @property {number} [ghost] from 0 to 1: drawn as an outline
 * @property {string} [kind] "cut" for what was removed, "chosen" for what was drawn
 */

/**
 * A list of bars.
 * @param {HTMLElement} root
 * @param {string} name what the bars show, for a screen reader
 * @returns {{show: function(Bar[]): void}}
 */
export function bars(root, name) {
  const list = el("ol", { class: "bars", "aria-label": name });
  root.append(list);
  return { show: (rows) => list.replaceChildren(...rows.map(bar)) };
}

function bar({ label, value, figure, ghost = null, kind = "" }) {
  const track = el("span", { class: "track", "aria-hidden": "true" });
  if (ghost !== null) track.append(piece("ghost", ghost));
  track.append(piece("fill", value));
  const words = el("span", { class: "token-label" }, label);
  return el("li", { class: kind, "data-label": label }, words, track, el("span", { class: "figure" }, figure));
}

function piece(kind, share) {
  const node = el("span", { class: kind });
  node.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return node;
}

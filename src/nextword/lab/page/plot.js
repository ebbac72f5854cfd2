/** Lines over a common axis as SVG, drawn at the width of their place and again when that changes. */

import { el, svg } from "./dom.js";

const HEIGHT = 220;
const MARGIN = { left: 46, right: 14, top: 12, bottom: 36 };
const TICKS = 5;
/** Pixels of the page's letters for which the sizes here are meant. */
const USUAL_FONT_SIZE = 16;

/**
 * @typedef {Object} Line
 * @property {string} name
 * @property {number[]} xs
 * @property {number[]} ys
 * @property {string} kind class of the line, which gives its colour
 * @property {boolean} [dots] true: a dot at each point
 */

/**
 * A chart of lines with axes and a legend.
 * @param {HTMLElement} root
 * @param {{x: string, y: string, fromZero?: boolean}} axes names of the axes; fromZero: the vertical one begins at 0
 * @returns {{show: function(Line[], string=): void}} show takes the lines and a sentence for a screen reader
 */
export function plot(root, axes) {
  const figure = el("figure", { class: "plot" });
  root.append(figure);
  let drawn = () => {};
  new ResizeObserver(() => drawn()).observe(figure);
  return {
    show(lines, words = "") {
      drawn = () => figure.clientWidth && figure.replaceChildren(...parts(figure.clientWidth, unitOf(figure), lines, axes, words));
      drawn();
    },
  };
}

/** Return by how much a chart is larger here than on a usual screen: as the page's letters are. */
const unitOf = (node) => parseFloat(getComputedStyle(node).fontSize) / USUAL_FONT_SIZE;

function parts(space, unit, lines, axes, words) {
  const width = space / unit;
  const shown = lines.filter((line) => line.xs.length > 0);
  if (shown.length === 0) return [];
  const xs = shown.flatMap((line) => line.xs);
  const ys = shown.flatMap((line) => line.ys);
  const across = scale(range(xs), MARGIN.left, width - MARGIN.right);
  const up = scale(rounded(range(axes.fromZero ? [0, ...ys] : ys)), HEIGHT - MARGIN.bottom, MARGIN.top);
  const label = `${axes.y} over ${axes.x}. ${words}`;
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT}`, width: space, height: HEIGHT * unit, role: "img", "aria-label": label },
    ...horizontals(width, up),
    ...verticals(across),
    svg("text", { x: (MARGIN.left + width) / 2, y: HEIGHT - 4, class: "axis-name middle" }, axes.x),
    ...shown.flatMap((line) => curve(line, across, up)),
  );
  return [legend(axes.y, shown), picture];
}

function legend(name, lines) {
  const entries = lines.map((line) => el("span", { class: `legend-entry ${line.kind}` }, line.name));
  return el("figcaption", {}, el("span", { class: "axis-name" }, name), ...(lines.length > 1 ? entries : []));
}

function curve(line, across, up) {
  const points = line.xs.map((x, index) => [across.place(x), up.place(line.ys[index])]);
  const path = svg("polyline", { class: `line ${line.kind}`, points: points.map((point) => point.join(",")).join(" ") });
  if (!line.dots) return [path];
  return [path, ...points.map(([cx, cy]) => svg("circle", { class: `dot ${line.kind}`, cx, cy, r: 3 }))];
}

function horizontals(width, up) {
  return ticks(up).flatMap((value) => [
    svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: up.place(value), y2: up.place(value) }),
    svg("text", { class: "tick end", x: MARGIN.left - 6, y: up.place(value) + 4 }, shortNumber(value)),
  ]);
}

function verticals(across) {
  return ticks(across).map((value) =>
    svg("text", { class: "tick middle", x: across.place(value), y: HEIGHT - MARGIN.bottom + 16 }, shortNumber(value)),
  );
}

function range(values) {
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  return [low, high > low ? high : low + 1];
}

function scale([low, high], start, end) {
  const place = (value) => Number((start + ((value - low) / (high - low)) * (end - start)).toFixed(1));
  return { low, high, place };
}

/** Return the range from the tick below its values to the one above. */
function rounded([low, high]) {
  const step = stepOf({ low, high });
  return [Math.floor(low / step) * step, Math.ceil(high / step - 1e-9) * step];
}

/** Return the distance of round numbers of which about five lie in a range. */
function stepOf({ low, high }) {
  const unit = 10 ** Math.floor(Math.log10((high - low) / TICKS));
  return [1, 2, 5, 10].map((factor) => factor * unit).find((size) => size * TICKS >= (high - low) * 0.999);
}

/** Round numbers within a range, about five of them. */
function ticks({ low, high }) {
  const step = stepOf({ low, high });
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, index) => (first + index) * step);
}

const shortNumber = (value) => String(Number(value.toPrecision(6)));

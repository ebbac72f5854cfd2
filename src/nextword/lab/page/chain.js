/**
 * The distribution of one position, step by step: a row for each token, a column for each step of the chain.
 *
 * Everything is one SVG, so that it can be saved as it stands. What a step removes stays in its row, in grey, with the
 * step's name. Above the rows lies the cumulated bar of the last step: tokens in the order of their ids, as the draw
 * counts them, with the drawn number as a line.
 */

import { onWidth, svg } from "./dom.js";
import { oneLine, percent, whole } from "./format.js";
import { spelled } from "./parameters.js";

const SMALLEST = 1e-6;
const NARROW = 30;

/**
 * Show distributions in `root`. `onPick(row)`: called for a click or Enter on a row.
 * Returns {show(position, {isLog}), node()}: `position` is one of /v1/distribution, `node()` the SVG that stands.
 */
export function chainView(root, { onPick }) {
  let shown = null;
  let cursor = 0;
  const redraw = () => {
    if (!shown || !root.clientWidth) return;
    const hadFocus = root.contains(document.activeElement);
    const drawing = draw(shown.position, { ...shown.options, width: root.clientWidth, em: emOf(root) });
    root.replaceChildren(drawing);
    cursor = Math.min(cursor, shown.position.rows.length - 1);
    mark(root, cursor);
    if (hadFocus) drawing.querySelector(".rows").focus({ preventScroll: true });
  };
  root.addEventListener("click", (event) => {
    const found = event.target.closest(".entry");
    if (found) onPick(shown.position.rows[Number(found.dataset.index)]);
  });
  root.addEventListener("keydown", (event) => {
    const count = shown?.position.rows.length ?? 0;
    const next = { ArrowDown: cursor + 1, ArrowUp: cursor - 1, Home: 0, End: count - 1 }[event.key];
    if (!event.target.closest(".rows") || !count || (next === undefined && event.key !== "Enter")) return;
    event.preventDefault();
    if (event.key === "Enter") onPick(shown.position.rows[cursor]);
    else mark(root, (cursor = Math.min(Math.max(next, 0), count - 1)));
  });
  const end = onWidth(root, redraw);
  return {
    show(position, options) {
      shown = { position, options };
      redraw();
    },
    node: () => root.querySelector("svg"),
    end,
  };
}

function emOf(node) {
  return parseFloat(getComputedStyle(node).fontSize);
}

/** Mark the row that the keys have reached. */
function mark(root, cursor) {
  const rows = root.querySelector(".rows");
  rows.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
  const found = rows.querySelector(`[data-index="${cursor}"]`);
  found?.setAttribute("aria-selected", "true");
  found?.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (found) rows.setAttribute("aria-activedescendant", found.id);
}

/** Return the SVG of a distribution. `width` and `em` in pixels. */
export function draw(position, { isLog = false, width, em }) {
  const { steps, rows } = position;
  const isNarrow = width < NARROW * em;
  const label = (isNarrow ? 6.4 : 9) * em;
  const column = Math.max((width - label) / steps.length, (isNarrow ? 5.6 : 6.2) * em);
  const size = { em, label, column, row: 1.55 * em, width: Math.max(label + column * steps.length, width) };
  const bar = cumulatedBar(position, size);
  const top = bar.height + 4.3 * em;
  const longest = scaleOf(rows, isLog);
  const entries = rows.map((row, index) => entry(position, row, { index, y: top + index * size.row, size, longest }));
  const height = top + rows.length * size.row + 0.4 * em;
  return svg(
    "svg.chain",
    { width: size.width, height, viewBox: `0 0 ${size.width} ${height}` },
    bar.node,
    header(steps, bar.height, size),
    svg("g.rows", { role: "listbox", tabindex: 0, "aria-label": "Tokens by probability; Enter takes one" }, ...entries),
  );
}

/** Return a function from a probability to the share of a column that its bar fills. */
function scaleOf(rows, isLog) {
  if (isLog) return (p) => Math.max(1 - Math.log(Math.max(p, SMALLEST)) / Math.log(SMALLEST), 0);
  const largest = Math.max(...rows.flatMap((row) => row.probabilities.filter((one) => one !== null)), SMALLEST);
  return (p) => p / largest;
}

function header(steps, y, { em, label, column }) {
  const columns = steps.map((step, index) => {
    const x = label + index * column;
    const cut = index ? Math.max(steps[index - 1].mass - step.mass, 0) : 0;
    const kept = index && step.num_tokens < steps[index - 1].num_tokens ? `keeps ${whole(step.num_tokens)}` : whole(step.num_tokens);
    const lines = [kept, ...(cut > 0 ? [`cuts ${percent(cut)}`] : []), `entropy ${step.entropy.toFixed(3)}`];
    return svg(
      "g.step",
      { "data-step": step.name },
      svg("title", {}, step.help ?? ""),
      text(spelled(step.name), x, y + 1.1 * em, "name"),
      ...lines.map((line, at) => text(line, x, y + (2.05 + 0.85 * at) * em, "note")),
    );
  });
  return svg("g.header", { "aria-hidden": "true" }, ...columns);
}

/** Return one row: its label, and a bar with its figure in each column up to the step that removed it. */
function entry(position, row, { index, y, size, longest }) {
  const { em, label, row: height, width } = size;
  const isDrawn = position.draw?.token_id === row.token_id;
  const stands = position.token?.token_id === row.token_id;
  const names = [row.removed_by ? "gone" : null, isDrawn ? "drawn" : null, stands ? "stands" : null].filter(Boolean);
  const marks = `${isDrawn ? "●" : ""}${stands ? "▸" : ""}`;
  const node = svg(
    "g.entry",
    { role: "option", id: `row-${index}`, "data-index": index, "data-token": row.token_id, "aria-selected": "false" },
    svg("title", {}, title(row)),
    svg("rect.back", { x: 0, y, width, height, rx: 3 }),
    text(marks, 1.05 * em, y + 1.08 * em, "marks", "end"),
    text(fitted(oneLine(row), (label - 1.6 * em) / em), 1.3 * em, y + 1.08 * em, "token"),
    ...row.probabilities.map((p, step) => cell(row, p, { step, y, size, longest, steps: position.steps })),
  );
  node.setAttribute("aria-label", spoken(row, position, isDrawn));
  node.classList.add(...names);
  return node;
}

function cell(row, p, { step, y, size, longest, steps }) {
  const { em, label, column, row: height } = size;
  const x = label + step * column;
  const before = step ? row.probabilities[step - 1] : null;
  if (p === null && before === null) return svg("g");
  const room = column - 4.6 * em;
  const bar = (value, name) => svg(`rect.${name}`, { x, y: y + 0.28 * em, height: height - 0.5 * em, width: Math.max(longest(value) * room, 1), rx: 1.5 });
  if (p === null) {
    const reason = `✕ ${spelled(steps[step].name)}`;
    return svg("g.removed", {}, bar(before, "bar-gone"), text(reason, x + Math.max(longest(before) * room, 1) + 0.3 * em, y + 1.05 * em, "reason"));
  }
  const raw = step ? [bar(row.probabilities[0], "bar-raw")] : [];
  const end = Math.max(longest(p), step ? longest(row.probabilities[0]) : 0) * room;
  return svg("g.kept", {}, ...raw, bar(p, "bar"), text(percent(p), x + Math.max(end, 1) + 0.3 * em, y + 1.05 * em, "figure"));
}

/** Return the bar of the last step, cumulated from 0 to 1, and its height; none where no number is drawn. */
function cumulatedBar({ rows, draw: drawn, token }, { em, width }) {
  if (!drawn || drawn.number === null) return { node: svg("g"), height: 0 };
  const [y, height] = [1.5 * em, 1.5 * em];
  const parts = rows.filter((row) => row.cumulated).map((row) => segment(row, drawn, token, { y, height, width, em }));
  const x = drawn.number * width;
  const label = `drawn number ${drawn.number.toFixed(6)}`;
  const isLeft = x > width / 2;
  const line = svg(
    "g.number",
    {},
    svg("line", { x1: x, x2: x, y1: 0.3 * em, y2: y + height + 0.4 * em }),
    text(label, x + (isLeft ? -0.4 : 0.4) * em, 1.05 * em, "label", isLeft ? "end" : "start"),
  );
  const back = svg("rect.others", { x: 0, y, width, height, rx: 3 });
  return { node: svg("g.cumulated", { "aria-hidden": "true" }, back, ...parts, line), height: y + height + 0.6 * em };
}

function segment(row, drawn, token, { y, height, width, em }) {
  const [from, to] = row.cumulated;
  const name = row.token_id === drawn.token_id ? "segment.drawn" : "segment";
  const room = (to - from) * width;
  const label = room > 1.6 * em ? text(fitted(oneLine(row), room / em - 0.4), (from + to) / 2 * width, y + 1 * em, "name", "middle") : "";
  const box = svg("rect", { x: from * width, y, width: Math.max(room, 0.5), height });
  return svg(`g.${name}`, {}, svg("title", {}, `${oneLine(row)}: ${from.toFixed(6)} to ${to.toFixed(6)}`), box, label);
}

function text(content, x, y, name, anchor = "start") {
  return svg(`text.${name}`, { x, y, "text-anchor": anchor }, content);
}

/** Return a text that fits into so many em, cut at its end; wide characters count twice. */
function fitted(content, ems) {
  let room = ems / 0.52;
  const characters = [...content];
  const cut = characters.findIndex((character) => (room -= /[\u1100-\u115F\u2E80-\uFFDC]/u.test(character) ? 1.9 : 1) < 0);
  return cut < 0 ? content : `${characters.slice(0, Math.max(cut - 1, 1)).join("")}…`;
}

function title(row) {
  return `${oneLine(row)}  token ${row.token_id}, rank ${whole(row.rank)}, logit ${row.logit.toFixed(4)}`;
}

function spoken(row, { steps, token }, isDrawn) {
  const parts = [oneLine(row), `${percent(row.probabilities[0])} of the model`];
  const last = row.probabilities.at(-1);
  if (row.removed_by) parts.push(`removed by ${spelled(row.removed_by)}`);
  else if (steps.length > 1) parts.push(`${percent(last)} after all steps`);
  if (isDrawn) parts.push("drawn");
  if (token?.token_id === row.token_id) parts.push("stands in the text");
  return parts.join(", ");
}

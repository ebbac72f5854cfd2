/** Tokens of a text, each on the colour of what the model thought of it. Picked by mouse and keys; texts are text nodes. */

import { el } from "./dom.js";
import { bytesText, decodedBytes, ownText, percent, visible, whole } from "./format.js";

const LEVELS = 10;
const DEEPEST_NATS = 12;
const DEEPEST_ENTROPY = 8;
const DEEPEST_RANK = 10_000;

/** Colourings by name: title, the class of a row (null: none), and the legend as [class, text] pairs. */
export const COLOURINGS = {
  probability: {
    title: "probability",
    of: (row) => heat(1 - Math.exp(row.log_prob)),
    legend: [1, 0.75, 0.5, 0.25, 0].map((p) => [heat(1 - p), `${100 * p} %`]),
  },
  rank: {
    title: "rank",
    of: (row) => heat(Math.log(row.rank) / Math.log(DEEPEST_RANK)),
    legend: [1, 10, 100, 1000, 10_000].map((rank) => [heat(Math.log(rank) / Math.log(DEEPEST_RANK)), whole(rank)]),
  },
  surprisal: {
    title: "surprisal",
    of: (row) => heat(-row.log_prob / DEEPEST_NATS),
    legend: [0, 2, 4, 6, 8, 10, 12].map((value) => [heat(value / DEEPEST_NATS), value === 12 ? "12 nats" : String(value)]),
  },
  entropy: {
    title: "entropy",
    of: (row) => heat(row.entropy / DEEPEST_ENTROPY, "e"),
    legend: [0, 2, 4, 6, 8].map((value) => [heat(value / DEEPEST_ENTROPY, "e"), value === 8 ? "8 nats" : String(value)]),
  },
  gltr: {
    title: "rank in GLTR's four colours",
    of: (row) => `g${row.rank <= 10 ? 1 : row.rank <= 100 ? 2 : row.rank <= 1000 ? 3 : 4}`,
    legend: [["g1", "up to 10"], ["g2", "100"], ["g3", "1,000"], ["g4", "beyond"]],
  },
};

const NEEDED = { probability: "log_prob", rank: "rank", surprisal: "log_prob", entropy: "entropy", gltr: "rank" };

let views = 0;

/** Return the class of a token's colour, or null where the figure is not known. `colour`: a name, or a colouring. */
export function colourClass(row, colour) {
  const { needed, of } = colouringOf(colour);
  return row[needed] === null || row[needed] === undefined ? null : of(row);
}

/** Return a legend of a colouring. */
export function legend(colour) {
  const { title, legend: steps } = colouringOf(colour);
  return el("p.legend", {}, `${title}: `, ...steps.map(([name, text]) => el(`span.step.${name}`, {}, text)));
}

const colouringOf = (colour) => (typeof colour === "string" ? { needed: NEEDED[colour], ...COLOURINGS[colour] } : colour);

/** Return what a token's figures are, in words. */
export function tokenTitle(row) {
  if (row.title) return row.title;
  if (row.log_prob === null || row.log_prob === undefined) return `token ${row.token_id}: nothing stands before it`;
  const figures = [`token ${row.token_id}`, percent(Math.exp(row.log_prob)), `${(-row.log_prob).toFixed(3)} nats`];
  if (row.rank) figures.push(`rank ${whole(row.rank)}`);
  if (row.entropy !== null && row.entropy !== undefined) figures.push(`entropy ${row.entropy.toFixed(3)} nats`);
  return figures.join(", ");
}

/**
 * Show tokens in `root`, as a list of which one is picked.
 * `onPick(index, {isFinal})`: called when a token is picked, with `isFinal` by Enter.
 * Returns {show(data), add(rows), pick(index), turn(ghost)}; data: {tokens, promptLength = 0, colour, picked = null,
 * hand = [] (indices that a reader chose)}; ghost: {first, rows}: where the text would have turned, and to which tokens.
 */
export function tokenView(root, { onPick = () => {}, label = "Tokens" } = {}) {
  const prefix = `tokens${++views}-`;
  const box = el("div.tokens.marks", { role: "listbox", tabindex: "0", "aria-label": label, dir: "auto" });
  let data = { tokens: [], colour: "surprisal", ghost: null };
  root.replaceChildren(box);
  box.addEventListener("click", (event) => {
    const found = event.target.closest(".t");
    if (found) picked(Number(found.dataset.index), false);
  });
  box.addEventListener("keydown", (event) => {
    const target = event.key === "Enter" ? data.picked : movedTo(box, event.key, data.picked ?? -1, data.tokens.length);
    if (target === null || target === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    picked(target, event.key === "Enter");
  });
  box.addEventListener("mouseover", (event) => {
    const found = event.target.closest(".t");
    if (found && !found.title) found.title = tokenTitle(data.tokens[Number(found.dataset.index)]);
  });

  function picked(index, isFinal) {
    pick(index);
    onPick(index, { isFinal });
  }

  function pick(index) {
    box.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
    data.picked = index;
    const node = index === null ? null : document.getElementById(prefix + index);
    if (!node) return box.removeAttribute("aria-activedescendant");
    node.setAttribute("aria-selected", "true");
    node.scrollIntoView({ block: "nearest" });
    return box.setAttribute("aria-activedescendant", node.id);
  }

  function show(next) {
    data = { promptLength: 0, picked: null, hand: [], ghost: null, ...next, tokens: [...next.tokens] };
    box.replaceChildren(...nodes(data, 0, prefix));
    pick(data.picked);
  }

  function turn(ghost) {
    if (!ghost && !data.ghost) return;
    data.ghost = ghost;
    box.querySelector(".ghost")?.remove();
    for (const node of box.querySelectorAll(".t")) node.classList.toggle("turned", ghost !== null && Number(node.dataset.index) >= ghost.first);
    if (ghost) document.getElementById(prefix + ghost.first)?.before(ghostNode(ghost));
  }

  function add(rows) {
    const from = data.tokens.length;
    data.tokens.push(...rows);
    box.append(...nodes(data, from, prefix));
  }

  return { show, add, pick, turn, box };
}

/** Return the nodes of the tokens from index `from` on. */
function nodes(data, from, prefix) {
  const made = [];
  const characters = joinedCharacters(data.tokens.slice(from));
  data.tokens.slice(from).forEach((row, offset) => {
    const index = from + offset;
    const place = { id: prefix + index, "data-index": index, "data-token": row.token_id };
    const node = el("span.t", { role: "option", "aria-selected": "false", ...place });
    const names = [colourClass(row, data.colour), index < data.promptLength ? "of-prompt" : null];
    if (data.hand?.includes(index)) names.push("hand");
    node.classList.add(...names.filter(Boolean));
    node.append(...shownParts(row, characters[offset]));
    if (!/\S/u.test(ownText(row) ?? "")) node.setAttribute("aria-label", spokenName(row));
    made.push(node);
  });
  return made;
}

/** Return the tokens that would stand there, the first in a frame; the line below the text says it to readers of screens. */
function ghostNode({ rows: [first, ...others] }) {
  const end = others.length ? " …" : "";
  const words = others.flatMap((row) => shownParts(row, ""));
  return el("span.ghost", { "aria-hidden": "true" }, el("span.turn-token", {}, ...shownParts(first, "")), ...words, end);
}

/** Return the nodes of a token's text: bytes and white space have marks that a style shows or hides. */
function shownParts(row, characters) {
  const text = ownText(row);
  if (text === null) return [el("span.bytes", {}, bytesText(row.bytes)), characters];
  if (!text) return [el("span.bytes", {}, `⟨${row.token_id}⟩`)];
  return text.split(/([ \n\t\r])/).filter(Boolean).map(shownPart);
}

const MARKED = { " ": "space", "\n": "newline", "\t": "tab", "\r": "return" };

function shownPart(part) {
  if (part in MARKED) return el(`span.${MARKED[part]}`, {}, part);
  return [...part].map(visible).join("");
}

/** Return, for each token, the characters that its bytes complete together with those of the tokens before it. */
function joinedCharacters(tokens) {
  let held = [];
  return tokens.map((row) => {
    held = ownText(row) === null ? [...held, ...row.bytes] : [];
    const found = held.length ? decodedBytes(held) : null;
    if (found !== null) held = [];
    return found ?? "";
  });
}

function spokenName(row) {
  const text = ownText(row);
  if (text === null) return `bytes ${bytesText(row.bytes)}`;
  const names = [...text].map((character) => MARKED[character] ?? visible(character));
  return names.join(" ") || `token ${row.token_id}`;
}

/** Return the index to which a key moves, or null for other keys. */
function movedTo(box, key, index, count) {
  if (!count) return null;
  const found = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: count - 1 }[key];
  if (found !== undefined) return Math.min(Math.max(found, 0), count - 1);
  if (key === "ArrowDown") return otherLine(box, index, 1);
  return key === "ArrowUp" ? otherLine(box, index, -1) : null;
}

/** Return the index of the token above or below. */
function otherLine(box, index, step) {
  const all = box.querySelectorAll(".t");
  const own = all[Math.max(index, 0)].getBoundingClientRect();
  let best = Math.max(index, 0);
  let line = null;
  let distance = Infinity;
  for (let at = index + step; at >= 0 && at < all.length; at += step) {
    const other = all[at].getBoundingClientRect();
    if (Math.abs(other.top - own.top) < own.height / 2) continue;
    line ??= other.top;
    if (Math.abs(other.top - line) > own.height / 2) break;
    if (Math.abs(other.left - own.left) < distance) [best, distance] = [at, Math.abs(other.left - own.left)];
  }
  return best;
}

function heat(share, letter = "h") {
  return `${letter}${Math.round(Math.min(Math.max(share, 0), 1) * (LEVELS - 1))}`;
}

/** The branches of a tree, one line each: where it leaves its parent, how it begins, and its settings. */

import { el, svg } from "./dom.js";
import { counted } from "./format.js";
import { paramsText } from "./parameters.js";
import { pathOf } from "./tree.js";

const SHOWN_CHARACTERS = 80;
const STRIP = 120;

/**
 * Show branches in `root`. `onSelect(index)`: another branch was chosen; `onRemove(index)`: Delete was pressed on one.
 * Returns {show(tree, textOf)}; `textOf(index)`: the text of a branch's own tokens.
 */
export function branchView(root, { onSelect, onRemove }) {
  const list = el("ul.branches", { role: "tree", "aria-label": "Branches of the text", tabindex: "0" });
  let order = [];
  let active = null;
  root.append(list);
  list.addEventListener("click", (event) => {
    const found = event.target.closest("[role=treeitem]");
    if (found) onSelect(Number(found.dataset.index));
  });
  list.addEventListener("keydown", (event) => {
    const at = order.indexOf(active);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: order.length - 1 }[event.key];
    if (event.key === "Delete" && active !== null) onRemove(active);
    else if (next !== undefined && order[next] !== undefined) onSelect(order[next]);
    else return;
    event.preventDefault();
  });

  function show(tree, textOf) {
    active = tree.active;
    const lines = depthFirst(tree);
    order = lines.map(({ index }) => index);
    const longest = Math.max(...order.map((index) => endOf(tree, index)), 1);
    list.replaceChildren(...lines.map((line) => item(tree, line, textOf(line.index), longest)));
    const found = list.querySelector("[aria-selected=true]");
    if (found) list.setAttribute("aria-activedescendant", found.id);
    found?.scrollIntoView({ block: "nearest" });
  }

  return { show };
}

function item(tree, { index, depth }, text, longest) {
  const { at, hand, seed, params, tokens } = tree.branches[index];
  const shown = [...text.replace(/\s+/g, " ")].slice(0, SHOWN_CHARACTERS).join("");
  const chosen = hand.includes(at) ? "chosen by hand" : `seed ${seed}`;
  return el(
    "li",
    { role: "treeitem", id: `branch-${index}`, "data-index": index, "aria-level": depth + 1, "aria-selected": String(index === tree.active) },
    strip(tree, index, longest),
    el("bdi.text", {}, shown || "…"),
    el("span.about", {}, `from ${at}, ${chosen}, ${counted(tokens.length, "token")}, ${paramsText(params)}`),
  );
}

/** Return a picture of where a branch lies: the line of its parents, in grey, and its own. */
function strip(tree, index, longest) {
  const x = (position) => (position / longest) * (STRIP - 6) + 3;
  const { at } = tree.branches[index];
  return svg(
    "svg.strip",
    { viewBox: `0 0 ${STRIP} 16`, width: STRIP, height: 16, "aria-hidden": "true" },
    svg("line.before", { x1: x(0), x2: x(at), y1: 8, y2: 8 }),
    svg("line.own", { x1: x(at), x2: Math.max(x(endOf(tree, index)), x(at) + 1), y1: 8, y2: 8 }),
    svg("circle", { cx: x(at), cy: 8, r: 3 }),
  );
}

function endOf(tree, index) {
  return pathOf(tree, index).length;
}

/** Return [{index, depth}]: each branch after its parent, those that leave it early first. */
function depthFirst(tree, parent = null, depth = 0) {
  const own = [...tree.branches.keys()].filter((index) => tree.branches[index].parent === parent);
  own.sort((left, right) => tree.branches[left].at - tree.branches[right].at || left - right);
  return own.flatMap((index) => [{ index, depth }, ...depthFirst(tree, index, depth + 1)]);
}

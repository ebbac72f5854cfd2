/** Two contexts side by side, one in which many tokens are likely and one in which few are, under the same truncation. */

import { nextDistribution } from "./ask_model.js";
import { bars } from "./bars.js";
import { textField } from "./controls.js";
import { el } from "./dom.js";
import { counted, oneLine, percent } from "./format.js";

const TOP = 14;

/** Contexts in which the lessons on truncation open. */
export const FLAT_AND_PEAKED = { flat: "My name is", peaked: "The Statue of Liberty stands in New" };

/**
 * Add both contexts to an instrument.
 * @param {HTMLElement} root
 * @param {import("./controls.js").Desk} desk
 * @returns {function(import("./ask_model.js").Ask, Object): Promise<{flat: Object, peaked: Object}>} takes sampling
 *   parameters, draws both distributions, and gives the last step of each, as the server describes it
 */
export function twoContexts(root, desk) {
  const names = { flat: "A flat context", peaked: "A peaked context" };
  const columns = Object.entries(names).map(([name, label]) => [name, column(root, desk, name, label)]);
  return async (ask, params) => {
    const found = {};
    for (const [name, show] of columns) found[name] = await show(ask, params);
    return found;
  };
}

function column(root, desk, name, label) {
  const summary = el("p.summary");
  const box = el("div.column", { "data-context": name }, textField(desk, name, label), summary);
  const list = bars(box, `${label}: probabilities before and after the step`);
  root.append(box);
  return async (ask, params) => {
    const { rows, steps } = await nextDistribution(ask, desk.state[name], params, { top: TOP });
    const last = steps.at(-1);
    summary.textContent = `${counted(last.num_tokens, "token")} left, with ${percent(last.mass)} of the probability`;
    list.show(rows.map(bar));
    return last;
  };
}

function bar(row) {
  const [before, after] = [row.probabilities[0], row.probabilities.at(-1)];
  const figure = row.removed_by === null ? percent(after) : `✕ ${percent(before)}`;
  return { label: oneLine(row), value: after ?? 0, ghost: before, figure, kind: row.removed_by === null ? "" : "cut" };
}

/** Controls of a lesson: each shows one value of the lesson's state, and changes it. */

import { el } from "./dom.js";

/**
 * @typedef {Object} Desk what a lesson's instrument works with
 * @property {Object} state values by name, as in the URL
 * @property {function(Object): void} change set values, keep them in the URL, and run the instrument again
 * @property {Object<string, {min: number, max: number, step: number}>} ranges of the sliders
 * @property {Object} info answer of /lab/info
 * @property {AbortSignal} signal ends what runs when the reader moves on
 */

/**
 * Return a labelled field for text, `rows` lines high.
 * @param {Desk} desk
 * @param {string} name of the value
 */
export function textField(desk, name, label, rows = 1) {
  const given = { spellcheck: "false", oninput: (event) => desk.change({ [name]: event.target.value }) };
  const field = rows > 1 ? el("textarea", { ...given, rows }) : el("input", { ...given, type: "text" });
  field.value = desk.state[name];
  return el("label.control", {}, el("span", {}, label), field);
}

/**
 * Return a labelled slider with its value beside it; its range is one of the lesson's.
 * @param {Desk} desk
 * @param {string} name of the value
 */
export function slider(desk, name, label) {
  const shown = el("span.value", { "aria-hidden": "true" }, String(desk.state[name]));
  const input = el("input", {
    type: "range",
    ...desk.ranges[name],
    oninput: () => {
      shown.textContent = input.value;
      desk.change({ [name]: Number(input.value) });
    },
  });
  input.value = desk.state[name];
  return el("label.control.slider", {}, el("span", {}, label), input, shown);
}

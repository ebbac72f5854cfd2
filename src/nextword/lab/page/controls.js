/** Controls of a lesson: each shows one value of the lesson's state, and changes it. */

import { el } from "./dom.js";

/**
 * @typedef {Object} Desk what a lesson's instrument works with
 * @property {Object} state values by name, as in the URL
 * @property {function(Object): void} change set values, keep them in the URL, and run the instrument again
 * @property {Object} info answer of /lab/info
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
 * Return a labelled slider with its value beside it.
 * @param {Desk} desk
 * @param {string} name of the value
 * @param {{min: number, max: number, step: number}} range
 */
export function slider(desk, name, label, range) {
  const shown = el("span.value", { "aria-hidden": "true" }, String(desk.state[name]));
  const input = el("input", {
    type: "range",
    ...range,
    oninput: () => {
      shown.textContent = input.value;
      desk.change({ [name]: Number(input.value) });
    },
  });
  input.value = desk.state[name];
  return el("label.control.slider", {}, el("span", {}, label), input, shown);
}

/**
 * Return a group of radio buttons; `options`: [[value, text], ...].
 * @param {Desk} desk
 * @param {string} name of the value
 */
export function choice(desk, name, label, options) {
  const made = options.map(([value, text]) => {
    const input = el("input", { type: "radio", name, value, onchange: () => desk.change({ [name]: value }) });
    input.checked = desk.state[name] === value;
    return el("label", {}, input, text);
  });
  return el("fieldset.control.choice", {}, el("legend", {}, label), ...made);
}

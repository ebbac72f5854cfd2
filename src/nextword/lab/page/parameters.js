/** Sliders for the parameters of sampling, as the server describes them; the state has only what differs from the model's defaults. */

import { button, el } from "./dom.js";

const FIRST = ["temperature", "top_k", "top_p", "min_p"];
const SLIDER_STEPS = 200;

/** Return the name of a step or parameter as people write it: top_k as top-k. */
export function spelled(name) {
  return name.replaceAll("_", "-");
}

/** Return parameters in one line: "temperature 0.7, top-k 40". */
export function paramsText(params) {
  const parts = Object.entries(params).map(([name, value]) => `${spelled(name)} ${value}`);
  return parts.join(", ") || "the model's own settings";
}

/** Return `params` with one more value, which goes if it is the model's default. */
export function withParam(info, params, name, value) {
  const { [name]: _, ...others } = params;
  const known = info.parameters.find((one) => one.name === name);
  return known && known.default === value ? others : { ...others, [name]: value };
}

/** Return the parameters of a preset: those it does not name are off. */
export function presetParams(info, preset) {
  const all = info.parameters.map(({ name, off }) => [name, preset.params[name] ?? off]);
  return all.reduce((params, [name, value]) => withParam(info, params, name, value), {});
}

/**
 * Fill `root` with presets and a control for each parameter of `info`.
 * `onChange(params)` is called with each movement; `prefix` tells the ids of two panels on one page apart. Returns
 * {show(params)}.
 */
export function parameterPanel(root, info, { onChange, prefix = "" }) {
  let params = {};
  const change = (next) => {
    show(next);
    onChange(next);
  };
  const controls = info.parameters.map((one) =>
    makeControl({ ...one, id: `parameter-${prefix}${one.name}` }, (value) => change(withParam(info, params, one.name, value))),
  );
  const presets = info.presets.map((one) => button(one.name, () => change(presetParams(info, one)), { title: one.help }));
  const [first, rest] = [true, false].map((isFirst) =>
    controls.filter(({ name }) => FIRST.includes(name) === isFirst).map(({ node }) => node),
  );
  root.append(
    el("div.presets", { role: "group", "aria-label": "Presets" }, ...presets),
    el("div.sliders", {}, ...first),
    el("details", {}, el("summary", {}, `${rest.length} more parameters`), el("div.sliders", {}, ...rest)),
  );

  function show(next) {
    params = next;
    for (const { name, set } of controls) set(params[name]);
    info.presets.forEach((one, index) => presets[index].setAttribute("aria-pressed", isSame(presetParams(info, one), params)));
  }

  show(params);
  return { show };
}

function isSame(left, right) {
  const names = new Set([...Object.keys(left), ...Object.keys(right)]);
  return [...names].every((name) => left[name] === right[name]);
}

/** Return {name, node, set(value)}; a value of undefined is the default. */
function makeControl(parameter, onValue) {
  return parameter.kind === "bool" ? makeSwitch(parameter, onValue) : makeSlider(parameter, onValue);
}

function makeSwitch({ name, default: initial, help }, onValue) {
  const box = el("input", { type: "checkbox", onchange: () => onValue(box.checked) });
  const set = (value) => (box.checked = value ?? initial);
  return { name, node: el("label.parameter.switch", { title: help, "data-name": name }, box, spelled(name)), set };
}

function makeSlider(parameter, onValue) {
  const { name, id, kind, default: initial, minimum, maximum, help, formula } = parameter;
  const step = kind === "int" ? 1 : rounded((maximum - minimum) / SLIDER_STEPS);
  const title = formula ? `${help} ${formula}` : help;
  const number = el("input", { type: "number", step: "any", "aria-label": `${spelled(name)}, number`, title });
  const slider = el("input", { type: "range", id, min: minimum, max: maximum, step, title });
  const reset = button("↺", () => onValue(initial), { class: "quiet reset", "aria-label": `Default of ${spelled(name)}` });
  slider.addEventListener("input", () => onValue(Number(slider.value)));
  number.addEventListener("change", () => number.value.trim() !== "" && onValue(valueOf(kind, number.value)));
  const set = (value) => {
    const shown = value ?? initial;
    slider.value = shown;
    number.value = shown;
    reset.disabled = shown === initial;
  };
  const node = el("div.parameter", { "data-name": name }, el("label", { for: id, title }, spelled(name)), number, reset, slider);
  return { name, node, set };
}

function valueOf(kind, text) {
  return kind === "int" ? Math.round(Number(text)) : Number(text);
}

/** Return a step of a slider as 1, 2 or 5 times a power of ten, so that its values are short numbers. */
function rounded(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  const digit = [1, 2, 5].findLast((one) => one * power <= step * 1.0001);
  return Number((digit * power).toPrecision(1));
}

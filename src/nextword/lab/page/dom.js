/** Elements made in code. Texts become text nodes only: nothing here reads markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Return a new HTML element.
 * @param {string} tag name, with classes after dots: "button.quiet"
 * @param {Object<string, *>} [given] attributes; those that begin with "on" are listeners, `true` is an empty value, and
 *   null, undefined and false leave an attribute out
 * @param {...(Node|string|null)} children what it holds; null is left out
 */
export function el(tag, given = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return filled(document.createElement(name), classes, given, children);
}

/** Return a new SVG element; as `el`. */
export function svg(tag, given = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return filled(document.createElementNS(SVG, name), classes, given, children);
}

/** Return a button. `label` is its text, `given` as in `el`. */
export function button(label, onclick, given = {}) {
  return el("button", { type: "button", onclick, ...given }, label);
}

/** Return a labelled control: the label's text stands before it, or after a check box. */
export function labelled(text, control, given = {}) {
  const parts = control.type === "checkbox" ? [control, text] : [text, control];
  return el("label.field", given, ...parts);
}

/** Return a select with options [[value, text], ...]. */
export function select(options, value, onchange, given = {}) {
  const made = options.map(([key, text]) => el("option", { value: key }, text));
  const found = el("select", { onchange: () => onchange(found.value), ...given }, ...made);
  found.value = value;
  return found;
}

/** Return a check box. */
export function checkbox(checked, onchange) {
  const found = el("input", { type: "checkbox", onchange: () => onchange(found.checked) });
  found.checked = checked;
  return found;
}

/**
 * Return a function that switches buttons between work and rest: `stop` works while something runs, the others while
 * nothing does. The focus goes to `stop` and back: a button that is switched off would lose it.
 */
export function busySwitch(stop, others) {
  let left = null;
  return (isBusy) => {
    const focused = document.activeElement;
    stop.disabled = false;
    if (isBusy && others.includes(focused)) {
      left = focused;
      stop.focus();
    }
    for (const one of others) one.disabled = isBusy;
    if (isBusy) return;
    if (focused === stop) (left ?? others[0]).focus();
    left = null;
    stop.disabled = true;
  };
}

/** Call `redraw` soon after `node` has got another width. Returns a function that ends this. */
export function onWidth(node, redraw) {
  let width = node.clientWidth;
  const observer = new ResizeObserver(() => {
    if (node.clientWidth === width) return;
    width = node.clientWidth;
    requestAnimationFrame(redraw);
  });
  observer.observe(node);
  return () => observer.disconnect();
}

function filled(node, classes, given, children) {
  if (classes.length) node.classList.add(...classes);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

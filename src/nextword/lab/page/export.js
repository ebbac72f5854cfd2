/** Pictures of a distribution, and a text as a page of its own. */

import { bytesText, ownText } from "./format.js";
import { download } from "./keep.js";
import { colourClass, tokenTitle } from "./tokens.js";

const STYLED = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family", "font-size", "font-weight", "font-style", "text-decoration"];
const SCALE = 2;

/** Save an SVG of the page as a file that looks the same elsewhere. */
export function saveSvg(node) {
  download("distribution.svg", "image/svg+xml", standalone(node));
}

/** Save an SVG of the page as a PNG of twice its size. */
export async function savePng(node) {
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([standalone(node)], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width * SCALE, image.height * SCALE];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  download("distribution.png", "image/png", await new Promise((done) => canvas.toBlob(done, "image/png")));
}

/** Return the markup of an SVG with the page's styles written into its elements, on the page's background. */
export function standalone(node) {
  const copy = node.cloneNode(true);
  const [from, to] = [node, copy].map((one) => [one, ...one.querySelectorAll("*")]);
  from.forEach((one, index) => {
    const style = getComputedStyle(one);
    for (const name of STYLED) to[index].setAttribute(name, style.getPropertyValue(name));
    for (const name of ["class", "role", "tabindex", "aria-label", "aria-selected", "aria-activedescendant"]) to[index].removeAttribute(name);
  });
  const back = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const fill = getComputedStyle(document.body).backgroundColor;
  for (const [name, value] of Object.entries({ width: "100%", height: "100%", fill })) back.setAttribute(name, value);
  copy.prepend(back);
  return new XMLSerializer().serializeToString(copy);
}

/**
 * Return a page without scripts that shows tokens with their colours and figures.
 * @param {{title: string, about: string, rows: object[], colour: string, promptLength: number}} text
 */
export function textPage({ title, about, rows, colour, promptLength }) {
  const tokens = rows.map((row, index) => tokenMarkup(row, colour, index < promptLength)).join("");
  return [
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escaped(title)}</title><style>${pageStyle()}</style></head>`,
    `<body><h1>${escaped(title)}</h1><p>${escaped(about)}</p><p class="text" dir="auto">${tokens}</p>`,
    tableMarkup(rows),
    "</body></html>\n",
  ].join("\n");
}

function tokenMarkup(row, colour, isPrompt) {
  const names = [colourClass(row, colour), isPrompt ? "prompt" : null].filter(Boolean).join(" ");
  return `<span class="${names}" title="${escaped(tokenTitle(row))}">${escaped(ownText(row) ?? bytesText(row.bytes))}</span>`;
}

function tableMarkup(rows) {
  const cells = (row, index) => [index, row.token_id, JSON.stringify(ownText(row) ?? bytesText(row.bytes)), row.log_prob ?? "", row.rank ?? "", row.entropy ?? ""];
  const lines = rows.map((row, index) => `<tr>${cells(row, index).map((one) => `<td>${escaped(String(one))}</td>`).join("")}</tr>`);
  const names = ["number", "id", "token", "log-probability", "rank", "entropy"].map((name) => `<th>${name}</th>`).join("");
  return `<details><summary>The figures</summary><table><tr>${names}</tr>\n${lines.join("\n")}</table></details>`;
}

/** Return the rules of the page's colours as they are now, and a few of its own. */
function pageStyle() {
  const probe = document.body.appendChild(document.createElement("span"));
  const steps = [..."0123456789"].flatMap((digit) => [`h${digit}`, `e${digit}`]).concat(["g1", "g2", "g3", "g4"]);
  const rules = steps.map((name) => {
    probe.className = `swatch ${name}`;
    return `.${name}{background:${getComputedStyle(probe).backgroundColor}}`;
  });
  probe.remove();
  const body = getComputedStyle(document.body);
  return `body{font:18px/1.6 Georgia,serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:${body.color};background:${body.backgroundColor}}
.text{white-space:pre-wrap;unicode-bidi:plaintext;overflow-wrap:anywhere;line-height:1.9}.prompt{opacity:.75}
td,th{padding:.1rem .6rem;text-align:right;font:14px monospace}
${rules.join("")}`;
}

function escaped(text) {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

/** A map of the attention of one token: a line for each head of each layer, a column for each token before it. */

import { el, onWidth } from "./dom.js";
import { percent } from "./format.js";

const GAP = 2;

/**
 * Return the map. `show(attention, chosen)` draws [layers][heads][tokens] and marks the chosen {layer, head};
 * `onPick({layer, head})` is called on a click.
 */
export function attentionMap(root, onPick) {
  const canvas = el("canvas.attention", { role: "img" });
  const box = el("div.map", {}, canvas);
  root.append(box);
  let drawn = () => {};
  let heads = 1;
  onWidth(box, () => drawn());
  canvas.addEventListener("click", (event) => {
    const line = Math.floor(event.offsetY / lineHeight(heads));
    onPick({ layer: Math.floor(line / heads), head: line % heads });
  });
  return {
    show(attention, chosen) {
      heads = attention[0].length;
      canvas.setAttribute("aria-label", summary(attention, chosen));
      drawn = () => draw(canvas, box.clientWidth, attention, chosen);
      drawn();
    },
  };
}

const lineHeight = (heads) => (heads > 16 ? 2 : 3);

function summary(attention, { layer, head }) {
  const weights = attention[layer][head];
  const place = weights.indexOf(Math.max(...weights));
  return `Attention of ${attention.length} layers with ${attention[0].length} heads each. Layer ${layer}, head ${head} looks most at token ${place + 1}: ${percent(weights[place])}.`;
}

function draw(canvas, width, attention, chosen) {
  const heads = attention[0].length;
  const height = lineHeight(heads);
  const ratio = window.devicePixelRatio;
  const total = attention.length * heads * height;
  canvas.width = width * ratio;
  canvas.height = total * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${total}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const { color } = getComputedStyle(canvas);
  pen.fillStyle = color;
  const columns = attention[0][0].length;
  attention.forEach((layer, at) => layer.forEach((weights, head) => {
    const top = (at * heads + head) * height;
    weights.forEach((weight, column) => {
      pen.globalAlpha = Math.sqrt(weight);
      pen.fillRect((column * width) / columns, top, width / columns - (columns < 64 ? GAP / 2 : 0), height - (head === heads - 1 ? 1 : 0));
    });
  }));
  pen.globalAlpha = 1;
  pen.strokeStyle = color;
  pen.strokeRect(0.5, (chosen.layer * heads + chosen.head) * height - 0.5, width - 1, height + 1);
}

/** A map of the attention of one token: a line for each head of each layer, a column for each token it can look at. */

import { el, onWidth } from "./dom.js";
import { oneLine, percent } from "./format.js";

const GAP = 1;
/** Columns that are wide enough for a label. */
const MOST_LABELS = 64;
/** A layer in so many has its number beside it. */
const LAYERS_BETWEEN_LABELS = 5;

/**
 * Return the map. `show(attention, chosen, tokens)` draws [layers][heads][tokens] and marks the chosen {layer, head};
 * `onPick({layer, head})` is called on a click; `end()` ends it.
 */
export function attentionMap(root, onPick) {
  const canvas = el("canvas.attention", { role: "img" });
  const labels = el("div.map-tokens", { "aria-hidden": "true" });
  const layers = el("div.map-layers", { "aria-hidden": "true" });
  root.append(el("div.map", {}, labels, layers, canvas));
  let drawn = () => {};
  let heads = 1;
  const endWidths = onWidth(root, () => drawn());
  const themes = new MutationObserver(() => drawn());
  themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  canvas.addEventListener("click", (event) => {
    const line = Math.floor(event.offsetY / lineHeight(heads));
    onPick({ layer: Math.floor(line / heads), head: line % heads });
  });
  return {
    end() {
      endWidths();
      themes.disconnect();
    },
    show(attention, chosen, tokens) {
      heads = attention[0].length;
      canvas.setAttribute("aria-label", summary(attention, chosen));
      const named = tokens.length <= MOST_LABELS ? tokens : [];
      labels.replaceChildren(...named.map((token) => el("span", {}, oneLine(token))));
      layers.replaceChildren(...attention.map((_, layer) => el("span", {}, layer % LAYERS_BETWEEN_LABELS ? "" : String(layer))));
      drawn = () => draw(canvas, labels.clientWidth, attention, chosen);
      drawn();
    },
  };
}

const lineHeight = (heads) => (heads > 16 ? 2 : 3);

function summary(attention, { layer, head }) {
  const weights = attention[layer][head];
  const place = weights.indexOf(Math.max(...weights));
  const size = `${attention.length} layers with ${attention[0].length} heads each`;
  return `Attention of ${size}. Layer ${layer}, head ${head} looks most at token ${place + 1}: ${percent(weights[place])}.`;
}

function draw(canvas, width, attention, chosen) {
  const heads = attention[0].length;
  const height = lineHeight(heads);
  const pen = sized(canvas, width, attention.length * heads * height);
  const { color, outlineColor } = getComputedStyle(canvas);
  const column = width / attention[0][0].length;
  const gap = column > 4 * GAP ? GAP : 0;
  pen.fillStyle = color;
  attention.flat().forEach((weights, line) => {
    const tall = line % heads === heads - 1 ? height - GAP : height;
    weights.forEach((weight, index) => {
      pen.globalAlpha = Math.sqrt(weight);
      pen.fillRect(index * column, line * height, column - gap, tall);
    });
  });
  pen.globalAlpha = 1;
  pen.lineWidth = 2;
  pen.strokeStyle = outlineColor;
  pen.strokeRect(1, (chosen.layer * heads + chosen.head) * height - 1, width - 2, height + 2);
}

/** Return the context of a canvas that has a size in CSS pixels and is sharp on any screen. */
function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return pen;
}

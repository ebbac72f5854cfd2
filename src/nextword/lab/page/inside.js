/** The view into the model: where a token's heads look, and what each layer would guess. */

import { latest, post } from "./api.js";
import { attentionMap } from "./attention_map.js";
import { button, el, select } from "./dom.js";
import { oneLine, percent } from "./format.js";
import { lensTable } from "./lens.js";
import { tokenView } from "./tokens.js";

const EXAMPLE = "The capital of Italy is Rome, and the capital of France is";
const MOST_LOOKED_AT = 6;

/** Fill `root`; see main.js. */
export function mount(root, context) {
  const { info } = context;
  if (!info.can_look_inside) return void root.append(unavailable(info));
  const look = instrument(root, context);
  look.read();
  return undefined;
}

function unavailable({ model }) {
  return el(
    "section.card",
    {},
    el("h2", {}, "Not available for this model"),
    el("p", {}, `The weights of ${model} are held in a form in which the layers' states cannot be read. Start the lab with “--backend torch” to look inside.`),
  );
}

function instrument(root, context) {
  const { inside_tokens: most } = context.info.limits;
  const field = el("textarea", { rows: 3, spellcheck: "false", "aria-label": "Text to look into" });
  field.value = context.store.get().text || EXAMPLE;
  field.addEventListener("input", () => context.store.set({ text: field.value }));
  const box = el("div");
  const note = el("p.quiet", {}, `Up to ${most} tokens. Pick the token whose view you want.`);
  const result = el("div");
  root.append(el("section.card", {}, field, el("div.row", {}, button("Look inside", () => read(), { class: "main" }), note), box), result);
  const panel = insidePanel(result);
  let tokens = [];
  const view = tokenView(box, { label: "Tokens", onPick: (index) => look(index) });

  const look = latest(async (position) => {
    const ids = tokens.slice(0, position + 1).map((token) => token.token_id);
    const body = { model: context.info.model, token_ids: ids, position };
    const found = await context.attempt(() => post("inside", body));
    if (found) panel.show(found, tokens);
  });

  const read = async () => {
    const found = await context.attempt(() => post("read", { model: context.info.model, text: field.value }));
    if (!found) return;
    tokens = found.tokens.slice(0, most);
    const left = found.tokens.length - tokens.length;
    note.textContent = left > 0 ? `The first ${most} tokens; ${left} more are left out.` : `Pick the token whose view you want.`;
    view.show({ tokens, colour: "surprisal", picked: tokens.length - 1 });
    look(tokens.length - 1);
  };
  return { read };
}

/** Return what shows an answer of /lab/inside: the map, the chosen head's view, and the layers' guesses. */
function insidePanel(root) {
  const controls = el("div.row");
  const seen = el("p.attended.tokens");
  const words = el("p", { role: "status" });
  const guesses = el("div");
  const mapCard = el("section.card", { "aria-label": "Attention" }, el("h2", {}, "Where its heads look"), controls);
  const map = attentionMap(mapCard, (picked) => draw(picked));
  mapCard.append(words, seen);
  const lensCard = el("section.card", { "aria-label": "Layers' guesses" }, el("h2", {}, "What each layer would guess next"), guesses);
  let [found, tokens] = [null, []];
  let chosen = { layer: 0, head: 0 };

  const draw = (picked) => {
    chosen = { ...chosen, ...picked };
    controls.replaceChildren(...pickers(found, chosen, draw));
    map.show(found.attention, chosen);
    const weights = found.attention[chosen.layer][chosen.head];
    seen.replaceChildren(...weights.map((weight, index) => el(`span.e${Math.round(9 * Math.sqrt(weight))}`, { title: percent(weight) }, oneLine(tokens[index]))));
    words.textContent = looksAt(weights, tokens);
  };
  return {
    show(answer, its) {
      [found, tokens] = [answer, its];
      if (!root.hasChildNodes()) root.append(mapCard, lensCard);
      draw({});
      guesses.replaceChildren(lensTable(found.lens));
    },
  };
}

function pickers({ attention }, { layer, head }, draw) {
  const numbers = (count) => Array.from({ length: count }, (_, index) => [String(index), String(index)]);
  return [
    el("label", {}, "Layer ", select(numbers(attention.length), String(layer), (value) => draw({ layer: Number(value) }))),
    el("label", {}, "Head ", select(numbers(attention[0].length), String(head), (value) => draw({ head: Number(value) }))),
  ];
}

function looksAt(weights, tokens) {
  const order = weights.map((weight, index) => ({ weight, index })).sort((a, b) => b.weight - a.weight);
  const named = order.slice(0, MOST_LOOKED_AT).map(({ weight, index }) => `${oneLine(tokens[index])} ${percent(weight)}`);
  return `It looks at ${named.join(", ")}.`;
}

/** The view into the model: where a token's heads look, and what each layer would guess. */

import { latest, post } from "./api.js";
import { attentionMap } from "./attention_map.js";
import { button, el } from "./dom.js";
import { counted, oneLine, percent } from "./format.js";
import { lensTable } from "./lens.js";
import { tokenView } from "./tokens.js";

const EXAMPLE = "The capital of Italy is Rome, and the capital of France is";
const MOST_LOOKED_AT = 6;

/** Fill `root`; see main.js. */
export function mount(root, context) {
  const { info, store } = context;
  if (!info.can_look_inside) {
    root.append(unavailable(info));
    return undefined;
  }
  const field = el("textarea", { rows: 2, spellcheck: "false", dir: "auto", "aria-label": "Text to look into" });
  field.value = store.get().text || EXAMPLE;
  field.addEventListener("input", () => store.set({ text: field.value, token: null }));
  const note = el("span.quiet", { role: "status" });
  const go = button("Look inside", () => look.read(), { class: "main" });
  const box = el("div");
  const result = el("div.inside-result");
  root.append(el("section.card", { "aria-label": "Text" }, field, el("div.row", {}, go, note), box), result);
  const panel = insidePanel(result, store);
  const look = reader(context, { field, note, box, panel });
  look.read();
  return panel.end;
}

function unavailable({ model, why_not_inside: why }) {
  const reason = `One cannot look inside ${model} here: ${why}.`;
  return el("section.card", {}, el("h2", {}, "Not available"), el("p", {}, reason));
}

/** Return what reads the text of the field and shows the token that is picked. */
function reader(context, { field, note, box, panel }) {
  const most = Math.min(context.info.limits.inside_tokens, context.info.context);
  const model = () => context.store.get().model || undefined;
  let [tokens, left] = [[], 0];
  const view = tokenView(box, { label: "Tokens", onPick: (token) => (context.store.set({ token }), look(token)) });

  const look = latest(async (position) => {
    const token_ids = tokens.slice(0, position + 1).map((token) => token.token_id);
    note.textContent = "The layers are being read; the first time takes some seconds.";
    const found = await context.attempt(() => post("inside", { model: model(), token_ids, position }));
    if (found) panel.show(found, tokens.slice(0, position + 1));
    note.textContent = left > 0 ? `The first ${most} tokens; ${left} more are left out.` : "Pick the token whose view you want.";
  });

  return {
    async read() {
      const found = await context.attempt(() => post("read", { model: model(), text: field.value }));
      if (!found?.tokens.length) return;
      tokens = found.tokens.slice(0, most);
      left = found.tokens.length - tokens.length;
      const picked = Math.min(context.store.get().token ?? Infinity, tokens.length - 1);
      view.show({ tokens, colour: "surprisal", picked });
      look(picked);
    },
  };
}

/** Return what shows an answer of /lab/inside: the map, the chosen head's view, and the layers' guesses. */
function insidePanel(root, store) {
  const pickers = [picker("Layer", () => chosen()), picker("Head", () => chosen())];
  const [layers, heads] = pickers;
  const seen = el("p.attended.tokens");
  const words = el("p", { role: "status" });
  const guesses = el("div");
  const controls = el("div.row", {}, ...pickers.map(({ node }) => node));
  const mapCard = el("section.card", { "aria-label": "Attention" }, el("h2", {}, "Where its heads look"), controls, words, seen);
  const lensCard = el("section.card", { "aria-label": "Layers' guesses" }, el("h2", {}, "What each layer would guess next"), guesses);
  const map = attentionMap(mapCard, ({ layer, head }) => {
    layers.set(layer);
    heads.set(head);
    chosen();
  });
  let [attention, tokens] = [[], []];

  function chosen() {
    store.set({ layer: layers.get(), head: heads.get() });
    draw();
  }

  function draw() {
    const [layer, head] = [layers.get(), heads.get()];
    const weights = attention[layer][head];
    map.show(attention, { layer, head }, tokens);
    seen.replaceChildren(...weights.map((weight, index) => seenToken(weight, tokens[index])));
    words.textContent = looksAt(weights, tokens);
  }

  return {
    end: map.end,
    show(found, its) {
      [attention, tokens] = [found.attention, its];
      layers.fill(attention.length, store.get().layer);
      heads.fill(attention[0].length, store.get().head);
      if (!root.hasChildNodes()) root.append(mapCard, lensCard);
      draw();
      guesses.replaceChildren(lensTable(found.lens));
    },
  };
}

/** Return a labelled select of numbers from 0. */
function picker(label, onchange) {
  const made = el("select", { onchange });
  return {
    node: el("label.field", {}, label, made),
    get: () => Number(made.value),
    set: (number) => (made.value = String(number)),
    fill(count, number) {
      made.replaceChildren(...Array.from({ length: count }, (_, one) => el("option", {}, String(one))));
      made.value = String(Math.min(number ?? 0, count - 1));
    },
  };
}

function seenToken(weight, token) {
  return el(`span.e${Math.round(9 * Math.sqrt(weight))}`, { title: percent(weight) }, oneLine(token));
}

function looksAt(weights, tokens) {
  const order = weights.map((weight, index) => ({ weight, index })).sort((a, b) => b.weight - a.weight);
  const named = order.slice(0, MOST_LOOKED_AT).map(({ weight, index }) => `${oneLine(tokens[index])} ${percent(weight)}`);
  return `Of ${counted(tokens.length, "token")}, it looks at ${named.join(", ")}.`;
}

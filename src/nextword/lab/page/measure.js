/** The view that measures a text: perplexity by each convention, bits per byte, and each token. */

import { latest, post } from "./api.js";
import { button, el } from "./dom.js";
import { counted, nats, oneLine, percent, whole } from "./format.js";
import { plot } from "./plot.js";
import { dataTable } from "./table.js";
import { tokenPanel } from "./token_panel.js";

const EXAMPLE = "The river rose for three days. On the fourth it carried a piano past the church, and someone was playing it.";
const PAUSE = 200;
const MOST_SURPRISING = 10;

/** Fill `root`; see main.js. */
export function mount(root, context) {
  const place = el("section.measured", { "aria-label": "Measurement" });
  const field = textField(context);
  const shown = results(place, context);
  const measure = async () => {
    const body = { text: field.value, model: context.store.get().model || undefined };
    const found = await context.attempt(() => post("measure", body), measure);
    if (!found) return;
    shown.show(found);
    context.announce(`Measured ${counted(found.tokens.length, "token")}.`);
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) measure();
  });
  const hint = el("span.quiet", {}, "Select a part of the text to see its share.");
  const share = el("p.share", { role: "status" });
  const go = button("Measure", measure, { class: "main", title: "Measure the text (Ctrl+Enter)" });
  root.append(el("section.card", { "aria-label": "Text" }, field, el("div.row", {}, go, hint), share), place);
  followSelection(field, context, share);
  measure();
  return shown.end;
}

function textField({ store }) {
  const field = el("textarea", { rows: 4, spellcheck: "false", dir: "auto", "aria-label": "Text to measure" });
  field.value = store.get().text || EXAMPLE;
  field.addEventListener("input", () => store.set({ text: field.value, token: null }));
  return field;
}

/** Return what shows an answer of /lab/measure in `place`. */
function results(place, context) {
  const cards = ["Figures", "Tokens", "Running mean", "Most surprising tokens"].map(card);
  const [figures, tokens, mean, surprising] = cards.map(({ body }) => body);
  const panel = tokenPanel(tokens, context, { label: "Tokens of the text", onPick: (token) => context.store.set({ token }) });
  const curve = plot(mean, { x: "token", y: "mean surprisal so far, nats" });
  return {
    end: panel.end,
    show(found) {
      if (!place.hasChildNodes()) place.append(...cards.map(({ node }) => node));
      figures.replaceChildren(otherFigures(found), conventionTable(found.conventions));
      panel.show({ tokens: found.tokens, offset: 0, params: {}, seed: null });
      curve.show([meanLine(found)], meanWords(found));
      surprising.replaceChildren(surprisingTable(found, panel.pick));
      const { token } = context.store.get();
      if (token !== null && token < found.tokens.length) panel.pick(token);
    },
  };
}

function card(title) {
  const body = el("div");
  return { node: el("section.card", { "aria-label": title }, el("h2", {}, title), body), body };
}

function conventionTable(conventions) {
  const lines = conventions.map(({ name, perplexity, interval, num_tokens: scored, help, problem }) => [
    name,
    fixed(perplexity, 3),
    interval ? `${fixed(interval[0], 3)} to ${fixed(interval[1], 3)}` : "–",
    whole(scored),
    problem ? `${help} Here: ${problem}.` : help,
  ]);
  const columns = ["Convention", "Perplexity", "95 % interval", "Tokens scored", "Rule"];
  return dataTable("Perplexity by convention", columns, lines, { text: [4] });
}

/** Return a figure with so many decimals; null is one beyond all numbers, or none. */
const fixed = (figure, decimals) => (figure === null ? "–" : figure.toFixed(decimals));

function otherFigures(found) {
  const pairs = [
    ["bits per byte", fixed(found.bits_per_byte, 4)],
    ["bits per character", fixed(found.bits_per_character, 4)],
    ["tokens", whole(found.tokens.length)],
  ];
  return el("dl.figures", {}, ...pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function meanLine(found) {
  const places = found.tokens.flatMap((token, index) => (token.log_prob === null ? [] : [index + 1]));
  return { name: "", kind: "first", xs: places, ys: found.running_mean };
}

function meanWords({ running_mean: mean }) {
  return mean.length ? `It goes from ${nats(mean[0])} to ${nats(mean.at(-1))}.` : "";
}

function surprisingTable(found, pick) {
  const lines = found.most_surprising.slice(0, MOST_SURPRISING).map((index) => {
    const token = found.tokens[index];
    const go = button(oneLine(token), () => pick(index), { class: "quiet token-label", title: "Show its distribution" });
    return [go, whole(index + 1), nats(-token.log_prob), percent(Math.exp(token.log_prob)), whole(token.rank)];
  });
  return dataTable("Table of the most surprising tokens", ["Token", "Position", "Surprisal", "Probability", "Rank"], lines);
}

/** Ask for the share of the part that is selected in the field, each time that it changes. */
function followSelection(field, context, share) {
  const ask = latest(async () => {
    const [from, to] = [field.selectionStart, field.selectionEnd].map((end) => [...field.value.slice(0, end)].length);
    const body = { text: field.value, model: context.store.get().model || undefined, selection: [from, to] };
    const found = from === to ? null : await context.attempt(() => post("measure", body));
    share.textContent = found ? shareWords(found.selection) : "";
  });
  let timer = 0;
  field.addEventListener("selectionchange", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  });
}

function shareWords({ num_tokens: count, nats: sum, share, perplexity }) {
  return `The selection: ${counted(count, "token")}, ${nats(sum)}, ${percent(share)} of the text's surprisal; perplexity ${fixed(perplexity, 3)}.`;
}

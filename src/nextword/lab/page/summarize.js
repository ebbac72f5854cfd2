/** The view that summarises a text: the prompt that asks for it, and each token of the summary. */

import { post } from "./api.js";
import { busySwitch, button, el, labelled, select } from "./dom.js";
import { counted, textOfRows } from "./format.js";
import { tokenPanel } from "./token_panel.js";

const EXAMPLE =
  "The town library will close for six weeks from the first of May. The roof, which was damaged in the February storm, is to " +
  "be replaced, and the reading room will get new lamps. Books that are due in this time may be returned in June without a " +
  "fee. The children's hour moves to the school and takes place on Saturdays at ten.";

/** Summaries are written greedily. */
const GREEDY = { temperature: 0 };
const LENGTHS = [["short", "two sentences"], ["medium", "five sentences"], ["long", "ten sentences"]];
const STYLES = [["paragraph", "as a paragraph"], ["bullets", "as bullet points"]];

/** Fill `root`; see main.js. */
export function mount(root, context) {
  const { store } = context;
  const asked = askedOf(store.get().summary);
  const field = el("textarea", { rows: 6, dir: "auto", spellcheck: "false", "aria-label": "Text to summarise" });
  field.value = store.get().text || EXAMPLE;
  field.addEventListener("input", () => store.set({ text: field.value, summary: "", token: null }));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) summarise();
  });
  const go = button("Summarise", () => summarise(), { class: "main", title: "Summarise the text (Ctrl+Enter)" });
  const stop = button("Stop", () => running?.abort());
  const setBusy = busySwitch(stop, [go]);
  setBusy(false);
  const status = el("span.quiet", { role: "status" });
  const choices = [
    labelled("length", select(LENGTHS, asked.length, (length) => Object.assign(asked, { length }))),
    labelled("form", select(STYLES, asked.style, (style) => Object.assign(asked, { style }))),
  ];
  root.append(el("section.card", { "aria-label": "Text" }, field, el("div.row", {}, go, stop, ...choices, status)));
  const summary = summaryCard(root, context);
  let running = null;

  async function summarise() {
    if (go.disabled) return;
    const body = { ...asked, text: field.value, model: store.get().model || undefined };
    running = new AbortController();
    setBusy(true);
    status.textContent = "The model reads and writes …";
    store.set({ summary: `${asked.length} ${asked.style}` });
    const found = await context.attempt(() => post("summarize", body, { signal: running.signal }), summarise);
    setBusy(false);
    status.textContent = found ? parts(found) : "";
    if (found) summary.show(found);
  }

  if (store.get().summary) summarise();
  return () => {
    running?.abort();
    summary.end();
  };
}

/** Return the length and the form of a summary that was asked for, as the URL has them. */
function askedOf(text) {
  const [length, style] = text.split(" ");
  const known = (options, value) => (options.some(([name]) => name === value) ? value : options[0][0]);
  return { length: known(LENGTHS, length), style: known(STYLES, style) };
}

function summaryCard(root, context) {
  const prompt = el("p.prompt", { dir: "auto" });
  const tokens = el("div");
  const card = el("section.card", { "aria-label": "Summary", hidden: true }, el("h2", {}, "Summary"), tokens);
  card.append(el("details", {}, el("summary", {}, "The prompt that asks for it"), prompt));
  const panel = tokenPanel(tokens, context, { label: "Tokens of the summary", onPick: (token) => context.store.set({ token }) });
  root.append(card);
  return {
    end: panel.end,
    show(found) {
      const { token_ids: tokenIds, prompt_length: offset } = found;
      card.hidden = false;
      prompt.textContent = textOfRows(found.tokens.slice(0, offset));
      panel.show({ tokens: found.tokens, offset, params: GREEDY, seed: 0 });
      const { token } = context.store.get();
      if (token !== null && token < tokenIds.length - offset) panel.pick(token);
      context.announce(`The summary has ${counted(tokenIds.length - offset, "token")}.`);
    },
  };
}

function parts({ num_parts: count, is_complete: isComplete }) {
  const whole = count === 1 ? "Summarised at once." : `Summarised in ${count} parts; the prompt is that of the last step.`;
  return isComplete ? whole : `${whole} It was cut at its longest.`;
}

/** The view that summarises a text: the prompt that asks for it, and each token of the summary. */

import { post } from "./api.js";
import { button, el, labelled, select } from "./dom.js";
import { counted } from "./format.js";
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
  const asked = { length: "short", style: "paragraph" };
  const field = el("textarea", { rows: 6, dir: "auto", spellcheck: "false", "aria-label": "Text to summarise" });
  field.value = store.get().text || EXAMPLE;
  field.addEventListener("input", () => store.set({ text: field.value }));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) summarise();
  });
  const go = button("Summarise", () => summarise(), { class: "main", title: "Summarise the text (Ctrl+Enter)" });
  const status = el("span.quiet", { role: "status" });
  const choices = [
    labelled("length", select(LENGTHS, asked.length, (length) => Object.assign(asked, { length }))),
    labelled("form", select(STYLES, asked.style, (style) => Object.assign(asked, { style }))),
  ];
  root.append(el("section.card", { "aria-label": "Text" }, field, el("div.row", {}, go, ...choices, status)));
  const summary = summaryCard(root, context);
  const ended = new AbortController();

  async function summarise() {
    const body = { ...asked, text: field.value, model: store.get().model || undefined };
    go.disabled = true;
    status.textContent = "The model reads and writes …";
    const found = await context.attempt(() => post("summarize", body, { signal: ended.signal }), summarise);
    go.disabled = false;
    status.textContent = found ? parts(found) : "";
    if (found) summary.show(found);
  }

  return () => {
    ended.abort();
    summary.end();
  };
}

function summaryCard(root, context) {
  const prompt = el("p.prompt", { dir: "auto" });
  const tokens = el("div");
  const card = el("section.card", { "aria-label": "Summary", hidden: true }, el("h2", {}, "Summary"), tokens);
  card.append(el("details", {}, el("summary", {}, "The prompt that asks for it"), prompt));
  const panel = tokenPanel(tokens, context, { label: "Tokens of the summary" });
  root.append(card);
  return {
    end: panel.end,
    show(found) {
      const { token_ids: tokenIds, prompt_length: offset } = found;
      card.hidden = false;
      prompt.textContent = found.tokens.slice(0, offset).map((token) => token.text).join("");
      panel.show({ tokens: found.tokens.slice(offset), tokenIds, offset, params: GREEDY, seed: 0 });
      context.announce(`The summary has ${counted(tokenIds.length - offset, "token")}.`);
    },
  };
}

function parts({ num_parts: count, is_complete: isComplete }) {
  const whole = count === 1 ? "Summarised at once." : `Summarised in ${count} parts; the prompt is that of the last step.`;
  return isComplete ? whole : `${whole} It was cut at its longest.`;
}

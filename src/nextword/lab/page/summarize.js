/** The view that summarises a text, and shows each token of the summary. */

import { post } from "./api.js";
import { button, el } from "./dom.js";
import { counted } from "./format.js";
import { paramsText } from "./parameters.js";
import { tokenPanel } from "./token_panel.js";

const EXAMPLE =
  "The town library will close for six weeks from the first of May. The roof, which was damaged in the February storm, is to " +
  "be replaced, and the reading room will get new lamps. Books that are due in this time may be returned in June without a " +
  "fee. The children's hour moves to the school and takes place on Saturdays at ten.";

/** Fill `root`; see main.js. */
export function mount(root, context) {
  const { store } = context;
  const field = el("textarea", { rows: 8, dir: "auto", spellcheck: "false", "aria-label": "Text to summarise" });
  field.value = store.get().text || EXAMPLE;
  field.addEventListener("input", () => store.set({ text: field.value }));
  const go = button("Summarise", () => summarise(), { class: "main", title: "Summarise the text (Ctrl+Enter)" });
  const status = el("span.quiet", { role: "status" }, settingsText(store.get()));
  const result = el("section.card", { "aria-label": "Summary", hidden: true }, el("h2", {}, "Summary"));
  root.append(el("section.card", { "aria-label": "Text" }, field, el("div.row", {}, go, status)), result);
  const panel = tokenPanel(result, context, { label: "Tokens of the summary" });
  const ended = new AbortController();
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) summarise();
  });

  async function summarise() {
    const { model, seed, params } = store.get();
    const body = { text: field.value, model: model || undefined, seed, ...params };
    go.disabled = true;
    status.textContent = "The model reads and writes …";
    const found = await context.attempt(() => post("summarize", body, { signal: ended.signal }));
    go.disabled = false;
    status.textContent = settingsText(store.get());
    if (found) show(found, { params, seed });
  }

  function show({ token_ids: tokenIds, prompt_length: offset, tokens }, settings) {
    result.hidden = false;
    const shown = tokens.slice(tokens.length - (tokenIds.length - offset));
    panel.show({ tokens: shown, tokenIds, offset, ...settings });
    context.announce(`The summary has ${counted(shown.length, "token")}.`);
  }

  return () => (ended.abort(), panel.end());
}

const settingsText = ({ seed, params }) => `seed ${seed}, ${paramsText(params)}: as in the view Write`;

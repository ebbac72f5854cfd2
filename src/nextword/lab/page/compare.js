/** Two settings, or two models, on one prompt and on one text: side by side, with the first difference marked. */

import { post } from "./api.js";
import { compareSide } from "./compare_side.js";
import { DIFFERENCE, partingOf, partingWords, readingWords, spanRows } from "./difference.js";
import { busySwitch, button, el } from "./dom.js";
import { emptyState } from "./examples.js";
import { encode, read, write } from "./texts.js";
import { legend, tokenView } from "./tokens.js";

/** Fill `root`; see main.js. */
export function mount(root, context) {
  const view = new CompareView(root, context);
  view.start();
  return () => view.end();
}

class CompareView {
  constructor(root, context) {
    this.context = context;
    this.store = context.store;
    this.running = null;
    [this.spans, this.parting] = [null, null];
    this.sides = [this.firstSide(), this.secondSide()];
    this.summary = el("div.difference", { role: "status" });
    root.append(this.promptCard(), this.summary, el("div.pair", {}, ...this.sides.map(({ node }) => node)));
  }

  /** Do again what the URL says was done. */
  start() {
    const { compared } = this.store.get();
    if (compared === "write") this.writeBoth();
    else if (compared === "read") this.readBoth();
    else {
      const words = "Two settings, or two models, write after one prompt, or read one text. Write it above, or take one of these.";
      this.summary.append(emptyState(words, (prompt) => this.begin(prompt)));
    }
  }

  end() {
    this.running?.abort();
    for (const side of this.sides) side.end();
  }

  promptCard() {
    const given = { rows: 2, "aria-label": "Prompt, or text to read", dir: "auto", spellcheck: "false", placeholder: "Write a prompt" };
    this.prompt = el("textarea", given);
    this.prompt.value = this.store.get().prompt;
    this.prompt.addEventListener("input", () => this.store.set({ prompt: this.prompt.value, compared: "", token: null }));
    this.buttons = [
      button("Write both", () => this.writeBoth(), { class: "main", title: "Let both write after this prompt" }),
      button("Read by both", () => this.readBoth(), { title: "Show what both give to this text" }),
    ];
    const stop = button("Stop", () => this.running?.abort());
    this.setBusy = busySwitch(stop, this.buttons);
    this.setBusy(false);
    return el("section.card", { "aria-label": "Prompt" }, this.prompt, el("div.row", {}, ...this.buttons, stop), legend(this.store.get().colour));
  }

  firstSide() {
    const get = () => this.store.get();
    const settings = () => ({ model: get().model || undefined, seed: get().seed, params: get().params });
    return compareSide("A", this.context, { settings, change: (patch) => this.store.set(patch), onPick: (at) => this.pick(0, at) });
  }

  /** Return B: the second model that the server has, if any, with the model's own settings. */
  secondSide() {
    const usual = () => ({ model: this.context.info.models[1] ?? "", seed: this.store.get().seed, params: {} });
    const get = () => ({ ...usual(), ...this.store.get().other });
    const settings = () => ({ ...get(), model: get().model || undefined });
    const change = (patch) => this.store.set({ other: { ...get(), ...patch } });
    return compareSide("B", this.context, { settings, change, onPick: (at) => this.pick(1, at) });
  }

  begin(prompt) {
    this.prompt.value = prompt;
    this.store.set({ prompt });
    this.buttons[0].focus();
    return this.writeBoth();
  }

  writeBoth() {
    return this.run("write", async () => {
      await Promise.all(this.sides.map((side) => this.writeSide(side)));
      this.showParting();
    });
  }

  readBoth() {
    return this.run("read", async () => {
      const models = this.sides.map((side) => side.settings().model ?? this.context.info.models[0]);
      const found = await post("compare", { models, text: this.store.get().prompt }, { signal: this.running.signal });
      this.showReading(found);
    });
  }

  /** Run what compares, with the buttons in their state; its name stands in the URL. */
  async run(compared, work) {
    this.running = new AbortController();
    this.store.set({ compared });
    this.setBusy(true);
    for (const side of this.sides) side.pick(null);
    await this.context.attempt(work, () => this.run(compared, work));
    this.setBusy(false);
    this.pick(0, this.store.get().token);
  }

  async writeSide(side) {
    const { prompt, chat, colour, max_tokens: maxTokens } = this.store.get();
    const settings = side.settings();
    const ids = await encode(settings.model, prompt, chat);
    const written = [];
    side.tokens.show({ tokens: [], colour });
    const came = (rows) => {
      written.push(...rows.map((row) => row.token_id));
      side.tokens.add(rows);
    };
    await write(ids, { ...settings, max_tokens: maxTokens }, came, this.running.signal);
    side.show(await read(settings.model, [...ids, ...written], ids.length), ids.length, { colour });
  }

  showParting() {
    const { colour } = this.store.get();
    const [a, b] = this.sides.map(({ rows }) => rows);
    const parting = partingOf(a, b);
    [this.spans, this.parting] = [null, parting];
    this.sides.forEach((side, at) => side.show(side.rows, side.promptLength, { colour, marked: parting ? [parting[at]] : [] }));
    this.summary.replaceChildren(el("p", {}, partingWords(a, b, parting)));
  }

  showReading(found) {
    const { colour } = this.store.get();
    const place = el("div", {});
    this.spans = found.spans;
    this.sides.forEach((side, at) => side.show(found.sides[at].tokens, 0, { colour }));
    const view = tokenView(place, { label: "The text by its difference", onPick: (at) => this.pick(0, this.spans[at].tokens[0][0]) });
    view.show({ tokens: spanRows(found), colour: DIFFERENCE });
    this.summary.replaceChildren(el("section.card", { "aria-label": "Difference" }, el("p", {}, readingWords(found)), place, legend(DIFFERENCE)));
  }

  /** Show the distributions at a token of one side, and at what stands there on the other; null: none. */
  pick(side, at) {
    this.sides[side].pick(at);
    this.sides[1 - side].pick(this.counterpart(side, at));
    this.store.set({ token: side === 0 ? at : this.counterpart(1, at) });
  }

  /** Return the token of the other side that begins where one does, or null; in texts that part, the one with its number. */
  counterpart(side, at) {
    const isInStep = !this.parting || this.parting[0] === this.parting[1];
    if (at === null || !this.spans) return isInStep ? at : null;
    const span = this.spans.find(({ tokens }) => tokens[side][0] <= at && at < tokens[side][1]);
    return span ? span.tokens[1 - side][0] : null;
  }
}

/** The view in which one writes and sees, changes and branches: parameters, text and branches, and the chosen position. */

import { Problem } from "./api.js";
import { branchView } from "./branches.js";
import { busySwitch, button, checkbox, el, labelled, select } from "./dom.js";
import { emptyState } from "./examples.js";
import { textPage } from "./export.js";
import { oneLine, textOfRows } from "./format.js";
import { ghostOf } from "./ghost.js";
import { download } from "./keep.js";
import { parameterPanel, paramsText } from "./parameters.js";
import { positionPanel } from "./position.js";
import { COLOURINGS, legend, tokenView } from "./tokens.js";
import { chosenByHand, givenLength, pathOf } from "./tree.js";
import { Written, newSeed } from "./written.js";

/** Fill `root`; see main.js. */
export function mount(root, context) {
  const view = new WriteView(root, context);
  view.start();
  return () => view.end();
}

class WriteView {
  constructor(root, context) {
    this.context = context;
    this.store = context.store;
    this.written = new Written(context, { onChange: () => this.showText(), onRows: (rows) => this.tokens.add(rows) });
    root.append(this.settingsCard(), this.textCard(), this.positionCard());
    root.addEventListener("keydown", (event) => this.onKey(event));
  }

  start() {
    this.showText();
    this.showPosition();
    this.reading();
    this.unfollow = this.store.follow((state, changed) => this.follow(state, changed));
  }

  end() {
    this.written.stop();
    this.panel.end();
    this.ghost.end();
    this.unfollow();
  }

  follow(state, changed) {
    if (changed.includes("params")) this.parameters.show(state.params);
    if (changed.includes("seed")) this.seed.value = state.seed;
    if (changed.includes("colour")) this.showText();
    if (["params", "seed", "tree", "at"].some((name) => changed.includes(name))) this.showPosition();
    if (["params", "seed", "tree"].some((name) => changed.includes(name))) this.ghost.find();
  }

  settingsCard() {
    const card = el("section.card.settings", { "aria-label": "Parameters" });
    const box = el("details.parameters", { open: matchMedia("(min-width: 60em)").matches }, el("summary", {}, "Parameters"));
    this.parameters = parameterPanel(box, this.context.info, { onChange: (params) => this.store.set({ params }) });
    this.parameters.show(this.store.get().params);
    card.append(box);
    return card;
  }

  textCard() {
    const { info } = this.context;
    const state = this.store.get();
    this.prompt = el("textarea", { rows: 3, "aria-label": "Prompt", dir: "auto", spellcheck: "false", placeholder: "Write a prompt" });
    this.prompt.value = state.prompt;
    this.prompt.addEventListener("input", () => this.store.set({ prompt: this.prompt.value }));
    const chat = checkbox(state.chat, (isChat) => this.store.set({ chat: isChat }));
    const chatField = info.has_chat ? labelled("as a chat message", chat) : null;
    return el(
      "section.card.text",
      { "aria-label": "Text" },
      this.prompt,
      el("div.row.tight", {}, chatField),
      this.writingRow(),
      this.textBox(),
      this.branchesBox(),
    );
  }

  writingRow() {
    const state = this.store.get();
    this.numbers = [];
    const number = (name, label, minimum) => {
      const made = el("input", { type: "number", min: minimum, max: Number.MAX_SAFE_INTEGER, step: 1, "aria-label": label });
      made.value = state[name];
      made.addEventListener("change", () => made.validity.valid && made.value && this.store.set({ [name]: Number(made.value) }));
      this.numbers.push(made);
      return made;
    };
    this.seed = number("seed", "Seed", 0);
    this.buttons = {
      write: button("Write", () => this.write(), { class: "main", title: "Write on at the end of the text (Ctrl+Enter, or w)" }),
      draw: button("Draw one", () => this.write({ maxTokens: 1 }), { title: "Draw the next token with the seed (d)" }),
      again: button("Again from here", () => this.reroll(), { title: "Write anew from the chosen token, with a new seed (r)" }),
      stop: button("Stop", () => this.written.stop(), { title: "Stop writing (Escape)" }),
    };
    const { stop, ...others } = this.buttons;
    this.setBusy = busySwitch(stop, Object.values(others));
    this.setBusy(false);
    return el(
      "div.row",
      {},
      ...Object.values(this.buttons),
      labelled("tokens", number("max_tokens", "Number of tokens to write", 1)),
      labelled("seed", this.seed),
      button("⚄", () => this.store.set({ seed: newSeed() }), { "aria-label": "New seed", title: "New seed" }),
    );
  }

  /** Say so and return true if a number was typed that cannot be. */
  hasWrongNumber() {
    const wrong = this.numbers.find((one) => !one.value || !one.validity.valid);
    if (!wrong) return false;
    this.context.showProblem(new Problem(`${wrong.ariaLabel}: must be a whole number from ${wrong.min} to ${wrong.max}.`));
    wrong.focus();
    return true;
  }

  textBox() {
    const place = el("div", {});
    this.tokens = tokenView(place, { onPick: (at, { isFinal }) => this.pick(at, isFinal), label: "The text, token by token" });
    this.legend = el("div", {});
    this.ghost = ghostOf(this.written, this.context, {
      onChange: (ghost) => this.tokens.turn(ghost),
      onWrite: (from) => this.write({ from }),
      onShow: (index) => this.selectBranch(index),
    });
    const colours = Object.entries(COLOURINGS).map(([name, { title }]) => [name, title]);
    const colour = select(colours, this.store.get().colour, (name) => this.store.set({ colour: name }));
    const words = "Write a prompt, or take one of these. Each token will stand on a colour: the deeper, the less the model expected it.";
    this.empty = emptyState(words, (prompt) => this.begin(prompt));
    const marks = checkbox(true, (isOn) => this.tokens.box.classList.toggle("marks", isOn));
    this.text = el(
      "div.text-box",
      {},
      place,
      this.ghost.node,
      this.legend,
      el(
        "div.row.tight",
        {},
        labelled("colour", colour),
        labelled("spaces and bytes", marks),
        button("Next token", () => this.pick(null), { class: "quiet", title: "Show the distribution after the end (n)" }),
        button("Copy text", () => this.copyText(), { class: "quiet" }),
        button("Save page", () => this.savePage(), { class: "quiet", title: "Save the text with its colours as one HTML file" }),
      ),
    );
    return el("div", {}, this.empty, this.text);
  }

  branchesBox() {
    const box = el("details.tree", { open: true }, el("summary", {}, "Branches"));
    this.branches = branchView(box, {
      onSelect: (index) => this.selectBranch(index),
      onRemove: (index) => this.written.remove(index),
    });
    const compact = checkbox(false, (isOn) => box.classList.toggle("compact", isOn));
    box.append(el("div.row.tight", {}, labelled("compact", compact)));
    this.branchCard = box;
    return box;
  }

  positionCard() {
    const card = el("section.card.position", { "aria-label": "Distribution" });
    this.goOn = checkbox(true, () => {});
    const foot = labelled("a chosen token is written on from", this.goOn);
    this.panel = positionPanel(card, this.context, { onTake: (row) => this.take(row), foot });
    return card;
  }

  showText() {
    const { tree } = this.written;
    const { colour, at } = this.store.get();
    const rows = this.written.shownRows();
    const promptLength = tree ? givenLength(tree) : 0;
    this.tokens.show({ tokens: rows, promptLength, colour, picked: at, hand: tree ? chosenByHand(tree) : [] });
    this.ghost.find();
    [this.empty.hidden, this.text.hidden] = [Boolean(tree), !tree];
    this.legend.replaceChildren(legend(colour));
    this.branchCard.hidden = !tree?.branches.length;
    if (tree) this.branches.show(tree, (index) => this.written.textOf(index));
  }

  showPosition() {
    if (!this.written.running) this.panel.show(this.written.asked(this.store.get().at));
  }

  pick(at, isFinal = false) {
    this.store.set({ at });
    this.tokens.pick(at);
    if (isFinal) document.querySelector(".position .rows")?.focus({ preventScroll: true });
  }

  begin(prompt) {
    this.prompt.value = prompt;
    this.store.set({ prompt });
    this.buttons.write.focus();
    return this.write();
  }

  async write({ from = null, maxTokens = this.store.get().max_tokens } = {}) {
    if (this.written.running || this.hasWrongNumber()) return;
    const again = () => this.write({ maxTokens });
    await this.busy(async () => {
      await this.written.plantIfChanged();
      const ending = await this.written.writeFrom(from, maxTokens);
      if (ending === "context") this.context.showProblem(new Problem("The text fills the model's context: nothing more can be written after it."));
      this.context.announce(`The text is written${ending ? `; it ended by ${ending.replaceAll("_", " ")}` : ""}.`);
    }, again);
  }

  /** Run what writes, with the buttons in their state, then read the figures. */
  async busy(work, again) {
    this.setBusy(true);
    try {
      await this.context.attempt(work, again);
      await this.reading();
    } finally {
      this.setBusy(false);
    }
    this.showPosition();
  }

  /** Read the figures of tokens that have none yet. */
  async reading() {
    this.tokens.box.setAttribute("aria-busy", "true");
    await this.context.attempt(() => this.written.readAll());
    this.tokens.box.removeAttribute("aria-busy");
  }

  reroll() {
    const { tree } = this.written;
    if (!tree) return this.write();
    const from = this.store.get().at ?? tree.prompt.length;
    this.store.set({ seed: newSeed() });
    return this.write({ from: Math.max(from, 1) });
  }

  async take(row) {
    const { at } = this.store.get();
    if (this.written.running) return;
    const position = at ?? pathOf(this.written.tree).length;
    this.written.choose(position, row);
    this.context.announce(`“${oneLine(row)}” is taken.`);
    if (this.goOn.checked) await this.write();
    else await this.reading();
  }

  selectBranch(index) {
    if (this.written.running) return;
    this.written.select(this.written.tree, index);
    this.showText();
  }

  async copyText() {
    await navigator.clipboard.writeText(textOfRows(this.written.shownRows()));
    this.context.announce("The text is copied.");
  }

  savePage() {
    const { seed, params, colour } = this.store.get();
    const about = `${this.context.info.model}, seed ${seed}, ${paramsText(params)}; colours show ${COLOURINGS[colour].title}`;
    const promptLength = this.written.tree ? givenLength(this.written.tree) : 0;
    const page = textPage({ title: "A text, token by token", about, rows: this.written.shownRows(), colour, promptLength });
    download("text.html", "text/html", page);
  }

  onKey(event) {
    const isTyping = event.target.matches("textarea, input, select");
    if (event.key === "Escape") this.written.stop();
    if (event.key === "Enter" && event.ctrlKey) this.write();
    if (isTyping || event.ctrlKey || event.altKey || event.metaKey) return;
    const work = { w: () => this.write(), d: () => this.write({ maxTokens: 1 }), r: () => this.reroll(), n: () => this.pick(null) }[event.key];
    if (!work) return;
    event.preventDefault();
    work();
  }
}

/** The view of a conversation, in which each token of the answers is seen as in the view Write. */

import { post } from "./api.js";
import { busySwitch, button, el } from "./dom.js";
import { textOfRows } from "./format.js";
import { paramsText } from "./parameters.js";
import { read, write } from "./texts.js";
import { colourChoice, distributionCard } from "./token_panel.js";
import { tokenView } from "./tokens.js";

/** Fill `root`; see main.js. */
export function mount(root, context) {
  if (!context.info.has_chat) {
    root.append(el("p.card", {}, `${context.info.model} has no chat template: it goes on with texts, see Write.`));
    return undefined;
  }
  const view = new ChatView(root, context);
  view.showAll();
  return () => view.end();
}

class ChatView {
  constructor(root, context) {
    this.context = context;
    this.store = context.store;
    this.running = null;
    this.answers = [];
    this.list = el("ol.turns", { "aria-label": "Conversation" });
    this.card = distributionCard(context);
    const colours = colourChoice(this.store, () => this.answers.forEach((answer) => answer.draw()));
    const chat = el("section.card", { "aria-label": "Chat" }, this.list, colours, this.form());
    root.append(el("div.token-panel.apart", {}, chat, this.card.node));
  }

  form() {
    this.field = el("textarea", { rows: 2, dir: "auto", "aria-label": "Your message", placeholder: "Write a message" });
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    this.buttons = {
      send: button("Send", () => this.send(), { class: "main", title: "Send (Enter; Shift+Enter begins a line)" }),
      stop: button("Stop", () => this.running?.abort()),
      clear: button("New conversation", () => this.clear(), { class: "quiet" }),
    };
    this.setBusy = busySwitch(this.buttons.stop, [this.buttons.send, this.buttons.clear]);
    this.setBusy(false);
    this.settings = el("span.quiet");
    return el("div", {}, this.field, el("div.row", {}, ...Object.values(this.buttons), this.settings));
  }

  get turns() {
    return this.store.get().messages ?? [];
  }

  get model() {
    return this.store.get().model || undefined;
  }

  showAll() {
    const { seed, params } = this.store.get();
    this.settings.textContent = `seed ${seed}, ${paramsText(params)}: as in the view Write`;
    this.list.replaceChildren();
    this.answers = [];
    for (const turn of this.turns) this.addTurn(turn);
  }

  /** Add a turn to the list; returns the answer's tokens for one of the model's. */
  addTurn(turn) {
    const name = turn.role === "user" ? "You" : this.context.info.model;
    const body = turn.role === "user" ? el("p.said", { dir: "auto" }, turn.content) : el("div");
    this.list.append(el(`li.${turn.role}`, {}, el("span.who", {}, name), body));
    if (turn.role === "user") return null;
    const answer = answerView(body, turn, this.store, (asked) => this.card.show({ model: this.model, ...asked }));
    this.answers.push(answer);
    if (turn.token_ids.length) this.context.attempt(() => answer.read(this.model));
    return answer;
  }

  async send() {
    const content = this.field.value.trim();
    if (!content || this.running) return;
    this.field.value = "";
    const turns = [...this.turns, { role: "user", content }];
    this.store.set({ messages: turns });
    await this.tryAnswer(turns);
  }

  /** Show the turns and let the model answer the last; a failure can be tried again, without what had come of it. */
  async tryAnswer(turns) {
    this.showAll();
    await this.context.attempt(() => this.answer(turns), () => this.tryAnswer(turns));
  }

  async answer(turns) {
    const messages = turns.map(({ role, content }) => ({ role, content }));
    const { tokens } = await post("/tokenize", { model: this.model, messages });
    const { seed, params, max_tokens } = this.store.get();
    const turn = { role: "assistant", content: "", token_ids: [], prompt_ids: tokens, seed, params };
    const view = this.addTurn(turn);
    await this.busy(async (signal) => {
      await write(tokens, { model: this.model, seed, params, max_tokens }, (rows) => view.add(rows), signal);
    });
    this.keep(turns, view);
    await view.read(this.model);
    this.keep(turns, view);
    this.context.announce("The answer is written.");
  }

  /** Keep the answer to these turns as it stands, unless the page shows another conversation by now. */
  keep(turns, view) {
    const isShown = this.turns.length >= turns.length && turns.every((turn, at) => turn === this.turns[at]);
    if (isShown) this.store.set({ messages: [...turns, view.turn(this.context.info.end_token_ids)] });
  }

  /** Run what writes until it ends or is stopped. */
  async busy(work) {
    this.running = new AbortController();
    this.setBusy(true);
    try {
      await work(this.running.signal);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      this.running = null;
      this.setBusy(false);
    }
  }

  clear() {
    this.store.set({ messages: null });
    this.card.show(null);
    this.showAll();
    this.field.focus();
  }

  end() {
    this.running?.abort();
    this.card.end();
  }
}

/** Show an answer's tokens in `root`; `onPick(asked)` is called with what position.js is asked for the picked one. */
function answerView(root, turn, store, onPick) {
  const { prompt_ids: promptIds, seed, params } = turn;
  let rows = turn.token_ids.map((id) => ({ token_id: id, text: "", log_prob: null }));
  let promptRows = promptIds.map((id) => ({ token_id: id, text: "" }));
  const ids = () => rows.map((row) => row.token_id);
  const text = () => ({ rows: [...promptRows, ...rows], promptLength: promptIds.length, params, seed });
  const view = tokenView(root, {
    label: "Answer",
    onPick: (index) =>
      onPick({ tokenIds: [...promptIds, ...ids()], position: promptIds.length + index, promptLength: promptIds.length, params, seed, text }),
  });
  const draw = () => view.show({ tokens: rows, colour: store.get().colour });
  draw();
  return {
    draw,
    add(more) {
      rows = [...rows, ...more];
      view.add(more);
    },
    /** Read the figures of all tokens, which the stream does not have. */
    async read(model) {
      const all = await read(model, [...promptIds, ...ids()], promptIds.length);
      [promptRows, rows] = [all.slice(0, promptIds.length), all.slice(promptIds.length)];
      draw();
    },
    /** The turn as it is kept; `endIds`: tokens that end an answer and are no part of its text. */
    turn(endIds) {
      const said = rows.filter((row) => !endIds.includes(row.token_id));
      return { ...turn, content: textOfRows(said), token_ids: ids() };
    },
  };
}

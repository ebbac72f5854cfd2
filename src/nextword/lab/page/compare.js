/** Two settings, or two models, on one prompt and on one text: side by side, with the first difference marked. */

import { button, el, labelled, select } from "./dom.js";
import { bytesText, counted, nats, oneLine, ownText } from "./format.js";
import { parameterPanel } from "./parameters.js";
import { positionPanel } from "./position.js";
import { meanSurprisal } from "./samples.js";
import { encode, read, write } from "./texts.js";
import { legend, tokenView } from "./tokens.js";

const CLOSE_NATS = 0.05;

/** Fill `root`; see main.js. */
export function mount(root, context) {
  const view = new CompareView(root, context);
  return () => view.end();
}

class CompareView {
  constructor(root, context) {
    this.context = context;
    this.store = context.store;
    this.running = null;
    this.sides = [this.firstSide(), this.secondSide()];
    this.summary = el("div.difference", { role: "status" });
    const cards = this.sides.map((side) => side.node);
    root.append(this.promptCard(), this.summary, el("div.pair", {}, ...cards));
  }

  end() {
    this.running?.abort();
    for (const side of this.sides) side.panel.end();
  }

  promptCard() {
    const prompt = el("textarea", { rows: 2, "aria-label": "Prompt, or text to read", dir: "auto", spellcheck: "false" });
    prompt.value = this.store.get().prompt;
    prompt.addEventListener("input", () => this.store.set({ prompt: prompt.value }));
    this.buttons = [
      button("Write both", () => this.run((ids, side) => this.writeSide(ids, side)), { class: "main", title: "Let both write after this prompt" }),
      button("Read by both", () => this.run((ids, side) => this.readSide(ids, side)), { title: "Show what both give to this text" }),
    ];
    const stop = button("Stop", () => this.running?.abort());
    return el("section.card", { "aria-label": "Prompt" }, prompt, el("div.row", {}, ...this.buttons, stop), legend(this.store.get().colour));
  }

  firstSide() {
    const get = () => this.store.get();
    return this.side("A", () => ({ model: get().model || undefined, seed: get().seed, params: get().params }), (patch) => this.store.set(patch));
  }

  secondSide() {
    const get = () => ({ model: "", seed: this.store.get().seed, params: {}, ...this.store.get().other });
    const settings = () => ({ ...get(), model: get().model || undefined });
    return this.side("B", settings, (patch) => this.store.set({ other: { ...get(), ...patch } }));
  }

  /** Return a side: its settings, its tokens, and the distribution of the position that is chosen in both. */
  side(name, settings, change) {
    const { info } = this.context;
    const box = el("details.parameters", { open: true }, el("summary", {}, "Parameters"));
    const place = el("div", {});
    const note = el("p.quiet", {});
    const distribution = el("div.position", {});
    const seed = el("input", { type: "number", min: 0, step: 1, "aria-label": `Seed of ${name}` });
    const side = { name, settings, note, promptLength: 0, rows: [] };
    const onChange = (params) => {
      change({ params });
      this.showPosition(side);
    };
    parameterPanel(box, info, { onChange, prefix: name }).show(settings().params);
    seed.value = settings().seed;
    seed.addEventListener("change", () => seed.validity.valid && seed.value && change({ seed: Number(seed.value) }));
    const models = info.models.map((one, at) => [at ? one : "", one]);
    const model = select(models, settings().model ?? "", (chosen) => change({ model: chosen }));
    side.tokens = tokenView(place, { onPick: (at) => this.pick(at), label: `Text of ${name}` });
    side.panel = positionPanel(distribution, this.context, { onTake: () => {} });
    const choices = [info.models.length > 1 ? labelled("model", model) : null, labelled("seed", seed)];
    side.node = el("section.card", { "aria-label": name }, el("div.row", {}, el("h2", {}, name), ...choices), box, place, note, distribution);
    return side;
  }

  /** Run `work(ids, side)` for both sides, then say where they differ. */
  async run(work) {
    this.running = new AbortController();
    for (const one of this.buttons) one.disabled = true;
    await this.context.attempt(() => this.runBoth(work), () => this.run(work));
    for (const one of this.buttons) one.disabled = false;
  }

  async runBoth(work) {
    const { prompt, chat } = this.store.get();
    const all = this.sides.map(async (side) => {
      const ids = await encode(side.settings().model, prompt, chat);
      await work(ids, side);
    });
    await Promise.all(all);
    this.showDifference();
  }

  async writeSide(ids, side) {
    const { colour, max_tokens: maxTokens } = this.store.get();
    const written = [];
    side.tokens.show({ tokens: [], colour });
    const came = (rows) => {
      written.push(...rows.map((row) => row.token_id));
      side.tokens.add(rows);
    };
    await write(ids, { ...side.settings(), max_tokens: maxTokens }, came, this.running.signal);
    await this.readSide([...ids, ...written], side, ids.length);
  }

  async readSide(ids, side, promptLength = 0) {
    side.rows = await read(side.settings().model, ids, promptLength);
    side.promptLength = promptLength;
    const own = side.rows.slice(promptLength);
    side.note.textContent = `${counted(own.length, "token")}, mean surprisal ${nats(meanSurprisal(own))}`;
  }

  showDifference() {
    const [a, b] = this.sides;
    const { colour } = this.store.get();
    const isSame = String(idsOf(a)) === String(idsOf(b));
    const first = idsOf(a).findIndex((id, at) => id !== idsOf(b)[at]);
    for (const side of this.sides) {
      const hand = isSame || first < 0 ? [] : [first];
      side.tokens.show({ tokens: side.rows, promptLength: side.promptLength, colour, hand });
    }
    this.summary.replaceChildren(...(isSame ? this.readingSummary(a, b) : [el("p", {}, differenceText(a, b, first))]));
  }

  /** Return how two readings of the same tokens differ, token by token. */
  readingSummary(a, b) {
    const gains = a.rows.map((row, at) => (typeof row.log_prob === "number" ? b.rows[at].log_prob - row.log_prob : 0));
    const total = gains.reduce((sum, gain) => sum + gain, 0);
    const words = Math.abs(total) < 1e-9 ? "Both give the same probability to this text." : `B gives this text ${nats(Math.abs(total))} ${total > 0 ? "less" : "more"} surprisal than A.`;
    const tokens = a.rows.map((row, at) => el(`span.t.${gainClass(gains[at])}`, { title: `${gains[at].toFixed(3)} nats` }, ownText(row) ?? bytesText(row.bytes)));
    const key = el("p.legend", {}, "B against A: ", el("span.step.better", {}, "more probable"), el("span.step.worse", {}, "less probable"));
    return [el("section.card", { "aria-label": "Difference" }, el("p", {}, words), el("div.tokens", { dir: "auto" }, ...tokens), key)];
  }

  pick(at) {
    this.picked = at;
    for (const side of this.sides) {
      if (at < side.rows.length) side.tokens.pick(at);
      this.showPosition(side);
    }
  }

  showPosition(side) {
    const ids = idsOf(side);
    if (this.picked === undefined || this.picked > ids.length) return;
    const promptLength = Math.min(side.promptLength || this.picked, this.picked);
    side.panel.show({ ...side.settings(), tokenIds: ids, position: this.picked, promptLength });
  }
}

function idsOf(side) {
  return side.rows.map((row) => row.token_id);
}

function gainClass(gain) {
  return Math.abs(gain) < CLOSE_NATS ? "same" : gain > 0 ? "better" : "worse";
}

function differenceText(a, b, first) {
  if (first < 0) return "One text is the beginning of the other.";
  const [left, right] = [a, b].map((side) => side.rows[first] ? `“${oneLine(side.rows[first])}”` : "the end");
  return `The texts are the same up to token ${first}: there A has ${left}, and B ${right}.`;
}

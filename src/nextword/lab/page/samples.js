/** Several texts after one prompt, side by side: the same settings, one seed after the other. */

import { busySwitch, button, el, labelled, select } from "./dom.js";
import { emptyState } from "./examples.js";
import { counted } from "./format.js";
import { paramsText } from "./parameters.js";
import { branchedTree } from "./open_in_write.js";
import { encode, read, write } from "./texts.js";
import { legend, tokenView } from "./tokens.js";

const COUNTS = [2, 3, 4, 6];
const USUAL_COUNT = 4;

/** Fill `root`; see main.js. */
export function mount(root, context) {
  const { store } = context;
  let count = COUNTS.includes(store.get().samples) ? store.get().samples : USUAL_COUNT;
  let running = null;
  const prompt = el("textarea", { rows: 2, "aria-label": "Prompt", dir: "auto", spellcheck: "false", placeholder: "Write a prompt" });
  prompt.value = store.get().prompt;
  prompt.addEventListener("input", () => store.set({ prompt: prompt.value, samples: null }));
  const about = el("p.quiet", {});
  const grid = el("div.samples-grid", {});
  const words = "The same settings write several texts after one prompt, each with its own seed. Write a prompt, or take one of these.";
  grid.append(emptyState(words, (example) => begin(example)));
  const start = button("Write all", () => writeAll(), { class: "main" });
  const stop = button("Stop", () => running?.abort());
  const setBusy = busySwitch(stop, [start]);
  setBusy(false);
  const counts = select(COUNTS.map((one) => [one, String(one)]), count, (value) => (count = Number(value)));
  root.append(
    el("section.card", { "aria-label": "Prompt" }, prompt, el("div.row", {}, start, stop, labelled("texts", counts)), about, legend(store.get().colour)),
    grid,
  );

  function begin(example) {
    prompt.value = example;
    store.set({ prompt: example });
    start.focus();
    return writeAll();
  }

  async function writeAll() {
    store.set({ samples: count });
    running = new AbortController();
    setBusy(true);
    await context.attempt(() => writeSamples(context, grid, { count, about, signal: running.signal }), writeAll);
    setBusy(false);
  }

  if (store.get().samples !== null) writeAll();
  return () => running?.abort();
}

async function writeSamples(context, grid, { count, about, signal }) {
  const { model, prompt, chat, seed, params, max_tokens: maxTokens } = context.store.get();
  const ids = await encode(model || undefined, prompt, chat);
  about.textContent = `${paramsText(params)}; up to ${counted(maxTokens, "token")} each.`;
  const cards = Array.from({ length: count }, (_, at) => sampleCard(context, { ids, seed: seed + at, params, model: model || undefined }));
  grid.dataset.count = count;
  grid.replaceChildren(...cards.map(({ node }) => node));
  await Promise.all(cards.map((card) => card.write(maxTokens, signal)));
  context.announce(`${counted(count, "text")} written.`);
}

/** Return {node, write(maxTokens, signal)}: one text with its seed, and a button that takes it into the tree. */
function sampleCard(context, { ids, seed, params, model }) {
  const place = el("div", {});
  const tokens = tokenView(place, { label: `Text of seed ${seed}` });
  const { colour } = context.store.get();
  const figures = el("span.quiet", {});
  let rows = [];
  const take = button("Take", () => takeInto(context, { ids, rows, seed, params }), { title: "Go on with this text in Write" });
  const node = el("section.card", { "aria-label": `Text of seed ${seed}` }, el("div.row.tight.spread", {}, el("h2", {}, `seed ${seed}`), figures, take), place);
  tokens.show({ tokens: [], colour });

  async function writeOne(maxTokens, signal) {
    await write(ids, { model, seed, params, max_tokens: maxTokens }, (more) => {
      rows.push(...more);
      tokens.add(more);
    }, signal);
    const all = await read(model, [...ids, ...rows.map((row) => row.token_id)], ids.length);
    rows = all.slice(ids.length);
    tokens.show({ tokens: rows, colour });
    figures.textContent = `${counted(rows.length, "token")}, ${meanSurprisal(rows).toFixed(3)} nats each`;
  }

  return { node, write: writeOne };
}

/** Return the mean surprisal of rows in nats; the first token of a text may have none. */
export function meanSurprisal(rows) {
  const known = rows.filter((row) => typeof row.log_prob === "number");
  return known.length ? -known.reduce((sum, row) => sum + row.log_prob, 0) / known.length : 0;
}

/** Add a text to the tree as a branch of the prompt, and open the view in which it is written on. */
function takeInto(context, { ids, rows, seed, params }) {
  const tree = branchedTree(context.store.get().tree, ids, rows.map((row) => row.token_id), { seed, params });
  context.store.set({ tree, seed, params, at: null });
  context.go("write");
}

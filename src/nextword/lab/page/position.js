/** One position of a text: the distribution of its token, a search in the whole vocabulary, and what can be done there. */

import { latest, post } from "./api.js";
import { chainView } from "./chain.js";
import { button, checkbox, el, labelled, select } from "./dom.js";
import { savePng, saveSvg } from "./export.js";
import { counted, nats, oneLine, percent, whole } from "./format.js";
import { paramsText } from "./parameters.js";

const ROWS = [10, 25, 50, 200];
const REFUSED = 400;
const UNCHOSEN = "Choose a token to see the distribution that it was drawn from.";
const FIRST_TOKEN = "This is the first token: nothing stands before it, so it was not drawn.";

/**
 * Fill `root` with a panel. `onTake(row)`: a reader chose this token for the position; `foot`: a node below the rows.
 * Returns {show(asked), end()}; asked: {model, tokenIds, position, promptLength, params, seed}, or null for nothing. A
 * seed of null: nothing is drawn there.
 */
export function positionPanel(root, context, { onTake, foot = null }) {
  const own = { isLog: false, top: 25, search: "" };
  let asked = null;
  let answer = null;
  const head = el("div.head", { role: "status" }, el("p.quiet", {}, UNCHOSEN));
  const note = el("p.note.quiet", {});
  const box = el("div.scroll", {});
  const chain = chainView(box, { onPick: onTake });
  const search = el("input", { type: "search", placeholder: "find a token", "aria-label": "Find tokens with this text in the whole vocabulary" });
  const ask = latest(() => context.attempt(askNow));
  search.addEventListener("input", () => change({ search: search.value }));
  const body = el("div", { hidden: true });
  root.append(head, body);
  body.append(
    el(
      "div.row.tight",
      {},
      search,
      labelled("rows", select(ROWS.map((count) => [count, String(count)]), own.top, (value) => change({ top: Number(value) }))),
      labelled("log scale", checkbox(own.isLog, (isLog) => redraw({ isLog }))),
      button("SVG", () => answer && saveSvg(chain.node()), { class: "quiet", title: "Save the picture as SVG" }),
      button("PNG", () => answer && savePng(chain.node()), { class: "quiet", title: "Save the picture as PNG" }),
    ),
    note,
    box,
    el("p.key", {}, "● what is drawn   ▸ what stands in the text   pale: the model's own probability"),
    foot ?? "",
  );

  function change(patch) {
    Object.assign(own, patch);
    if (asked) ask();
  }

  function redraw(patch) {
    Object.assign(own, patch);
    if (answer) chain.show(answer, { isLog: own.isLog });
  }

  async function askNow() {
    const now = asked;
    try {
      answer = now.position ? drawnBy(await distributionOf(now, own), isGreedy(now.params, context.info)) : null;
    } catch (problem) {
      if (problem.status !== REFUSED) throw problem;
      return showNothing(problem.message);
    }
    if (!asked) return null;
    if (!answer) return showNothing(FIRST_TOKEN);
    body.hidden = false;
    head.replaceChildren(...heading(answer, now));
    note.textContent = whatHappened(answer, now);
    return redraw({});
  }

  function showNothing(why) {
    answer = null;
    body.hidden = true;
    head.replaceChildren(el("p.quiet", {}, why));
  }

  return {
    show(next) {
      asked = next;
      if (next) ask();
      else showNothing(UNCHOSEN);
    },
    end: chain.end,
  };
}

/** Return one position of /v1/distribution. Throws Problem. */
export async function distributionOf({ model, tokenIds, position, promptLength, params, seed }, { top, search = "" }) {
  const stands = position < tokenIds.length ? [tokenIds[position]] : [];
  const body = { model, prompt: tokenIds, at: [position], prompt_length: promptLength, seed, top, show: stands, ...params };
  if (search) body.search = search;
  return (await post("/v1/distribution", body)).positions[0];
}

/** Return true if the settings take the most probable token without a number. */
export function isGreedy(params, info) {
  return (params.temperature ?? info.parameters.find(({ name }) => name === "temperature").default) === 0;
}

/** Return a position as it was drawn: greedy decoding needs no number. */
function drawnBy(found, greedy) {
  return greedy && found.draw ? { ...found, draw: { ...found.draw, number: null } } : found;
}

function heading(found, { position }) {
  const { token, entropy } = found;
  if (!token) return [el("h2", {}, `The next token, number ${position}`), el("p.figures", {}, `entropy ${nats(entropy)}`)];
  const figures = [
    `${percent(Math.exp(token.log_prob))} of the model`,
    `rank ${whole(token.rank)}`,
    `surprisal ${nats(-token.log_prob)}`,
    `entropy ${nats(entropy)}`,
  ];
  return [
    el("h2", {}, `Token ${position}: `, el("bdi.picked", {}, oneLine(token))),
    el("p.figures", { title: `token ${token.token_id}` }, ...figures.map((one) => el("span", {}, one))),
  ];
}

/** Return in words what the seed and the settings do here. */
function whatHappened({ draw, rows, token, steps }, { seed, params }) {
  const last = steps.at(-1);
  const left = `${paramsText(params)}: ${counted(last.num_tokens, "token")} left`;
  if (!draw) return `${left}. The text was given, not drawn.`;
  const drawn = rows.find((row) => row.token_id === draw.token_id);
  const name = drawn ? `“${oneLine(drawn)}”` : `token ${draw.token_id}`;
  const how = draw.number === null ? `greedy takes ${name}` : `seed ${seed} draws ${name}`;
  const differs = token && token.token_id !== draw.token_id ? `, where “${oneLine(token)}” stands` : "";
  return `${left}; ${how}${differs}.`;
}

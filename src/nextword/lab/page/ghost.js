/** The ghost of a text: what the same seed would have written with the settings as they are now, from where it turns. */

import { latest, post } from "./api.js";
import { button, el } from "./dom.js";
import { counted, oneLine, whole } from "./format.js";
import { paramsText } from "./parameters.js";
import { pathOf, writtenBy } from "./tree.js";

const REFUSED = 400;
/** Milliseconds without a change after which the ghost is looked for: a slider's own distribution comes first. */
const PAUSE = 150;
const MOST_SHOWN = 24;

/**
 * Look for the ghost of what `written` shows (see written.js). `onChange(ghost)` is called with what tokens.js shows, or
 * null; `onWrite(position)` where a reader wants it written, `onShow(index)` where a branch of the tree has it already.
 * Returns {node, find()}: the line that tells of it, and the search, soon.
 */
export function ghostOf(written, context, { onChange, onWrite, onShow }) {
  const node = el("p.turn", { role: "status" });
  const { store, attempt } = context;
  const search = latest(async () => {
    const asked = askedOf(written, store.get());
    const found = asked && (await attempt(() => replayOf(asked.body)));
    if (asked && written.tree !== asked.tree) return;
    const ghost = found && found.first !== null ? ghostAt(written, found, asked) : null;
    node.replaceChildren(...(ghost ? turnLine(ghost, asked) : uncheckedLine(found, asked)));
    onChange(ghost);
  });
  let timer = 0;

  function turnLine({ first, rows, branch }, { ids, body }) {
    const { seed, ...params } = body.params;
    const left = counted(ids.length - first, "token");
    const words = `With ${paramsText(params)}, seed ${seed} would have drawn “${oneLine(rows[0])}” as token ${first}: the last ${left} would be others. `;
    const go = branch === null ? button("Write that", () => onWrite(first)) : button("Show that text", () => onShow(branch));
    return [words, go];
  }

  return {
    node,
    find() {
      clearTimeout(timer);
      timer = setTimeout(search, PAUSE);
    },
    end: () => clearTimeout(timer),
  };
}

/** Return what is asked about the shown path, or null where nothing was drawn. */
function askedOf(written, { seed, params }) {
  const from = written.drawnFrom();
  const ids = from === null ? [] : pathOf(written.tree);
  if (ids.length <= (from ?? 0) || written.running) return null;
  const body = { model: written.model, token_ids: ids, prompt_length: from, params: { ...params, seed } };
  return { tree: written.tree, ids, from, body };
}

/** Return the answer of /lab/replay, or null for settings that cannot be replayed from logits alone. */
async function replayOf(body) {
  try {
    return await post("replay", body);
  } catch (problem) {
    if (problem.status !== REFUSED) throw problem;
    return null;
  }
}

/** Return {first, rows, branch}: the token that turns the text and, where a branch of the tree has it, what follows. */
function ghostAt(written, { first, token }, { tree, ids, from, body }) {
  const { seed, ...params } = body.params;
  const branch = writtenBy(tree, [...ids.slice(0, first), token.token_id], { from, seed, params });
  const rows = branch === null ? [] : written.rowsOf(branch).slice(first + 1, first + MOST_SHOWN);
  return { first, rows: [token, ...rows], branch };
}

/** Return a sentence about tokens that were not checked, which the server has no rows of logits of. */
function uncheckedLine(found, asked) {
  if (!found || found.complete) return [];
  return [`The first ${whole(found.checked)} of ${counted(asked.ids.length - asked.from, "token")} were checked: the server keeps no more rows of logits.`];
}

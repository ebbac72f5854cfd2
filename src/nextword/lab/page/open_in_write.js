/** From any view into Write: a text that stands becomes a tree there, whose tokens can be changed and written on from. */

import { textOfRows } from "./format.js";
import { encode } from "./texts.js";
import { choose, extended, plant, writeFrom } from "./tree.js";

/**
 * Open a text in the view Write. Throws Problem.
 * @param {object} context see main.js
 * @param {{rows: object[], promptLength: number, seed: number|null, params: object, at: number|null}} text rows of the
 *   whole text; those from `promptLength` on were written with the seed and the params; `at`: the token to show
 * @param {object|null} taken a row: the token that a reader chose in the place of the one at `at`
 */
export async function openInWrite(context, { rows, promptLength, seed, params, at = null }, taken = null) {
  const { store } = context;
  const ids = rows.map((row) => row.token_id);
  const promptIds = ids.slice(0, promptLength);
  const prompt = await promptOf(store.get().model || undefined, rows.slice(0, promptLength));
  const settings = { seed: seed ?? store.get().seed, params };
  const tree = branchedTree(store.get().tree, promptIds, ids.slice(promptLength), settings);
  const change = taken ? { tree: choose(tree, at, taken.token_id, settings), at: null } : { tree, at };
  store.set({ ...settings, ...change, prompt, chat: false });
  context.go("write");
}

/** Return the tree with the tokens as a branch after the prompt, in the place of another prompt's tree. */
export function branchedTree(tree, promptIds, tokenIds, settings) {
  const bare = tree && String(tree.prompt) === String(promptIds) ? { ...tree, active: null } : plant(promptIds);
  if (!tokenIds.length) return bare;
  const known = bare.branches.findIndex((one) => one.parent === null && String(one.tokens) === String(tokenIds));
  if (known >= 0) return { ...bare, active: known };
  const grown = writeFrom(bare, promptIds.length, settings);
  return extended(grown, grown.active, tokenIds);
}

/** Return the text that gives the prompt's tokens; a token that the tokenizer sets before each text is no part of it. */
async function promptOf(model, rows) {
  const whole = textOfRows(rows);
  const wanted = String(rows.map((row) => row.token_id));
  const bare = textOfRows(rows.slice(1));
  return String(await encode(model, bare, false)) === wanted ? bare : whole;
}

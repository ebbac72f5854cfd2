/**
 * A prompt and the branches that were written after it. Nothing is overwritten: another choice is another branch.
 *
 * A tree is plain data: {prompt: [token ids], branches, active}. A branch follows the path of its parent (null: the
 * prompt alone) up to its token `at`, and goes on with its own `tokens`. `starts` are the positions at which the model
 * began to write, each the length of the prompt of one request; `hand` are the positions that a reader chose. Positions
 * count from the first token of the prompt.
 */

/** Return a tree of a prompt alone. */
export function plant(prompt) {
  return { prompt, branches: [], active: null };
}

/** Return true if data from a URL or file has the form of a tree. */
export function isTree(data) {
  const isIds = (list) => Array.isArray(list) && list.every((id) => Number.isInteger(id) && id >= 0);
  const isBranch = (one, index) =>
    isIds(one?.tokens) && isIds(one.starts) && isIds(one.hand) && Number.isInteger(one.at) && Number.isInteger(one.seed) &&
    (one.parent === null || (Number.isInteger(one.parent) && one.parent >= 0 && one.parent < index)) &&
    typeof one.params === "object" && one.params !== null;
  const count = data?.branches?.length;
  const isActive = data?.active === null || (Number.isInteger(data?.active) && data.active >= 0 && data.active < count);
  return isIds(data?.prompt) && Array.isArray(data.branches) && data.branches.every(isBranch) && isActive;
}

/** Return the token ids of a path: the prompt and all tokens up to the end of branch `index`. */
export function pathOf(tree, index = tree.active) {
  if (index === null) return tree.prompt;
  const { parent, at, tokens } = tree.branches[index];
  return [...pathOf(tree, parent).slice(0, at), ...tokens];
}

/** Return how many tokens of the prompt the path of `index` begins with: a branch may leave in the midst of it. */
export function givenLength(tree, index = tree.active) {
  if (index === null) return tree.prompt.length;
  const { parent, at } = tree.branches[index];
  return Math.min(at, givenLength(tree, parent));
}

/** Return the branch, or null for the prompt, that the token at a position of the path of `index` belongs to. */
export function ownerOf(tree, position, index = tree.active) {
  if (index === null) return null;
  const { parent, at } = tree.branches[index];
  return position >= at ? index : ownerOf(tree, position, parent);
}

/** Return the length of the prompt of the request that wrote the token at a position, or would write one there. */
export function promptLengthAt(tree, position, index = tree.active) {
  const owner = ownerOf(tree, position, index);
  if (owner === null) return Math.min(position, tree.prompt.length);
  const { at, parent, starts, hand } = tree.branches[owner];
  const begun = [...starts, ...hand.map((one) => one + 1)].filter((one) => one <= position);
  return begun.length ? Math.max(...begun) : promptLengthAt(tree, Math.max(position, at), parent);
}

/** Return the positions on the path of `index` at which a reader chose. */
export function chosenByHand(tree, index = tree.active) {
  if (index === null) return [];
  const { parent, at, hand } = tree.branches[index];
  return [...chosenByHand(tree, parent).filter((position) => position < at), ...hand];
}

/** Return [tree, index] with the branch that has `tokenId` at a position of the active path: an old one, or a new one. */
export function choose(tree, position, tokenId, settings) {
  const prefix = pathOf(tree).slice(0, position);
  const found = findPath(tree, [...prefix, tokenId]);
  if (found !== null) return { ...tree, active: found };
  if (canGrow(tree, position, settings)) return grown(tree, [tokenId], { hand: position });
  return sprouted(tree, position, { tokens: [tokenId], hand: [position], ...settings });
}

/** Return the tree ready to be written on at a position: the active branch if it ends there, else a new one. */
export function writeFrom(tree, position, settings) {
  if (canGrow(tree, position, settings)) return grown(tree, [], { start: position });
  return sprouted(tree, position, { tokens: [], starts: [position], ...settings });
}

/** Return the tree with more tokens at the end of a branch. */
export function extended(tree, index, tokens) {
  const branches = tree.branches.map((one, at) => (at === index ? { ...one, tokens: [...one.tokens, ...tokens] } : one));
  return { ...tree, branches };
}

/** Return the tree without a branch and those that grow from it, or, where it is the only one, with the prompt alone. */
export function pruned(tree, index) {
  const isGone = (at) => at !== null && (at === index || isGone(tree.branches[at].parent));
  const kept = tree.branches.map((_, at) => at).filter((at) => !isGone(at));
  const place = new Map(kept.map((at, next) => [at, next]));
  const branches = kept.map((at) => ({ ...tree.branches[at], parent: place.get(tree.branches[at].parent) ?? null }));
  const active = place.get(tree.active) ?? place.get(tree.branches[index].parent) ?? (branches.length ? 0 : null);
  return { ...tree, branches, active };
}

/** Parameters that count the tokens after the prompt, so that the place where it ends matters. */
const COUNTING = ["presence_penalty", "frequency_penalty", "min_tokens", "mirostat_tau"];

/**
 * Return the branch that begins with these tokens and was written with these settings from token `from` on, none of them
 * chosen by a reader; or null.
 */
export function writtenBy(tree, tokenIds, { from, seed, params }) {
  const isSame = (one) => one.seed === seed && JSON.stringify(sorted(one.params)) === JSON.stringify(sorted(params));
  const fits = (index) => {
    const path = pathOf(tree, index);
    const last = tokenIds.length - 1;
    if (!isSame(tree.branches[index]) || !tokenIds.every((id, at) => path[at] === id)) return false;
    const begins = promptLengthAt(tree, last, index) === from || !COUNTING.some((name) => name in params);
    return begins && chosenByHand(tree, index).every((position) => position < from);
  };
  return [...tree.branches.keys()].find(fits) ?? null;
}

function sorted(params) {
  return Object.entries(params).sort(([left], [right]) => (left < right ? -1 : 1));
}

function canGrow(tree, position, { seed, params }) {
  if (tree.active === null) return false;
  const active = tree.branches[tree.active];
  const isEnd = position === pathOf(tree).length;
  return isEnd && active.seed === seed && JSON.stringify(sorted(active.params)) === JSON.stringify(sorted(params));
}

function grown(tree, tokens, { hand, start }) {
  const next = extended(tree, tree.active, tokens);
  const branch = next.branches[next.active];
  next.branches[next.active] = {
    ...branch,
    hand: hand === undefined ? branch.hand : [...branch.hand, hand],
    starts: start === undefined ? branch.starts : [...branch.starts, start],
  };
  return next;
}

/** Return the tree with a new branch at a position of the active path; its parent is who owns the token before. */
function sprouted(tree, position, { tokens, starts = [], hand = [], seed, params }) {
  const parent = position === 0 ? null : ownerOf(tree, position - 1);
  const branch = { parent, at: position, tokens, starts, hand, seed, params };
  return { ...tree, branches: [...tree.branches, branch], active: tree.branches.length };
}

/** Return the first branch whose path begins with these tokens, or null. */
function findPath(tree, tokenIds) {
  const isPrefix = (path) => path.length >= tokenIds.length && tokenIds.every((id, at) => path[at] === id);
  const order = [tree.active, ...tree.branches.keys()].filter((index) => index !== null);
  return order.find((index) => isPrefix(pathOf(tree, index))) ?? null;
}

/** The text that is written: a tree in the store, the figures of its tokens, and what changes them. */

import { Problem } from "./api.js";
import { textOfRows } from "./format.js";
import { writeUrl } from "./state.js";
import { encode, read, write } from "./texts.js";
import { choose, extended, givenLength, ownerOf, pathOf, plant, promptLengthAt, pruned, writeFrom } from "./tree.js";

/** Return a seed that none has chosen. */
export function newSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

/** Return the settings with which the state would write. */
export function settingsOf({ seed, params }) {
  return { seed, params };
}

/**
 * The text of a store. `onChange()`: the tree or its figures have changed; `onRows(rows)`: tokens came at the end
 * of the shown path. All methods that ask the server throw Problem.
 */
export class Written {
  constructor(context, { onChange, onRows }) {
    this.store = context.store;
    this.onChange = onChange;
    this.onRows = onRows;
    this.rows = new Map();
    this.running = null;
    this.growing = null;
    this.planted = this.store.get().prompt;
  }

  /** The tree, or null before the first text. */
  get tree() {
    return this.store.get().tree;
  }

  /** The model that reads and writes, null for the server's own. */
  get model() {
    return this.store.get().model || undefined;
  }

  /** Return the rows of the shown path. */
  shownRows() {
    return this.tree ? this.rowsOf(this.tree.active) : [];
  }

  /** Return the rows of the path of a branch; where none were read, rows of ids alone. */
  rowsOf(index) {
    const { tree } = this;
    return pathOf(tree, index).map((tokenId, position) => this.rowAt(tree, position, index) ?? { token_id: tokenId, text: "" });
  }

  /** Return the text of a branch's own tokens, as far as it was read. */
  textOf(index) {
    return textOfRows(this.rows.get(index) ?? []);
  }

  /** Plant the prompt anew if it, its form or the model changed. */
  async plantIfChanged() {
    const { prompt, chat } = this.store.get();
    const ids = await encode(this.model, prompt, chat);
    if (!ids.length) throw new Problem("The prompt is empty, and this model has no token that begins a text: write something.");
    if (this.tree && String(this.tree.prompt) === String(ids)) return;
    if (this.tree) await this.leave(prompt);
    this.rows.clear();
    this.planted = prompt;
    this.store.set({ tree: plant(ids), at: null });
    this.onChange();
  }

  /** Let the browser's Back come to the tree as it is, under its own prompt. */
  async leave(prompt) {
    this.store.set({ prompt: this.planted });
    await writeUrl(this.store);
    this.store.set({ prompt });
    await writeUrl(this.store, { isNew: true });
  }

  /** Write up to `maxTokens` tokens from a position of the shown path on, and read their figures; null: from its end. */
  async writeFrom(position, maxTokens) {
    const from = position ?? pathOf(this.tree).length;
    this.update(writeFrom(this.tree, from, settingsOf(this.store.get())), { at: null });
    const { tree } = this;
    [this.running, this.growing] = [new AbortController(), tree];
    const settings = { model: this.model, ...settingsOf(this.store.get()), max_tokens: maxTokens };
    const came = (rows) => this.added(tree.active, rows);
    try {
      return await write(pathOf(tree), settings, came, this.running.signal);
    } finally {
      this.keepTokens();
      this.running = null;
    }
  }

  /** Stop what is written; what came of it stays. */
  stop() {
    if (!this.running) return;
    this.running.abort();
    this.keepTokens();
  }

  /** Let the token at a position be another one: an old branch, or a new one that begins with it. */
  choose(position, row) {
    const tree = choose(this.tree, position, row.token_id, settingsOf(this.store.get()));
    this.select(tree, tree.active);
    const own = this.rows.get(tree.active) ?? [];
    const place = position - tree.branches[tree.active].at;
    if (place === own.length) this.rows.set(tree.active, [...own, { ...row, log_prob: Math.log(row.probabilities[0]) }]);
    this.onChange();
  }

  /** Show another branch, with its settings. */
  select(tree, index) {
    const { seed, params } = tree.branches[index];
    this.store.set({ tree: { ...tree, active: index }, at: null, seed, params });
  }

  /** Remove a branch and what grows from it. */
  remove(index) {
    this.rows.clear();
    this.update(pruned(this.tree, index), { at: null });
  }

  /** Read the figures of the shown path, then of the other branches. */
  async readAll() {
    const { tree } = this;
    if (!tree) return;
    const order = [tree.active, ...tree.branches.keys()].filter((index, at, all) => all.indexOf(index) === at);
    for (const index of order) if (!this.isRead(tree, index)) await this.readPath(tree, index);
  }

  isRead(tree, index) {
    return pathOf(tree, index).every((_, position) => this.rowAt(tree, position, index)?.isRead);
  }

  async readPath(tree, index) {
    const path = pathOf(tree, index);
    const rows = await read(this.model, path, givenLength(tree, index));
    if (this.tree?.prompt !== tree.prompt) return;
    rows.forEach((row, position) => this.put(tree, position, index, { ...row, isRead: true }));
    this.onChange();
  }

  rowAt(tree, position, index = tree.active) {
    const owner = ownerOf(tree, position, index);
    return this.rows.get(owner)?.[position - startOf(tree, owner)];
  }

  put(tree, position, index, row) {
    const owner = ownerOf(tree, position, index);
    if (!this.rows.has(owner)) this.rows.set(owner, []);
    this.rows.get(owner)[position - startOf(tree, owner)] = row;
  }

  added(index, rows) {
    this.rows.set(index, [...(this.rows.get(index) ?? []), ...rows]);
    if (this.tree === this.growing) this.onRows(rows);
  }

  /** Take the tokens that came into the tree that is written on, once, and only if it still stands. */
  keepTokens() {
    const tree = this.growing;
    if (this.tree !== tree) return;
    const index = tree.active;
    const come = (this.rows.get(index) ?? []).slice(tree.branches[index].tokens.length);
    this.update(extended(tree, index, come.map((row) => row.token_id)), {});
  }

  update(tree, patch) {
    this.store.set({ tree, ...patch });
    this.onChange();
  }

  /** Return the position from which the shown path was drawn without a reader's choice: where a replay begins. */
  drawnFrom() {
    const { tree } = this;
    if (!tree || tree.active === null) return null;
    const { at, hand } = tree.branches[tree.active];
    return Math.max(at, ...hand.map((one) => one + 1));
  }

  /** Return what a panel asks about a position of the shown path; null: the next token. */
  asked(position) {
    const { tree } = this;
    if (!tree) return null;
    const tokenIds = pathOf(tree);
    const at = Math.min(position ?? tokenIds.length, tokenIds.length);
    const settings = settingsOf(this.store.get());
    return { model: this.model, tokenIds, position: at, promptLength: promptLengthAt(tree, at), ...settings };
  }
}

function startOf(tree, owner) {
  return owner === null ? 0 : tree.branches[owner].at;
}

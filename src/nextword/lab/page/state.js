/**
 * The one state of the page: what the URL and the exported JSON hold.
 *
 * Each field is plain data. The part of the URL after # has the fields of `FIELDS` under their names, and every
 * parameter of sampling under its own: #view=write&prompt=The+river&seed=7&temperature=0.8. Values of a lesson's
 * instrument stand behind `lesson.`: #view=lessons&lesson=2.3.1&lesson.k=3
 */

import { isConversation } from "./conversation.js";
import { COLOURINGS } from "./tokens.js";
import { isTree } from "./tree.js";

const TEXT = { fallback: "", read: (text) => text, write: (value) => value, holds: (value) => typeof value === "string" };
const FLAG = { fallback: false, read: (text) => text === "1", write: () => "1", holds: (value) => typeof value === "boolean" };
const WHOLE = { fallback: null, read: readNumber, write: String, holds: (value) => Number.isSafeInteger(value) && value >= 0 };
const DATA = { fallback: null, read: unpacked, write: packed };

/** Fields of the URL: what each is without being named, how it is read and written, and which values it may hold. */
const FIELDS = {
  view: { ...TEXT, fallback: "write" },
  model: TEXT,
  prompt: TEXT,
  chat: FLAG,
  seed: { ...WHOLE, fallback: 1 },
  max_tokens: { ...WHOLE, fallback: 60, holds: (value) => WHOLE.holds(value) && value > 0 },
  tree: { ...DATA, holds: isTree },
  at: WHOLE,
  colour: { ...TEXT, fallback: "surprisal", holds: (value) => Object.hasOwn(COLOURINGS, value) },
  other: { ...DATA, holds: isSide },
  samples: WHOLE,
  compared: TEXT,
  summary: TEXT,
  text: TEXT,
  token: WHOLE,
  layer: WHOLE,
  head: WHOLE,
  lesson: TEXT,
  messages: { ...DATA, holds: isConversation },
};

const LESSON_VALUE = "lesson.";
const FAMILY = "nextword lab ";
const FORMAT = `${FAMILY}1`;
const URL_DELAY = 200;

/** Return the state of an empty page. */
export function emptyState() {
  const fields = Object.entries(FIELDS).map(([name, field]) => [name, field.fallback]);
  return { ...Object.fromEntries(fields), params: {}, lesson_values: {} };
}

/**
 * Return a store of one state object.
 * `get()` returns it, `set(patch)` changes fields, `follow(listener)` calls `listener(state, names of changed fields)`
 * after each change and returns a function that ends this.
 */
export function makeStore(initial) {
  let state = initial;
  const listeners = new Set();
  return {
    get: () => state,
    set(patch) {
      const changed = Object.keys(patch).filter((name) => patch[name] !== state[name]);
      if (!changed.length) return;
      state = { ...state, ...patch };
      for (const listener of [...listeners]) listener(state, changed);
    },
    follow(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** Return the part of a URL after # for a state. */
export async function toHash(state) {
  const pairs = new URLSearchParams();
  for (const [name, field] of Object.entries(FIELDS)) {
    if (state[name] !== field.fallback) pairs.set(name, await field.write(state[name]));
  }
  for (const [name, value] of Object.entries(state.params)) pairs.set(name, String(value));
  for (const [name, text] of Object.entries(state.lesson_values)) pairs.set(LESSON_VALUE + name, text);
  return `#${pairs}`;
}

/** Return the state of the part of a URL after #. What cannot be read is left out. */
export async function fromHash(hash) {
  const state = emptyState();
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (Object.hasOwn(FIELDS, name)) setField(state, name, await FIELDS[name].read(text));
    else if (name.startsWith(LESSON_VALUE)) state.lesson_values[name.slice(LESSON_VALUE.length)] = text;
    else addParam(state.params, name, text);
  }
  return state;
}

/** Keep the URL at the state of a store, a moment after each change. */
export function keepInUrl(store) {
  let timer = 0;
  store.follow(() => {
    clearTimeout(timer);
    timer = setTimeout(() => writeUrl(store), URL_DELAY);
  });
}

/** Write the state into the URL now; `isNew`: as a step that Back undoes. */
export async function writeUrl(store, { isNew = false } = {}) {
  const hash = await toHash(store.get());
  if (hash === location.hash) return;
  history[isNew ? "pushState" : "replaceState"](null, "", hash);
}

/** Return a state as the JSON that `fromJson` reads. */
export function toJson(state) {
  return JSON.stringify({ format: FORMAT, ...state }, null, 2);
}

/** Return the state that JSON of `toJson` holds. Throws an Error in words for anything else. */
export function fromJson(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error("The file is no JSON; choose one that the lab has exported.");
  }
  const format = found?.format;
  if (typeof format === "string" && format !== FORMAT && format.startsWith(FAMILY)) {
    throw new Error(`The file is a “${format}”, and this lab reads a “${FORMAT}”: export it again with the lab of this version.`);
  }
  if (format !== FORMAT) throw new Error(`The file has no “format”: “${FORMAT}”; choose one that the lab has exported.`);
  const state = emptyState();
  for (const name of Object.keys(FIELDS)) setField(state, name, found[name]);
  for (const [name, value] of Object.entries(found.params ?? {})) addParam(state.params, name, String(value));
  for (const [name, value] of Object.entries(found.lesson_values ?? {})) state.lesson_values[name] = String(value);
  return state;
}

/** Set a field, if it may hold the value. */
function setField(state, name, value) {
  if (value !== undefined && FIELDS[name].holds(value)) state[name] = value;
}

/** Return true if data from a URL or file has the form of the settings of a comparison's second side. */
function isSide(data) {
  return typeof data?.params === "object" && data.params !== null && WHOLE.holds(data.seed) && TEXT.holds(data.model);
}

function addParam(params, name, text) {
  if (!/^[a-z][a-z_]*$/.test(name)) return;
  if (text === "true" || text === "false") params[name] = text === "true";
  else if (readNumber(text) !== null) params[name] = readNumber(text);
}

function readNumber(text) {
  const number = Number(text);
  return text.trim() !== "" && Number.isFinite(number) ? number : null;
}

/** Return data as compressed JSON in the letters of URLs. */
async function packed(data) {
  const bytes = await through(new CompressionStream("deflate-raw"), new TextEncoder().encode(JSON.stringify(data)));
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

async function unpacked(text) {
  try {
    const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    const bytes = Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(await through(new DecompressionStream("deflate-raw"), bytes)));
  } catch {
    return null;
  }
}

async function through(stream, bytes) {
  const written = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(written).arrayBuffer());
}

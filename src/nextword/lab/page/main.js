/** The shell of the page: it asks the server what it has, shows the view that the URL names, and keeps theme and URL. */

import { Problem, get } from "./api.js";
import { button, el, labelled, select } from "./dom.js";
import { keepTools } from "./keep.js";
import { fromHash, keepInUrl, makeStore, writeUrl } from "./state.js";

/** Views by their names in the URL. `load` gives a module with `mount(root, context)`, see `open`. */
const VIEWS = [
  { id: "write", title: "Write", load: () => import("./write.js") },
  { id: "samples", title: "Samples", load: () => import("./samples.js") },
  { id: "compare", title: "Compare", load: () => import("./compare.js") },
  { id: "chat", title: "Chat", load: () => import("./chat.js") },
  { id: "summarize", title: "Summarise", load: () => import("./summarize.js") },
  { id: "measure", title: "Measure", load: () => import("./measure.js") },
  { id: "inside", title: "Inside", load: () => import("./inside.js") },
  { id: "lessons", title: "Lessons", load: () => import("./lessons.js") },
];

const THEME_KEY = "nextword-lab-theme";

const place = (id) => document.getElementById(id);

/** Say something to readers of screens. */
function announce(text) {
  place("live").textContent = text;
}

/** Show a failure, with a button that does the work again where `again` is given; null takes it away. */
function showProblem(problem, again = null) {
  const box = place("message");
  box.replaceChildren();
  if (!problem) return;
  const retry = again && button("Try again", () => (showProblem(null), again()));
  box.append(el("p", {}, problem.message), retry ?? "", button("Close", () => showProblem(null), { class: "quiet" }));
}

/**
 * Run `work`; a `Problem` is shown, with a way on, and gives null. Being stopped is no failure. `again`: what a reader
 * asked for, which takes the place of an older failure.
 */
async function attempt(work, again = null) {
  if (again) showProblem(null);
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return null;
    if (!(error instanceof Problem)) throw error;
    showProblem(error, again ?? (() => attempt(work)));
    return null;
  }
}

/**
 * Return a function that mounts the view of the state.
 * A view's `mount(root, context)` fills `root` and may return a function that ends it. `context` has `info` (the answer
 * of /lab/info for the model of the state), `infoOf(model)` (that of another model), `store` (see state.js), `announce`, `attempt`, `showProblem`, and `go(id)`, which opens another view.
 */
function viewOpener(context) {
  let end = null;
  let turn = 0;
  return async function open() {
    const mine = ++turn;
    const { view } = context.store.get();
    const found = VIEWS.find((one) => one.id === view) ?? VIEWS[0];
    markView(found.id);
    const module = await found.load();
    if (mine !== turn) return;
    end?.();
    const root = el(`div.view.${found.id}`);
    place("view").replaceChildren(root);
    end = module.mount(root, context) ?? null;
  };
}

/** Return a function that gives the answer of /lab/info for a model, asked for once; no name: the first model's. */
function infoReader(first) {
  const known = new Map([[first.models[0], first]]);
  return async (model = first.models[0]) => {
    if (!known.has(model)) known.set(model, await get(`info?model=${encodeURIComponent(model)}`));
    return known.get(model);
  };
}

function markView(id) {
  for (const one of place("views").children) {
    if (one.dataset.view === id) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  document.title = `${VIEWS.find((one) => one.id === id).title} · nextword lab`;
}

/** Return the name of the model, or the choice of one; another model's view opens with what its tokens can show. */
function modelChoice(context, open) {
  const { info, store } = context;
  const [first] = info.models;
  if (info.models.length === 1) return el("span", {}, first);
  const choose = async (name) => {
    const chosen = await context.attempt(() => context.infoOf(name));
    if (!chosen) return;
    const foreign = chosen.tokenizer === context.info.tokenizer ? {} : { tree: null, at: null, token: null, messages: null };
    context.info = chosen;
    store.set({ model: name === first ? "" : name, ...foreign });
    await writeUrl(store, { isNew: true });
    open();
  };
  const made = select(info.models.map((name) => [name, name]), store.get().model || first, choose);
  store.follow(({ model }) => (made.value = model || first));
  return labelled("model", made);
}

function drawViews(go) {
  const buttons = VIEWS.map(({ id, title }) => button(title, () => go(id), { "data-view": id }));
  place("views").replaceChildren(...buttons);
}

function themeButton() {
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const made = button("", () => setTheme(isDark() ? "light" : "dark"), { class: "quiet" });
  const setTheme = (theme) => {
    if (theme) root.dataset.theme = theme;
    if (theme) localStorage.setItem(THEME_KEY, theme);
    made.textContent = isDark() ? "Light" : "Dark";
  };
  setTheme(localStorage.getItem(THEME_KEY));
  return made;
}

/** Return {state, info}: a state without what the server does not offer, after saying what that was, and its model's info. */
async function offered(found, infoOf, first) {
  const isKnown = !found.model || first.models.includes(found.model);
  const info = (isKnown && (await attempt(() => infoOf(found.model || undefined)))) || first;
  const names = new Set(info.parameters.map(({ name }) => name));
  const [known, unknown] = [true, false].map((isOffered) => Object.entries(found.params).filter(([name]) => names.has(name) === isOffered));
  const losses = [
    isKnown ? "" : `The model “${found.model}” is not here: ${first.models[0]} takes its place.`,
    unknown.length ? `${unknown.map(([name]) => `“${name}”`).join(", ")}: no parameter here, and left out.` : "",
  ].filter(Boolean);
  if (losses.length) showProblem(new Problem(losses.join(" ")));
  return { state: { ...found, model: isKnown ? found.model : "", params: Object.fromEntries(known) }, info };
}

async function start() {
  const first = await attempt(() => get("info"), start);
  if (!first) return;
  const infoOf = infoReader(first);
  const { state, info } = await offered(await fromHash(location.hash), infoOf, first);
  const store = makeStore(state);
  const go = (view) => store.set({ view });
  const context = { info, infoOf, store, announce, attempt, showProblem, go };
  const open = viewOpener(context);
  const restore = async (found) => {
    const taken = await offered(found, infoOf, first);
    context.info = taken.info;
    store.set(taken.state);
    await open();
  };
  place("model").replaceChildren(modelChoice(context, open));
  place("tools").replaceChildren(...keepTools(context, restore), themeButton());
  drawViews(go);
  store.follow((_, changed) => changed.includes("view") && writeUrl(store, { isNew: true }).then(open));
  window.addEventListener("popstate", async () => restore(await fromHash(location.hash)));
  keepInUrl(store);
  await open();
}

start();

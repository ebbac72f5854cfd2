/** The shell of the page: it asks the server what it has, shows the view that the URL names, and keeps theme and URL. */

import { Problem, get } from "./api.js";
import { button, el } from "./dom.js";
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

/** Run `work`; a `Problem` is shown, with a way on, and gives null. Being stopped is no failure. */
async function attempt(work, again = null) {
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
 * of /lab/info), `infoOf(model)` (that of another model), `store` (see state.js), `announce`, `attempt`, `showProblem`, and `go(id)`, which opens another view.
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

/** Return a state without parameters that the server does not offer, and say which those were. */
function withKnownParams(state, info) {
  const names = new Set(info.parameters.map(({ name }) => name));
  const [known, unknown] = [true, false].map((isKnown) => Object.entries(state.params).filter(([name]) => names.has(name) === isKnown));
  if (unknown.length) showProblem(new Problem(`The link's ${unknown.map(([name]) => `“${name}”`).join(", ")} is no parameter here, and is left out.`));
  return { ...state, params: Object.fromEntries(known) };
}

async function start() {
  const info = await attempt(() => get("info"), start);
  if (!info) return;
  const store = makeStore(withKnownParams(await fromHash(location.hash), info));
  const go = (view) => store.set({ view });
  const context = { info, infoOf: infoReader(info), store, announce, attempt, showProblem, go };
  const open = viewOpener(context);
  place("model").textContent = info.model;
  place("tools").replaceChildren(...keepTools(context, open), themeButton());
  drawViews(go);
  store.follow((_, changed) => changed.includes("view") && writeUrl(store, { isNew: true }).then(open));
  window.addEventListener("popstate", async () => {
    store.set(withKnownParams(await fromHash(location.hash), info));
    open();
  });
  keepInUrl(store);
  await open();
}

start();

/** The view of lessons: a list of them, and one beside its instrument, with the claim that the instrument shows. */

import { latest, post } from "./api.js";
import { button, el } from "./dom.js";
import { LESSONS } from "./lesson_list.js";
import { writeUrl } from "./state.js";

/** Milliseconds without a change after which the model is asked again. */
const PAUSE = 120;
const MARKS = new Map([
  [true, "It holds here."],
  [false, "It does not hold here."],
  [null, "It cannot be shown here."],
]);

/** Fill `root` with the lesson that the state names; returns a function that ends the view. */
export function mount(root, context) {
  let end = () => {};
  const place = el("article.lesson");
  const list = el("nav.lesson-list", { "aria-label": "Lessons" });
  root.append(list, place);
  const open = () => {
    end();
    const lesson = LESSONS.find(({ id }) => id === context.store.get().lesson) ?? LESSONS[0];
    list.replaceChildren(contents(lesson, context));
    end = openLesson(place, lesson, context);
  };
  const unfollow = context.store.follow((_, changed) => changed.includes("lesson") && open());
  open();
  return () => (unfollow(), end());
}

function contents(current, context) {
  const entry = (lesson) => {
    const given = { "aria-current": lesson === current && "page" };
    const made = button("", () => choose(lesson, context), given);
    made.append(el("span.section", {}, sectionOf(lesson)), el("span", {}, lesson.title));
    return el("li", {}, made);
  };
  const isOpen = matchMedia("(min-width: 55em)").matches;
  return el("details", { open: isOpen }, el("summary", {}, "All lessons"), el("ol", {}, ...LESSONS.map(entry)));
}

const sectionOf = (lesson) => lesson.section ?? lesson.id;

function choose(lesson, context) {
  context.store.set({ lesson: lesson.id, lesson_values: {} });
  writeUrl(context.store, { isNew: true });
  document.querySelector(".lesson h2").focus();
}

function openLesson(place, lesson, context) {
  const ended = new AbortController();
  place.dataset.lesson = lesson.id;
  const instrument = el("section.instrument", { "aria-label": "Instrument" });
  const claim = claimBox(lesson.claim);
  const heading = el("h2", { tabindex: "-1" }, el("span.section", {}, sectionOf(lesson)), lesson.title);
  const words = lesson.words().map((part) => (typeof part === "string" ? el("p", {}, part) : part));
  place.replaceChildren(el("div.words", {}, heading, ...words, claim.node, neighbours(lesson, context)), instrument);
  const desk = makeDesk(lesson, context, claim, ended.signal);
  const run = lesson.instrument(instrument, desk);
  desk.rerun = latest(async () => claim.judge(await attemptRun(run, context, ended.signal)));
  desk.rerun();
  return () => ended.abort();
}

/** Run the instrument; gives null where it was ended or failed, and shows a failure. */
async function attemptRun(run, context, signal) {
  const model = context.store.get().model || undefined;
  const ask = (path, body) => post(path, { model, ...body }, { signal });
  context.showProblem(null);
  return signal.aborted ? null : context.attempt(() => run(ask));
}

function makeDesk(lesson, context, claim, signal) {
  let timer = 0;
  const desk = {
    info: context.info,
    ranges: lesson.ranges ?? {},
    context,
    signal,
    judge: claim.judge,
    state: { ...lesson.opens, ...known(lesson, context.store.get().lesson_values) },
    change(values) {
      desk.state = { ...desk.state, ...values };
      context.store.set({ lesson_values: changed(lesson, desk.state) });
      clearTimeout(timer);
      timer = setTimeout(() => desk.rerun(), PAUSE);
    },
  };
  return desk;
}

/** Values of the URL, of the kind that the lesson opens with and in its ranges; others are left out. */
function known({ opens, ranges = {} }, values) {
  const read = ([name, text]) => [name, typeof opens[name] === "number" ? Number(text) : text];
  const isIn = (value, { min, max }) => min <= value && value <= max;
  const fits = ([name, value]) =>
    Object.hasOwn(opens, name) && !Number.isNaN(value) && (!ranges[name] || isIn(value, ranges[name]));
  return Object.fromEntries(Object.entries(values).map(read).filter(fits));
}

function changed(lesson, state) {
  const differs = Object.entries(state).filter(([name, value]) => value !== lesson.opens[name]);
  return Object.fromEntries(differs.map(([name, value]) => [name, String(value)]));
}

function claimBox(sentence) {
  const mark = el("span.mark");
  const figures = el("p.figures");
  const node = el("section.claim", { role: "status" }, el("p", {}, el("strong", {}, sentence), " ", mark), figures);
  const judge = (verdict) => {
    if (!verdict) return;
    node.dataset.holds = String(verdict.holds);
    mark.textContent = MARKS.get(verdict.holds);
    figures.textContent = verdict.words;
  };
  return { node, judge };
}

function neighbours(lesson, context) {
  const index = LESSONS.indexOf(lesson);
  const step = (other, label) => other && button(label(other.title), () => choose(other, context), { class: "quiet" });
  return el(
    "nav.neighbours",
    { "aria-label": "Other lessons" },
    step(LESSONS[index - 1], (title) => `← ${title}`) ?? null,
    step(LESSONS[index + 1], (title) => `${title} →`) ?? null,
  );
}

/** Training of a tiny model in view: start, stop and go on, its loss as a curve, and what it writes meanwhile. */

import { events, post } from "./api.js";
import { button, el } from "./dom.js";
import { whole } from "./format.js";
import { plot } from "./plot.js";

const MOST_SAMPLES = 6;

/**
 * Fill `root`, and show the run that the server has, if any.
 * @param {Object} context see main.js
 * @param {{signal: AbortSignal, onSteps?: function(number[]): void}} options signal: ends the watching, not the
 *   training; onSteps: called with the losses of all steps so far
 */
export function trainingPanel(root, context, { signal, onSteps = () => {} }) {
  if (!context.info.can_train) {
    root.append(el("p", {}, "Training needs PyTorch here: pip install 'nextword[train]', then start the lab again."));
    return;
  }
  const status = el("p.progress");
  const samples = el("ol.training-texts", { reversed: true, "aria-label": "What the model writes, newest first" });
  const controls = runControls((path) => act(path));
  root.append(controls.node, status);
  const curve = plot(root, { x: "step", y: "loss, nats per token" });
  root.append(el("h3", {}, "What it writes"), samples);
  let run = emptyRun();
  let isAsked = false;
  let watching = new AbortController();

  const draw = onNextFrame(() => {
    curve.show(lines(run), progress(run));
    status.textContent = progress(run);
    controls.show(isAsked ? "busy" : run.state);
    onSteps(run.steps.ys);
  });

  async function act(path) {
    isAsked = true;
    controls.show("busy");
    await context.attempt(() => post(path, {}));
    isAsked = false;
    await watch();
  }

  /** Follow the run from its beginning, in the place of an older watch. */
  async function watch() {
    watching.abort();
    watching = new AbortController();
    const ended = AbortSignal.any([signal, watching.signal]);
    run = emptyRun();
    samples.replaceChildren();
    draw();
    await context.attempt(async () => {
      for await (const event of events("training/events", null, { signal: ended })) take(event);
    }, watch);
  }

  function take(event) {
    addEvent(run, event);
    if (event.kind === "sample") addSample(samples, event);
    if (event.kind === "end") context.announce(progress(run));
    draw();
  }

  watch();
}

function runControls(act) {
  const start = button("Start", () => act("training"), { class: "main" });
  const stop = button("Stop", () => act("training/stop"));
  const goOn = button("Go on", () => act("training/continue"));
  const all = [start, stop, goOn];
  let isAsked = false; // the button that has the focus may be switched off: another takes it
  return {
    node: el("div.row", {}, ...all),
    show(state) {
      if (all.includes(document.activeElement)) isAsked = true;
      start.disabled = state === "running" || state === "busy";
      stop.disabled = state !== "running";
      goOn.disabled = state !== "stopped";
      if (state === "busy" || !isAsked) return;
      all.find((one) => !one.disabled).focus();
      isAsked = false;
    },
  };
}

const emptyRun = () => ({ state: "none", begun: null, steps: { xs: [], ys: [] }, validation: { xs: [], ys: [] }, message: "" });

function addEvent(run, event) {
  if (event.kind === "begin") Object.assign(run, emptyRun(), { begun: event });
  if (event.kind === "step") addPoint(run.steps, event);
  if (event.kind === "validation") addPoint(run.validation, event);
  run.state = event.kind === "end" ? event.state : "running";
  run.message = event.message ?? "";
  run.speed = event.tokens_per_second ?? run.speed;
}

function addPoint({ xs, ys }, { step, loss }) {
  xs.push(step);
  ys.push(loss);
}

function addSample(list, { step, text }) {
  list.prepend(el("li", { value: step }, el("span.quiet", {}, `after step ${whole(step)}`), el("pre", {}, text)));
  if (list.children.length > MOST_SAMPLES) list.lastChild.remove();
}

function lines({ steps, validation }) {
  return [
    { name: "training text", kind: "first", ...steps },
    { name: "text it does not train on", kind: "second", dots: true, ...validation },
  ];
}

function progress({ state, steps, speed, begun, message }) {
  if (state === "none") return "Nothing has been trained yet.";
  if (state === "failed") return message;
  const size = begun ? `${whole(begun.num_parameters)} parameters. ` : "";
  if (steps.xs.length === 0) return `${size}The first step is under way.`;
  const words = `${size}Step ${whole(steps.xs.at(-1))}: loss ${steps.ys.at(-1).toFixed(3)} nats`;
  return state === "running" ? `${words}, ${whole(Math.round(speed))} tokens a second.` : `${words}. The training is ${state}.`;
}

/** Return a function that calls `work` once in the next frame, however often it is called before. */
function onNextFrame(work) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      work();
    });
  };
}

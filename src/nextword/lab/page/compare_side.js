/** One side of the comparison: a model with its settings, its tokens, and the distribution of the chosen one. */

import { el, labelled, select } from "./dom.js";
import { counted, nats } from "./format.js";
import { parameterPanel } from "./parameters.js";
import { positionPanel } from "./position.js";
import { meanSurprisal } from "./samples.js";
import { tokenView } from "./tokens.js";

/**
 * Return a side with the name "A" or "B". `settings()` gives {model, seed, params}, `change(patch)` sets them;
 * `onPick(index)`: one of its tokens was picked.
 */
export function compareSide(name, context, { settings, change, onPick }) {
  const place = el("div", {});
  const note = el("p.quiet", {});
  const distribution = el("div.position", {});
  const tokens = tokenView(place, { onPick, label: `Text of ${name}` });
  const panel = positionPanel(distribution, context, { onTake: () => {} });
  const side = { name, rows: [], promptLength: 0, picked: null, settings };
  const choices = controls(name, context, { settings, change, onChange: () => showPosition() });
  side.node = el("section.card", { "aria-label": name }, ...choices, place, note, distribution);

  function showPosition() {
    if (side.picked === null || side.picked > side.rows.length) return panel.show(null);
    const tokenIds = side.rows.map((row) => row.token_id);
    const promptLength = Math.min(side.promptLength || side.picked, side.picked);
    return panel.show({ ...settings(), tokenIds, position: side.picked, promptLength });
  }

  return Object.assign(side, {
    tokens,
    end: panel.end,
    /** Show rows that were read; `marked`: indices to underline. */
    show(rows, promptLength, { colour, marked = [] }) {
      [side.rows, side.promptLength] = [rows, promptLength];
      tokens.show({ tokens: rows, promptLength, colour, hand: marked });
      const own = rows.slice(promptLength);
      note.textContent = `${counted(own.length, "token")}, mean surprisal ${nats(meanSurprisal(own))}`;
    },
    pick(index) {
      side.picked = index;
      if (index === null || index < side.rows.length) tokens.pick(index);
      showPosition();
    },
  });
}

/** Return the nodes of a side's model, seed and parameters; these have the defaults of its model. */
function controls(name, context, { settings, change, onChange }) {
  const { models } = context.info;
  const box = el("div", {});
  const seed = el("input", { type: "number", min: 0, step: 1, "aria-label": `Seed of ${name}` });
  seed.value = settings().seed;
  seed.addEventListener("change", () => {
    if (seed.validity.valid && seed.value) change({ seed: Number(seed.value) });
    onChange();
  });

  async function showParameters() {
    const info = await context.attempt(() => context.infoOf(settings().model));
    if (!info) return;
    box.replaceChildren();
    const changed = (params) => {
      change({ params });
      onChange();
    };
    parameterPanel(box, info, { onChange: changed, prefix: name }).show(settings().params);
  }

  showParameters();
  const model = select(models.map((one) => [one, one]), settings().model ?? models[0], (chosen) => {
    change({ model: chosen === models[0] ? "" : chosen });
    showParameters();
  });
  const fields = [models.length > 1 ? labelled("model", model) : null, labelled("seed", seed)];
  const details = el("details.parameters", { open: true }, el("summary", {}, "Parameters"), box);
  return [el("div.row", {}, el("h2", {}, name), ...fields), details];
}

/** Lesson 2.3.3: temperature reshapes the distribution: greedy near 0, the model's own at 1. */

import { nextDistribution } from "./ask_model.js";
import { bars } from "./bars.js";
import { slider, textField } from "./controls.js";
import { el } from "./dom.js";
import { nats, oneLine, percent } from "./format.js";
import { formula, frac } from "./math.js";
import { plot } from "./plot.js";

const TOP = 10;
/** Temperatures of the curve. */
const TEMPERATURES = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1];

export const temperature = {
  id: "2.3.3",
  title: "Temperature reshapes the distribution",
  words: () => [
    "Temperature cuts nothing. It divides the logits, the scores before the softmax, by τ:",
    formula("y=softmax(", frac("u", "τ"), ")"),
    "Dividing by a number below 1 makes the scores larger, and the distances between them too; the softmax pushes the " +
      "highest towards 1 and the rest towards 0. Near 1 little changes, near 0 the draw becomes greedy.",
    "Outlines are the model's probabilities (τ = 1), bars those at your τ. The curve follows the most probable token.",
  ],
  claim: "As τ falls, the most probable token gains, up to certainty near 0; at 1 nothing changes.",
  opens: { prompt: "The capital of Italy is", temperature: 0.5 },
  ranges: { temperature: { min: 0.05, max: 1, step: 0.05 } },
  instrument(root, desk) {
    root.append(textField(desk, "prompt", "Prompt"));
    root.append(slider(desk, "temperature", "Temperature τ"));
    const summary = el("p.summary");
    root.append(summary);
    const list = bars(root, "Probabilities at τ, and at 1");
    const curve = plot(root, { x: "temperature τ", y: "probability of the most probable token", fromZero: true });
    return async (ask) => {
      const at = (t) => nextDistribution(ask, desk.state.prompt, { temperature: t }, { top: TOP });
      const here = await at(desk.state.temperature);
      summary.textContent = `Entropy: ${nats(here.steps.at(-1).entropy)}, of ${nats(here.steps[0].entropy)} at τ = 1`;
      list.show(here.rows.map(bar));
      const highest = [];
      for (const t of TEMPERATURES) highest.push((await at(t)).rows[0].probabilities);
      const ys = highest.map((probabilities) => probabilities.at(-1));
      curve.show([{ name: "", kind: "first", dots: true, xs: TEMPERATURES, ys }]);
      return judge(ys, highest[0][0]);
    };
  },
};

function bar(row) {
  const [before, after] = [row.probabilities[0], row.probabilities.at(-1)];
  return { label: oneLine(row), value: after, ghost: before, figure: percent(after) };
}

function judge(ys, model) {
  const falls = ys.every((y, index) => index === 0 || y <= ys[index - 1]);
  return {
    holds: falls && Math.abs(ys.at(-1) - model) < 1e-6,
    words: `The most probable token: ${percent(model)} in the model and at τ = 1, ${percent(ys[0])} at τ = ${TEMPERATURES[0]}.`,
  };
}

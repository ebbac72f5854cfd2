/** Lesson 3.1, live: gradient descent lowers the loss of a tiny model while one looks on. */

import { trainingPanel } from "./training_panel.js";
import { formula, sub } from "./math.js";

/** Steps at either end whose mean losses are compared. */
const WINDOW = 5;

export const trainingLive = {
  id: "3.1-live",
  section: "3.1",
  title: "Training, live",
  words: () => [
    "A model begins with random weights: it finds every token about equally probable, so its loss is near the logarithm of " +
      "the size of its vocabulary. Each step computes the loss of a few lines by teacher forcing, and moves all weights a " +
      "little against the gradient:",
    formula("θ←θ−η", sub("∇", "θ"), "L(θ)"),
    "A tiny model learns Shakespeare here, on your machine. Watch the samples: first noise, then letters that go together, " +
      "then words and names of speakers.",
  ],
  claim: "Each step makes the right next token a little more probable: the loss falls.",
  opens: {},
  instrument(root, desk) {
    trainingPanel(root, desk.context, { signal: desk.signal, onSteps: (losses) => losses.length % WINDOW === 0 && desk.judge(judge(losses)) });
    return async () => judge([]);
  },
};

function judge(losses) {
  if (losses.length < 2 * WINDOW) return { holds: null, words: "Start the training to see it." };
  const [first, last] = [losses.slice(0, WINDOW), losses.slice(-WINDOW)].map(mean);
  return {
    holds: last < first,
    words: `Mean loss of the first ${WINDOW} steps: ${first.toFixed(3)} nats; of the last ${WINDOW}, after step ${losses.length}: ${last.toFixed(3)}.`,
  };
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

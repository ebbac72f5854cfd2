/** Lesson 2.3: random sampling draws each token as often as its probability says. */

import { continuations, nextDistribution } from "./ask_model.js";
import { bars } from "./bars.js";
import { slider, textField } from "./controls.js";
import { oneLine, percent, whole } from "./format.js";
import { formula, sub } from "./math.js";

const TOP = 10;
/** Stands for a token that ends the text, which a continuation leaves out. */
const END = "end";
/** Tokens whose shares are judged. */
const NUM_JUDGED = 5;

export const randomSampling = {
  id: "2.3",
  title: "Random sampling follows the probabilities",
  words: () => [
    "Random sampling draws a token from the model's distribution, puts it behind the context, and draws again, until the " +
      "end-of-sequence token comes.",
    formula(sub("w", "i"), "∼P(w ∣", sub("w", "1"), ",…,", sub("w", "i−1"), ")"),
    "Here the first token is drawn many times, each time anew. Outlines are the model's probabilities, bars the shares " +
      "among the draws. With more draws they come together; rare tokens come too, and there are tens of thousands of them.",
  ],
  claim: "Each token is drawn about as often as its probability says.",
  opens: { prompt: "The capital of Italy is", draws: 128, seed: 1 },
  ranges: { draws: { min: 16, max: 512, step: 16 } },
  instrument(root, desk) {
    const each = desk.info.limits.max_n;
    root.append(textField(desk, "prompt", "Prompt"));
    root.append(slider(desk, "draws", "Draws"));
    const list = bars(root, "Shares among the draws, and probabilities");
    return async (ask) => {
      const { rows } = await nextDistribution(ask, desk.state.prompt, {}, { top: TOP });
      const counts = await drawTokens(ask, desk.state, each);
      const shares = rows.map((row) => (counts.get(row.token_id) ?? 0) / desk.state.draws);
      list.show(rows.map((row, index) => bar(row, shares[index])));
      return judge(rows, shares, desk.state.draws);
    };
  },
};

/** Count the tokens that are drawn first, at most `each` of them with each seed. */
async function drawTokens(ask, { prompt, draws, seed }, each) {
  const counts = new Map();
  for (let round = 0; round * each < draws; round += 1) {
    const n = Math.min(each, draws - round * each);
    const drawn = await continuations(ask, prompt, { n, max_tokens: 1, seed: seed + round });
    for (const id of drawn.map(({ tokens }) => tokens[0]?.token_id ?? END)) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

function bar(row, share) {
  const p = row.probabilities[0];
  return { label: oneLine(row), value: share, ghost: p, figure: `${percent(share)} of ${percent(p)}` };
}

/** Judge by three standard errors of a share: p (1 - p) / draws is its variance. */
function judge(rows, shares, draws) {
  const deviations = rows.slice(0, NUM_JUDGED).map(({ probabilities: [p] }, index) => {
    return Math.abs(shares[index] - p) / Math.sqrt((p * (1 - p)) / draws);
  });
  const largest = Math.max(...deviations);
  return {
    holds: largest <= 3,
    words: `${whole(draws)} draws: the shares of the ${NUM_JUDGED} most probable tokens are at most ${largest.toFixed(1)} standard errors off.`,
  };
}

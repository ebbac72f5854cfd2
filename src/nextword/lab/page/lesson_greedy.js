/** Lesson 1.2: greedy decoding falls into a loop, and each round of it is more probable than the one before. */

import { continuations } from "./ask_model.js";
import { textField } from "./controls.js";
import { el } from "./dom.js";
import { percent } from "./format.js";
import { formula, sub, under } from "./math.js";
import { plot } from "./plot.js";
import { legend, tokenView } from "./tokens.js";

const MOST_TOKENS = 96;

export const greedy = {
  id: "1.2",
  title: "Greedy decoding repeats itself",
  words: () => [
    "The simplest rule takes the most probable token, each time. No dice: the same prompt always gives the same text.",
    formula(sub("w", "t"), "=", under("argmax", "w"), "P(w ∣", sub("w", "<t"), ")"),
    "Its weakness shows after a few lines. A phrase that has occurred once makes itself more probable, so the rule takes " +
      "it again, which makes it more probable still. The curve shows the probability of each token that it took, the dots " +
      "the mean of each round of the loop.",
  ],
  claim: "Once greedy decoding repeats itself, it grows surer with each round.",
  opens: { prompt: "The dog ran and ran and" },
  instrument(root, desk) {
    const box = el("div");
    root.append(textField(desk, "prompt", "Prompt"), box, legend("probability"));
    const text = tokenView(box, { label: "The text that greedy decoding writes" });
    const curve = plot(root, { x: "token", y: "probability", fromZero: true });
    return async (ask) => {
      const [{ tokens }] = await continuations(ask, desk.state.prompt, { temperature: 0, max_tokens: MOST_TOKENS });
      const probabilities = tokens.map((token) => Math.exp(token.log_prob));
      const loop = findLoop(tokens.map((token) => token.token_id));
      const rounds = loop === null ? [] : roundMeans(probabilities, loop);
      text.show({ tokens, colour: "probability" });
      curve.show(lines(probabilities, loop, rounds), "Greedy decoding");
      return judge(loop, rounds);
    };
  },
};

function lines(probabilities, loop, rounds) {
  const tokens = { name: "each token", kind: "first", xs: probabilities.map((_, index) => index + 1), ys: probabilities };
  const middles = rounds.map((_, round) => loop.start + (round + 0.5) * loop.period + 0.5);
  return [tokens, { name: "mean of a round", kind: "second", dots: true, xs: middles, ys: rounds }];
}

function judge(loop, rounds) {
  if (rounds.length < 2) return { holds: null, words: `No loop within ${MOST_TOKENS} tokens. Try another prompt.` };
  const [first, last] = [rounds[0], rounds.at(-1)];
  return {
    holds: last > first,
    words:
      `A loop of ${loop.period} tokens, ${rounds.length} rounds: ` +
      `the mean probability of a token goes from ${percent(first)} to ${percent(last)}.`,
  };
}

/**
 * Find the loop that a text ends in: the shortest period that the last two rounds or more follow.
 * @param {number[]} ids
 * @returns {{start: number, period: number}|null} start: where its first round begins
 */
export function findLoop(ids) {
  for (let period = 1; period <= ids.length / 2; period += 1) {
    let start = ids.length - period;
    while (start > 0 && ids[start - 1] === ids[start - 1 + period]) start -= 1;
    if (ids.length - start >= 2 * period) return { start, period };
  }
  return null;
}

/** Mean probability of a token in each whole round of a loop. */
export function roundMeans(probabilities, { start, period }) {
  const count = Math.floor((probabilities.length - start) / period);
  return Array.from({ length: count }, (_, round) => {
    const own = probabilities.slice(start + round * period, start + (round + 1) * period);
    return own.reduce((sum, p) => sum + p, 0) / period;
  });
}

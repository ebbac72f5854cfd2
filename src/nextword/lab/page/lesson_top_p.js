/** Lesson 2.3.2: top-p keeps few tokens where the model is sure and many where it is not. */

import { slider } from "./controls.js";
import { counted, percent } from "./format.js";
import { formula, over, sub, sup, under } from "./math.js";
import { FLAT_AND_PEAKED, twoContexts } from "./two_contexts.js";

export const topP = {
  id: "2.3.2",
  title: "Top-p keeps a share of the probability",
  words: () => [
    "Top-p, or nucleus sampling, fixes not the number of tokens but the probability that they hold together. It keeps the " +
      "smallest set of most probable tokens that reaches p:",
    formula(under("∑", [sub("w", "i"), "∈", sup("V", "(p)")]), "P(", sub("w", "i"), "∣", sub("w", "<i"), ")≥p"),
    "Where one word is nearly certain, the nucleus is that word. Where many would do, it is wide.",
  ],
  claim: "The same p keeps few tokens of a peaked distribution and many of a flat one.",
  opens: { ...FLAT_AND_PEAKED, p: 0.9 },
  ranges: { p: { min: 0.05, max: 1, step: 0.01 } },
  instrument(root, desk) {
    root.append(slider(desk, "p", "p"));
    const show = twoContexts(root, desk);
    return async (ask) => {
      const { p } = desk.state;
      const { flat, peaked } = await show(ask, { top_p: p });
      return {
        holds: Math.min(flat.mass, peaked.mass) >= p - 1e-9 && peaked.num_tokens < flat.num_tokens,
        words:
          `p = ${p} leaves ${counted(peaked.num_tokens, "token")} of the peaked distribution (${percent(peaked.mass)}) ` +
          `and ${counted(flat.num_tokens, "token")} of the flat one (${percent(flat.mass)}).`,
      };
    };
  },
};

/** Lesson 2.3.1: top-k keeps the same number of tokens in every context, whatever the shape of the distribution. */

import { slider } from "./controls.js";
import { counted, percent } from "./format.js";
import { FLAT_AND_PEAKED, twoContexts } from "./two_contexts.js";

export const topK = {
  id: "2.3.1",
  title: "Top-k keeps k tokens",
  words: () => [
    "Random sampling sometimes draws from the long tail: each of its tokens is unlikely, but there are so many that " +
      "together they are not. One odd word can spoil a text.",
    "Top-k sorts the tokens, keeps the k most probable, divides by what they hold together so that they sum to 1 again, " +
      "and draws among them. With k = 1 it is greedy decoding.",
    "Outlines show the model's probabilities, bars what is left after the cut. Move k: in the flat context good words are " +
      "cut, while in the peaked one bad ones stay. The same k cannot fit both.",
  ],
  claim: "The same k keeps little of a flat distribution and nearly all of a peaked one.",
  opens: { ...FLAT_AND_PEAKED, k: 10 },
  ranges: { k: { min: 1, max: 50, step: 1 } },
  instrument(root, desk) {
    root.append(slider(desk, "k", "k"));
    const show = twoContexts(root, desk);
    return async (ask) => {
      const { k } = desk.state;
      const { flat, peaked } = await show(ask, { top_k: k });
      return {
        holds: flat.num_tokens === k && peaked.num_tokens === k && flat.mass < peaked.mass,
        words:
          `${counted(k, "token")} in each: ${percent(flat.mass)} of the flat distribution, ` +
          `${percent(peaked.mass)} of the peaked one.${k === 1 ? " One token is left to draw: this is greedy decoding." : ""}`,
      };
    };
  },
};

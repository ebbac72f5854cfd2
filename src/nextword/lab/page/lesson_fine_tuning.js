/** Lesson 3.2: fine-tuning with LoRA trains a small share of the weights, and counts only the answer's tokens. */

import { slider } from "./controls.js";
import { bars } from "./bars.js";
import { percent, whole } from "./format.js";
import { formula, sup } from "./math.js";

export const fineTuning = {
  id: "3.2",
  title: "Fine-tuning few weights",
  words: () => [
    "A pretrained model goes on learning from new text: its own subject, or conversations in which only the answers " +
      "count for the loss. Continued pretraining changes all weights by the same loss as before.",
    "Parameter-efficient methods freeze them. LoRA adds to each matrix W the product of two thin ones, A and B, whose rank " +
      "r is small, and trains only these:",
    formula(sup("W", "′"), "=W+", "B", "A"),
    formula("B∈", sup("ℝ", "out×r"), ",A∈", sup("ℝ", "r×in")),
    "A matrix of out × in weights is changed by r (out + in) numbers. Move the rank and count. The view Compare shows a " +
      "text under two models, such as one before and after its fine-tuning.",
  ],
  claim: "LoRA trains a small share of the weights, and the share grows with the rank.",
  opens: { rank: 8 },
  ranges: { rank: { min: 1, max: 64, step: 1 } },
  instrument(root, desk) {
    root.append(slider(desk, "rank", "Rank r"));
    const list = bars(root, "Share of the weights that are trained");
    return async () => {
      const { shape } = desk.info;
      const trained = loraWeights(shape, desk.state.rank);
      const share = trained / shape.num_parameters;
      list.show([
        { label: "All weights", value: 1, figure: whole(shape.num_parameters) },
        { label: "Trained by LoRA", value: share, figure: whole(trained), kind: "chosen" },
      ]);
      return {
        holds: trained < shape.num_parameters,
        words: `Rank ${desk.state.rank} trains ${whole(trained)} of ${whole(shape.num_parameters)} weights: ${percent(share)}.`,
      };
    };
  },
};

/** Weights of LoRA on all matrices of attention and MLP of a dense model. */
export function loraWeights(shape, rank) {
  const { hidden_size: hidden, intermediate_size: inner, head_dim: size } = shape;
  const [queries, keys] = [shape.num_heads * size, shape.num_kv_heads * size];
  const attention = 2 * (hidden + queries) + 2 * (hidden + keys);
  return shape.num_layers * rank * (attention + 3 * (hidden + inner));
}

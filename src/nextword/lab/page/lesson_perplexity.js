/** Lesson 4.1: perplexity as the geometric mean of the inverse probabilities, step by step. */

import { textField } from "./controls.js";
import { el } from "./dom.js";
import { counted, oneLine, percent, scientific } from "./format.js";
import { formula, frac, over, root, sub, sup } from "./math.js";
import { dataTable } from "./table.js";

const MOST_TOKENS = 64;
const factor = () => frac("1", ["P(", sub("w", "i"), "∣", sub("w", "<i"), ")"]);
const COLUMNS = ["Token", "Its probability P", "1 / P", "Product so far", "Its root: perplexity so far"];

export const perplexity = {
  id: "4.1",
  title: "Perplexity, step by step",
  words: () => [
    "A good model finds unseen text probable. The probability of a text is the product of its tokens' probabilities, which " +
      "is smaller for longer texts; the n-th root takes the length out. Perplexity is the inverse of that:",
    formula("Perplexity=", sup(["P(", sub("w", "1:n"), ")"], frac("−1", "n"))),
    formula("=", root([over("∏", "i=1", "n"), factor()], "n")),
    "So it is the geometric mean of the factors 1 / P in the table. Read it as a number of choices: at perplexity 8 the " +
      "model is as unsure, on average, as if it drew among 8 equally probable tokens. Lower is better.",
  ],
  claim: "The n-th root of the product equals e to the mean loss: perplexity is the loss in another unit.",
  opens: { text: "The capital of France is Paris." },
  instrument(rootNode, desk) {
    rootNode.append(textField(desk, "text", "Text", 2));
    const place = el("div.positions");
    rootNode.append(place);
    return async (ask) => {
      const { tokens } = await ask("read", { text: desk.state.text });
      const scored = tokens.filter((token) => token.log_prob !== null).slice(0, MOST_TOKENS);
      if (scored.length === 0) return { holds: null, words: "The text is too short: there is nothing to predict." };
      const steps = productSteps(scored.map((token) => Math.exp(token.log_prob)));
      place.replaceChildren(table(scored, steps));
      return judge(scored, steps);
    };
  },
};

/** Return the product of 1 / P and its root after each probability. */
export function productSteps(probabilities) {
  let product = 1;
  return probabilities.map((p, index) => {
    product /= p;
    return { p, inverse: 1 / p, product, root: product ** (1 / (index + 1)) };
  });
}

function table(tokens, steps) {
  const lines = steps.map(({ p, inverse, product, root: mean }, index) => [
    oneLine(tokens[index]),
    percent(p),
    short(inverse),
    short(product),
    mean.toFixed(3),
  ]);
  return dataTable("Perplexity, token by token", COLUMNS, lines);
}

const short = (number) => (number < 1e6 ? number.toFixed(2) : scientific(number, 3));

function judge(tokens, steps) {
  const n = tokens.length;
  const loss = -tokens.reduce((sum, token) => sum + token.log_prob, 0) / n;
  const { product, root: mean } = steps.at(-1);
  return {
    holds: Number.isFinite(product) ? Math.abs(mean / Math.exp(loss) - 1) < 1e-9 : null,
    words: `${counted(n, "factor")}: root of the product ${mean.toFixed(4)}; mean loss ${loss.toFixed(4)} nats, and e to it is ${Math.exp(loss).toFixed(4)}.`,
  };
}

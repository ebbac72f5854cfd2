/** Lesson 2.1: decoding is the choice of one token by probabilities, here by a random number. */

import { nextDistribution } from "./ask_model.js";
import { chainView } from "./chain.js";
import { textField } from "./controls.js";
import { button, el } from "./dom.js";
import { oneLine, percent } from "./format.js";

const TOP = 12;
const NUM_SEEDS = 2 ** 32;

export const decoding = {
  id: "2.1",
  title: "From probabilities to one word",
  words: () => [
    "The model does not write. It gives probabilities, and something else has to choose one token by them. That choice is " +
      "called decoding.",
    "To draw by chance, lay the tokens side by side, each as wide as its probability; together they fill the line from 0 " +
      "to 1. A random number falls on one of them. Probable tokens are hit often because they are wide.",
    "The seed fixes the numbers, so that a text can be had again. Draw with the next seed: the widths stay, the number moves.",
  ],
  claim: "The number falls on the token that is written, and that token is as wide as it is probable.",
  opens: { prompt: "The capital of Italy is", seed: 7 },
  instrument(root, desk) {
    const again = button("Draw with the next seed", () => desk.change({ seed: (desk.state.seed + 1) % NUM_SEEDS }));
    const drawn = el("p.drawn-word", { role: "status" });
    const box = el("div.scroll", {});
    root.append(textField(desk, "prompt", "Prompt"), again, drawn, box);
    const chain = chainView(box, { onPick: () => {} });
    desk.signal.addEventListener("abort", chain.end);
    return async (ask) => {
      const { prompt, seed } = desk.state;
      const position = await nextDistribution(ask, prompt, { seed }, { top: TOP });
      const chosen = position.rows.find((row) => row.token_id === position.draw.token_id);
      drawn.textContent = `Seed ${seed} draws “${oneLine(chosen)}”.`;
      chain.show(position, {});
      return judge(chosen, position.draw);
    };
  },
};

function judge(row, { number, interval: [from, to] }) {
  const isIn = from <= number && number <= to;
  const isAsWide = Math.abs(to - from - row.probabilities[0]) < 1e-6;
  return {
    holds: isIn && isAsWide,
    words:
      `The number ${number.toFixed(6)} lies between ${from.toFixed(6)} and ${to.toFixed(6)}: ` +
      `“${oneLine(row)}” is ${percent(to - from)} wide, and its probability is ${percent(row.probabilities[0])}.`,
  };
}

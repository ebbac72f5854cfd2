/** Lesson 1.1: a prompt turns word prediction into a task, here into the verdict on a review. */

import { nextDistribution } from "./ask_model.js";
import { bars } from "./bars.js";
import { textField } from "./controls.js";
import { el } from "./dom.js";
import { oneLine, percent } from "./format.js";

const ANSWERS = [" positive", " negative"];

export const prompts = {
  id: "1.1",
  title: "A prompt makes prediction a task",
  words: () => [
    "A language model does one thing: after any text, it gives each token of its vocabulary a probability of coming next. " +
      "In conditional generation we give the beginning, the prompt, and the model goes on from there.",
    "That is enough for many tasks. The prompt below shows two reviews with their verdicts, then one without. To go on " +
      "with it is to judge the review: the next word is the answer. Translation, questions and summaries are asked for in " +
      "the same way.",
  ],
  claim: "Only the prompt differs, and the more probable answer is the right one each time.",
  opens: {
    examples:
      "Review: A wonderful film.\nThis review is positive.\n\nReview: A waste of time.\nThis review is negative.",
    first: "I like Jackie Chan.",
    second: "I hate Jackie Chan.",
  },
  instrument(root, desk) {
    root.append(textField(desk, "examples", "Examples", 5));
    const columns = ["first", "second"].map((name) => column(root, desk, name));
    return async (ask) => {
      const found = [];
      for (const show of columns) found.push(await show(ask));
      return judge(found);
    };
  },
};

function column(root, desk, name) {
  const box = el("div.column", {}, textField(desk, name, name === "first" ? "A good review" : "A bad review"));
  const prompt = el("p.prompt");
  box.append(prompt);
  const shown = bars(box, "Probability of each answer");
  root.append(box);
  return async (ask) => {
    const end = `Review: ${desk.state[name]}\nThis review is`;
    prompt.textContent = `${end} …`;
    const probabilities = await answers(ask, `${desk.state.examples}\n\n${end}`);
    shown.show(probabilities.map(bar));
    return probabilities;
  };
}

function bar(probability, index) {
  return { label: oneLine({ text: ANSWERS[index] }), value: probability, figure: percent(probability) };
}

/** Return the probabilities of the answers after a prompt. */
async function answers(ask, prompt) {
  const found = [];
  for (const text of ANSWERS) {
    const { rows } = await nextDistribution(ask, prompt, {}, { top: 1, search: text });
    found.push(rows.find((row) => row.text === text)?.probabilities[0] ?? 0);
  }
  return found;
}

function judge([good, bad]) {
  const said = ([positive, negative]) => `“positive” ${percent(positive)}, “negative” ${percent(negative)}`;
  return {
    holds: good[0] > good[1] && bad[1] > bad[0],
    words: `After the good review: ${said(good)}. After the bad one: ${said(bad)}.`,
  };
}

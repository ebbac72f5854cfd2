/** Lesson 2.2: each chosen token becomes part of the context of all that follow. */

import { continuations, nextDistribution } from "./ask_model.js";
import { bars } from "./bars.js";
import { textField } from "./controls.js";
import { el } from "./dom.js";
import { oneLine, percent } from "./format.js";
import { formula, over, sub } from "./math.js";

const TOP = 5;
const NUM_TOKENS = 16;

export const autoregressive = {
  id: "2.2",
  title: "Each choice becomes context",
  words: () => [
    "A text is written one token at a time. The chosen token is put behind the context, and the model is asked again: this " +
      "is autoregressive generation. It takes back nothing.",
    formula("P(", sub("w", "1"), "…", sub("w", "n"), ")=", over("∏", "i=1", "n"), "P(", sub("w", "i"), "∣", sub("w", "<i"), ")"),
    "Both columns go on from the same prompt by the same rule, greedy decoding. They differ in one word, which you may " +
      "change.",
  ],
  claim: "One other token changes what comes next.",
  opens: { prompt: "She opened the door and saw", first: " a", second: " her" },
  instrument(root, desk) {
    root.append(textField(desk, "prompt", "Prompt"));
    const columns = ["first", "second"].map((name) => column(root, desk, name));
    return async (ask) => {
      const found = [];
      for (const show of columns) found.push(await show(ask));
      return judge(desk, found);
    };
  },
};

function column(root, desk, name) {
  const text = el("p.written");
  const box = el("div.column", {}, textField(desk, name, "Goes on with"));
  const shown = bars(box, "The most probable tokens after it");
  box.append(text);
  root.append(box);
  return async (ask) => {
    const prompt = desk.state.prompt + desk.state[name];
    const { rows } = await nextDistribution(ask, prompt, {}, { top: TOP });
    shown.show(rows.map((row) => ({ label: oneLine(row), value: row.probabilities[0], figure: percent(row.probabilities[0]) })));
    const [{ text: written }] = await continuations(ask, prompt, { temperature: 0, max_tokens: NUM_TOKENS });
    text.replaceChildren(el("span.given", {}, prompt), written);
    return rows[0];
  };
}

function judge({ state }, [one, other]) {
  const said = (name, row) => `After “${state[name]}” the most probable token is ${oneLine(row)} (${percent(row.probabilities[0])})`;
  return { holds: one.token_id !== other.token_id, words: `${said("first", one)}. ${said("second", other)}.` };
}

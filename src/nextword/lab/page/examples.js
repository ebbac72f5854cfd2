/** What stands in a view before its first text: a sentence that says what will be seen, and prompts to begin with. */

import { button, el } from "./dom.js";

const PROMPTS = ["The most beautiful city of Europe is", "To be or not to be", "Once upon a time there was a river that"];

/** Return the sentence and a button for each example; `onChoose(prompt)`: one was pressed. */
export function emptyState(words, onChoose) {
  const examples = PROMPTS.map((prompt) => button(prompt, () => onChoose(prompt)));
  return el("div.empty", {}, el("p.quiet", {}, words), el("div.row", { role: "group", "aria-label": "Examples" }, ...examples));
}

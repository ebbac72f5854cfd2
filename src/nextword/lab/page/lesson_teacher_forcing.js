/** Lesson 3.1: teacher forcing: a prediction at each position, always after the right history, and its cross-entropy. */

import { PLAIN } from "./ask_model.js";
import { textField } from "./controls.js";
import { el } from "./dom.js";
import { counted, nats, oneLine, percent } from "./format.js";
import { formula, frac, over, sub } from "./math.js";
import { dataTable } from "./table.js";

const MOST_TOKENS = 64;
const COLUMNS = ["The model reads …", "and expects", "but it is", "with probability", "loss −ln p"];

export const teacherForcing = {
  id: "3.1",
  title: "Teacher forcing",
  words: () => [
    "A model learns from text as it stands; nobody has to label it. At each position it predicts the next token, and its " +
      "loss is the cross-entropy: minus the logarithm of the probability that it gave to the right one.",
    formula(sub("L", "t"), "=−ln", "P(", sub("w", "t+1"), "∣", sub("w", "1"), "…", sub("w", "t"), ")"),
    formula("L=", frac("1", "T"), over("∑", "t=1", "T"), sub("L", "t")),
    "Whatever it expected, the next position reads the right token: this is teacher forcing. So no position waits for " +
      "another, and a transformer computes all rows of this table in one pass.",
  ],
  claim: "The loss of a text is the mean over its positions, each with the right history.",
  opens: { text: "The capital of Italy is Rome, and the capital of France is Paris." },
  instrument(root, desk) {
    root.append(textField(desk, "text", "Training text", 2));
    const place = el("div.positions");
    root.append(place);
    return async (ask) => {
      const { tokens } = await ask("read", { text: desk.state.text });
      const shown = tokens.slice(0, MOST_TOKENS);
      const at = shown.map((_, index) => index).filter((index) => shown[index].log_prob !== null);
      if (at.length === 0) return { holds: null, words: "The text is too short: there is nothing to predict." };
      const prompt = shown.map((token) => token.token_id);
      const { positions } = await ask("/v1/distribution", { prompt, ...PLAIN, at, top: 1 });
      place.replaceChildren(table(shown, positions));
      return judge(desk, ask, tokens, positions);
    };
  },
};

function table(tokens, positions) {
  const lines = positions.map((found) => line(tokens, found));
  const kinds = positions.map((found) => (isRight(found) ? "right" : "wrong"));
  const foot = [`Mean of ${counted(positions.length, "position")}: the loss`, "", "", "", lossOf(positions).toFixed(4)];
  return dataTable("Predictions, position by position", COLUMNS, lines, { foot, kinds });
}

function line(tokens, found) {
  const { position, token, rows } = found;
  const history = tokens.slice(Math.max(position - 3, 0), position).map(oneLine).join("");
  return [
    (position > 3 ? "… " : "") + history,
    `${oneLine(rows[0])} ${percent(rows[0].probabilities[0])}`,
    isRight(found) ? "right" : oneLine(token),
    percent(Math.exp(token.log_prob)),
    (-token.log_prob).toFixed(4),
  ];
}

const isRight = ({ token, rows }) => rows[0].token_id === token.token_id;

const lossOf = (positions) => positions.reduce((sum, { token }) => sum - token.log_prob, 0) / positions.length;

/** The server's own measurement of the text is the judge of the mean. */
async function judge(desk, ask, tokens, positions) {
  if (tokens.length > MOST_TOKENS) {
    return { holds: null, words: `The first ${MOST_TOKENS} tokens are shown; shorten the text to check its loss.` };
  }
  const loss = lossOf(positions);
  const measured = await ask("measure", { text: desk.state.text });
  const whole = measured.running_mean.at(-1);
  const wrong = positions.filter((found) => !isRight(found)).length;
  return {
    holds: Math.abs(loss - whole) < 1e-5,
    words:
      `The mean of the table is ${nats(loss)}, the loss of the whole text ${nats(whole)}. ` +
      `The guess was wrong at ${wrong} of ${counted(positions.length, "position")}, and the model read the right token all the same.`,
  };
}

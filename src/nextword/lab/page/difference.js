/** How two readings of one text, or two texts, differ: colours of the difference, its words, and where texts part. */

import { nats, oneLine } from "./format.js";

const STEPS = [0.05, 0.5, 2];

/** The colouring of a text by how much more or less probable B finds it than A; rows have `difference` in nats. */
export const DIFFERENCE = {
  title: "B finds it",
  needed: "difference",
  of: ({ difference }) => classOf(difference),
  legend: [["l3", "less probable by 2 nats"], ["l2", "0.5"], ["l1", ""], ["m0", "the same"], ["m1", ""], ["m2", "0.5"], ["m3", "2 nats more"]],
};

function classOf(difference) {
  const level = STEPS.filter((step) => Math.abs(difference) >= step).length;
  return `${difference < 0 ? "l" : "m"}${level}`;
}

/** Return a row for each span of /lab/compare, as tokens.js shows it. */
export function spanRows({ spans, sides }) {
  return spans.map((span, index) => {
    const [from, to] = span.tokens[0];
    const own = sides[0].tokens.slice(from, to);
    const shown = own.length === 1 ? own[0] : { token_id: index, bytes: own.flatMap(bytesOf) };
    return { ...shown, difference: span.difference, title: titleOf(span) };
  });
}

function titleOf({ log_probs: logProbs, difference }) {
  if (logProbs === null) return "nothing stands before it";
  const [a, b] = logProbs.map((one) => nats(-one));
  return `surprisal ${a} in A, ${b} in B: B finds it ${difference < 0 ? "less" : "more"} probable by ${nats(Math.abs(difference))}`;
}

/** Return in words what both give to one text. */
export function readingWords({ totals, problem }) {
  if (problem) return `The readings cannot be compared: ${problem}.`;
  const { difference, num_spans: count } = totals;
  if (!count || Math.abs(difference) < 1e-9) return "Both give the same probability to this text.";
  return `B gives this text ${nats(Math.abs(difference))} ${difference > 0 ? "less" : "more"} surprisal than A.`;
}

/** Return the indices of the tokens in which two texts part, or null where they are the same. */
export function partingOf(a, b) {
  const [left, right] = [a, b].map((rows) => rows.map(bytesOf));
  const [whole, other] = [left.flat(), right.flat()];
  const at = whole.findIndex((byte, index) => byte !== other[index]);
  if (at < 0 && whole.length === other.length) return null;
  return [left, right].map((pieces) => indexAt(pieces, at < 0 ? whole.length : at));
}

const bytesOf = (row) => (row.bytes?.length ? row.bytes : [...new TextEncoder().encode(row.text ?? "")]);

/** Return the piece that holds the byte at a place; the number of pieces if there is none. */
function indexAt(pieces, place) {
  let end = 0;
  const found = pieces.findIndex((piece) => (end += piece.length) > place);
  return found < 0 ? pieces.length : found;
}

/** Return in words where two texts part. */
export function partingWords(a, b, parting) {
  if (!parting) return "Both texts are the same.";
  const [left, right] = [a, b].map((rows, side) => (rows[parting[side]] ? `“${oneLine(rows[parting[side]])}”` : "the end"));
  const place = parting[0] === parting[1] ? `token ${parting[0]}` : `token ${parting[0]} of A and ${parting[1]} of B`;
  return `The texts are the same up to ${place}: there A has ${left}, and B ${right}.`;
}

/** Formulas as MathML, which browsers set without a library: formula("y = softmax", group("u"), ...). */

const MATHML = "http://www.w3.org/1998/Math/MathML";
const ATOMS = /[A-Za-zα-ωΑ-Ω]+|[0-9]+(?:[.,][0-9]+)*|\S/gu;

/**
 * Make a formula on a line of its own.
 * @param {...(Node|string)} parts strings are cut into letters, numbers and operators
 */
export function formula(...parts) {
  const node = mathml("math", ...parts);
  node.setAttribute("display", "block");
  return node;
}

/** Make a formula that stands within a sentence. */
export const inline = (...parts) => mathml("math", ...parts);

export const sub = (base, index) => mathml("msub", row(base), row(index));
export const sup = (base, exponent) => mathml("msup", row(base), row(exponent));
export const frac = (above, below) => mathml("mfrac", row(above), row(below));
export const root = (radicand, degree) => mathml("mroot", row(radicand), row(degree));

/** A sum or product sign with its limits below and above. */
export const over = (sign, from, to) => mathml("munderover", row(sign), row(from), row(to));

/** A sign with a limit below it. */
export const under = (sign, below) => mathml("munder", row(sign), row(below));

const row = (part) => mathml("mrow", part);

function mathml(tag, ...parts) {
  const node = document.createElementNS(MATHML, tag);
  for (const part of parts.flat()) {
    if (typeof part === "string") node.append(...part.match(ATOMS).map(atom));
    else node.append(part);
  }
  return node;
}

function atom(word) {
  const tag = /^\p{L}/u.test(word) ? "mi" : /^\d/.test(word) ? "mn" : "mo";
  const node = document.createElementNS(MATHML, tag);
  node.textContent = word;
  return node;
}

/** Numbers and bytes as they are shown. Figures are the server's: they are rounded here, never computed. */

const NATS_IN_A_BIT = Math.log(2);
/** A number and its unit stay on one line. */
const NO_BREAK = "\u00A0";

/** Return a probability as a percentage with two decimals, or, below 0.01 %, with two digits and a power of ten. */
export function percent(probability) {
  if (probability === null) return "–";
  if (probability >= 1e-4 || probability === 0) return `${(100 * probability).toFixed(2)}${NO_BREAK}%`;
  return `${scientific(100 * probability)}${NO_BREAK}%`;
}

/** Return a number with so many decimals and a power of ten: 1.3e-7 as 1.3 × 10⁻⁷. */
export function scientific(number, decimals = 1) {
  const [digits, power] = number.toExponential(decimals).split("e");
  return `${digits}${NO_BREAK}×${NO_BREAK}10${superscript(Number(power))}`;
}

/** Return nats with three decimals. */
export function nats(value) {
  return value === null || value === undefined ? "–" : `${value.toFixed(3)}${NO_BREAK}nats`;
}

/** Return nats as bits with two decimals. */
export function bits(value) {
  return `${(value / NATS_IN_A_BIT).toFixed(2)} bits`;
}

/** Return a whole number with separators: 49152 as 49,152. */
export function whole(number) {
  return number.toLocaleString("en");
}

/** Return "1 token", "2 tokens". */
export function counted(number, noun) {
  return `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** Return bytes as ⟨E2 96⟩. */
export function bytesText(bytes) {
  return `⟨${bytes.map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ")}⟩`;
}

/** Return a token on one line: spaces as ·, line ends as ↵, tabs as ⇥, bytes that are no character as ⟨E2⟩. */
export function oneLine(row) {
  const text = ownText(row);
  if (text === null) return bytesText(row.bytes);
  return [...text].map((character) => MARKS[character] ?? visible(character)).join("") || "⟨empty⟩";
}

/** Return the text of a token by itself, or null where its bytes are only a part of a character. */
export function ownText(row) {
  return row.bytes?.length ? decodedBytes(row.bytes) : (row.text ?? "");
}

/** Return the text of tokens one after the other; bytes that are no character become U+FFFD. */
export function textOfRows(rows) {
  const parts = rows.map((row) => (row.bytes?.length ? row.bytes : [...new TextEncoder().encode(row.text ?? "")]));
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(parts.flat()));
}

/** Return the text of bytes in UTF-8, or null if they are none. */
export function decodedBytes(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return null;
  }
}

const MARKS = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };

/** Characters without a shape of their own, which would hide in a text or turn its direction. */
const HIDDEN = /[\u0000-\u001F\u007F-\u00A0\u00AD\u061C\u180E\u2000-\u200F\u2028-\u202F\u205F-\u206F\u3000\uFEFF\uFFF9-\uFFFB]/u;

/** Return a character, or its number if it cannot be seen: U+200B as ⟨U+200B⟩. */
export function visible(character) {
  if (!HIDDEN.test(character)) return character;
  return `⟨U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

function superscript(number) {
  return String(number).replace(/[-\d]/g, (sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign]));
}

/** The layers' own guesses (logit lens): what each layer would say if it were the last. */

import { el } from "./dom.js";
import { oneLine, percent, whole } from "./format.js";
import { dataTable } from "./table.js";

const NUM_GUESSES = 5;

/**
 * Return the table of one answer of /lab/inside.
 * @param {{layer: number, top: Object[], rank_of_final: number}[]} lens
 */
export function lensTable(lens) {
  const places = Array.from({ length: NUM_GUESSES }, (_, index) => (index === 0 ? "First guess" : `${index + 1}.`));
  const columns = ["Layer", "Rank of the last", ...places];
  const lines = [...lens].reverse().map(({ layer, top, rank_of_final: rank }) => [String(layer), whole(rank), ...top.slice(0, NUM_GUESSES).map(guess)]);
  return dataTable("Guesses of each layer", columns, lines, { text: places.map((_, index) => index + 2) });
}

function guess(row) {
  return el(`span.guess.e${Math.round(9 * row.probability)}`, { title: percent(row.probability) }, oneLine(row));
}

/** The view in which one writes and sees. */

import { el } from "./dom.js";

/** Fill `root`; see main.js. */
export function mount(root, context) {
  root.append(el("p.quiet", {}, `${context.info.model} is ready.`));
}

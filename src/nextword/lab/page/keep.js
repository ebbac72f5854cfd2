/** What is kept: the link of the page, and its state as JSON, out and in. */

import { button, el } from "./dom.js";
import { whole } from "./format.js";
import { fromJson, toJson, writeUrl } from "./state.js";

/** A file of the lab is smaller: thousands of tokens take some 100 kB. */
const MOST_BYTES = 20e6;

/** Return the buttons that copy the link, save and open. `restore(state)` shows what was kept. */
export function keepTools(context, restore) {
  const file = el("input", { type: "file", accept: "application/json,.json", hidden: true, "aria-label": "File to open" });
  file.addEventListener("change", async () => {
    if (file.files.length) await openText(context, file.files[0], restore);
    file.value = "";
  });
  return [
    button("Copy link", () => copyLink(context), { class: "quiet" }),
    button("Save", () => download("lab.json", "application/json", toJson(context.store.get())), { class: "quiet" }),
    button("Open", () => file.click(), { class: "quiet" }),
    file,
  ];
}

/** Let the browser save content under a name. */
export function download(name, type, content) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

async function copyLink(context) {
  await writeUrl(context.store);
  try {
    await navigator.clipboard.writeText(location.href);
    context.announce("The link is copied.");
  } catch {
    context.showProblem(new Error("The browser does not let the page copy: copy the link from the address bar."));
  }
}

async function openText(context, file, restore) {
  context.showProblem(null);
  try {
    if (file.size > MOST_BYTES) throw new Error(`The file has ${whole(file.size)} bytes, more than the lab saves: choose one that it has exported.`);
    await restore(fromJson(await file.text()));
  } catch (error) {
    context.showProblem(error);
    return;
  }
  await writeUrl(context.store, { isNew: true });
}

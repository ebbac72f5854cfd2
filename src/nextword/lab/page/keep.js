/** What is kept: the link of the page, and its state as JSON, out and in. */

import { button, el } from "./dom.js";
import { fromJson, toJson, writeUrl } from "./state.js";

/** Return the buttons that copy the link, save and open. `open` shows the state anew. */
export function keepTools(context, open) {
  const file = el("input", { type: "file", accept: "application/json,.json", hidden: true, "aria-label": "File to open" });
  file.addEventListener("change", async () => {
    if (file.files.length) await openText(context, await file.files[0].text(), open);
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

async function openText(context, text, open) {
  try {
    context.store.set(fromJson(text));
  } catch (error) {
    context.showProblem(error);
    return;
  }
  await writeUrl(context.store, { isNew: true });
  open();
}

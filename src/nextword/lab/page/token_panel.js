/** Tokens on their colours with the choice of a colouring, and the distribution of the one that is picked. */

import { button, el, labelled, select } from "./dom.js";
import { openInWrite } from "./open_in_write.js";
import { positionPanel } from "./position.js";
import { COLOURINGS, legend, tokenView } from "./tokens.js";

/** Return a select of the colouring in the store, with its legend. `onChange()` is called after a choice. */
export function colourChoice(store, onChange) {
  const key = el("div");
  const draw = () => key.replaceChildren(legend(store.get().colour));
  const options = Object.entries(COLOURINGS).map(([name, { title }]) => [name, title]);
  const chosen = (colour) => {
    store.set({ colour });
    draw();
    onChange();
  };
  draw();
  return el("div.row", {}, labelled("colour", select(options, store.get().colour, chosen)), key);
}

/**
 * Return a card with the distribution of a token that is picked elsewhere. `show(asked)` as in position.js, and with
 * `text()`, what `openInWrite` takes; there a row that is taken is the next choice.
 */
export function distributionCard(context) {
  const card = el("section.card.position", { "aria-label": "Distribution", hidden: true });
  let shown = null;
  const open = (taken) => context.attempt(() => openInWrite(context, { ...shown.text(), at: shown.position }, taken));
  const foot = button("Open in Write", () => open(null), { title: "Go on with this text in Write; a click on another token takes that there" });
  const panel = positionPanel(card, context, { onTake: open, foot });
  return {
    node: card,
    end: panel.end,
    show(asked) {
      shown = asked;
      card.hidden = asked === null;
      panel.show(asked);
    },
  };
}

/**
 * Show a text in `root`, its tokens and the distribution of the picked one.
 * Returns {show(text), pick(index), end()}; text: {tokens, offset, params, seed}: the rows of the whole text, where in it
 * those begin that are shown (0: all; the text was not written by the model), and the settings of the draw.
 */
export function tokenPanel(root, context, { label, onPick = () => {} }) {
  const box = el("div");
  const card = distributionCard(context);
  let text = null;
  const view = tokenView(box, { label, onPick: (index) => picked(index) });
  const draw = () => text && view.show({ tokens: text.tokens.slice(text.offset), colour: context.store.get().colour });

  function picked(index) {
    onPick(index);
    const { tokens, offset, params, seed } = text;
    const position = offset + index;
    const tokenIds = tokens.map((row) => row.token_id);
    const whole = () => ({ rows: tokens, promptLength: offset || tokens.length, params, seed });
    card.show({ model: context.store.get().model || undefined, tokenIds, position, promptLength: offset || position, params, seed, text: whole });
  }

  root.append(el("div.token-panel", {}, el("div", {}, box, colourChoice(context.store, draw)), card.node));
  return {
    end: card.end,
    show(next) {
      text = next;
      card.show(null);
      draw();
    },
    pick(index) {
      view.pick(index);
      picked(index);
    },
  };
}

/** Tokens on their colours with the choice of a colouring, and the distribution of the one that is picked. */

import { el, labelled, select } from "./dom.js";
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

/** Return a card with the distribution of a token that is picked elsewhere; `show` as in position.js. */
export function distributionCard(context) {
  const card = el("section.card.position", { "aria-label": "Distribution", hidden: true });
  const onTake = () => context.announce("A token can be taken in the view Write.");
  const panel = positionPanel(card, context, { onTake });
  return {
    node: card,
    end: panel.end,
    show(asked) {
      card.hidden = asked === null;
      panel.show(asked);
    },
  };
}

/**
 * Show a text in `root`, its tokens and the distribution of the picked one.
 * Returns {show(text), pick(index), end()}; text: {tokens, tokenIds, offset, params, seed}: the rows that are shown, the
 * ids of the whole text, where in it the rows begin (0: the text was not written by the model), and the settings of the
 * draw.
 */
export function tokenPanel(root, context, { label, onPick = () => {} }) {
  const box = el("div");
  const card = distributionCard(context);
  let text = null;
  const view = tokenView(box, { label, onPick: (index) => picked(index) });
  const draw = () => text && view.show({ tokens: text.tokens, colour: context.store.get().colour });

  function picked(index) {
    onPick(index);
    const { tokenIds, offset, params, seed } = text;
    const position = offset + index;
    const model = context.store.get().model || undefined;
    card.show(position === 0 ? null : { model, tokenIds, position, promptLength: offset || position, params, seed });
  }

  root.append(box, colourChoice(context.store, draw), card.node);
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

/** What is kept of a conversation: the turns of both sides, and of an answer its tokens and how they were drawn. */

/**
 * @typedef {Object} Answer
 * @property {"assistant"} role
 * @property {string} content
 * @property {number[]} token_ids of the answer
 * @property {number[]} prompt_ids of all before it, in the model's chat form
 * @property {number} seed
 * @property {Object} params
 */

/** Return true for a list of turns; links and files may hold anything. */
export function isConversation(data) {
  return Array.isArray(data) && data.every(isTurn);
}

function isTurn(turn) {
  if (typeof turn?.content !== "string") return false;
  return turn.role === "user" || (turn.role === "assistant" && isAnswer(turn));
}

function isAnswer({ token_ids: tokenIds, prompt_ids: promptIds, seed, params }) {
  const isSettings = Number.isSafeInteger(seed) && typeof params === "object" && params !== null;
  return isSettings && isIds(tokenIds) && isIds(promptIds);
}

const isIds = (ids) => Array.isArray(ids) && ids.every(Number.isSafeInteger);

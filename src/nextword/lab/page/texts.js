/** Texts from the server: a prompt as token ids, tokens as the model writes them, and the figures of tokens that stand. */

import { events, post } from "./api.js";

/** Return the token ids of a prompt; `isChat`: as a user's message in the model's chat form. Throws Problem. */
export async function encode(model, prompt, isChat) {
  if (!isChat) return (await post("/tokenize", { model, prompt })).tokens;
  return (await post("/tokenize", { model, messages: [{ role: "user", content: prompt }] })).tokens;
}

/** Return the rows of tokens: what the model gave to each after those before it. Throws Problem. */
export async function read(model, tokenIds, promptLength) {
  if (!tokenIds.length) return [];
  return (await post("read", { model, token_ids: tokenIds, prompt_length: promptLength })).tokens;
}

/**
 * Let the model write after `tokenIds`; returns why the text ended. Throws Problem, and AbortError when stopped.
 * @param {{model: string, seed: number, params: object, max_tokens: number, n?: number}} settings
 * @param {(rows: object[], index: number) => void} onRows called with new tokens of the sample `index`
 */
export async function write(tokenIds, settings, onRows, signal) {
  const { params, ...others } = settings;
  const body = { ...others, ...params, prompt: tokenIds, stream: true, logprobs: 0, return_token_ids: true };
  let ending = null;
  for await (const { choices } of events("/v1/completions", body, { signal })) {
    for (const choice of choices) {
      const rows = rowsOf(choice);
      if (rows.length) onRows(rows, choice.index);
      ending = choice.finish_detail ?? ending;
    }
  }
  return ending;
}

/** Return the rows of one piece of a stream; rank and entropy are not known yet. */
function rowsOf({ token_ids: tokenIds, logprobs }) {
  return (tokenIds ?? []).map((tokenId, at) => ({
    token_id: tokenId,
    text: logprobs?.tokens[at] ?? "",
    log_prob: logprobs?.token_logprobs[at] ?? null,
    rank: null,
    entropy: null,
  }));
}

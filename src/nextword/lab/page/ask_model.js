/** What lessons ask the model: a context in, rows of its next-token distribution or a continuation out. */

/** All steps switched off: the model's own distribution. */
export const PLAIN = {
  temperature: 1,
  top_k: 0,
  top_p: 1,
  min_p: 0,
  repetition_penalty: 1,
  presence_penalty: 0,
  frequency_penalty: 0,
};

/**
 * @callback Ask
 * @param {string} path of a route
 * @param {Object} body
 * @returns {Promise<Object>} the answer; rejected with an Error in words, or when the reader has moved on
 */

/**
 * The distribution of the token after a context.
 * @param {Ask} ask
 * @param {string|number[]} prompt
 * @param {Object} [params] sampling parameters; those not given are off
 * @param {Object} [more] further fields of the route: top, search, show
 */
export async function nextDistribution(ask, prompt, params = {}, more = {}) {
  const answer = await ask("/v1/distribution", { prompt, ...PLAIN, ...params, ...more });
  return answer.positions[0];
}

/**
 * A continuation of a context, with each token's probability.
 * @param {Ask} ask
 * @param {string|number[]} prompt
 * @param {Object} params sampling parameters; those not given are off
 * @returns {Promise<{text: string, tokens: {token_id: number, text: string, log_prob: number}[]}[]>}
 */
export async function continuations(ask, prompt, params) {
  const answer = await ask("/v1/completions", {
    prompt,
    ...PLAIN,
    ...params,
    logprobs: 0,
    return_token_ids: true,
  });
  return answer.choices.map((choice) => ({
    text: choice.text,
    tokens: choice.token_ids.map((token_id, index) => ({
      token_id,
      text: choice.logprobs.tokens[index],
      log_prob: choice.logprobs.token_logprobs[index],
    })),
  }));
}

/** The probability of a row after the last step, 0 where it was removed. */
export const lastProbability = (row) => row.probabilities.at(-1) ?? 0;

/** The server's routes: JSON in, JSON or events out, and every failure as a `Problem` in words. */

const NO_ANSWER =
  "The server does not answer: it has ended, or the connection is broken. Your text is still here. " +
  "Start it again with “nextword lab”, then try again.";

/** A failure with a message for people. `isEnd`: the server could not be reached at all. */
export class Problem extends Error {
  /** @param {string} message @param {{isEnd?: boolean, status?: number}} [about] */
  constructor(message, { isEnd = false, status = 0 } = {}) {
    super(message);
    this.isEnd = isEnd;
    this.status = status;
  }
}

/** Return the JSON of a route. Throws Problem. */
export async function get(path) {
  return (await answered(path, {})).json();
}

/** Return the text of a route. Throws Problem. */
export async function getText(path) {
  return (await answered(path, {})).text();
}

/** Return the JSON that a route answers to a body. Throws Problem, and AbortError where `signal` says so. */
export async function post(path, body, { signal } = {}) {
  return (await answered(path, posting(body, signal))).json();
}

/**
 * Yield the objects of a stream of server-sent events, up to its end or [DONE]. Throws Problem, also for a stream that
 * breaks off and for an error that the server writes into it.
 * @param {string} path
 * @param {object|null} body null: GET
 */
export async function* events(path, body, { signal } = {}) {
  const response = await answered(path, body === null ? { signal } : posting(body, signal));
  for await (const data of eventData(response.body)) {
    if (data === "[DONE]") return;
    const found = JSON.parse(data);
    if (found.error) throw new Problem(found.error.message);
    yield found;
  }
  if (body !== null) throw new Problem(NO_ANSWER, { isEnd: true });
}

/**
 * Return a function that calls `work(...args)` one at a time: of the calls that come while one runs, only the last is
 * made. For controls that move faster than the server answers.
 */
export function latest(work) {
  let isRunning = false;
  let waiting = null;
  return async function call(...args) {
    waiting = args;
    if (isRunning) return;
    isRunning = true;
    while (waiting) {
      const next = waiting;
      waiting = null;
      await work(...next);
    }
    isRunning = false;
  };
}

function posting(body, signal) {
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal };
}

async function answered(path, options) {
  const response = await fetched(path, options);
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Problem(body?.error?.message ?? `${path}: the server answers with status ${response.status}`, {
    status: response.status,
  });
}

async function fetched(path, options) {
  try {
    return await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(NO_ANSWER, { isEnd: true });
  }
}

async function* eventData(body) {
  let rest = "";
  for await (const piece of pieces(body)) {
    const found = (rest + piece).split("\n\n");
    rest = found.pop();
    for (const event of found) {
      const lines = event.split("\n").filter((line) => line.startsWith("data:"));
      if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}

async function* pieces(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(NO_ANSWER, { isEnd: true });
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** All lessons, in the order of the textbook. */

import { autoregressive } from "./lesson_autoregressive.js";
import { decoding } from "./lesson_decoding.js";
import { fineTuning } from "./lesson_fine_tuning.js";
import { greedy } from "./lesson_greedy.js";
import { perplexity } from "./lesson_perplexity.js";
import { prompts } from "./lesson_prompts.js";
import { randomSampling } from "./lesson_random.js";
import { teacherForcing } from "./lesson_teacher_forcing.js";
import { temperature } from "./lesson_temperature.js";
import { topK } from "./lesson_top_k.js";
import { topP } from "./lesson_top_p.js";
import { trainingLive } from "./lesson_training.js";

/**
 * @typedef {Object} Verdict
 * @property {boolean|null} holds null: the instrument cannot show it with these values
 * @property {string} words the figures that say so
 *
 * @typedef {Object} Lesson
 * @property {string} id its name in the URL: the section of the textbook
 * @property {string} [section] the section, where the id says more
 * @property {string} title
 * @property {function(): (string|Node)[]} words paragraphs and formulas
 * @property {string} claim the sentence that the instrument shows
 * @property {Object} opens values in which the instrument opens, by name
 * @property {Object<string, {min: number, max: number, step: number}>} [ranges] of those that a slider moves
 * @property {function(HTMLElement, import("./controls.js").Desk): function(import("./ask_model.js").Ask):
 *   Promise<Verdict>} instrument builds it, and returns what runs it after each change
 */

/** @type {Lesson[]} */
export const LESSONS = [
  prompts,
  greedy,
  decoding,
  autoregressive,
  randomSampling,
  topK,
  topP,
  temperature,
  teacherForcing,
  trainingLive,
  fineTuning,
  perplexity,
];

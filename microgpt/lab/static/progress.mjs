// What a learner has predicted, bet and done: kept in this browser, for this site.

/** @typedef {{draft?: string, said?: string, done?: boolean, bets?: Record<string, string>,
 *   source?: string, version?: string}} Kept */

const KEY = `microgpt school ${location.pathname}`;

/** @returns {Record<string, Kept>} */
function all() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    return {}; // nothing can be kept here, or what is there is not ours
  }
}

/** What is known of a lesson. @param {string} name @returns {Kept} */
export function kept(name) {
  return all()[name] ?? {};
}

/** @param {string} name @param {Kept} more */
export function keep(name, more) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...all(), [name]: { ...kept(name), ...more } }));
  } catch {
    // it is shown all the same, and forgotten with the page
  }
}

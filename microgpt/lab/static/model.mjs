// What a view speaks with: named values that can be watched, and a host that answers.

/** @typedef {import("./app.mjs").Host} Host */
/** @typedef {import("./app.mjs").Model} Model */

/** The host does not answer any more. */
export class Gone extends Error {
  name = "Gone";
}

/** @param {string} name @param {object} question */
const key = (name, question) => JSON.stringify([name, question]);

/** What the first screens ask, answered beforehand. @returns {Promise<Map<string, any>>} */
async function load() {
  /** @type {[string, object, any][]} */
  const rows = await fetch("recorded.json").then(
    (answer) => answer.json(),
    () => [],
  );
  return new Map(rows.map(([name, question, answer]) => [key(name, question), answer]));
}

/** @param {Host} host @returns {Model} */
export function create(host) {
  /** @type {Map<string, any>} */
  const values = new Map([["gone", ""]]);
  const target = new EventTarget();
  const recorded = load();
  let { trained } = host;

  /** @param {string} name @param {any} value */
  function set(name, value) {
    values.set(name, value);
    target.dispatchEvent(new Event(`change:${name}`));
  }

  /** Notice whether the host answers.
   * @template T @param {Promise<T>} answer @returns {Promise<T>} */
  async function noticed(answer) {
    try {
      const found = await answer;
      if (values.get("gone")) set("gone", "");
      return found;
    } catch (error) {
      if (error instanceof Gone) set("gone", error.message);
      throw error;
    }
  }

  /** Those recorded are about the lab's own model. @type {Model["ask"]} */
  const ask = async (name, question = {}) =>
    (!trained && (await recorded).get(key(name, question))) || noticed(host.ask(name, question));

  return {
    get: (name) => values.get(name),
    set,
    on: (event, heard) => target.addEventListener(event, heard),
    off: (event, heard) => target.removeEventListener(event, heard),
    ask,
    command: (run, order) => noticed(host.command(run, order)),
    run: (kind, question, heard, signal) => noticed(host.run(kind, question, heard, signal)),
    lost: () => set("gone", host.gone),
    async use(name) {
      trained = name;
      host.use(name);
      set("described", { ...(await ask("model")), trained });
    },
  };
}

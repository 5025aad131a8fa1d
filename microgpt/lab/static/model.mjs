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
  const values = new Map(
    Object.entries({ gone: "", kept: [] }), // kept: the models that runs have trained
  );
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

  /** Those recorded are about the lab's own model.
   * @param {string} of @param {string} name @param {object} [question] */
  const ask = async (of, name, question = {}) =>
    (!of && (await recorded).get(key(name, question))) || noticed(host.ask(name, question, of));

  /** @param {string} of @param {Parameters<Model["run"]>} run */
  function run(of, [kind, question, heard, signal]) {
    /** @param {any} event */
    const hear = (event) => {
      if (event.model) set("kept", [...values.get("kept"), { name: event.model, kind }]);
      heard(event);
    };
    return noticed(host.run(kind, question, hear, signal, of));
  }

  /** @type {Model} */
  const page = {
    get: (name) => values.get(name),
    set,
    on: (event, heard) => target.addEventListener(event, heard),
    off: (event, heard) => target.removeEventListener(event, heard),
    ask: (name, question) => ask(trained, name, question),
    command: (run, order) => noticed(host.command(run, order)),
    run: (...given) => run(trained, given),
    lost: () => set("gone", host.gone),
    async use(name) {
      trained = name;
      host.use(name);
      set("described", { ...(await page.ask("model")), trained });
    },
    async of(name) {
      const described = { ...(await ask(name, "model")), trained: name };
      return {
        ...page,
        get: (value) => (value === "described" ? described : values.get(value)),
        ask: (question, given) => ask(name, question, given),
        run: (...given) => run(name, given),
      };
    },
  };
  return page;
}

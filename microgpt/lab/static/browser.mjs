// The host of an exported lab: Python in workers of this page's, nothing behind it but files.

const LIMIT = 60;  // seconds that edited code may take
const LOADING = "Python is on its way to your browser: 13 MB, once. Then it runs here.";

/**
 * A worker with a Python of its own (python.mjs).
 * @typedef {{worker: Worker, ready: Promise<void>, heard: (message: any) => void, end: () => void}} Python
 */

/** @returns {Python} */
function python() {
  const worker = new Worker(new URL("./python.mjs", import.meta.url), { type: "module" });
  /** @type {Python} */
  const made = { worker, heard: () => {}, end: () => worker.terminate(), ready: new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data.ready) resolve();
      else if (data.failed) reject(new Error(data.failed));
      else made.heard(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error("Python could not be loaded; reload the page to try again"));
    };
  }) };
  made.ready.catch(() => {});  // whoever waits for it is told
  return made;
}

/** @returns {import("./app.mjs").Host} */
export function connect() {
  const status = /** @type {HTMLElement} */ (document.getElementById("status"));
  const answers = python();
  /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  let asked = 0;
  answers.heard = ({ id, told }) => {
    const { resolve, reject } = /** @type {any} */ (waiting.get(id));
    const { answer, error } = JSON.parse(told);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(answer);
  };

  /** A Python that waits for a run: it takes seconds to come, and nobody shall wait for it. @type {Python | null} */
  let spare = null;
  /** @type {Map<string, Python>} */
  const runs = new Map();
  let started = 0;

  status.textContent = LOADING;
  const loaded = answers.ready.finally(() => {
    if (status.textContent === LOADING) status.textContent = "";
  });
  loaded.then(() => (spare ??= python()), () => {});

  return {
    async ask(name, question) {
      await loaded;
      const id = ++asked;
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        answers.worker.postMessage({ id, name, question: JSON.stringify(question) });
      });
    },
    async command(run, order) {
      const mine = runs.get(run);
      if (!mine) throw new Error("that run has ended; start another");
      mine.worker.postMessage({ command: JSON.stringify(order) });
    },
    async run(kind, question, heard, signal) {
      const mine = spare ?? python();
      spare = null;
      const run = String(++started);
      runs.set(run, mine);
      let timer = 0;
      try {
        await Promise.race([ended(signal), mine.ready]);
        if (signal.aborted) return;
        heard({ run });
        await new Promise((resolve) => {
          signal.addEventListener("abort", resolve);
          mine.heard = ({ event, over }) => {
            if (over) resolve(null);
            else heard(JSON.parse(event));
          };
          if (kind === "edit") {
            timer = setTimeout(() => {
              heard({ error: `the edited code was stopped after ${LIMIT} s; does a loop never end?` });
              resolve(null);
            }, 1000 * LIMIT);
          }
          mine.worker.postMessage({ run: JSON.stringify({ kind, ...question }) });
        });
      } finally {
        clearTimeout(timer);
        runs.delete(run);
        mine.end();
        spare ??= python();
      }
    },
  };
}

/** @param {AbortSignal} signal @returns {Promise<void>} */
function ended(signal) {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve());
  });
}

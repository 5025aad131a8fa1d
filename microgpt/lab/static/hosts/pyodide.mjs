// The host of an exported lab: Python in workers of this page's, nothing behind it but files.

/**
 * A worker with a Python of its own (python.mjs).
 * @typedef {{worker: Worker, ready: Promise<void>, heard: (message: any) => void}} Python
 */

/** @returns {Python} */
function python() {
  const worker = new Worker(new URL("./python.mjs", import.meta.url), { type: "module" });
  /** @type {Python} */
  const made = {
    worker,
    heard: () => {},
    ready: new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if (data.ready) resolve();
        else if (data.failed) reject(new Error(data.failed));
        else made.heard(data);
      };
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error("Python could not be loaded; reload the page to try again"));
      };
    }),
  };
  made.ready.catch(() => {}); // those who wait for it hear of it
  return made;
}

/** Have a Python do a job, until it is over, or until its code has been silent for too long.
 * @param {Python} python @param {object} job @param {(event: any) => void} heard
 * @param {() => void} first  called once it has begun */
async function work(python, job, heard, first) {
  const { promise: over, resolve } = Promise.withResolvers();
  let timer = 0,
    silence = 0; // seconds that edited code may take for one event; 0 for any number
  const giveUp = () => {
    heard({ error: `your code was stopped: silent for ${silence} s; does a loop never end?` });
    resolve(null);
  };
  python.heard = (message) => {
    clearTimeout(timer);
    first();
    if (message.event) {
      const event = JSON.parse(message.event);
      silence = event.silence ?? silence;
      heard(event);
    }
    if (message.over) resolve(null);
    else if (silence) timer = setTimeout(giveUp, 1000 * silence);
  };
  python.worker.postMessage(job);
  await over;
}

/** A line at the foot of the page that says what is waited for, until it is there. */
function waitingLine() {
  const foot = document.createElement("p");
  foot.className = "waiting";
  foot.setAttribute("role", "status");
  document.body.append(foot);
  /** @type {string[]} */
  const lines = [];

  /** @template T @param {string} line @param {Promise<T>} coming @returns {Promise<T>} */
  return function said(line, coming) {
    const show = () => (foot.textContent = lines[0] ?? "");
    lines.push(line);
    show();
    return coming.finally(() => {
      lines.splice(lines.indexOf(line), 1);
      show();
    });
  };
}

/** @returns {import("../app.mjs").Host} */
export function connect() {
  const said = waitingLine();
  const answers = python();
  /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  let asked = 0;
  answers.heard = ({ id, reply }) => {
    const { resolve, reject } = /** @type {any} */ (waiting.get(id));
    const { answer, error } = JSON.parse(reply);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(answer);
  };
  const ready = said(
    "Python is on its way to your browser: 13 MB, once. What you see was recorded; soon it is " +
      "live.",
    answers.ready,
  );

  /** @type {Map<string, string>} models that runs have trained, as JSON */
  const models = new Map();

  /** A Python for the next run, which ends with it: to come takes it seconds.
   * @type {Python | null} */
  let spare = null;
  ready.then(() => (spare ??= python()));
  /** @type {Map<string, Python>} */
  const runs = new Map();
  let begun = 0;

  return {
    gone: "This page's files cannot be reached. Check the connection, then reload the page",
    trained: "",
    use: () => {}, // a page that is loaded again has forgotten them
    async ask(name, question, of) {
      await ready;
      const id = ++asked;
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        answers.worker.postMessage({ id, of, name, question: JSON.stringify(question) });
      });
    },
    async command(run, order) {
      runs.get(run)?.worker.postMessage({ command: JSON.stringify(order) });
    },
    async run(kind, question, heard, signal, of) {
      const mine = spare ?? python(),
        run = String(++begun);
      /** @param {any} event */
      const hear = ({ held, ...event }) => {
        if (held) {
          event.model = `${run}-${event.model}`;
          models.set(event.model, held);
          answers.worker.postMessage({ hold: event.model, model: held });
        }
        heard(event);
      };
      spare = null;
      runs.set(run, mine);
      try {
        const left = new Promise((resolve) => signal.addEventListener("abort", resolve));
        await said(
          "Each run has a Python of its own; it is on its way.",
          Promise.race([mine.ready, left]),
        );
        if (signal.aborted) {
          // before it began: another run may have this Python
          spare ??= mine;
          return;
        }
        heard({ run });
        const next = () => (spare ??= python());
        if (models.has(of)) mine.worker.postMessage({ hold: of, model: models.get(of) });
        const job = { run: JSON.stringify({ kind, ...question }), of };
        await Promise.race([work(mine, job, hear, next), left]);
      } finally {
        mine.heard({ over: true });
        runs.delete(run);
        if (spare !== mine) mine.worker.terminate();
        spare ??= python();
      }
    },
  };
}

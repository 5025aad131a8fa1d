// Runs of one kind: one at a time, each begun, commanded and ended from here.

/** @typedef {import("./app.mjs").Model} Model */

/**
 * What a run needs to be spoken to: how to leave it, its id once the host has said it, and the
 * commands given so far, each of which waits for those before it.
 * @typedef {{leave: AbortController, id: Promise<string>, commands: Promise<any>}} Run
 */

/**
 * Return what starts, commands and stops the runs of a screen. Events of a run that another has
 * replaced, or that was stopped, are not heard.
 * @param {Model} model @param {string} kind @param {(event: any) => void} heard
 */
export function runner(model, kind, heard) {
  /** @type {Run | null} */
  let now = null;

  function stop() {
    now?.leave.abort();
    now = null;
  }

  /** Begin a run in place of the last; return, when it is over, whether it came to its own end.
   * @param {object} question */
  async function start(question) {
    stop();
    const { promise: id, resolve } = Promise.withResolvers();
    const mine = { leave: new AbortController(), id, commands: id };
    now = mine;
    /** @param {any} event */
    const listen = (event) => {
      if (mine !== now) return;
      if (event.run) resolve(event.run);
      heard(event);
    };
    try {
      await model.run(kind, question, listen, mine.leave.signal);
      return mine === now;
    } catch (error) {
      if (mine === now) throw error;
      return false; // it was left: nobody waits for what became of it
    } finally {
      if (mine === now) now = null;
    }
  }

  /** Tell the run something; commands arrive in the order in which they were given.
   * @param {object} what */
  async function command(what) {
    const mine = now;
    if (!mine) return;
    const send = async () => {
      const id = await mine.id;
      if (mine === now) await model.command(id, what);
    };
    mine.commands = mine.commands.catch(() => {}).then(send);
    try {
      await mine.commands;
    } catch (error) {
      if (mine === now) throw error; // else the run has ended, as it may
    }
  }

  return {
    start,
    command,
    stop,
    get going() {
      return now !== null;
    },
  };
}

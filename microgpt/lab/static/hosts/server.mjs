// The host of `microgpt lab`: a server on this machine, asked by POST; a run is a stream of events.
import { Gone } from "../model.mjs";

const GONE = "The lab has been closed. Start it again with: microgpt lab";

/** @returns {import("../app.mjs").Host} */
export function connect() {
  const found = /[#&]token=([\w-]+)/.exec(location.hash);
  if (found) {
    // seen once, then kept out of sight, of history and of shared links
    sessionStorage.setItem("token", found[1]);
    history.replaceState(null, "", location.pathname + location.hash.replace(found[0], ""));
  }
  const headers = { Authorization: `Bearer ${sessionStorage.getItem("token")}` };

  /** @param {string} path @param {object} body @param {string} [of]  a model
   * @param {AbortSignal} [signal] */
  async function post(path, body, of, signal) {
    let answer;
    try {
      answer = await fetch(of ? `${path}?model=${of}` : path, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
        signal,
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Gone(GONE);
    }
    if (!answer.ok) throw new Error((await answer.json()).error);
    return answer;
  }

  return {
    gone: GONE,
    trained: sessionStorage.getItem("trained") ?? "",
    use: (name) => sessionStorage.setItem("trained", name),
    ask: async (name, question, of) => (await post(`api/ask/${name}`, question, of)).json(),
    command: async (run, order) => (await post(`api/command/${run}`, order)).json(),
    async run(kind, question, heard, signal, of) {
      const { body } = await post(`api/run/${kind}`, question, of, signal);
      if (!body) return;
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read().catch(() => {
          if (signal.aborted) return { value: "", done: true }; // the view that asked was left
          throw new Gone(GONE);
        });
        if (done) return;
        const events = (rest + value).split("\n\n");
        rest = events.pop() ?? "";
        for (const event of events) heard(JSON.parse(event.slice("data: ".length)));
      }
    },
  };
}

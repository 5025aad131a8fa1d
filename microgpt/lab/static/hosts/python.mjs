// A worker with a Python of its own: the package's files, run by Pyodide. pyodide.py does the rest.
import { compile, create } from "../wasm/kernel.mjs";

const python = load();
python.then(() => postMessage({ ready: true }), fail);
addEventListener("unhandledrejection", (event) => {
  // Pyodide tells of some failures in this way alone
  event.preventDefault();
  fail(event.reason);
});

/** @param {Error} error */
function fail(error) {
  postMessage({
    failed: `Python could not be loaded (${error.message}); reload the page to try again`,
  });
}

async function load() {
  const files = new URL("../pyodide/", import.meta.url).href;
  const [{ loadPyodide }, archive, kernel] = await Promise.all([
    import(`${files}pyodide.mjs`),
    fetch(new URL("../microgpt.zip", import.meta.url)).then((answer) => answer.arrayBuffer()),
    compile(new URL("../wasm/kernel.wasm", import.meta.url)),
  ]);
  const pyodide = await loadPyodide({ indexURL: files, stdout: () => {}, stderr: () => {} });
  pyodide.unpackArchive(archive, "zip", { extractDir: "/lab" });
  pyodide.registerJsModule("microgpt_kernel", {
    create: (/** @type {any} */ config, /** @type {any} */ optimizer) =>
      create(kernel, config, optimizer),
  });
  pyodide.runPython("import sys; sys.path.insert(0, '/lab')");
  return pyodide.pyimport("microgpt.lab.pyodide");
}

addEventListener("message", async ({ data }) => {
  const lab = await python;
  try {
    if (data.id) {
      postMessage({ id: data.id, reply: lab.answer(data.of, data.name, data.question) });
    } else if (data.hold) {
      lab.hold(data.hold, data.model);
    } else if (data.run) {
      await lab.run(data.of, data.run, (/** @type {string} */ event) => postMessage({ event }));
      postMessage({ over: true });
    } else if (data.command) lab.command(data.command);
  } catch (error) {
    // Python's last line says what it is
    const failure = JSON.stringify({
      error: /** @type {Error} */ (error).message.trim().split("\n").at(-1),
    });
    postMessage(
      data.id ? { id: data.id, reply: failure } : { event: failure, over: !data.command },
    );
  }
});

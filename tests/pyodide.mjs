// Runs a Python program where a browser's Python runs, in Pyodide, with the package and its engine
// in WebAssembly. The argument is the program's path; what it prints goes to stdout.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadPyodide } from "pyodide";
import { compile, create } from "../microgpt/native/wasm/kernel.mjs";

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const kernel = await compile(readFileSync(here("../microgpt/native/wasm/kernel.wasm")));
const pyodide = await loadPyodide({ indexURL: here("node_modules/pyodide") });
pyodide.FS.mkdirTree("/lab/microgpt");
pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: here("../microgpt") }, "/lab/microgpt");
pyodide.registerJsModule("microgpt_kernel", {
  create: (/** @type {any} */ config, /** @type {any} */ optimizer) =>
    create(kernel, config, optimizer),
});
pyodide.runPython("import sys; sys.dont_write_bytecode = True; sys.path.insert(0, '/lab')");
pyodide.runPython(readFileSync(process.argv[2], "utf8"));

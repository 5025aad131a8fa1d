// Evaluates expressions for wasm.py: each line in holds one, in JSON, and what is given to it;
// each line out is its value, or what its error says. The argument is the path of kernel.wasm.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { compile, create } from "../microgpt/native/wasm/kernel.mjs";

Object.assign(globalThis, {
  compile,
  create,
  module: await compile(readFileSync(process.argv[2])),
});
for await (const line of createInterface({ input: process.stdin })) {
  const { expression, given } = JSON.parse(line);
  let answer;
  try {
    answer = { value: await new Function("given", `return ${expression}`)(given) };
  } catch (error) {
    answer = { error: error.message };
  }
  console.log(JSON.stringify(answer, (_, x) => (ArrayBuffer.isView(x) ? Array.from(x) : x)));
}

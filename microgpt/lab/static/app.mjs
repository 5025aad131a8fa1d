// The shell: which screen is shown, in what colours, and what a screen speaks with.
import { outdated } from "./draw.mjs";
import { map } from "./map.mjs";
import { create } from "./model.mjs";
import { placeOf, SCREENS } from "./screens.mjs";

/**
 * What a screen gets: named values that can be watched, and a way to ask.
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {(event: string, heard: () => void) => void} on  "change:NAME"
 * @property {(event: string, heard: () => void) => void} off
 * @property {(name: string, question?: object) => Promise<any>} ask  one question, one answer
 * @property {(kind: string, question: object, heard: (event: any) => void, signal: AbortSignal) =>
 *   Promise<void>} run
 * @property {(run: string, order: object) => Promise<any>} command  a word to a run under way
 * @property {() => void} lost  say that the host is gone (the value "gone", which an answer
 *   empties)
 * @property {(trained: string) => Promise<void>} use  answer about a model that a run has trained
 *   (its event `model` names it), or "", the lab's own
 * @property {(name: string) => Promise<Model>} of  the same about another model, for one view
 */

/**
 * Who answers: a server (hosts/server.mjs) or Python in this browser (hosts/pyodide.mjs);
 * index.html names one.
 * @typedef {object} Host
 * @property {(name: string, question: object, of: string) => Promise<any>} ask  `of` a model
 * @property {(...given: [...Parameters<Model["run"]>, of: string]) => Promise<void>} run
 * @property {Model["command"]} command
 * @property {(trained: string) => void} use  remember which model to begin with
 * @property {string} trained  the model to begin with, as `use` names it
 * @property {string} gone  what to say when it does not answer any more
 */

/**
 * What a view is given: whom to ask, where to draw, and what to show at first, as an address writes
 * it.
 * @typedef {{model: Model, el: HTMLElement, params: Record<string, string>}} Context
 * @typedef {{render: (context: Context) => (void | (() => void))}} View  render returns how to
 *   leave
 */

const { content } = /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=host]"));
const connected = (await import(content)).connect();
const model = create(connected);
const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const nav = /** @type {HTMLElement} */ (document.getElementById("nav"));
const parts = map(/** @type {HTMLElement} */ (document.getElementById("map")));
/** @type {(() => void) | void} */
let leave;
const KEYS = [..."1234567890-"]; // with Alt, of the screens in their order
let shown = "",
  address = "", // of what is shown
  shows = 0;
/** @type {Promise<void>} what the host has, as the value "host" */
let host;

/** Show the screen that the address names: #forward?text=emma. Until then the last is out of date.
 * @param {Promise<void>} [ready]  what to wait for first */
async function show(ready) {
  const mine = ++shows;
  outdated([main], true);
  try {
    await ready;
    if (mine === shows) await enter(() => mine === shows);
  } finally {
    if (mine === shows) outdated([main], false);
  }
}

/** @param {() => boolean} wanted  whether no other screen has been asked for meanwhile */
async function enter(wanted) {
  const asked = location.hash;
  const { id, params } = placeOf(asked.slice(1));
  const screen = SCREENS.find((s) => s.id === id) ?? SCREENS[0];
  const view = await screen.load().then((file) => file.default, model.lost);
  if (!wanted()) return;
  if (!view) return history.replaceState(null, "", address); // it cannot be loaded
  if (screen.waits) await host;
  if (!wanted()) return;
  leave?.();
  shown = screen.id;
  address = asked;
  document.title = `${screen.title} · microgpt lab`;
  for (const link of nav.querySelectorAll("a")) {
    if (link.hash === `#${screen.id}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const el = document.createElement("div");
  el.className = `view ${screen.id}`;
  main.replaceChildren(el);
  scrollTo(0, 0);
  parts.on(screen.id);
  leave = view.render({ model, el, params });
}

for (const [i, screen] of SCREENS.entries()) {
  const link = document.createElement("a");
  link.href = `#${screen.id}`;
  link.textContent = screen.title;
  if (KEYS[i]) link.title = `Alt+${KEYS[i]}`;
  nav.append(link);
}

document.getElementById("skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
const theme = /** @type {HTMLElement} */ (document.getElementById("theme"));
const dark = matchMedia("(prefers-color-scheme: dark)");
/** @param {string | null} name */
function paint(name) {
  const now = name ?? (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = now;
  theme.textContent = now === "dark" ? "Light" : "Dark";
}
paint(localStorage.getItem("theme"));
dark.addEventListener("change", () => paint(localStorage.getItem("theme")));
theme.addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", next);
  paint(next);
});

document.getElementById("picture")?.addEventListener("click", async (event) => {
  const { save } = await import("./picture.mjs");
  await save(
    /** @type {HTMLElement} */ (main.firstElementChild),
    shown,
    event.shiftKey ? "svg" : "png",
  );
});
addEventListener("keydown", (event) => {
  const key = event.code.replace("Digit", "").replace("Minus", "-");
  const screen = event.altKey && !event.ctrlKey && SCREENS[KEYS.indexOf(key)];
  if (screen) {
    event.preventDefault();
    location.hash = screen.id;
  }
});
// What goes wrong anywhere is said in one place, in one line, until another screen is shown.
const status = /** @type {HTMLElement} */ (document.getElementById("status"));
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  const { name } = event.reason ?? {};
  if (name === "AbortError" || name === "Gone") return; // the view was left; the banner says it
  status.textContent = event.reason?.message ?? String(event.reason);
});
addEventListener("hashchange", () => {
  status.textContent = "";
  show();
});
// A host that answers no more is said until it answers again; what it said before is grey.
const gone = /** @type {HTMLElement} */ (document.getElementById("gone"));
model.on("change:gone", () => {
  gone.textContent = model.get("gone");
  main.classList.toggle("stale", Boolean(model.get("gone")));
});
// Every screen says which model it shows.
const which = /** @type {HTMLElement} */ (document.getElementById("which"));
const back = /** @type {HTMLElement} */ (document.getElementById("back"));
model.on("change:described", () => {
  const { trained, steps, n_params: size } = model.get("described");
  const read = steps === null ? "" : `, ${steps.toLocaleString("en")} steps`;
  which.textContent = trained
    ? `Model: trained here${read}`
    : `Model: ${size.toLocaleString("en")} numbers${read}`;
  back.hidden = !trained;
});
back.addEventListener("click", () => show(model.use("")));
// A run goes on while other screens are shown: the way back to it says how far it has come.
model.on("change:busy", () => {
  const link = /** @type {HTMLElement} */ (nav.querySelector('a[href="#training"]'));
  link.dataset.busy = model.get("busy");
});
// The address says what a screen shows, so that a link shows it again; one that asks for another
// screen, not yet shown, stays.
main.addEventListener("params", (event) => {
  if (location.hash !== address) return;
  const query = new URLSearchParams(/** @type {CustomEvent} */ (event).detail);
  history.replaceState(null, "", `#${shown}?${query}`);
  address = location.hash;
});
// A screen that walks through the model says where it is.
main.addEventListener("here", (event) => parts.here([/** @type {CustomEvent} */ (event).detail]));
// A view listens to the keys pressed in it; those that nothing else on the page uses are its own
// too.
addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  const view = main.firstElementChild;
  if (!view || event.defaultPrevented || view.contains(target)) return;
  if (event.key === " " && target.matches("a, button")) return;
  if (!view.dispatchEvent(new KeyboardEvent("keydown", event))) event.preventDefault();
});
try {
  await model.use(connected.trained).catch((error) => {
    if (!connected.trained) throw error;
    return model.use(""); // the lab that trained it has been closed
  });
  host = model.ask("host").then((found) => model.set("host", found));
  host.catch(() => {}); // said below, once something is shown
  await show();
  await host;
} catch (error) {
  const problem = document.createElement("p");
  problem.className = "problem";
  problem.textContent = /** @type {Error} */ (error).message;
  main.replaceChildren(problem);
}

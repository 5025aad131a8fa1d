// Walking through steps: buttons, a slider, keys, and Play at a speed.
import { h } from "./draw.mjs";

const SPEEDS = [0.5, 1, 2, 5, 10, 30, 100]; // steps a second

/** @param {string} sign @param {string} label @param {string} key @param {() => any} onclick */
function button(sign, label, key, onclick) {
  return h(
    "button",
    { type: "button", "aria-label": label, title: `${label} (${key})`, onclick },
    sign,
  );
}

/** The keys of a walk: arrows, with Shift a part at a time, Home, End, Space.
 * @param {HTMLElement} el
 * @param {{step: (by: 1 | -1) => any, leap: (by: 1 | -1) => any, home: () => any, end: () => any,
 *   toggle: () => any}} moves */
function listen(el, { step, leap, home, end, toggle }) {
  el.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (target.matches("input, textarea, select")) return;
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (by) event.shiftKey ? leap(by) : step(by);
    else if (event.key === "Home") home();
    else if (event.key === "End") end();
    else if (event.key === " " && !target.matches("button, summary")) toggle();
    else return;
    event.preventDefault();
  });
}

/**
 * Make the controls of a walk through steps, from `first` to `last`, which is set when it is known.
 * @param {object} options
 * @param {HTMLElement} options.el  the view whose keys these are
 * @param {string} options.label  what the slider is called
 * @param {string} options.unit  what one step is
 * @param {string} options.part  what a jump goes to the next of
 * @param {number} options.first  the first step
 * @param {number} options.speed  steps a second, to begin with
 * @param {(step: number) => any} options.go  show a step; Play waits until it is shown
 * @param {(step: number, by: 1 | -1) => number | Promise<number>} options.jump  the step of the
 *   next part, or of the one before
 * @param {...any} extras  what else has its place beside the slider
 */
export function transport({ el, label, unit, part, first, speed, go, jump }, ...extras) {
  let step = first,
    last = first;
  /** @type {object | null} the walk that Play has begun */
  let playing = null;

  const play = h("button", { type: "button", class: "strong", onclick: toggle }, "Play");
  const slider = h("input", {
    type: "range",
    min: first,
    max: first,
    value: first,
    "aria-label": label,
    oninput: () => reach(Number(slider.value)),
  });
  const counter = h("output", { class: "counter" });
  const pace = h(
    "select",
    { "aria-label": "Speed", onchange: () => (speed = Number(pace.value)) },
    ...SPEEDS.map((s) => h("option", { value: s, selected: s === speed }, `${s}/s`)),
  );
  const element = h(
    "div",
    { class: "transport" },
    button("⇤", "Back to the start", "Home", () => reach(first)),
    button("«", `One ${part} back`, "Shift ←", () => leap(-1)),
    button("←", `One ${unit} back`, "←", () => reach(step - 1)),
    play,
    button("→", `One ${unit} on`, "→", () => reach(step + 1)),
    button("»", `One ${part} on`, "Shift →", () => leap(1)),
    pace,
    slider,
    counter,
    ...extras,
  );

  /** Go to a step, or to the nearest that there is. @param {number} wanted */
  async function reach(wanted) {
    step = Math.max(first, Math.min(last, wanted));
    slider.value = step;
    counter.textContent = `${step} of ${last}`;
    await go(step);
  }

  /** @param {1 | -1} by */
  async function leap(by) {
    await reach(await jump(step, by));
  }

  async function toggle() {
    if (playing) return stop();
    const mine = {};
    playing = mine;
    play.textContent = "Pause";
    if (step === last) await reach(first);
    while (playing === mine && step < last) {
      await new Promise((resolve) => setTimeout(resolve, 1000 / speed));
      if (playing === mine) await reach(step + 1);
    }
    if (playing === mine) stop();
  }

  function stop() {
    playing = null;
    play.textContent = "Play";
  }

  listen(el, {
    step: (by) => reach(step + by),
    leap,
    home: () => reach(first),
    end: () => reach(last),
    toggle,
  });

  return {
    element,
    slider,
    reach,
    stop,
    /** Say how far it goes. @param {number} to */
    set last(to) {
      last = to;
      slider.max = to;
    },
  };
}

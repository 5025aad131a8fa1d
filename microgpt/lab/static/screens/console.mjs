// Console: the cartridge in an emulator on this machine; its screen is the page's, the keyboard its pad.
import { h, latest, put, remember } from "../draw.mjs";
import { runner } from "../runner.mjs";

const CLOCKS = 21477272,
  FRAMES = 60.0988; // of the console's, a second
/** @type {Record<string, string>} */
const KEYS = {
  arrowup: "up",
  arrowdown: "down",
  arrowleft: "left",
  arrowright: "right",
  z: "b",
  x: "a",
  a: "y",
  s: "x",
  q: "l",
  w: "r",
  enter: "start",
  shift: "select",
};
/** @type {[string, string, string, string][]} a button, how it is written, its key, what it does */
const PAD = [
  ["l", "L", "Q", "slow enough to watch"],
  ["r", "R", "W", "as fast as it goes"],
  ["up", "▲", "↑", "warmer"],
  ["left", "▲", "←", "back"],
  ["right", "▲", "→", "on"],
  ["down", "▲", "↓", "cooler"],
  ["select", "SELECT", "Shift", "look inside"],
  ["start", "START", "Enter", "twenty new names"],
  ["x", "X", "S", "choose a seed"],
  ["y", "Y", "A", "pause; one token a press"],
  ["a", "A", "X", "type a beginning"],
  ["b", "B", "Z", "go back"],
];
/** @type {[string, string, string][]} */
const USES = [
  ["START", "Enter", "Twenty new names, from a new seed."],
  [
    "SELECT",
    "Shift",
    "Look inside: which letters each of the four heads attends to, and how likely each letter is to come next.",
  ],
  ["UP DOWN", "↑ ↓", "Temperature, 0.1 to 1.5. The list begins again."],
  [
    "A",
    "X",
    "Type a beginning: up and down turn the letter, right adds one, left takes one away. START completes it.",
  ],
  [
    "X",
    "S",
    "Choose a seed: up and down turn a digit, left and right go to another. The same seed makes the same names, on every console.",
  ],
  ["B", "Z", "Leave either of them without a change."],
  ["Y", "A", "Pause; from then on, one token a press."],
  ["L, R", "Q, W", "Slow enough to watch; as fast as it goes."],
];
const LEAD =
  "The same model in a cartridge for the Super Nintendo of 1990: in an emulator, in real time.";

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  let cartridge = params.cartridge === "turbo" ? "turbo" : "classic",
    paused = matchMedia("(prefers-reduced-motion: reduce)").matches,
    recording = false,
    last = /** @type {any} */ (null); // event that told of the game
  const game = runner(model, "console", heard);
  const pad = gamepad((buttons) => game.command({ hold: buttons }));
  const screen = display(pad);
  const score = tally();
  const about = h("p", { class: "key about" });
  const recorded = h("p", { class: "recorded" });
  const controls = panel(cartridge, {
    toggle: () => (game.going || recording ? pause(!paused) : begin()),
    frame: () => (paused ? game.command({ step: 1 }) : pause(true)),
    reset: () => game.command({ reset: true }),
    change(name) {
      cartridge = name;
      remember(el, { cartridge });
      begin();
    },
  });
  el.append(
    h("div", {}, h("h1", {}, "Console"), h("p", { class: "lead" }, LEAD)),
    recorded,
    h("div", { class: "set" }, screen.element, about, controls.element),
    score.element,
    uses(),
    pad.element,
  );

  async function begin() {
    last = null;
    pad.clear();
    screen.picture.removeAttribute("src");
    put(about, "Putting the cartridge in …");
    try {
      if (!model.get("host").console)
        throw new Error("the console itself runs on your own machine, when you open the lab there");
      const running = game.start({ cartridge, paused });
      draw();
      await running;
    } catch (error) {
      if (last) throw error;
      await replay(/** @type {Error} */ (error).message);
    } finally {
      draw();
    }
  }

  const saw = latest((/** @type {number} */ seen) => game.command({ seen }));
  /** @param {any} event */
  function heard(event) {
    if (event.error && !last) throw new Error(event.error);
    if (event.error) Promise.reject(new Error(event.error)); // it is said, and the game goes on
    if (event.core) put(about, tells(event));
    if (!event.number) return;
    last = event;
    if (event.picture) screen.picture.src = `data:image/png;base64,${event.picture}`;
    draw();
    saw(event.number);
  }

  /** Show what was recorded, and why. @param {string} why */
  async function replay(why) {
    recording = true;
    put(recorded, h("b", {}, "This is a recording"), `: ${why}.`);
    controls.fix();
    pad.disable();
    last = await (await fetch("console.json")).json();
    put(about, tells({ ...last, unfit: "" }));
    pause(paused);
  }

  /** @param {boolean} value */
  function pause(value) {
    paused = value;
    if (recording) screen.picture.src = paused ? "console.png" : "console-loop.png";
    else game.command({ paused });
    draw();
  }

  function draw() {
    controls.show(game.going, paused, recording);
    screen.say(last?.names ?? []);
    score.show(last, paused, recording);
  }

  listen(el, controls.toggle);
  begin();
  if (matchMedia("(hover: hover)").matches) screen.element.focus({ preventScroll: true });
  return game.stop;
}

/**
 * The controls of the emulator: play and pause, one frame, reset, and which cartridge is in.
 * @param {string} cartridge
 * @param {{toggle: () => void, frame: () => void, reset: () => void, change: (name: string) => void}} does
 */
function panel(cartridge, does) {
  const toggle = h("button", { type: "button", class: "strong", onclick: does.toggle });
  const frame = h("button", { type: "button", onclick: does.frame }, "One frame");
  const reset = h("button", { type: "button", onclick: does.reset }, "Reset");
  const options = ["classic", "turbo"].map((name) =>
    h("option", { value: name, selected: name === cartridge }, name),
  );
  const choose = h("select", { onchange: () => does.change(choose.value) }, ...options);
  const choice = h("label", { class: "choice" }, h("span", {}, "Cartridge"), choose);
  return {
    element: h("div", { class: "transport" }, toggle, frame, reset, choice),
    toggle,
    /** @param {boolean} going @param {boolean} paused @param {boolean} recording */
    show(going, paused, recording) {
      toggle.textContent = (going || recording) && !paused ? "Pause" : "Play";
      frame.disabled = reset.disabled = !going || recording;
    },
    /** A recording has one cartridge. */
    fix() {
      choose.disabled = true;
    },
  };
}

/** Space plays and pauses, wherever it is pressed. @param {HTMLElement} el @param {HTMLElement} toggle */
function listen(el, toggle) {
  el.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key !== " " || event.repeat || target.matches("input, select, button")) return;
    event.preventDefault();
    toggle.click();
  });
}

/** What is in the emulator. @param {any} event */
function tells({ cartridge, bytes, core, unfit }) {
  const which =
    unfit === undefined
      ? "In it is the model that this lab shows, as integers."
      : `In it is the model that ships with microgpt${unfit ? `; yours does not fit: ${unfit}` : ", as integers"}.`;
  return `${cartridge}, ${bytes.toLocaleString("en")} bytes of ROM, in ${core}. ${which}`;
}

/** The buttons of the pad, and which of them are held. @param {(held: string[]) => void} tell */
function gamepad(tell) {
  /** @type {Set<string>} */
  const held = new Set();
  /** @param {string} name @param {boolean} is */
  function hold(name, is) {
    if (held.has(name) === is) return;
    if (is) held.add(name);
    else held.delete(name);
    element.querySelector(`[data-button=${name}]`)?.classList.toggle("held", is);
    tell([...held]);
  }
  const buttons = PAD.map((which) => push(which, hold));
  const element = h("div", { class: "pad", role: "group", "aria-label": "The pad" }, ...buttons);
  return {
    element,
    hold,
    release() {
      for (const name of [...held]) hold(name, false);
    },
    /** Forget what is held: another game begins. */
    clear() {
      held.clear();
      for (const button of buttons) button.classList.remove("held");
    },
    disable() {
      for (const button of buttons) button.disabled = true;
    },
  };
}

/** A button of the pad: held as long as it is pressed; by a key or by other means, pressed once.
 * @param {[string, string, string, string]} which @param {(name: string, is: boolean) => void} hold */
function push([name, text, key, use], hold) {
  const drawn = h(
    "button",
    {
      type: "button",
      class: "push",
      "data-button": name,
      "data-key": key,
      title: `${use} (${key})`,
      "aria-label": `${name}: ${use}`,
    },
    h("b", {}, text),
  );
  for (const event of ["mousedown", "contextmenu"]) // the screen keeps the focus
    drawn.addEventListener(event, (/** @type {Event} */ event) => event.preventDefault());
  drawn.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    drawn.setPointerCapture(event.pointerId);
    hold(name, true);
  });
  for (const end of ["pointerup", "pointercancel"])
    drawn.addEventListener(end, () => hold(name, false));
  drawn.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    if (event.detail) return; // a pointer's, done already
    hold(name, true);
    hold(name, false);
  });
  return drawn;
}

/** The console's screen; while it has the focus, the keyboard is the pad. @param {ReturnType<typeof gamepad>} pad */
function display(pad) {
  const picture = h("img", { class: "picture", width: 256, height: 224, alt: "" });
  /** @param {KeyboardEvent} event @param {boolean} is */
  function press(event, is) {
    const name = KEYS[event.key.toLowerCase()];
    if (!name || (is && (event.altKey || event.ctrlKey || event.metaKey))) return;
    if (is) event.preventDefault();
    pad.hold(name, is);
  }
  const element = h(
    "div",
    {
      class: "screen",
      role: "application",
      tabindex: 0,
      onkeydown: (/** @type {KeyboardEvent} */ event) => press(event, true),
      onkeyup: (/** @type {KeyboardEvent} */ event) => press(event, false),
      onblur: pad.release,
      "aria-label":
        "The console's screen. While it has the focus, the keyboard is the pad: " +
        "arrows, Z X A S, Q W, Enter, Shift. Space pauses.",
    },
    picture,
  );
  return {
    element,
    picture,
    /** Say what is seen. @param {string[]} names */
    say(names) {
      picture.alt = names.length
        ? `The game's screen. Its names so far: ${names.join(", ")}.`
        : "The game's screen, with no names as yet.";
    },
  };
}

/** The names made so far, and what the cartridge counts. */
function tally() {
  const names = h("ol", { class: "twenty", "aria-live": "polite" });
  const figures = h("dl", { class: "figures" });
  const element = h(
    "div",
    { class: "beside" },
    h("section", {}, h("h2", {}, "Names it has made"), names),
    h("section", {}, h("h2", {}, "As the cartridge counts"), figures),
  );
  return {
    element,
    /** @param {any} last @param {boolean} paused @param {boolean} recording */
    show(last, paused, recording) {
      const made = last?.names ?? [];
      if ([...names.children].some((item, i) => item.textContent !== made[i])) put(names); // another list
      for (const name of made.slice(names.childElementCount)) names.append(h("li", {}, name));
      const rows = counts(last);
      if (!recording) rows.push(["this machine", paused ? "paused" : pace(last?.pace)]);
      put(figures, ...rows.flatMap(([term, x]) => [h("dt", {}, term), h("dd", {}, x)]));
    },
  };
}

/** @param {any} last @returns {[string, string][]} */
function counts(last) {
  const rate = last?.rate;
  const clocks = rate ? Number((CLOCKS / rate).toPrecision(3)).toLocaleString("en") : "–";
  return [
    ["tokens/s", rate ? rate.toFixed(1) : "–"],
    ["clocks a token", clocks],
    ["frames", last?.frame.toLocaleString("en") ?? "–"],
  ];
}

/** @param {number | undefined} frames  a second, as they come */
function pace(frames) {
  if (!frames) return "–";
  return `${Math.min(100, Math.round((100 * frames) / FRAMES))}% of real time`;
}

function uses() {
  const rows = USES.flatMap(([name, key, use]) => [
    h("dt", {}, name, h("small", {}, `key ${key}`)),
    h("dd", {}, use),
  ]);
  return h(
    "section",
    {},
    h("h2", {}, "What the buttons do, and their keys"),
    h("dl", { class: "uses" }, ...rows),
  );
}

export default { render };

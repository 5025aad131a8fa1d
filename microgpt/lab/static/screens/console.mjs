// Console: the cartridge in an emulator on this machine; the keyboard is its pad.
import { focus, h, latest, put, remember } from "../draw.mjs";
import { runner } from "../runner.mjs";

/** What was last heard of the game.
 * @typedef {{names: string[], rate: number, frame: number, pace?: number, picture?: string,
 *   number: number}} Game */
/** @typedef {{cartridge: string, bytes: number, core: string}} Cartridge */

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
  ["y", "Y", "A", "pause, and one token a press"],
  ["a", "A", "X", "type a beginning"],
  ["b", "B", "Z", "go back"],
];
/** @type {[string, string, string][]} */
const USES = [
  ["START", "Enter", "Twenty new names, from a new seed."],
  [
    "SELECT",
    "Shift",
    "Look inside: which letters each of the four heads attends to, and how likely each letter " +
      "is to come next.",
  ],
  ["UP DOWN", "↑ ↓", "Temperature, 0.1 to 1.5. The list begins again."],
  [
    "A",
    "X",
    "Type a beginning: up and down turn the letter, right adds one, left takes one away. " +
      "START completes it.",
  ],
  [
    "X",
    "S",
    "Choose a seed: up and down turn a digit, left and right go to another. The same seed " +
      "makes the same names, on every console.",
  ],
  ["B", "Z", "Leave either of them without a change."],
  ["Y", "A", "Pause; from then on, one token each time it is pressed, until L or R."],
  ["L, R", "Q, W", "Slow enough to watch; as fast as it goes."],
];

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  let cartridge = params.cartridge === "turbo" ? "turbo" : "classic";
  let paused = matchMedia("(prefers-reduced-motion: reduce)").matches,
    recording = false;
  /** @type {Game | null} */
  let last = null;
  const run = runner(model, "console", heard);
  const order = run.command;
  const pad = padOf((held) => order({ hold: held }));
  const game = gameOf();
  const screen = screenOf(game.picture, pad);
  const choose = chooseOf(cartridge, (chosen) => {
    cartridge = chosen;
    remember(el, { cartridge });
    begin();
  });
  const transport = transportOf(choose, {
    go: () => (run.going || recording ? pause(!paused) : begin()),
    step: () => (paused ? order({ step: 1 }) : pause(true)),
    reset: () => order({ reset: true }),
  });
  el.append(...layout(screen, transport.element, game, pad));

  const saw = latest((/** @type {number} */ seen) => order({ seen }));

  async function begin() {
    pad.clear();
    last = null;
    game.wait();
    const going = start(); // which ends the last one
    draw();
    try {
      await going;
    } catch (error) {
      if (last) throw error;
      await replay(/** @type {Error} */ (error).message);
    } finally {
      draw();
    }
  }

  async function start() {
    if (!model.get("host").console)
      throw new Error("the console itself runs on your own machine, when you open the lab there");
    await run.start({ cartridge, paused });
  }

  /** @param {any} event */
  function heard(event) {
    if (event.error && !last) throw new Error(event.error);
    if (event.error) Promise.reject(new Error(event.error)); // said, and the game goes on
    if (event.core) game.tell(event, contents(event));
    if (!event.number) return;
    last = event;
    draw();
    saw(event.number);
  }

  /** Show what was recorded, and why. @param {string} why */
  async function replay(why) {
    recording = true;
    game.recorded.hidden = false;
    put(game.recorded, h("b", {}, "This is a recording"), `: ${why}.`);
    for (const control of [choose, ...pad.element.children]) control.disabled = true;
    const kept = await (await fetch("console.json")).json();
    last = kept;
    game.tell(kept, "In it is the model that ships with microgpt, as integers.");
    pause(paused);
  }

  /** @param {boolean} value */
  function pause(value) {
    paused = value;
    if (recording) game.picture.src = paused ? "console.png" : "console-loop.png";
    else order({ paused });
    draw();
  }

  function draw() {
    transport.draw(run.going, paused, recording);
    game.draw(last, paused, recording);
  }

  el.addEventListener("keydown", (event) => space(event, transport.go));
  begin();
  focus(el, screen);
  return run.stop;
}

/** Space plays and pauses, anywhere on the page.
 * @param {KeyboardEvent} event @param {HTMLElement} go */
function space(event, go) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.key !== " " || event.repeat || target.matches("input, select, button")) return;
  event.preventDefault();
  go.click();
}

/**
 * Whose model is in the cartridge, and how much of it.
 * @param {{unfit: string | null, cut: string | null}} made
 */
function contents({ unfit, cut }) {
  const whose = unfit
    ? `In it is the model that ships with microgpt; yours does not fit: ${unfit}.`
    : "In it is the model that this lab shows, as integers.";
  return cut ? `${whose} It is cut: ${cut}.` : whose;
}

/** The buttons under the screen.
 * @param {HTMLElement} choose @param {Record<"go" | "step" | "reset", () => void>} pressed */
function transportOf(choose, pressed) {
  const go = h("button", { type: "button", class: "strong", onclick: pressed.go });
  const step = h("button", { type: "button", onclick: pressed.step }, "One frame");
  const reset = h("button", { type: "button", onclick: pressed.reset }, "Reset");
  const label = h("label", { class: "choice" }, h("span", {}, "Cartridge"), choose);
  return {
    element: h("div", { class: "transport" }, go, step, reset, label),
    go,
    /** @param {boolean} going @param {boolean} paused @param {boolean} recording */
    draw(going, paused, recording) {
      go.textContent = (going || recording) && !paused ? "Pause" : "Play";
      step.disabled = reset.disabled = !going || recording;
    },
  };
}

/** @param {string} cartridge @param {(cartridge: string) => void} chosen */
function chooseOf(cartridge, chosen) {
  const names = ["classic", "turbo"].map((name) => h("option", { value: name }, name));
  const choose = h("select", { onchange: () => chosen(choose.value) }, ...names);
  choose.value = cartridge;
  return choose;
}

/** @param {HTMLElement} screen @param {HTMLElement} transport
 * @param {ReturnType<typeof gameOf>} game @param {ReturnType<typeof padOf>} pad */
function layout(screen, transport, game, pad) {
  const lead =
    "The same model in a cartridge for the Super Nintendo of 1990: in an emulator, in real time.";
  const uses = USES.flatMap(([name, key, use]) => [
    h("dt", {}, name, h("small", {}, `key ${key}`)),
    h("dd", {}, use),
  ]);
  return [
    h("div", {}, h("h1", {}, "Console"), h("p", { class: "lead" }, lead)),
    game.recorded,
    h("div", { class: "set" }, screen, game.about, transport),
    h(
      "div",
      { class: "beside" },
      h("section", {}, h("h2", {}, "Names it has made"), game.names),
      h("section", {}, h("h2", {}, "As the cartridge counts"), game.figures),
    ),
    h(
      "section",
      {},
      h("h2", {}, "What the buttons do, and their keys"),
      h("dl", { class: "uses" }, ...uses),
    ),
    pad.element,
  ];
}

/** The screen; while it has the focus, the keyboard is the pad.
 * @param {HTMLElement} picture @param {ReturnType<typeof padOf>} pad */
function screenOf(picture, pad) {
  /** @param {KeyboardEvent} event */
  const down = (event) => {
    const name = KEYS[event.key.toLowerCase()];
    if (!name || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    pad.hold(name, true);
  };
  /** @param {KeyboardEvent} event */
  const up = (event) => {
    const name = KEYS[event.key.toLowerCase()];
    if (name) pad.hold(name, false);
  };
  const how = { class: "screen", role: "application", tabindex: 0 };
  const label =
    "The console's screen. While it has the focus, the keyboard is the pad: arrows, Z X A S, " +
    "Q W, Enter, Shift. Space pauses.";
  const heard = { onkeydown: down, onkeyup: up, onblur: pad.release };
  return h("div", { ...how, ...heard, "aria-label": label }, picture);
}

/** The pad: which buttons are held. @param {(held: string[]) => void} changed */
function padOf(changed) {
  /** @type {Set<string>} */
  const held = new Set();
  const element = h(
    "div",
    { class: "pad", role: "group", "aria-label": "The pad" },
    ...PAD.map((button) => buttonOf(button, hold)),
  );

  /** @param {string} name @param {boolean} is */
  function hold(name, is) {
    if (held.has(name) === is) return;
    if (is) held.add(name);
    else held.delete(name);
    element.querySelector(`[data-button=${name}]`).classList.toggle("held", is);
    changed([...held]);
  }
  return {
    element,
    hold,
    release() {
      for (const name of [...held]) hold(name, false);
    },
    clear: () => held.clear(),
  };
}

/** A button of the pad: held as long as it is pressed; by a key or by other means, pressed once.
 * @param {[string, string, string, string]} which
 * @param {(name: string, is: boolean) => void} hold */
function buttonOf([name, text, key, use], hold) {
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
  // the screen keeps the focus
  drawn.addEventListener("mousedown", (/** @type {Event} */ event) => event.preventDefault());
  drawn.addEventListener("contextmenu", (/** @type {Event} */ event) => event.preventDefault());
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

/** What is to be seen of the game: its picture, its names, its figures. */
function gameOf() {
  const picture = h("img", { class: "picture", width: 256, height: 224, alt: "" });
  const about = h("p", { class: "key about" });
  const figures = h("dl", { class: "figures" });
  const names = h("ol", { class: "twenty", "aria-live": "polite" });
  const recorded = h("p", { class: "recorded", hidden: true });

  function wait() {
    picture.removeAttribute("src");
    put(about, "Putting the cartridge in …");
  }

  /** @param {Cartridge} it @param {string} more */
  function tell(it, more) {
    const size = it.bytes.toLocaleString("en");
    put(about, `${it.cartridge}, ${size} bytes of ROM, in ${it.core}. ${more}`);
  }

  /** @param {Game | null} last @param {boolean} paused @param {boolean} recording */
  function draw(last, paused, recording) {
    const made = last?.names ?? [];
    if (last?.picture && !recording) picture.src = `data:image/png;base64,${last.picture}`;
    const another = [...names.children].some((item, i) => item.textContent !== made[i]);
    if (another) put(names);
    for (const name of made.slice(names.childElementCount)) names.append(h("li", {}, name));
    picture.alt = made.length
      ? `The game's screen. Its names so far: ${made.join(", ")}.`
      : "The game's screen, with no names as yet.";
    const rows = rowsOf(last);
    if (!recording) rows.push(["this machine", paused ? "paused" : pace(last?.pace)]);
    put(figures, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  }

  return { picture, about, figures, names, recorded, wait, tell, draw };
}

/** As the cartridge counts. @param {Game | null} last */
function rowsOf(last) {
  const rate = last?.rate;
  const clocks = rate && Number((CLOCKS / rate).toPrecision(3));
  return [
    ["tokens/s", rate ? rate.toFixed(1) : "–"],
    ["clocks a token", clocks ? clocks.toLocaleString("en") : "–"],
    ["frames", last?.frame.toLocaleString("en") ?? "–"],
  ];
}

/** @param {number | undefined} frames  a second */
function pace(frames) {
  return frames ? `${Math.min(100, Math.round((100 * frames) / FRAMES))}% of real time` : "–";
}

export default { render };

// Console: the cartridge in an emulator on this machine; its screen is the page's, the keyboard its pad.
import { h, latest, put, remember } from "../draw.mjs";

/** @typedef {import("../app.mjs").Model} Model */

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
  ["y", "Y", "A", "nothing on this cartridge"],
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
  ["L, R", "Q, W", "Slow enough to watch; as fast as it goes."],
];

/** @param {import("../app.mjs").Context} context */
function render({ model, el, params }) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let cartridge = params.cartridge === "turbo" ? "turbo" : "classic";
  let run = "",
    paused = still,
    recording = false;
  /** @type {any} the last that was told of the game */
  let last = null;
  /** @type {AbortController | null} */
  let connection = null;
  /** @type {Set<string>} */
  const held = new Set();
  let sending = Promise.resolve();

  const picture = h("img", { class: "picture", width: 256, height: 224, alt: "" });
  const screen = h(
    "div",
    {
      class: "screen",
      role: "application",
      tabindex: 0,
      onkeydown: down,
      onkeyup: up,
      onblur: release,
      "aria-label":
        "The console's screen. While it has the focus, the keyboard is the pad: arrows, Z X A S, Q W, Enter, Shift. Space pauses.",
    },
    picture,
  );
  const about = h("p", { class: "key about" });
  const go = h("button", {
    type: "button",
    class: "strong",
    onclick: () => (connection || recording ? pause(!paused) : begin()),
  });
  const step = h(
    "button",
    { type: "button", onclick: () => (paused ? order({ step: 1 }) : pause(true)) },
    "One frame",
  );
  const reset = h("button", { type: "button", onclick: () => order({ reset: true }) }, "Reset");
  const choose = h(
    "select",
    {
      onchange: () => {
        cartridge = choose.value;
        remember(el, { cartridge });
        begin();
      },
    },
    h("option", { value: "classic" }, "classic"),
    h("option", { value: "turbo" }, "turbo"),
  );
  choose.value = cartridge;
  const pad = h(
    "div",
    { class: "pad", role: "group", "aria-label": "The pad" },
    ...PAD.map(button),
  );
  const figures = h("dl", { class: "figures" });
  const names = h("ol", { class: "twenty", "aria-live": "polite" });
  const recorded = h("p", { class: "recorded", hidden: true });

  el.append(
    h(
      "div",
      {},
      h("h1", {}, "Console"),
      h(
        "p",
        { class: "lead" },
        "The same model in a cartridge for the Super Nintendo of 1990: in an emulator, in real time.",
      ),
    ),
    recorded,
    h(
      "div",
      { class: "set" },
      screen,
      about,
      h(
        "div",
        { class: "transport" },
        go,
        step,
        reset,
        h("label", { class: "choice" }, h("span", {}, "Cartridge"), choose),
      ),
    ),
    h(
      "div",
      { class: "beside" },
      h("section", {}, h("h2", {}, "Names it has made"), names),
      h("section", {}, h("h2", {}, "As the cartridge counts"), figures),
    ),
    h(
      "section",
      {},
      h("h2", {}, "What the buttons do, and their keys"),
      h(
        "dl",
        { class: "uses" },
        ...USES.flatMap(([name, key, use]) => [
          h("dt", {}, name, h("small", {}, `key ${key}`)),
          h("dd", {}, use),
        ]),
      ),
    ),
    pad,
  );

  /** A button of the pad: held as long as it is pressed; by a key or by other means, pressed once.
   * @param {[string, string, string, string]} which */
  function button([name, text, key, use]) {
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
    drawn.addEventListener("mousedown", (/** @type {Event} */ event) => event.preventDefault()); // the screen keeps the focus
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

  /** @param {string} name @param {boolean} is */
  function hold(name, is) {
    if (held.has(name) === is) return;
    if (is) held.add(name);
    else held.delete(name);
    pad.querySelector(`[data-button=${name}]`).classList.toggle("held", is);
    order({ hold: [...held] });
  }
  function release() {
    for (const name of [...held]) hold(name, false);
  }

  /** @param {object} what */
  async function send(what) {
    const mine = connection;
    try {
      if (run) await model.command(run, what);
    } catch (error) {
      if (mine && mine === connection) throw error; // else it was we who ended the run
    }
  }
  /** Commands arrive in the order in which they were given. @param {object} what */
  function order(what) {
    sending = sending.catch(() => {}).then(() => send(what));
  }
  const saw = latest(
    (/** @type {number} */ seen) => send({ seen }),
    () => {},
  );

  async function begin() {
    end();
    connection = new AbortController();
    const mine = connection;
    last = null;
    picture.removeAttribute("src");
    put(about, "Putting the cartridge in …");
    draw();
    try {
      if (!model.get("host").console)
        throw new Error("the console itself runs on your own machine, when you open the lab there");
      await model.run(
        "console",
        { cartridge, paused },
        (event) => {
          if (mine === connection) heard(event);
        },
        mine.signal,
      );
    } catch (error) {
      if (mine !== connection) return;
      if (last) throw error;
      await replay(/** @type {Error} */ (error).message);
    } finally {
      if (mine === connection) {
        connection = null;
        run = "";
        draw();
      }
    }
  }

  /** @param {any} event */
  function heard(event) {
    if (event.error && !last) throw new Error(event.error);
    if (event.error) Promise.reject(new Error(event.error)); // it is said below, and the game goes on
    if (event.run) {
      run = event.run;
      order({ paused }); // whatever was pressed meanwhile
    }
    if (event.core)
      tell(
        event,
        event.unfit
          ? `In it is the model that ships with microgpt; yours does not fit: ${event.unfit}.`
          : "In it is the model that this lab shows, as integers.",
      );
    if (!event.number) return;
    last = event;
    if (event.picture) picture.src = `data:image/png;base64,${event.picture}`;
    draw();
    saw(event.number);
  }

  /** @param {{cartridge: string, bytes: number, core: string}} it @param {string} more */
  function tell(it, more) {
    put(
      about,
      `${it.cartridge}, ${it.bytes.toLocaleString("en")} bytes of ROM, in ${it.core}. ${more}`,
    );
  }

  /** Show what was recorded, and why. @param {string} why */
  async function replay(why) {
    recording = true;
    recorded.hidden = false;
    put(recorded, h("b", {}, "This is a recording"), `: ${why}.`);
    for (const control of [choose, ...pad.children]) control.disabled = true;
    last = await (await fetch("console.json")).json();
    tell(last, "In it is the model that ships with microgpt, as integers.");
    pause(paused);
  }

  /** @param {boolean} value */
  function pause(value) {
    paused = value;
    if (recording) picture.src = paused ? "console.png" : "console-loop.png";
    else order({ paused });
    draw();
  }

  function draw() {
    go.textContent = (connection || recording) && !paused ? "Pause" : "Play";
    step.disabled = reset.disabled = !connection || recording;
    const made = last?.names ?? [],
      rate = last?.rate;
    if ([...names.children].some((item, i) => item.textContent !== made[i])) put(names); // another list has begun
    for (const name of made.slice(names.childElementCount)) names.append(h("li", {}, name));
    picture.alt = made.length
      ? `The game's screen. Its names so far: ${made.join(", ")}.`
      : "The game's screen, with no names as yet.";
    put(
      figures,
      ...[
        ["tokens/s", rate ? rate.toFixed(1) : "–"],
        [
          "clocks a token",
          rate ? Number((CLOCKS / rate).toPrecision(3)).toLocaleString("en") : "–",
        ],
        ["frames", last?.frame.toLocaleString("en") ?? "–"],
        !recording && [
          "this machine",
          paused
            ? "paused"
            : last?.pace
              ? `${Math.min(100, Math.round((100 * last.pace) / FRAMES))}% of real time`
              : "–",
        ],
      ].flatMap((row) => (row ? [h("dt", {}, row[0]), h("dd", {}, row[1])] : [])),
    );
  }

  function end() {
    connection?.abort();
    connection = null;
    run = "";
    held.clear();
  }

  /** The pad, while the screen has the focus. @param {KeyboardEvent} event */
  function down(event) {
    const name = KEYS[event.key.toLowerCase()];
    if (!name || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    hold(name, true);
  }
  /** @param {KeyboardEvent} event */
  function up(event) {
    const name = KEYS[event.key.toLowerCase()];
    if (name) hold(name, false);
  }
  /** Anywhere on the page. @param {KeyboardEvent} event */
  function key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key !== " " || event.repeat || target.matches("input, select, button")) return;
    event.preventDefault();
    go.click();
  }

  el.addEventListener("keydown", key);
  begin();
  if (matchMedia("(hover: hover)").matches) screen.focus({ preventScroll: true });
  return end;
}

export default { render };

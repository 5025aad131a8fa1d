// A screen of the lab beside a text: the same code, at the place that the text speaks of.
import { h } from "./draw.mjs";
import { placeOf, SCREENS } from "./screens.mjs";

/** @typedef {import("./app.mjs").Model} Model */

const OTHER =
  "This is the model that comes with microgpt: the numbers in the text are its own. " +
  "The other screens show yours.";

/** Make room for a screen. @param {Model} model @param {HTMLElement} el  the view that it is in */
export function stage(model, el) {
  const wide = h("a", { class: "wide" }, "Open it alone");
  const note = h("p", { class: "key", hidden: true }, OTHER);
  const box = h("div", { class: "box" });
  const element = h(
    "section",
    { class: "live-screen", "aria-label": "The model, live" },
    wide,
    note,
    box,
  );
  /** @type {(() => void) | void} */
  let leave;
  let shows = 0;

  // The address is the text's; the screen's own is what the link leads to.
  element.addEventListener("params", (/** @type {CustomEvent} */ event) => {
    event.stopPropagation();
    wide.href = `${wide.hash.split("?")[0]}?${new URLSearchParams(event.detail)}`;
  });
  // Keys that nothing else uses step the model, as they do where a screen is alone.
  el.addEventListener("keydown", (event) => {
    const view = box.firstElementChild;
    if (event.target !== el || event.key === " " || !view) return;
    if (!view.dispatchEvent(new KeyboardEvent("keydown", event))) event.preventDefault();
  });

  return {
    element,
    /** Show a place of the lab: forward?text=emma. @param {string} address */
    async show(address) {
      const mine = ++shows;
      const own = Boolean(model.get("described").built_in);
      wide.hidden = !own;
      note.hidden = own;
      const { id, params } = placeOf(address);
      const screen = SCREENS.find((s) => s.id === id);
      const view = await screen?.load().then((file) => file.default, model.lost);
      if (screen?.waits) model.set("host", model.get("host") ?? (await model.ask("host")));
      const spoken = own ? model : await model.of("shipped");
      if (!view || mine !== shows) return;
      leave?.();
      const shown = h("div", { class: `view ${id}` });
      wide.href = `#${address}`;
      box.replaceChildren(shown);
      box.scrollTop = 0;
      leave = view.render({ model: spoken, el: shown, params });
    },
    leave() {
      shows++;
      leave?.();
    },
  };
}

// The screens, in the order of the page's head.

/** @typedef {import("./app.mjs").View} View */

/** A screen waits for the host to say what it has, or it does not: then recorded answers do for a
 * start.
 * @type {{id: string, title: string, waits?: boolean, load: () => Promise<{default: View}>}[]} */
export const SCREENS = [
  { id: "lessons", title: "Lessons", load: () => import("./screens/lessons.mjs") },
  { id: "play", title: "Play", load: () => import("./screens/play.mjs") },
  { id: "forward", title: "Forward", load: () => import("./screens/forward.mjs") },
  { id: "backward", title: "Backward", load: () => import("./screens/backward.mjs") },
  { id: "training", title: "Training", waits: true, load: () => import("./screens/training.mjs") },
  { id: "engines", title: "Engines", waits: true, load: () => import("./screens/engines.mjs") },
  { id: "console", title: "Console", waits: true, load: () => import("./screens/console.mjs") },
  { id: "edit", title: "Edit", load: () => import("./screens/edit.mjs") },
  { id: "scale", title: "Scale", load: () => import("./screens/scale.mjs") },
  { id: "tune", title: "Tune", waits: true, load: () => import("./screens/tune.mjs") },
  { id: "inside", title: "Inside", waits: true, load: () => import("./screens/inside.mjs") },
];

/** Take an address apart: forward?text=emma. @param {string} address */
export function placeOf(address) {
  const [id, query] = address.split("?");
  return { id, params: Object.fromEntries(new URLSearchParams(query)) };
}

// The whole model on one line, from the names it learns to the names it makes: you are here.
import { h, roving } from "./draw.mjs";

/** Each part, and the place of the lab that shows it. @type {Record<string, string>} */
const PARTS = {
  names: "training?data=world",
  tokens: "play?text=ma",
  embedding: "forward?pos=1&line=wte",
  attention: "forward?pos=1&line=attention(q",
  MLP: "forward?pos=1&line=mlp_fc1",
  guess: "forward?pos=1&line=lm_head",
  loss: "forward?pos=1&line=surprises.append",
  gradients: "backward?step=2",
  update: "training?steps=1000",
  sampling: "play?temperature=0.7",
};
const FORWARD = ["embedding", "attention", "MLP", "guess"];
const ALL = Object.keys(PARTS);

/** What each screen shows of it; Forward says itself where it is.
 * @type {Record<string, string[]>} */
const SHOWN = {
  lessons: [],
  play: ["tokens", "guess", "sampling"],
  forward: ["embedding"],
  backward: ["loss", "gradients"],
  training: ["names", "loss", "gradients", "update"],
  engines: FORWARD,
  console: [...FORWARD, "sampling"],
  inside: ["tokens", ...FORWARD],
  edit: ALL.slice(2, -1),
  scale: ALL,
};

/** @param {Element} element  where it goes */
export function map(element) {
  const links = ALL.map((part) => h("a", { href: `#${PARTS[part]}`, "data-part": part }, part));
  roving(links);
  element.append(...links.flatMap((link, i) => (i ? [h("span", {}, "→"), link] : [link])));

  /** Mark some parts. @param {string[]} parts */
  function here(parts) {
    for (const link of links) {
      if (parts.includes(link.dataset.part)) link.setAttribute("aria-current", "step");
      else link.removeAttribute("aria-current");
    }
  }

  return {
    here,
    /** Mark what a screen shows. @param {string} screen */
    on: (screen) => here(SHOWN[screen] ?? []),
  };
}

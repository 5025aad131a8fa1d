// Charts: drawn at the size that they have on the page, so that their text keeps that of the page.
import { once, put, svg } from "./draw.mjs";

/** @typedef {Node | false | null | undefined} Part */

/**
 * One axis: its range, where it has ticks, and what it measures, with the unit.
 * @typedef {{from: number, to: number, ticks: number[], title: string, show?: (value: number) =>
 *   string}} Axis
 */

const LEFT = 44,
  RIGHT = 10,
  TOP = 24,
  BOTTOM = 40; // pixels around the drawing, for ticks and titles

/**
 * Make a chart: an element, and a function that draws it again, at most once a frame. It is drawn
 * again by itself when its size changes; style gives it its height.
 * @param {{class?: string, draw: (wide: number, tall: number) => {parts: Part[], label: string}}}
 *   options
 *   label: what it shows, in words
 */
export function chart({ class: extra = "", draw }) {
  const element = svg("svg", { class: `chart ${extra}`, role: "img" });
  const paint = once(() => {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) return; // not on the page
    const scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    const [width, height] = [box.width / scale, box.height / scale];
    const { parts, label } = draw(width, height);
    element.setAttribute("viewBox", `0 0 ${width} ${height}`);
    element.setAttribute("aria-label", label);
    put(element, ...parts);
  });
  new ResizeObserver(paint).observe(element);
  return { element, paint };
}

/** The multiples of a step within a range.
 * @param {number} from @param {number} to @param {number} by */
export function ticks(from, to, by) {
  const first = Math.ceil(from / by - 1e-9);
  const count = Math.floor(to / by + 1e-9) - first + 1;
  return Array.from({ length: Math.max(0, count) }, (_, i) => (first + i) * by);
}

/**
 * Lay out two axes; return where values lie (those outside lie on the edge), and what to draw.
 * @param {number} wide @param {number} tall @param {{x: Axis, y: Axis}} axes
 */
export function plot(wide, tall, axes) {
  const right = wide - RIGHT,
    bottom = tall - BOTTOM;
  /** @param {Axis} axis @param {number} value */
  const share = (axis, value) =>
    (Math.min(axis.to, Math.max(axis.from, value)) - axis.from) / (axis.to - axis.from);
  /** @param {number} value */
  const x = (value) => LEFT + (right - LEFT) * share(axes.x, value);
  /** @param {number} value */
  const y = (value) => bottom - (bottom - TOP) * share(axes.y, value);
  const { show: across = String } = axes.x;
  const { show: up = (/** @type {number} */ value) => value.toFixed(1) } = axes.y;

  /** A dashed line at a value known beforehand, and its name: above it at the right end, or below
   * it at the left.
   * @param {number} value @param {string} name @param {"above" | "below"} [side] */
  const level = (value, name, side = "above") => [
    svg("path", { class: "known", d: `M${LEFT} ${y(value)}H${right}` }),
    side === "above"
      ? svg("text", { x: right - 4, y: y(value) - 5, class: "end" }, name)
      : svg("text", { x: LEFT + 6, y: y(value) + 15 }, name),
  ];

  /** The way through some points, as a path's d. @param {[number, number][]} points */
  const line = (points) =>
    points.length
      ? `M${points.map(([a, b]) => `${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("L")}`
      : "";

  const frame = [
    ...axes.y.ticks.flatMap((value) => [
      svg("path", { class: "tick", d: `M${LEFT} ${y(value)}H${right}` }),
      svg("text", { x: LEFT - 6, y: y(value) + 4, class: "end" }, up(value)),
    ]),
    ...axes.x.ticks.map((value, i) =>
      svg(
        "text",
        {
          x: x(value),
          y: bottom + 16,
          class: i === axes.x.ticks.length - 1 && x(value) > right - 20 ? "end" : "middle",
        },
        across(value),
      ),
    ),
    svg("text", { x: 0, y: 12, class: "axis" }, axes.y.title),
    svg("text", { x: right, y: tall - 6, class: "axis end" }, axes.x.title),
  ];
  return { x, y, line, level, frame, left: LEFT, right, top: TOP, bottom };
}

// A trace of xray, as the page reads it: what gpt.py did to a name (docs/xray.md has its fields).

/**
 * One executed statement: in which call, on which line, and what it set, by name.
 * @typedef {{call: number, line: number, set: Record<string, any>}} Event
 *
 * One call of a function: by which line of which call, with what, and the events that it took.
 * @typedef {{index: number, fn: string, parent: number | null, line: number,
 *   args: Record<string, any>, begin: number, end: number}} Call
 */

/** The nodes written as runs [first, count, stride]. @param {any} runs @returns {number[]} */
export function unrun(runs) {
  return (runs ?? []).flatMap((/** @type {any} */ run) =>
    run === null ? [] : Array.from({ length: run[1] ?? 1 }, (_, k) => run[0] + k * (run[2] ?? 1)),
  );
}

export class Trace {
  /** @param {any} data */
  constructor(data) {
    /** @type {Event[]} */
    this.events = data.events.map((/** @type {any[]} */ [call, line, set]) => ({
      call,
      line,
      set: set ?? {},
    }));
    /** @type {Call[]} */
    this.calls = data.calls.map(
      (/** @type {any[]} */ [fn, parent, line, args, begin, end], /** @type {number} */ index) => ({
        index,
        fn,
        parent,
        line,
        args: args ?? {},
        begin,
        end,
      }),
    );
    /** @type {any[]} */
    this.positions = data.positions;
    /** @type {number[]} */
    this.tokens = data.tokens;
    /** @type {number} */
    this.loss = data.loss;
    /** @type {Record<string, number[][]>} */
    this.params = data.parts.params;
    /** @type {[string, [number, number], number][]} each parameter's name, shape, first node */
    this.tensors = data.params;
    this.end = this.calls[0].end;
    this.first = data.first;
    this.before = Object.values(this.params).flat(2); // parameters are the first nodes
    this.data = data.data;
  }

  /** The number of a node. @param {number} node @returns {number} */
  at(node) {
    return node < this.first ? this.before[node] : this.data[node - this.first];
  }

  /** The numbers of nodes written as runs [first, count, stride].
   * @param {any} runs @returns {number[]} */
  nodes(runs) {
    return unrun(runs).map((node) => this.at(node));
  }

  /** The nodes of the numbers that a name held, where these are Values.
   * @param {any} seen @returns {number[]} */
  ids(seen) {
    if (Array.isArray(seen)) return Array.isArray(seen[0]) || seen[0] === null ? unrun(seen) : seen;
    return unrun(seen?.nodes);
  }

  /** The node of a parameter. @param {string} name @param {number} row @param {number} column */
  parameter(name, row, column) {
    const [, [, columns], start] = this.tensors.find(([found]) => found === name) ?? [
      "",
      [0, 0],
      0,
    ];
    return start + row * columns + column;
  }

  /** The numbers that a name held. @param {any} seen @returns {number[]} */
  numbers(seen) {
    if (typeof seen === "number") return [seen];
    if (Array.isArray(seen))
      return Array.isArray(seen[0]) || seen[0] === null
        ? this.nodes(seen)
        : seen.map((node) => this.at(node));
    if (!seen || typeof seen !== "object") return [];
    if (seen.values) return seen.values;
    if (seen.nodes) return this.nodes(seen.nodes);
    if (seen.data !== undefined) return [seen.data];
    return [seen.value].flat().filter((x) => typeof x === "number");
  }

  /** Where stepping stops: at every statement that set something; or at those of gpt() and loss()
   * alone.
   * @param {boolean} everywhere */
  stops(everywhere) {
    const stops = [];
    for (let i = 0; i < this.end; i++) {
      const { call, set } = this.events[i];
      const shown = everywhere || ["gpt", "loss"].includes(this.calls[call].fn);
      if (shown && Object.keys(set).length) stops.push(i);
    }
    return stops;
  }

  /** The lines under way around an event: those of its callers. @param {number} event */
  calling(event) {
    const lines = new Set();
    for (let c = this.calls[this.events[event].call]; c.parent !== null; c = this.calls[c.parent])
      lines.add(c.line);
    return lines;
  }

  /** The position that an event works on: that of gpt()'s call, or, between two calls, of the last.
   * @param {number} event */
  position(event) {
    const next = this.positions.findIndex((p) => event < this.calls[p.call].end);
    if (next < 0) return this.positions.length - 1;
    const begun = event >= this.calls[this.positions[next].call].begin;
    return begun ? next : Math.max(0, next - 1);
  }

  /** The first event, from one on, that put a node under a name; or that one.
   * @param {number} node @param {number} from */
  naming(node, from) {
    const holds = (/** @type {any} */ run) =>
      run && node >= run[0] && node < run[0] + (run[1] ?? 1) * (run[2] ?? 1);
    for (let i = from; i < this.end; i++)
      for (const seen of Object.values(this.events[i].set))
        if (Array.isArray(seen) && seen.some((run) => run === node || holds(run))) return i;
    return from;
  }

  /** The calls made for the statement that is this event. @param {number} event */
  inner(event) {
    const mine = this.events[event].call;
    let first = event; // back to where the statement before it ended
    while (
      first > 0 &&
      this.events[first - 1].call !== mine &&
      this.#within(this.events[first - 1].call, mine)
    )
      first--;
    return this.calls.filter((c) => c.parent === mine && c.begin >= first && c.begin <= event);
  }

  /** What a statement computed and handed on without naming it: [where to, what].
   * @param {number} event @returns {[string, any][]} */
  unnamed(event) {
    const call = this.calls[this.events[event].call];
    const named = new Set(Object.values(call.args).map((seen) => JSON.stringify(seen)));
    for (let i = call.begin; i < event; i++)
      if (this.events[i].call === call.index)
        for (const seen of Object.values(this.events[i].set)) named.add(JSON.stringify(seen));
    return this.inner(event).flatMap(({ fn, args }) =>
      Object.values(args)
        .filter((seen) => Array.isArray(seen) && !named.has(JSON.stringify(seen)))
        .map((seen) => /** @type {[string, any]} */ ([fn, seen])),
    );
  }

  /** @param {number} call @param {number} outer */
  #within(call, outer) {
    for (let c = this.calls[call]; c; c = this.calls[c.parent ?? -1])
      if (c.index === outer) return true;
    return false;
  }
}

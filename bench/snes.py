"""Measure the cartridges in clocks of the console: each routine, a token, twenty names.

    python -m bench.snes [--out FILE.json]

A routine is timed by the console's own beam counters, read before and after it: a line has 1,364
clocks, a second 21,477,272. What the machine takes meanwhile (refreshing its memory, the sky's
colours) is in the figures, as it is in the game. A token and a list are timed in frames, with
nobody watching: pad, screen and all. The models are trained for it first, by the pipeline's recipe.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from microgpt import cartridge
from microgpt.snes import rom
from microgpt.snes.console import HALT, LIST, Console

ROOT = Path(__file__).parent.parent
CLOCKS = 21_477_272  # a second of an NTSC console
FRAME = 357_366  # clocks: 262 lines
PUBLISHED_PORT = {
    "seconds_a_token": 0.468,
    "seconds_for_20_names": 68.8,
}  # measured in the same emulator
TIMES = 5  # each routine; the middle counts

GAME = [  # what is measured, and the routines that make it up
    ("softmax of 27, as the view inside shows it", ["softmax"]),
    ("sampling: exponentials, a random number, a choice", ["exponentials", "random", "sample"]),
    ("a letter on the screen", ["draw_letter"]),
    ("the view inside, whole", ["draw_inside"]),
    ("a record of the token", ["record"]),
    ("the forward pass, at the last position", ["gpt_step"]),
]
OWN = {
    "classic": [
        ("a matrix of 16 x 16 times a vector", ["linear"]),
        ("attention over 8 positions, four heads", ["attend"]),
        ("rmsnorm", ["rmsnorm"]),
    ],
    "turbo": [],
}


def clocks(console: Console, labels: dict[str, int], routine: str) -> int:
    """Return what a routine takes, on what the game left in its variables."""
    taken = []
    for _ in range(TIMES):
        last = 7 if routine == "draw_letter" else console.at["block_size"] - 1
        console.write(labels["position"], last)
        arguments = {"x": labels["residual"]} if routine in ("linear", "rmsnorm") else {}
        if routine == "linear":
            values = {"matrix": labels["weights"] + 2 * 16 * 62, "bias": labels["biases"]}
            for name, value in (values | {"rows": 16, "columns": 30}).items():
                console.write(labels[name], value)
        if routine in ("linear", "rmsnorm"):
            console.write(labels["destination"], 0x1800)
        console.write(labels["softmax_in"], labels["logits"])
        console.write(labels["softmax_out"], labels["probs"])
        console.write(labels["softmax_count"], 27)
        console.write(labels["softmax_scale"], 739)
        taken.append(console.call(labels[routine], **arguments).clocks)
    return sorted(taken)[TIMES // 2]


def list_frames(console: Console) -> tuple[int, int]:
    """Return the frames and the tokens of twenty names, at full speed."""
    console.ask(HALT)
    first = console.word(console.at["tokens_done"])
    console.ask(LIST)
    frames = 0
    while console.word(console.at["name_number"]) < 20:
        console.run()
        frames += 1
    return frames, console.word(console.at["tokens_done"]) - first


def measure(name: str) -> dict[str, Any]:
    """Train a model, make its cartridge, and return its figures."""
    run = cartridge.start(name)
    for _ in run.advance():
        pass
    made, _ = rom.build(name, run.config, run.checkpoint().model().state)
    with Console(made.data, watched=True) as console:
        list(console.list())  # so that everything holds what it holds in the game
        console.write(console.at["watched"], 0)
        routines = {
            what: {routine: clocks(console, made.labels, routine) for routine in routines}
            for what, routines in OWN[name] + GAME
        }
        frames, tokens = list_frames(console)
    seconds = frames * FRAME / CLOCKS
    return {
        "routines": routines,
        "tokens": tokens,
        "frames": frames,
        "seconds": seconds,
        "ms_a_token": 1000 * seconds / tokens,
        "names_a_second": 20 / seconds,
        "times_the_published_port": PUBLISHED_PORT["seconds_a_token"] * tokens / seconds,
    }


def table(figures: dict[str, Any]) -> Iterator[str]:
    """Yield the figures as lines for people."""
    for name in OWN:
        measured = figures[name]
        yield f"{name:52}{'clocks':>10}{'ms':>9}"
        for what, parts in measured["routines"].items():
            total = sum(parts.values())
            yield f"  {what:50}{total:10,}{1000 * total / CLOCKS:9.3f}"
        yield f"  {'a token of the game, on average':60}{measured['ms_a_token']:9.3f}"
        yield (
            f"  20 names, {measured['tokens']} tokens: {measured['seconds']:.2f} s, "
            f"{measured['names_a_second']:.1f} names/s, "
            f"{measured['times_the_published_port']:.1f} times the published port's speed a token"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the cartridges in clocks.")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "snes.json")
    out = parser.parse_args().out
    figures: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "published_port": PUBLISHED_PORT}
    figures |= {name: measure(name) for name in OWN}
    for line in table(figures):
        print(line)
    out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

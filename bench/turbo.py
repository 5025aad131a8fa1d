"""Measure the turbo cartridge: its quality beside its float twin's, and each phase of a token.

    python -m bench.turbo [--out FILE.json]

Quality: two runs of the recipe, alike but for rounding; losses of all names held out, those that
chose (val) and those that chose nothing (test), in nats/token.

Time: a phase of the forward pass cannot be called alone, so the program is assembled once more
with that phase done twice, which changes no result; what a token then takes longer is the phase.
"""

import argparse
import json
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from microgpt import cartridge, training
from microgpt.arrays import State
from microgpt.feed import Pretraining
from microgpt.integers.base import loss
from microgpt.integers.turbo import CONFIG
from microgpt.snes import rom, tables, turbo
from microgpt.snes.console import HALT, Console
from microgpt.tokenizer import Tokenizer

ROOT = Path(__file__).parent.parent
CLOCKS_A_MS = 21_477.272
POSITIONS = (0, 7, 15)
PHASES = {
    "embedding": "call embed",
    "norm, and its multiples": "call norm",
    "multiples of 16 codes": "call build_multiples",
    "q, k, v": "jsl multiply_qkv",
    "attention": "call attend",
    "attn_wo": "jsl multiply_wo",
    "mlp_fc1": "jsl multiply_fc1",
    "mlp_fc2": "jsl multiply_fc2",
    "lm_head": "jsl multiply_lm_head",
}
NAME = [26, *Tokenizer(rom.VOCABULARY).ids("maximilianalexa")]  # as long as a block


def quality() -> tuple[State, dict[str, Any]]:
    """Train both twins; return the rounded one, and the losses of both."""
    aware = cartridge.start("turbo")
    again = Pretraining(aware.feed.dataset, aware.feed.batch_size, aware.feed.fraction)
    twin = training.Run(again, aware.settings, sizes={"block_size": 16})
    for run in (aware, twin):
        for _ in run.advance():
            pass
    state = aware.checkpoint().model().state
    model = rom.calibrated(aware.config, state)
    losses: dict[str, Any] = {"data": aware.feed.dataset.name, "steps": aware.settings.steps}
    for name, encoded in (("val", aware.feed.val), ("test", aware.feed.test)):
        losses[name] = {
            "documents": len(encoded),
            "float_twin": twin.engine.loss(encoded),
            "rounded": aware.engine.loss(encoded),
            "integers": loss(model, encoded),
        }
    return state, losses


def build(files: Mapping[str, bytes], line: str = "") -> rom.Rom:
    """Return the cartridge, the phase that this line of `step` begins done twice."""
    source = (tables.ASM / "turbo" / "gpt.asm").read_text()
    if line:
        whole = next(text for text in source.splitlines(True) if text.strip().startswith(line))
        source = source.replace(whole, whole + whole, 1)
    plain = replace(rom.spec("turbo"), sources=rom.GAME)
    return rom.assemble(plain, {**files, "gpt.asm": source.encode()})


def times(made: rom.Rom, tokens: list[int], routines: list[str]) -> list[list[int]]:
    """Return the clocks of each routine at each position of a document, nobody watching."""
    with Console(made.data) as console:
        console.ask(HALT)
        taken = []
        for position, token in enumerate(tokens):
            console.write(made.labels["position"], position)
            console.write(made.labels["token"], token)
            calls = [console.call(made.labels[name], a=30000) for name in routines]
            taken.append([call.clocks for call in calls])
        return taken


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the turbo cartridge.")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "turbo.json")
    out = parser.parse_args().out
    state, losses = quality()
    model = rom.calibrated(CONFIG, state)
    files = turbo.files(model)
    made = build(files)
    once = [clocks[0] for clocks in times(made, NAME, ["gpt_step"])]
    phases = {}
    for phase, line in PHASES.items():
        twice = [clocks[0] for clocks in times(build(files, line), NAME, ["gpt_step"])]
        phases[phase] = [twice[at] - once[at] for at in POSITIONS]
    rng = random.Random(1)
    longest = [
        max(
            sum(c)
            for c in times(
                made,
                [26, *rng.choices(range(26), k=15)],
                ["gpt_step", "exponentials", "random", "sample", "draw_token"],
            )
        )
        for _ in range(10)
    ]
    figures = {
        "date": time.strftime("%Y-%m-%d"),
        "loss": losses,
        "bytes": {name: size for name, size in made.segments.items()},
        "positions": [at + 1 for at in POSITIONS],
        "phases": phases,
        "forward_pass": [once[at] for at in POSITIONS],
        "longest_token_of_10_random_blocks": max(longest),
    }
    print(f"{'clocks, by how many positions there are':40}", *(f"{at + 1:9}" for at in POSITIONS))
    for phase, clocks in {**phases, "the forward pass": [once[at] for at in POSITIONS]}.items():
        print(f"  {phase:38}", *(f"{c:9,}" for c in clocks))
    print(f"longest token, sampled and drawn: {max(longest) / CLOCKS_A_MS:.2f} ms")
    print(json.dumps(losses, indent=1))
    out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

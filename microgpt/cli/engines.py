"""The engines as this machine has them: microgpt engines and bench."""

import os
import platform

from microgpt import engines, training
from microgpt.cli import commands


@commands.command(name="engines")
def list_engines() -> None:
    """List the engines, and how to get those that are missing."""
    for name in engines.ENGINES:
        print(f"{name:10}{engines.about(name)}")


@commands.command()
def bench() -> None:
    """Time a training step of each engine, beside gpt.py."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}")
    print(f"{'engine':10}{'us a document, batch 1':>24}{'batch 16':>12}{'times gpt.py':>16}")
    speeds = {name: training.time_steps(name) for name in reversed(engines.ENGINES)}
    for name, speed in speeds.items():
        if speed and speeds["scalar"]:
            times = speeds["scalar"][0] / speed[0]
            print(f"{name:10}{speed[0]:>24,.1f}{speed[1]:>12,.1f}{times:>16,.0f}")

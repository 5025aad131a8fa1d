"""Measure gpt.py beside the same model as one writes it first (naive.py), and its memory.

    python -m bench.heart [--out FILE.json]

Both run as plain scripts on the same documents, in turns; the time of a step is taken between two
lines that they print, the same two for both, and the least of all rounds counts. The losses they
print must agree. Memory is read while gpt.py runs its 1,000 steps (on Linux; elsewhere null).
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = ROOT / "microgpt" / "data" / "names.txt"
SCRIPTS = {"gpt": ROOT / "microgpt" / "gpt.py", "naive": ROOT / "bench" / "naive.py"}
ROUNDS = 5
FIRST, LAST = 5, 35  # the steps between whose lines time is taken


@contextmanager
def running(name: str) -> "Iterator[subprocess.Popen[str]]":
    """Run a script on the built-in documents; end it with the block."""
    command = [sys.executable, "-u", str(SCRIPTS[name]), str(DOCUMENTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def steps(process: "subprocess.Popen[str]") -> Iterator[tuple[int, str]]:
    """Yield the number and the loss of each step as a script prints it."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith("step "):
            yield int(line.split()[1]), line.split()[-1]


def time_steps(name: str) -> tuple[float, list[str]]:
    """Return the milliseconds that a step takes, and the losses up to the last."""
    losses, start = [], 0.0
    with running(name) as process:
        for step, loss in steps(process):
            losses.append(loss)
            if step == FIRST:
                start = time.perf_counter()
            elif step == LAST:
                return 1000 * (time.perf_counter() - start) / (LAST - FIRST), losses
    raise RuntimeError(f"{SCRIPTS[name]} ended before step {LAST}")


def measure_memory() -> dict[str, float]:
    """Return the memory of gpt.py (MB): after 100 steps, after 1,000, and the peak until then."""
    taken: dict[str, float] = {}
    with running("gpt") as process:
        status = Path(f"/proc/{process.pid}/status")
        for step, _ in steps(process):
            if step in (100, 1000):
                fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
                taken[f"rss_step_{step}"] = int(fields["VmRSS"].split()[0]) * 1024 / 1e6
    taken["rss_peak"] = int(fields["VmHWM"].split()[0]) * 1024 / 1e6
    return taken


def processor() -> str:
    """Return the name of this machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a step of gpt.py and of the naive form.")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "heart.json")
    out = parser.parse_args().out
    times: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    for i in range(ROUNDS):
        print(f"round {i + 1} of {ROUNDS}", file=sys.stderr)
        losses = []
        for name in SCRIPTS:
            ms, printed = time_steps(name)
            times[name].append(ms)
            losses.append(printed)
        assert losses[0] == losses[1], "the two scripts must compute the same"
    least = {name: min(each) for name, each in times.items()}
    memory = measure_memory() if sys.platform == "linux" else None
    figures = {
        "machine": f"{processor()}, {platform.system()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d"),
        "steps": [FIRST, LAST],
        "ms_a_step": times,
        "least_ms_a_step": least,
        "ratio": least["naive"] / least["gpt"],
        "memory_mb": memory,
    }
    print(f"{figures['python']} on {figures['machine']}, the least of {ROUNDS} rounds")
    for name, ms in least.items():
        print(f"  {name + '.py':<10}{ms:8.1f} ms a step")
    print(f"  {'ratio':<10}{figures['ratio']:8.1f}")
    if memory:
        at_100, at_1000, peak = memory.values()
        print(
            f"  {'memory':<10}{at_100:8.1f} MB after 100 steps, {at_1000:.1f} after 1,000,", end=" "
        )
        print(f"{peak:.1f} at most")
    out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

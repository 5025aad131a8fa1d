"""Measure the native engine beside the sketch it grew from, and beside PyTorch.

    python -m bench.native [--out FILE.json] [--plot FILE.png] [--rounds N]

All contestants take turns in one run, and the least time of all rounds counts; the ratios are what
to read. The sketch, a C program for the published sizes and AVX-512 only, is named by
MICROGPT_SKETCH; without it, without PyTorch, or without AVX-512, those rows are left out.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bench.heart import processor
from microgpt import engines, gpt
from microgpt.config import GPTConfig
from microgpt.engines.base import TrainableEngine, initial_state
from microgpt.native.kernel import kernels

try:
    torch: Any = import_module("torch")
except ImportError:
    torch = None

ROOT = Path(__file__).parent.parent
LIST = Path(os.environ.get("MICROGPT_NAMES") or ROOT / "microgpt" / "data" / "names.txt")
THREADS = sorted({1, len(os.sched_getaffinity(0))})  # PyTorch may have the better of both
FLAGS = {"avx512": "-mfma -mavx512f -mavx512dq -mavx512bw -mavx512vl", "avx2": "-mavx2 -mfma"}
KERNEL_FLAGS = "-std=gnu11 -O2 -fno-math-errno -fno-trapping-math -ffp-contract=fast"  # setup.py's
CALL = 100  # steps in one call, as the sketch's windows


def documents() -> tuple[list[list[int]], random.Random]:
    """Return the list's token ids in the heart's order, and the generator as it is then."""
    docs = gpt.read(LIST)
    rng = random.Random(42)
    rng.shuffle(docs)
    alphabet = "".join(sorted(set("".join(docs))))
    return [gpt.encode(doc, alphabet) for doc in docs], rng


DOCS, RNG = documents()
VOCAB = max(map(max, DOCS)) + 1
STATE = initial_state(GPTConfig(vocab_size=VOCAB), RNG)


def batches(size: int, steps: int) -> list[list[list[int]]]:
    return [[DOCS[(s * size + i) % len(DOCS)] for i in range(size)] for s in range(steps)]


def positions(batch: list[list[int]], config: GPTConfig) -> int:
    return sum(min(len(tokens) - 1, config.block_size) for tokens in batch)


def create(simd: str, config: GPTConfig, state: Any, threads: int | None = 1) -> TrainableEngine:
    os.environ["MICROGPT_SIMD"] = simd
    engine = engines.create_trainable("native", config, state, threads=threads)
    os.environ.pop("MICROGPT_SIMD")
    return engine


class Torch:
    """The same model in PyTorch as one writes it: documents padded to the longest of the batch.

    Adam as torch.optim gives it unasked loops over the tensors; `fused` is its fastest form.
    """

    def __init__(self, config: GPTConfig, state: Any, fused: bool = True) -> None:
        self.config = config
        self.params = {n: torch.nn.Parameter(torch.tensor(a).float()) for n, a in state.items()}
        adam = torch.optim.Adam
        self.adam = adam(self.params.values(), 0.01, (0.85, 0.99), 1e-8, fused=fused or None)

    def loss(self, tokens: Any, targets: Any) -> Any:
        c, p, F = self.config, self.params, torch.nn.functional
        count, length = tokens.shape

        def rmsnorm(x: Any) -> Any:
            return F.rms_norm(x, (c.n_embd,), eps=1e-5)

        def heads(x: Any) -> Any:
            return x.view(count, length, c.n_head, c.head_dim).transpose(1, 2)

        x = rmsnorm(p["wte"][tokens] + p["wpe"][:length])
        for i in range(c.n_layer):
            h = rmsnorm(x)
            q, k, v = (heads(F.linear(h, p[f"layer{i}.attn_w{which}"])) for which in "qkv")
            mix = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            mix = mix.transpose(1, 2).reshape(count, length, c.n_embd)
            x = x + F.linear(mix, p[f"layer{i}.attn_wo"])
            h = F.relu(F.linear(rmsnorm(x), p[f"layer{i}.mlp_fc1"]))
            x = x + F.linear(h, p[f"layer{i}.mlp_fc2"])
        surprise = F.cross_entropy(
            F.linear(x, p["lm_head"]).flatten(0, 1), targets.flatten(), reduction="none"
        ).view(count, length)
        kept = targets >= 0
        return ((surprise * kept).sum(1) / kept.sum(1)).mean()

    def prepare(self, batch: list[list[int]]) -> tuple[Any, Any]:
        size = self.config.block_size
        length = min(max(map(len, batch)) - 1, size)
        tokens = torch.zeros(len(batch), length, dtype=torch.long)
        targets = torch.full((len(batch), length), -100)
        for row, doc in enumerate(batch):
            n = min(len(doc) - 1, size)
            tokens[row, :n] = torch.tensor(doc[:n])
            targets[row, :n] = torch.tensor(doc[1 : n + 1])
        return tokens, targets

    def train(self, prepared: list[tuple[Any, Any]], threads: int) -> float:
        loss: Any = None
        torch.set_num_threads(threads)
        for tokens, targets in prepared:
            self.adam.zero_grad()
            loss = self.loss(tokens, targets)
            loss.backward()
            self.adam.step()
        return float(loss.detach())


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# ---- The published sizes -------------------------------------------------------------------------


def write_inputs(folder: Path) -> None:
    """Write what the programs of C read: init.bin, docs.bin."""
    flat = np.concatenate([STATE[n].ravel() for n, _ in GPTConfig(vocab_size=VOCAB).shapes()])
    flat.tofile(folder / "init.bin")
    rows = [[min(len(d) - 1, 16), *d[:17], *[0] * (17 - len(d[:17]))] for d in DOCS]
    np.array(rows, np.uint8).tofile(folder / "docs.bin")


def sketch(folder: Path) -> Callable[[int], float] | None:
    """Build the sketch; return what runs it at a batch size and gives its best µs a document."""
    source = os.environ.get("MICROGPT_SKETCH")
    if not source or "avx512" not in kernels() or VOCAB != 27:
        return None
    write_inputs(folder)
    for size in (1, 16):
        subprocess.run(
            f"gcc -O3 -march=native -fno-math-errno -w -DBATCH={size} -o {folder}/sketch{size} "
            f"{source} -lm",
            shell=True,
            check=True,
        )

    def run(size: int) -> float:
        command = [f"{folder}/sketch{size}", "1000", "8" if size == 1 else "2"]
        printed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        return float(printed.stdout.split("per sample ")[1].split()[0])

    return run


def published(rounds: int) -> dict[str, dict[str, float]]:
    """Return µs a document by contestant and batch size: the best CALL steps of 1,000."""
    config, best = GPTConfig(vocab_size=VOCAB), dict[str, dict[str, float]]()
    with tempfile.TemporaryDirectory() as folder:
        run_sketch = sketch(Path(folder))
        for _ in range(rounds):
            for size in (1, 16):
                work = batches(size, 1000)
                for name in kernels():
                    engine = create(name, config, STATE)
                    for _ in range(8 if size == 1 else 2):
                        engine.load(STATE)
                        for at in range(0, 1000, CALL):
                            some, rates = work[at : at + CALL], [0.01] * CALL
                            seconds = timed(lambda: engine.train(some, rates))  # noqa: B023
                            note(best, name, size, seconds / CALL / size)
                if run_sketch:
                    note(best, "sketch", size, run_sketch(size) / 1e6)
                for fused in (False, True) if torch else ():
                    name = "PyTorch, fused Adam" if fused else "PyTorch"
                    model = Torch(config, STATE, fused)
                    prepared = [model.prepare(batch) for batch in work[:300]]
                    for at in range(0, 300, 50):
                        some_more = prepared[at : at + 50]
                        threads = THREADS[at // 50 % len(THREADS)]
                        seconds = timed(lambda: model.train(some_more, threads))  # noqa: B023
                        note(best, name, size, seconds / 50 / size)
    return best


def note(best: dict[str, dict[str, float]], name: str, size: int, seconds: float) -> None:
    figures = best.setdefault(name, {})
    figures[str(size)] = min(figures.get(str(size), 1e9), 1e6 * seconds)


def phases(rounds: int) -> list[dict[str, Any]]:
    """Return what each phase of a step takes and the least it could (µs), batch 1 and 16."""
    if kernels()[0] not in FLAGS or VOCAB != 27:
        return []
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder))
        program, source = f"{folder}/phases", ROOT / "bench" / "phases.c"
        flags = f"{KERNEL_FLAGS} {FLAGS[kernels()[0]]}"
        subprocess.run(
            f"cc {flags} -w -DREAL_BYTES=4 -o {program} {source}", shell=True, check=True
        )
        found: dict[int, dict[str, Any]] = {}
        for _ in range(rounds):  # a new process may get better or worse memory addresses
            for size in (1, 16):
                command = [program, str(size), "100"]
                printed = subprocess.run(command, cwd=folder, capture_output=True, check=True)
                timed = json.loads(printed.stdout)
                if size not in found or timed["step"] < found[size]["step"]:
                    found[size] = timed
    return list(found.values())


def threads(rounds: int) -> list[dict[str, Any]]:
    """Return how many times as fast a step of a batch of 128 is with all cores as with one."""
    found = []
    for n_embd in (16, 64, 256):
        config = GPTConfig(n_embd=n_embd, vocab_size=VOCAB)
        draw = np.random.default_rng(1)
        state = {name: draw.normal(0, 0.02, shape) for name, shape in config.shapes()}
        alone, shared = (create(kernels()[0], config, state, threads=t) for t in (1, None))
        work, least = batches(128, 10), {alone: 1e9, shared: 1e9}
        for _ in range(5 * rounds):
            for engine in least:
                seconds = timed(lambda: engine.train(work, [1e-4] * 10))  # noqa: B023
                least[engine] = min(least[engine], seconds)
        found.append({"n_embd": n_embd, "times_as_fast": least[alone] / least[shared]})
    return found


def losses(rounds: int) -> dict[str, dict[str, float]]:
    """Return how many times the speed of `loss` that of `losses` is, by vector width and batch."""
    config, found = GPTConfig(vocab_size=VOCAB), dict[str, dict[str, float]]()
    for name in kernels():
        engine = create(name, config, STATE)
        for size in (1, 16, 128):
            work, one, each = batches(size, 50), 1e9, 1e9
            for _ in range(10 * rounds):
                one = min(one, timed(lambda: [engine.loss(batch) for batch in work]))  # noqa: B023
                each = min(each, timed(lambda: [engine.losses(batch) for batch in work]))  # noqa: B023
            found.setdefault(name, {})[str(size)] = one / each
    return found


def sampling(rounds: int) -> dict[str, float]:
    """Return names a second, of a model trained for 1,000 steps, as lists of tokens in Python."""
    config, rates = GPTConfig(vocab_size=VOCAB), [0.01 * (1 - s / 1000) for s in range(1000)]
    best = dict[str, float]()
    for _ in range(5 * rounds):
        for name in kernels():
            engine = create(name, config, STATE)
            engine.train(batches(1, 1000), rates)
            many = engine.sample_many  # type: ignore[attr-defined]
            seconds = timed(lambda: many(20_000, 1, 0.5, None, None, []))  # noqa: B023
            best[name] = max(best.get(name, 0), 20_000 / seconds)
    return best


# ---- As work grows -------------------------------------------------------------------------------


def growth(rounds: int) -> list[dict[str, Any]]:
    """Return, for each width, depth and batch, µs a document and GFLOP/s, native and PyTorch."""
    cells = []
    for n_layer in (1, 4):
        for n_embd in (16, 32, 64, 128, 256):
            config = GPTConfig(n_layer=n_layer, n_embd=n_embd, vocab_size=VOCAB)
            draw = np.random.default_rng(1)
            state = {name: draw.normal(0, 0.02, shape) for name, shape in config.shapes()}
            native = create(kernels()[0], config, state, threads=None)
            model = Torch(config, state) if torch else None
            for size in (1, 16, 128):
                steps = max(2, min(50, int(1e9 / config.n_params / size / 40)))
                work = batches(size, steps)
                tokens = sum(positions(batch, config) for batch in work)
                flops = 6 * tokens * (config.n_params - (VOCAB + config.block_size) * n_embd)
                best = {"native": 1e9, "PyTorch": 1e9}
                prepared = [model.prepare(batch) for batch in work] if model else []
                for _ in range(rounds):
                    seconds = timed(lambda: native.train(work, [1e-4] * steps))  # noqa: B023
                    best["native"] = min(best["native"], seconds)
                    for threads in THREADS if model else ():
                        assert model
                        seconds = timed(lambda: model.train(prepared, threads))  # noqa: B023
                        best["PyTorch"] = min(best["PyTorch"], seconds)
                cell: dict[str, Any] = {"n_layer": n_layer, "n_embd": n_embd, "batch": size}
                for name, least in best.items():
                    if least < 1e9:
                        cell[name] = {
                            "us_a_document": 1e6 * least / steps / size,
                            "gflops": flops / least / 1e9,
                        }
                cells.append(cell)
                print(json.dumps(cell), file=sys.stderr)
    return cells


def plot(figures: dict[str, Any], path: Path) -> None:
    """Draw GFLOP/s over n_embd, a panel for each batch size."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn, panels = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
    for panel, size in zip(panels, (1, 16, 128), strict=True):
        for n_layer, line in ((1, "-"), (4, "--")):
            cells = [c for c in figures["growth"] if (c["batch"], c["n_layer"]) == (size, n_layer)]
            for name, colour in (("native", "#0b6e4f"), ("PyTorch", "#c8553d")):
                rows = [c for c in cells if name in c]
                label = f"{name}, {n_layer} layer{'s' * (n_layer > 1)}"
                x, y = [c["n_embd"] for c in rows], [c[name]["gflops"] for c in rows]
                panel.plot(x, y, line, color=colour, marker="o", markersize=3, label=label)
        panel.set(xscale="log", yscale="log", title=f"batch {size}", xlabel="n_embd")
        panel.set_xticks([16, 32, 64, 128, 256], ["16", "32", "64", "128", "256"])
        panel.minorticks_off()
        panel.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("GFLOP/s (tokens that count)")
    panels[0].legend(fontsize=8, frameon=False)
    drawn.suptitle(f"A training step, {figures['machine']}, {figures['cores']} cores", fontsize=10)
    drawn.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the native engine, the sketch and PyTorch.")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "native.json")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    figures: dict[str, Any] = {
        "machine": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "simd": kernels(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "torch": torch.__version__ if torch else None,
        "date": time.strftime("%Y-%m-%d"),
        "documents": len(DOCS),
        "tokens_a_document": sum(min(len(d) - 1, 16) for d in DOCS) / len(DOCS),
    }
    best = published(given.rounds)
    figures["us_a_document"] = best
    figures["ratios"] = {
        size: {name: best[name][size] / best[kernels()[0]][size] for name in best}
        for size in ("1", "16")
    }
    figures["phases_us_a_step"] = phases(given.rounds)
    figures["losses_by_loss"] = losses(given.rounds)
    figures["names_a_second"] = sampling(given.rounds)
    figures["threads"] = threads(given.rounds)
    print(json.dumps(figures, indent=2))
    given.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    figures["growth"] = growth(given.rounds)
    given.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    if given.plot:
        plot(figures, given.plot)


if __name__ == "__main__":
    main()

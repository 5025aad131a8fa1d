"""One number of a run, moved a little: gpt.py runs again, and the loss shows what its grad says."""

from functools import cache
from itertools import count
from types import CodeType
from typing import Any

from microgpt import gpt
from microgpt.xray.recorder import program
from microgpt.xray.recording import Recording

MOST = 9  # digits: a smaller step is lost in the rounding of the loss


def nudge(trace: Recording, node: int, digits: int) -> dict[str, float]:
    """Run gpt.py again with one Value larger by epsilon = 10**-digits from its birth on.

    Return epsilon, the `loss` as it was, and the loss `nudged` (nats/token).

    Raises:
        ValueError: the trace is not of gpt.py reading a document, or epsilon is too small.
        IndexError: there is no such Value.
    """
    if trace.source != program(gpt).source or trace.loss is None:
        raise ValueError("only gpt.py itself, reading a document, can be run again with a nudge")
    if not 1 <= digits <= MOST:
        raise ValueError(f"digits is {digits}; it must be from 1 to {MOST}")
    if node >= len(trace.data):
        raise IndexError(node)
    epsilon = 10.0**-digits
    module: dict[str, Any] = {"__name__": "gpt"}
    exec(_code(), module)  # a copy, so that its class Value is this run's alone
    value: Any = module["Value"]
    births = count()

    class Nudged(value):  # type: ignore[misc]
        __slots__ = ()

        def __init__(self, data: float, *how: Any) -> None:
            super().__init__(data, *how)
            if next(births) == node:  # Values are numbered as they are born, parameters first
                self.data += epsilon

    module["Value"] = Nudged
    params = {
        name: [
            [Nudged(x) for x in trace.data[at : at + columns]]
            for at in range(start, start + rows * columns, columns)
        ]
        for name, (rows, columns), start in trace.params
    }
    config = module["Config"](**trace.config)
    nudged = module["loss"](params, config, trace.tokens).data
    return {"epsilon": epsilon, "loss": trace.loss, "nudged": nudged}


@cache
def _code() -> CodeType:
    return compile(program(gpt).source, "gpt.py", "exec")

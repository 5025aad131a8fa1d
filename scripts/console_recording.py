"""Record the console's screen for where no emulator is: a loop, its last picture, and its names.

python scripts/console_recording.py microgpt/lab/static
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from microgpt.checkpoint import Checkpoint
from microgpt.lab.jobs import console
from microgpt.lab.server import MODEL
from microgpt.snes.console import Console

HELD = 3000  # milliseconds that the full list stays


def main(folder: Path) -> None:
    """Write console-loop.png (an animated PNG), console.png and console.json to a folder."""
    made = console.make(model := Checkpoint.load(MODEL), model, "classic")
    data = base64.b64decode(made["rom"])
    pictures: list[Any] = []
    times: list[float] = []
    with Console(data) as emulator:
        frame = 0
        while len(console.figures(emulator)["names"]) < 20:
            emulator.run()
            frame += 1
            picture = Image.fromarray(emulator.screenshot())
            if not pictures or picture.tobytes() != pictures[-1].tobytes():
                pictures.append(picture)
                times.append(1000 * frame * console.FRAME)
        record = console.about(emulator, data) | console.figures(emulator) | {"frame": frame}
    first, *others = pictures
    lasting = [round(b - a) for a, b in zip(times, [*times[1:], times[-1] + HELD], strict=True)]
    first.save(
        folder / "console-loop.png",
        save_all=True,
        append_images=others,
        duration=lasting,
        loop=0,
        optimize=True,
    )
    pictures[-1].save(folder / "console.png", optimize=True)
    (folder / "console.json").write_text(json.dumps(record) + "\n")


main(Path(sys.argv[1]))

"""A Super Nintendo in Python: a libretro core runs a cartridge; we read memory and hold the pad."""

import _ctypes
import contextlib
import ctypes
import logging
import os
import struct
import sys
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUTTONS = ("b", "y", "select", "start", "up", "down", "left", "right", "a", "x", "l", "r")
CORES = ("bsnes_mercury_performance", "snes9x", "bsnes_mercury_balanced", "bsnes", "bsnes_mercury")
FOLDERS = (  # where Linux, RetroArch and macOS keep cores
    *("/usr/lib/*/libretro", "/usr/lib/libretro", "/usr/local/lib/libretro"),
    *("~/.config/retroarch/cores", "~/Library/Application Support/RetroArch/cores"),
)
HOW = (
    "`apt-get install libretro-bsnes-mercury-performance` gives one on Debian or Ubuntu, the core "
    "downloader of RetroArch anywhere (bsnes, Snes9x); or open the .sfc in any SNES emulator"
)


def find_core(core: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of an emulator core: the file given, or a core by name, or the fastest found.

    Raises:
        OSError: there is none.
    """
    if core is not None and Path(core).is_file():
        return Path(core)
    names = CORES if core is None else (str(core),)
    for name in names:
        for folder in FOLDERS:
            top = Path(folder).expanduser()
            root = next((p for p in (top, *top.parents) if "*" not in str(p)), top)
            pattern = str(top.relative_to(root) / f"{name}_libretro.*")
            for path in sorted(root.glob(pattern)) if root.is_dir() else []:
                if path.suffix in (".so", ".dylib", ".dll"):
                    return path
    missing = "no SNES emulator core was found" if core is None else f"there is no core {core}"
    raise OSError(f"{missing}; {HOW}")


def check_libretro() -> None:
    """Raise OSError unless libretro.py is installed, through which Python runs a core."""
    if not find_spec("libretro"):
        raise OSError(
            "libretro.py is not installed: `pip install libretro.py` lets Python run a core"
        )


class Emulator:
    """A console with a cartridge in it, switched on.

    Raises:
        OSError: there is no core, or libretro.py is not installed.
    """

    def __init__(
        self, rom: bytes, core: str | os.PathLike[str] | None = None, pal: bool = False
    ) -> None:
        self.core = find_core(core)
        check_libretro()
        import libretro
        from libretro.drivers import ArrayVideoDriver, UnformattedLogDriver

        if pal:  # emulators choose the console by the region in the header
            rom = rom[:0x7FD9] + b"\x02" + rom[0x7FDA:]
        self._held = held = dict.fromkeys(BUTTONS, False)

        def pad() -> Iterator[Any]:
            while True:
                yield libretro.JoypadState(**held)

        class Screen(ArrayVideoDriver):  # type: ignore[misc]  # libretro.py has no types
            """Keeps a frame as the core gave it: to colour it point by point takes 35 ms."""

            def refresh(self, data: Any, width: int, height: int, pitch: int) -> None:
                if isinstance(data, memoryview):  # else the last frame is to be shown again
                    self.lines = np.frombuffer(data, np.uint8).reshape(height, pitch).copy()
                    self.width = width

        quiet = logging.getLogger("microgpt.core")
        quiet.disabled = True
        stack = contextlib.ExitStack()
        self._close = weakref.finalize(self, stack.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "rom.sfc").write_bytes(rom)
        core_copy = folder / self.core.name  # a core is one console: a second needs a second core
        core_copy.write_bytes(self.core.read_bytes())
        library = ctypes.CDLL(str(core_copy))
        stack.callback(_unload, library._handle)
        builder = libretro.defaults(library).with_content(str(folder / "rom.sfc"))
        builder = builder.with_input(pad).with_log(UnformattedLogDriver(quiet)).with_paths(None)
        self._screen = Screen()
        builder = builder.with_video(self._screen)
        self._session = stack.enter_context(builder.build())
        self._session.core.get_system_av_info()  # bsnes chooses its pixel format in here
        memory = self._session.core.get_memory(2)
        assert memory is not None
        stack.callback(memory.release)
        self._wram = memory  # 128 KB, live: what is read is copied, for the core can be unloaded

    def __enter__(self) -> "Emulator":
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Switch the console off; its memory cannot be read afterwards."""
        self._close()

    def reset(self) -> None:
        """Press the reset button."""
        self._session.reset()

    def run(self, frames: int = 1) -> None:
        """Let time pass."""
        for _ in range(frames):
            self._session.run()

    def hold(self, *buttons: str) -> None:
        """Hold these buttons of the first pad, and no others, until the next call.

        Raises:
            ValueError: the pad has no such button.
        """
        for button in buttons:
            if button not in BUTTONS:
                raise ValueError(f"the pad has no button {button!r}; it has {', '.join(BUTTONS)}")
        self._held.update((button, button in buttons) for button in BUTTONS)

    def press(self, *buttons: str, frames: int = 3) -> None:
        """Hold buttons for some frames, then let go for as many."""
        self.hold(*buttons)
        self.run(frames)
        self.hold()
        self.run(frames)

    def read(self, address: int, count: int) -> bytes:
        """Return bytes of WRAM."""
        return bytes(self._wram[address : address + count])

    def word(self, address: int) -> int:
        """Return a word of WRAM: 16 bits without sign."""
        return int(self._wram[address]) | int(self._wram[address + 1]) << 8

    def words(self, address: int, count: int) -> NDArray[np.int64]:
        """Return words of WRAM, signed."""
        return np.frombuffer(self.read(address, 2 * count), "<i2").astype(np.int64)

    def write(self, address: int, *words: int) -> None:
        """Write words to WRAM."""
        for i, word in enumerate(words):
            at = address + 2 * i
            self._wram[at : at + 2] = bytes((word & 0xFF, word >> 8 & 0xFF))

    def wait(self, address: int, value: int = 0, limit: int = 600) -> int:
        """Let time pass until a word of WRAM has a value; return the frames it took.

        Raises:
            RuntimeError: it has not after `limit` frames: the program hangs.
        """
        for frame in range(1, limit + 1):
            self.run()
            if self.word(address) == value:
                return frame
        raise RuntimeError(f"${address:04X} is not {value} after {limit} frames")

    def screenshot(self) -> NDArray[np.uint8]:
        """Return the frame on the screen, (224, 256, 3): red, green, blue."""
        screen = self._screen
        step = screen.width // 256  # some cores draw every point twice
        if screen.pixel_format.bytes_per_pixel == 4:  # blue, green, red, nothing
            points = screen.lines.reshape(len(screen.lines), -1, 4)[:, : screen.width : step]
            return np.ascontiguousarray(points[:, :, 2::-1])
        words = screen.lines.view("<u2")[:, : screen.width : step]
        green = 6 if screen.pixel_format.name == "RGB565" else 5  # bits; red and blue have 5
        colours = [
            (words >> low & (1 << bits) - 1, bits)
            for low, bits in ((5 + green, 5), (5, green), (0, 5))
        ]
        return np.stack([c << 8 - n | c >> 2 * n - 8 for c, n in colours], 2).astype(np.uint8)


def _unload(handle: int) -> None:
    """Give back a core's memory, 88 MB of bsnes; ctypes itself never unloads a library."""
    if sys.platform == "win32":
        _ctypes.FreeLibrary(handle)
    else:
        _ctypes.dlclose(handle)


def png(image: NDArray[np.uint8], zoom: int = 2) -> bytes:
    """Return an image (height, width, 3) as a PNG file, each point drawn zoom x zoom."""
    image = image.repeat(zoom, axis=0).repeat(zoom, axis=1)
    height, width, _ = image.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + row.tobytes() for row in image)
    head = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )

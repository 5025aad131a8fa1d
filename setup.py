"""Builds the native engine where there is a C compiler; pyproject.toml says everything else.

kernel.c is compiled once for each vector width and precision, and the fastest that the processor
knows is chosen when the program runs: so a wheel is made for no machine in particular.
"""

import os
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from itertools import product

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PLATFORM = sysconfig.get_platform()  # what is compiled for, which need not be this machine
WIDTHS = {"portable": []}
if PLATFORM.endswith(("x86_64", "amd64", "universal2")):
    WIDTHS["avx2"] = ["-mavx2", "-mfma"]
    WIDTHS["avx512"] = ["-mfma", *(f"-mavx512{part}" for part in ("f", "dq", "bw", "vl"))]
if PLATFORM.endswith("universal2"):  # two processors at once: these are for one of them
    for flags in WIDTHS.values():
        flags[:] = [part for flag in flags for part in ("-Xarch_x86_64", flag)]
FLAGS = ["-std=gnu11", "-O2", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
FLAGS += ["-Wall", "-Wextra", "-Wno-psabi"]
if os.name == "nt":  # clang-cl has cl's options, and clang's behind this
    FLAGS = [f"/clang:{flag}" for flag in FLAGS]


class BuildKernels(build_ext):
    """Compiles kernel.c several times, and the binding once."""

    def build_extension(self, ext: Extension) -> None:
        extra = os.environ.get("MICROGPT_CFLAGS", "").split()  # a sanitizer's, in tests
        if self.compiler.compiler_type == "msvc":  # its cl lacks vectors: clang-cl has them
            self.compiler.initialize()
            self.compiler.cc = "clang-cl"
        ext.extra_compile_args = FLAGS + extra
        ext.extra_link_args = extra

        def compile_kernel(kernel: tuple[str, int]) -> list[str]:
            width, real_bytes = kernel
            name = f"{width}_{real_bytes}"
            return self.compiler.compile(
                ["microgpt/native/kernel.c"],
                output_dir=os.path.join(self.build_temp, name),
                macros=[("REAL_BYTES", str(real_bytes)), ("KERNEL", name)],
                extra_preargs=FLAGS + WIDTHS[width] + extra,
                depends=ext.depends,
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for objects in pool.map(compile_kernel, product(WIDTHS, (4, 8))):
                ext.extra_objects += objects
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildKernels},
    ext_modules=[
        Extension(
            "microgpt.native.kernel",
            ["microgpt/native/module.c"],
            depends=[f"microgpt/native/{name}" for name in ("kernel.c", "kernel.h", "simd.h")],
            py_limited_api=True,
            optional=True,  # without a compiler all else installs, and trains by gpt.py
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

"""Builds the extension module `limpet.format._native`: stable ABI, optional, the same bytes each time."""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, setup  # type: ignore[import-untyped]
from setuptools.command.build_ext import build_ext  # type: ignore[import-untyped]

HERE = Path(__file__).resolve().parent
NATIVE = Path("src/limpet/format/native")

# Zip archives know no time before 1980; what the files' own times say differs from build to build.
os.environ.setdefault("SOURCE_DATE_EPOCH", "315619200")
# The modes of the files in the wheel would be the builder's.
os.umask(0o022)


def _files(pattern: str) -> list[str]:
    return sorted(path.relative_to(HERE).as_posix() for path in (HERE / NATIVE).glob(pattern))


class BuildNative(build_ext):  # type: ignore[misc]
    """Adds the flags that the compiler at hand understands."""

    def build_extensions(self) -> None:
        """Compiles without debugging data and without the build folder's name."""
        if self.compiler.compiler_type != "msvc":
            for extension in self.extensions:
                extension.extra_compile_args = [
                    "-std=gnu11",
                    "-O3",
                    "-g0",
                    "-fvisibility=hidden",
                    "-Wall",
                    "-Wextra",
                    f"-ffile-prefix-map={HERE}=.",
                ]
                extension.extra_link_args = ["-g0"]
        super().build_extensions()


setup(
    ext_modules=[
        Extension(
            "limpet.format._native",
            sources=_files("*.c"),
            depends=_files("*.h"),
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
            # Without a compiler the plain-Python twins serve.
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

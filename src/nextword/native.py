"""The C++ core where it was built. The only module that imports the extension `nextword._native`.

`native` is the extension, or None: for modules that can do without it. `core` is the same with its types, and is not
there to be imported where it was not built: for modules that cannot do without it.
"""

from __future__ import annotations

import os
from types import ModuleType

__all__ = ["core", "native", "native_status"]

native: ModuleType | None
try:
    import nextword._native as core
except ModuleNotFoundError as error:
    if error.name != "nextword._native":
        raise
    native = None
else:
    native = core


def native_status() -> str:
    """Describe the C++ core: the instruction set that its kernels use here, or that it was not built."""
    if native is None:
        return "C++ core: not built, so PyTorch computes, slower; install a C++17 compiler, then nextword again"
    try:
        return f"C++ core: {native.choose_isa(os.environ.get('NEXTWORD_ISA', ''))}"
    except ValueError as error:
        return f"C++ core: {error}"

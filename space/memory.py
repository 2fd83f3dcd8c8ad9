"""How the serving process gives back what it has freed: glibc by itself keeps hundreds of MiB of it."""

import ctypes
import sys

ARENA_MAX, MMAP_THRESHOLD = -8, -3  # as <malloc.h> numbers them
ARENAS = 2
LARGE = 2**20  # bytes


def give_back_freed_memory() -> bool:
    """Have malloc return every array of a MiB or more to the system, and keep few pools -> whether it will.

    By default glibc has up to eight pools a core for the threads that Gradio runs visitors' events on, and takes arrays
    of up to 32 MiB from them; what is freed there stays with the process (mallopt(3), M_ARENA_MAX and
    M_MMAP_THRESHOLD). To be called before there are other threads. Elsewhere than on Linux with glibc nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and mallopt(ARENA_MAX, ARENAS) == 1 and mallopt(MMAP_THRESHOLD, LARGE) == 1

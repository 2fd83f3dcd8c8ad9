"""Return freed memory to the system: by default, glibc keeps hundreds of MiB of it."""

import ctypes
import sys
import threading
import time

ARENA_MAX = -8  # M_ARENA_MAX of <malloc.h>
TRIM_INTERVAL = 5.0  # seconds


def give_back_freed_memory(*, every: float = TRIM_INTERVAL) -> bool:
    """Let all threads allocate from one arena, and trim it every few seconds -> whether this system can do that.

    By default glibc creates up to eight arenas per core for the threads on which Gradio answers visitors. Memory that
    is freed in one is not reused by the others, and stays with the process (mallopt(3), M_ARENA_MAX; malloc_trim(3)).
    Trimming takes a millisecond or two. Returning each large array at once was slower: encoding took 40% longer.
    every: seconds. Call it before other threads start. No-op except on Linux with glibc.
    """
    if sys.platform != "linux":
        return False
    malloc = ctypes.CDLL(None)
    if not hasattr(malloc, "malloc_trim") or malloc.mallopt(ARENA_MAX, 1) != 1:
        return False

    def trim() -> None:
        while True:
            time.sleep(every)
            malloc.malloc_trim(ctypes.c_size_t(0))

    threading.Thread(target=trim, name="malloc_trim", daemon=True).start()
    return True

"""How the serving process gives back what it has freed: glibc by itself keeps hundreds of MiB of it."""

import ctypes
import sys
import threading
import time

ARENA_MAX = -8  # as <malloc.h> numbers it
EVERY = 5.0  # seconds


def give_back_freed_memory(*, every: float = EVERY) -> bool:
    """Have all threads allocate from one pool, and give its free pages back from now on -> whether that can be done.

    glibc would make up to eight pools a core for the threads on which Gradio answers visitors; what is freed in one is
    of no use to the others, and stays with the process (mallopt(3), M_ARENA_MAX; malloc_trim(3)). Trimming takes a
    millisecond or two. To have malloc return each large array at once was tried: encoding took 40% longer.
    every: seconds. To be called before there are other threads. Elsewhere than on Linux with glibc nothing is done.
    """
    malloc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(malloc, "malloc_trim") or malloc.mallopt(ARENA_MAX, 1) != 1:
        return False

    def trim() -> None:
        while True:
            time.sleep(every)
            malloc.malloc_trim(ctypes.c_size_t(0))

    threading.Thread(target=trim, name="malloc_trim", daemon=True).start()
    return True

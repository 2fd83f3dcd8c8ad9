"""What the serving process frees goes back to the system, whichever thread freed it."""

import ctypes
import sys

import pytest

import app
from space.malloc_trim import give_back_freed_memory

CODE = """
import sys, threading, time
import numpy as np
from cst.evaluation.process_memory import memory_bytes
from space.malloc_trim import give_back_freed_memory

def resident():  # MiB
    return memory_bytes("VmRSS") / 2**20

def visit():
    together.wait()
    for _ in range(4):
        arrays = [np.ones(2**19) for _ in range(8)]  # 4 MiB each
        kept.append(np.ones(1000))  # something small that outlives them

kept, together = [], threading.Barrier(8)
if sys.argv[1] == "give back":
    print(give_back_freed_memory(every=0.05))
before = resident()
threads = [threading.Thread(target=visit) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
patience = time.monotonic() + float(sys.argv[2])
while resident() - before > 16 and time.monotonic() < patience:
    time.sleep(0.05)
print(resident() - before)
"""
IS_GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")


@pytest.mark.skipif(not IS_GLIBC, reason="another malloc than glibc's")
def test_what_many_threads_have_freed_is_given_back(run_python):
    (by_itself,) = run_python("-c", CODE, "keep", 0.5).stdout.split()
    assert float(by_itself) > 64, "malloc has become better at this: is space/malloc_trim.py still needed?"
    told, kept = run_python("-c", CODE, "give back", 20).stdout.split()
    assert told == "True"
    assert float(kept) < 16


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert give_back_freed_memory() is False


def test_the_app_sees_to_it_before_it_loads_a_model(monkeypatch):
    class Asked(Exception):
        pass

    def ask() -> bool:
        raise Asked

    monkeypatch.setattr("space.malloc_trim.give_back_freed_memory", ask)
    monkeypatch.setattr("space.models.Models", lambda *given, **options: pytest.fail("a model came first"))
    with pytest.raises(Asked):
        app.main(["--selfcheck"])

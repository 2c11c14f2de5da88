"""Where no thread can be started, whoever wants one gets EAGAIN and goes on."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio

from notifyd.threads import in_thread, start_thread

ROOT = Path(__file__).resolve().parents[1]
WANT = """
import os, resource, threading, trio
from notifyd.perform import worker
from notifyd.perform.apart import apart
from notifyd.threads import in_thread, start_thread

def wanted(want):
    try:
        return want()
    except OSError as error:
        return error.errno

WAYS = {
    "a thread": lambda: start_thread(threading.Thread(target=int)),
    "trio's": lambda: trio.run(in_thread, int),
    "a worker": lambda: trio.run(worker.run, int),
    "apart": lambda: apart(int),
}
before = [wanted(want) for want in WAYS.values()]
uid = int(os.sys.argv[1])
os.setresuid(uid, uid, uid)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
trio._core._thread_cache.THREAD_CACHE._idle_workers.clear()
print(before, [wanted(want) for want in WAYS.values()])
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_no_more_threads():
    """It is EAGAIN, of whatever kind the thread is; before that, each works."""
    uid = str(random.randrange(1 << 20, 1 << 24))  # nobody else's processes count
    ran = subprocess.run(
        [sys.executable, "-c", WANT, uid],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (ran.stdout, ran.stderr) == ("[None, 0, 0, 0] [11, 11, 11, 11]\n", "")


def test_what_a_thread_raises_is_its_own():
    """An error of the work is not taken for one of starting it."""

    def work():
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        trio.run(in_thread, work)
    done = threading.Event()
    start_thread(threading.Thread(target=done.set))
    assert done.wait(20)

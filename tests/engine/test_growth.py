"""Whatever a program does over and over, under new names and as somebody new: nothing piles up."""

import contextlib
import gc
import mmap
import os
import sys
import time

import pytest
import trio

from notifyd.bpf.build import compile_profile
from notifyd.engine.listener import Listener
from notifyd.engine.watching import watched_for
from notifyd.policy.lower import lower

TIMES, FEW = 66, 30  # more than there are idle helpers; enough where each is large
LOOKS = """
@on(Stat)
def look(call):
    call.path
    return Allow()

@on(Exec)
def execute(call):
    call.path
    return Allow()

@on(Mkdir)
async def make(call):
    call.path
    return Deny(errno.EPERM)
"""


def change_groups(number):
    """Be somebody else, with so many groups that notifyd keeps eight of those at most."""
    os.setgroups(range(1000 + number, 9000 + number))
    os.stat("/etc/hostname")


def use_names(number):
    """Ask for a file, and for a directory, of a name that was never heard."""
    for call in (os.stat, os.mkdir):
        with contextlib.suppress(OSError):
            call(f"/nowhere/{number}")


def make_processes(number):
    """One that executes and ends, and one that ends by itself."""
    for program in ("/bin/true", None):
        pid = os.fork()
        if not pid:
            if program:
                os.execv(program, [program])
            os.stat("/etc/hostname")
            os._exit(0)
        os.waitpid(pid, 0)


def size_of(thing, seen):
    """Bytes of an object of ours and of all that it refers to, in containers and attributes."""
    if id(thing) in seen or isinstance(thing, type | type(sys) | type(size_of)):
        return 0
    seen.add(id(thing))
    return sys.getsizeof(thing) + sum(size_of(one, seen) for one in gc.get_referents(thing))


@pytest.mark.skipif(os.geteuid() != 0, reason="changes its groups, which is root's")
@pytest.mark.parametrize(
    ("does", "times", "most"),
    [(change_groups, FEW, 6 << 20), (use_names, TIMES, 1 << 13), (make_processes, TIMES, 1 << 13)],
)
def test_what_is_known_of_a_workload_does_not_grow(
    start_child, supervise, reporter, rules_of, does, times, most
):
    """After many times it is hardly larger than after half of them: contexts, threads, helpers."""
    rules, _ = rules_of(LOOKS)
    watched = watched_for(rules, audited=True)
    watch = [(one.syscall, one.cubes) for one in watched]
    program = compile_profile(lower(rules, watch=watch).profile).program.to_bytes()
    phase = mmap.mmap(-1, 1)  # shared with the child

    def wait(during):
        while phase[0] == during:
            time.sleep(0.002)

    def work():
        for number in range(2 * times):
            does(number)
            if number == times - 1:
                phase[0] = 1
                wait(1)
        phase[0] = 3
        wait(3)
        return 0

    child = start_child(work, program)
    workload = Listener("grows", child.listener, rules, reporter, watched=watched, killable=True)

    async def live(_):
        while not phase[0]:
            await trio.sleep(0.002)
        before = size_of_all(workload)
        phase[0] = 2
        while phase[0] != 3:
            await trio.sleep(0.002)
        after = size_of_all(workload)
        phase[0] = 4
        assert await child.status() == 0
        assert after - before < most, (before, after)

    supervise(live, workload)
    workload.close()


def size_of_all(workload):
    """What a workload's calls leave with us."""
    workload.identities.prune()
    workload.files.prune()
    kept = workload.files, workload.identities, workload.digests, workload.crew, workload.waiting
    seen = set()
    return sum(size_of(one, seen) for one in kept)

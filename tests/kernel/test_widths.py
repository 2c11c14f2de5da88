"""How much of a register counts, compared with the prototypes that the running kernel tells."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from notifyd.kernel.arch import native
from notifyd.kernel.syscalls.widths import width_of

READ = 'mount -t tracefs none "$1" && cd "$1/events/syscalls" && grep field: sys_enter_*/format'
FIELD = re.compile(r"sys_enter_(\w+)/format:\tfield:(.*?)(\w+);\toffset:(\d+);")
# By another name in the kernel's source than in its tables.
RENAMED = {"newstat": "stat", "newlstat": "lstat", "newfstat": "fstat", "newuname": "uname"}
RENAMED |= {"umount": "umount2", "sendfile64": "sendfile"}
INTS = {"int", "unsigned", "unsigned int", "__s32", "__u32", "u32", "pid_t", "uid_t", "gid_t"}
INTS |= {"qid_t", "clockid_t", "timer_t", "key_serial_t", "mqd_t", "rwf_t", "key_t"}
# Longs of which the kernel cuts the upper half off further in: to a descriptor, a thread, flags.
CUT_LATER = {
    *((name, 0) for name in ("readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2")),
    ("mmap", 4),
    ("clone", 0),
    ("ptrace", 1),
}


def width_in_c(kind: str) -> int:
    """The bits of a C type on a 64-bit machine."""
    bare = kind.replace("const ", "").strip()
    if bare == "umode_t":
        return 16
    return 32 if bare in INTS or bare.startswith("enum ") else 64


@pytest.mark.root
def test_the_running_kernels_prototypes(tmp_path):
    """Every argument of every call that the kernel can trace has the width of its type."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount tracefs")
    line = ["unshare", "-m", "sh", "-c", READ, "sh", str(tmp_path)]
    told = subprocess.run(line, capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip(f"this kernel tells no prototypes: {told.stderr.strip()}")
    wrong, seen, before = [], set(), {}
    for traced, kind, argument, offset in FIELD.findall(told.stdout):
        if argument.startswith("common_") or argument == "__syscall_nr":
            continue
        name = RENAMED.get(traced, traced)
        at = before[traced] = before.get(traced, -1) + 1
        assert int(offset) == 16 + 8 * at
        seen.add(name)
        ours = width_of(native().name, name, at)
        theirs = 32 if (name, at) in CUT_LATER else width_in_c(kind)
        if name in native().numbers and ours != theirs:
            wrong.append((name, at, kind, ours))
    assert wrong == []
    assert len(seen) > 250


def test_old_ids_of_i386():
    """There an id has 16 bits, and elsewhere 32."""
    assert [width_of(arch, "setuid", 0) for arch in ("i386", "x86_64", "aarch64")] == [16, 32, 32]
    assert width_of("i386", "setuid32", 0) == 32


def test_what_is_not_known_counts_whole():
    """A call without a line, and the registers that a call does not have."""
    assert width_of("x86_64", "no such call", 0) == width_of("x86_64", "close", 5) == 64
    assert width_of("i386", "no such call", 0) == 32

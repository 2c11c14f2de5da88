"""clone(2): a child that shares our descriptor table.

Owns one call that fork(2) cannot do. The child is not an ordinary Python process. In it:

- Every descriptor opened or closed is opened or closed for the caller too, until one of them
  execs, exits or calls unshare(CLONE_FILES).
- Only the calling thread continues. A lock that another thread held stays locked for ever, the
  C library's for memory among them: be the only thread, or do almost nothing.
- Neither Python nor the C library knows that it forked: `threading`, `os.register_at_fork` and
  buffered files still believe to be in the parent. Leave by execve or `os._exit` and no other way,
  or the parent's buffers are written twice and its exit handlers run twice.
- It is the caller's sibling: the caller's parent gets the signal and must wait for it.
"""

from __future__ import annotations

import signal
from ctypes import c_long

from notifyd.kernel import arch
from notifyd.kernel.libc import HOLDING_GIL, fail

__all__ = ["fork_sharing_files"]

_CLONE_FILES = 0x00000400
_CLONE_PARENT = 0x00008000


def fork_sharing_files() -> int:
    """Make a sibling of this process that shares its descriptor table.

    Returns:
        0 in the child, its pid in the caller, whose parent has to wait for it.

    Raises:
        OSError: EINVAL: the caller is init of its pid namespace and cannot have a sibling.
            EAGAIN: too many processes.
    """
    flags = _CLONE_FILES | _CLONE_PARENT | signal.SIGCHLD
    zero = c_long(0)  # same stack (copied), no ids, no thread-local storage: in any order
    nr = c_long(arch.native().numbers["clone"])
    # With the GIL held: released, the child would wait for it, and the holder is not there.
    pid: int = HOLDING_GIL.syscall(nr, c_long(flags), zero, zero, zero, zero)
    if pid < 0:
        fail()
    return pid

"""A file system in user space that withholds its answers: FUSE by its own protocol.

    served.py FOLDER [opens]    (opens: it opens a file itself before it answers)

Everything is answered, until a byte comes on standard input. From then on, of a name that begins
with the name of a request (`flush1`, `read-me`), that request is not; it is told on standard
output, a line `REQUEST NAME` for each. All of them are answered once standard input ends.
`link-TARGET` are links to TARGET, `readlink…` to themselves with a dot in front; what contains
`dir` are directories, all else files of 64 KiB. Nothing is kept.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
import sys
from typing import Final

LOOKUP, FORGET, GETATTR, SETATTR, READLINK, OPEN, READ, WRITE = 1, 2, 3, 4, 5, 14, 15, 16
STATFS, RELEASE, FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = 17, 18, 20, 25, 26, 27, 28, 29
ACCESS, INTERRUPT, BATCH_FORGET = 34, 36, 42
NAMES: Final = {
    LOOKUP: "lookup",
    GETATTR: "getattr",
    READLINK: "readlink",
    OPEN: "open",
    READ: "read",
    WRITE: "write",
    STATFS: "statfs",
    RELEASE: "release",
    FLUSH: "flush",
}
SILENT = (FORGET, BATCH_FORGET, INTERRUPT)
SIZE = 65536
ROOT = 1
LONG = 3600  # seconds for which the kernel may believe an answer
HEAD = struct.Struct("=IIQQ")  # struct fuse_in_header: len, opcode, unique, nodeid


class Served:
    """The nodes, by number, and what is withheld."""

    def __init__(self, device: int, *, opens: bool) -> None:
        self.device = device
        self.opens = opens
        self.names = {ROOT: ""}
        self.nodes: dict[str, int] = {}
        self.withheld: list[tuple[bytes, int, int, str]] = []
        self.withholds = False

    def take(self, request: bytes) -> None:
        """Answer a request, or do not yet."""
        _, kind, unique, node = HEAD.unpack_from(request)
        name = self.names.get(node, "")
        if kind == LOOKUP:
            name = os.fsdecode(request[40:].rstrip(b"\0"))
        asked = NAMES.get(kind)
        if asked and name.startswith(asked) and self.withholds:
            self.withheld.append((request, kind, unique, name))
            print(asked, name, flush=True)
        else:
            self.answer(request, kind, unique, node)

    def release(self) -> None:
        """Answer all that waits, and from now on at once."""
        self.withholds = False
        for request, kind, unique, _ in self.withheld:
            self.answer(request, kind, unique, HEAD.unpack_from(request)[3])
        self.withheld.clear()

    def answer(self, request: bytes, kind: int, unique: int, node: int) -> None:
        """Answer as a file system would that has everything."""
        if kind in SILENT:
            return
        if self.opens:
            os.close(os.open("/etc/hostname", os.O_RDONLY))
        known = {
            INIT: self._init,
            LOOKUP: self._lookup,
            GETATTR: self._attributes_of,
            SETATTR: self._attributes_of,
            READLINK: lambda _, node: self._text(node),
            OPEN: lambda *_: struct.pack("<Q2I", 0, 0, 0),
            OPENDIR: lambda *_: struct.pack("<Q2I", 0, 0, 0),
            READ: lambda request, _: bytes(struct.unpack_from("<QQI", request, 40)[2]),
            WRITE: lambda request, _: request[56:60] + bytes(4),
            STATFS: lambda *_: struct.pack("<5Q4I24x", 9, 9, 9, 9, 9, 4096, 255, 4096, 0),
            READDIR: lambda *_: b"",
        }
        error, body = (0, b"") if kind in (RELEASE, RELEASEDIR, FLUSH, FSYNC, ACCESS) else (38, b"")
        if kind in known:
            error, body = 0, known[kind](request, node)
        with contextlib.suppress(FileNotFoundError):  # nobody waits for it any more
            os.write(self.device, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)

    def _init(self, *_: object) -> bytes:
        return struct.pack("<4I2H2I2H8I", 7, 31, SIZE, 0, 12, 9, SIZE, 1, 0, 0, *[0] * 8)

    def _lookup(self, request: bytes, _: int) -> bytes:
        name = os.fsdecode(request[40:].rstrip(b"\0"))
        number = self.nodes.setdefault(name, len(self.nodes) + 2)
        self.names[number] = name
        fresh = 0 if name.startswith("getattr") else LONG
        return struct.pack("<4Q2I", number, 0, LONG, fresh, 0, 0) + self._attributes(number)

    def _attributes_of(self, _: bytes, node: int) -> bytes:
        fresh = 0 if self.names.get(node, "").startswith("getattr") else LONG
        return struct.pack("<Q2I", fresh, 0, 0) + self._attributes(node)

    def _attributes(self, node: int) -> bytes:
        name = self.names[node]
        mode = 0o100777
        if name.startswith(("link-", "readlink")):
            mode = 0o120777
        elif name == "" or "dir" in name:
            mode = 0o40777
        return struct.pack("<6Q10I", node, SIZE, 128, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def _text(self, node: int) -> bytes:
        name = self.names[node]
        return os.fsencode(name.removeprefix("link-") if name.startswith("link-") else "." + name)


def mount(folder: str) -> int:
    """Mount it; the device, which the caller owns."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    how = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    if libc.mount(b"served", os.fsencode(folder), b"fuse", 0, f"{how},allow_other".encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)
    return device


def serve(device: int, *, opens: bool) -> None:
    """Serve until it is unmounted; standard input says when to answer at last."""
    served = Served(device, opens=opens)
    poll = select.poll()
    poll.register(device, select.POLLIN)
    poll.register(0, select.POLLIN)
    print("mounted", flush=True)
    while True:
        for which, _ in poll.poll():
            if which == 0 and os.read(0, 1):
                served.withholds = True
            elif which == 0:
                poll.unregister(0)
                served.release()
            elif which == device:
                try:
                    served.take(os.read(device, 1 << 18))
                except FileNotFoundError:  # it was interrupted in between
                    continue
                except OSError:  # ENODEV: it was taken off
                    return


if __name__ == "__main__":
    serve(mount(sys.argv[1]), opens="opens" in sys.argv[2:])

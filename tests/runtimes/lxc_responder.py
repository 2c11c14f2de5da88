"""Stands in for the daemon under LXC: refuses each call that a proxy's request tells of.

    python lxc_responder.py SOCKET LOG

The errno is one that the kernel would not have given, so that it can only be ours. Each request is
a line of the log, in JSON.
"""

import json
import os
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import IO

from notifyd.kernel import unix

# lxcseccomp.h, struct seccomp_notify_proxy_msg: reserved, pid of the monitor and of the
# container's init, the sizes of notification, answer and filter data, that of the cookie.
HEADER = struct.Struct("@QiiHHHxxQ")
NOTIFICATION = struct.Struct("=QIIi")  # id, pid, flags, number of the call, and more
ANSWER = struct.Struct("=QqiI")  # id, value, error, flags
ERRNO = 95  # EOPNOTSUPP
MOST = 1 << 16  # bytes of a request


def answer(request: bytes, descriptors: list[int]) -> tuple[bytes, dict[str, object]]:
    """The reply, and what is to be known of the request."""
    _, monitor, init, size, answer_size, _, cookie_size = HEADER.unpack_from(request)
    end = HEADER.size + size
    identifier, pid, _, number = NOTIFICATION.unpack_from(request, HEADER.size)
    cookie = request[end + answer_size :]
    told = {
        "monitor": monitor,
        "init": init,
        "pid": pid,
        "call": number,
        "cookie": cookie[:cookie_size].rstrip(b"\0").decode(),
        "descriptors": [os.readlink(f"/proc/self/fd/{one}") for one in descriptors],
    }
    return request[:end] + ANSWER.pack(identifier, 0, -ERRNO, 0), told


def converse(connection: socket.socket, log: IO[str]) -> None:
    """Answer one container until it ends."""
    with connection:
        while True:
            request, descriptors, _ = unix.recv_fds(connection, MOST, unix.SCM_MAX_FD)
            if not request:
                return
            reply, told = answer(request, descriptors)
            print(json.dumps(told), file=log, flush=True)
            for one in descriptors:
                os.close(one)
            connection.send(reply)


def main(path: str, log: IO[str]) -> None:
    """Serve until killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(f"{path}.new")
        server.listen()
        os.rename(f"{path}.new", path)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=converse, args=(connection, log), daemon=True).start()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a") as file:
        main(sys.argv[1], file)

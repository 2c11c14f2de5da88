"""An answer that waits until a file is there; another one says that it waits."""

import os
from pathlib import Path

import trio

from notifyd import Return, Uname, on

NAMES = b"Linux\0".ljust(65, b"\0") + b"waited\0".ljust(65, b"\0") + bytes(65 * 4)


@on(Uname, patience=None)
async def waits(call: Uname) -> Return:
    Path("/var/log/notifyd/waits").touch()
    while not os.path.exists("/run/go"):
        await trio.sleep(0.05)
    return Return(0, memory={call.buffer: NAMES})

"""A rule without patience that never comes back: the loop hangs with it."""

import time
from pathlib import Path

from notifyd import Uname, on


@on(Uname, patience=None)
def hangs(call: Uname) -> None:
    """As a mistake in a rule would; the file says when it has begun."""
    Path("/var/log/notifyd/hung").touch()
    while True:
        time.sleep(1000)

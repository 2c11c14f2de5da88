"""Host names of requests: which are this machine's own.

A page of anywhere can have its name lead to 127.0.0.1 (DNS rebinding). The browser then takes what
listens there for that page's own, and says so by the name that it asks for.
"""

from __future__ import annotations

import re

__all__ = ["LOOPBACK_NAMES", "host_of"]

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HOST = re.compile(r"(\[[0-9a-f:]+\]|[a-z0-9.-]+)(?::[0-9]{1,5})?", re.ASCII)


def host_of(text: str) -> str:
    """The host of a `Host` field, in lower case and without its port; "" if it is not one."""
    found = _HOST.fullmatch(text.lower())
    return found.group(1) if found else ""

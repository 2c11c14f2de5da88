"""What every request of the control protocol has. The commands are in `protocol`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["CONTROL_PROTOCOL_VERSION", "ControlRequest", "Glob", "Id"]

CONTROL_PROTOCOL_VERSION = 1

Glob = Annotated[str, Meta(max_length=256)]
Id = Annotated[str, Meta(min_length=1, max_length=300)]  # 256 characters, and `~N` for a double


class ControlRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="command"):
    """What every request has.

    Attributes:
        notifyd: the protocol's version.
    """

    notifyd: int = CONTROL_PROTOCOL_VERSION

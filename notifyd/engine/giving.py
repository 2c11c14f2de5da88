"""Giving a target a descriptor, where closing our copy of it may wait."""

from __future__ import annotations

import os

from notifyd.engine.listener import Listener
from notifyd.errors import TargetGone
from notifyd.perform import SyscallResult
from notifyd.policy.call import ID, Note

__all__ = ["given_slowly"]


async def given_slowly(
    listener: Listener, note: Note, descriptor: int, cloexec: bool
) -> SyscallResult:
    """Put a descriptor into the target's table and close it, which may take long.

    The target waits for that, as it would for the close(2) of another copy of its own.

    Args:
        listener: whose call it is.
        note: the notification.
        descriptor: taken over, and closed in every case.
        cloexec: how the target's copy is to be.

    Returns:
        The number in the target's table, or why there is none. The call is not answered yet.

    Raises:
        TargetGone.
    """
    closing = listener.files.closing
    try:
        flags = os.O_CLOEXEC if cloexec else 0
        done = SyscallResult(listener.notifier.add_fd(note[ID], descriptor, flags))
    except (FileNotFoundError, ProcessLookupError) as error:
        closing.let_go(descriptor)
        raise TargetGone("the target is gone") from error
    except OSError as error:
        done = SyscallResult(0, error.errno or 0)
    await closing.close([descriptor])
    return done

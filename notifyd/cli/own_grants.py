"""What a user decided for good at the terminal of `notifyd run`: listed, and revoked.

No daemon is asked: the database is the user's own.
"""

from __future__ import annotations

import os
import time

from notifyd.approvals.answer_cache import StoredAnswer
from notifyd.approvals.question import user_name
from notifyd.approvals.store import Store, user_path
from notifyd.daemon.answering import grant_view
from notifyd.daemon.approval_messages import GrantView
from notifyd.errors import UsageError

__all__ = ["own_grants", "revoke_own"]


def own_grants() -> list[GrantView]:
    """Those that hold.

    Raises:
        UsageError: the database cannot be used.
    """
    with Store(user_path()) as store:
        return [grant_view(one) for one in _holding(store)]


def revoke_own(number: int) -> GrantView:
    """Have one hold no more. A run that has read it already keeps to it.

    Raises:
        UsageError: no answer has that number, or the database cannot be used.
    """
    with Store(user_path()) as store:
        for one in _holding(store):
            if one.id == number:
                store.revoke(number, user_name(os.getuid()), time.time())
                return grant_view(one)
    raise UsageError(f"no grant {number} of yours holds: see `notifyd ctl grants --own`")


def _holding(store: Store) -> list[StoredAnswer]:
    now = time.time()
    return [one for one in store.grants() if one.holds(now)]

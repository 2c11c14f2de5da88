"""Who answers is named, whether the system knows a name for them or not."""

import os
import pwd

from notifyd.approvals.question import user_name


def test_a_user_has_a_name():
    """As passwd(5) has it; a container's user, or a service's, may have no entry."""
    used = {entry.pw_uid for entry in pwd.getpwall()}
    stranger = next(uid for uid in range(54321, 65000) if uid not in used)
    assert user_name(stranger) == f"uid {stranger}"
    assert user_name(0) == pwd.getpwuid(0).pw_name
    assert user_name(os.getuid())

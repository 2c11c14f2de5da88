import errno

import pytest

from notifyd.events.errnos import errno_name


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (errno.EACCES, "EACCES"),
        (errno.EAGAIN, "EAGAIN"),
        (errno.EDEADLK, "EDEADLK"),
        (errno.EOPNOTSUPP, "EOPNOTSUPP"),
        (-errno.EPERM, "EPERM"),
        (524, "E524"),
    ],
)
def test_name(number: int, name: str) -> None:
    """An errno is named as errno(3) names it first; one without a name by its number."""
    assert errno_name(number) == name

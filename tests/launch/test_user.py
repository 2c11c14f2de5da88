"""Reading and becoming users."""

import os
import pwd

import pytest

from notifyd.errors import UsageError
from notifyd.launch.user import User


@pytest.mark.root
def test_a_name_has_the_ids_groups_and_home_of_the_database() -> None:
    """A login name is looked up whole."""
    entry = pwd.getpwnam("nobody")
    user = User.parse("nobody")
    assert (user.uid, user.gid, user.name, user.home) == (
        entry.pw_uid,
        entry.pw_gid,
        "nobody",
        entry.pw_dir,
    )
    assert user.groups == tuple(os.getgrouplist("nobody", entry.pw_gid))


@pytest.mark.root
def test_a_number_of_somebody_is_as_good_as_the_name() -> None:
    """A uid that the database knows gives the same user."""
    assert User.parse(str(pwd.getpwnam("nobody").pw_uid)) == User.parse("nobody")


@pytest.mark.root
def test_a_given_group_is_the_only_one() -> None:
    """UID:GID takes nothing from the databases but the names."""
    user = User.parse("4242:4343")
    assert (user.uid, user.gid, user.groups, user.name, user.home) == (
        4242,
        4343,
        (4343,),
        None,
        "/",
    )
    assert User.parse("nobody:root").groups == (0,)


@pytest.mark.parametrize(
    "text", ["", "no such user", "4242", "0:", ":0", "-1", "4294967295:1", "٣"]
)
def test_what_is_no_user_is_refused_with_a_remedy(text: str) -> None:
    """Every other text is a usage error of one line."""
    with pytest.raises(UsageError) as caught:
        User.parse(text)
    assert "\n" not in str(caught.value)


def test_the_environment_follows_the_user() -> None:
    """HOME, USER and LOGNAME change, or go where there is no name; the rest stays."""
    base = {b"HOME": b"/root", b"USER": b"root", b"LOGNAME": b"root", b"TERM": b"vt100"}
    named = User(1, 1, (1,), "ada", "/home/ada").environment(base)
    assert named == {b"HOME": b"/home/ada", b"USER": b"ada", b"LOGNAME": b"ada", b"TERM": b"vt100"}
    assert User(1, 1, (1,), None, "/").environment(base) == {b"HOME": b"/", b"TERM": b"vt100"}


def _as_nobody(text: str) -> int:
    """Return 0 if nobody may become that user, 3 if it is a usage error that names sudo."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            User.parse("nobody").assume()
            User.parse(text).assume()
            status = 0
        except UsageError as error:
            status = 3 if "sudo" in str(error) else 4
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.root
def test_only_root_becomes_somebody_else() -> None:
    """Without privileges one's own name works, and another's is refused in words."""
    assert _as_nobody("nobody") == 0
    assert _as_nobody("root") == 3

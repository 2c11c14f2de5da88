"""Files that somebody serves: whatever that withholds, only the call that needs it waits."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.root

# What the server is asked before the call can go on; nothing where the call goes on anyway.
KINDS = {
    "lookup": "lookup lookup",
    "open": "open open",
    "flush": "flush flush",
    "flush-mode": "flush flush",
    "flush-sent": "flush flush",
    "flush-exec": "flush flush",
    "getattr": "getattr getattr",
    "getattr-exec": "getattr getattr",
    "read-path": "read read",
    "read-address": "read read",
    "read-arguments": "read read",
    "read-buffer": "read read",
    "read-exec": "read read",
    "readlink": "readlink readlink",
    "readlink-through": "readlink readlink",
    "statfs": "statfs statfs",
    "statfs-linked": "statfs statfs",
    "write-buffer": "write write",
    "missing": "",
}
AT_ONCE = {
    "flush-connect": "ENOTSOCK",
    "getattr-root": "ENOTDIR",
    "release": "0",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_waits_for_a_server_holds_up_nobody_else(kind, daemon, serve):
    """A neighbour's calls are answered; the call itself ends when it is killed."""
    served = serve()
    attack = daemon.attack(kind, served)
    if KINDS[kind]:
        served.until(KINDS[kind])
    daemon.goes_on()
    daemon.goes_on()
    attack.kill()
    daemon.goes_on()
    if kind.startswith(("flush", "write", "read-exec")):  # natively it cannot end before
        served.release()
    attack.close()
    daemon.goes_on()


def test_a_file_of_a_server_that_nobody_sees(daemon, serve):
    """Mounted in a namespace of its own, its descriptor sent from outside of the run."""
    served = serve("unshare", "-m", "--propagation", "private")
    attack = daemon.attack("read-received", served)
    served.until("read read")
    daemon.goes_on()
    attack.kill()
    attack.close()
    daemon.goes_on()


@pytest.mark.parametrize("kind", AT_ONCE)
def test_a_call_for_which_no_server_is_needed_waits_for_none(kind, daemon, serve):
    """What is not asked cannot be withheld."""
    served = serve()
    attack = daemon.attack(kind, served)
    attack.until(f"ends {AT_ONCE[kind]}\n")
    daemon.goes_on()
    served.release()
    attack.close()
    daemon.goes_on()


@pytest.mark.parametrize("kind", KINDS.keys() - {"missing"})
def test_a_server_that_answers_late_is_waited_for(kind, daemon, serve):
    """The control: once it answers, the call comes to an end."""
    served = serve()
    attack = daemon.attack(kind, served)
    served.until(KINDS[kind])
    served.release()
    attack.until("ends")
    attack.close()


@pytest.mark.parametrize(
    "kind", ["flush", "flush-mode", "read-path", "getattr", "readlink-through"]
)
def test_a_server_that_is_supervised_itself(kind, daemon, serve):
    """Its own calls are answered, so that it can answer: in the same daemon, and mounted within."""
    served = serve(*daemon.run(), opens=True)
    attack = daemon.attack(kind, served, withhold=False)
    attack.until("ends")
    attack.close()
    daemon.goes_on()

"""The classic attack: another thread rewrites the argument between the look and the use."""

import socket
from pathlib import Path

import pytest

OBSERVER = str(Path(__file__).with_name("rules") / "observer.py")
TRIES = 20_000


@pytest.fixture
def ports():
    """An allowed and a forbidden UDP socket on the loopback; the second one counts."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as good,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bad,
    ):
        for one in (good, bad):
            one.bind(("127.0.0.1", 0))
            one.setblocking(False)
        yield good, bad


def reached(one):
    """How many datagrams arrived, as far as the buffer kept them."""
    count = 0
    while True:
        try:
            one.recv(16)
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.parametrize("how", ["connect", "sendmsg"])
def test_what_was_not_allowed_is_never_reached(how, build, run, ports):
    """Behind connect-allowlist the forbidden port sees nothing in 20,000 tries."""
    allowed, forbidden = (str(one.getsockname()[1]) for one in ports)
    to = f"to=127.0.0.1:{allowed}"
    ran = run("--rules", "connect-allowlist", "--option", to, "--",
              build("flip"), allowed, forbidden, str(TRIES), how)  # fmt: skip
    done, refused, other = map(int, ran.out.split())
    assert reached(ports[1]) == 0
    assert done > 0
    assert refused > 0
    assert other == 0
    operation = "Connect" if how == "connect" else "SendTo"
    assert {event["how"] for event in ran.of(operation)} == {"performed", "answered"}
    assert not any(event.get("racy") for event in ran.of(operation))
    performed = [event for event in ran.of(operation) if event["how"] == "performed"]
    key = "address" if how == "connect" else "addresses"
    for event in performed:
        shown = event["args"][key]
        where = shown if isinstance(shown, str) else " ".join(map(str, shown or ["its peer"]))
        assert where in ("its peer", "None") or where.endswith(f":{allowed}"), event


def test_the_same_attack_works_where_the_kernel_looks_again(build, run, rule, ports):
    """A rule that judges and then says Continue() is fooled; this is why Allow() performs."""
    allowed, forbidden = (str(one.getsockname()[1]) for one in ports)
    text = f"""
    @on(Connect)
    def fooled(call):
        return Continue() if call.address.port == {allowed} else Deny(errno.EACCES)
    """
    line = ("--rules", rule(text), "--", build("flip"), allowed, forbidden, str(TRIES), "connect")
    for _ in range(10):  # where both cores are busy the flipper may hardly run
        ran = run(*line)
        fooled = reached(ports[1])
        if fooled:
            break
    assert fooled
    continued = [event for event in ran.of("Connect") if event["how"] == "continued"]
    assert continued
    assert all(event["racy"] for event in continued)


def test_strict_refuses_to_be_fooled(build, run, rule, ports):
    """--strict refuses Continue() after a look at memory, and the event says so."""
    allowed, forbidden = (str(one.getsockname()[1]) for one in ports)
    text = f"""
    @on(Connect)
    def fooled(call):
        return Continue() if call.address.port == {allowed} else Deny(errno.EACCES)
    """
    line = ("--strict", "--rules", rule(text), "--",
            build("flip"), allowed, forbidden, "10000", "connect")  # fmt: skip
    for _ in range(10):  # where both cores are busy the flipper may hardly run
        ran = run(*line)
        assert reached(ports[1]) == 0
        assert ran.out.split()[0] == "0"
        assert {event["how"] for event in ran.of("Connect")} == {"answered"}
        if any("strict" in event.get("reason", "") for event in ran.of("Connect")):
            return
    pytest.fail("the allowed port was never seen")

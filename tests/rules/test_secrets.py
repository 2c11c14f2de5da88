"""A file that only exists for who is behind the rule."""

import errno
import os

import pytest

from notifyd import Access, Allow, Deny, IoUring, Open, Return, Supply
from notifyd.errors import UsageError
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["secrets"]


@pytest.fixture
def source(tmp_path):
    """What is to be shown; for root alone."""
    path = tmp_path / "token"
    path.write_bytes(b"s3cr3t\0x")
    path.chmod(0o600)
    return path


@pytest.fixture
def rules(source):
    """At /run/token."""
    return load_rules(*RULES, file=f"/run/token={source}")


def test_reading_is_answered(rules, source):
    """With what the source held when the rules were loaded."""
    source.write_bytes(b"changed")
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, os.O_PATH):
        call = make_call(Open, path="/run/token", flags=flags)
        assert verdict_of(rules, call) == Supply(b"s3cr3t\0x")
    by_link = make_call(Open, path="/x/link", links={"/x": "/run", "/run/link": "token"})
    assert verdict_of(rules, by_link) == Supply(b"s3cr3t\0x")


def test_writing_is_refused(rules):
    """Whatever is at the path stays as it is."""
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_CREAT, os.O_TRUNC):
        call = make_call(Open, path="/run/token", flags=flags)
        assert verdict_of(rules, call).errno == errno.EACCES


def test_all_else_is_free(rules):
    """Other files, and asking for others."""
    assert verdict_of(rules, make_call(Open, path="/run/tokens", flags=os.O_RDWR)) == Allow()
    assert verdict_of(rules, make_call(Access, path="/run", wanted=os.W_OK)) == Allow()


def test_asking_beforehand(rules):
    """It can be read, and no more."""
    for wanted, verdict in ((0, Return(0)), (os.R_OK, Return(0))):
        assert verdict_of(rules, make_call(Access, path="/run/token", wanted=wanted)) == verdict
    for wanted in (os.W_OK, os.X_OK, os.R_OK | os.W_OK):
        call = make_call(Access, path="/run/token", wanted=wanted)
        assert verdict_of(rules, call) == Deny(errno.EACCES)
    assert isinstance(verdict_of(rules, make_call(IoUring)), Deny)


@pytest.mark.parametrize("file", ["token", "run/token=x", "/run/token=", "/run/token=/no/such"])
def test_mistakes_are_told(file):
    """Half an option, or a source that cannot be read."""
    with pytest.raises(UsageError, match="file="):
        load_rules(*RULES, file=file)


def test_programs_read_it(shell, source, everybodys, user):
    """As a file like any other; another one never sees it, and nothing is on disk."""
    place = everybodys / "token"
    script = f"""
        cat {place} | od -An -c; wc -c < {place}; test -r {place} && echo readable
        cat {source} > /dev/null || echo closed; echo x > {place} || echo kept
        echo other > {everybodys}/other && cat {everybodys}/other
    """
    ran = shell("secrets", script, user=user, file=f"{place}={source}")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["s", "3", "c", "r", "3", "t", "\\0", "x"]
    assert lines[1:3] == ["8", "readable"]
    assert lines[3:] == (["closed"] if user else []) + ["kept", "other"]
    assert os.listdir(everybodys) == ["other"]
    assert "s3cr3t" not in str(ran.events)


def test_nobody_writes_to_it(python, source, everybodys, user):
    """Not by its descriptor, nor by opening that anew, which the kernel lets everybody do."""
    place = everybodys / "token"
    code = """
        fd = os.open(sys.argv[1], os.O_RDONLY)
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        attempt("write", os.write, fd, b"x")
        attempt("write anew", os.write, again, b"x")
        attempt("cut", os.truncate, f"/proc/self/fd/{fd}", 0)
        attempt("stretch", os.ftruncate, again, 9)
        attempt("read", lambda: os.read(fd, 99).decode())
    """
    ran = python(RULES, code, str(place), user=user, file=f"{place}={source}")
    refused = {"write": "EBADF", **dict.fromkeys(("write anew", "cut", "stretch"), "EPERM")}
    assert ran.found == {**refused, "read": "s3cr3t\0x"}

"""What a call comes to under new rules: the same, a change, or nothing that can be told."""

import errno
import json
import os
import stat
import time
from functools import partial
from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest
from recording import record_of

from notifyd import Connect, Exec, GetRandom, Mknod, Open, SetHostname, Socket
from notifyd.policy.verdicts import Allow
from notifyd.replay.compare import ReplayStatus, compared
from notifyd.replay.event import event_of
from notifyd.testing import FakeProcess, make_call

LINE_OF = {
    "read": partial(make_call, Open, path="/etc/passwd", flags=os.O_RDONLY, syscall="openat"),
    "write": partial(make_call, Open, path="/etc/motd", flags=os.O_WRONLY, syscall="openat"),
    "openat2": partial(make_call, Open, path="/a", flags=os.O_PATH, syscall="openat2"),
    "connect": partial(make_call, Connect, address="192.0.2.1:80", fd=3),
    "abstract": partial(make_call, Connect, address="unix:@bus", fd=3),
    "exec": partial(make_call, Exec, pathname="/bin/ls", argv=("ls", "-l")),
    "long exec": partial(make_call, Exec, pathname="/bin/ls", argv=("x",) * 100),
    "random": partial(make_call, GetRandom, size=8),
    "disk": partial(make_call, Mknod, path="/d", mode=stat.S_IFBLK | 0o600, device=(8, 0)),
    "socket": partial(make_call, Socket, family=2, type=1),
    "name": partial(make_call, SetHostname, name="box"),
}


def line(kind, verdict="allow", looks=(), **fields):
    """A recorded call, of which rules had looked at some fields."""
    call = LINE_OF[kind]()
    for name in looks:
        getattr(call, name)
    return record_of(call, verdict, **fields)


NO_WRITING = """
@on(Open)
def no_writing(call):
    return Deny(errno.EROFS) if call.writes else Allow()
"""
BY_PATH = """
@on(Open)
def by_path(call):
    return Deny(errno.EACCES) if call.path.is_relative_to("/etc") else Allow()
"""


def test_verdicts_are_compared_by_kind_and_errno(one):
    """Allow and Deny, in both directions, and another errno."""
    denied = partial(line, verdict="deny", errno=errno.EACCES)
    assert one(NO_WRITING, line("read")) == ("same", "allow", "allow")
    assert one(NO_WRITING, line("write")) == ("change", "allow", "deny EROFS")
    assert one(NO_WRITING, denied("read")) == ("change", "deny EACCES", "allow")
    assert one(NO_WRITING, denied("write")) == ("change", "deny EACCES", "deny EROFS")
    assert one(NO_WRITING, line("write", "deny", errno=errno.EROFS))[0] == "same"


def test_what_the_file_system_said_is_no_verdict(one):
    """A call that was allowed and failed stays allowed."""
    failed = line("read", how="performed", errno=errno.ENOENT)
    assert one(NO_WRITING, failed) == ("same", "allow", "allow")


def test_a_path_that_no_rule_looked_at_cannot_be_told(one):
    """It is in the record where a rule had looked, and only there."""
    assert one(BY_PATH, line("read")) == ("untold", "allow", "path")
    assert one(BY_PATH, line("read", looks=["path"])) == ("change", "allow", "deny EACCES")


@pytest.mark.parametrize("catch", ["Exception", "BaseException"])
def test_a_rule_cannot_catch_what_is_missing(one, catch):
    """Whatever it makes of it, the call cannot be told."""
    rule = f"""
    @on(Open)
    def careful(call):
        try:
            call.path
        except {catch}:
            return Allow()
    """
    assert one(rule, line("read")) == ("untold", "allow", "path")


@pytest.mark.parametrize(
    ("rule", "missing"),
    [
        ("call.process.ppid == 1", "process.ppid"),
        ("call.process.cmdline", "process.cmdline"),
        ("call.args[3] & 0xffff", "mode"),
        ("call.args[5] == 0", "register 5"),
        ("call.args[1] == 0", "the address of pathname"),
        ("call.mode", "mode"),
        ("call.read(call.args[4], 8)", "memory"),
        ("call.read(4096, 8)", "memory"),
        ("call.read_string(4096)", "memory"),
        ("call.target.process.gid", "process.gid"),
        ("call.target.identity", "memory"),
        ("call.resolve(-100, b'x', True)", "a resolved path"),
        ("call.paths", "path"),
    ],
)
def test_what_is_missed_is_named(one, rule, missing):
    """By the field, or by what there is no field for."""
    text = f"@on(Open)\ndef rule(call):\n    return Allow() if {rule} else None\n"
    result, _, what = one(text, line("read"))
    assert (result, what) == ("untold", missing)


def test_arguments_that_were_cut_are_missing(one):
    """A long argv is not guessed from its beginning; a short one is whole."""
    rule = "@on(Exec)\ndef r(call):\n    return Deny(1) if b'-x' not in call.argv else None\n"
    assert one(rule, line("exec")) == ("change", "allow", "deny EPERM")
    assert one(rule, line("long exec")) == ("untold", "allow", "argv")
    by_env = "@on(Exec)\ndef r(call):\n    return Deny(1) if call.envp else None\n"
    assert one(by_env, line("exec")) == ("untold", "allow", "envp")


def test_an_address_is_known_as_far_as_its_text(one):
    """Family, host and port; not every byte; and @ may be two things."""
    rule = "@on(Connect)\ndef r(call):\n    return Deny(1) if {} else Allow()\n"
    host = "call.address.family == 2 and str(call.address.host) == '192.0.2.1'"
    assert one(rule.format(host), line("connect"))[0] == "change"
    assert one(rule.format("call.address.raw"), line("connect"))[2] == "address.raw"
    assert one(rule.format("call.address.family != 1"), line("abstract"))[0] == "same"
    assert one(rule.format("call.address.path"), line("abstract"))[2] == "address.path"
    assert one(rule.format("call.path"), line("abstract"))[2] == "address.path"


def test_who_called_is_known(one):
    """The executable, the user, the pid."""
    rule = """
    @on(Open)
    def only_tool(call):
        who = call.process
        known = (str(who.exe), who.uid, who.pid, who.start) == ("/usr/bin/tool", 1000, 1000, 77)
        return Deny(errno.EPERM) if known and call.workload == "tool-1000" else Allow()
    """
    assert one(rule, line("read")) == ("change", "allow", "deny EPERM")


def test_conditions_are_tested_on_registers(one):
    """A call that the filter would let pass is not asked about, whatever `otherwise` says."""
    rule = "@on(Open, flags=has(os.O_WRONLY))\ndef r(call):\n    return None\n"
    deny = {"otherwise": n_deny()}
    assert one(rule, line("read"), **deny) == ("same", "allow", "allow")
    assert one(rule, line("write"), **deny) == ("change", "allow", "deny EACCES")
    on_mode = "@on(Open, mode=has(0o111))\ndef r(call):\n    return Deny(1)\n"
    assert one(on_mode, line("read")) == ("untold", "allow", "mode")
    in_memory = "@on(Open, flags=has(os.O_PATH))\ndef r(call):\n    return Deny(1)\n"
    assert one(in_memory, line("openat2")) == ("change", "allow", "deny EPERM")


def n_deny():
    """What `--otherwise deny` could give."""
    from notifyd import Deny

    return Deny(errno.EACCES)


def test_what_the_kernel_decides_is_decided(one):
    """`always`, before any rule; an allowance that the filter cannot see does not apply."""
    deny = "always(Deny(errno.ENOSYS), Open)\n@on(Socket)\ndef r(call): return None\n"
    assert one(deny, line("read")) == ("change", "allow", "deny ENOSYS")
    allow = "always(Allow(), Open, flags=has(os.O_PATH))\n@on(Open)\ndef r(call): return Deny(1)\n"
    assert one(allow, line("openat2")) == ("change", "allow", "deny EPERM")
    assert one("always(Kill(), Open)", line("read")) == ("change", "allow", "kill")


def test_calls_that_no_rule_is_about_pass(one):
    """The new filter would not report them; what the kernel did by itself before stays so."""
    assert one(NO_WRITING, line("socket", "deny", errno=13)) == ("change", "deny EACCES", "allow")
    assert one(NO_WRITING, line("socket", "continue")) == ("same", "continue", "allow")


def test_another_operation_of_the_same_call_sees_its_registers(one):
    """A rule about the bare system call has what its fields showed, and no more."""
    by_flags = '@on(Raw("openat"))\ndef r(call): return Deny(1) if call.args[2] & 0xff else None\n'
    assert one(by_flags, line("write")) == ("change", "allow", "deny EPERM")
    by_pointer = '@on(Raw("openat"))\ndef r(call): return Deny(1) if call.arg1 else None\n'
    assert one(by_pointer, line("write")) == ("untold", "allow", "the address of pathname")


ASYNC = """
@on(Open{options})
async def slow(call):
    await trio.{waits}
    return Deny(errno.EROFS) if call.writes else Allow()
"""


def test_async_rules_wait_for_nothing(one):
    """Half a minute of sleep is over at once; a rule that is too slow cannot be told."""
    begun = time.monotonic()
    nap = ASYNC.format(options="", waits="sleep(29)")
    assert one(nap, line("write")) == ("change", "allow", "deny EROFS")
    assert one(ASYNC.format(options="", waits="sleep(31)"), line("write"))[0] == "untold"
    for_ever = ASYNC.format(options=", patience=None", waits="sleep_forever()")
    assert one(for_ever, line("write")) == ("untold", "allow", "how long a rule waits")
    assert time.monotonic() - begun < 15


def test_async_rules_miss_as_plain_ones_do(one):
    """A look at what is not there ends the evaluation."""
    rule = "@on(Open)\nasync def r(call):\n    await trio.sleep(1)\n    return call.path\n"
    assert one(rule, line("read")) == ("untold", "allow", "path")


def test_a_rule_that_fails_gives_its_on_error(found):
    """As it would in a run; that it failed is told."""
    rule = "@on(Open, on_error=Deny(errno.EIO))\ndef r(call):\n    raise ValueError('oh')\n"
    (finding,) = found(rule, line("read"))
    assert (finding.kind, finding.after, finding.broken) == (ReplayStatus.CHANGE, "deny EIO", True)
    assert "ValueError: oh" in finding.reason
    (finding,) = found("@on(Open)\ndef r(call): return 'yes'\n", line("read"))
    assert (finding.after, finding.broken) == ("deny EPERM", True)


def test_rules_may_keep_something(found):
    """They see the calls in the order of the record."""
    rule = """
    seen = set()

    @on(Open)
    def only_once(call):
        if call.pathname in seen:
            return Deny(errno.EAGAIN)
        seen.add(call.pathname)
    """
    kinds = [one.after for one in found(rule, *[line("read"), line("write")] * 2)]
    assert kinds == ["allow", "allow", "deny EAGAIN", "deny EAGAIN"]


@pytest.mark.parametrize(
    ("recorded", "rule", "comes_to"),
    [
        (line("random", "return", value=8), "Return(8)", "same"),
        (line("random", "return", value=8), "Return(9)", "change"),
        (line("random", "return", value=8), "Return(8, memory={1: b'x'})", "untold"),
        (line("random", "return", errno=errno.EFAULT), "Return(8)", "change"),
        (line("random", "supply", value=3), "Supply(b'x')", "untold"),
        (line("random", "kill", errno=1), "Kill()", "untold"),
        (line("random", "continue"), "Continue()", "same"),
        (line("random", "continue"), "Allow()", "change"),
        (line("random"), "Allow(grant='low-ports')", "untold"),
        (line("random"), "Allow(size=4)", "untold"),
        (line("random", "deny", errno=errno.EPERM), "Deny(0)", "same"),
        (line("random", "deny", errno=errno.EPERM), "Return(1 << 70)", "same"),
        (line("random", "kill", how="verified"), "Allow()", "same"),
        (line("random", "ask", errno=errno.EPERM), "Deny(errno.EPERM)", "change"),
    ],
)
def test_verdicts_of_every_kind(one, recorded, rule, comes_to):
    """What an event does not have of a verdict is not taken for the same."""
    text = f"@on(n.GetRandom)\ndef r(call):\n    return {rule}\n"
    assert one(text, recorded)[0] == comes_to


def test_asking_is_a_verdict_of_its_own():
    """What a person said is not what a person would say, and is not compared."""
    asks = SimpleNamespace(kind="ask")
    asked = event_of(line("read", "ask", errno=errno.EPERM))
    assert compared(asked, asks).kind is ReplayStatus.SAME
    assert compared(event_of(line("read")), asks).kind is ReplayStatus.CHANGE
    assert compared(asked, Allow()).kind is ReplayStatus.CHANGE


def test_the_keyboard_is_no_fault_of_the_rule(found):
    """Whoever interrupts ends the replay, also within a rule."""
    with pytest.raises(KeyboardInterrupt):
        found("@on(Open)\ndef r(call):\n    raise KeyboardInterrupt\n", line("read"))


def test_what_could_not_be_done_may_be_so_again(one):
    """A rule had allowed it; whether it can be done now is not in the record."""
    undone = line(
        "read", "deny", looks=["path"], errno=1, reason="not done: no way", cause="undone"
    )
    allows = "@on(Open)\ndef r(call):\n    return Allow() if call.path else None\n"
    assert one(allows, undone) == ("untold", "deny EPERM", "what became of it")
    assert one(BY_PATH, undone) == ("change", "deny EPERM", "deny EACCES")
    not_looking = "@on(Open)\ndef r(call): return Allow()\n"
    assert one(not_looking, undone) == ("change", "deny EPERM", "allow")


def test_strict_refuses_what_was_looked_at(one):
    """A look at the record is a look at memory, where the value lay in memory."""
    look = "@on(Open)\ndef r(call):\n    call.{}\n    return Continue()\n"
    recorded = line("read", "continue", looks=["path"])
    assert one(look.format("path"), recorded)[0] == "same"
    assert one(look.format("path"), recorded, strict=True)[2] == "deny EPERM"
    assert one(look.format("flags"), recorded, strict=True)[0] == "same"


def test_calls_of_other_machines_cannot_be_told(one):
    """Their system calls have other numbers, which the rules here were not built for."""
    elsewhere = line("read").replace(b'"x86_64"', b'"aarch64"').replace(b'"i386"', b'"aarch64"')
    assert one(NO_WRITING, elsewhere)[0] == "untold"
    unknown = line("read").replace(b'"openat"', b'"syscall 999"')
    assert one(NO_WRITING, unknown)[0] == "untold"


def test_an_event_of_a_newer_notifyd_is_not_guessed_at(one):
    """An operation or an argument that is not known here leaves its registers unknown."""
    newer = line("read").replace(b'"Open"', b'"OpenBetter"')
    assert one(NO_WRITING, newer) == ("untold", "allow", "register 2")
    odd = line("read").replace(b"O_RDONLY", b"O_SOMETHING")
    assert one(NO_WRITING, odd) == ("untold", "allow", "flags")


def redacted(recorded, *names):
    """A line of which fields were hidden as it was written."""
    data = json.loads(recorded)
    for name in names:
        inside, _, last = name.rpartition(".")
        (data[inside] if inside else data)[last] = "[redacted]"
    return json.dumps({**data, "redacted": list(names)}).encode() + b"\n"


def test_what_was_hidden_cannot_be_told(one):
    """A mark is taken for no value, not even for a text."""
    by_name = "@on(Open)\ndef r(call): return Deny(1) if call.pathname.startswith(b'[') else None\n"
    assert one(by_name, redacted(line("read"), "args.pathname"))[2] == "pathname"
    assert one(by_name, redacted(line("read"), "args.flags", "exe", "uid", "pid"))[0] == "same"
    assert one(NO_WRITING, redacted(line("read"), "args.flags"))[2] == "flags"
    by_user = "@on(Open)\ndef r(call): return Deny(1) if call.process.uid else None\n"
    assert one(by_user, redacted(line("read"), "uid"))[2] == "process.uid"
    denied = line("write", "deny", errno=errno.EACCES, reason="a secret")
    assert one(NO_WRITING, redacted(denied, "errno"))[2] == "errno"
    assert one(NO_WRITING, redacted(denied, "reason"))[2] == "deny EROFS"


def test_made_calls_are_what_they_seem():
    """The lines above have what a real event has."""
    call = make_call(Open, path="/x", process=FakeProcess(exe=PurePosixPath("/bin/x")))
    assert b'"pathname":"/x"' in record_of(call)
    assert Allow().kind == "allow"

"""Rules that fail: whatever they do, the call fails closed, and the next one is answered."""

import pytest

RAISES = {
    "an error": "raise ZeroDivisionError('oops')",
    "SystemExit": "raise SystemExit(3)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "an error without a text": "class Dumb(Exception):\n    __str__ = None\n  raise Dumb",
    "a group": "raise ExceptionGroup('several', [ValueError('one')])",
    "what the engine raises": "from notifyd.errors import TargetGone\n  raise TargetGone('no')",
    "endless recursion": "return odd(call)",
    "a timeout": "raise TimeoutError",
}
RETURNS = {
    "a number": "7",
    "a text": "'x'",
    "a class": "Deny",
    "not printable": "type('Odd', (), {'__repr__': lambda self: 1 / 0})()",
    "Deny(0)": "Deny(0)",
    "Deny(-1)": "Deny(-1)",
    "Deny(4096)": "Deny(4096)",
    "Deny(99999)": "Deny(99999)",
    "Deny of a text": "Deny('EPERM')",
    "Deny of nothing": "Deny(None)",
    "Return(2**70)": "Return(2**70)",
    "Return of a text": "Return('x')",
    "Return of a number with a fraction": "Return(1.5)",
    "memory that is no mapping": "Return(0, memory=7)",
    "memory that is text": "Return(0, memory={call.buffer: 'x'})",
    "memory at a text": "Return(0, memory={'x': b'x'})",
    "Supply(-1)": "Supply(-1)",
    "Supply of a closed descriptor": "Supply(987)",
    "Supply(2**40)": "Supply(2**40)",
    "Supply of a text": "Supply('x')",
    "Supply of nothing": "Supply(None)",
    "Kill(999)": "Kill(999)",
    "Kill(0)": "Kill(0)",
    "Kill of a text": "Kill('TERM')",
    "a subclass of a verdict": "type('Mine', (Deny,), {})(0)",
    "an unknown grant": "Allow(grant='everything')",
    "a change nobody knows": "Allow(colour='red')",
}


def check(ran):
    """One refused Uname with its reason, an answered SysInfo, and the numbers agree."""
    assert (ran.status, ran.lines) == (7, ["-1 EPERM", "4711"])
    (odd,) = ran.of("Uname")
    assert (odd["how"], odd["errno"]) == ("answered", "EPERM")
    assert odd["reason"]
    assert odd["rule"].endswith(":odd")
    (pulse,) = ran.of("SysInfo")
    assert (pulse["verdict"], pulse["value"]) == ("return", 4711)
    assert ran.the("workload.ended")["calls"] == len(ran.calls)


@pytest.mark.parametrize("word", ["def", "async def"])
@pytest.mark.parametrize("what", RAISES)
def test_a_rule_that_raises(what, word, build, rule, run):
    """Whatever a rule raises, its call gets EPERM and the event says why."""
    if what == "endless recursion" and word == "async def":
        text = f"@on(Uname)\n{word} odd(call):\n  return await odd(call)\n"
    else:
        text = f"@on(Uname)\n{word} odd(call):\n  {RAISES[what]}\n"
    check(run("--rules", rule(text), "--", build("odd")))


@pytest.mark.parametrize("word", ["def", "async def"])
@pytest.mark.parametrize("what", RETURNS)
def test_a_rule_that_returns_nonsense(what, word, build, rule, run):
    """Whatever a rule returns that means nothing, its call gets EPERM and the event says why."""
    text = f"@on(Uname)\n{word} odd(call):\n  return {RETURNS[what]}\n"
    check(run("--rules", rule(text), "--", build("odd")))


def test_memory_that_cannot_be_written_is_a_fault(build, rule, run):
    """Return(0, memory={0: b"x"}) gives EFAULT, as a bad pointer would."""
    ran = run("--rules", rule("@on(Uname)\ndef odd(call):\n  return Return(0, memory={0: b'x'})\n"),
              "--", build("odd"))  # fmt: skip
    assert (ran.status, ran.lines) == (7, ["-1 EFAULT", "4711"])


def test_on_error_speaks_where_a_rule_fails(build, rule, run):
    """The verdict of on_error is what a call gets whose rule raised, or returned nonsense."""
    for body in ("raise ValueError", "return 7"):
        text = f"@on(Uname, on_error=Deny(errno.EXDEV))\ndef odd(call):\n  {body}\n"
        ran = run("--rules", rule(text), "--", build("odd"))
        assert (ran.status, ran.lines) == (7, ["-1 EXDEV", "4711"])


def test_an_async_rule_without_an_end_is_cut_off(build, rule, run):
    """After its patience a rule that never returns is cancelled and its call refused."""
    text = """
    import trio

    @on(Uname, patience=0.2)
    async def odd(call):
        await trio.sleep_forever()
    """
    ran = run("--rules", rule(text), "--", build("odd"))
    check(ran)
    assert "no verdict within 0.2 seconds" in ran.of("Uname")[0]["reason"]


KEPT = {
    "call.process.cmdline": "kept[0].process.cmdline",
    "process.cmdline": "processes[0].cmdline",
    "process.cwd": "processes[0].cwd",
    "process.uid": "processes[0].uid",
    "read": "kept[0].read(kept[0].arg0, 8)",
    "resolve": "kept[0].resolve(-100, b'/', True)",
    "target": "targets[0].read(kept[0].arg0, 8)",
}


@pytest.mark.parametrize("word", ["def", "async def"])
@pytest.mark.parametrize("what", KEPT)
def test_a_call_that_was_kept_is_stale(what, word, build, rule, run):
    """A rule that looks into a call after its answer fails, and its present call is answered."""
    text = f"""
    kept, processes, targets = [], [], []

    @on(Raw("sysinfo"))
    {word} odd(call):
        kept.append(call)
        processes.append(call.process)
        targets.append(call.target)
        if len(kept) == 2:
            {KEPT[what]}
        return Return(4711)
    """
    ran = run("--rules", rule(text, pulse=False), "--", build("pulse"), "3")
    assert (ran.status, ran.lines) == (7, ["4711 ok", "-1 EPERM", "4711 ok"])
    second = ran.of("Raw")[-2]
    assert second["how"] == "answered"
    assert second["reason"]

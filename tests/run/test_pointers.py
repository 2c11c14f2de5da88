"""Hostile pointers: the target gets what the kernel would have given, and no call is lost."""

from pathlib import Path

OBSERVER = str(Path(__file__).with_name("rules") / "observer.py")


def test_pointers_give_what_the_kernel_gives(build, run, native):
    """Null, unmapped, page-crossing, endless and kernel pointers fail exactly as natively."""
    program = build("pointers")
    ran = run("--rules", OBSERVER, "--", program)
    assert (ran.status, ran.lines) == (7, native(program).lines)
    assert len(ran.calls) == ran.the("workload.ended")["calls"]


def test_a_fault_has_an_event(build, run):
    """An unreadable pointer is in the audit file with errno, rule and reason."""
    ran = run("--rules", OBSERVER, "--", build("pointers"))
    faults = [event for event in ran.of("Open") if event.get("errno") == "EFAULT"]
    assert len(faults) == 9
    for event in faults:
        assert event["rule"] == "observer.py:opens"
        assert event["verdict"] == "deny"
        assert event["how"] == "answered"
        assert event["reason"]
        assert event["args"]["pathname"] == "(unreadable)"

"""Every program that is executed has its event."""

from notifyd import Exec
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["audit-exec"]


def test_it_has_no_opinion_and_looks_at_nothing():
    """So it can stand before any other rule, and the kernel does the exec."""
    call = make_call(Exec, path="/bin/sh", argv=["sh", "-c", "exit"])
    assert verdict_of(load_rules(*RULES).rules[0], call) is None
    assert not call.looked


def test_path_and_arguments_are_taken_down(run):
    """The command's own exec, its children's, one that fails, and bytes that are no text."""
    ran = run(
        RULES, "sh", "-c", "env -u NOTHING true \"$(printf '\\377')\"; /nowhere/at/all; exit 3"
    )
    assert ran.status == 3
    told = [(event["args"]["pathname"], event["args"]["argv"]) for event in ran.calls]
    assert told[0][1][:2] == ["sh", "-c"]
    assert ["env", "-u", "NOTHING", "true", "\\xff"] in [argv for _, argv in told]
    assert ["true", "\\xff"] in [argv for _, argv in told]
    assert ("/nowhere/at/all", ["/nowhere/at/all"]) in told
    assert {event["operation"] for event in ran.calls} == {"Exec"}
    assert {event["how"] for event in ran.calls} == {"continued"}


def test_it_stands_together_with_a_rule_that_refuses(run):
    """The other rule still decides."""
    ran = run([*RULES, "no-privilege-escalation"], "unshare", "-U", "true")
    assert ran.status == 1
    assert ran.calls[0]["args"]["argv"] == ["unshare", "-U", "true"]

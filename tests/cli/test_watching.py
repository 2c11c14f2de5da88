"""`notifyd ctl watch` at a question that goes away, and with news that came together."""

import os
import pty
import socket
import time

import pytest

from notifyd.cli import watching
from notifyd.cli.control_client import Connection
from notifyd.daemon.approval_messages import ApproveRequest, QuestionView
from notifyd.daemon.protocol import encode_result


def view(number: int) -> QuestionView:
    """A question that waits."""
    return QuestionView(
        id=number,
        text=f"may I {number}?",
        workload="web",
        section="",
        process="7@1",
        pid=7,
        exe="/usr/bin/curl",
        uid=0,
        operation="Connect",
        syscall="connect",
        args={},
        rule="r.py:ask",
        title="",
        key="k",
        scopes=["once"],
        asked=time.time(),
        within=None,
        container="",
        annotations={},
        tree=[],
        history=[],
    )


@pytest.fixture
def ends():
    """A daemon's end of a connection, and `notifyd ctl watch` with a terminal, its answers."""
    ours, theirs = socket.socketpair()
    keys, terminal = pty.openpty()
    answered: list[ApproveRequest] = []

    def answer(request):
        answered.append(request)
        os.write(keys, b"q\r")
        raise watching.UsageError("noted")

    with ours, theirs:
        ours.settimeout(20)
        watch = watching._Watch(Connection(ours), answer, terminal)
        yield theirs, keys, watch, answered
    os.close(keys)
    os.close(terminal)


@pytest.mark.parametrize("keys_before", ["y\r", "y", "no 10m\ry\r"])
def test_a_line_for_a_question_that_went_away(ends, keys_before, capsys):
    """It is no answer to the next one, which has taken its place."""
    daemon, keys, watch, answered = ends
    with watching.lines(watch._fd):
        watch._waiting = [view(1), view(2)]
        watch._show()
        os.write(keys, keys_before.encode())
        daemon.sendall(encode_result([view(2)]))
        watch._news()
        watch._show()
        os.write(keys, b"\r")
        assert watch._typed()
        assert answered == []
        assert "question 1 waits no more" in capsys.readouterr().out
        os.write(keys, b"y\r")
        assert watch._typed()
    assert [one.id for one in answered] == [2]


def test_lists_that_come_together(ends, capsys):
    """What was received with the first list is not left lying until something else happens."""
    daemon, keys, watch, _ = ends
    daemon.sendall(encode_result([]) + encode_result([view(1)]) + encode_result([view(2)]))
    shown = watch._prompt

    def prompt():
        shown()
        os.write(keys, b"q\r")

    watch._prompt = prompt
    with watching.lines(watch._fd):
        watch.run()
    assert "may I 2?" in capsys.readouterr().out

"""Questions that have not been asked yet, and those who ask them."""

from dataclasses import replace

import trio
import trio.testing

from notifyd.approvals.question import Answer, Person, Question, Scope, Subject

ADMIN = Person("root", 0, "ctl")
YES, NO = Answer(True, ADMIN), Answer(False, ADMIN, reason="not today")
SUBJECT = Subject(
    "rules.py:ask",
    "key",
    1000,
    "/usr/bin/curl",
    "ab" * 32,
    origin="/a/rules.py",
    section="section",
    bound="01" * 32,
)


def draft(**changes) -> Question:
    """A question that has not been asked yet."""
    subject = replace(SUBJECT, **changes.pop("subject", {}))
    given = {"workload": "w1", "process": "7@1", "within": None, **changes}
    return Question(
        0,
        "may I?",
        subject,
        given["workload"],
        "section",
        given["process"],
        7,
        "Connect",
        "connect",
        {"address": "192.0.2.1:80"},
        tuple(Scope),
        0.0,
        given["within"],
    )


def run(desk, work):
    """Run an async function with a nursery while the queue lives."""

    async def main():
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(desk.run)
                await work(nursery)
                nursery.cancel_scope.cancel()

    trio.run(main)


class Asker:
    """Somebody who asks, and what they got."""

    def __init__(self, desk, question):
        self.queue, self.question = desk, question
        self.scope = trio.CancelScope()
        self.got = None
        self.over = trio.Event()

    async def run(self):
        with self.scope:
            self.got = await self.queue.ask(self.question)
        self.over.set()


async def asked(nursery, desk, *questions):
    """Start asking; returns when all wait or were answered."""
    askers = [Asker(desk, one) for one in questions]
    for one in askers:  # one after the other: trio starts tasks in any order
        nursery.start_soon(one.run)
        await trio.testing.wait_all_tasks_blocked(0.005)
    return askers


async def shown(desk):
    """Wait until a question has its id, which a store gives in a thread of its own."""
    while not desk.pending:
        await trio.sleep(0.005)

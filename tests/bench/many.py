"""Many workloads under one supervisor: `many.py COUNT RULES COMMAND...`.

Starts COMMAND that many times, each behind a filter and a listener of its own, with our standard
input and output, and ends when all of them have. For measuring memory.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

import trio
from commands import HERE

from notifyd.bpf.build import compile_profile
from notifyd.engine.listener import Listener
from notifyd.engine.report import Reporter
from notifyd.engine.supervisor import Supervisor
from notifyd.kernel.seccomp import FILTER_FLAG_NEW_LISTENER
from notifyd.launch.spawn import spawn
from notifyd.policy.load import load
from notifyd.policy.lower import lower
from notifyd.target.watch import LAZINESS


async def main(count: int, rules_file: str, command: list[str]) -> None:
    """Start them, and supervise until the last one has ended."""
    rules = load([str(HERE / "rules" / rules_file)])
    program = compile_profile(lower(rules).profile).program.to_bytes()
    supervisor, reporter, workloads = Supervisor(), Reporter(), []
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            for number in range(count):
                one = stack.enter_context(spawn(command, program, flags=FILTER_FLAG_NEW_LISTENER))
                listener, one.listener = one.listener, None
                assert listener is not None
                name = f"bench-{number}"
                workloads.append(Listener(name, listener, rules, reporter, watched=LAZINESS))
                supervisor.add(workloads[-1])
            for workload in workloads:
                await workload.ended.wait()
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], sys.argv[3:])

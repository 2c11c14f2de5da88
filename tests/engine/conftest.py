"""Supervised children on the real kernel: listener, rules, supervisor, no CLI."""

import contextlib
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from notifyd.approvals.queue import ApprovalQueue
from notifyd.bpf.build import compile_profile
from notifyd.engine.listener import Listener
from notifyd.engine.report import Reporter
from notifyd.engine.supervisor import Supervisor
from notifyd.events.jsonl import JsonLines
from notifyd.policy.lower import lower
from notifyd.policy.rule import DECLARED
from notifyd.policy.ruleset import RuleSet
from notifyd.target.watch import LAZINESS

sys.path.insert(0, str(Path(__file__).parent))

PATIENCE = 20.0  # seconds; what a test waits at most


def _rules_of(*texts: str) -> tuple[RuleSet, types.ModuleType]:
    """A rule set from the texts of rule files, and the module that the first one became."""
    modules = []
    for number, text in enumerate(texts):
        module = types.ModuleType("rules")
        source = "import errno\nimport trio\nfrom notifyd import *\n" + textwrap.dedent(text)
        name = f"rules{number or ''}.py"
        exec(compile(source, name, "exec"), module.__dict__)
        modules.append(module)
    return RuleSet.build(*(one.__dict__[DECLARED] for one in modules)), modules[0]


@pytest.fixture
def rules_of() -> Callable[..., tuple[RuleSet, types.ModuleType]]:
    """Make a rule set from the texts of rule files."""
    return _rules_of


Start = Callable[..., tuple[Any, Listener, types.ModuleType]]


@pytest.fixture
def reporter(tmp_path) -> Iterator[Reporter]:
    """A reporter with an audit file, `events.jsonl` in `tmp_path`."""
    with JsonLines.open(str(tmp_path / "events.jsonl")) as audit:
        yield Reporter(audit=audit)


@pytest.fixture
def start(reporter: Reporter, start_child: Callable[..., Any]) -> Iterator[Start]:
    """Start a child under rules: `start(work, text)`: child, workload, rule module.

    Instead of one text there may be a tuple of them: a rule file each.
    """
    with contextlib.ExitStack() as stack:

        def starter(
            work: Callable[[], int], text: str | tuple[str, ...], **more: int
        ) -> tuple[Any, Listener, types.ModuleType]:
            rules, module = _rules_of(*((text,) if isinstance(text, str) else text))
            program = compile_profile(lower(rules).profile).program.to_bytes()
            child = start_child(work, program, **more)
            workload = Listener(
                f"child-{child.pid}", child.listener, rules, reporter, watched=LAZINESS
            )
            stack.callback(workload.close)
            return child, workload, module

        yield starter


@pytest.fixture
def supervise() -> Callable[..., None]:
    """Run a supervisor with workloads while an async function is at work: `supervise(work, *w)`."""

    def runner(work: Callable[[Supervisor], object], *workloads: Listener) -> None:
        async def main() -> None:
            supervisor = Supervisor()
            for workload in workloads:
                supervisor.add(workload)
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    await nursery.start(supervisor.run)
                    await work(supervisor)
                    nursery.cancel_scope.cancel()

        trio.run(main)

    return runner


@pytest.fixture(autouse=True)
def every_descriptor_is_closed(no_fd_left: None) -> None:
    """See `no_fd_left`."""


@pytest.fixture
def told():
    """The events of the desk."""
    return []


@pytest.fixture
def asking(start, supervise, told):
    """A child under a rule that asks, and what a person does meanwhile; its exit status.

    The desk that the person gets has the `workload`, to see which calls wait.
    """

    def run(work, text, person, attended=1, **more):
        child, workload, _ = start(work, text, **more)
        desk = ApprovalQueue(lambda name, level, **fields: told.append((name, fields)))
        desk.attended = attended
        workload.queue, desk.workload = desk, workload

        statuses = []

        async def live(supervisor):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(desk.run)
                await person(desk, child)
                statuses.append(await child.status())
                await workload.ended.wait()
                nursery.cancel_scope.cancel()

        supervise(live, workload)
        return statuses[0]

    return run

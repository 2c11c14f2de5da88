"""Supervised children on the real kernel: listener, rules, supervisor, no CLI."""

import contextlib
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

from notifyd.audit.jsonl import JsonLines
from notifyd.engine.report import Reporter
from notifyd.engine.supervisor import Supervisor
from notifyd.engine.workload import Workload
from notifyd.filter.build import compile_profile
from notifyd.policy.lower import lower
from notifyd.policy.rule import DECLARED
from notifyd.policy.ruleset import RuleSet
from notifyd.target.watch import LAZINESS

PATIENCE = 20.0  # seconds; what a test waits at most


def _rules_of(text: str) -> tuple[RuleSet, types.ModuleType]:
    """A rule set from the text of a rule file, and the module that it became."""
    module = types.ModuleType("rules")
    source = "import errno\nimport trio\nfrom notifyd import *\n" + textwrap.dedent(text)
    exec(compile(source, "rules.py", "exec"), module.__dict__)
    return RuleSet.build(module.__dict__[DECLARED]), module


@pytest.fixture
def rules_of() -> Callable[[str], tuple[RuleSet, types.ModuleType]]:
    """Make a rule set from the text of a rule file."""
    return _rules_of


Start = Callable[..., tuple[Any, Workload, types.ModuleType]]


@pytest.fixture
def reporter(tmp_path) -> Iterator[Reporter]:
    """A reporter with an audit file, `events.jsonl` in `tmp_path`."""
    with JsonLines.open(str(tmp_path / "events.jsonl")) as audit:
        yield Reporter(audit=audit)


@pytest.fixture
def start(reporter: Reporter, start_child: Callable[..., Any]) -> Iterator[Start]:
    """Start a child under rules: `start(work, text)`: child, workload, rule module."""
    with contextlib.ExitStack() as stack:

        def starter(
            work: Callable[[], int], text: str, **more: int
        ) -> tuple[Any, Workload, types.ModuleType]:
            rules, module = _rules_of(text)
            program = compile_profile(lower(rules).profile).program.to_bytes()
            child = start_child(work, program, **more)
            workload = Workload(
                f"child-{child.pid}", child.listener, rules, reporter, watched=LAZINESS
            )
            stack.callback(workload.close)
            return child, workload, module

        yield starter


@pytest.fixture
def supervise() -> Callable[..., None]:
    """Run a supervisor with workloads while an async function is at work: `supervise(work, *w)`."""

    def runner(work: Callable[[Supervisor], object], *workloads: Workload) -> None:
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

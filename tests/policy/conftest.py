"""Calls from bare registers and memory, by the helpers that rule authors get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest

from notifyd.kernel.arch import AUDIT_ARCH_X86_64
from notifyd.policy.call import Call
from notifyd.policy.operations import OPERATIONS
from notifyd.testing import FakeProcess, FakeTarget, call_from_registers


@pytest.fixture
def stopped() -> Callable[..., Any]:
    """Make a call: `stopped("Open", "openat", fd, path, arch="i386", memory={address: bytes})`."""

    def make(
        operation: str,
        syscall: str,
        *args: int,
        arch: str = "x86_64",
        memory: Mapping[int, bytes] = {},
        roots: Mapping[int, str] = {},
    ) -> Any:
        process = FakeProcess(cwd=PurePosixPath("/cwd"))
        target = FakeTarget(memory, process, roots)
        return call_from_registers(OPERATIONS[operation], syscall, *args, arch=arch, target=target)

    return make


@pytest.fixture
def memory_of() -> Callable[[Call], FakeTarget]:
    """The target behind a call that `stopped` made: what is in it, was read and resolved."""

    def find(call: Call) -> FakeTarget:
        target = call.target
        assert isinstance(target, FakeTarget)
        return target

    return find


@pytest.fixture
def x86_64() -> int:
    """The AUDIT_ARCH value that tests use where it does not matter."""
    return AUDIT_ARCH_X86_64

"""What tests of every folder may use."""

import contextlib
import os
import sys
from collections.abc import Iterator

import pytest


def _open() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


@pytest.fixture
def no_fd_left() -> Iterator[None]:
    """Fail a test that ends with other descriptors than it began with."""
    before = _open().keys()
    yield
    after = _open()
    assert {fd: after[fd] for fd in after.keys() - before} == {}, sys.version

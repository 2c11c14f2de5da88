"""The tables of names, held against what this machine's Python and C headers say."""

from __future__ import annotations

import os
import platform
import signal
import socket
import stat
from importlib import import_module
from pkgutil import iter_modules

import pytest

import notifyd.policy.names as package
from notifyd.policy.names.clone import SIGNALS
from notifyd.policy.names.inode import FILE_KINDS, PERMISSIONS
from notifyd.policy.names.open import ACCESS_MODES, OPEN_FLAGS, OPEN_FLAGS_ARM
from notifyd.policy.names.socket import (
    FAMILIES,
    IP_PROTOCOLS,
    IP_ROUTING,
    IPV6_ROUTING,
    MESSAGE_FLAGS,
    SOCKET_FLAGS,
    SOCKET_ROUTING,
    SOCKET_TYPES,
)

TABLES = [
    (f"{module.name}.{name}", value)
    for module in iter_modules(package.__path__)
    for name, value in vars(import_module(f"{package.__name__}.{module.name}")).items()
    if name.isupper() and isinstance(value, dict)
]


@pytest.mark.parametrize(
    ("module", "table"),
    [
        (socket, FAMILIES),
        (socket, SOCKET_TYPES),
        (socket, SOCKET_FLAGS),
        (socket, IP_PROTOCOLS),
        (socket, IP_ROUTING),
        (socket, IPV6_ROUTING),
        (socket, MESSAGE_FLAGS),
        (socket, SOCKET_ROUTING),
        (signal, SIGNALS),
        (stat, FILE_KINDS),
        (stat, PERMISSIONS),
        (os, ACCESS_MODES),
    ],
)
def test_the_standard_library_agrees(module, table):
    """Where Python has the same name, it has the same number."""
    shared = {name: int(getattr(module, name)) for name in table if hasattr(module, name)}
    assert shared
    assert shared == {name: table[name] for name in shared}


def test_open_flags_are_this_machines():
    """O_* of `os` are the native ones, except O_LARGEFILE, which is 0 to a 64-bit C library."""
    table = OPEN_FLAGS_ARM if platform.machine() == "aarch64" else OPEN_FLAGS
    native = {name: getattr(os, name) for name in table if hasattr(os, name)}
    native.pop("O_LARGEFILE", None)
    assert native == {name: table[name] for name in native}


def test_arm_has_the_same_names():
    """Four flags have other bits on aarch64, and O_TMPFILE, which holds one of them."""
    assert OPEN_FLAGS.keys() == OPEN_FLAGS_ARM.keys()
    moved = {name for name in OPEN_FLAGS if OPEN_FLAGS[name] != OPEN_FLAGS_ARM[name]}
    assert moved == {"O_DIRECTORY", "O_NOFOLLOW", "O_DIRECT", "O_LARGEFILE", "O_TMPFILE"}


@pytest.mark.parametrize(("title", "table"), TABLES, ids=[title for title, _ in TABLES])
def test_a_number_has_one_name(title, table):
    """An event names a number one way, and every number is one that a register can hold."""
    assert len(set(table.values())) == len(table)
    assert all(0 <= number < 1 << 64 for number in table.values())

"""First lines of scripts, as the kernel reads them."""

import os
import subprocess

import pytest

from notifyd.perform.script import BINPRM_BUF_SIZE, interpreter

NAME = b"/i"
LINES = {
    b"#!/i\n": (NAME, None),
    b"#! \t/i \t\n": (NAME, None),
    b"#!/i one two \nrest": (NAME, b"one two"),
    b"#!/i": (NAME, None),
    b"#!/i arg": (NAME, b"arg"),
    b"#!/i\0arg\n": (NAME, None),
    b"#!/i a\0b\n": (NAME, b"a"),
    b"#!/i " + b"x" * 300: (NAME, b"x" * (BINPRM_BUF_SIZE - 1 - 5)),
    b"#!" + b"/" * 300: None,
    b"#!" + b"/" * 300 + b"\n": None,
    b"#!" + b" " * 300: None,
    b"#!\n/i\n": None,
    b"#!": None,
    b"": None,
    b"\x7fELF": None,
}


@pytest.mark.parametrize("head", LINES, ids=lambda head: repr(head[:20]))
def test_a_first_line(head):
    """The name ends at a blank or a NUL, all else is one argument, and a cut name is none."""
    assert interpreter(head[:BINPRM_BUF_SIZE]) == LINES[head]


@pytest.mark.parametrize("head", LINES, ids=lambda head: repr(head[:20]))
def test_the_kernel_reads_it_so(head, tmp_path):
    """Executed for real: what the interpreter gets."""
    tool = tmp_path / "i"
    tool.write_text("#!/bin/sh\nexec printf '<%s>' \"$@\"\n")
    tool.chmod(0o755)
    script = tmp_path / "script"
    # A name as long as the one that is tested would be cut elsewhere: a short relative one.
    script.write_bytes(head.replace(b"/i", b"./i"))
    script.chmod(0o755)
    found = interpreter(script.read_bytes()[:BINPRM_BUF_SIZE])
    try:
        done = subprocess.run(["./script", "last"], cwd=tmp_path, capture_output=True, check=False)
    except OSError:
        assert found is None or not os.path.exists(tmp_path / os.fsdecode(found.path))
        return
    assert found is not None
    more = [] if found.argument is None else [found.argument]
    assert done.stdout == b"".join(b"<%s>" % one for one in [*more, b"./script", b"last"])

"""Lines without an end: whoever reads a file or a socket needs no more memory for them."""

import gzip
import io
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.cli.control_client import MAX_CONTROL_ANSWER_BYTES, connected
from notifyd.events import line_reader
from notifyd.events.line_reader import ends_of, lines_in
from notifyd.events.logfile import left_behind, open_log

ENDLESS = 1 << 28  # bytes
MEMORY = 200 << 10  # KiB; with nothing to read it is some 60 MiB
TEXTS = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"def" * 9])).map(b"".join)
# Runs the command line, and says on standard error what it took: not what was before exec(2).
MEASURED = """
import re, sys
from notifyd.cli import main
try:
    main(sys.argv[1:])
finally:
    peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
    print("peak", peak, file=sys.stderr)
"""


@pytest.fixture
def bounds(monkeypatch):
    """Smaller ones, so that few bytes are many."""
    monkeypatch.setattr(line_reader, "MAX_LINE_BYTES", 8)
    monkeypatch.setattr(line_reader, "READ_BYTES", 3)


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", []),
        (b"1234567\n", [b"1234567\n"]),
        (b"12345678\nx\n", [b"12345678", b"x\n"]),
        (b"123456789abcdefghijklmno\nx", [b"12345678", b"x"]),
        (b"123456789abcdefghijklmno", [b"12345678"]),
        (b"12345678", [b"12345678"]),
    ],
)
def test_one_that_is_too_long(text, found):
    """Its beginning comes once, and does not look like a whole line; the next ones are there."""
    assert list(lines_in(io.BytesIO(text))) == found


@given(TEXTS)
def test_all_others(text):
    """They come as they are."""
    assert list(lines_in(io.BytesIO(text))) == text.splitlines(keepends=True)


@given(TEXTS)
def test_the_end(text):
    """It is found as one would who had it all in memory."""
    found = ends_of(io.BytesIO(text))
    whole, newline, rest = text.rpartition(b"\n")
    assert (found.is_begun, found.rest) == (bool(newline), len(rest))
    assert found.line == (whole.rpartition(b"\n")[2] + newline if newline else b"")


@pytest.mark.usefixtures("bounds")
def test_an_end_that_is_too_long():
    """Where the last line is none of ours, that there is one is known, and no more."""
    found = ends_of(io.BytesIO(b"x\n123456789abcdef\nrest of it"))
    assert (found.line, found.is_begun, found.rest) == (b"", True, 10)


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """Files that are one line: plain, packed, and with a newline far behind."""
    folder = tmp_path_factory.mktemp("endless")
    for name, start in (("plain", b'{"event":"call"'), ("array", b"[")):
        with (folder / name).open("wb") as file:
            file.write(start)
            file.truncate(ENDLESS)
    with gzip.open(folder / "packed.gz", "wb", compresslevel=1) as packed:
        for _ in range(ENDLESS >> 20):
            packed.write(bytes(1 << 20))
    with (folder / "ended").open("wb") as file:
        file.seek(ENDLESS)
        file.write(b'\n{"event":"call"}\n')
    return folder


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("name", ["plain", "array", "packed.gz", "ended"])
@pytest.mark.parametrize(
    "words", [["audit", "verify"], ["audit", "show"], ["replay", "--rules", "audit-exec"]], ids=str
)
def test_readers(endless, words, name):
    """A line as long as the disk is no record, whoever reads it, and takes no memory for it."""
    command = [sys.executable, "-c", MEASURED, *words, str(endless / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    *_, last = done.stderr.splitlines()
    assert last.startswith("peak "), done.stderr
    assert int(last.split()[1]) < MEMORY
    if words == ["audit", "verify"]:
        assert done.returncode == 1
        assert f"{name}:1: " in done.stdout


def test_the_writer(endless, tmp_path):
    """Who goes on behind such a line begins a chain, and tells how much is torn."""
    (tmp_path / "log").write_bytes(b"")
    with (tmp_path / "log").open("r+b") as file:
        file.truncate(ENDLESS)
    script = (
        "import sys\nfrom notifyd.events.logfile import left_behind, open_log\n"
        "name = sys.argv.pop()\nprint(left_behind(open_log(name), name).said)\n"
    )
    command = [sys.executable, "-c", script + MEASURED, "--version", str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert int(done.stderr.split()[-1]) < MEMORY
    assert f"'torn': {ENDLESS}" in done.stdout


def test_the_writer_of_what_came_before(tmp_path):
    """A rotated file of one line that is too long has no last record."""
    path = tmp_path / "log"
    with gzip.open(tmp_path / "log.000000000001.gz", "wb", compresslevel=1) as packed:
        packed.write(bytes(line_reader.MAX_LINE_BYTES + 9) + b"\n")
    descriptor = open_log(str(path))
    assert left_behind(descriptor, str(path)).said == {"why": "start"}
    os.close(descriptor)


@pytest.mark.usefixtures("whole")
def test_a_daemon_that_never_ends_its_line(tmp_path):
    """Whoever reads along gives it up."""
    script = (
        "import socket, sys\nserver = socket.socket(socket.AF_UNIX)\nserver.bind(sys.argv[1])\n"
        "server.listen()\nprint(flush=True)\none, _ = server.accept()\n"
        "while True: one.sendall(bytes(1 << 20))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        server.stdout.readline()
        with connected(str(tmp_path / "s")) as connection:
            received = 0
            while (piece := connection.piece()) is not None:
                received += 1
                assert piece == b""
        assert received <= (MAX_CONTROL_ANSWER_BYTES >> 10)
        server.kill()

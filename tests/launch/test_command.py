"""Finding a command as execvp(3) does."""

import errno
import os
from pathlib import Path

import pytest

from notifyd.launch.command import exit_status, native_environment, search


def _make(path: Path, mode: int = 0o755) -> bytes:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return os.fsencode(path)


def test_the_first_executable_along_path_is_taken(tmp_path: Path) -> None:
    """Directories without it, files that are none, and files without x are passed over."""
    _make(tmp_path / "plain" / "tool", 0o644)
    (tmp_path / "folder" / "tool").mkdir(parents=True)
    wanted = _make(tmp_path / "good" / "tool")
    _make(tmp_path / "later" / "tool")
    names = ["missing", "plain", "plain/tool", "folder", "good", "later"]
    path = ":".join(str(tmp_path / name) for name in names)
    assert search(b"tool", {b"PATH": path.encode()}) == wanted


def test_a_slash_means_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is taken as it is; an empty entry of PATH is the working directory."""
    _make(tmp_path / "tool")
    monkeypatch.chdir(tmp_path)
    assert search(b"./tool", {b"PATH": b"/bin"}) == b"./tool"
    assert search(b"tool", {b"PATH": b":/bin"}) == b"tool"


def test_without_path_the_usual_places_are_searched() -> None:
    """As in execvp(3) and Python, /bin and /usr/bin."""
    assert search(b"sh", {}) == b"/bin/sh"


@pytest.mark.parametrize(
    ("name", "number", "status"),
    [
        (b"", errno.ENOENT, 127),
        (b"no-such-command", errno.ENOENT, 127),
        (b"/no/such/command", errno.ENOENT, 127),
        (b"/etc", errno.EISDIR, 126),
        (b"/etc/passwd", errno.EACCES, 126),
        (b"/dev/null", errno.EACCES, 126),
        (b"/etc/passwd/x", errno.ENOTDIR, 126),
    ],
)
def test_what_cannot_be_executed_has_the_errno_and_status_of_env(
    name: bytes, number: int, status: int
) -> None:
    """127 for what is not there, 126 for the rest."""
    with pytest.raises(OSError) as caught:
        search(name, {b"PATH": b"/bin:/nowhere"})
    assert (caught.value.errno, exit_status(caught.value)) == (number, status)


def test_a_file_without_x_along_path_is_told_from_none(tmp_path: Path) -> None:
    """EACCES wins over ENOENT, wherever it was met."""
    _make(tmp_path / "tool", 0o644)
    with pytest.raises(PermissionError):
        search(b"tool", {b"PATH": os.fsencode(tmp_path) + b":/bin"})


def test_the_environment_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process itself put there is kept, bytes and all."""
    monkeypatch.setitem(os.environb, b"NOTIFYD_TEST", b"\xff=\xfe")
    assert native_environment()[b"NOTIFYD_TEST"] == b"\xff=\xfe"

"""openat2(2) and its bounds."""

import errno
import os

import pytest

from notifyd.kernel import openat2 as module
from notifyd.kernel.openat2 import openat2

FLAGS = os.O_RDONLY | os.O_CLOEXEC


@pytest.fixture
def root(tmp_path):
    """A directory with a file and links, as a descriptor."""
    (tmp_path / "file").write_bytes(b"inside")
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "in").symlink_to("/file")
    (tmp_path / "magic").symlink_to(f"/proc/{os.getpid()}/exe")
    fd = os.open(tmp_path, os.O_DIRECTORY | os.O_RDONLY)
    yield fd
    os.close(fd)


def refused(*arguments, **more):
    """Return the errno of an open that must fail."""
    with pytest.raises(OSError) as caught:
        openat2(*arguments, **more)
    return caught.value.errno


def test_open(root):
    """A plain open reads the file."""
    fd = openat2(root, b"file", FLAGS)
    with os.fdopen(fd, "rb") as file:
        assert file.read() == b"inside"


def test_create(root, tmp_path):
    """A mode goes with O_CREAT, less the umask."""
    old = os.umask(0)
    try:
        os.close(openat2(root, b"new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))
    finally:
        os.umask(old)
    assert (tmp_path / "new").stat().st_mode & 0o7777 == 0o640


def test_in_root(root):
    """RESOLVE_IN_ROOT reads absolute links inside the directory."""
    fd = openat2(root, b"in", FLAGS, resolve=module.RESOLVE_IN_ROOT)
    with os.fdopen(fd, "rb") as file:
        assert file.read() == b"inside"


@pytest.mark.parametrize(
    ("path", "resolve", "error"),
    [
        (b"out", module.RESOLVE_BENEATH, errno.EXDEV),
        (b"../x", module.RESOLVE_BENEATH, errno.EXDEV),
        (b"out", module.RESOLVE_NO_SYMLINKS, errno.ELOOP),
        (b"magic", module.RESOLVE_NO_MAGICLINKS, errno.ELOOP),
        (b"/proc/self/status", module.RESOLVE_NO_XDEV, errno.EXDEV),
        (b"out", module.RESOLVE_IN_ROOT, errno.ENOENT),
    ],
)
def test_bounds(root, path, resolve, error):
    """Each bound has its errno."""
    assert refused(root, path, FLAGS, resolve=resolve) == error


def test_strict_about_its_arguments(root):
    """A mode without O_CREAT, and flags that do not exist, are EINVAL."""
    assert refused(root, b"file", FLAGS, 0o600) == errno.EINVAL
    assert refused(root, b"file", FLAGS | 1 << 40) == errno.EINVAL


def test_nul(root):
    """A path with a NUL would name another file, and is refused before."""
    with pytest.raises(ValueError, match="NUL"):
        openat2(root, b"file\0x", FLAGS)

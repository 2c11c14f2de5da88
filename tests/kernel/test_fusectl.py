"""Connections of servers of files: told of from before there is a file until there is none."""

import ctypes
import os

import pytest

from notifyd.kernel.fusectl import Connections


def test_one_that_is_not_open_tells_nothing(no_fd_left):
    """Then there may be any; opened and closed, it leaves nothing behind."""
    connections = Connections()
    assert connections.any()
    assert not connections.are_told
    with connections:
        assert connections.are_told or connections.any()
    assert connections.any()


@pytest.mark.root
def test_a_server_is_seen_at_once(tmp_path, no_fd_left):
    """In whatever mount namespace it is; and no more once it is taken off."""
    libc = ctypes.CDLL(None, use_errno=True)
    pipe, done = os.pipe(), os.pipe()
    with Connections() as connections:
        assert connections.are_told
        before = os.fstat(connections._directory).st_nlink
        pid = os.fork()
        if not pid:
            assert not libc.unshare(0x20000)
            libc.mount(b"none", b"/", None, 0x44000, None)  # MS_REC | MS_PRIVATE
            device = os.open("/dev/fuse", os.O_RDWR)
            how = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
            os.write(pipe[1], b"%d" % libc.mount(b"x", bytes(tmp_path), b"fuse", 0, how))
            os.read(done[0], 1)
            os._exit(0)
        assert os.read(pipe[0], 9) == b"0"
        assert os.fstat(connections._directory).st_nlink == before + 1
        assert connections.any()
        os.write(done[1], b"x")
        os.waitpid(pid, 0)
    for fd in (*pipe, *done):
        os.close(fd)

"""ioctl_tty(2): which terminal is behind a descriptor, whose it is, how large its window is.

Owns the numbers of the requests. Settings of lines are the `termios` module's.
"""

from __future__ import annotations

import fcntl
import os
import termios
from struct import Struct
from typing import TypeAlias

__all__ = [
    "Window",
    "device",
    "give_up",
    "index",
    "open_peer",
    "set_window",
    "take",
    "window",
]

Window: TypeAlias = tuple[int, int, int, int]  # rows, columns, and pixels of both

_TIOCGDEV = 0x80045432
_TIOCGPTN = 0x80045430
_TIOCGPTPEER = 0x5441
_WINSIZE = Struct("4H")  # struct winsize
_UINT = Struct("I")


def device(fd: int) -> int:
    """The device number of the terminal that a descriptor leads to, as `st_rdev` of its file is.

    /dev/tty and the master of a pseudo-terminal lead to the terminal that they stand for. Numbers
    of pseudo-terminals are unique in one devpts file system alone.

    Raises:
        OSError: ENOTTY: it is not a terminal. EIO: the terminal has hung up.
    """
    number: int = _UINT.unpack(fcntl.ioctl(fd, _TIOCGDEV, bytes(_UINT.size)))[0]
    return os.makedev(number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)


def index(master: int) -> int:
    """The number that the other end of a pseudo-terminal has in its devpts.

    Raises:
        OSError: ENOTTY: it is not a master.
    """
    number: int = _UINT.unpack(fcntl.ioctl(master, _TIOCGPTN, bytes(_UINT.size)))[0]
    return number


def open_peer(master: int) -> int:
    """Open the other end of a pseudo-terminal, wherever its devpts is mounted. Since 4.13.

    Returns:
        A close-on-exec descriptor that the caller owns; it does not become a controlling terminal.

    Raises:
        OSError: EIO: it is locked, or has hung up. ENOTTY: `master` is not a master.
    """
    return fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def take(fd: int) -> None:
    """Make a terminal the controlling one of our session, which we lead and which has none.

    Raises:
        OSError: EPERM: it is another session's, or we lead none.
    """
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


def give_up(fd: int) -> None:
    """Give up our controlling terminal. If we lead the session, all of it does.

    Those in front of it then get SIGHUP and SIGCONT, as when it hangs up.

    Raises:
        OSError: ENOTTY: it is not ours.
    """
    fcntl.ioctl(fd, termios.TIOCNOTTY)


def window(fd: int) -> Window:
    """The size of the window.

    Raises:
        OSError: ENOTTY, EIO.
    """
    rows, columns, width, height = _WINSIZE.unpack(
        fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_WINSIZE.size))
    )
    return rows, columns, width, height


def set_window(fd: int, size: Window) -> None:
    """Set the size of the window; if it is another one, those in front of it get SIGWINCH.

    Raises:
        OSError: ENOTTY, EIO.
    """
    fcntl.ioctl(fd, termios.TIOCSWINSZ, _WINSIZE.pack(*size))

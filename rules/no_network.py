"""No network: no sockets but AF_UNIX, decided inside the kernel.

    notifyd run --rules no-network -- python3 plugin.py

socket(2) and socketpair(2) for any other family fail with EACCES. No call leaves the kernel for it,
so it costs nothing.

Other ways to the network fail with EPERM, so debuggers do not work: io_uring, which makes sockets
with no system call; taking a socket out of another process (pidfd_getfd); making another process
act, by tracing it, writing to its memory or typing into the terminal; joining other namespaces;
asking name servers through the kernel's keys (request_key).

What it does not hold:

- A socket that is open already, that another process hands over (SCM_RIGHTS), or that a listener
  which is open already accepts, goes on working.
- A daemon that AF_UNIX leads to may act for the program, and so may a file of the user's. Use
  `only-below` for files, and for /proc/PID/mem of other processes.
- What the kernel itself sends needs no socket of the program: root can mount network file systems.
  Give --user too.

A 32-bit x86 program whose C library uses socketcall(2) gets no sockets at all, since that call
keeps the family in memory, where the kernel's filter cannot see it.
"""

import errno
from socket import AF_UNIX

from notifyd import SOCKET_BYPASSES, TYPING_REQUESTS, Deny, Ioctl, Socket, always, is_not

always(Deny(errno.EACCES), Socket, family=is_not(AF_UNIX))

# Ways to a socket without socket(2), and ways to have another process act.
always(Deny(errno.EPERM), *SOCKET_BYPASSES)
always(Deny(errno.EPERM), Ioctl, request=TYPING_REQUESTS)

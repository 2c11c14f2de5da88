"""No network: no sockets but AF_UNIX, decided inside the kernel.

    notifyd run --rules no-network -- python3 plugin.py

socket(2) and socketpair(2) for any other family give EACCES. No call leaves the kernel for it, so
it costs nothing. Refused too (EPERM) is what gets at the network in another way: io_uring, which
makes sockets with no system call; taking a socket out of another process (pidfd_getfd); having
another process act, by tracing it, by writing to its memory, or by typing into the terminal;
joining other namespaces; asking name servers through the kernel's keys (request_key). So debuggers
do not work under it.

What it does not do: a socket that was open before goes on working, and so does one that another
process hands over (SCM_RIGHTS), or that a listener which was open before accepts. A daemon that
AF_UNIX leads to may act for the program, and a file of the user's may: `only-below` is the wall for
files, and for /proc/PID/mem of other processes. What the kernel sends by itself is no socket of the
program: root can mount file systems of the network, so give --user too. A 32-bit x86 program whose
C library uses socketcall(2) gets no sockets at all, because that call keeps the family where the
kernel's filter cannot see it.
"""

import errno
from socket import AF_UNIX

from notifyd import SOCKET_BYPASSES, TYPING_REQUESTS, Deny, Ioctl, Socket, always, is_not

always(Deny(errno.EACCES), Socket, family=is_not(AF_UNIX))

# What brings a socket without socket(2), or has another process do it.
always(Deny(errno.EPERM), *SOCKET_BYPASSES)
always(Deny(errno.EPERM), Ioctl, request=TYPING_REQUESTS)

"""No network: no sockets but AF_UNIX, decided inside the kernel.

    notifyd run --rules no-network -- python3 plugin.py

socket(2) and socketpair(2) for any other family give EACCES. No call leaves the kernel for it, so
it costs nothing. io_uring is refused too (EPERM), since it makes sockets with no system call.

What it does not do: a socket that was open before, or that another process hands over (SCM_RIGHTS),
goes on working. What the kernel sends by itself is no socket of the program: root can mount file
systems of the network, so give --user too. A 32-bit x86 program whose C library uses socketcall(2)
gets no sockets at all, because that call keeps the family where the kernel's filter cannot see it.
"""

import errno
from socket import AF_UNIX

from notifyd import Deny, IoUring, Socket, always, is_not

always(Deny(errno.EACCES), Socket, family=is_not(AF_UNIX))
always(Deny(errno.EPERM), IoUring)

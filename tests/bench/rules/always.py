"""getppid is refused inside the kernel: no notification, no Python."""

import errno

from notifyd import Deny, Raw, always

always(Deny(errno.EPERM), Raw("getppid"))

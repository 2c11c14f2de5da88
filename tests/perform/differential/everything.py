"""Everything: looks at every argument of every call that can be performed, and allows it.

With DIFFERENTIAL_LOOK=text in the environment it looks at no resolved path.
"""

import os

import notifyd
from notifyd import Allow, on
from notifyd.policy.fields import Path

MAGIC = 0x6E6F7469  # in the last register: the probe is getting ready, and no business of ours
TEXT = os.environ.get("DIFFERENTIAL_LOOK") == "text"
NAMES = """
    Access Bind Chmod Chown Connect GetXattr Link ListXattr Mkdir Mknod Mount Open ReadLink
    RemoveXattr Rename SchedSetScheduler SendTo SetHostname SetXattr Stat StatFs Symlink Truncate
    Umount Unlink Utime
"""


@on(*(getattr(notifyd, name) for name in NAMES.split()))
def everything(call):
    if call.args[5] == MAGIC:
        return Allow()
    for name, field in type(call).fields.items():
        if TEXT and isinstance(field, Path):
            continue
        try:
            getattr(call, name)
        except AttributeError:  # this form of the call has no such path
            assert isinstance(field, Path)
    return Allow()

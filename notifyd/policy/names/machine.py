"""Calls about the whole machine: reboot(2), kexec_load(2), init_module(2), swapon(2), syslog(2).

From include/uapi/linux/reboot.h, kexec.h, module.h, include/linux/swap.h and syslog.h.
"""

from __future__ import annotations

__all__ = [
    "KEXEC_FILE_FLAGS",
    "KEXEC_FLAGS",
    "MODULE_FLAGS",
    "MODULE_REMOVE_FLAGS",
    "REBOOT_COMMANDS",
    "SWAP_FLAGS",
    "SYSLOG_ACTIONS",
]

REBOOT_COMMANDS: dict[str, int] = {
    "LINUX_REBOOT_CMD_RESTART": 0x01234567,
    "LINUX_REBOOT_CMD_HALT": 0xCDEF0123,
    "LINUX_REBOOT_CMD_CAD_ON": 0x89ABCDEF,
    "LINUX_REBOOT_CMD_CAD_OFF": 0x00000000,
    "LINUX_REBOOT_CMD_POWER_OFF": 0x4321FEDC,
    "LINUX_REBOOT_CMD_RESTART2": 0xA1B2C3D4,
    "LINUX_REBOOT_CMD_SW_SUSPEND": 0xD000FCE2,
    "LINUX_REBOOT_CMD_KEXEC": 0x45584543,
}

# kexec_load(2). The high half is the architecture.
KEXEC_FLAGS: dict[str, int] = {
    "KEXEC_ON_CRASH": 1,
    "KEXEC_PRESERVE_CONTEXT": 2,
    "KEXEC_UPDATE_ELFCOREHDR": 4,
    "KEXEC_CRASH_HOTPLUG_SUPPORT": 8,
}

# kexec_file_load(2).
KEXEC_FILE_FLAGS: dict[str, int] = {
    "KEXEC_FILE_UNLOAD": 1,
    "KEXEC_FILE_ON_CRASH": 2,
    "KEXEC_FILE_NO_INITRAMFS": 4,
    "KEXEC_FILE_DEBUG": 8,
}

# finit_module(2).
MODULE_FLAGS: dict[str, int] = {
    "MODULE_INIT_IGNORE_MODVERSIONS": 1,
    "MODULE_INIT_IGNORE_VERMAGIC": 2,
    "MODULE_INIT_COMPRESSED_FILE": 4,
}

# delete_module(2).
MODULE_REMOVE_FLAGS: dict[str, int] = {
    "O_TRUNC": 0o1000,
    "O_NONBLOCK": 0o4000,
}

SWAP_FLAGS: dict[str, int] = {
    "SWAP_FLAG_PREFER": 0x8000,
    "SWAP_FLAG_DISCARD": 0x10000,
    "SWAP_FLAG_DISCARD_ONCE": 0x20000,
    "SWAP_FLAG_DISCARD_PAGES": 0x40000,
}

SYSLOG_ACTIONS: dict[str, int] = {
    "SYSLOG_ACTION_CLOSE": 0,
    "SYSLOG_ACTION_OPEN": 1,
    "SYSLOG_ACTION_READ": 2,
    "SYSLOG_ACTION_READ_ALL": 3,
    "SYSLOG_ACTION_READ_CLEAR": 4,
    "SYSLOG_ACTION_CLEAR": 5,
    "SYSLOG_ACTION_CONSOLE_OFF": 6,
    "SYSLOG_ACTION_CONSOLE_ON": 7,
    "SYSLOG_ACTION_CONSOLE_LEVEL": 8,
    "SYSLOG_ACTION_SIZE_UNREAD": 9,
    "SYSLOG_ACTION_SIZE_BUFFER": 10,
}

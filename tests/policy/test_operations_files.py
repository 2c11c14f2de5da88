"""Operations on files, decoded from registers and from memory that exists only here."""

from __future__ import annotations

import os
import stat
from pathlib import PurePosixPath
from struct import pack

import pytest

from notifyd.errors import TargetFault
from notifyd.policy.operations import OPERATIONS

CWD = -100
PATH = 0x1000
MORE = 0x2000
TEXTS = {PATH: b"a/b\0", MORE: b"c\0"}


def test_open_takes_the_path_from_the_cwd(stopped, memory_of):
    """open(2) has no directory: the path starts at the working directory."""
    call = stopped("Open", "open", PATH, os.O_RDWR | os.O_CREAT, 0o640, memory=TEXTS)
    assert (call.dirfd, call.pathname, call.mode) == (CWD, b"a/b", 0o640)
    assert call.path == PurePosixPath("/cwd/a/b")
    assert call.writes
    assert call.reads
    assert call.creates


def test_registers_alone_are_no_look_at_memory(stopped):
    """Flags and mode of openat(2) lie in registers, so a rule may have the kernel go on."""
    call = stopped("Open", "openat", CWD, PATH, os.O_WRONLY, memory=TEXTS)
    assert call.writes
    assert not call.looked
    assert call.pathname == b"a/b"
    assert call.looked


def test_openat2_keeps_its_flags_in_memory(stopped):
    """A struct open_how has three 64-bit members, which come whole."""
    how = pack("<QQQ", os.O_RDWR | 1 << 40, 0o10600, 0x08 | 0x04)
    call = stopped("Open", "openat2", 5, PATH, MORE, 24, memory={PATH: b"x\0", MORE: how})
    assert call.flags == os.O_RDWR | 1 << 40
    assert call.mode == 0o10600
    assert type(call).resolve_flags.render(call) == "RESOLVE_NO_SYMLINKS|RESOLVE_BENEATH"
    assert call.looked
    assert not call.follows


def test_openat2_is_read_once(stopped, memory_of):
    """A target that rewrites its struct after the look changes nothing of what the rule sees."""
    how = pack("<QQQ", os.O_RDONLY, 0, 0)
    call = stopped("Open", "openat2", 5, PATH, MORE, 24, memory={MORE: how})
    assert not call.writes
    memory_of(call).memory[MORE] = pack("<QQQ", os.O_RDWR, 0, 0)
    assert not call.writes


def test_a_root_of_its_own(stopped):
    """RESOLVE_IN_ROOT: a slash first, and dots, mean the descriptor that the path starts at."""
    how = pack("<QQQ", 0, 0, 0x10)
    memory = {PATH: b"/../x\0", MORE: how}
    call = stopped("Open", "openat2", -100, PATH, MORE, 24, memory=memory)
    assert call.path == stopped("Open", "openat", -100, PATH, 0, memory={PATH: b"x\0"}).path


def test_creat_has_its_flags_in_its_name(stopped):
    """creat(2) opens for writing, creates and truncates, and says so in no register."""
    call = stopped("Open", "creat", PATH, 0o600, memory=TEXTS)
    assert call.flags == os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    assert call.mode == 0o600
    assert call.writes
    assert not call.looked


def test_the_high_half_of_a_register_is_no_flag(stopped):
    """The kernel drops what an int has no room for, and so does the field."""
    call = stopped(
        "Open", "openat", 0xFFFF_FFFF_FFFF_FF9C, PATH, 0xFF_0000_0000, 0xABC0_0000 | 0o644
    )
    assert call.dirfd == CWD
    assert call.flags == 0
    assert call.mode == 0o644


@pytest.mark.parametrize(
    ("flags", "writes"),
    [
        (os.O_RDONLY, False),
        (os.O_WRONLY, True),
        (3, True),
        (os.O_RDONLY | os.O_TRUNC, True),
        (os.O_RDONLY | os.O_CREAT, True),
        (os.O_RDWR | os.O_TMPFILE, True),
        (os.O_PATH | os.O_RDWR, False),
    ],
)
def test_what_counts_as_writing(stopped, flags, writes):
    """Truncating and creating write, whatever the access mode says; O_PATH does not."""
    assert stopped("Open", "openat", CWD, PATH, flags).writes is writes


@pytest.mark.parametrize(
    ("flags", "reads"),
    [(os.O_RDONLY, True), (os.O_WRONLY, False), (os.O_RDWR, True), (os.O_PATH | 1, True)],
)
def test_what_counts_as_reading(stopped, flags, reads):
    """O_PATH does: what the target gets can be read from."""
    assert stopped("Open", "openat", CWD, PATH, flags).reads is reads


@pytest.mark.parametrize(
    ("arch", "flags", "follows"),
    [
        ("x86_64", 0, True),
        ("x86_64", 0o400000, False),
        ("aarch64", 0o400000, True),
        ("aarch64", 0o100000, False),
        ("x86_64", os.O_CREAT | os.O_EXCL, False),
        ("x86_64", os.O_CREAT, True),
        ("x86_64", os.O_PATH | os.O_CREAT | os.O_EXCL, True),
    ],
)
def test_when_the_last_link_is_followed(stopped, arch, flags, follows):
    """O_NOFOLLOW has a bit of its own on aarch64; O_EXCL follows nothing, save with O_PATH."""
    assert stopped("Open", "openat", CWD, PATH, flags, arch=arch).follows is follows


@pytest.mark.parametrize(
    ("arch", "flags", "text"),
    [
        ("x86_64", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, "O_WRONLY|O_CREAT|O_CLOEXEC"),
        ("x86_64", os.O_RDONLY | os.O_SYNC, "O_RDONLY|O_SYNC"),
        ("x86_64", os.O_RDWR | os.O_TMPFILE, "O_RDWR|O_TMPFILE"),
        ("aarch64", 0o40000, "O_RDONLY|O_DIRECTORY"),
        ("x86_64", 0o40000, "O_RDONLY|O_DIRECT"),
        ("x86_64", 1 << 31, "O_RDONLY|0x80000000"),
        ("x86_64", 3, "0x3"),
    ],
)
def test_flags_read_as_text(stopped, arch, flags, text):
    """Events name flags, each bit once, and show what has no name as a number."""
    call = stopped("Open", "openat", CWD, PATH, flags, arch=arch)
    assert type(call).flags.render(call) == text


def test_a_pointer_to_nothing_is_a_fault(stopped):
    """Where the kernel would say EFAULT, reading the path raises."""
    for operation, name, args in [
        ("Open", "openat", (CWD, 0, 0)),
        ("Stat", "newfstatat", (5, 0, 0, 0)),
        ("Chmod", "chmod", (0, 0o600)),
    ]:
        with pytest.raises(TargetFault):
            stopped(operation, name, *args).pathname  # noqa: B018


@pytest.mark.parametrize(
    ("operation", "syscall", "args"),
    [
        ("Chmod", "fchmod", (7, 0o600)),
        ("Chown", "fchown", (7, 0, 0)),
        ("Truncate", "ftruncate", (7, 0)),
        ("Stat", "fstat", (7, 0)),
        ("StatFs", "fstatfs", (7, 0)),
        ("Chdir", "fchdir", (7,)),
        ("SetXattr", "fsetxattr", (7, 0, 0, 0, 0)),
        ("GetXattr", "fgetxattr", (7, 0, 0, 0)),
        ("RemoveXattr", "fremovexattr", (7, 0)),
        ("ListXattr", "flistxattr", (7, 0, 0)),
    ],
)
def test_a_descriptor_stands_for_a_path(stopped, memory_of, operation, syscall, args):
    """An f-call has an empty path, and resolving it asks for the descriptor itself."""
    call = stopped(operation, syscall, *args, roots={7: "/open/file"})
    assert (call.fd, call.pathname) == (7, b"")
    assert call.path == PurePosixPath("/open/file")
    assert memory_of(call).resolved[0][:2] == (7, b"")


def test_a_path_call_has_no_descriptor(stopped):
    """`fd` of a call with a path is -1, so the two kinds can be told apart."""
    assert stopped("Chmod", "chmod", PATH, 0o600).fd == -1


def test_a_null_path_can_stand_for_the_descriptor(stopped):
    """With AT_EMPTY_PATH, and to utimensat(2) always, null is the descriptor."""
    for operation, name, args in [
        ("Stat", "statx", (7, 0, 0x1000, 0, 0)),
        ("Stat", "newfstatat", (7, 0, 0, 0x1000)),
        ("Utime", "utimensat", (7, 0, 0, 0)),
        ("SetXattr", "setxattrat", (7, 0, 0x1000, 0, 0, 0)),
    ]:
        assert stopped(operation, name, *args, roots={7: "/f"}).path == PurePosixPath("/f")


@pytest.mark.parametrize(
    ("operation", "syscall", "args", "follows"),
    [
        ("Stat", "stat", (), True),
        ("Stat", "lstat", (), False),
        ("Stat", "statx", (0, 0, 0x100), False),
        ("Chown", "chown", (), True),
        ("Chown", "lchown", (), False),
        ("Chown", "fchownat", (0, 0, 0, 0, 0x100), False),
        ("Chmod", "fchmodat", (0, 0, 0, 0x100), True),
        ("Chmod", "fchmodat2", (0, 0, 0, 0x100), False),
        ("Access", "faccessat", (0, 0, 0, 0x100), True),
        ("Access", "faccessat2", (0, 0, 0, 0x100), False),
        ("SetXattr", "setxattr", (), True),
        ("SetXattr", "lsetxattr", (), False),
        ("ListXattr", "listxattr", (), True),
        ("ListXattr", "llistxattr", (), False),
        ("Link", "link", (), False),
        ("Link", "linkat", (0, 0, 0, 0, 0x400), True),
        ("Exec", "execveat", (0, 0, 0, 0, 0x100), False),
        ("Umount", "umount2", (0, 8), False),
        ("Mount", "open_tree", (0, 0, 0x100), False),
        ("Mount", "fspick", (0, 0, 2), False),
        ("Mount", "move_mount", (0, 0, 0, 0, 0), False),
        ("Mount", "move_mount", (0, 0, 0, 0, 0x10), True),
    ],
)
def test_each_call_follows_as_the_kernel_does(stopped, operation, syscall, args, follows):
    """Whether a link at the end is followed depends on the call's name and its flags."""
    assert stopped(operation, syscall, *args).follows is follows


def test_mknod_knows_a_device(stopped):
    """A device number has twelve bits of major and twenty of minor, in an odd order."""
    call = stopped("Mknod", "mknod", PATH, stat.S_IFBLK | 0o600, os.makedev(0xABC, 0x12345))
    assert call.is_device
    assert call.device == (0xABC, 0x12345)
    assert call.permissions == 0o600
    assert type(call).device.render(call) == f"{0xABC}:{0x12345}"
    assert type(call).mode.render(call) == "60600"


def test_mknod_without_a_kind_makes_a_file(stopped):
    """A mode with no kind means a regular file: mknod(2)."""
    call = stopped("Mknod", "mknodat", CWD, PATH, 0o644, os.makedev(1, 3))
    assert (call.kind, call.is_device) == (stat.S_IFREG, False)


def test_i386_ids_have_sixteen_bits(stopped):
    """0xFFFF leaves an id in the old calls, and is an id in the new ones."""
    old = stopped("Chown", "chown", PATH, 0xFFFF, 0x1_0005, arch="i386")
    new = stopped("Chown", "chown32", PATH, 0xFFFF, 0xFFFF_FFFF, arch="i386")
    wide = stopped("Chown", "chown", PATH, 0xFFFF, 0xFFFF_FFFF)
    assert (old.uid, old.gid) == (-1, 5)
    assert (new.uid, new.gid) == (0xFFFF, -1)
    assert (wide.uid, wide.gid) == (0xFFFF, -1)


def test_i386_sizes(stopped):
    """A 64-bit size comes in two registers; a 32-bit one is negative where its sign says so."""
    pair = stopped("Truncate", "truncate64", PATH, 0xFFFF_FFFE, 1, arch="i386")
    short = stopped("Truncate", "truncate", PATH, 0xFFFF_FFFF, arch="i386")
    wide = stopped("Truncate", "truncate", PATH, 0xFFFF_FFFF)
    assert (pair.size, short.size, wide.size) == (0x1_FFFF_FFFE, -1, 0xFFFF_FFFF)


def test_two_paths(stopped):
    """Each path starts at its own directory."""
    call = stopped(
        "Rename", "renameat2", 3, PATH, 4, MORE, 2, memory=TEXTS, roots={3: "/3", 4: "/4"}
    )
    assert (call.oldpath, call.newpath) == (PurePosixPath("/3/a/b"), PurePosixPath("/4/c"))
    assert type(call).flags.render(call) == "RENAME_EXCHANGE"


def test_symlink_text_is_not_a_path(stopped, memory_of):
    """What the link says is only text; where it is made is resolved."""
    call = stopped("Symlink", "symlinkat", PATH, 4, MORE, memory=TEXTS, roots={4: "/4"})
    assert (call.content, call.linkpath) == (b"a/b", PurePosixPath("/4/c"))
    assert memory_of(call).resolved == [(4, b"c", False)]


def test_rmdir_is_an_unlink(stopped):
    """rmdir(2) and unlinkat(2) with AT_REMOVEDIR are the same thing."""
    assert stopped("Unlink", "rmdir", PATH).is_directory
    assert stopped("Unlink", "unlinkat", CWD, PATH, 0x200).is_directory
    assert not stopped("Unlink", "unlink", PATH).is_directory


def test_exec_arguments(stopped):
    """The arguments are a vector of pointers, of the width that the entry has."""
    for arch, word in (("x86_64", 8), ("i386", 4)):
        vector = b"".join(p.to_bytes(word, "little") for p in (PATH, MORE, 0))
        call = stopped(
            "Exec", "execve", PATH, 0x3000, 0, arch=arch, memory={**TEXTS, 0x3000: vector}
        )
        assert call.argv == (b"a/b", b"c")


def test_setxattrat_reads_its_struct(stopped):
    """The value's address, size and flags are behind one pointer."""
    memory = {**TEXTS, 0x3000: pack("<QII", 0x4000, 3, 1), 0x4000: b"abcd"}
    call = stopped("SetXattr", "setxattrat", CWD, PATH, 0, MORE, 0x3000, 16, memory=memory)
    assert (call.name, call.value, call.flags) == (b"c", b"abc", 1)


def test_a_step_of_mounting_has_no_path(stopped):
    """The call fsopen names no place: a rule that asks for one fails, and so fails closed."""
    call = stopped("Mount", "fsopen", PATH, 1, memory=TEXTS)
    assert not call.has_path
    assert call.fstype == b"a/b"
    assert type(call).step_flags.render(call) == "FSOPEN_CLOEXEC"
    with pytest.raises(AttributeError, match="fsopen has no pathname"):
        call.path  # noqa: B018


def test_move_mount_has_two(stopped):
    """The mount point is `path`; the origin, which may be a descriptor, is `from_path`."""
    call = stopped("Mount", "move_mount", 3, 0, CWD, PATH, 4, memory=TEXTS, roots={3: "/tree"})
    assert (call.from_path, call.path) == (PurePosixPath("/tree"), PurePosixPath("/cwd/a/b"))


def test_stopping_the_records_names_no_file(stopped):
    """acct(2) with null stops; there is no path to judge by."""
    call = stopped("Acct", "acct", 0)
    assert call.stops
    with pytest.raises(AttributeError, match="names no file"):
        call.path  # noqa: B018


def test_every_field_of_every_call_can_be_an_event(stopped):
    """Rendering never raises, except where the target's own memory is at fault."""
    page = {0: bytes(0x100), 0x10000: bytes(0x60000)}
    for name, operation in OPERATIONS.items():
        for variant in operation.variants:
            arch = variant.arch or ("i386" if variant.syscall.endswith(("64", "32")) else "x86_64")
            args = [dict(variant.when).get(at, 0x11000 + at) for at in range(6)]
            try:
                call = stopped(name, variant.syscall, *args, arch=arch, memory=page)
            except KeyError:  # the call is of another entry
                call = stopped(name, variant.syscall, *args, arch="i386", memory=page)
            for field in variant.sources:
                shown = operation.fields[field].render(call)
                assert shown is None or isinstance(shown, (int, str, list)), (name, field)

"""Mounts are as natively: what is looked at is not touched, and relative paths are the target's."""

import os

import pytest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root"),
]
LOOKS = """
@on(*PATH_OPERATIONS, Mount, Umount)
def looks(call):
    try:
        call.path
    except AttributeError:
        pass
    return Allow()
"""
TEXT = """
@on(Mount, Umount)
def looks(call):
    getattr(call, "pathname")
    return Allow()
"""
BEGIN = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)

def told(result):
    return errno.errorcode[ctypes.get_errno()] if result else "ok"

def mount(source, where, kind, flags=0, data=None):
    return told(libc.mount(source, where, kind, flags, data))
"""


@pytest.fixture(params=[LOOKS, TEXT], ids=["looks at the path", "looks at the text"])
def both(request, rule, run, native, tmp_path):
    """Run a program natively and under a rule, each in a tmpfs of its own; both say the same."""

    def runner(text):
        program = tmp_path / "program.py"
        program.write_text(BEGIN + text)
        rules = rule(request.param)
        lines = []
        for name in ("native", "performed"):
            folder = tmp_path / name
            folder.mkdir()
            shelter = f'mount -t tmpfs -o mode=755 none {folder}; cd {folder}; exec "$@"'
            before = ("unshare", "--mount", "--propagation", "private", "sh", "-c", shelter, "sh")
            words = ("/usr/bin/python3", str(program))
            if name == "native":
                ran = native(*before, *words)
            else:
                ran = run("--rules", rules, "--", *words, before=before)
            assert ran.status == 0, ran.err
            lines.append(ran.lines)
        assert lines[1] == lines[0]
        return lines[0]

    return runner


def test_a_mount_that_expires(both):
    """umount2(MNT_EXPIRE) marks, and takes away what nobody touched since; by any of its names."""
    said = both("""
for given in (b"e", b"./e", b"e/", os.path.abspath("e").encode(), b"d/../e", b"way/e"):
    os.makedirs("e", exist_ok=True), os.makedirs("d", exist_ok=True)
    os.path.lexists("way") or os.symlink(".", "way")
    print(mount(b"t", b"e", b"tmpfs"))
    print(*(told(libc.umount2(given, 4)) for _ in range(2)))
    print(mount(b"t", b"e", b"tmpfs"))
    print(told(libc.umount2(given, 4)), os.listdir("e"), told(libc.umount2(given, 4)))
    print(told(libc.umount2(given, 4 | 8)), told(libc.umount2(given, 8)))
print(told(libc.umount2(b"d", 4)), told(libc.umount2(b"none", 4)), told(libc.umount2(b"e", 6)))
""")
    assert said[1] == "EAGAIN ok"


OVERLAY = """
for name in ("lower", "upper", "work", "on", "in/on"):
    os.makedirs(name)
open("lower/file", "w").close()
os.symlink("lower", "link"), os.symlink(os.path.abspath("on"), "onto")
here = os.getcwd().encode()

def overlay(where, *options):
    said = mount(b"overlay", where, b"overlay", 0, b",".join(options))
    found = sorted(os.listdir(where))
    took = told(libc.umount2(where, 0))
    print(where.replace(here, b"HERE"), said, found, took, os.listdir("on"))
"""


def test_options_with_relative_paths(both):
    """Directories of an overlay are the target's, from its working directory and its root."""
    said = both(
        OVERLAY
        + """
parts = b"upperdir=upper", b"workdir=work"
overlay(b"on", b"lowerdir=lower", *parts)
overlay(b"onto", b"lowerdir=./link", *parts)
overlay(here + b"/on", b"lowerdir=" + here + b"/lower", *parts)
overlay(b"in/on", b"lowerdir=in/../lower", b"upperdir=" + here + b"/upper", b"workdir=work")
overlay(b"on", b"lowerdir=none", *parts)
overlay(b"on", b"lowerdir=0:3:5")
os.chdir("in")
overlay(b"../on", b"lowerdir=../lower:../upper") if os.path.isdir("on") else print("no")
os.chdir("..")
open("file", "w").close()
print(mount(b"overlay", b"file", b"overlay", 0, b"lowerdir=lower:upper"))
print(mount(b"file", b"on", b"ext4"), mount(b"none", b"on", b"ext4"), mount(b"0", b"on", b"ext4"))
print(mount(b"overlay", b"on", b"none such"), mount(b"overlay", b"missing", b"overlay"))
os.chroot("."), os.chdir("/in")
overlay(b"/on", b"lowerdir=../lower:/upper") if os.path.isdir("on") else print("no")
"""
    )
    assert said[0] == "b'on' ok [b'file'] ok []"


def test_what_is_mounted_so_shows_nowhere_else(both):
    """In the target's own mount namespace, and where that one's mounts show."""
    said = both(
        OVERLAY
        + """
mount(b"lower", b"lower", None, 0x1000), mount(None, b"lower", None, 1 << 20)
os.makedirs("peer"), os.makedirs("lower/inner")
mount(b"lower", b"peer", None, 0x1000)
before = len(open("/proc/self/mountinfo").readlines())
print(mount(b"overlay", b"lower/inner", b"overlay", 0, b"lowerdir=upper:on"))
print(len(open("/proc/self/mountinfo").readlines()) - before)
print(told(libc.umount2(b"peer/inner", 0)))
print(len(open("/proc/self/mountinfo").readlines()) - before)
"""
    )
    assert said[:2] == ["ok", "2"]

"""openat2 with RESOLVE_IN_ROOT behind a rule on paths, while another thread exchanges a link."""

import sys

import pytest

PROGRAM = """
import ctypes, os, struct, sys, threading, time

RESOLVE_IN_ROOT, OPENAT2, AT_FDCWD = 0x10, 437, -100
libc = ctypes.CDLL(None, use_errno=True)
going = True

def exchange():
    at = 0
    while going:
        at ^= 1
        os.symlink(["/good", "../../../secret"][at], "next")
        os.rename("next", "link")

def open2(path, flags, mode):
    how = struct.pack("QQQ", flags, mode, RESOLVE_IN_ROOT)
    fd = libc.syscall(OPENAT2, AT_FDCWD, path, how, len(how))
    if fd < 0:
        return os.strerror(ctypes.get_errno())
    try:
        return os.read(fd, 9).decode()
    finally:
        os.close(fd)

for name in ("good", "secret"):
    os.mkdir(name)
    with open(name + "/file", "w") as file:
        file.write(name)
os.symlink("/good", "link")
thread = threading.Thread(target=exchange)
thread.start()
seen, until, most = set(), time.monotonic() + 30, int(sys.argv[1])
for at in range(most):
    flags, mode = ((os.O_RDONLY, 0), (os.O_RDWR | os.O_CREAT, 0o600))[at % 2]
    seen.add(open2((b"/link/file", b"../link/file")[at % 3 == 0], flags, mode))
    if time.monotonic() > until or len(sys.argv) > 2 and set(sys.argv[2:]) <= seen:
        break
going = False
thread.join()
print(*sorted(seen), sep="; ")
"""
JUDGES = """
@on(Open)
def judges(call):
    if call.syscall != "openat2":
        return Allow()
    return Deny(errno.EACCES) if "secret" in call.path.parts else {}
"""
BOTH = ("good", "secret")
# What leads up, while anything is renamed: openat2(2). And what moves each time it is looked at.
AGAIN = ("Resource temporarily unavailable",)


@pytest.fixture
def opens(run, rule, native, tmp_path):
    """Run the program alone, or behind a rule that judges with `Allow()` or `Continue()`."""

    def runner(verdict, *words):
        folder = tmp_path / "here"
        folder.mkdir()
        line = (sys.executable, "-c", PROGRAM, *words)
        if not verdict:
            return native(*line, cwd=folder)
        text = rule("import errno\n" + JUDGES.format(verdict), pulse=False)
        return run("--rules", text, "--", *line, cwd=folder)

    return runner


def test_what_is_opened_is_what_was_judged(opens):
    """The link means the secret half of the time, and nothing of it is ever read."""
    ran = opens("Allow()", "400")
    assert ran.status == 0, ran.err
    assert set(ran.out.strip().split("; ")) <= {"good", "Permission denied", *AGAIN}
    assert "Permission denied" in ran.out


@pytest.mark.parametrize("verdict", ["", "Continue()"])
def test_the_attack_succeeds_where_nobody_compares(verdict, opens):
    """Natively, and where the kernel reads the path again."""
    ran = opens(verdict, "1000000", *BOTH)
    assert set(BOTH) <= set(ran.out.strip().split("; ")), ran.err

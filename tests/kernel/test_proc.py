"""What /proc tells: parsed from bytes, and read from the running kernel."""

import errno
import os
import signal
import threading

import pytest

from notifyd.kernel import prctl, proc
from notifyd.kernel.libc import LIBC

TEXT = b"""Name:\tbad\\nTgid:\\t1\\\\n
Umask:\t0027
State:\tS (sleeping)
Tgid:\t100
Pid:\t101
PPid:\t7
Uid:\t1\t2\t3\t4
Gid:\t5\t6\t7\t8
FDSize:\t64
Groups:\t10 4294967294 
CapInh:\t0000000000000001
CapPrm:\t0000000000000002
CapEff:\t0000000000000004
CapBnd:\t000001ffffffffff
CapAmb:\t0000000000000008
NoNewPrivs:\t1
Seccomp:\t2
"""  # noqa: W291


def test_status():
    """Every field is read, and a name with escapes forges none of them."""
    status = proc.parse_status(TEXT)
    assert status == proc.TaskStatus(
        name=b"bad\nTgid:\\t1\\n",
        umask=0o27,
        tgid=100,
        ppid=7,
        uid=(1, 2, 3, 4),
        gid=(5, 6, 7, 8),
        groups=(10, 4294967294),
        cap_inheritable=1,
        cap_permitted=2,
        cap_effective=4,
        cap_bounding=0x1FFFFFFFFFF,
        cap_ambient=8,
        no_new_privs=True,
        seccomp=2,
    )


@pytest.mark.parametrize("missing", [b"Umask", b"CapAmb", b"NoNewPrivs", b"Seccomp"])
def test_status_of_an_old_kernel(missing):
    """Fields that some kernels leave out have a value that says so."""
    text = b"\n".join(line for line in TEXT.split(b"\n") if not line.startswith(missing))
    status = proc.parse_status(text)
    assert (status.umask == -1) == (missing == b"Umask")


@pytest.mark.parametrize("text", [b"", TEXT.replace(b"Uid:", b"Uix:"), TEXT.replace(b"100", b"x")])
def test_not_a_status(text):
    """Text that is no status is a ValueError."""
    with pytest.raises(ValueError):
        proc.parse_status(text)


@pytest.mark.parametrize("name", [b"sh", b"a b", b"x) R 1 2 (", b")", b"", b"\xff\n"])
def test_start_time(name):
    """The start is the 22nd field, whatever the name looks like."""
    rest = b" ".join(str(number).encode() for number in range(4, 53))
    assert proc.start_time(b"17 (" + name + b") S " + rest + b"\n") == 22


@pytest.mark.parametrize("text", [b"", b"17 (sh", b"17 (sh) S 1 2 3"])
def test_not_a_stat(text):
    """Text that is no stat is a ValueError."""
    with pytest.raises(ValueError):
        proc.start_time(text)


@pytest.fixture
def self_dir():
    """The directory of our own process."""
    fd = proc.open_dir(os.getpid())
    yield fd
    os.close(fd)


def test_own_status(self_dir):
    """The running kernel's status of ourselves is what we know of ourselves."""
    status = proc.read_status(self_dir)
    assert status.uid[:3] == os.getresuid()
    assert status.gid[:3] == os.getresgid()
    assert set(status.groups) == set(os.getgroups())
    assert (status.tgid, status.ppid) == (os.getpid(), os.getppid())
    umask = os.umask(0)
    os.umask(umask)
    assert status.umask == umask
    assert status.no_new_privs == prctl.get_no_new_privs()


def test_own_paths(self_dir):
    """Program, working directory and arguments are ours."""
    assert proc.exe(self_dir) == os.readlink(b"/proc/self/exe")
    assert proc.cwd(self_dir) == os.getcwdb()
    assert proc.cmdline(self_dir)[0].endswith(b"python")


def test_strange_name_on_the_real_kernel():
    """A thread that calls itself something nasty is still read rightly."""
    names, starts = [], []

    def run():
        LIBC.prctl(15, b"a) R \n\\ (b")  # PR_SET_NAME
        fd = proc.open_dir(threading.get_native_id())
        try:
            names.append(proc.read_status(fd).name)
            starts.append(proc.start_time(proc.read_stat(fd)))
        finally:
            os.close(fd)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert names == [b"a) R \n\\ (b"]
    assert starts[0] > 0


def test_start_time_tells_processes_apart(self_dir):
    """Start times of the kernel grow from the parent to the child."""
    fd = proc.open_dir(os.getppid())
    try:
        before = proc.start_time(proc.read_stat(fd))
    finally:
        os.close(fd)
    assert before <= proc.start_time(proc.read_stat(self_dir))


def test_ended():
    """The directory of a process that ended is never another's: every reader fails."""
    pid = os.fork()
    if not pid:
        signal.pause()
    fd = proc.open_dir(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert proc.cmdline(fd) == []
        os.waitpid(pid, 0)
        for reader in (proc.read_status, proc.read_stat, proc.exe, proc.cwd, proc.cmdline):
            with pytest.raises(OSError) as caught:
                reader(fd)
            assert caught.value.errno in (errno.ESRCH, errno.ENOENT)
    finally:
        os.close(fd)
    with pytest.raises(FileNotFoundError):
        proc.open_dir(pid)


def test_reads_are_bounded(self_dir):
    """A file that is longer than expected is EFBIG, not memory."""
    with pytest.raises(OSError) as caught:
        proc._read(self_dir, "maps", 100)
    assert caught.value.errno == errno.EFBIG


def test_limit_of_what_has_ended(tmp_path):
    """Who has no limits any more is gone: the kernel gives an empty file then."""
    (tmp_path / "limits").touch()
    directory = os.open(tmp_path, os.O_PATH)
    try:
        with pytest.raises(ProcessLookupError):
            proc.limit(directory, b"Max open files")
    finally:
        os.close(directory)

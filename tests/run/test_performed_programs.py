"""Programs that people use, with every call on paths and sockets performed: the same outcome.

Each runs twice, alone and under rules/performer.py, in folders made alike; by root, by a user whom
notifyd runs it for, and by a user who runs notifyd himself.
"""

import os
import shutil
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PERFORMER = ("--rules", str(HERE / "rules" / "performer.py"))
TREES = (sys.executable, str(HERE / "programs" / "trees.py"))
BECOME = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
ONESELF = "oneself"
FOR_NOBODY = pytest.param("for nobody", marks=pytest.mark.root)
NOBODY = pytest.param("nobody", marks=pytest.mark.root)
WHO = [ONESELF, FOR_NOBODY, NOBODY]


def only(*who):
    """Not by everybody: what takes long."""
    return pytest.mark.parametrize("both", who, indirect=True)


class Both:
    """Runs a command alone and performed, each in a folder of its own.

    Attributes:
        alone: the folder of the command that runs alone.
        ours: that of the one that runs under notifyd.
        who: one of `WHO`.
    """

    def __init__(self, who, run, native, top):
        self.alone, self.ours = top / "a" / "here", top / "b" / "here"
        self.who, self._run, self._native = who, run, native
        for folder in (self.alone, self.ours):
            folder.mkdir(parents=True)
            self._give(folder)
            self._give(folder.parent)

    def _give(self, path):
        if self.who != "oneself":
            shutil.chown(path, "nobody", "nogroup")

    def lay(self, name, data):
        """A file in both folders."""
        for folder in (self.alone, self.ours):
            (folder / name).write_bytes(data)
            self._give(folder / name)

    def __call__(self, *words, env=None, status=0):
        """Run it in both; it has to end and say the same. Returns the run under notifyd."""
        env = {**os.environ, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **(env or {})}
        before = BECOME if self.who != "oneself" else ()
        alone = self._native(*before, *words, cwd=self.alone, env=env)
        assert alone.status == status, (alone.out, alone.err)
        options = ("--user", "nobody") if self.who == "for nobody" else ()
        before = before if self.who == "nobody" else ()
        words = ("env", "-u", "PYTHONPATH", *words)
        env["PYTHONPATH"] = str(HERE.parents[1])
        ran = self._run(*PERFORMER, *options, "--", *words, cwd=self.ours, env=env, before=before)
        odd = [one for one in ran.events if one["event"] != "call" or "reason" in one]
        assert ran.err.splitlines() == alone.err.splitlines(), (ran.status, ran.err, odd)
        assert (ran.status, ran.lines) == (alone.status, alone.lines)
        refused = [one for one in ran.calls if one["verdict"] == "deny" and "reason" in one]
        assert [one for one in refused if one["errno"] == "EPERM"] == []
        assert {one["how"] for one in ran.calls if one["operation"] != "Exec"} >= {"performed"}
        return ran

    def alike(self, name):
        """Whether both folders have the same tree of that name."""
        return self.shown(self.alone / name) == self.shown(self.ours / name)

    def shown(self, folder):
        """What trees.py says of a folder to whoever runs the tests."""
        return self._native(*TREES, "show", str(folder)).lines


@pytest.fixture(params=WHO)
def both(request, run, native, here):
    """Run commands alone and performed."""
    here.parent.chmod(0o1777)  # the audit file of a user's own notifyd lies in it, and our rules
    return Both(request.param, run, native, here)


def shell(script):
    """The words of a shell that stops at the first failure."""
    return "sh", "-euc", textwrap.dedent(script)


GIT = """
git init -q source; cd source; git config user.email a@b; git config user.name c
for i in $(seq 5); do
    mkdir d$i; seq $i > d$i/f$i; ln -s f$i d$i/link
    git add .; git commit -q -m "$i"
done
chmod +x d1/f1; git mv d2/f2 moved; git rm -q d3/f3; git commit -q -am more
git tag -a -m tagged v1; git branch other HEAD~3; git gc -q; git fsck --full --strict
git clone -q . ../copy; git clone -q --no-hardlinks --bare . ../bare; cd ../copy
echo new > new; git stash -q -u; git checkout -q -b other origin/other; git merge -q origin/HEAD
git worktree add -q ../tree HEAD~2; git log --format=%H%n%s --stat; git status; git fsck --full
git show-ref; cd ..; find . -name '*.lock'
find . -path '*/refs/*' -o -name '*.pack' | LC_ALL=C sort
"""


@only(ONESELF, FOR_NOBODY)
def test_git(both):
    """Repositories are made, filled, packed, checked, cloned, merged, and are the same."""
    dates = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "@1000000000 +0000")
    alone = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    ran = both(*shell(GIT), env={**dates, **alone})
    assert "refs/tags/v1" in ran.out
    assert len(ran.of("Rename")) > 20


@only(ONESELF, NOBODY)
def test_make(both):
    """Four jobs at a time make twenty objects that depend on a header that is made first."""
    count = range(20)
    makefile = f"""\
    program: {" ".join(f"part{at}.o" for at in count)}
    \t$(CC) -o $@ $^
    %.o: %.c made.h
    \t$(CC) -O1 -c -o $@ $<
    made.h:
    \techo '#include <stdio.h>' > $@.new && mv $@.new $@
    """
    both.lay("Makefile", textwrap.dedent(makefile).encode())
    for at in count:
        name = f"part{at}" if at else "main"
        text = f'#include "made.h"\nint {name}(void) {{ return puts("{at}") < 0; }}\n'
        both.lay(f"part{at}.c", text.encode())
    ran = both(*shell("make -s -j4; ./program; make -q; sha256sum program *.o"))
    assert ran.lines[0] == "0"


SQLITE = """
import os, sqlite3, subprocess, sys

def connect():
    return sqlite3.connect("data.sqlite", timeout=60)

def write(who):
    base = connect()
    for at in range(40):
        with base:
            base.execute("insert into rows values (?, ?)", (who, at))

if len(sys.argv) > 1:
    sys.exit(write(int(sys.argv[1])))
base = connect()
print(base.execute("pragma journal_mode=wal").fetchall())
with base:
    base.execute("create table rows (who, at)")
print(sorted(os.listdir(".")))
writers = [subprocess.Popen([sys.executable, "write.py", str(at)]) for at in range(4)]
print([one.wait() for one in writers])
print(base.execute("pragma integrity_check").fetchall())
print(base.execute("select who, count(*), sum(at) from rows group by who").fetchall())
base.close()
print(sorted(os.listdir(".")))
"""


@only(ONESELF, FOR_NOBODY)
def test_sqlite(both):
    """Four processes write to one database in WAL mode, and no row is lost."""
    both.lay("write.py", SQLITE.encode())
    ran = both(sys.executable, "write.py")
    assert ran.lines[2:4] == ["[0, 0, 0, 0]", "[('ok',)]"]
    assert "data.sqlite-wal" in ran.lines[1]


def wheel(path):
    """A wheel of some modules and a script."""
    info = "odd-1.0.dist-info"
    files = {
        "odd/__init__.py": "def main():\n    print('odd')\n",
        **{f"odd/m{at}.py": f"x = {at}\n" for at in range(20)},
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nodd = odd:main\n",
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
        listed = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
        file.writestr(f"{info}/RECORD", listed)


@only(FOR_NOBODY)
def test_pip(both, tmp_path):
    """An environment is made, a wheel is installed into it."""
    wheel(tmp_path / "odd-1.0-py3-none-any.whl")
    pip = f"{sys.executable} -m pip --no-cache-dir --python env/bin/python"
    script = f"""
    {sys.executable} -m venv --without-pip env
    {pip} install -q --no-index {tmp_path}/odd-1.0-py3-none-any.whl
    env/bin/odd; env/bin/python -c 'import odd.m7; print(odd.m7.x)'; find env | LC_ALL=C sort"""
    ran = both(*shell(script), env={"PIP_DISABLE_PIP_VERSION_CHECK": "1", "TMPDIR": "/tmp"})
    assert ran.lines[:2] == ["odd", "7"]


def test_a_tree_grows(both):
    """Every type of file is made, linked, owned, dated, given attributes, read and removed."""
    both(*TREES, "grow", "tree")
    assert both.alike("tree")
    both(*TREES, "show", "tree")
    both(*shell("rm -r tree; ls"))


TAR = "tar --format=posix --xattrs --xattrs-include=* --acls --warning=no-timestamp"


def test_tar(both):
    """An archive of the tree is the same bytes, and unpacked the same tree."""
    both(*TREES, "grow", "tree")
    # An archive of sparse files has the number of the process in it, so there are two.
    script = f"""
    pack() {{ {TAR} --sort=name --ignore-failed-read -C tree "$@" . 2> said || true; }}
    pack -cf tree.tar --pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime
    pack -cf sparse.tar --sparse
    {TAR} -tvf tree.tar; sha256sum tree.tar said; mkdir out; {TAR} -C out -xpf sparse.tar"""
    both(*shell(script))
    assert both.alike("out")
    whole = [line for line in both.shown(both.ours / "tree") if "socket" not in line]
    if both.who == "oneself" and os.geteuid() == 0:  # others cannot read all of it
        assert whole == both.shown(both.ours / "out")


def test_rsync(both):
    """A copy is the tree, and after changes it is that again."""
    both(*TREES, "grow", "tree")
    # chmod: a user cannot copy what he cannot read, and no rsync can change the mode of a socket
    # that it made, since it wants an O_PATH descriptor for that: docs, What cannot be kept.
    script = """
    chmod u+r tree/locked; chmod 700 tree/socket; rsync -aHAXS@-1 tree/ copy
    rm -r tree/d/e; mv tree/plain tree/moved; echo more >> tree/d/exec; touch -d @1 tree/d/exec
    rsync -aHAXS@-1 --delete -i tree/ copy; rsync -aHAXS@-1 --delete -i tree/ copy"""
    ran = both(*shell(script))
    assert "*deleting" in ran.out
    assert both.shown(both.ours / "copy") == both.shown(both.ours / "tree")


@pytest.mark.parametrize("entry", ["-m64", "-m32"])
def test_what_file_systems_say(both, build, entry):
    """All of statfs(2), in the layout of the program's own entry, and what is wrong with a call."""
    ran = both(build("statfs", entry), "/proc", "/sys")
    assert [line.split()[:2] for line in ran.lines[:2]] == [["statfs", "0"], ["fstatfs", "0"]]
    many = 9 if entry == "-m32" else 3
    assert len(ran.lines) == 2 * many

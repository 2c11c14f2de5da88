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
WHO = [
    "oneself",
    pytest.param("for nobody", marks=pytest.mark.root),
    pytest.param("nobody", marks=pytest.mark.root),
]


class Both:
    """Runs a command alone and performed, each in a folder of its own.

    Attributes:
        alone: the folder of the command that runs alone.
        ours: that of the one that runs under notifyd.
    """

    def __init__(self, who, run, native, top):
        self.alone, self.ours = top / "a" / "here", top / "b" / "here"
        self._who, self._run, self._native = who, run, native
        for folder in (self.alone, self.ours):
            folder.mkdir(parents=True)
            self._give(folder)
            self._give(folder.parent)

    def _give(self, path):
        if self._who != "oneself":
            shutil.chown(path, "nobody", "nogroup")

    def lay(self, name, data):
        """A file in both folders."""
        for folder in (self.alone, self.ours):
            (folder / name).write_bytes(data)
            self._give(folder / name)

    def __call__(self, *words, env=None, status=0):
        """Run it in both; it has to end and say the same. Returns the run under notifyd."""
        env = {**os.environ, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **(env or {})}
        before = BECOME if self._who != "oneself" else ()
        alone = self._native(*before, *words, cwd=self.alone, env=env)
        assert alone.status == status, (alone.out, alone.err)
        options = ("--user", "nobody") if self._who == "for nobody" else ()
        before = before if self._who == "nobody" else ()
        words = ("env", "-u", "PYTHONPATH", *words)
        env["PYTHONPATH"] = str(HERE.parents[1])
        ran = self._run(*PERFORMER, *options, "--", *words, cwd=self.ours, env=env, before=before)
        assert (ran.status, ran.out, ran.err) == (alone.status, alone.out, alone.err)
        refused = [one for one in ran.calls if one["verdict"] == "deny" and "reason" in one]
        assert [one for one in refused if one["errno"] == "EPERM"] == []
        assert {one["how"] for one in ran.calls if one["operation"] != "Exec"} >= {"performed"}
        return ran

    def alike(self):
        """Everything below both folders is equal, but for the times of what they made."""
        return self.shown(self.alone) == self.shown(self.ours)

    def shown(self, folder):
        """What trees.py says of a folder, by root, if that is who runs the tests."""
        return self._native(*TREES, "show", str(folder)).lines


@pytest.fixture(params=WHO)
def both(request, run, native, here):
    """Run commands alone and performed."""
    here.parent.chmod(0o777)  # the audit file of a user's own notifyd lies in it
    return Both(request.param, run, native, here)


def shell(script):
    """The words of a shell that stops at the first failure."""
    return "sh", "-euc", textwrap.dedent(script)


GIT = """
git init -q source; cd source; git config user.email a@b; git config user.name c
for i in $(seq 5); do
    mkdir d$i; seq $i > d$i/f$i; ln -s f$i d$i/link
    git add .; git commit -q -m "$i" --date=@1000000000
done
chmod +x d1/f1; git mv d2/f2 moved; git rm -q d3/f3; git commit -q -am more --date=@1000000000
git tag -a -m tagged v1; git branch other HEAD~3; git gc -q; git fsck --full --strict
git clone -q . ../copy; git clone -q --no-hardlinks --bare . ../bare; cd ../copy
echo new > new; git stash -q -u; git checkout -q -b other origin/other; git merge -q origin/HEAD
git worktree add -q ../tree HEAD~2; git log --format=%H%n%s --stat; git status; git fsck --full
git show-ref; cd ..; find . -name '*.lock'; find . -path '*/refs/*' -o -name '*.pack' | LC_ALL=C sort
"""


def test_git(both):
    """Repositories are made, filled, packed, checked, cloned, merged, and are the same."""
    date = {"GIT_COMMITTER_DATE": "@1000000000 +0000", "GIT_CONFIG_NOSYSTEM": "1"}
    ran = both(*shell(GIT), env={**date, "GIT_CONFIG_GLOBAL": "/dev/null"})
    assert "refs/tags/v1" in ran.out
    assert len(ran.of("Rename")) > 20


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


def test_pip(both, tmp_path):
    """An environment is made, a wheel is installed into it and taken out again."""
    wheel(tmp_path / "odd-1.0-py3-none-any.whl")
    pip = f"{sys.executable} -m pip --no-cache-dir --python env/bin/python"
    script = f"""
    {sys.executable} -m venv --without-pip env
    {pip} install -q --no-index {tmp_path}/odd-1.0-py3-none-any.whl
    env/bin/odd; env/bin/python -c 'import odd.m7; print(odd.m7.x)'; find env | LC_ALL=C sort
    {pip} uninstall -q -y odd; find env | LC_ALL=C sort | tail -n 5"""
    ran = both(*shell(script), env={"PIP_DISABLE_PIP_VERSION_CHECK": "1", "TMPDIR": "/tmp"})
    assert ran.lines[:2] == ["odd", "7"]


def test_a_tree_grows(both):
    """Every type of file is made, linked, owned, dated and given attributes."""
    both(*TREES, "grow", "tree")
    assert both.alike()
    both(*TREES, "show", "tree")
    both(*shell("rm -r tree; ls"), status=0)


PACK = "--format=posix --sparse --xattrs --xattrs-include=* --acls --sort=name"


def test_tar(both):
    """A packed and unpacked tree is the tree, and the archives are the same bytes."""
    script = f"""
    tar {PACK} -C tree --pax-option=delete=atime,delete=ctime -cf tree.tar . 2>/dev/null || true
    sha256sum tree.tar; mkdir out
    tar {PACK} -C out -xpf tree.tar; tar -tvf tree.tar; tar -df tree.tar -C tree"""
    both(*TREES, "grow", "tree")
    both(*shell(script))
    assert both.shown(both.ours / "out") == both.shown(both.alone / "out")


def test_rsync(both):
    """A copy is the tree, and after changes it is that again."""
    both(*TREES, "grow", "tree")
    options = "-aHAX --open-noatime --delete"
    hidden = "" if os.geteuid() else "--exclude=/no-such"
    script = f"""
    chmod u+r tree/locked; rsync {options} {hidden} tree/ copy
    rm -r tree/d/e; mv tree/plain tree/moved; echo more >> tree/d/exec; touch -d @1 tree/d/exec
    rsync {options} -i {hidden} tree/ copy; rsync {options} -i {hidden} tree/ copy"""
    ran = both(*shell(script))
    assert "deleting" in ran.out
    assert both.shown(both.ours / "copy") == both.shown(both.ours / "tree")

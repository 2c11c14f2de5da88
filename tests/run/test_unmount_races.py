"""What a rule saw is what is unmounted, however quickly another is put in its place."""

import json
import os

import pytest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root"),
]
KEEPS = """
@on(Umount)
def keeps(call):
    return Deny(errno.EPERM) if "kept" in call.path.parts else Allow()
"""
# A link that leads to one mount point and then to another. It ends when the kept one is gone, or
# when so many calls went either way.
RACE = """
import ctypes, json, os, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
TRIES, PATIENCE, EXCHANGE = int(sys.argv[1]), 60, 2

def fill(place):
    assert not libc.mount(b"none", place, b"tmpfs", 0, b"size=4k")
    os.mkdir(place + b"/in")

for place in (b"free/m", b"kept/m"):
    os.makedirs(place)
    fill(place)
for name, place in ((b"one", b"free/m"), (b"two", b"kept/m")):
    os.symlink(place, name)
    os.symlink(place + b"/in", b"in-" + name)
PAIRS = [(b"one", b"two"), (b"in-one", b"in-two")]
NAMES = [b"one/", b"one//", b"one/.", b"one/./", b"in-one/..", b"in-one/../", b"one"]
kept = os.stat(b"kept/m").st_dev
racer = os.fork()
if not racer:
    while True:
        for pair in PAIRS:
            libc.renameat2(-100, pair[0], -100, pair[1], EXCHANGE)

def stands():
    return any(line.split()[2] == f"{os.major(kept)}:{os.minor(kept)}"
               for line in open("/proc/self/mountinfo"))

def refill():
    # Stopped, so that it is where it belongs.
    os.kill(racer, signal.SIGSTOP)
    os.waitid(os.P_PID, racer, os.WSTOPPED)
    for name in (b"free/m", b"kept/m"):
        if not os.path.exists(name + b"/in"):
            fill(name)
    os.kill(racer, signal.SIGCONT)

done = refused = 0
until = time.monotonic() + PATIENCE
while stands() and min(done, refused) < TRIES and time.monotonic() < until:
    for name in NAMES:
        took = libc.umount2(name, 2 * (done % 2))  # MNT_DETACH, and without
        if not took:
            done += 1
            if not stands():
                break
            refill()
        elif ctypes.get_errno() == 1:
            refused += 1
os.kill(racer, signal.SIGKILL)
print(json.dumps({"stands": stands(), "done": done, "refused": refused}))
"""


@pytest.fixture
def race(run, native, tmp_path):
    """`race(tries, rules)`: what came of it, natively where there are no rules."""
    program = tmp_path / "race.py"
    program.write_text(RACE)
    shelter = f'mount -t tmpfs -o mode=755 none {tmp_path}/at; cd {tmp_path}/at; exec "$@"'
    before = ("unshare", "--mount", "--propagation", "private", "sh", "-c", shelter, "sh")
    (tmp_path / "at").mkdir()

    def came(tries, rules=None):
        words = ("/usr/bin/python3", str(program), str(tries))
        if rules is None:
            ran = native(*before, *words)
        else:
            ran = run("--rules", rules, "--", *words, before=before, patience=120)
        assert ran.status == 0, ran.err
        return json.loads(ran.out)

    return came


def test_no_other_mount_is_taken_away(race, rule):
    """By none of its names: with slashes and dots at the end, too, what is judged is compared."""
    assert race(50)["stands"] is False  # as it is without a rule
    came = race(50, rule(KEEPS))
    assert came["stands"] is True, came
    assert came["done"], came
    assert came["refused"], came

"""Loading the configuration anew: all or nothing, for those that are here and those that come."""

import os
import shutil
import signal
import time

import pytest
import trio
import trio.testing

from notifyd.daemon.daemon import Daemon
from notifyd.daemon.reload import _HURRIED, _SETTLE_S, Reloader
from notifyd.daemon.sd_notify import Manager
from notifyd.errors import UsageError

CONFIGURATION = """
watch = false
[sockets.oci]
path = "{here}/oci.sock"
[[workload]]
name = "all"
rules = ["./rule.py"]
"""


@pytest.fixture
def reloading(serve, tmp_path):
    """A daemon under a rule file of the test's."""

    def begin(text=CONFIGURATION):
        return serve(text.replace("./rule.py", str(tmp_path / "rule.py")))

    (tmp_path / "rule.py").write_text(_rule("one"))
    return begin


def _rule(name: str) -> str:
    return (
        "from notifyd import Return, Uname, on\n"
        "@on(Uname)\n"
        "def answer(call):\n"
        f"    return Return(0, memory={{call.buffer: b'{name}'.ljust(65, bytes(1)) * 6}})\n"
    )


@pytest.fixture
def asking(behind, tmp_path):
    """A command that writes what uname says into a file, again and again."""

    def begin(service, name="asking"):
        said = tmp_path / name
        script = f"while :; do uname -n >{said}.new; mv {said}.new {said}; sleep 0.02; done"
        one = behind(["sh", "-c", script], "fake-hostname")
        service.send("oci", service.state(name, one.pid), [one.listener])
        os.close(one.listener)
        one.listener = None
        return said

    return begin


def _says(path, text: str) -> None:
    end = time.monotonic() + 20
    found = ""
    while time.monotonic() < end:
        if path.exists():
            found = path.read_text().strip()
        if found == text:
            return
        time.sleep(0.01)
    raise AssertionError(f"{found!r} and not {text!r}")


def test_sighup(reloading, asking, tmp_path):
    """A workload is decided by the new rules from its next call on."""
    service = reloading()
    said = asking(service)
    _says(said, "one")
    (tmp_path / "rule.py").write_text(_rule("two"))
    service.process.send_signal(signal.SIGHUP)
    _says(said, "two")
    loaded = service.wait_for("rules.loaded", why="SIGHUP")
    assert loaded["section"] == "all"


def test_nothing_of_a_bad_one(reloading, asking, tmp_path):
    """A mistake anywhere leaves everything as it was, and is told with file and line."""
    service = reloading()
    said = asking(service)
    _says(said, "one")
    (tmp_path / "rule.py").write_text(_rule("two") + "\ndef broken(:\n")
    service.process.send_signal(signal.SIGHUP)
    rejected = service.wait_for("rules.rejected")
    assert f"{tmp_path}/rule.py:6" in rejected["reason"]
    _says(said, "one")
    (tmp_path / "rule.py").write_text(_rule("three"))
    service.process.send_signal(signal.SIGHUP)
    _says(said, "three")


def test_changed_files(reloading, asking, tmp_path):
    """Watched files are loaded by themselves."""
    service = reloading(CONFIGURATION.replace("watch = false", "watch = true"))
    said = asking(service)
    _says(said, "one")
    (tmp_path / "rule.py").write_text(_rule("two"))
    _says(said, "two")
    service.write(service.config.read_text().partition("\n")[2] + "\n# more\n")
    end = time.monotonic() + 20
    while len(service.events("rules.loaded")) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    assert len(service.events("rules.loaded")) >= 2


def test_written_in_pieces(reloading, asking, tmp_path):
    """A file that is being written is not obeyed before it is whole."""
    service = reloading(CONFIGURATION.replace("watch = false", "watch = true"))
    said = asking(service)
    _says(said, "one")
    begun = last = time.monotonic()
    pause = 0.0
    with (tmp_path / "rule.py").open("w", buffering=1) as file:
        text = _rule("half").replace("b'half'", "name")
        for line in ("name = b'half'", *text.splitlines(), *["#"] * 20, "name = b'whole'"):
            file.write(line + "\n")
            last, pause = time.monotonic(), max(pause, time.monotonic() - last)
            time.sleep(0.03)
            found, now = said.read_text().strip(), time.monotonic()
            # Whoever pauses, or goes on for ever, cannot be told from one who has finished.
            slow = max(pause, now - last) > _SETTLE_S or now - begun > _SETTLE_S * _HURRIED
            assert slow or found in ("", "one")
    _says(said, "whole")


def test_what_is_watched_follows(reloading, asking, tmp_path):
    """After a reload by hand that names another file, that one is watched."""
    service = reloading(CONFIGURATION.replace("watch = false", "watch = true"))
    said = asking(service)
    _says(said, "one")
    (tmp_path / "more").mkdir()
    other = tmp_path / "more" / "other.py"
    other.write_text(_rule("two"))
    text = service.config.read_text().partition("\n")[2]
    service.write(text.replace(f"{tmp_path}/rule.py", str(other)))
    service.process.send_signal(signal.SIGHUP)
    _says(said, "two")
    other.write_text(_rule("three"))
    _says(said, "three")


def test_a_bad_file_is_tried_once(reloading, tmp_path):
    """What was rejected is not tried again before it changes."""
    service = reloading(CONFIGURATION.replace("watch = false", "watch = true"))
    for number in (1, 2):
        (tmp_path / "rule.py").write_text(f"broken {number}\n")
        service.until(lambda number=number: len(service.events("rules.rejected")) == number)
        time.sleep(1.5)  # longer than from one look to the next
        assert len(service.events("rules.rejected")) == number


def test_what_cannot_change(reloading):
    """What takes a restart is said; all else is in force."""
    service = reloading()
    text = CONFIGURATION.replace("oci.sock", "other.sock").replace("watch = false", "watch = true")
    service.write(text.replace('name = "all"', 'name = "every"').replace("./rule.py", "no-network"))
    service.process.send_signal(signal.SIGHUP)
    service.wait_for("rules.loaded", section="every")
    notes = {event["reason"] for event in service.events("reload.note")}
    assert notes == {
        "watch has changed: restart notifyd for that",
        "sockets.oci has changed: restart notifyd for that",
    }


def test_no_section_any_more(reloading, asking):
    """A workload that nothing fits any more keeps its rules; a new one is refused."""
    service = reloading()
    said = asking(service)
    _says(said, "one")
    text = service.config.read_text().partition("\n")[2]
    service.write(text + 'match.id = "other"\n')
    service.process.send_signal(signal.SIGHUP)
    note = service.wait_for("reload.note")
    assert note["reason"].startswith("asking keeps its rules: ")
    said.unlink()
    _says(said, "one")
    asking(service, "late")
    assert "no section" in service.wait_for("arrival.refused")["reason"]


def test_many_at_once(reloading, asking, tmp_path):
    """Reloads come one after the other, whatever is sent; calls go on meanwhile."""
    service = reloading()
    said = asking(service)
    for number in range(20):
        (tmp_path / "rule.py").write_text(_rule(f"n{number}"))
        service.process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    _says(said, "n19")
    assert "Traceback" not in service.log()


def test_a_storm(reloading, tmp_path):
    """Of reloads that nobody waits for, one is under way and one more is to come."""
    service = reloading()
    for _ in range(500):
        service.process.send_signal(signal.SIGHUP)
        time.sleep(0.001)
    (tmp_path / "rule.py").write_text("last = 1\n")
    service.process.send_signal(signal.SIGHUP)
    service.wait_for("rules.rejected")
    time.sleep(0.5)
    # One was under way, one was to come, and the last signal may have found that one under way.
    assert len(service.events("rules.rejected")) <= 3


@pytest.mark.parametrize(
    "raised",
    ["SystemExit(3)", "KeyboardInterrupt", "GeneratorExit", "type('X', (BaseException,), {})"],
)
def test_whatever_a_file_raises(reloading, asking, tmp_path, raised):
    """It is the file's mistake, and the old rules stay in force."""
    service = reloading()
    said = asking(service)
    _says(said, "one")
    (tmp_path / "rule.py").write_text(f"raise {raised}\n")
    service.process.send_signal(signal.SIGHUP)
    service.wait_for("rules.rejected")
    said.unlink()
    _says(said, "one")


def test_a_folder_that_goes(reloading, asking, tmp_path):
    """Watching a folder survives its end, and goes on when it is there again."""
    folder = tmp_path / "rules"
    folder.mkdir()
    shutil.copy(tmp_path / "rule.py", folder)
    text = CONFIGURATION.replace("watch = false", "watch = true")
    service = reloading(text.replace("./rule.py", f"{folder}/rule.py"))
    said = asking(service)
    _says(said, "one")
    shutil.rmtree(folder)
    service.wait_for("rules.rejected")
    folder.mkdir()
    (folder / "rule.py").write_text(_rule("two"))
    _says(said, "two")


def test_a_file_that_never_ends(policies, tmp_path):
    """Loading it is given up, and the next reload is not kept waiting."""
    daemon = Daemon(policies(), None)
    good, begun, over = (tmp_path / "r.py").read_text(), tmp_path / "begun", tmp_path / "over"
    waits = (
        f"import os, time\nopen({str(begun)!r}, 'w').close()\n"
        f"while not os.path.exists({str(over)!r}):\n    time.sleep(0.01)\n"
    )
    clock = trio.testing.MockClock()  # it stands still: only what never ends is too slow

    async def given_up(reloader: Reloader) -> None:
        with pytest.raises(UsageError, match=r"have not been loaded within 3 seconds"):
            await reloader.reload("test")

    async def main() -> None:
        reloader = Reloader(daemon, Manager({}), patience=3)
        (tmp_path / "r.py").write_text(waits + good)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(given_up, reloader)
            while not begun.exists():
                await trio.to_thread.run_sync(time.sleep, 0.01)
            clock.jump(3)
        (tmp_path / "r.py").write_text(good)
        before = daemon.policies
        assert await reloader.reload("test") == []
        assert daemon.policies is not before

    try:
        trio.run(main, clock=clock)
    finally:
        over.touch()
        daemon.supervisor.close()


def test_a_change_while_files_are_read(reloading, asking, tmp_path):
    """What is written while a reload is under way is not lost."""
    service = reloading(CONFIGURATION.replace("watch = false", "watch = true"))
    said = asking(service)
    _says(said, "one")
    begun, go = tmp_path / "begun", tmp_path / "go"
    waits = (
        f"import os, time\nopen({str(begun)!r}, 'w').close()\n"
        f"while not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\n"
    )
    (tmp_path / "rule.py").write_text(waits + _rule("two"))
    service.until(begun.exists)
    (tmp_path / "rule.py").write_text(_rule("three"))
    go.touch()
    _says(said, "three")


def test_a_new_file_that_is_mended(reloading, asking, tmp_path):
    """A file that kept a configuration from being loaded is watched, too."""
    service = reloading(CONFIGURATION.replace("watch = false", "watch = true"))
    said = asking(service)
    _says(said, "one")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "new.py").write_text("import no_such_module\n")
    text = service.config.read_text().partition("\n")[2]
    service.write(text.replace(f"{tmp_path}/rule.py", f"{tmp_path}/more/new.py"))
    service.wait_for("rules.rejected")
    (tmp_path / "more" / "new.py").write_text(_rule("two"))
    _says(said, "two")


@pytest.mark.parametrize("name", ["\\u0000.py", "circle/rule.py", "none/rule.py"])
def test_a_file_that_cannot_be(reloading, asking, tmp_path, name):
    """A name with a NUL, links in a circle, a folder that is not there: watching goes on."""
    service = reloading(CONFIGURATION.replace("watch = false", "watch = true"))
    said = asking(service)
    (tmp_path / "circle").symlink_to("circle")
    text = service.config.read_text().partition("\n")[2]
    service.write(text.replace(f"{tmp_path}/rule.py", f"{tmp_path}/{name}"))
    service.wait_for("rules.rejected")
    (tmp_path / "rule.py").write_text(_rule("two"))
    service.write(text)
    _says(said, "two")


def test_a_link_that_leads_elsewhere(reloading, asking, tmp_path):
    """A file that is exchanged by a link on the way to it, as Kubernetes does."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rule.py").write_text(_rule(name))
    (tmp_path / "data").symlink_to("one")
    text = CONFIGURATION.replace("watch = false", "watch = true")
    service = reloading(text.replace("./rule.py", f"{tmp_path}/data/rule.py"))
    said = asking(service)
    _says(said, "one")
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(tmp_path / "data")
    _says(said, "two")


def test_a_name_that_is_not_utf_8(reloading, asking, tmp_path):
    """Whoever may write beside a file makes one: changes are seen all the same, and later ones."""
    service = reloading(CONFIGURATION.replace("watch = false", "watch = true"))
    said = asking(service)
    _says(said, "one")
    for number, name in enumerate(("two", "three")):
        (tmp_path / os.fsdecode(b"a\xff%d" % number)).write_text("")
        (tmp_path / "rule.py").write_text(_rule(name))
        _says(said, name)
    assert service.process.poll() is None

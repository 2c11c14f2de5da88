"""What annotations and settings ask for together, and what becomes of a config.json."""

import json
import os

import pytest

from notifyd.container.bundle import prepare, requested
from notifyd.container.settings import RuntimeSettings, read_settings
from notifyd.errors import UsageError

ASKS = {"org.notifyd.rules": "harmless-devices"}


def test_annotations_add_to_what_every_container_gets():
    """They never take anything away, and name nothing twice."""
    settings = RuntimeSettings(rules=("audit-exec",))
    found = requested({"org.notifyd.rules": "harmless-devices, audit-exec", "other": "x"}, settings)
    assert found.rules == ("audit-exec", "harmless-devices")
    assert requested({}, settings).rules == ("audit-exec",)


def test_a_container_that_asks_for_nothing_gets_nothing():
    """Where the settings give nothing to every container."""
    assert requested({"org.other": "x"}, RuntimeSettings()).rules == ()


def test_metadata():
    """The settings', else the annotation's, else the names of the rules."""
    mine = ASKS | {"org.notifyd.metadata": "mine"}
    assert requested(ASKS, RuntimeSettings()).metadata == "harmless-devices"
    assert requested(mine, RuntimeSettings()).metadata == "mine"
    assert requested(ASKS, RuntimeSettings(metadata="fixed")).metadata == "fixed"
    with pytest.raises(UsageError, match=r"org\.notifyd\.metadata"):
        requested(mine, RuntimeSettings(metadata="fixed"))


def test_choices_are_the_administrator_s():
    """A name stands for what the settings say; no annotation names a file."""
    settings = RuntimeSettings(
        choices={"devices": "harmless-devices", "own": "/etc/notifyd/own.py"}
    )
    assert requested({"org.notifyd.rules": "devices,own"}, settings).rules == (
        "harmless-devices",
        "/etc/notifyd/own.py",
    )
    for name in ("harmless-devices", "/etc/notifyd/own.py", "../own.py"):
        with pytest.raises(UsageError, match="they are: devices, own"):
            requested({"org.notifyd.rules": name}, settings)
    with pytest.raises(UsageError, match="not one of the choices"):
        requested({"org.notifyd.rules": "/tmp/mine.py"}, RuntimeSettings())


def test_options_are_set_only_where_they_may_be():
    """An option can name a file of the machine: the administrator says which are harmless."""
    to = {"org.notifyd.rules": "connect-allowlist", "org.notifyd.option.to": "192.0.2.1\n192.0.2.2"}
    with pytest.raises(UsageError, match=r"org\.notifyd\.option\.to: .*do not leave it"):
        requested(to, RuntimeSettings())
    settings = RuntimeSettings(settable=("to",), options={"to": "192.0.2.9", "file": ("a", "b")})
    assert requested(to, settings).options == {
        "to": ("192.0.2.1", "192.0.2.2"),
        "file": ("a", "b"),
    }
    del to["org.notifyd.rules"]
    with pytest.raises(UsageError, match="an option without rules"):
        requested(to, settings)


@pytest.mark.parametrize("text", ["", " , "])
def test_no_rules_at_all_is_no_silence(text):
    """A variable that was empty: whoever wrote that wanted rules."""
    with pytest.raises(UsageError, match=r"org\.notifyd\.rules: it names no rules"):
        requested({"org.notifyd.rules": text}, RuntimeSettings(rules=("no-network",)))
    with pytest.raises(UsageError, match=r"org\.notifyd\.metadata: an option without rules"):
        requested({"org.notifyd.metadata": "x"}, RuntimeSettings())


def test_a_misspelt_annotation_is_no_silence():
    """Who writes it means something."""
    with pytest.raises(UsageError, match=r"org\.notifyd\.rule: no such annotation"):
        requested({"org.notifyd.rule": "no-network"}, RuntimeSettings())


@pytest.fixture
def config(tmp_path):
    """Write a config.json; its path."""
    path = tmp_path / "config.json"

    def write(**whole):
        path.write_text(json.dumps({"ociVersion": "1.0.2"} | whole))
        return path

    return write


def test_all_else_stays_as_it_is(config):
    """Keys that nobody here knows, large numbers, odd texts, owner and mode."""
    odd = {"process": {"x": [1.5, 2**64 - 1, None, "\ud800é"]}, "linux": {"new": {"key": True}}}
    path = config(annotations=ASKS, **odd)
    os.chmod(path, 0o640)
    assert prepare(path, RuntimeSettings(), runtime="runc")
    found = json.loads(path.read_text())
    profile = found["linux"].pop("seccomp")
    assert found == {"ociVersion": "1.0.2", "annotations": ASKS, **odd}
    assert profile["listenerPath"] == "/run/notifyd/oci.sock"
    assert profile["listenerMetadata"] == "harmless-devices"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert [one.name for one in path.parent.iterdir()] == ["config.json"]


def test_flags_are_the_administrator_s(config):
    """They go with the listener, and one that there is not is found at once."""
    flag = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    path = config(annotations=ASKS)
    prepare(path, RuntimeSettings(flags=(flag,)), runtime="crun")
    assert json.loads(path.read_text())["linux"]["seccomp"]["flags"] == [flag]
    path.write_text('flags = ["WAIT_KILLABLE_RECV"]')
    with pytest.raises(UsageError, match="flags: WAIT_KILLABLE_RECV: none of"):
        read_settings(path)


def test_a_second_time_changes_nothing(config):
    """The profile that is there already means the same, merged with the same rules."""
    path = config(annotations=ASKS)
    prepare(path, RuntimeSettings(), runtime="runc")
    once = json.loads(path.read_text())
    prepare(path, RuntimeSettings(), runtime="runc")
    again = json.loads(path.read_text())

    def calls(whole):
        return sorted(map(json.dumps, whole["linux"]["seccomp"]["syscalls"]))

    assert calls(again) == calls(once)


REFUSING = {
    "no JSON": ("{", "no JSON"),
    "too deep": ("[" * 200_000, "no JSON"),
    "no object": ("[]", "no configuration"),
    "linux": ({"linux": 7}, "no configuration"),
    "annotations": ({"annotations": {"a": 1}}, "annotations"),
    "a profile": ({"annotations": ASKS, "linux": {"seccomp": 7}}, "is not a profile"),
    "an action": (
        {"annotations": ASKS, "linux": {"seccomp": {"defaultAction": "x"}}},
        "$.defaultAction",
    ),
    "a listener": (
        {
            "annotations": ASKS,
            "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/other"}},
        },
        "/other",
    ),
    "a contradiction": (
        {
            "annotations": ASKS,
            "linux": {
                "seccomp": {
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": ["mknod", "mknodat"], "action": "SCMP_ACT_ERRNO"}],
                }
            },
        },
        "syscalls[0] refuses mknod",
    ),
}


@pytest.mark.parametrize("what", REFUSING)
def test_what_cannot_be_changed_is_an_error(what, tmp_path):
    """One line that names the file; and the file is as it was."""
    whole, told = REFUSING[what]
    path = tmp_path / "config.json"
    text = whole if isinstance(whole, str) else json.dumps(whole)
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        prepare(path, RuntimeSettings(), runtime="runc")
    assert str(path) in str(error.value)
    assert told in str(error.value)
    assert path.read_text() == text


def test_what_has_no_end_is_not_read(tmp_path):
    """A FIFO without a writer, and a device: the engine would wait for ever."""
    pipe, link = tmp_path / "config.json", tmp_path / "other.json"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    for path in (pipe, link):
        with pytest.raises(UsageError, match=f"{path.name}: no regular file"):
            prepare(path, RuntimeSettings(), runtime="runc")


@pytest.mark.parametrize("name", ["run.oci.seccomp_bpf_data", "run.oci.seccomp.receiver"])
def test_crun_s_own_annotations_cannot_take_it_away(config, name):
    """They replace the filter, or send its listener elsewhere; without rules they are nobody's."""
    with pytest.raises(UsageError, match=name):
        prepare(config(annotations=ASKS | {name: "x"}), RuntimeSettings(), runtime="runc")
    assert not prepare(config(annotations={name: "x"}), RuntimeSettings(), runtime="crun")


def test_a_checkpoint_has_no_listener(config):
    """A container that asks cannot be restored; any other one can."""
    with pytest.raises(UsageError, match="checkpoint"):
        prepare(config(annotations=ASKS), RuntimeSettings(), runtime="runc", restores=True)
    assert not prepare(config(), RuntimeSettings(), runtime="runc", restores=True)


def test_what_runc_itself_would_wait_for(config, tmp_path):
    """A rule about write(2) would stop runc before it hands the listener over; crun can take it."""
    rule = tmp_path / "rule.py"
    rule.write_text("from notifyd import Raw, on\n@on(Raw('write'))\ndef f(call):\n  pass\n")
    settings = RuntimeSettings(rules=(str(rule),))
    with pytest.raises(UsageError, match="write: runc makes this call"):
        prepare(config(), settings, runtime="runc")
    assert prepare(config(), settings, runtime="crun")


def test_a_rule_file_that_others_may_write(config, tmp_path):
    """It is a program that root runs: it is nothing to obey."""
    rule = tmp_path / "rule.py"
    rule.write_text("from notifyd import Deny, Uname, always\nalways(Deny(1), Uname)\n")
    settings = RuntimeSettings(rules=(str(rule),))
    assert prepare(config(), settings, runtime="runc")
    rule.chmod(0o666)
    with pytest.raises(UsageError, match="others may write it: chmod go-w"):
        prepare(config(), settings, runtime="runc")


def test_settings(tmp_path):
    """No file is the defaults; a mistake is told with the file and the key."""
    path = tmp_path / "runtime.toml"
    assert read_settings(path) == RuntimeSettings()
    path.write_text('rules = ["no-network"]\n[options]\nto = ["a", "b"]\nfile = "c"\n')
    assert read_settings(path).options == {"to": ("a", "b"), "file": "c"}
    for text, told in [
        ("rule = []", "rule"),
        ('rules = "no-network"', "$.rules"),
        ("rules = [", "runtime.toml"),
        ('rules = ["./mine.py"]', "absolute"),
        ('[choices]\nmine = "a/b.py"', "absolute"),
    ]:
        path.write_text(text)
        with pytest.raises(UsageError, match=r"runtime\.toml") as error:
            read_settings(path)
        assert told in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        ('"seccomp": null', '"seccomp": null, "SECCOMP": null'),
        ('"seccomp": null', '"SECCOMP": null, "seccomp": null'),
        ('"seccomp": null', '"\u017feccomp": null'),
        ('"linux"', '"LINUX": {}, "linux"'),
        ('"linux"', '"linux": {}, "linux"'),
        ('"annotations"', '"Annotations"'),
        ('"org.notifyd.rules"', '"org.notifyd.Rules"'),
        ('"org.notifyd.rules"', '"Org.Notifyd.rules"'),
    ],
)
def test_a_key_that_a_runtime_takes_for_another(config, change):
    """Runtimes in Go do not mind the case, and the last one counts: no filter would be left."""
    path = config(annotations=ASKS, linux={"seccomp": None})
    before = path.read_text()
    assert change[0] in before
    path.write_text(before.replace(*change))
    with pytest.raises(UsageError, match=r"in case only|twice|no such annotation"):
        prepare(path, RuntimeSettings(), runtime="runc")
    assert path.read_text() == before.replace(*change)

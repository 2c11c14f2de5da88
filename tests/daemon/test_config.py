"""The configuration file: what is good, and all that is wrong with a bad one, line by line."""

import os
import textwrap
from pathlib import Path

import pytest

from notifyd.daemon.config import ARRIVALS, Audit
from notifyd.daemon.config_file import ConfigError, read_config
from notifyd.daemon.log import bytes_of
from notifyd.daemon.policies import load_policies
from notifyd.errors import UsageError
from notifyd.events.select import seconds_of
from notifyd.intake.protocols import PROTOCOLS

GOOD = """
audit = "/var/log/notifyd/events.jsonl"
metrics-port = 9402

[sockets.oci]
path = "/run/notifyd/oci.sock"
[sockets.native]
path = "/run/notifyd/native.sock"
mode = "0666"
users = "any"

[[workload]]
name = "web"
rules = ["harmless-devices"]
match.id = "web-*"
match.annotations."org.example/tier" = ["front*", "edge"]

[[workload]]
name = "rest"
rules = ["connect-allowlist"]
options.to = "192.0.2.7:443"
otherwise = "deny"
strict = true
patience = 2.5
[workload.match]
arrival = ["native", "lxc"]
user = [0, "root"]
cgroup = "/user.slice/*"
"""


@pytest.fixture
def written(tmp_path):
    """Writes a configuration; its path."""

    def write(text: str) -> Path:
        path = tmp_path / "notifyd.toml"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_every_protocol_of_arrival_has_its_key():
    """And every other socket but the control socket is one of an arrival protocol."""
    assert set(ARRIVALS) == set(PROTOCOLS)


def test_good(written):
    """Every key is taken as it stands."""
    config = read_config(written(GOOD))
    assert config.metrics_port == 9402
    assert config.sockets.native.users == "any"
    assert [section.name for section in config.workload] == ["web", "rest"]
    assert config.workload[0].match.annotations == {"org.example/tier": ["front*", "edge"]}
    assert config.workload[1].patience == 2.5


AUDIT = """
[audit]
path = "/var/log/notifyd/events.jsonl"
max-size = "100M"
max-age = "7d"
keep = 5
compress = true
on-full = "refuse"
redact = ["args.*"]
journal = true
database = "/var/lib/notifyd/events.db"
"""


def _with_table(changed: str = "", by: str = "") -> str:
    """The good one with a table for the log, in which something is changed."""
    assert changed in AUDIT
    head = GOOD.replace('audit = "/var/log/notifyd/events.jsonl"\n', "")
    assert head != GOOD
    return head + AUDIT.replace(changed, by) if changed else head + AUDIT


def test_the_log_in_short_and_in_full(written):
    """A path alone, or a table."""
    short = read_config(written(GOOD))
    assert short.log == Audit("/var/log/notifyd/events.jsonl")
    assert short.log.key_path == "/var/log/notifyd/events.jsonl.key"
    full = read_config(written(_with_table()))
    assert full.log is not None
    assert (bytes_of(full.log.max_size), seconds_of(full.log.max_age)) == (100 << 20, 604_800)
    assert (full.log.on_full, full.log.redact, full.log.keep) == ("refuse", ["args.*"], 5)


@pytest.mark.parametrize(
    ("change", "by", "said"),
    [
        ('"100M"', '"100"', 'audit.max-size: expected bytes, at least 4096, or a text as "100M"'),
        ('"100M"', "17", 'audit.max-size: expected bytes, at least 4096, or a text as "100M"'),
        ('"7d"', "7", 'audit.max-age: expected an age, as "12h", "7d" or "4w"'),
        ("= 5", "= -5", "audit.keep: expected a number, at most 100000; 0 for all"),
        ('"refuse"', '"wait"', 'audit.on-full: expected "refuse" or "count"'),
        ("keep =", "kepe =", "audit.kepe: no such key; did you mean 'keep'?"),
        ('["args.*"]', '["a b"]', "audit.redact"),
        ("path = ", "file = ", "audit.path is missing: give it"),
    ],
)
def test_a_mistake_in_the_log_s_table(written, change, by, said):
    """It is told as any other."""
    with pytest.raises(ConfigError) as caught:
        read_config(written(_with_table(change, by)))
    assert said in str(caught.value)


def test_rules_are_loaded(written):
    """With their options, their verdict for the rest, and no more patience than the section's."""
    web, rest = load_policies(written(GOOD)).sections
    assert web.notifies
    assert rest.rules.strict
    assert {rule.patience for rule in rest.rules.rules} == {2.5}
    assert rest.digest != web.digest


def test_the_example_is_good(tmp_path):
    """The one that ships, but for the group, which this machine may not have."""
    text = (Path(__file__).parents[2] / "systemd" / "notifyd.toml").read_text()
    copy = tmp_path / "notifyd.toml"
    copy.write_text(text.replace('group = "notifyd"', 'group = "root"'))
    assert [policy.name for policy in load_policies(copy).sections] == ["containers", "users"]


def _replaced(text: str, change: str, by: str) -> str:
    assert change in text
    return text.replace(change, by)


def _wrong(change: str, by: str) -> str:
    return _replaced(GOOD, change, by)


WRONG = [
    ("audit =", "audti =", 2, "audti: no such key; did you mean 'audit'?"),
    ("9402", '"9402"', 3, "metrics-port: expected a port, 1 to 65535"),
    ('"/run/notifyd/oci.sock"', '"run/oci.sock"', 6, "sockets.oci.path: expected an absolute path"),
    ('"0666"', '"666x"', 9, 'sockets.native.mode: expected a mode in octal, as text: "0660"'),
    ('"any"', '["no-such-user"]', 10, "no user is named 'no-such-user' here"),
    ("[sockets.oci]", "[sockets.oic]", 5, "sockets.oic: no such key; did you mean 'oci'?"),
    ("native.sock", "oci.sock", 8, "/run/notifyd/oci.sock is sockets.oci already"),
    ('name = "web"', 'name = "a b"', 13, "workload[1].name: expected a name of at most 64"),
    ('name = "rest"', 'name = "web"', 19, "two workloads are named 'web'"),
    ('["harmless-devices"]', "[]", 14, "workload[1].rules: expected at least one name or file"),
    ('["harmless-devices"]', '["harmles-devices"]', 14, "did you mean 'harmless-devices'?"),
    ('["harmless-devices"]', '["./none.py"]', 14, "no rule file"),
    ("options.to", "options.two", 20, "no option 'two' in these rules; they know: to"),
    ("match.id", "match.ids", 15, "workload[1].match.ids: no such key; did you mean 'id'?"),
    ('"deny"', '"refuse"', 22, 'workload[2].otherwise: expected "allow" or "deny"'),
    ("2.5", "-1", 24, "workload[2].patience: expected seconds, at most 86400"),
    ('["native", "lxc"]', '"nativ"', 26, "workload[2].match.arrival"),
    ('[0, "root"]', '["nobdy"]', 27, "no user is named 'nobdy' here"),
    ('name = "web"', "", 12, "workload[1].name is missing"),
    ('"/var/log/notifyd/events.jsonl"', '"events.jsonl"', 2, "audit: expected an absolute path"),
    ("events.jsonl", "events\\u0000", 2, "audit: expected an absolute path, and no NUL in it"),
    ("oci.sock", "oci\\u0000", 6, "sockets.oci.path: expected an absolute path, and no NUL in it"),
    ('"any"', "5", 10, 'users: expected "any" or a list, each a name or an id'),
    ('"any"', '["a\\u0000"]', 10, "no user is named 'a\\x00' here"),
    ("options.to", "options.to.too", 21, "options.to: expected a text or a list, each a text"),
    ('["native", "lxc"]', '"ocy"', 26, 'match.arrival: expected "oci" or "lxc" or "native"'),
]


@pytest.mark.parametrize(("change", "by", "line", "said"), WRONG)
def test_one_mistake(written, change, by, line, said):
    """It is told with its line, its key, and what would be right."""
    path = written(_wrong(change, by))
    with pytest.raises(ConfigError) as caught:
        load_policies(path)
    (text,) = str(caught.value).splitlines()
    assert text.startswith(f"{path}:{line}: ")
    assert said in text


def test_all_mistakes_at_once(written):
    """A person mends them in one go."""
    text = GOOD
    for change, by in (("audit =", "audti ="), ('"0666"', "6"), ("2.5", '"2"'), ("[0,", "[0.5,")):
        text = text.replace(change, by)
    with pytest.raises(ConfigError) as caught:
        read_config(written(text))
    assert len(caught.value.mistakes) == 4


def test_a_mistake_hides_no_other(written):
    """One in a key, none of those in what is well-formed: users, sockets, names, rules."""
    text = GOOD
    for change, by in (
        ("audit =", "audti ="),
        ("native.sock", "oci.sock"),
        ('"any"', '["no-such-user"]'),
        ('["harmless-devices"]', '["harmles-devices", "no-network", "./none.py"]'),
        ('[0, "root"]', '["nobdy"]'),
        ("options.to", "options.two"),
    ):
        text = _replaced(text, change, by)
    with pytest.raises(ConfigError) as caught:
        load_policies(written(text))
    lines = [int(line.split(":")[1]) for line in str(caught.value).splitlines()]
    assert lines == [2, 8, 10, 14, 14, 20, 27]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = ", "no TOML: "),
        ("", "sockets is missing: give it"),
        ("[sockets]\n[[workload]]\nname='a'\nrules=['no-network']", "no socket to arrive at"),
        ("sockets = 3\nworkload = 3\n", "sockets: expected a table"),
        ("[sockets.oci]\npath='/x'\n", "workload is missing"),
    ],
)
def test_not_even_that(written, text, said):
    """What has not even the right form."""
    with pytest.raises(UsageError) as caught:
        read_config(written(text))
    assert said in str(caught.value)


def test_not_there(tmp_path):
    """A file that is not there, and one that is no text."""
    with pytest.raises(UsageError, match="give another with --config"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no UTF-8 at byte 0"):
        read_config(tmp_path / "binary")


def test_a_rule_file_that_will_not_say_why(written):
    """Its section is not simply left out: the next one that fits might allow more."""
    path = written(GOOD.replace('["harmless-devices"]', '["./rule.py"]'))
    (path.parent / "rule.py").write_text(
        "from notifyd.errors import UsageError\nraise UsageError\n"
    )
    with pytest.raises(ConfigError, match=r"workload\[1\] \(web\): UsageError"):
        load_policies(path)


@pytest.fixture
def obeyed(written):
    """A configuration and a rule file, each in a folder of its own."""
    path = written(GOOD.replace('["harmless-devices"]', '["./rules/rule.py"]'))
    rule = path.parent / "rules" / "rule.py"
    rule.parent.mkdir()
    rule.write_text("from notifyd import Uname, Deny, always\nalways(Deny(1), Uname)\n")
    load_policies(path)
    return path


@pytest.mark.parametrize("which", ["notifyd.toml", "rules/rule.py", ".", "rules"])
def test_others_may_not_write_it(obeyed, which):
    """What anybody could change, or put something else in the place of, is nothing to obey."""
    place = obeyed.parent / which
    place.chmod(place.stat().st_mode | 0o002)
    with pytest.raises(UsageError, match=f"others may write it: chmod go-w {place}$"):
        load_policies(obeyed)
    if place.is_dir():  # as /tmp: whoever may write there cannot touch what is another's
        place.chmod(0o1777)
        load_policies(obeyed)


@pytest.mark.root
@pytest.mark.parametrize("which", ["notifyd.toml", "rules/rule.py", "rules"])
def test_it_must_not_be_others(obeyed, which):
    """Whoever owns a file, or its folder, may change it."""
    os.chown(obeyed.parent / which, 1, -1)
    with pytest.raises(UsageError, match="belongs to uid 1: chown it"):
        load_policies(obeyed)


def test_a_link_is_no_way_out(obeyed, tmp_path):
    """Where a link is counts as much as where it leads."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "linked.toml").symlink_to(obeyed)
    with pytest.raises(UsageError, match=f"its folder {folder}: others may write it"):
        load_policies(folder / "linked.toml")


def test_approvals(written):
    """A path alone, or a table that says who may answer as well."""
    config = read_config(written('approvals = "/a.db"\n' + GOOD))
    assert (config.asking.path, config.asking.self_approval) == ("/a.db", False)
    config = read_config(written(GOOD))
    assert config.asking.path is None
    table = '[approvals]\npath = "/a.db"\nusers = [7]\ngroups = [8, "root"]\nself-approval = true\n'
    config = read_config(written(GOOD + table))
    assert (config.asking.path, config.asking.self_approval) == ("/a.db", True)
    for uid, groups, named in ((7, (), True), (1, (8, 9), True), (1, (0,), True), (1, (9,), False)):
        assert config.asking.names(uid, groups) is named


HOOK = '[webhook]\nsecret-file = "/s"\nurl = '


@pytest.mark.parametrize(
    "url",
    ["https://bot.example/x?y=1", "http://127.0.0.1:80/x", "http://localhost", "http://[::1]:8080"],
)
def test_webhook(written, url):
    """Over TLS, or on this machine."""
    config = read_config(written(f'{GOOD}{HOOK}"{url}"'))
    assert (config.webhook.url, config.webhook.timeout) == (url, 60.0)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        *(
            (f'{HOOK}"{url}"', "webhook.url: expected an https:// address, or http:// on this")
            for url in (
                "http://bot.example/",
                "http://127.0.0.1.evil.example/",
                "http://localhost:80@evil.example/",
                "https://",
                "https://user:secret@bot.example/",
                "ftp://localhost",
                "/path",
            )
        ),
        ('[webhook]\nurl = "https://bot.example"', "webhook.secret-file is missing"),
        ("[approvals]\nusers = ['nobody-of-that-name']", "no user is named 'nobody-of-that-name'"),
        ("[approvals]\ngroups = ['none-of-that-name']", "no group is named 'none-of-that-name'"),
        ("[approvals]\nself_approval = true", "did you mean 'self-approval'?"),
        ("[approvals]\npath = 'here'", "approvals.path: expected an absolute path"),
    ],
)
def test_asking_wrongly(written, table, said):
    """It is told with its key, and what would be right."""
    with pytest.raises(ConfigError) as caught:
        read_config(written(f"{GOOD}{table}\n"))
    assert said in str(caught.value)
    assert len(caught.value.mistakes) == 1

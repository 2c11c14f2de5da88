"""Real programs under shipped rules, recorded and replayed: the same rules, and stricter ones."""

import json
import socket
import sys

import pytest

pytestmark = pytest.mark.usefixtures("whole")  # starts notifyd as a command

SYSTEM = " ".join(
    f"--option only-read={place}"
    for place in ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/passwd")
)
CONNECT = """
import socket, sys
for port in sys.argv[1:]:
    try:
        socket.create_connection(("127.0.0.1", int(port)), 5).close()
    except OSError as error:
        print(port, error)
"""
MAKE = """
import os, stat, sys
for major, minor in (1, 3), (8, 0):
    try:
        os.mknod(sys.argv[1] + f"/{major}-{minor}", stat.S_IFCHR | 0o600, os.makedev(major, minor))
    except OSError as error:
        print(error)
"""


def calls_of(path):
    """The calls of a record."""
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [event for event in events if event["event"] == "call"]


def words_of(*rules):
    """The words of a command line."""
    return [word for rule in rules for word in rule.split()]


def same(bench, path, *rules, untold=0):
    """Replay under the very rules: nothing changes; how many calls cannot be told."""
    data = bench.data(*words_of(*rules), path, status=0)
    count = len(calls_of(path))
    assert count > 0
    found = {name: data[name] for name in ("calls", "same", "changes", "untold", "undecided")}
    assert found == {
        "calls": count,
        "same": count - untold,
        "changes": 0,
        "untold": untold,
        "undecided": 0,
    }, data["rows"]
    assert (data["torn"], data["foreign"], data["rules_failed"]) == (0, 0, 0)
    return data


def changes(bench, path, *rules):
    """Replay under other rules: counts by operation, recorded verdict and new one."""
    data = bench.data(*words_of(*rules), path, status=1)
    return {
        (row["operation"], row["before"], row["after"]): row["count"]
        for row in data["rows"]
        if row["result"] == "changes"
    }


def test_audit_exec(bench):
    """Programs by the name that they were executed by; by their files it cannot be told."""
    path = bench.run(["--rules audit-exec"], "sh", "-c", "ls / | wc -l; wc -l < /etc/passwd")
    same(bench, path, "--rules audit-exec")
    executed = [one["args"]["argv"][0] for one in calls_of(path) if one["operation"] == "Exec"]
    assert executed.count("wc") == 2
    no_wc = bench.rules(
        """
        import errno
        from notifyd import Deny, Exec, on

        @on(Exec)
        def no_wc(call):
            return Deny(errno.EACCES) if call.argv[0] == b"wc" else None
        """
    )
    assert changes(bench, path, f"--rules {no_wc}") == {("Exec", "allow", "deny EACCES"): 2}
    data = bench.data(*words_of("--rules exec-allowlist --option path=/bin/sh"), path, status=0)
    assert {(row["missing"], row["count"]) for row in data["rows"]} == {("path", len(executed))}


def test_only_below(bench):
    """Every call that worked in a folder is refused by rules that do not know the folder."""
    folder = bench.folder / "work"
    folder.mkdir()
    script = f"cd {folder}; echo hi > a; cat a; mv a b; rm b; cat /etc/shadow; ls /home"
    rules = f"--rules only-below --option allow={folder} {SYSTEM}"
    path = bench.run([rules], "sh", "-c", script)
    same(bench, path, rules)
    there = [one for one in calls_of(path) if str(folder) in _resolved(one)]
    assert {one["verdict"] for one in there} == {"allow"}
    assert {"Open", "Rename", "Unlink"} <= {one["operation"] for one in there}
    (bench.folder / "other").mkdir()
    stricter = rules.replace(f"allow={folder}", f"allow={bench.folder}/other")
    found = changes(bench, path, stricter)
    assert {(before, after) for _, before, after in found} == {("allow", "deny EACCES")}
    assert sum(found.values()) == len([one for one in there if "rule" in one])


def _resolved(call):
    """Those paths of a call that its rule had looked at; in the folder, or the folder."""
    return " ".join(str(value) for name, value in call["args"].items() if name.endswith("path"))


def test_connect_allowlist(bench):
    """One of two ports less: exactly the connection to that one."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as b:
        ports = [str(server.getsockname()[1]) for server in (one, b)]
        rules = "--rules connect-allowlist --option to=127.0.0.1:{} --option to=127.0.0.1:{}"
        path = bench.run([rules.format(*ports)], sys.executable, "-c", CONNECT, *ports)
    same(bench, path, rules.format(*ports))
    stricter = f"--rules connect-allowlist --option to=127.0.0.1:{ports[0]}"
    assert changes(bench, path, stricter) == {("Connect", "allow", "deny EACCES"): 1}
    data = bench.data(*words_of(stricter), path)
    assert f"127.0.0.1:{ports[1]}" in data["rows"][0]["example"]["reason"]


@pytest.mark.root
def test_harmless_devices(bench):
    """What power was lent is in no event; a disk that was refused is refused."""
    folder = bench.folder / "dev"
    folder.mkdir()
    path = bench.run(["--rules harmless-devices"], sys.executable, "-c", MAKE, str(folder))
    data = same(bench, path, "--rules harmless-devices", untold=1)
    (row,) = data["rows"]
    assert (row["operation"], row["count"]) == ("Mknod", 1)
    assert row["missing"] in ("what Allow() changed or lent", "what became of it")
    assert "device=1:3" in row["example"]["args"]
    none = bench.rules(
        """
        import errno
        from notifyd import Deny, Mknod, on

        @on(Mknod)
        def none(call):
            return Deny(errno.EACCES) if call.is_device else None
        """
    )
    found = changes(bench, path, f"--rules {none}")
    assert {after for *_, after in found} == {"deny EACCES"}
    assert sum(found.values()) == 2


def test_readonly(bench):
    """Protecting one directory more: the calls that wrote there, and no others."""
    for name in ("kept", "free"):
        (bench.folder / name).mkdir()
    script = "echo a > kept/a; echo b > free/b; mkdir free/c; rmdir free/c; cat free/b > /dev/null"
    kept = f"--rules readonly --option below={bench.folder}/kept"
    path = bench.run([kept], "sh", "-c", script)
    same(bench, path, kept)
    assert ("deny", "EROFS") in {(one["verdict"], one.get("errno")) for one in calls_of(path)}
    both = f"{kept} --option below={bench.folder}/free"
    assert changes(bench, path, both) == {
        ("Open", "allow", "deny EROFS"): 1,
        ("Mkdir", "allow", "deny EROFS"): 1,
        ("Unlink", "allow", "deny EROFS"): 1,
    }


def test_a_compressed_record_is_read_as_well(bench):
    """And two files are one record."""
    import gzip

    path = bench.run(["--rules audit-exec"], "true")
    (bench.folder / "old.gz").write_bytes(gzip.compress(path.read_bytes()))
    data = bench.data("--rules", "audit-exec", bench.folder / "old.gz", path, status=0)
    assert data["calls"] == 2 * len(calls_of(path))
    assert data["recorded_rules"] == ["audit-exec"]

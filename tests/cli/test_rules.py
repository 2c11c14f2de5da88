"""What `notifyd rules` shows."""

import json
import os

import pytest

from notifyd.bpf.build import compile_profile
from notifyd.cli.columns import columns
from notifyd.policy.load import load, shipped, title
from notifyd.policy.lower import lower
from notifyd.policy.operations import OPERATIONS


def test_the_list(notifyd):
    """A line for every rule that ships, with its title."""
    lines = notifyd("rules").out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped())
    for line, path in zip(lines, shipped().values(), strict=True):
        assert line.endswith(title(path).partition(": ")[2])


def test_the_list_as_json(notifyd):
    """Names, titles, files."""
    data = json.loads(notifyd("rules", "--json").out)
    assert {one["name"]: one["title"] for one in data} == {
        name: title(path) for name, path in shipped().items()
    }
    assert all(os.path.isfile(one["file"]) for one in data)


def test_a_rules_text(notifyd, tmp_path):
    """The file as it is, by name or path."""
    path = shipped()["no-network"]
    assert notifyd("rules", "no-network").out == path.read_text()
    mine = tmp_path / "mine.py"
    mine.write_text("this is no Python\n")
    assert notifyd("rules", str(mine)).out == "this is no Python\n"


def test_who_is_asked_in_which_order(notifyd, tmp_path):
    """Several files add up: a line for each that is asked, file by file, the kernel's first."""
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from notifyd import *\n"
        "@on(Open, flags=has(1))\ndef first(call): ...\n"
        "@on(Raw('openat'))\ndef second(call): ...\n"
        "always(Allow(), Open, flags=0)\n"
    )
    said = notifyd("rules", str(mine), "readonly", "-o", "readonly.below=/etc").out
    rows = [line.removeprefix("openat ").split() for line in said.splitlines()]
    at = next(n for n, line in enumerate(said.splitlines()) if line.startswith("openat "))
    assert rows[at : at + 4] == [
        ["1", "mine.py:always", "Allow()", "flags", "is", "0"],
        ["2", "mine.py:first", "flags", "has", "0x1"],
        ["3", "mine.py:second"],
        ["4", "readonly.py:readonly", *rows[at + 3][2:]],
    ]
    turned = notifyd("rules", "readonly", str(mine)).out
    assert turned.index("readonly.py:readonly") < turned.index("mine.py:first")
    data = json.loads(notifyd("rules", str(mine), "readonly", "--order", "--json").out)
    asked = {one["operation"]: [who["name"] for who in one["asked"]] for one in data}
    both = ["mine.py:first", "readonly.py:readonly"]
    assert asked["openat"] == ["mine.py:always", both[0], "mine.py:second", both[1]]
    assert asked["creat"] == both  # whose flags are fixed
    assert notifyd("rules", "readonly", "--order").out.split()[0] == "operation"


@pytest.mark.parametrize("name", shipped())
def test_every_rule_has_a_filter_to_show(notifyd, name):
    """All that is installed is there, instruction by instruction."""
    said = notifyd("rules", name, "--filter")
    assert said.status == 0
    size = len(compile_profile(lower(load([name], deciding=False)).profile).program)
    assert f"the kernel's program: {size} instructions" in said.out
    assert f"\n{size - 1:4} 0x" in said.out


def test_a_filter_that_decides_alone(notifyd):
    """What it refuses, on which calls, what it cannot see, and that nothing leaves the kernel."""
    out = notifyd("rules", "no-network", "--filter").out
    assert "Deny(EACCES) if family is not AF_UNIX" in out
    assert "x86_64  socket, socketpair" in out or "aarch64  socket, socketpair" in out
    assert "no call ever leaves it" in out
    assert "asked of the rules" not in out
    assert "return errno EACCES" in out


def test_a_filter_that_asks(notifyd):
    """Which rule is asked about which calls."""
    out = notifyd("rules", "bind-low-ports", "--filter", "-o", "ports=80").out
    assert "asked of the rules\n  bind_low_ports.py:bind_low_ports\n" in out
    assert "decided in the kernel" not in out
    assert "return notify" in out


def test_conditions_read_well(notifyd, tmp_path):
    """Names where there are names."""
    file = tmp_path / "mine.py"
    file.write_text(
        "import errno\n"
        "from notifyd import *\n"
        "always(Deny(errno.EACCES), Open, flags=has(0o1000))\n"
        "always(Deny(errno.EPERM), Unshare, flags=has_any(0x10020000))\n"
        "always(Kill(), Clone, flags=lacks(0x100))\n"
        "always(Allow(), Socket, family={1, 2}, protocol=range(5, 9))\n"
        "always(Deny(errno.EPERM), Ioctl, request=0x123456)\n"
    )
    out = notifyd("rules", str(file), "--filter").out
    assert "Deny(EACCES) if flags has O_TRUNC" in out
    assert "flags has any of CLONE_NEWNS|CLONE_NEWUSER" in out
    assert "Kill() if flags lacks CLONE_VM" in out
    assert "Allow() if family is AF_UNIX or AF_INET and protocol is 5 to 8" in out
    assert "request is 0x123456" in out


def test_the_options(notifyd):
    """With defaults and what they are for; as JSON too; a rule without says so."""
    out = notifyd("rules", "bind-low-ports", "no-network", "--options").out
    assert "  ports=80,443  ports that may be bound" in out
    assert "no-network takes no options" in out
    data = json.loads(notifyd("rules", "bind-low-ports", "--json").out)[0]
    assert data["options"][0] == {
        "name": "ports",
        "default": [80, 443],
        "several": True,
        "needed": False,
        "summary": "ports that may be bound",
    }


def test_the_operations(notifyd):
    """All of them with a summary, under their themes."""
    out = notifyd("rules", "--operations").out
    for name, operation in OPERATIONS.items():
        assert f"  {name} " in out
        assert operation.summary in out
    assert [one["name"] for one in json.loads(notifyd("rules", "--operations", "--json").out)] == [
        *OPERATIONS
    ]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_a_page(notifyd, name):
    """Its fields and its system calls, all of them."""
    out = notifyd("rules", "--operation", name).out
    assert out.startswith(f"{name}\n")
    for field in OPERATIONS[name].fields:
        assert f"\n  {field} " in out
    for variant in OPERATIONS[name].variants:
        assert f"\n  {variant.syscall} " in out


def test_a_page_says_where_fields_lie(notifyd):
    """Registers can be conditions; openat2 keeps its flags in memory."""
    lines = notifyd("rules", "--operation", "open").out.splitlines()
    flags = next(line for line in lines if line.startswith("  flags "))
    assert "register; memory in openat2" in flags
    assert any(line.startswith("  writes ") for line in lines)
    data = json.loads(notifyd("rules", "--operation", "openat2", "--json").out)
    assert data["name"] == "Open"
    assert data["syscalls"]["openat2"] == ["x86_64", "i386", "aarch64"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["no-netwrk"], "did you mean 'no-network'?"),
        (["./missing.py"], "no rule file ./missing.py"),
        (["--filter"], "which rules?"),
        (["--options"], "which rules?"),
        (["--operation", "Opne"], "did you mean Open?"),
        (["--operation", "zzzzzz"], "`notifyd rules --operations` lists them"),
        (["no-network", "--operations"], "leave the names out"),
        (["no-network", "--filter", "--options"], "one of them at a time"),
        (["no-network", "--filter", "--json"], "no JSON form"),
        (["no-network", "-o", "a=b"], "--option goes with --filter"),
        (["no-network", "--filter", "-o", "a=b"], "no option 'a' in these rules; they take none"),
        (["no-network", "--filter", "-o", "a"], "write it as NAME=VALUE"),
    ],
)
def test_mistakes(notifyd, words, text):
    """One line on standard error, with the remedy, and status 2."""
    said = notifyd("rules", *words)
    assert said.status == 2
    assert text in said.err
    assert said.err.startswith("notifyd: ")
    assert len(said.err.splitlines()) == 1


def test_a_file_that_cannot_be_read(notifyd, tmp_path):
    """A directory is no rule file."""
    (tmp_path / "mine.py").mkdir()
    assert "no rule file" in notifyd("rules", str(tmp_path / "mine.py")).err


def test_columns():
    """As wide as their widest text; short rows are short."""
    assert columns([("a", "b"), ("ccc", "d"), ("e",)], " ") == [" a    b", " ccc  d", " e"]
    assert columns([]) == []

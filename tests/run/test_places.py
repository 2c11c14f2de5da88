"""What a path is to a target: its root, its working directory, its descriptors, its /proc/self."""

import ast

import pytest

SEES = """
@on(Open)
{word} sees(call):
    path = call.path
    with open({log!r}, "a") as log:
        print(repr((os.fsdecode(call.pathname), str(path), call.process.pid)), file=log)
    return Continue()
"""


@pytest.fixture
def seen(build, rule, run, native, tmp_path):
    """Run places.c twice; returns its own folder and what the rule saw, by path as given."""

    def look(word="def"):
        folder, other, log = tmp_path / "folder", tmp_path / "other", tmp_path / "log"
        folder.mkdir(), other.mkdir()
        ran = run("--rules", rule(SEES.format(word=word, log=str(log))), "--",
                  build("places"), str(folder))  # fmt: skip
        assert (ran.status, ran.lines) == (7, native(build("places"), str(other)).lines)
        rows = [ast.literal_eval(line) for line in log.read_text().splitlines()]
        opened = {event["args"]["pathname"] for event in ran.of("Open")}
        assert opened >= {given for given, _, _ in rows}
        return str(folder), rows

    return look


@pytest.mark.parametrize("word", ["def", "async def"])
def test_a_path_is_what_the_target_means(word, seen):
    """Relative, with dots, links, dirfds, a working directory, /proc/self and a chroot."""
    top, rows = seen(word)
    paths = {}
    for given, path, _ in rows:
        paths.setdefault(given, []).append(path)
    pid = rows[-1][2]
    file = f"{top}/sub/file"
    assert paths["sub/file"] == [file, file]
    assert paths["sub/../sub/./file"] == [file]
    assert paths["link"][:3] == [file, f"{top}/link", file]
    assert paths["way/file"] == [file]
    assert paths["file"][0] == file
    assert paths["../link"][0] == file
    assert paths["/../../../dev/null"] == ["/dev/null"]
    assert paths["/proc/self/comm"] == [f"/proc/{pid}/comm"]
    assert paths["/proc/self/cwd/sub/file"] == [file]
    assert paths["/proc/self/root/dev/null"] == ["/dev/null"]
    (by_descriptor,) = [
        found for given, found in paths.items() if given.startswith("/proc/self/fd")
    ]
    assert by_descriptor == [file]
    (by_thread,) = paths["/proc/thread-self/comm"]
    assert by_thread.startswith(f"/proc/{pid}/task/")
    assert not by_thread.endswith(f"/{pid}/comm")


def test_a_path_in_a_chroot_is_as_the_target_sees_it(seen):
    """Behind a chroot the path starts at the target's root, and no `..` leads above it."""
    _, rows = seen()
    at = [given for given, _, _ in rows].index("/file")
    inside = [(given, path) for given, path, _ in rows[at:]]
    assert inside[:3] == [("/file", "/file"), ("/../../../file", "/file"), ("/up/up/file", "/file")]
    # From a working directory outside of the root the link leads into it.
    (_, outside), (_, above) = inside[3:]
    assert outside == "/file"
    assert above == "/link"  # its directory is the root, and nothing is above that

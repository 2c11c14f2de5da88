"""Two containers of one name at once: ids are unique within a root, a namespace or a path only."""

import os
from contextlib import ExitStack, contextmanager

import pytest
from containers import oci
from containers.containerd import Containerd
from containers.lxc import Lxc
from containers.runc_like import Crun, Runc
from containers.service import Service

pytestmark = pytest.mark.root


class OtherRunc(Runc):
    """runc with another root."""

    name = "runc-other"


class OtherCrun(Crun):
    """crun with another root."""

    name = "crun-other"


class OtherLxc(Lxc):
    """LXC with another path of containers."""

    name = "lxc-other"


class OtherContainerd(Containerd):
    """The same containerd, in another of its namespaces."""

    name = "containerd-other"

    def __init__(self, ground, first):
        super().__init__(ground)
        self.socket, self._run = first.socket, first._run

    def serve_command(self):
        """None: the first one's serves."""
        return []

    def command(self, *words):
        """The client with these words, in a namespace of its own."""
        return super().command("--namespace=other", *words)


OTHERS = {"runc": OtherRunc, "crun": OtherCrun, "containerd": OtherContainerd}


@pytest.fixture(params=OTHERS)
def pair(request, runtimes, ground):
    """A runtime, and another of its kind that does not know the first one's containers."""
    first = runtimes(request.param)
    made = OTHERS[request.param]
    folder = ground.folder / made.name
    if folder.exists():  # of a test before
        for one in sorted(folder.rglob("*"), reverse=True):
            one.unlink() if not one.is_dir() or one.is_symlink() else one.rmdir()
        folder.rmdir()
    return first, made(ground, first) if made is OtherContainerd else made(ground)


def _profile(service, socket=None):
    return oci.profile("uname", "mknod", "mknodat", listener=socket or service.socket)


def _node(number):
    return ["/bin/mknod", f"/tmp/n{number}", "c", "1", "3"]


@pytest.mark.parametrize("order", [("host=a", "devices"), ("devices", "host=a")])
def test_what_is_executed_is_decided_by_its_own_container(pair, service, order):
    """Whichever came last: each call gets what its own container's rules say, and is told so."""
    name = f"twin-{pair[0].number()}"
    with ExitStack() as stack:
        containers = {
            asked: stack.enter_context(one.start(_profile(service), metadata=asked, name=name))
            for one, asked in zip(pair, order, strict=True)
        }
        for turn in range(2):
            told = {asked: one.exec(["/bin/uname", "-n"]) for asked, one in containers.items()}
            made = {asked: one.exec(_node(turn)).status for asked, one in containers.items()}
            assert told["host=a"].stdout == "elsewhere\n"
            assert told["devices"].stdout not in ("", "elsewhere\n")
            assert made == {"host=a": 1, "devices": 0}
        ids = dict(zip(order, (name, f"{name}~2"), strict=True))
        for asked, known in ids.items():
            begun, *joined = service.arrivals(known, 2)
            assert (begun["event"], begun["metadata"]) == ("workload.started", asked)
            assert {one["event"] for one in joined} == {"workload.joined"}
            assert {one["metadata"] for one in joined} == {asked}
        assert not service.arrivals(f"{name}~3", 0)


def test_one_that_is_not_supervised_any_more(pair, ground):
    """What is executed into a container of a daemon that has gone is no part of its namesake."""
    name, folder = f"twin-{pair[0].number()}", f"again-{pair[0].name}"
    with ExitStack() as stack:
        with Service.begin(ground, folder) as before:
            first = stack.enter_context(
                pair[0].start(_profile(before), metadata="host=a", name=name)
            )
            assert first.exec(["/bin/uname", "-n"]).stdout == "elsewhere\n"
        service = stack.enter_context(Service.begin(ground, folder))
        with pair[1].start(_profile(service), metadata="devices", name=name) as other:
            assert first.exec(["/bin/uname", "-n"]).stdout == "elsewhere\n"
            assert other.exec(_node(0)).status == 0
            assert first.exec(_node(0)).status != 0
        first.kill()


@contextmanager
def _monitored(lxc, profile, name, cookie):
    asked = lxc.asked("exec sleep 600", profile, name=name, metadata=cookie)
    started = lxc.ground.run(lxc.start_command(asked))
    try:
        assert started.status == 0, started
        yield
    finally:
        lxc.remove(name)


@pytest.mark.parametrize("cookies", [("host=a", "devices"), ("host=a", "host=a")])
def test_two_paths_of_lxc(runtimes, ground, service, cookies):
    """Even with one cookie, each is a workload of its own, and both are still called by name."""
    first = runtimes("lxc")
    other = OtherLxc(ground) if cookies[1] == "devices" else _again(ground)
    name = f"twin-{first.number()}"
    profile = _profile(service, service.lxc)
    with ExitStack() as stack:
        for one, cookie in zip((first, other), cookies, strict=True):
            stack.enter_context(_monitored(one, profile, name, cookie))
        told = [one.enter(name, ["/bin/uname", "-n"]).stdout for one in (first, other)]
        made = [one.enter(name, _node(0)).status for one in (first, other)]
        (here,), (there,) = service.arrivals(name, 1), service.arrivals(f"{name}~2", 1)
    assert told[0] == "elsewhere\n"
    assert (told[1] == "elsewhere\n") == (cookies[1] == "host=a")
    assert made == [1, 0 if cookies[1] == "devices" else 1]
    assert [one["metadata"] for one in (here, there)] == list(cookies)
    assert [one["bundle"] for one in (here, there)] == [str(first.folder), str(other.folder)]


def _again(ground):
    class ThirdLxc(Lxc):
        name = f"lxc-third-{os.getpid()}"

    return ThirdLxc(ground)

"""A monitor that does what LXC does is served."""

import errno
import os
import select
import signal
import stat

import pytest
import trio

from notifyd.intake.lxc import LXC, REQUEST_SCAN_INTERVAL_S
from notifyd.kernel.unotify import RESPONSE, RESPONSE_CONTINUE
from notifyd.policy.load import load

VERDICTS = {
    "Deny(errno.EXDEV)": (0, -errno.EXDEV, 0),
    "Return(2**40)": (2**40, 0, 0),
    "Allow()": (0, 0, RESPONSE_CONTINUE),
}


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_verdicts(start, serve, kind, verdict, rules_of, refused):
    """What a rule says reaches LXC, which answers; the next call comes by the same connection."""
    child, monitor = start(lambda: refused() == refused() == -min(VERDICTS[verdict][1], 0))
    rules, _ = rules_of(f"@on(Raw('getppid'))\n{kind} answer(call):\n    return {verdict}\n")

    async def work(service):
        monitor.connect()
        for _ in range(2):
            assert await monitor.answer(await monitor.ask()) == VERDICTS[verdict]
        assert await child.status() == 1
        (arrival,) = service.arrivals
        assert (arrival.kind, arrival.metadata) == (LXC, "a cookie")
        assert arrival.id == f"lxc-{arrival.pid}"

    assert serve(work, rules).refused == []


def test_a_performed_open(start, serve, tmp_path, rules_of):
    """The descriptor is put into the target, and its number is the answer."""
    (tmp_path / "file").write_bytes(b"*")

    def work_in_child():
        descriptor = os.open(tmp_path / "file", os.O_RDONLY)
        return os.read(descriptor, 9)[0] if not os.get_inheritable(descriptor) else 1

    child, monitor = start(work_in_child, ["openat"])
    rules, _ = rules_of(
        "@on(Open)\ndef answer(call):\n    return Allow() if call.path.name == 'file' else None\n"
    )

    async def work(_):
        monitor.connect()
        value, error, flags = await monitor.answer(await monitor.ask())
        assert value > 2
        assert (error, flags) == (0, 0)
        assert await child.status() == ord("*")

    serve(work, rules)


@pytest.mark.root
def test_a_device(start, serve, tmp_path):
    """What notifyd performs needs no descriptor and no memory of LXC's."""
    null, disk = tmp_path / "null", tmp_path / "disk"

    def work_in_child():
        os.mknod(null, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        try:
            os.mknod(disk, stat.S_IFBLK | 0o600, os.makedev(8, 0))
        except PermissionError:
            return os.stat(null).st_rdev == os.makedev(1, 3)
        return 5

    child, monitor = start(work_in_child, ["mknod", "mknodat"])

    async def work(_):
        monitor.connect()
        assert await monitor.answer(await monitor.ask()) == (0, 0, 0)
        assert await monitor.answer(await monitor.ask()) == (0, -errno.EPERM, 0)
        assert await child.status() == 1
        assert not disk.exists()

    serve(work, load(["harmless-devices"]))


def test_a_target_that_is_killed(start, serve, waits):
    """LXC, which does not notice, is told at once: by the end of the connection at first."""
    rules, module = waits
    first, monitor = start(os.getppid)
    second, other = start(lambda: os.getppid() * 0 + os.getppid())

    async def work(service):
        monitor.connect()
        await monitor.ask()
        await service.until(lambda: module.asked)
        os.kill(first.pid, signal.SIGKILL)
        assert await monitor.reply() == b""
        await service.until(lambda: service.workloads[0].ended.is_set())

        other.connect()
        note = await other.ask()
        module.go.set()
        assert await other.answer(note) == (7, 0, 0)
        module.go = trio.Event()
        await other.ask()
        await service.until(lambda: len(module.asked) == 3)
        os.kill(second.pid, signal.SIGKILL)
        reply = await other.reply()
        assert RESPONSE.unpack(reply[112:])[2] == -errno.ENOSYS
        assert not service.workloads[1].ended.is_set()

    assert serve(work, rules).refused == []


def test_the_time_limit(start, serve, waits, refused, clock):
    """No answer in time: the connection ends, and so does the rule; the next call is answered."""
    rules, module = waits
    child, monitor = start(lambda: refused() == errno.ENOSYS and os.getppid())

    async def work(service):
        monitor.connect()
        note = await monitor.ask()
        await service.until(lambda: module.asked)
        clock.ahead = 50.0
        await trio.sleep(1.2 * REQUEST_SCAN_INTERVAL_S)
        assert not service.workloads[0].ended.is_set()
        clock.ahead = 101.0
        assert await monitor.answer(note) is None
        await service.until(lambda: service.workloads[0].ended.is_set())
        clock.ahead = 0.0  # the kernel's stamp of the next packet is by the real clock
        monitor.connect()
        note = await monitor.ask()
        module.go.set()
        assert await monitor.answer(note) == (7, 0, 0)
        assert await child.status() == 7

    service = serve(work, rules, answer_within=100.0)
    assert service.refused == [
        "no answer within 100 seconds: LXC waits 30, and takes a later one for another call's"
    ]


def test_a_rule_that_holds_up_the_loop(start, serve, rules_of, refused):
    """Its connection ends in time all the same, and what it says too late is not sent."""
    child, monitor = start(refused)
    rules, module = rules_of(
        "import threading\ngo = threading.Event()\n"
        "@on(Raw('getppid'))\ndef answer(call):\n    go.wait(10)\n    return Return(7)\n"
    )

    def play():
        """The monitor, in a thread of its own."""
        select.select([child.listener], [], [])
        note = monitor.notifier.receive()
        monitor.send(monitor.packet(note), note)
        reply = monitor.socket.recv(4096)
        monitor.notifier.respond(note[0], 0, -errno.ENOSYS, 0)
        module.go.set()
        return reply

    async def work(_):
        monitor.connect()
        assert await trio.to_thread.run_sync(play) == b""
        assert await child.status() == errno.ENOSYS

    assert len(serve(work, rules, answer_within=0.2).refused) == 1


def test_a_request_that_lay_in_the_socket(start, serve, returns, refused, clock):
    """Its time counts from when it came, not from when the loop had time for it."""
    child, monitor = start(lambda: os.getppid() + refused())

    async def work(service):
        monitor.connect()
        assert await monitor.answer(await monitor.ask()) == (7, 0, 0)
        note = await monitor.ask()
        clock.ahead = 101.0  # the loop sees it only then
        assert await monitor.answer(note) is None
        assert await child.status() == 7 + errno.ENOSYS

    assert len(serve(work, returns, answer_within=100.0).refused) == 1


def test_the_end_of_a_monitor(start, serve, waits, refused):
    """Its workload ends, with a call that waits or without; what waits is cancelled."""
    rules, module = waits
    child, monitor = start(refused)

    async def work(service):
        monitor.connect()
        note = await monitor.ask()
        await service.until(lambda: module.asked)
        monitor.close()
        await service.until(lambda: service.workloads[0].ended.is_set())
        assert service.supervisor.workloads == ()
        monitor.notifier.respond(note[0], 0, -errno.EXDEV, 0)
        assert await child.status() == errno.EXDEV

    assert serve(work, rules).refused == []

"""The real daemon, `notifyd serve`: started, asked what it wrote down, and stopped."""

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import oci
from .ground import PATIENCE, Ground
from .lxc import Lxc
from .runtime import Runtime, serve, wait_until

RULES = Path(__file__).parents[1] / "rules"
CONFIGURATION = """
audit = "{folder}/events.jsonl"
[sockets.oci]
path = "{folder}/oci.sock"
[sockets.lxc]
path = "{folder}/lxc.sock"
[[workload]]
name = "named"
rules = ["fake-hostname"]
options.name = "elsewhere"
match.metadata = "host=*"
[[workload]]
name = "annotated"
rules = ["fake-hostname"]
options.name = "annotated"
match.annotations = { "org.example.name" = "own" }
[[workload]]
name = "programs"
rules = ["exec-allowlist"]
options.sha256 = "{digest}"
match.metadata = "programs"
[[workload]]
name = "slow"
rules = ["{rules}/slow.py"]
match.metadata = "slow"
[[workload]]
name = "devices"
rules = ["harmless-devices"]
"""
Event = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """The daemon: its sockets, and what it wrote down, all in one folder."""

    folder: Path

    @classmethod
    @contextmanager
    def begin(
        cls, ground: Ground, name: str, program: Sequence[str] = ("-m", "notifyd")
    ) -> Iterator["Service"]:
        """Start it, and see that its end is in order.

        Args:
            ground: where it has its folder.
            name: of that folder, which may be there from a daemon before.
            program: what Python is to run for `notifyd`.
        """
        made = cls(ground.folder / name)
        made.folder.mkdir(mode=0o711, exist_ok=True)
        digest = hashlib.sha256((ground.rootfs / "bin/busybox").read_bytes()).hexdigest()
        text = CONFIGURATION.replace("{digest}", digest).replace("{rules}", str(RULES))
        configuration = made.folder / "notifyd.toml"
        configuration.write_text(text.replace("{folder}", str(made.folder)))
        words = [sys.executable, *program, "serve", "--config", str(configuration)]
        begun = serve(ground, words, made.socket)
        wait_until((made.folder / "events.jsonl").is_file, words, begun)  # made after the sockets
        try:
            yield made
        except BaseException:
            begun.stop(signal.SIGTERM)
            raise
        wait_until(lambda: not _targets(begun.process.pid), "no target is held open", begun)
        finished = begun.stop(signal.SIGTERM)
        assert finished.status == 0, finished
        assert "Traceback" not in finished.stderr

    @property
    def socket(self) -> Path:
        """For OCI runtimes."""
        return self.folder / "oci.sock"

    @property
    def lxc(self) -> Path:
        """For LXC's monitors."""
        return self.folder / "lxc.sock"

    def profile(self, runtime: Runtime) -> dict[str, Any]:
        """What a container of a runtime has to be started with to be asked about devices."""
        here = self.lxc if runtime.name == Lxc.name else self.socket
        return oci.profile("mknod", "mknodat", listener=here)

    def settle(self, runtime: Runtime, *lines: str) -> None:
        """Have the `notifyd-runtime` of a runtime use our socket, and further settings."""
        runtime.settings.write_text("\n".join([f'listener = "{self.socket}"', *lines, ""]))

    def calls(self, workload: str, count: int) -> list[Event]:
        """The events of a container's calls, by its id, as soon as there are so many."""
        return self.events(count, "call", workload=workload)

    def arrivals(self, workload: str, count: int) -> list[Event]:
        """The events of a container's arrival and of what entered it, by its id, as `calls`."""
        return self.events(count, "workload.started", "workload.joined", workload=workload)

    def unheard(self, workload: str) -> list[Event]:
        """What the daemon missed in a container's filter; it says so before it decides a call."""
        return self.events(0, "workload.unheard", workload=workload)

    def events(self, count: int, *kinds: str, **fields: Any) -> list[Event]:
        """The events of these kinds with these fields, as soon as there are `count`."""
        # They are written after the answers: a container may be gone before its last one is there.
        deadline = time.monotonic() + PATIENCE
        while len(found := self._written(kinds, fields)) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def _written(self, kinds: Sequence[str], fields: Event) -> list[Event]:
        *lines, _ = (self.folder / "events.jsonl").read_text().split("\n")  # the last may be half
        events = [json.loads(line) for line in lines]
        return [one for one in events if one["event"] in kinds and fields.items() <= one.items()]


def _targets(pid: int) -> list[str]:
    """What of /proc the daemon has open: of workloads that have ended, nothing."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return [one for one in found if one.startswith("/proc/")]

"""`make demo`: notifyd's main job on real programs. Takes seconds and changes nothing.

For everybody: a plugin that tries the network. As root also: a web server of the user nobody, on
port 80, in a network namespace of its own where there is one to be had.
"""

# ruff: noqa: S603, S606, S607  # it runs commands, all of them written here

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTIFYD = os.environ.get("NOTIFYD", str(Path(sys.executable).parent / "notifyd"))
PATIENCE = 20.0  # seconds; ten times what the slowest step takes on a small machine
INSIDE = "NOTIFYD_DEMO_NETWORK"  # set once the demo runs in its own network namespace
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # netdevice(7)
PAGE = "<title>Served from a low port</title>\n"


def main() -> int:
    """Show what can be shown here."""
    root = os.geteuid() == 0
    if root and INSIDE not in os.environ and _can_unshare():
        words = ["unshare", "--net", sys.executable, *sys.argv]
        os.execvpe(words[0], words, {**os.environ, INSIDE: "own"})
    if os.environ.get(INSIDE):
        _bring_up_loopback()
    with tempfile.TemporaryDirectory(prefix="notifyd-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # so that nobody can read what is shown
        shutil.copy(HERE / "plugin.py", folder)
        (folder / "index.html").write_text(PAGE)
        os.chdir(folder)
        user = ["--user", "nobody"] if root else []
        python = _python_for(user)
        if not root:
            say(
                "Run as root, this demo also shows a web server of an ordinary user that may bind",
                "port 80, because a rule grants that port by name. Here is the half for everybody.",
            )
        wrap_plugin(user, python)
        if root:
            serve_low_port(user, python)
    return 0


def wrap_plugin(user: Sequence[str], python: str) -> None:
    """A plugin that does its job, and does not get what it was not asked for."""
    title("A plugin that tries the network")
    say("This plugin counts words. Nobody asked it to send a datagram as well. Without notifyd:")
    show([python, "plugin.py"])
    say(
        "Under the rule no-network the kernel itself refuses the socket. The plugin goes on, and",
        "no call had to wait for notifyd:",
    )
    show([NOTIFYD, "run", *user, "--rules", "no-network", "--", python, "plugin.py"])


def serve_low_port(user: Sequence[str], python: str) -> None:
    """A server without privileges on a port that needs one."""
    title("A web server of the user nobody, on a low port")
    port = _low_port()
    if port is None:
        say("This machine lets everybody bind low ports (ip_unprivileged_port_start is 0), and no")
        say("network namespace is to be had. So there is nothing to refuse, and nothing to grant.")
        return
    server = [python, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    say(f"Ports below 1024 are not for ordinary users. The kernel refuses nobody port {port}:")
    show(
        [NOTIFYD, "run", *user, "--quiet", "--rules", "no-privilege-escalation", "--", *server],
        last=1,
    )
    say(
        "The rule bind-low-ports grants this one port by name: notifyd binds the server's own",
        "socket, to the very address that it looked at. The server stays nobody, with no powers:",
    )
    grant = ["--rules", "bind-low-ports", "--option", f"ports={port}"]
    serve([NOTIFYD, "run", *user, *grant, "--", *server], port)


def serve(command: Sequence[str], port: int) -> None:
    """Start a server, fetch a page from it, and stop it as Ctrl-C would."""
    print_command(command)
    quiet = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=quiet, start_new_session=True) as server:
        try:
            page = _fetch(f"http://127.0.0.1:{port}/", server)
            print(f"\nfetched http://127.0.0.1:{port}/: {page.strip()}\n", flush=True)
            server.send_signal(signal.SIGINT)  # notifyd passes it on
            server.wait(PATIENCE)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)


def show(command: Sequence[str], last: int | None = None) -> None:
    """Print a command and run it; of its errors only the last lines, if that is wanted."""
    print_command(command)
    errors = None if last is None else subprocess.PIPE
    done = subprocess.run(command, stderr=errors, timeout=PATIENCE, check=False, text=True)
    if last is not None:
        print("\n".join(done.stderr.splitlines()[-last:]))
    print(f"(exit status {done.returncode})", flush=True)


def print_command(command: Sequence[str]) -> None:
    """As a person would type it."""
    words = [Path(word).name if word.startswith("/") else word for word in command]
    print(f"\n$ {shlex.join(words)}", flush=True)


def title(text: str) -> None:
    """The head of a part."""
    print(f"\n{text}\n{'=' * len(text)}", flush=True)


def say(*lines: str) -> None:
    """Narration."""
    print("", *lines, sep="\n", flush=True)


def _can_unshare() -> bool:
    """Whether there is a network namespace to be had, in which low ports are kept and free."""
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return done.returncode == 0


def _python_for(user: Sequence[str]) -> str:
    """A Python that the user may execute: ours may lie in root's home."""
    for path in ("/usr/bin/python3", shutil.which("python3"), sys.executable):
        if path and os.path.exists(path):
            probe = [NOTIFYD, "run", "-q", "-r", "no-network", *user, "--", path, "-c", ""]
            done = subprocess.run(probe, capture_output=True, timeout=PATIENCE, check=False)
            if done.returncode == 0:
                return path
    sys.exit("demo: there is no Python that the user nobody may execute")


def _low_port() -> int | None:
    """A free port that is kept from ordinary users; None if no port is."""
    start = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    kept = int(start.read_text()) if start.exists() else 1024
    for port in (80, 81, 88, 443, *range(900, 1024)):
        if port < kept and _is_free(port):
            return port
    return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def _fetch(url: str, server: subprocess.Popen[bytes]) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with opener.open(url, timeout=PATIENCE) as answer:
                return str(answer.read().decode())
        except OSError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"demo: the server cannot be reached: {error}")
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())

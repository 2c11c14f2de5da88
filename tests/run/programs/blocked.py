"""Connecting where nobody accepts: what waits is killed, is disturbed, or is many.

    blocked.py MODE PORT

MODE: killed, signalled, toggled, crowd. Where the queue of PORT is full, a connection stays in
SYN_SENT.
"""

import contextlib
import fcntl
import os
import signal
import socket
import sys
import threading
import time

MODE, PORT = sys.argv[1], int(sys.argv[2])
PATIENCE = 30.0  # seconds
MANY = 150  # more than there may be helpers


def connect():
    with socket.socket() as one:
        one.connect(("127.0.0.1", PORT))


def begun():
    """How many connections wait for PORT."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file][1:]
    return sum(row[3] == "02" and int(row[2].rpartition(":")[2], 16) == PORT for row in rows)


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"still not so: {begun()} wait")
        time.sleep(0.01)


def child(work):
    pid = os.fork()
    if not pid:
        work()
        os._exit(0)
    return pid


if MODE == "killed":
    pids = [child(connect) for _ in range(3)]
    until(lambda: begun() == 3)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    until(lambda: not begun())
    print("gone")
elif MODE == "signalled":

    def handled(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, handled)
    signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
    try:
        connect()
    except TimeoutError:
        print("interrupted")
    until(lambda: not begun())
    print("gone")
elif MODE == "toggled":
    now = []  # the descriptor that is being connected

    def toggle():
        while True:
            for fd in now:
                with contextlib.suppress(OSError):  # closed meanwhile
                    for flags in (os.O_NONBLOCK, 0):
                        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR | flags)

    def attempts():
        while True:
            with socket.socket() as one, contextlib.suppress(OSError):
                one.setblocking(False)
                now[:] = [one.fileno()]
                one.connect(("127.0.0.1", PORT))
            now.clear()

    def neighbour():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            for _ in range(10_000):
                one.connect(("127.0.0.1", 9))
        print("neighbour 10000", flush=True)

    for work in (toggle, attempts):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(0.1)  # for what goes on in threads to go on
    os.waitpid(child(neighbour), 0)
    os._exit(7)
else:
    for _ in range(MANY):
        threading.Thread(target=connect, daemon=True).start()
    until(lambda: begun() == MANY)
    for number in range(200):
        os.mkdir(f"{number}")
    print("meanwhile", sum(name.isdigit() for name in os.listdir(".")))
    sys.stdout.flush()
    os._exit(7)
sys.exit(7)

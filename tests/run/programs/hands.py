"""A client and a server that hand each other descriptors, as Wayland's and multiprocessing's do."""

import array
import multiprocessing
import os
import socket
import struct
import sys
import tempfile
from multiprocessing import reduction


def serve(listener, ready):
    """Take a memfd and say who sent it, by the connection and by the message."""
    connection, _ = listener.accept()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    peer = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    ready.send("go on")
    connection.send(b"?")
    _, control, *_ = connection.recvmsg(4, 512)
    found = {kind: body for _, kind, body in control}
    fds = array.array("i", found[socket.SCM_RIGHTS])
    sender = struct.unpack("3i", found[socket.SCM_CREDENTIALS])
    ready.send((peer[0], sender[0], os.pread(fds[0], 99, 0)))


def wayland():
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(folder + "/wayland-0")
        listener.listen()
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.Process(target=serve, args=(listener, theirs))
        server.start()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(folder + "/wayland-0")
            ours.recv()
            client.recv(1)
            pool = os.memfd_create("pool")
            os.pwrite(pool, b"pixels", 0)
            socket.send_fds(client, [b"pool"], [pool])
            peer, sender, text = ours.recv()
        server.join()
        print("wayland", peer == os.getpid(), sender == os.getpid(), text)


def worker(pipe):
    with os.fdopen(reduction.recv_handle(pipe), "rb") as file:
        pipe.send(file.read())


def hands():
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=worker, args=(theirs,))
    process.start()
    with tempfile.TemporaryFile() as file:
        file.write(b"handed over")
        file.seek(0)
        reduction.send_handle(ours, file.fileno(), process.pid)
        print("handle", ours.recv())
    process.join()
    with multiprocessing.get_context("forkserver").Pool(2) as pool:
        print("pool", pool.map(abs, range(-3, 0)))


if __name__ == "__main__":
    sys.modules["__main__"].__spec__ = None
    wayland()
    hands()

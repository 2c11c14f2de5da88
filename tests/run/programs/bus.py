"""A session bus and two clients: whom the bus takes them for. Needs dbus-daemon and dbus-send."""

import os
import socket
import struct
import subprocess
import tempfile

BUS = "org.freedesktop.DBus"


def padded(data, to=8):
    return data + bytes(-len(data) % to)


def text(value):
    return struct.pack("<I", len(value)) + value.encode() + b"\0"


def call(serial, member, argument=None):
    """A method call to the bus itself, with one string at most: the D-Bus specification."""
    body = text(argument) if argument else b""
    fields = b""
    for code, kind, value in ((1, "o", "/"), (3, "s", member), (6, "s", BUS), (2, "s", BUS)):
        fields = padded(fields) + bytes([code, 1]) + kind.encode() + b"\0" + text(value)
    if argument:
        fields = padded(fields) + b"\x08\x01g\x00\x01s\x00"
    head = struct.pack("<4BIII", ord("l"), 1, 0, 1, len(body), serial, len(fields))
    return padded(head + fields) + body


def answer(client, serial):
    """The body of the answer to a call; what is no answer is left out."""
    while True:
        head = client.recv(16, socket.MSG_WAITALL)
        _, kind, _, _, size, _, fields = struct.unpack("<4BIII", head)
        rest = client.recv(-(-fields // 8) * 8, socket.MSG_WAITALL)
        body = client.recv(size, socket.MSG_WAITALL) if size else b""
        if kind in (2, 3) and b"\x05\x01u\x00" + struct.pack("<I", serial) in rest:
            return body


with tempfile.TemporaryDirectory() as folder:
    address = f"unix:path={folder}/bus"
    line = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address"]
    bus = subprocess.Popen([*line, "--address", address], stdout=subprocess.PIPE)
    bus.stdout.readline()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(folder + "/bus")
        own = (os.getpid(), os.getuid(), os.getgid())
        credentials = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("3i", *own))
        client.sendmsg([b"\0"], [credentials])  # as GLib's clients say who they are
        client.sendmsg([b"AUTH EXTERNAL ", str(os.getuid()).encode().hex().encode(), b"\r\n"])
        print(client.recv(999)[:3].decode())
        client.sendmsg([b"BEGIN\r\n", call(1, "Hello")])
        name = answer(client, 1)[4:-1].decode()
        client.sendmsg([call(2, "GetConnectionUnixProcessID", name)])
        (pid,) = struct.unpack("<I", answer(client, 2))
        print("the bus knows its client" if pid == os.getpid() else "another")
    ask = ["dbus-send", "--session", "--print-reply=literal", f"--dest={BUS}", "/"]
    asked = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": address}
    done = subprocess.run([*ask, f"{BUS}.ListNames"], env=asked, capture_output=True, text=True)
    print(done.returncode, BUS in done.stdout)
    bus.terminate()
    bus.wait()

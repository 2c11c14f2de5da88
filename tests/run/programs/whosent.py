"""Says, for each way to send, whom the receiver takes for the sender."""

import ctypes
import os
import socket
import struct
import sys
import tempfile

LIBC = ctypes.CDLL(None, use_errno=True)
PASSCRED = (socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
UCRED = struct.Struct("=3i")


def told(message, child):
    """The credentials that came with a message, as words."""
    data, control, *_ = message
    for level, kind, body in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid, uid, gid = UCRED.unpack(body)
            words = {child: "the sender", os.getpid(): "its parent", 0: "nobody"}
            who = words.get(pid, "another")
            more = [kind for _, kind, _ in control]
            return f"{who} {uid == os.geteuid()} {gid == os.getegid()} {data!r} {sorted(more)}"
    return f"no credentials {data!r}"


def tried(act):
    """What a call gives: its result, or its errno's name."""
    import errno

    try:
        return act()
    except OSError as error:
        return errno.errorcode.get(error.errno, "nothing came")


def credentials(pid, uid, gid):
    return [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, UCRED.pack(pid, uid, gid))]


def rights(*fds):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"={len(fds)}i", *fds))]


class Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("size", ctypes.c_size_t))


class Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(Iovec)),
        ("iovlen", ctypes.c_size_t), ("control", ctypes.c_char_p),
        ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int), ("padding", ctypes.c_int),
        ("sent", ctypes.c_uint),
    )  # fmt: skip


def sendmmsg(sock, *texts):
    vectors = [Iovec(text, len(text)) for text in texts]
    headers = (Header * len(texts))(
        *[Header(None, 0, ctypes.pointer(one), 1, None, 0, 0, 0, 99) for one in vectors]
    )
    sent = LIBC.sendmmsg(sock.fileno(), headers, len(texts), 0)
    return sent, [one.sent for one in headers]


WAYS = {
    "send": lambda s: s.send(b"text"),
    "sendmsg": lambda s: s.sendmsg([b"te", b"xt"]),
    "write": lambda s: os.write(s.fileno(), b"text"),
    "sendmmsg": lambda s: sendmmsg(s, b"one"),
    "sendmmsg, two": lambda s: sendmmsg(s, b"one", b"three"),
    "descriptors": lambda s: s.sendmsg([b"text"], rights(0, 2)),
    "wrong descriptor": lambda s: s.sendmsg([b"text"], rights(999)),
    "own credentials": lambda s: s.sendmsg(
        [b"text"], credentials(os.getpid(), os.getuid(), os.getgid())
    ),
    "both": lambda s: s.sendmsg(
        [b"text"], rights(1) + credentials(os.getpid(), os.getuid(), os.getgid())
    ),
    "its parent": lambda s: s.sendmsg(
        [b"text"], credentials(os.getppid(), os.getuid(), os.getgid())
    ),
    "no process": lambda s: s.sendmsg(
        [b"text"], credentials(4194303, os.getuid(), os.getgid())
    ),
    "another user": lambda s: s.sendmsg([b"text"], credentials(os.getpid(), 1234, os.getgid())),
    "another group": lambda s: s.sendmsg([b"text"], credentials(os.getpid(), os.getuid(), 1234)),
    "no user": lambda s: s.sendmsg([b"text"], credentials(os.getpid(), -1, os.getgid())),
    "a long one": lambda s: s.sendmsg([b"a" * 3000] * 3) and None,
}  # fmt: skip


def in_child(act):
    """Do it in a child, and say what came of it."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(theirs, repr(tried(act)).encode())
        os._exit(0)
    os.close(theirs)
    with open(ours) as result:
        return child, result.read()


def pairs():
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        for name, act in WAYS.items():
            one, other = socket.socketpair(socket.AF_UNIX, kind)
            one.setsockopt(*PASSCRED)
            one.settimeout(0.2)
            child, came = in_child(lambda act=act, other=other: act(other))
            other.close()
            said = tried(lambda one=one, child=child: told(one.recvmsg(9, 999), child))
            os.waitpid(child, 0)
            print(kind.name, name, "->", came, said, flush=True)
            one.close()


def addressed(folder):
    path = folder + "/socket"
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.setsockopt(*PASSCRED)
    server.settimeout(5)
    server.bind(path)
    os.chmod(path, 0o777)
    for name, to in (("path", path), ("abstract", "\0" + str(os.getpid()))):
        if name == "abstract":
            server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            server.setsockopt(*PASSCRED)
            server.settimeout(5)
            server.bind(to)
        for way, act in {
            "sendto": lambda s, to=to: s.sendto(b"text", to),
            "sendmsg": lambda s, to=to: s.sendmsg([b"te", b"xt"], rights(0), 0, to),
        }.items():

            def send(act=act):
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                    return act(client)

            child, came = in_child(send)
            print(name, way, "->", came, told(server.recvmsg(9, 999), child), flush=True)
            os.waitpid(child, 0)


def connected(folder):
    for name, to in (("path", folder + "/listens"), ("abstract", f"\0listens{os.getpid()}")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            if name == "path" and os.path.exists(to):
                os.unlink(to)
            server = socket.socket(socket.AF_UNIX, kind)
            server.bind(to)
            server.listen()

            def connect(kind=kind, to=to):
                client = socket.socket(socket.AF_UNIX, kind)
                client.connect(to)
                client.recv(1)
                return "done"

            ours, theirs = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(theirs, repr(tried(connect)).encode())
                os._exit(0)
            peer, _ = server.accept()
            said = UCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            peer.send(b"x")
            os.waitpid(child, 0)
            same = said[1:] == (os.geteuid(), os.getegid())
            print(name, kind.name, "peer is", "me" if said[0] == child else "another", same)
            os.close(theirs)
            os.close(ours)
            server.close()


with tempfile.TemporaryDirectory() as folder:
    for wanted in sys.argv[1:]:
        {"pairs": pairs, "addressed": lambda: addressed(folder),
         "connected": lambda: connected(folder)}[wanted]()  # fmt: skip

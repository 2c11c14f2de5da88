"""Calls on sockets: connect, bind and send, by path, by abstract name and by number."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from calltable.paths import KINDS, ODD, PROC
from calltable.settings import ANYBODY, ROOT

_PATHS = [one for one in (*KINDS, *ODD) if not one.startswith(("d4", "y"))]
_LISTENER = "!socket AF_UNIX SOCK_STREAM 0 =1; !unlink ssock; !bind $1 asock z; !listen $1 5; "
_RECEIVER = "!socket AF_UNIX SOCK_DGRAM 0 =1; !unlink ssock; !bind $1 asock z; "
_STREAM = "!socket AF_UNIX SOCK_STREAM 0 =2; "
_DGRAM = "!socket AF_UNIX SOCK_DGRAM 0 =2; "
_ABSTRACT = "!socket AF_UNIX SOCK_STREAM 0 =1; !bind $1 a%00@ z; !listen $1 5; "
_ABSTRACT_DGRAM = "!socket AF_UNIX SOCK_DGRAM 0 =1; !bind $1 a%00@ z; "
_TCP = "!socket AF_INET SOCK_STREAM 0 =1; !bind $1 q0 z; !listen $1 5; "
_UDP = "!socket AF_INET SOCK_DGRAM 0 =1; !bind $1 q0 z; "
_FILE = "!openat AT_FDCWD sfile O_RDWR =3; "
_NEW = "!lstat snew ostat"

LONG = [
    "a" + "x" * 107,
    "a" + "x" * 108,
    "a" + "x" * 109,
    "adir/" + "x" * 103,
    "a" + "./" * 51 + "sock",
]
PATHS = (
    [_LISTENER + _STREAM + f"connect $2 a{path} z" for path in [*_PATHS, *PROC]]
    + [
        _STREAM + f"bind $2 a{path} z; getsockname $2 o120 b%78%00%00%00"
        for path in [*_PATHS, *PROC]
    ]
    + [_RECEIVER + _DGRAM + f"sendto $2 shello 5 0 a{path} z; got $1" for path in [*_PATHS, *PROC]]
)
EDGES = [
    setup + call.replace("P", address).replace("Z", size)
    for setup, call in (
        (_LISTENER + _STREAM, "connect $2 P Z"),
        (_STREAM, "bind $2 P Z; " + _NEW),
        (_RECEIVER + _DGRAM, "sendto $2 shello 5 0 P Z; got $1"),
    )
    for address, size in (
        *((one, "z") for one in LONG),
        ("asock", "0"), ("asock", "1"), ("asock", "2"), ("asock", "3"), ("asock", "6"),
        ("asock", "7"), ("asock", "110"), ("asock", "111"), ("asock", "128"), ("asock", "129"),
        ("asock", "-1"), ("0", "0"), ("0", "7"), ("u", "7"), ("u", "0"), ("e", "7"),
        ("b%00%00", "2"), ("b%00%00xxxx", "6"), ("b%63%00xxxxxx", "8"), ("q9", "z"),
        ("b%01%00%00abc", "6"), ("b%01%00", "2"), ("anew%00more", "12"),
    )
]  # fmt: skip
PLAIN = """
LISTENER STREAM connect $2 asock z; connect $2 asock z; getpeername $2 o120 b%78%00%00%00
LISTENER DGRAM connect $2 asock z
RECEIVER STREAM connect $2 asock z
RECEIVER DGRAM connect $2 asock z; sendto $2 shello 5 0 0 0; got $1
RECEIVER DGRAM connect $2 asock z; connect $2 b%00%00 2; sendto $2 shello 5 0 0 0; got $1
RECEIVER DGRAM bind $2 anew z; sendto $2 shello 5 0 asock z; got $1
RECEIVER DGRAM sendmsg $2 masock,hello,- 0; got $1
RECEIVER DGRAM sendmsg $2 masock,,- 0; got $1
RECEIVER DGRAM FILE sendmsg $2 masock,hello,$3 0; got $1
RECEIVER DGRAM sendmsg $2 masock,hello,77 0; got $1
RECEIVER DGRAM sendmsg $2 manothing,hello,- 0; got $1
RECEIVER DGRAM sendmsg $2 malsock,hello,- MSG_DONTWAIT; got $1
RECEIVER DGRAM sendmmsg $2 masock,one,-||masock,two,- 2 0; got $1; got $1
RECEIVER DGRAM sendmmsg $2 masock,one,-||anothing,two,- 2 0; got $1; got $1
RECEIVER DGRAM sendmmsg $2 anothing,one,-||masock,two,- 2 0; got $1
RECEIVER DGRAM FILE sendmmsg $2 masock,one,$3||masock,two,- 2 0; got $1; got $1
RECEIVER DGRAM sendmmsg $2 masock,one,- 0 0; got $1
RECEIVER DGRAM sendmmsg $2 u 2 0
RECEIVER DGRAM sendmmsg $2 u 0 0
RECEIVER DGRAM sendmsg $2 u 0
RECEIVER DGRAM sendmsg $2 0 0
RECEIVER DGRAM sendto $2 u 5 0 asock z; got $1
RECEIVER DGRAM sendto $2 0 0 0 asock z; got $1
RECEIVER DGRAM sendto $2 shello 5 MSG_OOB asock z; got $1
RECEIVER DGRAM sendto $2 shello 5 0 0 0
RECEIVER DGRAM sendto $2 x300000 300000 MSG_DONTWAIT asock z
LISTENER STREAM sendto $2 shello 5 MSG_NOSIGNAL asock z
LISTENER STREAM sendto $2 shello 5 0 0 0
LISTENER STREAM connect $2 asock z; shutdown $2 1; sendto $2 shello 5 MSG_NOSIGNAL 0 0
LISTENER STREAM connect $2 asock z; !shutdown $2 1; sendto $2 shello 5 0 0 0
LISTENER STREAM connect $2 asock z; !accept $1 0 0 =4; FILE sendmsg $2 m-,hello,$3 0; got $4
LISTENER STREAM connect $2 asock z; !accept $1 0 0 =4; sendto $2 shello 5 0 0 0; got $4
ABSTRACT STREAM connect $2 a%00@ z; getpeername $2 o120 b%78%00%00%00
ABSTRACT STREAM connect $2 a%00@none z
ABSTRACT STREAM bind $2 a%00@ z
ABSTRACT STREAM bind $2 a%00@b z; getsockname $2 o120 b%78%00%00%00
ABSTRACT_DGRAM DGRAM sendto $2 shello 5 0 a%00@ z; got $1
ABSTRACT_DGRAM DGRAM sendmsg $2 ma%00@,hello,- 0; got $1
TCP !socket AF_INET SOCK_STREAM 0 =2; connect $2 p1 z; connect $2 p1 z
TCP !socket AF_INET SOCK_STREAM|SOCK_NONBLOCK 0 =2; connect $2 p1 z; sendto $2 shello 5 0 0 0
TCP !socket AF_INET SOCK_DGRAM 0 =2; connect $2 p1 z
TCP !socket AF_INET SOCK_STREAM 0 =2; bind $2 p1 z
TCP !socket AF_INET SOCK_STREAM 0 =2; bind $2 q0 z; bind $2 q0 z
TCP !socket AF_INET SOCK_STREAM 0 =2; bind $2 q80 z
TCP !socket AF_INET SOCK_STREAM 0 =2; bind $2 q0 8
TCP !socket AF_INET SOCK_STREAM 0 =2; connect $2 q1 z
TCP !socket AF_INET SOCK_STREAM 0 =2; connect $2 p1 8
TCP !socket AF_INET SOCK_STREAM 0 =2; connect $2 asock z
TCP !socket AF_INET6 SOCK_STREAM 0 =2; connect $2 p1 z
TCP STREAM connect $2 p1 z
TCP STREAM bind $2 q0 z
UDP !socket AF_INET SOCK_DGRAM 0 =2; sendto $2 shello 5 0 p1 z; got $1
UDP !socket AF_INET SOCK_DGRAM 0 =2; sendto $2 shello 5 0 0 0
UDP !socket AF_INET SOCK_DGRAM 0 =2; sendto $2 shello 5 0 q0 z
UDP !socket AF_INET SOCK_DGRAM 0 =2; sendmsg $2 mp1,hello,- 0; got $1
UDP !socket AF_INET SOCK_DGRAM 0 =2; sendmmsg $2 mp1,one,-||mp1,two,- 2 0; got $1; got $1
UDP !socket AF_INET SOCK_DGRAM 0 =2; connect $2 p1 z; sendto $2 shello 5 0 0 0; got $1
FILE connect $3 asock z
FILE bind $3 asock z
FILE sendto $3 shello 5 0 asock z
connect 99 asock z
bind 99 asock z
sendto 99 shello 5 0 asock z
sendmsg 99 masock,hello,- 0
connect 99 u 7
connect -1 asock 999
""".strip().splitlines()
SETUPS = {
    "LISTENER": _LISTENER, "STREAM": _STREAM, "RECEIVER": _RECEIVER, "DGRAM": _DGRAM,
    "ABSTRACT_DGRAM": _ABSTRACT_DGRAM, "ABSTRACT": _ABSTRACT, "TCP": _TCP, "UDP": _UDP,
    "FILE": _FILE,
}  # fmt: skip
SET = """
LISTENER SETTING STREAM connect $2 asock z
LISTENER SETTING STREAM connect $2 a/sock z
SETTING STREAM bind $2 anew z; !lstat snew ostat
SETTING STREAM bind $2 asetgid/new z; !lstat ssetgid/new ostat
SETTING STREAM bind $2 arodir/new z
SETTING STREAM bind $2 a%00@ z
SETTING STREAM bind $2 anoperm/new z
RECEIVER SETTING DGRAM sendto $2 shello 5 0 asock z; got $1
!chmod ssock 0700; RECEIVER SETTING DGRAM sendto $2 shello 5 0 asock z; got $1
RECEIVER !chmod ssock 0700; SETTING DGRAM connect $2 asock z
RECEIVER !chmod ssock 0070; SETTING DGRAM sendmsg $2 masock,hello,- 0; got $1
ABSTRACT SETTING STREAM connect $2 a%00@ z
TCP SETTING !socket AF_INET SOCK_STREAM 0 =2; connect $2 p1 z
SETTING !socket AF_INET SOCK_STREAM 0 =2; bind $2 q81 z
""".strip().splitlines()


def _line(text: str) -> str:
    return " ".join(SETUPS.get(word, word).strip() for word in text.split(" "))


def plain() -> Iterator[str]:
    """Addresses of every kind."""
    yield from (*PATHS, *EDGES, *map(_line, PLAIN))


def anybody() -> Iterator[str]:
    """In the settings that a user can get into."""
    for setting, call in product(ANYBODY.values(), SET):
        if setting != "full; ":
            yield _line(call).replace("SETTING ", setting)


def root() -> Iterator[str]:
    """In the settings that take root."""
    for setting, call in product(ROOT.values(), SET):
        yield _line(call).replace("SETTING ", setting)


def users() -> Iterator[str]:
    """What needs no root."""
    yield from plain()
    yield from anybody()


def everything() -> Iterator[str]:
    """All of them."""
    yield from users()
    yield from root()

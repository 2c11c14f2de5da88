"""The chain that holds an audit file together: each record has a digest of all that came before it.

Pure: bytes in, bytes out. docs/reference/audit.md defines it, to check it without notifyd.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

__all__ = [
    "START",
    "ChainLink",
    "SealedLine",
    "digest_of",
    "last_link",
    "parse",
    "seal",
    "seal_signed",
]


class ChainLink(NamedTuple):
    """A place in the chain.

    Attributes:
        seq: the number of the record there; the first has 1.
        digest: SHA-256, 32 bytes.
    """

    seq: int
    digest: bytes


START = ChainLink(0, bytes(32))
"""The place before the first record."""


class SealedLine(NamedTuple):
    """A line, taken apart.

    Attributes:
        body: the record without `chain`: what is hashed, after the digest before it.
        link: what the line says its own place is.
        unsigned: the record without `signature`, too: of a checkpoint, what is signed.
        signature: 64 bytes in base64; empty where there is none.
    """

    body: bytes
    link: ChainLink
    unsigned: bytes
    signature: bytes


# Only at the very end of a line: inside a text of JSON a quotation mark stands after a backslash.
_LINE_END = re.compile(
    rb',"seq":([1-9][0-9]{0,17})(?:,"signature":"([A-Za-z0-9+/]{86}==)")?,"chain":"([0-9a-f]{64})"}'
)
_MAX_END_BYTES = 240  # bytes that `_LINE_END` matches at most, and some


def seal(records: Iterable[bytes], after: ChainLink) -> tuple[bytes, ChainLink]:
    """Give records their numbers and digests. Hot: every call that is written pays for it.

    Args:
        records: JSON objects with at least one field, without a newline.
        after: the place of the record before them.

    Returns:
        Their lines, and the place of the last one.
    """
    seq, digest = after
    lines = []
    for record in records:
        seq += 1
        body = b'%b,"seq":%d}' % (record[:-1], seq)
        digest = sha256(digest + body).digest()
        lines.append(b'%b,"chain":"%b"}\n' % (body[:-1], digest.hex().encode()))
    return b"".join(lines), ChainLink(seq, digest)


def seal_signed(record: bytes, signature: bytes, after: ChainLink) -> tuple[bytes, ChainLink]:
    """The same for one record with a signature of its `digest_of`."""
    seq = after.seq + 1
    body = b'%b,"seq":%d,"signature":"%b"}' % (record[:-1], seq, signature)
    link = ChainLink(seq, sha256(after.digest + body).digest())
    return b'%b,"chain":"%b"}\n' % (body[:-1], link.digest.hex().encode()), link


def digest_of(record: bytes, after: ChainLink) -> bytes:
    """What is signed of a record: its digest as if it had no signature."""
    return sha256(after.digest + b'%b,"seq":%d}' % (record[:-1], after.seq + 1)).digest()


def parse(line: bytes) -> SealedLine | None:
    """Take a line apart, without its newline; None if it is not a sealed record."""
    found = _LINE_END.search(line, max(0, len(line) - _MAX_END_BYTES))
    if found is None or found.end() != len(line) or not line.startswith(b"{"):
        return None
    seq, signature, chain = found.groups()
    body = line[: found.start(3) - len(b',"chain":"')] + b"}"
    unsigned = line[: found.end(1)] + b"}"
    link = ChainLink(int(seq), bytes.fromhex(chain.decode()))
    return SealedLine(body, link, unsigned, signature or b"")


def last_link(lines: bytes) -> ChainLink | None:
    """The place of the last of several whole lines; None if it is not a sealed record."""
    start = lines.rfind(b"\n", 0, len(lines) - 1) + 1
    found = parse(lines[start:-1])
    return found.link if found else None

"""The audit file: its form, its chain, its checkpoints; and the database beside it."""

from __future__ import annotations

from notifyd.events.background import MAX_SINK_BACKLOG_BYTES
from notifyd.events.chain_writer import MAX_UNWRITTEN_BYTES
from notifyd.events.database import COLUMNS, EVENT_SCHEMA_VERSION
from notifyd.events.findings import FINDING_KINDS
from notifyd.events.jsonl import CHECKPOINT_INTERVAL_S, MAX_UNSIGNED_RECORDS
from notifyd.events.signing import PURPOSE
from pages.markdown import table

CHECK = """
import hashlib, re, sys

END = re.compile(rb',"chain":"([0-9a-f]{64})"}$')
before, seq = bytes(32), 0
for line in sys.stdin.buffer:
    line = line.rstrip(b"\\n")
    end = END.search(line)
    body = line[: end.start()] + b"}"
    seq += 1
    assert b',"seq":%d' % seq in body[-160:], seq
    before = hashlib.sha256(before + body).digest()
    assert before.hex().encode() == end[1], seq
print(seq, "records")
"""


def audit() -> str:
    """How the audit file is made, for whoever checks it without notifyd."""
    kinds = [(f"`{name}`", meaning) for name, meaning in FINDING_KINDS.items()]
    columns = [(f"`{name}`", f"`{kind}`") for name, kind in COLUMNS.items()]
    parts = [
        "# Audit file",
        "What `notifyd run --audit FILE` and `audit` of [the configuration](configuration.md) "
        "write: [events](events.md), one JSON object a line, in UTF-8, each line ended by a "
        "newline. [Keep an audit log](../how-to/keep-an-audit-log.md) shows how to use it.",
        "## The chain",
        "Every line ends with `seq` and `chain`, in this order and without spaces:",
        '```text\n{"event":"call",...,"seq":17,"chain":"9777fc..."}\n```',
        "`seq` counts the records of a log from 1, over restarts and over all of its files. "
        "`chain` is 64 hexadecimal digits: SHA-256 over the 32 bytes of the digest before it and "
        "then the bytes of the record itself, without its `chain`, that is, up to and with the "
        "value before `chain`, and `}`. Before the first record of a log, the digest "
        "is 32 zero bytes. This checks a log of one file:",
        f"```python\n{CHECK.strip()}\n```",
        "A record that could not be written has no number: `audit.lost` or `audit.full` stands "
        "where it is missing and says how many. Those are in the chain, too.",
        "## How a file begins and ends",
        "The first record of a file, and of every writer, is "
        "[`audit.begun`](events.md#auditbegun). Its `why` is `start` for a new log; `restart` "
        "if a writer continues a file with records; `rotation` if the record before it is "
        "in an older file. `continues` is the `chain` of that record. A line that a crash has left "
        "without an end stays as it is, ended by a newline; the next `audit.begun` has its length "
        "in bytes (`torn`) and its SHA-256 (`torn_sha256`), and follows the record before it.",
        "The last record of a file is [`audit.checkpoint`](events.md#auditcheckpoint) with `ends`: "
        "`stop` or `rotation`. A file without it is being written, or its writer was killed, or "
        "its end was cut off.",
        "One writer at a time has a file: it is locked, by flock(2). Another one is refused.",
        "## Checkpoints",
        f"The daemon signs a checkpoint after {MAX_UNSIGNED_RECORDS} records, after "
        f"{CHECKPOINT_INTERVAL_S:g} seconds if there "
        "is anything new, and at the end of each file. `key` is its public key, Ed25519 (RFC "
        "8032), in hexadecimal digits; `signature` stands between `seq` and `chain`, 64 bytes in "
        "base64. What is signed is "
        f"`{PURPOSE.decode().strip()}`, a newline, and the SHA-256 over the digest before the "
        "checkpoint and the checkpoint without `signature` and `chain`. `chain` covers the "
        "signature as it covers all else. `notifyd run` signs with `--audit-key FILE` only; "
        "otherwise its checkpoints mark the end.",
        "The key file has the 32 bytes of the private key in hexadecimal digits. It is made at "
        "the first use, mode 0600.",
        "## What verifying finds",
        "`notifyd audit verify` prints for each finding the file, the line, the number of the "
        "record, and a kind:",
        table(("kind", "meaning"), kinds),
        "What it cannot find: that the end of a log was removed up to an older checkpoint which "
        "ends a file, together with all later files; that a log was removed as a whole; and any "
        "change made with the key. So note checkpoints elsewhere: with `journal = true`, "
        "or by copying files as they are rotated. Nor, in a log without an end (`--open`, or one "
        "that is being written), what comes after the last signed checkpoint: a note says from "
        "which record on no signature covers it. In a log that has run for some minutes, that must "
        "not be all of them.",
        "With `--json` it prints `good` and, in `logs`, for each log `files`, `records`, `first`, "
        "`last`, `checkpoints`, `signed`, `keys`, `findings` (`file`, `line`, `seq`, `kind`, "
        "`said`) and `notes`. The exit status is 1 if anything is wrong, 2 if it cannot be said.",
        "## Older files",
        "An older file has the name of the one that is written, a dot, and the number of its "
        "first record in 12 digits; `~N` if there was one of that name already; and `.gz` if it is "
        "packed. While it is being packed both are there.",
        "## Slow readers and full disks",
        f"A FIFO may be read slowly: {MAX_UNWRITTEN_BYTES >> 10} KiB are kept. The journal and the "
        f"database "
        f"have threads of their own, and {MAX_SINK_BACKLOG_BYTES >> 20} MiB each. Events beyond "
        f"that "
        "are lost there, counted in `audit.lost`, and reported on standard error.",
        "A full disk (ENOSPC, EDQUOT) is reported on standard error at once, and by "
        "[`audit.full`](events.md#auditfull) when records can be written again. With `on-full = "
        f'"refuse"` {MAX_UNWRITTEN_BYTES >> 10} KiB of events are kept until then, and every '
        f"notified "
        "call is refused (EPERM, `the audit file is full`), unless a rule refuses or "
        "kills. The calls of one batch are answered before it is known.",
        "## The journal",
        "With `journal = true` every event is an entry: `MESSAGE` is a sentence, `PRIORITY` 3 for "
        "errors, 4 for warnings, 5 for refused calls and 6 for all else, `SYSLOG_IDENTIFIER` "
        "`notifyd`; `NOTIFYD_EVENT`, `NOTIFYD_WORKLOAD`, `NOTIFYD_VERDICT` and so on are fields of "
        "the event, `NOTIFYD_LINE` all of it in JSON.",
        "## The database",
        f"`database` is an SQLite file in WAL mode, `user_version` {EVENT_SCHEMA_VERSION}, with "
        f"one table, "
        "`events`: `id`, an integer that counts up, and",
        table(("column", "type"), columns),
        "They are the fields of the events; `path` is the first path of a call's arguments, and "
        "`line` the whole event without `seq` and `chain`. There are indexes on `time`, "
        "`workload`, `operation` and `path`. The database is not chained: the file is the "
        "evidence. notifyd removes nothing from it; `DELETE FROM events WHERE time < ...` does.",
    ]
    return "\n\n".join(parts)

"""Ask exec: a person decides about every program that is executed.

    notifyd run --rules ask-exec --option free=/bin/sh -- sh -c ls

The question goes to the terminal, or with a daemon to those who answer its questions. Where nobody
can be asked, the call is refused (EACCES). An answer that is remembered holds for the very file
that was asked about, with these arguments: other content or other arguments are asked about again.
Programs in `free` are never asked about. What was asked about is what runs: the file is compared
again before its first instruction. Mounts, chroot, tracing, io_uring and typing into the terminal
are refused.

What it does not hold: interpreters run any script, and any program may load any code that it can
read. Root can have the kernel execute other programs (core_pattern): give --user too.
"""

import errno
import os
import shlex

from notifyd import (
    BYPASSES,
    TYPING_REQUESTS,
    Allow,
    Ask,
    Deny,
    Exec,
    Ioctl,
    always,
    existing_file,
    on,
    option,
)

MAX_COMMAND_LINE = 300  # characters of it in a question

GIVEN = option("free", (), convert=existing_file, summary="a program that is never asked about")
FREE = frozenset(GIVEN)

always(Deny(errno.EPERM), *BYPASSES)
always(Deny(errno.EPERM), Ioctl, request=TYPING_REQUESTS)


@on(Exec)
def ask_exec(call: Exec) -> Allow | Ask:
    """The question has the program and its arguments; an answer is about both."""
    if call.path in FREE:
        return Allow()
    line = shlex.join(os.fsdecode(word) for word in call.argv)
    if len(line) > MAX_COMMAND_LINE:
        line = f"{line[:MAX_COMMAND_LINE]}..."
    question = f"{call.process.exe} wants to execute {call.path}: {line}"
    return Ask(question, otherwise=Deny(errno.EACCES))

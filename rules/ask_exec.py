"""Ask exec: a person decides about every program that is executed.

    notifyd run --rules ask-exec --option free=/bin/sh -- sh -c ls

Asked is the terminal, or with a daemon whoever answers its questions; where nobody can be asked,
it is refused (EACCES). An answer that is remembered holds for the very file that was asked about,
with these arguments: another content or argument is asked about again. `free` is never asked about.
What was asked about is what runs: it is compared again before the first instruction. Interpreters
run any script, and any program may load any code that it can read. Root can have the kernel execute
others (core_pattern): give --user too. Mounts, chroot, tracing, io_uring and typing into the
terminal are refused.
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

LONGEST = 300  # characters of a command line in a question


GIVEN = option("free", (), convert=existing_file, summary="a program that is never asked about")
FREE = frozenset(GIVEN)

always(Deny(errno.EPERM), *BYPASSES)
always(Deny(errno.EPERM), Ioctl, request=TYPING_REQUESTS)


@on(Exec)
def ask_exec(call: Exec) -> Allow | Ask:
    """The question has the program and its arguments; an answer is about both."""
    if call.path in FREE:
        return Allow()
    words = shlex.join(os.fsdecode(word) for word in call.argv)
    short = words if len(words) <= LONGEST else f"{words[:LONGEST]}..."
    text = f"{call.process.exe} wants to execute {call.path}: {short}"
    return Ask(text, otherwise=Deny(errno.EACCES))

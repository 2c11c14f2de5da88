"""Executing as a rule saw it: the file is pinned, the kernel executes, and the result is compared.

Owns the descriptors of what has to run until the tracer has them. Knows nothing of answers.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from notifyd.errors import CannotPerform, TargetFault
from notifyd.kernel import pidfd
from notifyd.kernel.files import AT_FDCWD
from notifyd.perform import worker
from notifyd.perform.expected import Expected
from notifyd.perform.performed_call import PerformedCall
from notifyd.perform.performers.performer import Performer, PreparedCall
from notifyd.perform.request_builder import RequestBuilder
from notifyd.perform.script import BINPRM_BUF_SIZE, MAX_INTERPRETERS, Interpreter, interpreter
from notifyd.perform.syscall_result import SyscallResult
from notifyd.perform.tracer import ExecResult, Tracer
from notifyd.policy.names.path import AT_EXEC_FLAGS
from notifyd.policy.operations import Exec
from notifyd.policy.verdicts import Allow
from notifyd.target.digests import Digests, open_pinned

if TYPE_CHECKING:
    from notifyd.perform.files import Files
    from notifyd.target.thread import StoppedThread

__all__ = ["Execution"]

_FLAGS = sum(AT_EXEC_FLAGS.values())
_PIN = PreparedCall("pin", ())


class Execution:
    """One call to execute. A context manager that closes what nobody else took over.

    Args:
        files: of the workload.
        digests: of the workload.
        call: what the rule saw.
        verdict: what it said.
        killable: whether only what kills can disturb a call that was received
            (WAIT_KILLABLE_RECV, Linux 5.19).

    Raises:
        CannotPerform: it cannot be verified.
    """

    def __init__(
        self, files: Files, digests: Digests, call: Exec, verdict: Allow, *, killable: bool
    ) -> None:
        if verdict.changes or verdict.grant:
            raise CannotPerform("Exec is done by the kernel: nothing can be changed or granted")
        if call.read_itself:
            raise CannotPerform(
                "Exec cannot be compared with what a rule read from memory by itself: use argv, "
                "envp and the other fields"
            )
        if not killable:
            raise CannotPerform(
                "Exec cannot be verified behind a listener without WAIT_KILLABLE_RECV (Linux 5.19)"
            )
        self._files = files
        self._digests = digests
        self._call = call
        self._verdict = verdict
        self._owned = ExitStack()

    def __enter__(self) -> Execution:
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()

    async def prepare(self) -> Expected | SyscallResult:
        """Pin what has to run.

        `SyscallResult` with the errno that the call fails with, if it does already.

        Raises:
            Moved: the path means something else than the rule saw.
            CannotPerform, TargetFault, TargetGone, WouldBlock.
        """
        pinned = await self._pin(Performer(_named))
        if pinned.fd is None:
            return pinned
        call, seen = self._call, self._call.seen
        program, line = await self._program(pinned.fd)
        argv = None
        if "argv" in seen:
            argv = [*line, *seen["argv"][1:]] if line else list(seen["argv"]) or [b""]
        name = bytes(seen["path"]) if "path" in seen else call.pathname
        return Expected(
            name, pinned.fd, program, line, seen.get("sha256"), argv, seen.get("envp"),
            self._digests,
        )  # fmt: skip

    async def run(self, expected: Expected, listener: int) -> ExecResult:
        """Let the kernel execute, and compare. If cancelled, the target is killed.

        Args:
            expected: from `prepare`.
            listener: the workload's; the call is answered through a copy of it.

        Raises:
            CannotPerform, TargetGone, OSError: the call is not answered.
        """
        thread: StoppedThread = self._call.target  # type: ignore[assignment]
        pid = thread.identity.pid
        try:
            process = pidfd.open_process(pid)
        except OSError as error:
            raise thread.failure(error) from error
        with ExitStack() as stack:
            stack.callback(os.close, process)
            thread.check()
            pins = stack.enter_context(self._owned.pop_all())
            who = thread.tid, pid == thread.tid, self._call.note[0]
            tracer = Tracer(*who, listener, process, expected, pins.close)
            stack.pop_all()
        return await tracer.run()

    async def _pin(self, performer: Performer) -> SyscallResult:
        performed: PerformedCall = self._files.begin(self._call, self._verdict, performer)
        try:
            done = performed.now() or await performed.wait()
        finally:
            performed.close()
        if done.fd is not None:
            self._owned.callback(os.close, done.fd)
        return done

    async def _program(self, file: int) -> tuple[int, list[bytes]]:
        """What is loaded for a file (O_PATH): itself, or the interpreter of a script.

        Returns:
            It, and what the kernel puts in the place of the first argument, as load_script() in
            fs/binfmt_script.c does; nothing if the file is no script.
        """
        line: list[bytes] = []
        name = _script_name(self._call)
        for _ in range(MAX_INTERPRETERS):
            found = interpreter(await self._head(file))
            if found is None:
                break
            pinned = await self._pin(Performer(partial(_text, found)))
            if pinned.fd is None:
                break  # the kernel will not find it either
            file = pinned.fd
            more = [] if found.argument is None else [found.argument]
            line[:1] = [found.path, *more, name]
            name = found.path
        return file, line

    async def _head(self, file: int) -> bytes:
        """How a file begins; empty where the kernel would not read it.

        Raises:
            TargetFault: EACCES: it is closed to us.
        """
        try:
            if self._digests.is_local(file):
                try:
                    return _read_head(file, os.RWF_NOWAIT)
                except OSError as error:
                    if error.errno not in (errno.EAGAIN, errno.EOPNOTSUPP):
                        raise
            return await worker.run(partial(_read_head, file, 0))
        except PermissionError as error:
            text = "notifyd cannot read the file, and so not verify that it runs"
            raise TargetFault(text, errno.EACCES) from error


def _read_head(file: int, flags: int) -> bytes:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        return b""
    fd = open_pinned(file)
    try:
        buffer = bytearray(BINPRM_BUF_SIZE)
        size = os.preadv(fd, [buffer], 0, flags)
        return bytes(buffer[:size])
    finally:
        os.close(fd)


def _named(builder: RequestBuilder) -> PreparedCall:
    """What the call itself names."""
    if builder.has("flags"):
        builder.flags(_FLAGS)
    builder.only_looks = True
    builder.thing()
    return _PIN


def _text(found: Interpreter, builder: RequestBuilder) -> PreparedCall:
    """What a script names."""
    builder.text_place(found.path)
    return _PIN


def _script_name(call: Any) -> bytes:
    """By which name the kernel tells an interpreter its script: alloc_bprm() in fs/exec.c."""
    pathname: bytes = call.pathname
    if call.dirfd == AT_FDCWD or pathname.startswith(b"/"):
        return pathname
    return b"/dev/fd/%d" % call.dirfd + (b"/" + pathname if pathname else b"")

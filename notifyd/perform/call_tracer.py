"""Leading a target through its own call, with arguments in memory that nobody can change.

What a receiver learns of a sender, a server of its client, is who called the kernel. Nobody can
call it for somebody else. So here the target calls it itself: it is held on the way back from its
call, which ends as if a signal had come before it, and is sent into it once more with registers
that lead to our copy of what the rules saw. On the way back it gets its own registers again.

As with `Tracer`: what leads is a thread of ours, one for each call, since ptrace requests have to
come from the thread that seized, and waiting for a stop blocks. As long as the registers are not
the target's own and it is in no call, it dies with us (PTRACE_O_EXITKILL).
"""

from __future__ import annotations

import _thread
import errno
import os
import signal
from collections.abc import Callable, MutableMapping
from contextlib import nullcontext, suppress
from mmap import MAP_SHARED, PROT_READ
from socket import AF_UNIX, MSG_DONTWAIT, SOCK_STREAM
from struct import Struct
from typing import NamedTuple, TypeAlias

import trio

from notifyd.errors import CannotPerform, TargetGone
from notifyd.kernel import arch, pidfd, ptrace
from notifyd.kernel.socket import socket_info
from notifyd.kernel.unotify import Notifier
from notifyd.perform.sheet import SIZE, Sheet, Sheets
from notifyd.perform.tracer import RESTARTS

__all__ = ["CallTracer", "Expected", "LedRequest", "LedResult"]

Expected: TypeAlias = MutableMapping[int, tuple[int, ...]]
"""By thread, the rest of the notification that its own call will make: all from `nr` on."""

ERESTARTNOINTR = 513  # linux/errno.h: the call comes again, whatever signal there was
ALL_BITS = 2**64 - 1
# bytes that a stream of AF_UNIX takes in one piece: half of SOCK_MIN_SNDBUF
MAX_UNSPLIT_BYTES = 2048
_X86_64 = 216  # bytes of its registers: struct user_regs_struct
_REGISTERS = Struct("=27Q")
_RAX, _ORIG_RAX, _RIP = 10, 15, 16
_ARGUMENTS = (14, 13, 12, 7, 9, 8)  # rdi, rsi, rdx, r10, r8, r9
_SYSCALL = b"\x0f\x05"  # the instruction
_NOTHING = (0,) * 6
_MADV_DONTFORK = 10
_MAP_FIXED_NOREPLACE = 0x100000  # since 4.17


class LedRequest(NamedTuple):
    """A call to be led through.

    Attributes:
        tid: the target's thread, and `pid` its process.
        id: of its notification; `number` of the system call, and `audit` of the architecture.
        flags: which register has the flags of a send, -1 for none; `size` is how much it sends.
        lay: given an address, the six registers to call with and what they find there.
    """

    tid: int
    pid: int
    id: int
    number: int
    audit: int
    flags: int
    size: int
    lay: Callable[[int], tuple[tuple[int, ...], bytes]]


class LedResult(NamedTuple):
    """What came of it.

    Attributes:
        result: what the kernel returned, an errno as a negative number; None where that is not
            known: the target died, or the call comes again.
        again: the call comes again.
        reason: why, where there is a why.
        unfit: the same would come of it the next time.
    """

    result: int | None
    again: bool = False
    reason: str | None = None
    unfit: bool = False


class _Undone(Exception):
    """It cannot be led; the text says why."""


class CallTracer:
    """One call, led.

    Args:
        wanted: what to do.
        sheets: of the workload.
        listener: of the workload. It stays the caller's.
        process: a pidfd of the target's process; owned from here on.
        expected: where the engine looks which notifications are ours.

    Raises:
        OSError: EMFILE. Nothing is owned then.
    """

    def __init__(
        self, wanted: LedRequest, sheets: Sheets, listener: int, process: int, expected: Expected
    ) -> None:
        # A copy, since the workload may end before the thread, and the number be another's.
        self._listener = os.dup(listener)
        self._notifier = Notifier(self._listener)
        self._wanted = wanted
        self._sheets = sheets
        self._process = process
        self._expected = expected
        self._answered = False
        self._own: tuple[int, ...] = ()
        self._blocked = 0
        self._came: LedResult | Exception | None = None
        self._over = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    async def run(self) -> LedResult:
        """Lead it, and wait for what comes of it. If cancelled it goes its way all the same.

        Raises:
            CannotPerform: it cannot be led; the call is not answered.
            TargetGone, OSError: likewise.
        """
        try:
            _thread.start_new_thread(self._work, ())
        except RuntimeError as error:
            self._close()
            raise CannotPerform("no thread can be started to lead it") from error
        await self._over.wait()
        if isinstance(self._came, Exception):
            raise self._came
        assert self._came is not None
        return self._came

    # -- in the thread

    def _work(self) -> None:
        try:
            self._came = self._lead()
        except Exception as error:
            self._came = error
            if self._answered:
                # It has not its own registers, or nobody knows: it must not go on with them.
                with suppress(OSError):
                    pidfd.send_signal(self._process, signal.SIGKILL)
                self._came = LedResult(None, reason=f"it could not be led to the end: {error!r}")
        self._close()
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._over.set)

    def _close(self) -> None:
        self._expected.pop(self._wanted.tid, None)
        self._let_go_of_listener()
        os.close(self._process)

    def _let_go_of_listener(self) -> None:
        listener, self._listener = self._listener, -1
        if listener >= 0:
            self._notifier.close()
            os.close(listener)

    def _lead(self) -> LedResult:
        sheet, place = self._place()
        try:
            came = self._in_place(sheet, place)
        except BaseException:
            if not self._answered:  # else it may be read until the target is dead
                sheet.give_back(place)
            raise
        sheet.give_back(place)
        return came

    def _place(self) -> tuple[Sheet, int]:
        tid, pid = self._wanted.tid, self._wanted.pid
        while True:
            sheet, place = self._sheets.of(pid)
            if sheet.descriptor >= 0 or sheet.is_in(tid):
                return sheet, place
            # It was laid in what the process was before it executed.
            sheet.give_back(place)
            self._sheets.anew(pid, sheet)

    def _in_place(self, sheet: Sheet, place: int) -> LedResult:
        try:
            try:
                # Before anything is seized: a thread that died is not gone as long as it is traced,
                # and until it is, nobody is told that its process's first thread has died, too.
                with sheet.laying if sheet.descriptor >= 0 else nullcontext():
                    if not self._is_held(sheet):
                        return LedResult(None, again=True)
                return self._call_itself(sheet, place)
            except _Undone as undone:
                self._let_go(None)
                return LedResult(None, again=True, reason=str(undone), unfit=True)
        except (ChildProcessError, ProcessLookupError):
            if not self._answered:
                raise
            return LedResult(None)  # killed, or another thread executes and has taken its place

    def _is_held(self, sheet: Sheet) -> bool:
        """Answer and hold the thread, and see that the sheet is where it has to be."""
        self._seize()
        given = self._given(sheet)
        # Invariant: one answer, and nobody gives it but we do.
        self._answered = self._notifier.respond(self._wanted.id, 0, -ERESTARTNOINTR, 0)
        if not self._answered:
            raise TargetGone("the target is gone")
        self._let_go_of_listener()
        if not self._is_back():
            return False
        self._lay(sheet, given)
        return True

    def _given(self, sheet: Sheet) -> int:
        """The sheet's file in the target's table; -1 if it is mapped already."""
        if sheet.is_in(self._wanted.tid):
            return -1
        try:
            return self._notifier.add_fd(self._wanted.id, sheet.descriptor, os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise TargetGone("the target is gone") from error

    def _seize(self) -> None:
        tid = self._wanted.tid
        try:
            # Not EXITKILL yet: where it comes to nothing this thread of ours ends, and lets go.
            ptrace.seize(tid, ptrace.O_TRACESYSGOOD)
            ptrace.interrupt(tid)
        except ProcessLookupError as error:
            raise TargetGone("the target is gone") from error
        except OSError as error:
            raise CannotPerform(f"it cannot be traced: {error.strerror}") from error

    def _is_back(self) -> bool:
        """Wait until it stands on the way back from its call; False if it is anywhere else."""
        wanted = self._wanted
        self._next()
        record = ptrace.registers(wanted.tid)
        own = _REGISTERS.unpack(record) if len(record) == _X86_64 else ()
        if not own or own[_ORIG_RAX] != wanted.number or _signed(own[_RAX]) != -ERESTARTNOINTR:
            ptrace.detach(wanted.tid)  # some other stop: the kernel does what has to be done
            return False
        self._own, self._blocked = own, ptrace.blocked(wanted.tid)
        ptrace.set_options(wanted.tid, ptrace.O_TRACESYSGOOD | ptrace.O_EXITKILL)
        # Otherwise a handler would begin with registers that are not the target's.
        ptrace.block(wanted.tid, ALL_BITS)
        return True

    def _lay(self, sheet: Sheet, given: int) -> None:
        """See that the sheet is in the target's memory, and stays there."""
        numbers, where = arch.native().numbers, (sheet.address, SIZE)
        if given >= 0:
            how = MAP_SHARED | _MAP_FIXED_NOREPLACE
            mapped = self._call(numbers["mmap"], (*where, PROT_READ, how, given, 0))
            self._call(numbers["close"], (given, *_NOTHING[:5]))
            if mapped == sheet.address:
                self._call(numbers["madvise"], (*where, _MADV_DONTFORK, *_NOTHING[:3]))
        sealed = self._call(numbers["mseal"], (*where, *_NOTHING[:4]))
        # Invariant: looked at after it was sealed. Before, another thread can exchange it.
        if sealed or not self._stays(sheet):
            raise _Undone(f"notifyd's memory does not stay in its own: {_name(sealed)}")
        sheet.laid()

    def _stays(self, sheet: Sheet) -> bool:
        try:
            return sheet.is_in(self._wanted.tid)
        except (CannotPerform, OSError):
            return False

    def _call_itself(self, sheet: Sheet, place: int) -> LedResult:
        wanted = self._wanted
        args, data = wanted.lay(sheet.at(place))
        sheet.write(place, data)
        if wanted.flags >= 0 and self._goes_whole(args[0]):
            # First so that it does not wait, and no signal is in its way: many a program has a
            # timer that is quicker than we are.
            quick = list(args)
            quick[wanted.flags] |= MSG_DONTWAIT
            result = self._call(wanted.number, tuple(quick))
            if -result in RESTARTS:  # SIGSTOP, which nobody can block
                self._let_go(None)
                return LedResult(None, again=True)
            if result != -errno.EAGAIN:
                self._let_go(result)
                return LedResult(result)
        result = self._call(wanted.number, args, itself=True)
        begun = self._expected.pop(wanted.tid, None) is None
        if -result in RESTARTS and not begun:
            self._let_go(None)  # a signal was quicker than the engine: nothing has happened yet
            return LedResult(None, again=True)
        self._let_go(result)
        return LedResult(None, again=True) if -result in RESTARTS else LedResult(result)

    def _goes_whole(self, number: int) -> bool:
        """Whether a send that does not wait sends all or nothing."""
        try:
            taken = pidfd.get_fd(self._process, number & 0x7FFFFFFF)
        except OSError:
            return False
        try:
            family, kind = socket_info(taken)
        except OSError:
            return False
        finally:
            os.close(taken)
        return family == AF_UNIX and (kind != SOCK_STREAM or self._wanted.size <= MAX_UNSPLIT_BYTES)

    def _call(self, number: int, args: tuple[int, ...], *, itself: bool = False) -> int:
        """Have the held thread make a call; it is held again when it comes back.

        Args:
            number: of the call.
            args: its registers.
            itself: whether it is the target's own: signals interrupt it, and it outlives us.

        Raises:
            _Undone: the thread did something else than that.
        """
        wanted, tid = self._wanted, self._wanted.tid
        now = list(self._own)
        now[_RAX], now[_ORIG_RAX], now[_RIP] = number, ALL_BITS, self._own[_RIP] - len(_SYSCALL)
        for at, value in zip(_ARGUMENTS, args, strict=True):
            now[at] = value & ALL_BITS
        ptrace.set_registers(tid, _REGISTERS.pack(*now))
        self._to_call()
        inside = _REGISTERS.unpack(ptrace.registers(tid))
        found = inside[_ORIG_RAX], inside[_RIP], tuple(inside[at] for at in _ARGUMENTS)
        if found != (number, self._own[_RIP], tuple(value & ALL_BITS for value in args)):
            raise _Undone("its code has changed meanwhile")
        # Invariant: it is in the kernel, where no register of it can change any more.
        self._expected[tid] = (number, wanted.audit, found[1], *found[2])
        if itself:
            ptrace.block(tid, self._blocked)
            ptrace.set_options(tid, ptrace.O_TRACESYSGOOD)
        self._to_call()
        if not itself:
            self._expected.pop(tid, None)
        return _signed(_REGISTERS.unpack(ptrace.registers(tid))[_RAX])

    def _to_call(self) -> None:
        """Let it go on to where it enters a call, or comes out of one."""
        tid, number = self._wanted.tid, 0
        while True:
            ptrace.go_on(tid, number, to_call=True)
            stop = self._next()
            if not stop.event and stop.signal == ptrace.SYSCALL_STOP:
                return
            number = 0 if stop.event else stop.signal
            if number and number != signal.SIGSTOP:  # a fault of code that somebody has changed
                raise _Undone(f"it got signal {number}")

    def _next(self) -> ptrace.PtraceStop:
        """Wait for it. Raises ProcessLookupError if it died."""
        stop = ptrace.wait()
        if stop.ended:
            if stop.pid == self._wanted.tid != self._wanted.pid:
                ptrace.reap(stop.pid)
            raise ProcessLookupError
        return stop

    def _let_go(self, result: int | None) -> None:
        """Give it back its registers, with the result of its call; None: the call comes again."""
        tid, now = self._wanted.tid, list(self._own)
        if result is None:
            now[_RAX], now[_ORIG_RAX] = now[_ORIG_RAX], ALL_BITS
            now[_RIP] -= len(_SYSCALL)
        else:
            now[_RAX] = result & ALL_BITS
        ptrace.set_registers(tid, _REGISTERS.pack(*now))
        ptrace.block(tid, self._blocked)
        ptrace.detach(tid)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _name(result: int) -> str:
    return errno.errorcode.get(-result, hex(result))

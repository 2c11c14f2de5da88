"""Logins: one-time tokens, the sessions that they become, and when each ends. Knows no HTTP.

What a browser keeps is random; here is only its SHA-256, so that nobody who reads this memory, or a
dump of it, can come in with what they find. All of it ends with the process.

A session has two secrets. The *cookie* is the browser's to send, and browsers send it to every port
of a host. The *page's* secret is known to the page alone, which puts it into a header: scripts of
other ports cannot read it, and forms of other sites cannot send it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from notifyd.errors import NotifydError

__all__ = ["Login", "LoginRefused", "Sessions", "TooManyLogins", "WebSession"]

BITS = 256  # of every secret
TOKEN_LASTS = 300.0  # seconds from printing the address to opening it
SESSION_IDLE_TIMEOUT_S = 1800.0  # seconds without anything that a person did
SESSION_LIFETIME_S = 12 * 3600.0  # seconds, whatever they do: a working day
MAX_TOKENS = 16  # that wait; the oldest goes first
MAX_SESSIONS = 32  # the one that was used the longest ago goes first
MAX_WRONG_TOKENS_PER_MINUTE = 10  # tokens within a minute; no right one is ever refused for it


class LoginRefused(NotifydError):
    """No login with this token: it is wrong, was used, or is too old. They are not told apart."""


class TooManyLogins(LoginRefused):
    """Somebody guesses."""


@dataclass(slots=True)
class WebSession:
    """Somebody is logged in.

    Attributes:
        id: for showing and ending it; no secret.
        uid: who asked for the token, as the kernel said.
        name: of that user.
        browser: what the browser says of itself; hostile.
        made: on the clock of `Sessions`; so is `used`, when a person last did something.
        since: when it was made, in seconds since 1970.
    """

    id: str
    uid: int
    name: str
    browser: str
    made: float
    used: float
    since: float
    _page: bytes = field(repr=False)

    def knows(self, page: str) -> bool:
        """Whether this is the page's secret."""
        return secrets.compare_digest(self._page, _hashed(page))


@dataclass(frozen=True, slots=True)
class Login:
    """What a token was exchanged for: the secrets go to the browser and are kept nowhere else."""

    session: WebSession
    cookie: str = field(repr=False)
    page: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Minted:
    uid: int
    name: str
    until: float


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # a machine that sleeps grows older, too


class Sessions:
    """Who may come in, and who is in.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = _boot_time) -> None:
        self._clock = clock
        self._tokens: dict[bytes, _Minted] = {}
        self._sessions: dict[bytes, WebSession] = {}
        self._wrong: deque[float] = deque(maxlen=MAX_WRONG_TOKENS_PER_MINUTE)

    def mint(self, uid: int, name: str) -> str:
        """A token for one login within `TOKEN_LASTS` seconds."""
        while len(self._tokens) >= MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        token = _secret()
        self._tokens[_hashed(token)] = _Minted(uid, name, self._clock() + TOKEN_LASTS)
        return token

    def redeem(self, token: str, browser: str = "") -> Login:
        """Exchange a token for a session. A token is gone once it was shown here.

        Raises:
            LoginRefused: it is not good. TooManyLogins: nor were the last ones.
        """
        now = self._clock()
        # 2**256 cannot be guessed. The limit is on wrong ones, so that nobody can lock others out.
        minted = self._tokens.pop(_hashed(token), None)
        if minted is None or minted.until < now:
            crowded = (
                len(self._wrong) == MAX_WRONG_TOKENS_PER_MINUTE and self._wrong[0] > now - 60.0
            )
            if crowded:
                raise TooManyLogins("too many wrong tokens: wait a minute")
            self._wrong.append(now)
            raise LoginRefused("this address was used, or is too old: ask for another one")
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].used)]
        cookie, page = _secret(), _secret()
        id, since = secrets.token_hex(4), time.time()  # noqa: A001
        session = WebSession(id, minted.uid, minted.name, browser, now, now, since, _hashed(page))
        self._sessions[_hashed(cookie)] = session
        return Login(session, cookie, page)

    def find(self, cookie: str, page: str) -> WebSession | None:
        """Whose secrets these are; None if nobody's, or not any more."""
        session = self._sessions.get(_hashed(cookie))
        if session is None or not session.knows(page) or not self.holds(session):
            return None
        return session

    def holds(self, session: WebSession) -> bool:
        """Whether a session has not ended. One that has is forgotten."""
        now = self._clock()
        if (
            now - session.used <= SESSION_IDLE_TIMEOUT_S
            and now - session.made <= SESSION_LIFETIME_S
        ):
            return any(one is session for one in self._sessions.values())
        self.end(session.id)
        return False

    def touch(self, session: WebSession) -> None:
        """A person has done something."""
        session.used = self._clock()

    def end(self, id: str) -> bool:  # noqa: A002
        """End a session; whether there was one."""
        for key, session in self._sessions.items():
            if session.id == id:
                del self._sessions[key]
                return True
        return False

    def end_all(self, uid: int) -> int:
        """End what is a user's, tokens too; all there is, if that is root. How many sessions."""
        for key, minted in tuple(self._tokens.items()):
            if uid in (0, minted.uid):
                del self._tokens[key]
        ours = [one for one in self.present if uid in (0, one.uid)]
        return sum(self.end(one.id) for one in ours)

    @property
    def present(self) -> tuple[WebSession, ...]:
        """The sessions that have not ended."""
        return tuple(one for one in tuple(self._sessions.values()) if self.holds(one))


def _secret() -> str:
    return secrets.token_urlsafe(BITS // 8)


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()

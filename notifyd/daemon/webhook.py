"""Questions sent to a webhook, for bots that show them where people are.

Owns the deliveries. Each is a task of its own and all of them are few, so a webhook that is slow,
or gone, delays no one. Its answers count if they are signed.
"""

from __future__ import annotations

import os
import secrets
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from notifyd.approvals.question import Answer, Question
from notifyd.daemon import webhook_wire as wire
from notifyd.daemon.config import WebhookConfig
from notifyd.daemon.daemon import Daemon
from notifyd.errors import PeerError, UsageError
from notifyd.policy.trusted import open_trusted

if TYPE_CHECKING:
    import httpx

__all__ = ["Webhook", "read_secret"]

MAX_DELIVERIES = 1000  # deliveries that wait or are under way; questions beyond are not sent
MAX_CONCURRENT_DELIVERIES = 128  # of them under way
RETRY_DELAYS_S = (1.0, 4.0, 16.0)  # seconds before it is tried again
CONNECT_TIMEOUT_S = 10.0  # seconds
MIN_SECRET_BYTES = 16  # bytes of a secret

_TYPE = "application/json"


def read_secret(path: str) -> bytes:
    """The secret that both sides sign with: a file's first line, without spaces around it.

    Raises:
        UsageError: it cannot be read, others can read or change it, or it can be guessed.
    """
    try:
        with open(open_trusted(path), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.readline(4096).strip()
    except OSError as error:
        raise UsageError(f"webhook.secret-file: {path}: {error.strerror}: give another") from error
    except UsageError as error:
        raise UsageError(f"webhook.secret-file: {error}") from error
    if mode & 0o007:
        raise UsageError(f"webhook.secret-file: {path}: anybody can use it: chmod o= it")
    if len(secret) < MIN_SECRET_BYTES:
        raise UsageError(
            f"webhook.secret-file: {path}: a secret of {len(secret)} bytes: make one with "
            "`openssl rand -hex 32`"
        )
    return secret


class _Failed(Exception):
    """It did not reach the webhook."""


class _Again(_Failed):
    """And may the next time."""


class Webhook:
    """Sends the questions of a daemon and takes the answers.

    Args:
        daemon: whose questions.
        config: where to.
        secret: what is signed with.
    """

    def __init__(self, daemon: Daemon, config: WebhookConfig, secret: bytes) -> None:
        self._daemon = daemon
        self._config = config
        self._secret = secret
        self._place = urlsplit(config.url).hostname or ""
        self._under_way: dict[int, trio.CancelScope] = {}
        self._room = trio.CapacityLimiter(MAX_CONCURRENT_DELIVERIES)

    async def run(self) -> None:
        """Send every question once, and stop where one has ended, until cancelled."""
        import httpx

        # Not httpx's own certificates but the system's; and no proxy or password that happens to
        # be in our environment.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        async with (
            httpx.AsyncClient(
                verify=ssl.create_default_context(), trust_env=False, limits=limits
            ) as client,
            trio.open_nursery() as nursery,
        ):
            queue = self._daemon.queue
            while True:
                version = queue.version
                waiting = {one.id: one for one in queue.pending}
                for number in self._under_way.keys() - waiting.keys():
                    self._under_way.pop(number).cancel()
                for number in waiting.keys() - self._under_way.keys():
                    scope = self._under_way[number] = trio.CancelScope()
                    if len(self._under_way) > MAX_DELIVERIES:
                        self._failed(
                            waiting[number], f"{MAX_DELIVERIES} questions are under way already"
                        )
                    else:
                        nursery.start_soon(self._deliver, client, waiting[number], scope)
                await queue.wait_change(version)

    async def _deliver(
        self, client: httpx.AsyncClient, question: Question, scope: trio.CancelScope
    ) -> None:
        answer = None
        with scope, self._told(question):
            answer = await self._answer_of(client, question)
        if answer is None:
            return
        # Outside of the scope: it is cancelled as soon as the question is answered.
        try:
            await self._daemon.queue.answer(question.id, answer)
        except UsageError as error:
            self._failed(question, f"its answer does not count: {error}")

    @contextmanager
    def _told(self, question: Question) -> Iterator[None]:
        """Log any error: asking may fail, deciding must continue."""
        try:
            yield
        except PeerError as error:
            self._daemon.log.event(
                "approval.forbidden",
                "warning",
                peer=f"webhook {self._place}",
                approval=question.id,
                workload=question.workload,
                reason=str(error),
            )
        except _Failed as error:
            self._failed(question, str(error))
        except Exception as error:
            self._daemon.log.broke(error)

    async def _answer_of(self, client: httpx.AsyncClient, question: Question) -> Answer | None:
        """Send a question, several times if need be; None if the webhook has no answer itself.

        Raises:
            PeerError: the answer is not valid.
            _Failed: it could not be sent.
        """
        delivery = secrets.token_hex(16)
        body = wire.encode(delivery, await self._daemon.question_contexts.view(question))
        for pause in RETRY_DELAYS_S:
            try:
                async with self._room:
                    return await self._post(client, delivery, body)
            except _Again:
                await trio.sleep(pause)
        async with self._room:
            return await self._post(client, delivery, body)

    async def _post(self, client: httpx.AsyncClient, delivery: str, body: bytes) -> Answer | None:
        import httpx

        headers = {
            "Content-Type": _TYPE,
            "User-Agent": "notifyd",
            wire.SIGNATURE_HEADER: wire.sign(self._secret, body, time.time()),
        }
        # Shorter than the limit below: what never connected is tried again, what did is not.
        timeout = httpx.Timeout(None, connect=min(CONNECT_TIMEOUT_S, self._config.timeout / 2))
        found = b""
        with trio.move_on_after(self._config.timeout) as limit:
            try:
                async with client.stream(
                    "POST", self._config.url, content=body, headers=headers, timeout=timeout
                ) as response:
                    async for piece in response.aiter_raw():
                        found += piece
                        if len(found) > wire.MAX_WEBHOOK_ANSWER_BYTES:
                            limit.cancel()  # what httpx has open ends in order that way only
            except (httpx.TransportError, httpx.InvalidURL) as error:
                raise _Again(f"{type(error).__name__}: {error}") from error
        if len(found) > wire.MAX_WEBHOOK_ANSWER_BYTES:
            raise PeerError(f"an answer of more than {wire.MAX_WEBHOOK_ANSWER_BYTES} bytes")
        if limit.cancelled_caught:
            return None  # it has the question; the answer may come another way
        if response.status_code == 429 or response.status_code >= 500:
            raise _Again(f"status {response.status_code}")
        if not response.is_success:
            raise _Failed(f"status {response.status_code}")
        if not found:
            return None
        signature = response.headers.get(wire.SIGNATURE_HEADER, "")
        return wire.parse_answer(self._secret, signature, found, delivery, time.time(), self._place)

    def _failed(self, question: Question, why: str) -> None:
        self._daemon.log.event(
            "webhook.failed",
            "warning",
            workload=question.workload,
            approval=question.id,
            peer=self._place,
            reason=why,
        )

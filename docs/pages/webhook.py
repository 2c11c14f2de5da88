"""What is said to a webhook, and what it may answer."""

from __future__ import annotations

from notifyd.daemon.approval_messages import MAX_ANSWER_MINUTES
from notifyd.daemon.webhook import MAX_CONCURRENT_DELIVERIES, MAX_DELIVERIES, RETRY_DELAYS_S
from notifyd.daemon.webhook_wire import (
    MAX_SIGNATURE_AGE_S,
    MAX_WEBHOOK_ANSWER_BYTES,
    SIGNATURE_HEADER,
    WebhookAnswer,
)
from pages.service import described


def webhook() -> str:
    """The page."""
    pauses = ", ".join(f"{pause:g}" for pause in RETRY_DELAYS_S)
    parts = [
        "# Webhook",
        "With [`webhook`](configuration.md#webhook) in its configuration the daemon sends every "
        "new question to an address, as a POST with JSON; [Approve "
        "calls](../how-to/approve-calls.md#have-a-bot-ask) shows how to use it.",
        "```text\nPOST /hook HTTP/1.1\nContent-Type: application/json\n"
        f"{SIGNATURE_HEADER}: t=1700000000,v1=5257a869…\n\n"
        '{"notifyd": 1, "delivery": "7f3c…", "question": {"id": 7, "text": "…", …}}\n```',
        "`notifyd` is the version, `delivery` names this one (it is the same when a delivery is "
        "tried again), and `question` has what [`pending`](control.md#pending) has of it.",
        "## Signature",
        f"`{SIGNATURE_HEADER}` is `t=SECONDS,v1=HEX`. SECONDS are those since 1970, and HEX is the "
        "HMAC-SHA256 of the text `SECONDS.BODY`, hexadecimal in lower case; the key is the first "
        "line of `secret-file`, without spaces around it. Check it before anything else, compare "
        f"in constant time, and refuse what is more than {MAX_SIGNATURE_AGE_S:g} seconds old.",
        '```python\nstamp, _, mac = header.partition(",")\n'
        'made = hmac.new(secret, stamp[2:].encode() + b"." + body, hashlib.sha256).hexdigest()\n'
        'good = hmac.compare_digest(mac, "v1=" + made) and abs(time.time() - int(stamp[2:])) < '
        f"{MAX_SIGNATURE_AGE_S:g}\n```",
        "## Answers",
        "A status of 200 to 299 takes the question. With an empty body the question waits: "
        "the bot may answer later, over [the control socket](control.md) or by `notifyd ctl`. A "
        "bot that keeps the request open until somebody has decided answers at once, by a body "
        f"that is signed in the same way, with at most {MAX_WEBHOOK_ANSWER_BYTES} bytes:",
        *described(WebhookAnswer, "It has")[1:],
        f"`delivery`, `answer` and `by` are required. `minutes` are at most {MAX_ANSWER_MINUTES}. "
        f"What "
        "is unsigned, too old, or about another delivery is ignored and [in the "
        "log](events.md#approvalforbidden). The recorded person is `by`, `by webhook`, from the "
        "webhook's host.",
        "The daemon aborts the request when the question has ended, and after `timeout`; then the "
        "question stays.",
        "## What does not arrive",
        "A connection that fails, a status of 429 and one of 500 and more are tried again after "
        f"{pauses} seconds. Other statuses, redirections included, are not. Then there is "
        f"[an event](events.md#webhookfailed). At most {MAX_CONCURRENT_DELIVERIES} requests run at "
        f"a "
        f"time, and of more than {MAX_DELIVERIES} open questions the newest are not sent. No call "
        f"and no "
        "other front end ever waits for a webhook.",
        "Certificates are checked against those of the system. Proxies and passwords in the "
        "daemon's environment are not used.",
    ]
    return "\n\n".join(parts)

"""Who is let in, and who is not: over HTTP, as a browser or somebody worse would try."""

import pytest
from faking import question

from notifyd.console import sessions
from notifyd.daemon.approval_messages import ApproveRequest

GETS = ["/api/me", "/api/stream", "/api/grants", "/api/history"]
POSTS = ["/api/answer", "/api/revoke", "/api/stay", "/api/sessions/end", "/api/logout"]


def test_a_token_becomes_a_session_once(console):
    """The cookie is HttpOnly, SameSite=Strict; the same token again is refused."""
    token = console.sessions.mint(0, "root")
    status, body, headers = console.ask("POST", "/api/login", {"token": token})
    assert status == 200
    name, _, rest = headers["set-cookie"].partition("=")
    assert name == f"nd{console.port}"
    attributes = {one.strip().lower() for one in rest.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert not any("expires" in one or "max-age" in one or "domain" in one for one in attributes)
    cookie = rest.split(";")[0]
    assert len(cookie) >= 43  # 256 bits
    sent = {"cookie": f"{name}={cookie}", "x_notifyd_page": body["page"]}
    assert console.ask("GET", "/api/me", **sent)[0] == 200
    status, body, headers = console.ask("POST", "/api/login", {"token": token})
    assert (status, headers["set-cookie"]) == (403, None)
    assert "used" in body["error"]


@pytest.mark.parametrize("path", GETS)
def test_reading_needs_a_login(console, path):
    """No secrets, wrong ones, or only one of the two: 401, and nothing else."""
    login, other = console.login(), console.login()
    assert console.ask("GET", path)[0] == 401
    for changed in (
        {"cookie": None},
        {"x_notifyd_page": None},
        {"cookie": f"nd{console.port}=wrong"},
        {"x_notifyd_page": other.page},
        {"x_notifyd_page": login.cookie},
    ):
        status, body, _ = console.ask("GET", path, login=login, **changed)
        assert (status, list(body)) == (401, ["error"])


@pytest.mark.parametrize("path", POSTS)
def test_changing_needs_a_login_and_our_own_page(console, daemon, path):
    """A forged request has the cookie at most: not the header, not the origin."""
    login = console.login()
    daemon.ask(question(1))
    body = {"id": 1, "granted": True}
    assert console.ask("POST", path, body)[0] == 401
    assert console.ask("POST", path, body, login, x_notifyd_page=None)[0] == 401
    for changed in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": None},
        {"origin": f"http://127.0.0.1:{console.port + 1}"},
        {"origin": f"http://localhost:{console.port}"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ):
        assert console.ask("POST", path, body, login, **changed)[0] == 403
    assert [one for one in daemon.asked if isinstance(one, ApproveRequest)] == []
    assert console.ask("GET", path, login=login)[0] == 405


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:{port}", "", "[::1]x"])
@pytest.mark.parametrize("path", ["/", "/app.js", "/api/me"])
def test_a_wrong_host(console, host, path):
    """DNS rebinding: whatever the name, it is not ours."""
    login = console.login()
    host = host.format(port=console.port)
    status, body, _ = console.ask("GET", path, login=login, host=host)
    assert status in (400, 421)
    assert b"notifyd" not in body


def test_the_names_of_the_loopback(console):
    """Whatever the port: it may be forwarded."""
    for host in ("127.0.0.1", "localhost:9", "LOCALHOST", "[::1]:80"):
        assert console.ask("GET", "/", host=host)[0] == 200


def test_two_hosts(console):
    """Whoever checks the one and uses the other is fooled."""
    connection = console.connect()
    connection.putrequest("GET", "/", skip_host=True)
    connection.putheader("Host", console.host)
    connection.putheader("Host", "evil.example")
    connection.endheaders()
    assert connection.getresponse().status in (400, 421)
    connection.close()


def test_every_answer_carries_the_policy(console):
    """Pages, files, errors: no inline script, no frame, no other host, no cache."""
    for path in ("/", "/app.js", "/style.css", "/api/me", "/nothing"):
        _, _, headers = console.ask("GET", path)
        policy = dict(
            one.strip().partition(" ")[::2] for one in headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["server"] is None


def test_others_may_not_embed(console):
    """A page of another site gets none of ours, as a script, image or frame."""
    for mode in ("no-cors", "cors"):
        changed = {"sec_fetch_site": "cross-site", "sec_fetch_mode": mode}
        assert console.ask("GET", "/app.js", **changed)[0] == 403
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert console.ask("GET", "/", **link)[0] == 200


def test_a_session_idles(console):
    """Reading does not keep it; what a person does, does."""
    login = console.login()
    console.now += sessions.SESSION_IDLE_TIMEOUT_S - 1
    assert console.ask("POST", "/api/stay", {}, login)[0] == 200
    console.now += sessions.SESSION_IDLE_TIMEOUT_S - 1
    assert console.ask("GET", "/api/me", login=login)[0] == 200
    console.now += 2
    assert console.ask("GET", "/api/me", login=login)[0] == 401
    assert console.ask("POST", "/api/stay", {}, login)[0] == 401


def test_a_session_ends_after_a_day(console):
    """However busy somebody is."""
    login = console.login()
    for _ in range(int(sessions.SESSION_LIFETIME_S / 1000)):
        console.now += 1000
        assert console.ask("POST", "/api/stay", {}, login)[0] == 200
    console.now += 1000
    assert console.ask("POST", "/api/stay", {}, login)[0] == 401


def test_a_token_grows_old(console):
    """Five minutes."""
    token = console.sessions.mint(0, "root")
    console.now += sessions.TOKEN_LASTS + 1
    assert console.ask("POST", "/api/login", {"token": token})[0] == 403


def test_logging_out(console):
    """The secrets are worth nothing afterwards."""
    login = console.login()
    assert console.ask("POST", "/api/logout", {}, login)[0] == 200
    assert console.ask("GET", "/api/me", login=login)[0] == 401


def test_sessions_are_listed_and_ended(console):
    """Root's sees all; others see their own, and end no others."""
    root, alice, bob = console.login(), console.login(1001, "alice"), console.login(1002, "bob")
    _, me, _ = console.ask("GET", "/api/me", login=alice)
    assert [one["name"] for one in me["sessions"]] == ["alice"]
    _, me, _ = console.ask("GET", "/api/me", login=root)
    assert [one["name"] for one in me["sessions"]] == ["root", "alice", "bob"]
    end = {"id": bob.session.id}
    assert console.ask("POST", "/api/sessions/end", end, alice)[0] == 404
    assert console.ask("POST", "/api/sessions/end", end, root)[0] == 200
    assert console.ask("GET", "/api/me", login=bob)[0] == 401
    assert console.ask("GET", "/api/me", login=alice)[0] == 200


def test_too_many_wrong_tokens(console):
    """Guessing is limited; who has a right one comes in all the same."""
    token = console.sessions.mint(0, "root")
    seen = [
        console.ask("POST", "/api/login", {"token": f"wrong-{at}"})[0]
        for at in range(sessions.MAX_WRONG_TOKENS_PER_MINUTE + 2)
    ]
    assert seen == [403] * sessions.MAX_WRONG_TOKENS_PER_MINUTE + [429] * 2
    assert console.ask("POST", "/api/login", {"token": token})[0] == 200
    console.now += 61
    assert console.ask("POST", "/api/login", {"token": "wrong"})[0] == 403


def test_who_decides_is_told(console, daemon):
    """The daemon hears the uid of the login, and its word is passed on."""
    daemon.ask(question(7))
    login = console.login(1001, "alice")
    body = {"id": 7, "granted": True, "scope": "minutes", "minutes": 5, "reason": "mirror"}
    status, answer, _ = console.ask("POST", "/api/answer", body, login)
    assert (status, answer["granted"]) == (200, True)
    (request,) = [one for one in daemon.asked if isinstance(one, ApproveRequest)]
    assert (request.scope, request.minutes, request.reason) == ("minutes", 5.0, "mirror")
    who = request.on_behalf_of
    assert (who.name, who.uid, who.face, who.place) == ("alice", 1001, "console", "127.0.0.1")
    status, answer, _ = console.ask("POST", "/api/answer", body, login)
    assert (status, "no question 7 waits" in answer["error"]) == (409, True)

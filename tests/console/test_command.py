"""`notifyd console` and `notifyd ctl console`: as commands, for those who may."""

import http.client
import json
import os
import signal
import socket as socketlib
import stat
import tempfile
import urllib.request
from pathlib import Path

import pytest
from real import Ground

from notifyd.cli import console, main
from notifyd.cli.console import open_page

pytestmark = pytest.mark.usefixtures("whole")  # starts notifyd as a command

NOBODY = 65534


@pytest.fixture
def ground(request):
    """A real daemon."""
    with tempfile.TemporaryDirectory(prefix="nd-") as folder:
        Path(folder).chmod(0o755)
        with Ground(Path(folder), getattr(request, "param", "")) as found:
            yield found


def decide(url: str, question: int) -> tuple[int, dict]:
    """Log in with an address as the page does, and approve a question: status and answer."""
    page, _, token = url.strip().partition("#token=")
    connection = http.client.HTTPConnection(page.split("/")[2], timeout=20)
    headers = {"origin": page.rstrip("/"), "content-type": "application/json"}
    try:
        connection.request("POST", "/api/login", json.dumps({"token": token}), headers)
        answer = connection.getresponse()
        headers["x-notifyd-page"] = json.loads(answer.read())["page"]
        headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
        body = json.dumps({"id": question, "granted": True, "reason": "by test"})
        connection.request("POST", "/api/answer", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.root
@pytest.mark.parametrize(
    ("ground", "may"), [(f"users = [{NOBODY}]", True), ("users = [1]", False)], indirect=["ground"]
)
def test_who_logs_in_may_what_they_may(ground, may):
    """Root's console lends nobody root's rights; the record has whose login it was."""
    ground.console("--user", str(NOBODY))
    writer = ground.write("one")
    (question,) = ground.pending()
    status, answer = decide(ground.ctl("console", user=NOBODY).stdout, question["id"])
    if may:
        assert (status, writer.wait(20)) == (200, 0)
        (past,) = json.loads(ground.ctl("history", "--json").stdout)
        assert (past["by"], past["face"], past["reason"]) == ("nobody", "console", "by test")
    else:
        assert (status, writer.poll()) == (409, None)
        assert f"uid {NOBODY}" in answer["error"]
        assert decide(ground.ctl("console").stdout, question["id"])[0] == 200
        assert writer.wait(20) == 0


@pytest.mark.root
@pytest.mark.parametrize("ground", [f"users = [{NOBODY}]"], indirect=True)
def test_a_console_of_ones_own(ground):
    """Run by somebody the daemon does not believe, it has their rights, and needs no others."""
    ground.console(user=NOBODY)
    writer = ground.write("one")
    (question,) = ground.pending()
    url = ground.ctl("console", user=NOBODY).stdout
    assert decide(url, question["id"])[0] == 200
    assert writer.wait(20) == 0
    (past,) = json.loads(ground.ctl("history", "--json").stdout)
    assert past["by"] == "nobody"


def test_a_way_in(ground):
    """The console's own user, and root, get an address; its socket is closed to others."""
    ground.console()
    socket = ground.folder / "console.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    done = ground.ctl("console")
    assert done.returncode == 0
    assert done.stdout.startswith("http://127.0.0.1:")
    page, _, token = done.stdout.strip().partition("#token=")
    assert len(token) == 43
    assert token not in (ground.folder / "console.log").read_text()
    with urllib.request.urlopen(page, timeout=20) as answer:
        assert b'<script type="module" src="/app.js">' in answer.read()
    with socketlib.socket(socketlib.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(socket))
        client.sendall(b'{"want":"\xed\xa0\xbd"}\n')  # no UTF-8
        assert client.recv(1) == b""
    assert "not understood" in (ground.folder / "console.log").read_text()
    assert "an error in notifyd" not in (ground.folder / "console.log").read_text()
    assert ground.ctl("console", "--end").stdout == "0 sessions ended\n"


@pytest.mark.root
def test_others_have_to_be_named(ground):
    """Not every user of the machine may look."""
    ground.console()
    done = ground.ctl("console", user=NOBODY)
    assert (done.returncode, done.stdout) == (2, "")
    assert "notifyd console --user" in done.stderr


@pytest.mark.root
def test_others_who_are_named(ground):
    """They come in; those who are not still do not."""
    ground.console("--user", str(NOBODY))
    assert ground.ctl("console", user=NOBODY).stdout.startswith("http://127.0.0.1:")
    done = ground.ctl("console", user=1)
    assert (done.returncode, done.stdout) == (2, "")
    assert "notifyd console --user" in done.stderr


def test_it_ends_in_order(ground):
    """SIGTERM: status 0, and no socket is left."""
    ground.console()
    process = ground.begun[-1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not (ground.folder / "console.sock").exists()
    done = ground.ctl("console")
    assert done.returncode == 2
    assert "start `notifyd console`" in done.stderr


def test_a_unix_socket(ground):
    """For its user alone; there is no port."""
    web = ground.folder / "web.sock"
    ground.begin(
        "console", "--listen", f"unix:{web}", "--socket", f"{ground.folder}/control.sock",
        log="console.log",
    )  # fmt: skip
    way = f"to log in, run `notifyd ctl console --socket {ground.folder}/control.sock`"
    ground.said("console.log", way)
    assert stat.S_IMODE(web.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--listen", "0.0.0.0:1"], "--insecure-listen"),
        (["--listen", "nowhere"], "write it as"),
        (["--user", "no-such-user"], "no-such-user"),
        (["--host", "https://console.example.org/"], "give the name alone"),
        (["--host", "console.example.org:443"], "give the name alone"),
        (["--listen", "unix:/x", "--open"], "leave one of the two out"),
    ],
)
def test_mistakes(capsys, words, said):
    """One line, with the remedy; status 2."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["console", *words])
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_opening_a_browser(tmp_path, monkeypatch):
    """The secret is in a file of ours alone, and in nobody's arguments."""
    opened = []
    monkeypatch.setattr(console.click, "launch", opened.append)
    open_page("http://127.0.0.1:1/#token=secret", tmp_path)
    (path,) = opened
    assert "secret" not in path
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert "url=http://127.0.0.1:1/#token=secret" in Path(path).read_text()

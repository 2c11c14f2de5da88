"""The native handover, from the example client in C and from requests of every kind."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from notifyd import handover
from notifyd.errors import UsageError

SOURCE = Path(__file__).parents[2] / "docs" / "how-to" / "handover" / "handover.c"
CONFIGURATION = """
[sockets.native]
path = "{here}/native.sock"
[[workload]]
name = "plugins"
rules = ["fake-hostname"]
options.name = "elsewhere"
"""


@pytest.fixture
def client(tmp_path, whole):
    """The example client, compiled as its head says, with every warning."""
    program = tmp_path / "handover"
    words = ["gcc", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(SOURCE)]
    subprocess.run(words, check=True)
    return str(program)


def test_the_example_in_c(serve, client):
    """It is short, and what it starts is supervised under the id that it gave."""
    assert len(SOURCE.read_text().splitlines()) < 100
    service = serve(CONFIGURATION)
    words = [client, service.path("native"), "my-plugin", "uname", "-n"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr, done.returncode) == ("elsewhere\n", "", 0)
    assert service.wait_for("workload.started", workload="my-plugin")["pid"] > 0
    assert service.wait_for("call", workload="my-plugin")["operation"] == "Uname"


def test_the_example_in_c_is_told_why(serve, client):
    """A refusal can be read, and nothing was started."""
    service = serve(CONFIGURATION + 'match.id = "other"\n')
    words = [client, service.path("native"), "my-plugin", "echo", "started"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.returncode) == ("", 1)
    assert "no section of the configuration is for 'my-plugin'" in done.stderr
    done = subprocess.run([client, "/no/where", "a", "true"], capture_output=True, timeout=20)
    assert done.returncode == 2


def _ask(service, request: object) -> dict:
    data = request if isinstance(request, bytes) else json.dumps(request).encode()
    with service.connect("native") as connection:
        connection.sendall(data)
        answer = connection.makefile().read()
    assert answer.endswith("\n")
    return json.loads(answer)


def test_a_program(serve):
    """What the rules of a section need, to be installed before the handover."""
    service = serve(CONFIGURATION)
    offer = _ask(service, {"notifyd": 1, "request": "program", "id": "x"})["offer"]
    assert offer.keys() == {"section", "filter", "digest", "listens", "rules"}
    assert (offer["section"], offer["listens"], offer["rules"]) == (
        "plugins",
        True,
        ["fake-hostname"],
    )


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"notifyd": 2, "request": "program", "id": "x"}, "this is version 1"),
        ({"notifyd": 1, "request": "programm", "id": "x"}, "not understood: "),
        ({"notifyd": 1, "request": "program"}, "not understood: "),
        ({"notifyd": 1, "request": "program", "id": ""}, "1 to 256 printable characters"),
        ({"notifyd": 1, "request": "program", "id": "a\nb"}, "1 to 256 printable characters"),
        ({"notifyd": 1, "request": "program", "id": "x", "rules": []}, "not understood: "),
        ({"notifyd": 1, "request": "handover", "id": "x"}, "handover with 0 descriptors, not 1"),
        ({"notifyd": 1, "request": "program", "id": "x" * 70_000}, "more than 65536 bytes"),
        (b"[]", "no JSON object"),
    ],
)
def test_what_is_refused(serve, request_, said):
    """Each with a readable reason, for the one who asked and in the log."""
    service = serve(CONFIGURATION)
    assert said in _ask(service, request_)["error"]
    assert said in service.wait_for("arrival.refused")["reason"]


def test_from_python(serve, behind):
    """`notifyd.handover`, with a listener of one's own; what is none is refused."""
    service = serve(CONFIGURATION)
    one = behind(["uname", "-n"], "fake-hostname")
    done = handover(one.listener, id="mine", path=service.path("native"), pid=one.pid)
    assert (done.workload, done.section) == ("mine", "plugins")
    os.waitpid(one.pid, os.WNOHANG)
    with open(os.devnull) as null, pytest.raises(UsageError, match="expected a seccomp listener"):
        handover(null.fileno(), id="null", path=service.path("native"))
    service.wait_for("call", workload="mine", operation="Uname")

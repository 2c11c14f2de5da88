import io
import subprocess
import sys

import pytest

from notifyd.events.log import json_logger, terminal_logger


@pytest.fixture
def screen():
    """A terminal."""
    return io.StringIO()


def test_sentence(screen):
    """An event of the catalogue reads as its sentence."""
    terminal_logger(screen, color=False).info("workload.ended", workload="w1", calls=7, refused=3)
    assert screen.getvalue() == "notifyd: w1: ended after 7 calls, 3 refused\n"


def test_plain_text_and_bound_fields(screen):
    """Any other text stands with its fields, those bound before included; debug is silent."""
    logger = terminal_logger(screen, color=False).bind(workload="w1")
    logger.debug("hidden")
    logger.warning("odd thing", file="a\x1bb")
    assert screen.getvalue() == "notifyd: odd thing workload=w1 file=a\\x1bb\n"


def test_color(screen):
    """Warnings and errors are coloured, the rest is not."""
    logger = terminal_logger(screen, color=True)
    logger.info("a")
    logger.error("b")
    assert screen.getvalue() == "notifyd: a\nnotifyd: \x1b[31mb\x1b[0m\n"


def test_traceback(screen):
    """A traceback follows its sentence, indented and harmless."""
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        terminal_logger(screen, color=False).exception(
            "rule.error", rule="a.py:f", operation="Open", error="ValueError"
        )
    first, *rest = screen.getvalue().splitlines()
    assert first == "notifyd: rule.error rule=a.py:f operation=Open error=ValueError"
    assert rest[-1] == "    ValueError: \\x1b[2J"
    assert all(line.startswith("    ") for line in rest)


def test_json(sink, tmp_path, parse, make_record):
    """What is logged stands in the audit file, in order with the calls and in their schema."""
    logger = json_logger(sink).bind(workload="w1")
    sink.add(make_record())
    logger.info("rules.loaded", rules=["a.py"], count=None)
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("rule.error", rule="a.py:f")
    logger.debug("hidden")
    sink.flush()
    call, loaded, error = parse((tmp_path / "audit.jsonl").read_bytes())
    assert call["event"] == "call"
    assert list(loaded) == ["event", "time", "level", "workload", "rules"]
    assert (loaded["event"], loaded["level"], loaded["rules"]) == ("rules.loaded", "info", ["a.py"])
    assert error["level"] == "error"
    assert error["traceback"].endswith("ValueError: no")


def test_traceback_as_a_field(sink, tmp_path, parse):
    """A traceback that was made elsewhere goes through as it is."""
    json_logger(sink).error("rule.error", traceback="Traceback: x", name="n")
    sink.flush()
    (line,) = parse((tmp_path / "audit.jsonl").read_bytes())
    assert (line["traceback"], line["name"]) == ("Traceback: x", "n")


def test_structlog_comes_late():
    """Importing all of audit imports neither structlog nor rich nor logging."""
    code = (
        "import sys, notifyd.events.encode, notifyd.events.event, notifyd.events.jsonl\n"
        "import notifyd.events.log, notifyd.events.counters, notifyd.events.terminal\n"
        "print(sorted({'structlog', 'rich', 'logging', 'trio'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

import string

import pytest

from notifyd.events.event import COMMON, EVENTS, docs_rows, sentence, undeclared


@pytest.mark.parametrize("event", EVENTS)
def test_entry_is_complete(event):
    """Every event has a summary that is a sentence, and fields with meanings."""
    kind = EVENTS[event]
    assert kind.summary.endswith(".")
    assert kind.fields
    assert all(kind.fields.values())


@pytest.mark.parametrize("event", [event for event in EVENTS if event != "call"])
def test_sentence_names_real_fields(event):
    """A sentence speaks only of fields that the event has."""
    names = {name for _, name, _, _ in string.Formatter().parse(EVENTS[event].says) if name}
    assert EVENTS[event].says
    assert undeclared(event, dict.fromkeys(names)) == ()


def test_docs_rows():
    """The reference page gets the common fields first and then each event's own."""
    rows = list(docs_rows())
    assert [row[2] for row in rows[: len(COMMON)]] == list(COMMON)
    assert len(rows) == len(COMMON) + sum(len(kind.fields) for kind in EVENTS.values())
    assert ("call", "A call was answered.", "racy", EVENTS["call"].fields["racy"]) in rows


def test_undeclared():
    """What the catalogue does not have is found."""
    assert undeclared("workload.ended", {"status": 0, "workload": "w", "colour": 1}) == ("colour",)
    assert undeclared("workload.exploded", {}) == ("workload.exploded",)


def test_sentence():
    """An event of the catalogue reads as its sentence, with a question mark for what is unknown."""
    fields = {"workload": "w1", "calls": 2}
    assert sentence("workload.ended", fields) == "w1: ended after 2 calls, ? refused"


def test_sentence_of_another_event():
    """Any other text stands as it is, with its fields."""
    assert sentence("something odd", {"a": [1, "x"], "b": None}) == "something odd a=1 x"


def test_sentence_is_harmless():
    """A hostile name cannot paint the terminal, nor reach into the template."""
    fields = {"workload": "w1", "rules": ["a\x1b[2J", "{pid.__class__}"], "pid": 1}
    shown = sentence("workload.started", fields)
    assert shown == "w1: started, pid 1, with a\\x1b[2J {pid.__class__}"

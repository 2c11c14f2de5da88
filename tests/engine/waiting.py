"""What tests of the engine wait for, and what they find in the audit file afterwards."""

import json

import trio


async def until(condition):
    """Wait until something is so; the test's time limit is the supervisor's."""
    while not condition():
        await trio.sleep(0.002)


def events(reporter, tmp_path):
    """The calls in the audit file."""
    reporter.flush()
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if '"event":"call"' in line]

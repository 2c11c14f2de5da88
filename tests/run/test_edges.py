"""Numbers at the edges of C's types: an errno of the kernel's own, and never an error of ours."""

import pytest

LOOKS = """
@on(Open, Utime, SendTo, Unlink)
{word} looks(call):
    for name in type(call).fields:
        getattr(call, name)
    return Allow()
"""


@pytest.mark.parametrize("word", ["def", "async def"])
def test_structures_with_numbers_at_the_edges(word, build, rule, run, native, tmp_path):
    """Lengths, counts, flags and times in memory come out as natively, whatever they are."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    ran = run("--rules", rule(LOOKS.format(word=word)), "--", build("edges"), cwd=here)
    natively = native(build("edges"), cwd=there)
    assert (ran.status, natively.status) == (7, 7)
    assert ran.lines == natively.lines
    assert not [event for event in ran.calls if event.get("reason") and "Error" in event["reason"]]

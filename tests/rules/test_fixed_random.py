"""getrandom(2) gives bytes that depend on the seed and on nothing else."""

from notifyd import GetRandom, Return
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["fixed-random"]


def stream(seed: str, *sizes: int) -> list[bytes]:
    """What calls of these sizes get one after the other."""
    rules = load_rules(*RULES, seed=seed)
    found = []
    for size in sizes:
        verdict = verdict_of(rules, make_call(GetRandom, buffer=0x1000, size=size))
        assert isinstance(verdict, Return)
        assert verdict.value == len(verdict.memory[0x1000])
        found.append(verdict.memory[0x1000])
    return found


def test_the_seed_decides():
    """The same seed gives the same bytes, another seed others, and every call new ones."""
    assert stream("7", 16, 16) == stream("7", 16, 16)
    assert stream("7", 16) != stream("8", 16)
    first, second = stream("7", 16, 16)
    assert first != second


def test_sizes():
    """What was asked for, up to 256 bytes; more is a short read, which callers have to bear."""
    assert [len(data) for data in stream("0", 0, 1, 256, 257, 2**40)] == [0, 1, 256, 256, 256]


def test_a_program_repeats_itself(python):
    """Two runs agree, with more bytes than one call gives; another seed differs."""
    code = "attempt('random', lambda: os.urandom(600).hex())"
    first, second, other = (python(RULES, code, seed=seed).found["random"] for seed in (1, 1, 2))
    assert len(first) == 1200
    assert first == second
    assert first != other

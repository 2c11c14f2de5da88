"""One system call of a container's profile: what the base says to it, and what rules want of it.

Owns the order of precedence between the two, and what a contradiction is. An OCI profile keeps its
entries in no order, and libseccomp lets an entry without conditions swallow those that have some,
whatever they answer (2.5.4, measured). So the pieces that are made here never meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from notifyd.bpf.cubes import both, subtract
from notifyd.bpf.oci.meaning import EntryMeaning, refuses
from notifyd.bpf.profile import ALLOW, KILL_PROCESS, NOTIFY, Action, Clause, Cube
from notifyd.errors import UsageError

__all__ = [
    "MAX_CALL_PIECES",
    "MAX_EXACT_PIECES",
    "CallSources",
    "MergedCall",
    "merge_call",
    "refusal",
]

MAX_EXACT_PIECES = 128  # pieces, above which the whole call is notified instead where that is safe
MAX_CALL_PIECES = 512  # pieces; libseccomp takes longer than anybody waits for many more

Piece = tuple[Action, Cube]


@dataclass(frozen=True, slots=True)
class CallSources:
    """All that is said to one call.

    Attributes:
        name: the call's.
        base: what the base's entries say, the strictest first.
        default: what the base says where none of them speaks.
        rules: what rules want, in order.
        watch: for which registers the supervisor is notified, if the call is allowed.
        heard: whether a supervisor receives notifications, and decides again.
        place: what the person calls the base.
    """

    name: str
    base: tuple[EntryMeaning, ...]
    default: Action
    rules: tuple[Clause, ...]
    watch: tuple[Cube, ...]
    heard: bool
    place: str


@dataclass(frozen=True, slots=True)
class MergedCall:
    """The merged entries of one call.

    Attributes:
        clauses: its meaning; the first that holds decides, else the default.
        pieces: the same without order, and without what the default says anyway.
        silenced: the notes of rules that wanted to be asked, and never are, since the base refuses
            the call by name; and where.
        lifted: rules are asked about what the base refuses by default.
        widened: more is notified than was wanted.
    """

    clauses: tuple[Clause, ...]
    pieces: tuple[Piece, ...]
    silenced: tuple[tuple[str, EntryMeaning], ...] = ()
    lifted: bool = False
    widened: bool = False


def merge_call(asked: CallSources) -> MergedCall:
    """The strictest that base and rules say, but that rules may ask where the default refuses.

    Raises:
        UsageError: they contradict each other, or there is too much of it.
    """
    _check_contradictions(asked)
    clauses = tuple(_ordered(asked))
    pieces = _pieces(asked, clauses)
    silenced = tuple(_silenced(asked))
    lifted = (
        refuses(asked.default)
        and not silenced
        and any(
            clause.action == NOTIFY and _minus(clause.cubes, _permitted(asked))
            for clause in asked.rules
        )
    )
    if len(pieces) > MAX_EXACT_PIECES and asked.heard and _all_permitted(asked):
        # The supervisor decides these calls again, including those that the kernel refused.
        return MergedCall((Clause(NOTIFY, ((),)),), ((NOTIFY, ()),), (), lifted, widened=True)
    return MergedCall(clauses, tuple(pieces), silenced, lifted)


def _ordered(asked: CallSources) -> Iterator[Clause]:
    earlier: list[Cube] = []
    refusals = [said for said in asked.base if refuses(said.action)]
    for clause in asked.rules:  # what kills outranks the base's refusals
        if refusals and clause.action == KILL_PROCESS:
            yield Clause(clause.action, _minus(clause.cubes, earlier))
        earlier += clause.cubes
    for said in refusals:
        yield Clause(said.action, said.cubes, f"syscalls[{said.at}]")
    for clause in asked.rules:
        told = asked.watch and clause.action == ALLOW
        yield Clause(NOTIFY if told else clause.action, clause.cubes, clause.note)
    yield Clause(NOTIFY, both(asked.watch, _permitted(asked)), "the supervisor")
    for said in asked.base:
        if not refuses(said.action):
            yield Clause(said.action, said.cubes, f"syscalls[{said.at}]")


def _permitted(asked: CallSources) -> tuple[Cube, ...]:
    """For which registers the base does not refuse the call, but for what it refuses by name."""
    if not refuses(asked.default):
        return ((),)
    return tuple(cube for said in asked.base if not refuses(said.action) for cube in said.cubes)


def _all_permitted(asked: CallSources) -> bool:
    return () in _permitted(asked) and not any(refuses(said.action) for said in asked.base)


def _check_contradictions(asked: CallSources) -> None:
    """A call that rules always allow is one that the base does not refuse."""
    refusals = [said for said in asked.base if refuses(said.action)]
    earlier: list[Cube] = []
    for clause in asked.rules:
        mine = _minus(clause.cubes, earlier)
        earlier += clause.cubes
        if clause.action != ALLOW:
            continue
        against = f"but {clause.note} always allows it"
        for said in refusals:
            if both(mine, said.cubes):
                raise UsageError(f"{refusal(asked.place, asked.name, said)}, {against}; {_MEND}")
        if _minus(mine, _permitted(asked)):
            raise UsageError(
                f"{asked.place}: refuses {asked.name} by default ({asked.default}), {against}; name"
                " it there as allowed, or leave the rule out"
            )


_MEND = "take it out there, or leave the rule out"


def refusal(place: str, name: str, said: EntryMeaning) -> str:
    """Where a base refuses a call, as the beginning of a complaint."""
    return f"{place}: syscalls[{said.at}] refuses {name} ({said.action})"


def _silenced(asked: CallSources) -> Iterator[tuple[str, EntryMeaning]]:
    whole = [said for said in asked.base if refuses(said.action) and () in said.cubes]
    if whole:
        yield from ((one.note, whole[0]) for one in asked.rules if one.action == NOTIFY)


def _pieces(asked: CallSources, clauses: Iterable[Clause]) -> list[Piece]:
    """The clauses cut so that no two meet, without those that say what the default says."""
    taken: list[Cube] = []
    made: list[Piece] = []
    for clause in clauses:
        for cube in clause.cubes:
            rest = _minus((cube,), taken)
            taken.append(cube)
            if clause.action != asked.default:
                made += [(clause.action, piece) for piece in rest]
        if len(made) > MAX_CALL_PIECES:
            break
    if len(made) > MAX_CALL_PIECES and not (asked.heard and _all_permitted(asked)):
        raise UsageError(
            f"{asked.place}: {asked.name} would need more than {MAX_CALL_PIECES} entries; put "
            f"fewer "
            "conditions on it in the rules"
        )
    return made


def _minus(cubes: Sequence[Cube], taken: Sequence[Cube]) -> tuple[Cube, ...]:
    left = tuple(cubes)
    for cube in taken:
        left = tuple(piece for one in left for piece in subtract(one, cube))
        if len(left) > 8 * MAX_CALL_PIECES:
            break  # the caller finds that there are too many
    return left

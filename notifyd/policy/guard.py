"""The record of answers is not the target's to write: rules for every rule set that may ask.

Whoever runs as the user whose answers are kept could write an answer themselves. So a rule set that
may ask has this as one more rule file, before the others. It goes by names, so nothing may be
mounted: a file can be mounted by any other name. What is mounted elsewhere already keeps the last
part of its name.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from notifyd.policy.builtin import nothing_against, put_before
from notifyd.policy.call import Call, Operation
from notifyd.policy.conditions import as_condition, has_any
from notifyd.policy.groups import BYPASSES, FILE_REQUESTS, WRITING_OPERATIONS
from notifyd.policy.operations import OPERATIONS
from notifyd.policy.rule import RULE_TIMEOUT_S, Always, Claim, Declaration, Rule
from notifyd.policy.ruleset import RuleSet
from notifyd.policy.verdicts import Allow, Deny

__all__ = ["guarded"]

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
DENY_GUARDED = Deny(errno.EACCES, reason="answers are a person's to give, and so is their record")
_FREE = ("Umount", "Chroot", "PivotRoot", "Setns")  # of the bypasses: names stay what they are
_PLACE = "guard.py"


def guarded(rules: RuleSet, store: Path) -> RuleSet:
    """`rules`, and that no call of theirs writes to the database of answers, or in its place.

    Args:
        rules: those that may ask.
        store: the database, by its path without symbolic links; its folders are there.
    """
    return put_before(rules, _declarations(PurePosixPath(store), rules))


def _declarations(store: PurePosixPath, rules: RuleSet) -> Iterable[Declaration]:
    free = {OPERATIONS[name] for name in _FREE}
    past = tuple(one for one in BYPASSES if one not in free)
    yield Always(Deny(errno.EPERM), _claim(past))
    requests = as_condition(FILE_REQUESTS)
    yield Always(Deny(errno.EPERM), _claim((OPERATIONS["Ioctl"],), request=requests))
    for operation in WRITING_OPERATIONS:
        conditions = {"flags": has_any(WRITES)} if operation is OPERATIONS["Open"] else {}
        function = _rule_for(store, operation, rules)
        yield Rule(function, _claim((operation,), **conditions), RULE_TIMEOUT_S, Deny(errno.EPERM))


def _rule_for(
    store: PurePosixPath, operation: type[Call], rules: RuleSet
) -> Callable[[Any], Allow | Deny | None]:
    moves = operation is OPERATIONS["Rename"]

    def keep_answers(call: Call) -> Allow | Deny | None:
        for path in call.written_paths.values():
            if _is_record(path, store) or (moves and _leads_to(path, store)):
                return DENY_GUARDED
            if _is_memory(path) and not path.is_relative_to(call.resolve(-1, b"/proc/self", True)):
                return DENY_GUARDED  # another process could be made to write
        return nothing_against(rules, call)

    return keep_answers


def _is_memory(path: PurePosixPath) -> bool:
    return path.is_relative_to("/proc") and path.name == "mem"


def _is_record(path: PurePosixPath, store: PurePosixPath) -> bool:
    """Whether it is the folder of the record or in it, or has its name, wherever that is mounted.

    File systems that fold case leave out characters that cannot be seen: only ASCII is compared.
    """
    name = "".join(one for one in path.name if one.isascii()).casefold()
    return name.startswith(store.name) or path.is_relative_to(store.parent)


def _leads_to(path: PurePosixPath, store: PurePosixPath) -> bool:
    """Whether another thing of this name could be taken for a folder on the way to the record.

    A folder that is mounted elsewhere as well can be reached by other names: then it ends in what
    the way to the record has.
    """
    return any(
        path == folder or (len(folder.parts) > 3 and path.parts[-2:] == folder.parts[-2:])
        for folder in store.parents
        if folder != folder.parent
    )


def _claim(operations: Iterable[Operation], **conditions: Any) -> Claim:
    return Claim(tuple(operations), conditions, _PLACE, sys._getframe(1).f_lineno, "shipped guard")

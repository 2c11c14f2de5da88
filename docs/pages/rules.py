"""Rules that ship, what a rule file imports, and the events."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import notifyd
import notifyd.rulekit
import notifyd.testing
from notifyd.events.event import docs_rows
from notifyd.policy.call import Call, Raw
from notifyd.policy.groups import GROUP_SUMMARIES
from notifyd.policy.load import load_file, shipped, title
from notifyd.policy.names.ioctl import IOCTLS
from notifyd.policy.names.socket import IP_ROUTING, IPV6_ROUTING, SOCKET_LEVELS, SOCKET_ROUTING
from notifyd.policy.operations import OPERATIONS
from notifyd.policy.verdicts import VERDICTS
from notifyd.rulekit import files, network
from pages.markdown import code_indented, markdown, shown, table

KIT = {**files.FILES_SUMMARIES, **network.NETWORK_SUMMARIES}
LONGEST = 70  # characters of a signature in a heading; what a value holds is in its contract


def events() -> str:
    """What `--audit` writes."""
    parts = [
        "# Events",
        "`--audit FILE` appends one JSON object a line, `event` first. A field that has nothing "
        "to say is left out.",
    ]
    for (event, summary), rows in groupby(docs_rows(), key=lambda row: row[:2]):
        fields = table(("field", "meaning"), [(f"`{name}`", text) for _, _, name, text in rows])
        head = f"## `{event}`\n\n{summary}" if event else "## Every event"
        parts.append(f"{head}\n\n{fields}")
    return "\n\n".join(parts)


def rules_index() -> str:
    """The list of rules."""
    rows = [(f"[{name}]({name}.md)", title(path)) for name, path in shipped().items()]
    return f"# Rules that ship\n\n{table(('rule', 'what it does'), rows)}"


def rule(name: str, path: Path) -> str:
    """The page of one rule file."""
    loaded = load_file(name)
    text = path.read_text()
    document = inspect.cleandoc(text.split('"""')[1])
    head, _, rest = document.partition("\n")
    parts = [f"# {name}", head, code_indented(rest.strip("\n"))]
    if loaded.wanted:
        rows = [
            (f"`{name}`", one.summary, "none: it is needed" if one.needed else shown(one.default))
            for name, one in loaded.wanted.items()
        ]
        parts += ["## Options", table(("`--option`", "meaning", "default"), rows)]
    parts += ["## The file", f"```python\n{text.rstrip()}\n```"]
    return "\n\n".join(parts)


def python_names() -> str:
    """What `notifyd`, `notifyd.rulekit` and `notifyd.testing` export."""
    parts = [
        "# Python",
        "What a rule file imports from `notifyd`. The operations have "
        "[a page of their own](operations.md).",
    ]
    others = [name for name in notifyd.__all__ if name not in OPERATIONS]
    verdicts = [one.__name__ for one in VERDICTS]
    names = [name for name in others if name not in verdicts and name != "__version__"]
    parts += ["## Verdicts", *(entry(notifyd, name) for name in verdicts)]
    parts += ["## Declaring rules, and what they are given"]
    parts += [entry(notifyd, name) for name in names]
    listed = ", ".join(f"[`{name}`](operations.md#{name.lower()})" for name in OPERATIONS)
    parts += ["## Operations", listed]
    parts += ["## notifyd.rulekit", markdown(notifyd.rulekit)]
    for module in (files, network):
        parts += [f"## {module.__name__}", markdown(module)]
        parts += [entry(module, name) for name in module.__all__]
    parts += ["## notifyd.testing", markdown(notifyd.testing)]
    parts += [entry(notifyd.testing, name) for name in notifyd.testing.__all__]
    return "\n\n".join(parts)


def entry(module: Any, name: str) -> str:
    """One exported name: how it is called, and its contract."""
    found = getattr(module, name)
    if name == "Verdict":
        return "### `Verdict`\n\nAny of the verdicts, for the annotation of a rule."
    if name in KIT:
        members = tuple(sorted(found)) if isinstance(found, (tuple, frozenset)) else ()
        are_places = members and isinstance(members[0], PurePosixPath)
        return "\n\n".join((f"### `{name}`", KIT[name], *([shown(members)] if are_places else ())))
    if name in GROUP_SUMMARIES:
        if isinstance(found, Mapping):
            levels = table(("level", "options"), map(options_of, found))
            return f"### `{name}`\n\n{GROUP_SUMMARIES[name]}\n\n{levels}"
        members = ", ".join(map(member, sorted(found) if isinstance(found, frozenset) else found))
        return f"### `{name}`\n\n{GROUP_SUMMARIES[name]}\n\n{members}"
    takes = signature(found) if not (inspect.isclass(found) and issubclass(found, Call)) else ""
    return f"### `{name}{takes}`\n\n```text\n{inspect.getdoc(found)}\n```"


def options_of(level: int) -> tuple[str, str]:
    """A row of a table of socket options: the level, and the options by their names."""
    title = next(name for name, number in SOCKET_LEVELS.items() if number == level)
    tables = {"SOL_IP": IP_ROUTING, "SOL_IPV6": IPV6_ROUTING, "SOL_SOCKET": SOCKET_ROUTING}
    return f"`{title}`", ", ".join(f"`{name}`" for name in tables[title])


def member(one: type[Call] | Raw | int) -> str:
    """A member of a group: a link to the operation, bare system calls, or a request's name."""
    if isinstance(one, int):
        return next(f"`{name}`" for name, number in IOCTLS.items() if number == one)
    if isinstance(one, Raw):
        return ", ".join(f"`{name}`" for name in one.syscalls)
    return f"[{one.__name__}](operations.md#{one.__name__.lower()})"


def signature(found: Any) -> str:
    """Parameters and defaults, without types: those are in the contract below."""
    bare = inspect.Parameter.empty
    whole = inspect.signature(found)
    plain = [one.replace(annotation=bare) for one in whole.parameters.values()]
    text = str(whole.replace(parameters=plain, return_annotation=bare))
    return text if len(text) <= LONGEST and "<" not in text else "(...)"

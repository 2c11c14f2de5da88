"""Writes docs/reference from the code's own tables, so that it cannot say anything else.

    python docs/generate.py            write the pages
    python docs/generate.py --check    exit 1 and name the pages that are out of date

To add a page, add a function that returns its text, and its line in `pages`.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import msgspec

import notifyd
import notifyd.testing
from notifyd.audit.event import docs_rows
from notifyd.cli import COMMANDS, cli
from notifyd.kernel.arch import ARCHES
from notifyd.listen.reception import PATIENCE
from notifyd.perform import PERFORMERS, RECIPES
from notifyd.policy.call import Call, Raw
from notifyd.policy.fields import Field
from notifyd.policy.groups import SUMMARIES
from notifyd.policy.load import load_file, shipped, title
from notifyd.policy.names.ioctl import IOCTLS
from notifyd.policy.operations import OPERATIONS, Exec
from notifyd.policy.sources import Const, Pair, Reg, Reg16, Variant
from notifyd.policy.verdicts import VERDICTS
from notifyd.service import protocol
from notifyd.service.config import Config, Match, Section, SocketConfig
from notifyd.service.lines import IDLE
from notifyd.service.metrics import BOUNDS, METRICS, MOST_WORKLOADS

REFERENCE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Written by docs/generate.py. Do not edit. -->\n"
LONGEST = 70  # characters of a signature in a heading; what a value holds is in its contract

_IN_REGISTERS = (Reg, Reg16, Pair)


def pages() -> dict[str, str]:
    """Every page by its path below docs/reference."""
    found = {
        "operations.md": operations(),
        "events.md": events(),
        "cli.md": command_line(),
        "control.md": control(),
        "metrics.md": metrics(),
        "configuration.md": configuration(),
        "python.md": python_names(),
        "rules/index.md": rules_index(),
    }
    found |= {f"rules/{name}.md": rule(name, path) for name, path in shipped().items()}
    return {path: f"{NOTE}{text.rstrip()}\n" for path, text in found.items()}


# -- operations


def operations() -> str:
    """What rules can be about."""
    ordered = sorted(OPERATIONS.values(), key=lambda one: (one.theme, one.__name__))
    parts = [
        "# Operations",
        "An operation is what several system calls have in common. A rule names operations, so no "
        "sibling of a call can be forgotten.",
        "A field that is a *register* may stand in `@on(...)` and `always(...)` as a condition, "
        "which the kernel tests. Looking at a field in *memory* means reading the program's "
        "memory: `Allow()` is then [performed](../explanation/what-allow-means.md), or refused "
        "where notifyd cannot perform the operation.",
    ]
    for theme, members in groupby(ordered, key=lambda one: one.theme):
        listed = list(members)
        names = " · ".join(f"[{one.__name__}](#{one.__name__.lower()})" for one in listed)
        parts += [f"**{theme}**: {names}"]
    parts += [operation(one) for one in sorted(ordered, key=lambda one: one.__name__)]
    return "\n\n".join(parts)


def operation(one: type[Call]) -> str:
    """The section of one operation."""
    done = one in PERFORMERS or one in RECIPES
    performed = "performed by notifyd" if done else "refused"
    if one is Exec:
        performed = "[verified](../explanation/what-allow-means.md#exec) by notifyd"
    parts = [
        f"## {one.__name__}",
        markdown(one),
        "System calls: " + ", ".join(unique(map(call_name, one.variants))) + ".",
        f"`Allow()` after a look at memory: {performed}.",
    ]
    if one.fields:
        rows = [
            (f"`{name}`", field.kind, place(one, field), field.summary)
            for name, field in one.fields.items()
        ]
        parts.append(table(("field", "kind", "lies in", "meaning"), rows))
    if properties := list(own_properties(one)):
        parts.append("Also: " + "; ".join(f"`{name}`, {text}" for name, text in properties) + ".")
    return "\n\n".join(part for part in parts if part)


def call_name(variant: Variant) -> str:
    """A system call, with what is special about it."""
    having = [arch.name for arch in ARCHES.values() if variant.syscall in arch.numbers]
    marks = [] if len(having) == len(ARCHES) else [" and ".join(having)]
    marks += [f"register {at} is {value}" for at, value in variant.when]
    return f"`{variant.syscall}`" + (f" ({', '.join(marks)})" if marks else "")


def place(one: type[Call], field: Field[Any]) -> str:
    """Where a field lies: in a register, in memory, or both, depending on the call."""
    if field.memory:
        return "memory"
    having = [variant for variant in one.variants if field.name in variant.sources]
    hidden = [
        variant.syscall
        for variant in having
        if not isinstance(variant.sources[field.name], (*_IN_REGISTERS, Const))
    ]
    if len(hidden) == len(having) and having:
        return "memory"
    calls = ", ".join(f"`{name}`" for name in unique(hidden))
    return f"register; memory in {calls}" if hidden else "register"


def own_properties(one: type[Call]) -> Iterator[tuple[str, str]]:
    """Public properties of an operation and their first sentences."""
    for name in sorted(vars(one)):
        member = vars(one)[name]
        if isinstance(member, property) and not name.startswith("_"):
            text = (inspect.getdoc(member) or "").partition("\n\n")[0].replace("\n", " ")
            yield name, text[:1].lower() + text[1:].rstrip(".")


# -- the other pages


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
            (f"`{option}`", summary, shown(default))
            for option, (default, summary) in loaded.wanted.items()
        ]
        parts += ["## Options", table(("`--option`", "meaning", "default"), rows)]
    parts += ["## The file", f"```python\n{text.rstrip()}\n```"]
    return "\n\n".join(parts)


def command_line() -> str:
    """Every command: how it is called, what it does, its options."""
    parts = [
        "# Command line",
        paragraphs(cli.help),
        table(("command", "what it does"), [(f"`{n}`", text) for n, text in COMMANDS.items()]),
    ]
    for name in sorted(COMMANDS):
        command: click.Command = import_module(f"notifyd.cli.{name}").command
        parts += one_command(f"notifyd {name}", command)
        if isinstance(command, click.Group):
            for part in sorted(command.commands):
                parts += one_command(f"notifyd {name} {part}", command.commands[part], "###")
    return "\n\n".join(part for part in parts if part)


def one_command(name: str, command: click.Command, level: str = "##") -> list[str]:
    """How a command is called, what it does, its options."""
    takes = [one.human_readable_name for one in arguments(command)]
    takes = [*takes, "COMMAND"] if isinstance(command, click.Group) else ["[OPTIONS]", *takes]
    usage = " ".join([name, *takes])
    parts = [f"{level} {name}", f"```text\n{usage}\n```", paragraphs(command.help)]
    if rows := [option_row(one) for one in command.params if isinstance(one, click.Option)]:
        parts.append(table(("option", "meaning", "default"), rows))
    return [*parts, paragraphs(command.epilog)]


def arguments(command: click.Command) -> list[click.Parameter]:
    """What a command takes besides options."""
    return [one for one in command.params if isinstance(one, click.Argument)]


def option_row(one: click.Option) -> tuple[str, str, str]:
    """How an option is given, what it means, and its default if it has one that matters."""
    names = ", ".join(f"`{name}`" for name in one.opts)
    value = one.metavar or ""
    if isinstance(one.type, click.Choice):
        value = " or ".join(map(str, one.type.choices))
    default = f"`{one.default}`" if one.show_default else ""
    return f"{names} {value}".strip(), one.help or "", default


def paragraphs(text: str | None) -> str:
    """A help text as Markdown: what click must not wrap (after a backspace) is an example."""
    parts = []
    for part in inspect.cleandoc(text or "").split("\n\n"):
        head, _, rest = part.partition("\n")
        parts.append(f"```console\n{rest}\n```" if head in ("\b", "\\b") else part)
    return "\n\n".join(parts)


def control() -> str:
    """What is said over the control socket."""
    changing = ", ".join(f"`{name}`" for name, one in protocol.COMMANDS.items() if one.changes)
    parts = [
        "# Control socket",
        "`sockets.control` of the configuration is a unix stream socket, over which the daemon is "
        "asked and told what to do; [`notifyd ctl`](cli.md#notifyd-ctl) speaks it. A request is "
        "one JSON object on one line, and so is its answer; a connection takes any number, one "
        "after the other.",
        '```text\n> {"notifyd": 1, "command": "kill", "id": "web"}\n'
        '< {"notifyd": 1, "result": {"processes": 1}}\n'
        '> {"notifyd": 1, "command": "kill", "id": "web"}\n'
        '< {"notifyd": 1, "error": "no workload \'web\' is supervised: see `notifyd ctl '
        'workloads`"}\n```',
        f"`notifyd` is the version of the protocol, {protocol.VERSION}. An answer has `result` or "
        f"`error`, one line or several for a person. A request has at most {protocol.MOST_BYTES} "
        f"bytes and {PATIENCE:g} seconds from its first byte to its newline; a connection without "
        f"a request ends after {IDLE:g} seconds. What is not understood, an unknown command or "
        "field included, is answered with an error and ends the connection.",
        "Who may connect is for `mode` and `group` of `sockets.control` to say. Of those, root, "
        "the daemon's own user and whom `users` names may ask for everything, by the credentials "
        'that the kernel tells (SO_PEERCRED). With `users = "any"` everybody else may ask too, '
        f"but not for what changes something: {changing}. Every such request is "
        "[in the log](events.md#controlcommand) with who made it, done or not.",
        "Times are seconds since 1970.",
    ]
    for name, command in protocol.COMMANDS.items():
        parts += [f"## {name}", *described(command.request, "A request has", "notifyd")]
        many = get_origin(command.result) is list
        result = get_args(command.result)[0] if many else command.result
        told = described(result, "The result is a list; each has" if many else "The result has")
        parts += [one for one in told if one not in parts[-2:] or one.startswith("|")]
    return "\n\n".join(parts)


def described(kind: type[Any], having: str, *but: str) -> list[str]:
    """What a message means, and its fields, from the `Attributes` of its documentation."""
    summary, _, rest = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")
    rows = []
    for line in textwrap.dedent(re.sub(r"\n {8}", " ", rest)).splitlines():
        name, colon, text = line.partition(": ")
        if colon and name not in but:
            rows.append((f"`{name}`", text.rstrip(".")))
    return [summary, having, table(("field", "meaning"), rows)] if rows else [summary]


def metrics() -> str:
    """What Prometheus is told."""
    rows = [
        (f"`{name}`", kind, ", ".join(f"`{one}`" for one in labels), text)
        for name, (kind, labels, text) in METRICS.items()
    ]
    bounds = ", ".join(f"{2**power / 1e9:.3g}" for power in BOUNDS)
    parts = [
        "# Metrics",
        "In Prometheus' text format, from `notifyd ctl metrics`, and at "
        "`http://127.0.0.1:PORT/metrics` if `metrics-port` of the configuration names a port. "
        "Everybody on the machine can read that one, names of workloads included.",
        table(("metric", "kind", "labels", "meaning"), rows),
        "A workload that has ended has no series any more; its calls stay in "
        "`notifyd_answered_total` and in the histogram, which never go backwards while the daemon "
        "runs. Take rates over all workloads from those. The "
        f"{MOST_WORKLOADS} workloads that came first have series of their own; the totals have "
        "all.",
        f"The buckets of the histogram end at {bounds} seconds: powers of two of nanoseconds.",
        "`verdict` and `how` are those of [a call's event](events.md#call).",
    ]
    return "\n\n".join(parts)


def configuration() -> str:
    """The keys of the daemon's configuration, from its types and what they say of themselves."""
    parts = [
        "# Configuration",
        "`/etc/notifyd/notifyd.toml`, or another by `notifyd serve --config FILE`. It is TOML. "
        "[Run the daemon](../how-to/run-the-daemon.md) shows one; `systemd/notifyd.toml` is "
        "another, with comments. An unknown key is an error.",
    ]
    for heading, kind in (
        ("The file", Config),
        ("[sockets.oci], [sockets.lxc], [sockets.native], [sockets.control]", SocketConfig),
        ("[[workload]]", Section),
        ("match", Match),
    ):
        parts += [f"## {heading}", paragraphs(inspect.getdoc(kind)).partition("\n\n")[0]]
        rows = [
            (f"`{field.encode_name}`", shown_default(field), meaning)
            for field in msgspec.structs.fields(kind)
            if (meaning := attributes(kind).get(field.name)) is not None
        ]
        parts.append(table(("key", "default", "meaning"), rows))
    return "\n\n".join(parts)


def attributes(kind: type[Any]) -> dict[str, str]:
    """What the docstring of a class says of its attributes, by name."""
    _, _, text = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        head, colon, rest = line.strip().partition(": ")
        if line.startswith("    ") and not line.startswith("     ") and colon:
            name, found[head] = head, rest
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


def shown_default(field: msgspec.structs.FieldInfo) -> str:
    """A key's default, as TOML would have it; `required` where there is none."""
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if value is None or value == [] or value == {} or isinstance(value, msgspec.Struct):
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def python_names() -> str:
    """What `notifyd` and `notifyd.testing` export."""
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
    parts += ["## notifyd.testing", markdown(notifyd.testing)]
    parts += [entry(notifyd.testing, name) for name in notifyd.testing.__all__]
    return "\n\n".join(parts)


def entry(module: Any, name: str) -> str:
    """One exported name: how it is called, and its contract."""
    found = getattr(module, name)
    if name == "Verdict":
        return "### `Verdict`\n\nAny of the verdicts, for the annotation of a rule."
    if name in SUMMARIES:
        members = ", ".join(map(member, sorted(found) if name == "FILE_REQUESTS" else found))
        return f"### `{name}`\n\n{SUMMARIES[name]}\n\n{members}"
    takes = signature(found) if not (inspect.isclass(found) and issubclass(found, Call)) else ""
    return f"### `{name}{takes}`\n\n```text\n{inspect.getdoc(found)}\n```"


def member(one: type[Call] | Raw | int) -> str:
    """A member of a group: a link to the operation, bare system calls, or a request's name."""
    if isinstance(one, int):
        return next(f"`{name}`" for name, number in IOCTLS.items() if number == one)
    if isinstance(one, Raw):
        return ", ".join(f"`{variant.syscall}`" for variant in one.variants)
    return f"[{one.__name__}](operations.md#{one.__name__.lower()})"


def signature(found: Any) -> str:
    """Parameters and defaults, without types: those are in the contract below."""
    bare = inspect.Parameter.empty
    whole = inspect.signature(found)
    plain = [one.replace(annotation=bare) for one in whole.parameters.values()]
    text = str(whole.replace(parameters=plain, return_annotation=bare))
    return text if len(text) <= LONGEST and "<" not in text else "(...)"


# -- Markdown


def markdown(documented: Any) -> str:
    """A docstring as it is written: its paragraphs are Markdown already."""
    return inspect.getdoc(documented) or ""


def code_indented(text: str) -> str:
    """Indented examples of a rule's docstring as fenced blocks."""
    parts = []
    for part in text.split("\n\n"):
        if part.startswith("    "):
            part = f"```console\n{inspect.cleandoc(part)}\n```"
        parts.append(part)
    return "\n\n".join(parts)


def shown(default: object) -> str:
    """A default as a person would give it."""
    values = default if isinstance(default, tuple) else (default,)
    return ", ".join(f"`{value}`" for value in values) or "none"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def unique(items: Iterable[str]) -> list[str]:
    """Each once, in the order of the first."""
    return list(dict.fromkeys(items))


def stale(folder: Path = REFERENCE) -> list[str]:
    """The pages below `folder` that are not what they should be, or should not be."""
    wanted = pages()
    there = {str(path.relative_to(folder)): path for path in written(folder)}
    wrong = [
        name for name in wanted if name not in there or there[name].read_text() != wanted[name]
    ]
    return sorted([*wrong, *(there.keys() - wanted.keys())])


def written(folder: Path) -> list[Path]:
    """The pages that were written by us; others are written by hand."""
    return [path for path in folder.rglob("*.md") if path.read_text().startswith(NOTE)]


def write(folder: Path = REFERENCE) -> None:
    """Write all pages, and remove those that are none any more."""
    wanted = pages()
    for path in written(folder):
        if str(path.relative_to(folder)) not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def main() -> int:
    """The command."""
    if sys.argv[1:] == ["--check"]:
        wrong = stale()
        for name in wrong:
            print(f"docs/reference/{name} is out of date: run `make docs`", file=sys.stderr)
        return 1 if wrong else 0
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main())

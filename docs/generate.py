"""Writes docs/reference from the code's own tables, so that it cannot say anything else.

    python docs/generate.py            write the pages
    python docs/generate.py --check    exit 1 and name the pages that are out of date

To add a page, add a function that returns its text, and its line in `pages`.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from pages import audit, commands, operations, rules, service, webhook  # noqa: E402

from notifyd.policy.load import shipped  # noqa: E402

REFERENCE = HERE / "reference"
NOTE = "<!-- Written by docs/generate.py. Do not edit. -->\n"


def pages() -> dict[str, str]:
    """Every page by its path below docs/reference."""
    found = {
        "operations.md": operations.operations(),
        "events.md": rules.events(),
        "audit.md": audit.audit(),
        "cli.md": commands.command_line(),
        "control.md": service.control(),
        "metrics.md": service.metrics(),
        "webhook.md": webhook.webhook(),
        "configuration.md": service.configuration(),
        "python.md": rules.python_names(),
        "rules/index.md": rules.rules_index(),
    }
    found |= {f"rules/{name}.md": rules.rule(name, path) for name, path in shipped().items()}
    return {path: f"{NOTE}{text.rstrip()}\n" for path, text in found.items()}


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

"""The command line: one file a command, each imported only when it is called."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

import click

from notifyd.errors import FilterError, UsageError

# To add a command: a module here with a click command named `command`, and its line in this table.
SUBCOMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "audit": "Read the event log, and see whether it is what was written.",
        "completion": "Print the completion script of a shell.",
        "console": "Show the daemon in a browser.",
        "ctl": "Ask the daemon, and tell it what to do.",
        "profile": "Write the seccomp profile of containers whose calls notifyd decides.",
        "replay": "Decide recorded calls again with other rules, and show what would change.",
        "rules": "Show the rules that ship, and what a rule file becomes in the kernel.",
        "run": "Run a command under rules.",
        "serve": "Supervise whatever hands its listener over: the daemon.",
    }
)

USAGE_STATUS = 2


class Commands(click.Group):
    """The group, which knows its commands by name before it imports any."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, sorted."""
        return sorted(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; None, if there is none of that name."""
        if name not in SUBCOMMANDS:
            return None
        command: click.Command = import_module(f"notifyd.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands from the table, so that help imports none."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(SUBCOMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="seccomp-notifyd", message="%(prog)s %(version)s")
def cli() -> None:
    """Decide system calls with Python rules.

    \b
    notifyd run --rules no-network -- ./tool
    notifyd rules
    """  # noqa: D301 (click's mark is the character itself)


def main(arguments: list[str] | None = None) -> None:
    """The entry point. A usage error is one line on standard error, and exit status 2."""
    try:
        cli.main(arguments, prog_name="notifyd", standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE_STATUS)
    except UsageError as error:
        complain(str(error))
        sys.exit(getattr(error, "status", USAGE_STATUS))
    except (OSError, MemoryError, ImportError) as error:  # our own
        complain(f"the system refuses what notifyd needs: {_in_words(error)}")
        sys.exit(USAGE_STATUS)
    except FilterError as error:
        complain(f"these rules cannot be put into the kernel: {error}")
        sys.exit(USAGE_STATUS)


# What helps where the system itself is at an end, or lacks something.
_REMEDIES: Mapping[int, str] = MappingProxyType(
    {
        errno.EMFILE: "allow more open files (ulimit -n)",
        errno.ENFILE: "too many files are open on this machine (sysctl fs.file-max)",
        errno.EAGAIN: "allow more processes (ulimit -u, pids.max of the cgroup) or more memory",
        errno.ENOMEM: "allow more memory (ulimit -v, memory.max of the cgroup)",
        errno.ENOSYS: "this takes Linux 5.9, and no filter of a container's that keeps it away",
    }
)


def _in_words(error: OSError | MemoryError | ImportError) -> str:
    number = error.errno if isinstance(error, OSError) else errno.ENOMEM
    # A library that finds no room says so in words only.
    said = str(error) or "no memory"
    remedy = _REMEDIES.get(number or 0, "")
    return f"{said}; {remedy}" if remedy else said


def complain(text: str) -> None:
    """A line or several for the person, on standard error."""
    for line in text.splitlines():
        click.echo(f"notifyd: {line}", err=True)

"""The form of the configuration file, as types.

It is read and checked in `config_file`; rules are loaded in `policies`, sockets opened elsewhere.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Collection
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "ARRIVALS",
    "DEFAULT_CONFIG_PATH",
    "Approvals",
    "Audit",
    "Config",
    "Match",
    "Section",
    "SocketConfig",
    "SocketsConfig",
    "Texts",
    "User",
    "WebhookConfig",
    "as_list",
    "gid_of",
    "uid_of",
]

DEFAULT_CONFIG_PATH = "/etc/notifyd/notifyd.toml"

Texts = str | list[str]
User = Annotated[int | str, Meta(description="a name or an id")]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="a name of at most 64 letters, digits, '_', '.' and '-'",
    ),
]
FilePath = Annotated[
    str, Meta(pattern=r"^/[^\x00]*$", description="an absolute path, and no NUL in it")
]
Mode = Annotated[str, Meta(pattern="^0?[0-7]{3}$", description='a mode in octal, as text: "0660"')]
Names = Annotated[list[str], Meta(min_length=1, description="at least one name or file")]
Url = Annotated[
    str,
    Meta(
        pattern=r"^(https://[^/?#@\s]+|http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?)([/?]\S*)?$",
        description="an https:// address, or http:// on this machine",
    ),
]
Seconds = Annotated[float, Meta(gt=0, le=86400, description="seconds, at most 86400")]
FieldGlob = Annotated[
    str, Meta(pattern=r"^[^\s]+$", description="a field's name, as args.path, or a glob, as args.*")
]
Size = (
    Annotated[int, Meta(ge=4096, description='bytes, at least 4096, or a text as "100M"')]
    | Annotated[str, Meta(pattern="^[1-9][0-9]{0,8}[KMG]$")]
)
Age = Annotated[
    str, Meta(pattern="^[1-9][0-9]{0,5}[smhdw]$", description='an age, as "12h", "7d" or "4w"')
]
Count = Annotated[int, Meta(ge=0, le=100_000, description="a number, at most 100000; 0 for all")]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port, 1 to 65535")]


class SocketConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One socket.

    Attributes:
        path: absolute.
        mode: who may connect, in octal.
        group: whose socket it is; ours by default.
        users: names or ids of those who may use it besides root and us; everybody who can connect
            if it is `"any"`.
    """

    path: FilePath
    mode: Mode = "0660"
    group: str | None = None
    users: Literal["any"] | list[User] = []

    def serves(self, uid: int, own: int) -> bool:
        """Whether a user may use it."""
        if uid in (0, own) or self.users == "any":
            return True
        return any(uid_of(user) == uid for user in self.users)


class SocketsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sockets that there are to be."""

    oci: SocketConfig | None = None
    lxc: SocketConfig | None = None
    native: SocketConfig | None = None
    control: SocketConfig | None = None


ARRIVALS = tuple(name for name in SocketsConfig.__struct_fields__ if name != "control")
ArrivalName = Annotated[
    str,
    Meta(
        pattern=f"^({'|'.join(ARRIVALS)})$",
        description=" or ".join(f'"{name}"' for name in ARRIVALS),
    ),
]


class Audit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """How the event log is kept. `audit = "PATH"` is short for this with a path alone.

    Attributes:
        path: the audit file; JSON lines, chained and signed.
        max_size: bytes, as a number or as `"100M"`, after which a new file begins.
        max_age: after which it does, as `"7d"`.
        keep: how many older files are kept; 0 for all.
        compress: whether those are packed with gzip.
        key: the file of the key that signs checkpoints, made at the first use; by default `path`
            with `.key` after it.
        on_full: while the disk is full, `"count"` continues and counts lost events, `"refuse"`
            refuses (EPERM) what would be allowed.
        redact: fields that are never shown, by globs: `args.path`, `exe`, `args.*`.
        journal: whether events go to systemd's journal, too.
        database: an SQLite file that they go to, too.
    """

    path: FilePath
    max_size: Size | None = None
    max_age: Age | None = None
    keep: Count = 0
    compress: bool = False
    key: FilePath | None = None
    on_full: Literal["refuse", "count"] = "count"
    redact: list[FieldGlob] = []
    journal: bool = False
    database: FilePath | None = None

    @property
    def key_path(self) -> str:
        """Where the key is."""
        return self.key or f"{self.path}.key"


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a section is for: all of what is given has to fit. Globs, as in a shell.

    Attributes:
        arrival: how the listener came: `oci`, `lxc` or `native`, as its socket is called.
        id: the container's id or the command's name.
        metadata: `listenerMetadata`, or the cookie of LXC.
        annotations: by key; a key that is not there does not fit.
        user: who brought it, by name or id.
        cgroup: the path of the first process in the unified hierarchy, or else in any.
    """

    arrival: ArrivalName | list[ArrivalName] = []
    id: Texts = []
    metadata: Texts = []
    annotations: dict[str, Texts] = {}
    user: User | list[User] = []
    cgroup: Texts = []


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[[workload]]`: who gets which rules.

    Attributes:
        name: unique; what `notifyd run --service --section` asks for.
        rules: names of shipped rules, or files; relative to the configuration's folder.
        options: for the rules.
        otherwise: the verdict where no rule has an opinion.
        strict: refuse `Continue()` by a rule that read memory.
        patience: seconds at most for a decision; a rule's own limit counts where it is shorter.
        match: for whom.
    """

    name: Name
    rules: Names
    options: dict[str, Texts | int | float] = {}
    otherwise: Literal["allow", "deny"] = "allow"
    strict: bool = False
    patience: Seconds | None = None
    match: Match = Match()


Sections = Annotated[list[Section], Meta(min_length=1, description="at least one [[workload]]")]


class Approvals(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Asking people. `approvals = "PATH"` at the top of the file is short for its `path`.

    Attributes:
        path: the database of questions and answers; nothing outlives the daemon by default.
        users: names or ids of those who may look at everything and answer questions, besides root,
            us and whom `sockets.control.users` names.
        groups: names or ids of groups whose members may, too.
        self_approval: whether a user may approve what their own programs ask for.
    """

    path: FilePath | None = None
    users: list[User] = []
    groups: list[User] = []
    self_approval: bool = False

    def names(self, uid: int, groups: Collection[int]) -> bool:
        """Whether a user of some groups is named here."""
        return any(uid_of(user) == uid for user in self.users) or any(
            gid_of(group) in groups for group in self.groups
        )


class WebhookConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Where questions are sent, for bots that show them to people: [Webhook](webhook.md).

    Attributes:
        url: `https`; or `http` on this machine.
        secret_file: what both sides sign with; its first line. For us alone to read.
        timeout: seconds that an answer may take in which it comes back at once.
    """

    url: Url
    secret_file: FilePath
    timeout: Seconds = 60.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The whole file.

    Attributes:
        audit: the event log, a path or a table; none by default.
        approvals: where answers are kept, and who may answer; or only the path of the database.
        webhook: where questions are sent; nowhere by default.
        metrics_port: a TCP port of 127.0.0.1 for Prometheus; none by default.
        watch: whether changed files are loaded by themselves.
        sockets: at least one of `oci`, `lxc` and `native`.
        workload: the sections; the first that matches applies.
    """

    sockets: SocketsConfig
    workload: Sections
    audit: FilePath | Audit | None = None
    approvals: FilePath | Approvals = Approvals()
    webhook: WebhookConfig | None = None
    metrics_port: Port | None = None
    watch: bool = True

    @property
    def asking(self) -> Approvals:
        """`approvals`, in its long form."""
        short = self.approvals
        return Approvals(path=short) if isinstance(short, str) else short

    @property
    def log(self) -> Audit | None:
        """How the event log is kept; None if there is to be none."""
        return Audit(self.audit) if isinstance(self.audit, str) else self.audit


def uid_of(user: User) -> int | None:
    """The id of a user given by name or id; None if no user has that name."""
    if isinstance(user, int):
        return user
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):  # ValueError: a NUL in it
        return None


def gid_of(group: User) -> int | None:
    """The id of a group given by name or id; None if none has that name."""
    if isinstance(group, int):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        return None


def as_list(value: Any) -> list[Any]:
    """One value or several, as several."""
    return value if isinstance(value, list) else [value]

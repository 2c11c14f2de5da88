"""A system of its own under systemd, with the units and `notifyd serve` in it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NOTIFYD = f"{shlex.quote(sys.executable)} -B -m notifyd"

LIMIT = 300  # seconds for one boot and all that a test does in it: a dozen daemons, one by one

CONFIG = f"""
audit = "/var/log/notifyd/events.jsonl"
watch = false
[sockets]
oci.path = "/run/notifyd/oci.sock"
lxc.path = "/run/notifyd/lxc.sock"
native = {{ path = "/run/notifyd/native.sock", group = "notifyd", users = "any" }}
control = {{ path = "/run/notifyd/control.sock", mode = "0600" }}
[[workload]]
name = "named"
rules = ["fake-hostname"]
options.name = "first"
[[workload]]
name = "hangs"
rules = ["{HERE}/rules/hangs.py"]
[[workload]]
name = "waits"
rules = ["{HERE}/rules/waits.py"]
[[workload]]
name = "deeds"
rules = [
    "harmless-devices", "bind-low-ports",
    "{HERE}/rules/deeds.py", "{ROOT}/tests/run/rules/performer.py",
]
"""

# In front of every script. `under SECTION COMMAND` runs it under the daemon, `the PROPERTY` asks
# systemd of the service; `soon COMMAND` tries it until it is true; `drop MAX_EVENT_BYTES...`
# changes the service, and `anew MAX_EVENT_BYTES...` forgets the changes before.
PRELUDE = f"""
install -m 644 -D -t /usr/local/lib/systemd/system {ROOT}/systemd/*.service {ROOT}/systemd/*.socket
install -m 644 -D -t /usr/local/lib/sysusers.d {ROOT}/systemd/sysusers.d/*
install -m 644 -D -t /usr/local/lib/tmpfiles.d {ROOT}/systemd/tmpfiles.d/*
systemd-sysusers 2>/dev/null && systemd-tmpfiles --create notifyd.conf
cat >/etc/notifyd/notifyd.toml <<'TOML'
{CONFIG}
TOML
changes=/etc/systemd/system/notifyd.service.d/test.conf
under() {{ section=$1; shift; {NOTIFYD} run --quiet --service --section "$section" -- "$@"; }}
the() {{ systemctl show --value -p "$1" notifyd.service; }}
is() {{ [ "$(the "$1")" = "$2" ]; }}
soon() {{
    for _ in $(seq 200); do if "$@"; then return; fi; sleep 0.05; done
    echo "never true: $*"; systemctl status notifyd.service; journalctl -u notifyd.service; exit 1
}}
drop() {{ printf '%s\\n' "$@" >>$changes; systemctl daemon-reload; }}
anew() {{
    mkdir -p $(dirname $changes)
    printf '%s\\n' '[Service]' ExecStart= 'ExecStart={NOTIFYD} serve' \
        ExecReload= 'ExecReload={NOTIFYD} ctl reload' "$@" >$changes
    systemctl daemon-reload
}}
anew
"""


def boot(folder: Path, script: str) -> str:
    """Boot a system, run a shell script in it and end it; what the script printed.

    The script ends at its first command that fails, and then this does.

    Args:
        folder: empty.
        script: `sh`, below PRELUDE.
    """
    assert shutil.which("systemd-nspawn"), "the tests need the package systemd-container"
    shared, root = folder / "shared", folder / "root"
    shared.mkdir()
    root.mkdir()
    (shared / "script").write_text(PRELUDE + script)
    seen = {str(ROOT), sys.prefix, sys.base_prefix} - {"/usr"}
    command = [str(HERE / "booted.sh"), str(shared), str(root), *sorted(seen)]
    done = subprocess.run(command, timeout=LIMIT, capture_output=True, text=True, check=False)
    said, log = (_read(shared / name) for name in ("said", "log"))
    assert done.returncode == 0, f"{said}\n{log}\n{done.stderr}"
    assert list(root.iterdir()) == []
    return said


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""

#!/bin/sh
# Boots systemd over a copy of this machine's files, in a mount namespace of its own, and runs a
# script in it: booted.sh SHARED ROOT BIND... The script is SHARED/script; what it prints goes to
# SHARED/said, what systemd says to SHARED/log; its exit status is ours. ROOT is an empty folder;
# what is mounted there is seen by nobody else, and ends with us. BIND are folders to be seen.
set -eu
if [ "${PRIVATE:-}" != yes ]; then
    PRIVATE=yes exec unshare -m --propagation private "$0" "$@"
fi
shared=$1 root=$2
shift 2
mount -t tmpfs none "$root"
mkdir "$root/upper" "$root/work" "$root/all"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/all"

# A machine of its own, with none of the services that this one may have.
etc=$root/all/etc
tr -d - </proc/sys/kernel/random/uuid >"$etc/machine-id"
rm -rf "$etc/systemd/system" "$root/all/run"
mkdir -p "$etc/systemd/system" "$root/all/run"
for unit in systemd-sysctl.service systemd-modules-load.service docker.socket podman.socket; do
    ln -s /dev/null "$etc/systemd/system/$unit"
done
cat >"$etc/systemd/system/test.target" <<UNIT
[Unit]
Requires=basic.target test.service
After=basic.target
UNIT
cat >"$etc/systemd/system/test.service" <<UNIT
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/sh -eu /run/test/script
ExecStopPost=/bin/systemctl exit \$EXIT_STATUS
StandardOutput=file:/run/test/said
StandardError=file:/run/test/said
UNIT

for folder in "$@"; do
    set -- "$@" "--bind-ro=$folder"
    shift
done
# Its own filter refuses pidfd_getfd(2), which the daemon needs.
exec systemd-nspawn -q --register=no --keep-unit --private-network --console=pipe \
    --link-journal=no --machine="notifyd-$$" --system-call-filter=pidfd_getfd \
    --bind="$shared:/run/test" "$@" -D "$root/all" \
    --boot -- --unit=test.target </dev/null >"$shared/log" 2>&1

"""What a container's root directory is on is free when the container has been deleted."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from containers import cgroups, oci
from devices import MADE, TRIES

pytestmark = pytest.mark.root
TRIALS = 3


@contextmanager
def device(folder: Path, contents: Path) -> Iterator[str]:
    """A loop device with a copy of what is in a directory."""
    image = folder / "image"
    subprocess.run(["mkfs.ext4", "-q", "-d", contents, image, "64M"], check=True)
    command = ["losetup", "-f", "--show", image]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield found
    finally:
        subprocess.run(["losetup", "-d", found], check=True)


@pytest.mark.parametrize("name", ["runc", "crun"])
@pytest.mark.parametrize("supervised", [False, True], ids=["alone", "supervised"])
def test_its_disk_is_free_at_once(supervised, name, runtimes, service, tmp_path):
    """Unmounted, nobody else has it: no helper is in the container's namespaces any more."""
    runtime = runtimes(name)
    script, told = (TRIES, MADE) if supervised else ("echo up", "up\n")
    profile = service.profile(runtime) if supervised else oci.profile()
    for _ in range(TRIALS):
        asked = runtime.asked(script, profile)
        words = runtime.run_command(asked)
        rootfs = runtime.folder / asked.name / "rootfs"
        with device(tmp_path, rootfs) as disk:
            # There alone: a mount that others see is copied by whoever makes a namespace meanwhile.
            there = cgroups.private(words, f"mount {disk} {rootfs}")
            finished = runtime.ground.run(there)
            os.close(os.open(disk, os.O_RDWR | os.O_EXCL))
            runtime.remove(asked.name)
            assert (finished.stdout, finished.status) == (told, 0), finished.stderr
        (tmp_path / "image").unlink()

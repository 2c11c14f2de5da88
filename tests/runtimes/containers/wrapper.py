"""Stands in for a newer Docker: gives a container the listener that its profile lost.

    wrapper.py RUNTIME ARGUMENT...

Docker 20.10 reads seccomp profiles without listenerPath, and knows no annotations. What is missing
comes in the container's environment here. RUNTIME may be `notifyd-runtime`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

VARIABLE = "NOTIFYD_TEST_WANTED"


def complete(config: dict[str, Any]) -> None:
    """Put what is wanted where OCI has its place."""
    environment = config["process"]["env"]
    for text in [one for one in environment if one.startswith(f"{VARIABLE}=")]:
        environment.remove(text)
        wanted = json.loads(text.partition("=")[2])
        config.setdefault("annotations", {}).update(wanted["annotations"])
        config["linux"]["seccomp"].update(wanted["seccomp"])


def main(runtime: str, words: list[str]) -> None:
    """Complete config.json if a container is to be made, and go on as the runtime itself."""
    if "create" in words:
        path = Path(words[words.index("--bundle") + 1], "config.json")
        config = json.loads(path.read_text())
        complete(config)
        path.write_text(json.dumps(config))
    os.execvp(runtime, [runtime, *words])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

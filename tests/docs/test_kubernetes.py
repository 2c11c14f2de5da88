"""The manifests for Kubernetes are what its published schemas want, and agree with one another."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from notifyd.container.bundle import PREFIX, requested
from notifyd.container.compose import DEFAULT_LISTENER_PATH
from notifyd.container.settings import read_settings

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "kubernetes"
KINDS = {
    "notifyd.yaml": ["Namespace", "DaemonSet"],
    "runtimeclass.yaml": ["RuntimeClass"],
    "pod.yaml": ["Pod"],
}


def manifests(name: str) -> list[dict[str, Any]]:
    """The documents of a file."""
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_the_schemas_take_them(name: str, version: str) -> None:
    """Every key is one that this version of Kubernetes knows."""
    documents = manifests(name)
    assert [one["kind"] for one in documents] == KINDS[name]
    for one in documents:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_schemas_would_find_a_mistake() -> None:
    """Else the test above would say nothing."""
    pod = manifests("pod.yaml")[0]
    pod["spec"]["runtimeClas"] = "notifyd"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_every_manifest_is_checked() -> None:
    """A new one has to be named above."""
    assert {path.name for path in FOLDER.glob("*.yaml")} == KINDS.keys()


def test_pod_class_and_runtime_agree() -> None:
    """The pod names the class, the class the handler, and the runtime gets the annotations."""
    pod, runtime_class = manifests("pod.yaml")[0], manifests("runtimeclass.yaml")[0]
    assert pod["spec"]["runtimeClassName"] == runtime_class["metadata"]["name"]
    plugin = tomllib.loads((FOLDER / "containerd.toml").read_text())["plugins"]
    handler = plugin["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"][
        runtime_class["handler"]
    ]
    assert handler["pod_annotations"] == [f"{PREFIX}*"]
    assert handler["options"]["BinaryName"].endswith("/notifyd-runtime")


def test_the_node_gives_what_the_pod_asks_for() -> None:
    """The settings of the node allow the pod's annotations, and the daemon's socket is there."""
    settings = read_settings(FOLDER / "runtime.toml")
    request = requested(manifests("pod.yaml")[0]["metadata"]["annotations"], settings)
    assert (request.rules, request.metadata) == (("harmless-devices",), "builders")
    daemon = manifests("notifyd.yaml")[1]["spec"]["template"]["spec"]
    assert settings.listener == DEFAULT_LISTENER_PATH
    assert str(Path(DEFAULT_LISTENER_PATH).parent) in [
        one["hostPath"]["path"] for one in daemon["volumes"]
    ]

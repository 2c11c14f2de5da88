"""What runtimes say of a container when they hand its listener over, each in its own way."""

import pytest
from containers import oci

pytestmark = pytest.mark.root

ANNOTATIONS = {"org.example.tenant": "blue", "org.example.text": 'a "b" = c, d'}


@pytest.fixture
def profile(receiver):
    """What a container has to be started with."""
    return oci.profile("mknod", "mknodat", listener=receiver.socket)


def test_metadata_and_annotations_arrive(oci_runtime, receiver, profile):
    """With the id by which the harness knows the container, and a process that is alive."""
    asked = {"metadata": "tenant=blue", "annotations": ANNOTATIONS}
    with oci_runtime.start(profile, **asked) as container:
        (told,) = receiver.arrivals(oci_runtime.id_of(container.name), 1)
    assert told["metadata"] == "tenant=blue"
    assert told["state"]["status"] == "creating"
    assert told["state"]["annotations"].items() >= ANNOTATIONS.items()


def test_a_second_process_arrives_under_the_same_id(oci_runtime, receiver, profile):
    """With the metadata that the container was started with."""
    with oci_runtime.start(profile, metadata="tenant=red") as container:
        assert container.exec(["/bin/true"]).status == 0
        first, second = receiver.arrivals(oci_runtime.id_of(container.name), 2)
    assert (first["metadata"], second["metadata"]) == ("tenant=red", "tenant=red")
    assert second["state"]["status"] == "running"

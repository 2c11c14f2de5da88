"""What runtimes say of a container when they hand its listener over, each in its own way."""

import pytest
from containers import oci

pytestmark = pytest.mark.root

ANNOTATIONS = {"org.example.tenant": "blue", "org.example.text": 'a "b" = c, d'}


@pytest.fixture
def profile(service):
    """What a container has to be started with."""
    return oci.profile("mknod", "mknodat", listener=service.socket)


def test_metadata_and_annotations_arrive(oci_runtime, service, profile):
    """With the id by which the harness knows the container, and a process that is alive."""
    asked = {"metadata": "tenant=blue", "annotations": ANNOTATIONS}
    with oci_runtime.start(profile, **asked) as container:
        (told,) = service.arrivals(oci_runtime.id_of(container.name), 1)
    assert told["metadata"] == "tenant=blue"
    assert told["event"] == "workload.started"
    assert told["annotations"].items() >= ANNOTATIONS.items()


def test_a_second_process_arrives_under_the_same_id(oci_runtime, service, profile):
    """With the metadata that the container was started with."""
    with oci_runtime.start(profile, metadata="tenant=red") as container:
        # It waits for an answer: one that ended at once could be gone before its listener is there.
        assert container.exec(["/bin/mknod", "/tmp/n", "c", "1", "3"]).status == 0
        first, second = service.arrivals(oci_runtime.id_of(container.name), 2)
    assert (first["metadata"], second["metadata"]) == ("tenant=red", "tenant=red")
    assert second["event"] == "workload.joined"


def test_different_metadata_different_rules(oci_runtime, service):
    """Two containers at once, of one profile, each under the rules of its section."""
    profile = oci.profile("uname", "mknod", "mknodat", listener=service.socket)
    with (
        oci_runtime.start(profile, metadata="host=a") as named,
        oci_runtime.start(profile, metadata="devices") as maker,
    ):
        told = named.exec(["/bin/uname", "-n"]), maker.exec(["/bin/uname", "-n"])
        made = [one.exec(["/bin/mknod", "/tmp/n", "c", "1", "3"]).status for one in (named, maker)]
    assert told[0].stdout == "elsewhere\n"
    assert told[1].stdout != told[0].stdout
    assert made == [1, 0]

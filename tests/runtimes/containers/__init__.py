"""Real container runtimes from Debian's packages, each behind one small interface (`Runtime`).

    def test_something(oci_runtime, receiver):
        profile = oci.profile("mknod", "mknodat", listener=receiver.socket)
        finished = oci_runtime.run("mknod /tmp/n c 1 3", profile, metadata="blue")
        with oci_runtime.start(profile, annotations={"a": "b"}) as container:
            finished = container.exec(["/bin/mknod", "/tmp/n", "c", "1", "3"])

Every command has a time limit, and runs in a mount namespace of its own. All processes, files and
control groups of a session are found by its mark, and checked to be gone at its end (`Ground`).
"""

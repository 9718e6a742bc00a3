# SPDX-License-Identifier: Apache-2.0
"""The images that tests run on, of busybox; each is made once for a test."""
import hashlib
import io
import os
import subprocess
import tarfile
import oci
from harness import at, good


def app():
    """The image; made once."""
    if not os.path.exists(at("layout")):
        oci.Layout(at("layout"), [
            oci.tar(oci.base() + [oci.plain("gone"), oci.folder("opq"), oci.plain("opq/old"),
                                  oci.plain("srv/mine", b"m", uid=1000, gid=50, mode=0o640),
                                  oci.plain("bin/setid", b"", mode=0o4755)]),
            oci.tar([oci.plain(".wh.gone"), oci.plain("opq/new"), oci.plain("opq/.wh..wh..opq"),
                     oci.plain("srv/hello", b"hello\n")])],
            {"Env": ["PATH=/bin", "GREETING=hi"], "Entrypoint": ["/bin/env"],
             "Cmd": ["cat", "/srv/hello"], "User": "app", "WorkingDir": "made/here"})
        good("image", "import", "--name", "app", at("layout"))
    return "app"


def ext4():
    """The digest of an image that is ext4, of 24 MiB; made once."""
    path = at("ext4.img")
    if not os.path.exists(path):
        with tarfile.open(fileobj=io.BytesIO(oci.tar(oci.base()))) as t:
            t.extractall(at("ext4"))
        subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-d", at("ext4"), path, "24M"], check=True,
                       env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}, capture_output=True)
        with open(path, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        good("image", "import", "--format", "ext4", "--sha256", digest, "--name", "ext4", path)
    return "ext4"

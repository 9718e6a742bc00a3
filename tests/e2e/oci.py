# SPDX-License-Identifier: Apache-2.0
"""A small OCI image layout, tar archives, and a root folder, for tests of images."""
import gzip
import hashlib
import io
import json
import os
import tarfile

BUSYBOX = "/bin/busybox"
APPLETS = "sh ls cat id env true pwd mkdir dd df sync echo touch stat grep tail seq".split()
MEDIA = "application/vnd.oci.image."
PASSWD = b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/srv:/bin/sh\n"


def folder(name, mode=0o755):
    return {"name": name, "type": tarfile.DIRTYPE, "mode": mode}


def link(name, to):
    return {"name": name, "type": tarfile.SYMTYPE, "linkname": to}


def plain(name, data=b"", **more):
    return {"name": name, "data": data, **more}


def tar(entries):
    """The entries as an archive; keys but `data` are those of tarfile.TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for e in entries:
            info = tarfile.TarInfo(e["name"])
            info.mode, info.mtime = 0o755, 1000000000
            for key, value in e.items():
                if key not in ("name", "data"):
                    setattr(info, key, value)
            info.size = len(e.get("data", b""))
            t.addfile(info, io.BytesIO(e.get("data", b"")))
    return out.getvalue()


def base():
    """What commands need: busybox under its names, and users."""
    with open(BUSYBOX, "rb") as f:
        program = f.read()
    return [folder("bin"), plain("bin/busybox", program),
            *[link("bin/" + a, "busybox") for a in APPLETS], folder("etc"),
            plain("etc/passwd", PASSWD, mode=0o644), folder("srv")]


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    """An OCI image layout in the folder `path`, with these layers (tar archives)."""

    def __init__(self, path, layers, config):
        self.path = path
        os.makedirs(os.path.join(path, "blobs", "sha256"))
        self.layers = [self.blob("layer.v1.tar+gzip", gzip.compress(x, mtime=0)) for x in layers]
        machine = os.uname().machine
        conf = self.json("config.v1+json", {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
            "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest(x) for x in layers]}})
        self.manifest = self.json("manifest.v1+json", {
            "schemaVersion": 2, "config": conf, "layers": self.layers,
            "mediaType": MEDIA + "manifest.v1+json"})
        self.write("index.json", json.dumps({"schemaVersion": 2, "manifests": [self.manifest]}))
        self.write("oci-layout", '{"imageLayoutVersion": "1.0.0"}')

    def write(self, name, text):
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as f:
            f.write(text)

    def blob_path(self, descriptor):
        return os.path.join(self.path, "blobs", "sha256", descriptor["digest"][7:])

    def json(self, kind, value):
        return self.blob(kind, json.dumps(value).encode())

    def blob(self, kind, data):
        d = {"mediaType": MEDIA + kind, "digest": digest(data), "size": len(data)}
        with open(self.blob_path(d), "wb") as f:
            f.write(data)
        return d

# SPDX-License-Identifier: Apache-2.0
"""A registry on the loopback address that offers one OCI image layout, as far as a pull needs."""
import http.server
import os
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, kind="text/plain", data=b"", more=()):
        self.send_response(status)
        for key, value in (("Content-Type", kind), ("Content-Length", str(len(data))), *more):
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def blob(self, digest, kind):
        path = os.path.join(self.server.layout.path, "blobs", "sha256", digest[7:])
        try:
            with open(path, "rb") as f:
                self.answer(200, kind, f.read(), [("Docker-Content-Digest", digest)])
        except OSError:
            self.answer(404)

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        manifest = self.server.layout.manifest
        self.server.seen.append(self.path)
        if parts == ["v2"]:
            self.answer(200)
        elif parts[-2] == "manifests" and parts[-1] in ("latest", "one", manifest["digest"]):
            self.blob(manifest["digest"], manifest["mediaType"])
        elif parts[-2] == "blobs":
            self.blob(parts[-1], "application/octet-stream")
        else:
            self.answer(404)

    do_HEAD = do_GET

    def log_message(self, *args):
        """Nobody wants to read it."""


class Registry(http.server.ThreadingHTTPServer):
    """While it is open: `name` is HOST:PORT, `seen` the paths that were asked for."""
    daemon_threads = True

    def __init__(self, layout):
        super().__init__(("127.0.0.1", 0), Handler)
        self.layout, self.seen = layout, []
        self.name = f"127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *args):
        self.shutdown()
        super().__exit__(*args)

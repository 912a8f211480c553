"""A server that behaves as GitHub does for python-build-standalone's releases, and as bad ones do.

It answers HTTPS for each host that it has a certificate for. A proxy leads there whoever asks for one of them, so that a
program is tested with the addresses that it has. `Faults` are what happens to the next requests.
"""

import collections
import dataclasses
import hashlib
import http.server
import json
import re
import socket
import ssl
import threading

PROJECT = "astral-sh/python-build-standalone"
STORAGE = "release-assets.githubusercontent.com"
HOSTS = ("localhost", "github.com", "raw.githubusercontent.com", "api.github.com", STORAGE)


@dataclasses.dataclass
class Fault:
    """What happens to a request in place of its answer."""

    status: int = 200
    headers: dict = dataclasses.field(default_factory=dict)
    body: bytes = None
    # The connection breaks, or all stands still, after so many bytes of the body.
    breaks: int = None
    stalls: int = None
    # What the header says in place of the length.
    length: int = None
    ignores_ranges: bool = False


PORTAL = Fault(headers={"Content-Type": "text/html"}, body=b"<!DOCTYPE html><title>Welcome to the hotel</title>")


class GitHub:
    """The server. `releases` has the archives of each release by name, the newest release last."""

    def __init__(self, folder):
        self.folder = folder
        self.releases = {}
        # By a part of the path, what happens to the next requests for it.
        self.faults = collections.defaultdict(list)
        # Host, path and range of each request.
        self.asked = []
        self.stalled = threading.Event()
        self.released = threading.Event()
        handler = type("Handler", (Handler,), {"github": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.server.handle_error = lambda *_: None
        self.proxy = socket.create_server(("127.0.0.1", 0))
        for loop in (self.server.serve_forever, self._serve_proxy):
            threading.Thread(target=loop, daemon=True).start()

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.proxy.close()

    def clear(self):
        self.releases.clear()
        self.faults.clear()
        self.asked.clear()
        self.stalled.clear()

    @property
    def mirror(self):
        return f"https://localhost:{self.server.server_port}/mirror"

    @property
    def environment(self):
        """For a program that shall find GitHub here."""
        return {"HTTPS_PROXY": f"http://127.0.0.1:{self.proxy.getsockname()[1]}", "SSL_CERT_FILE": str(self.folder / "root.pem")}

    def fail(self, path, *faults):
        self.faults[path].extend(faults)

    def add(self, release, *archives):
        self.releases.setdefault(release, {}).update({archive.name: archive for archive in archives})

    def ranges(self, end):
        """The ranges that were asked for, of paths with that end."""
        return [requested for _, path, requested in self.asked if path.endswith(end)]

    def answer(self, host, path):
        """Status, headers and body."""
        plain = path.replace("%2B", "+")
        latest = json.dumps({"version": 1, "tag": max(self.releases, default=""), "asset_url_prefix": ""}).encode()
        if (host, plain) == ("raw.githubusercontent.com", f"/{PROJECT}/latest-release/latest-release.json"):
            return 200, {}, latest
        if host == "api.github.com" and plain.startswith(f"/repos/{PROJECT}/tags?"):
            tags = [{"name": name} for name in [*sorted(self.releases, reverse=True), "latest-release"]]
            page = int(re.search(r"[?&]page=(\d+)", plain)[1])
            return 200, {}, json.dumps(tags[100 * (page - 1) : 100 * page]).encode()
        found = re.fullmatch(rf"/{PROJECT}/releases/download/(\d+)/(.+)", plain)
        if host == "github.com" and found:
            location = f"https://{STORAGE}/{found[1]}/{found[2]}?signature=x"
            return (302, {"Location": location}, b"") if self.file(*found.groups()) is not None else (404, {}, b"Not Found")
        found = re.fullmatch(r"(?:/mirror)?/(\d+)/([^?]+)(?:\?.*)?", plain)
        body = self.file(*found.groups()) if found and host in ("localhost", STORAGE) else None
        return (200, {"Content-Type": "application/octet-stream"}, body) if body is not None else (404, {}, b"Not Found")

    def file(self, release, name):
        archives = self.releases.get(release, {})
        if name == "SHA256SUMS":
            lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n" for name, path in sorted(archives.items()))
            return "".join(lines).encode() if archives else None
        return archives[name].read_bytes() if name in archives else None

    def _serve_proxy(self):
        while True:
            try:
                client, _ = self.proxy.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(4096)
            if not data:
                return client.close()
            head += data
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        server = socket.create_connection(("127.0.0.1", self.server.server_port))
        for one, other in ((client, server), (server, client)):
            threading.Thread(target=relay, args=(one, other), daemon=True).start()


def relay(one, other):
    try:
        while data := one.recv(1 << 16):
            other.sendall(data)
    except OSError:
        pass
    for end in (one, other):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    github = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        github, host = self.github, self.headers["Host"].split(":")[0]
        requested = self.headers.get("Range")
        github.asked.append((host, self.path.split("?")[0] if host == STORAGE else self.path, requested))
        status, headers, body = github.answer(host, self.path)
        fault = Fault()
        for part, faults in github.faults.items():
            if part in f"{host}{self.path}" and faults and status != 302:
                fault = faults.pop(0)
                break
        status, headers = (fault.status if fault.status != 200 else status), headers | fault.headers
        body = body if fault.body is None else fault.body
        if requested and status == 200 and not fault.ignores_ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", requested)[1])
            if start >= len(body):
                status, headers, body = 416, {"Content-Range": f"bytes */{len(body)}"}, b""
            else:
                status, headers["Content-Range"] = 206, f"bytes {start}-{len(body) - 1}/{len(body)}"
                body = body[start:]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if fault.length is None else fault.length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if fault.stalls is not None:
            self.wfile.write(body[: fault.stalls])
            self.wfile.flush()
            github.stalled.set()
            github.released.wait(60)
            return
        self.wfile.write(body if fault.breaks is None else body[: fault.breaks])

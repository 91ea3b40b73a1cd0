"""A small server that speaks the parts of the Hugging Face hub's protocol that reading a dataset needs.

It also serves plain files, as GitHub does, and misbehaves on request. Start it with `serving()`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

SHA = "7f0115a4b758a71d6473b8d085751692da2fef98"


@dataclass
class Hub:
    """What is served, what was asked, and which faults are still to come."""

    address: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)  # dataset id -> path -> content
    files: dict[str, bytes] = field(default_factory=dict)  # plain downloads: /path -> content
    gated: set[str] = field(default_factory=set)
    busy: int = 0  # so many answers are 503 first
    cuts: list[int] = field(default_factory=list)  # so many bytes of a longer file, then the line goes
    stall_after: int | None = None  # after so many bytes of a file nothing more comes
    stalled: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, Range
    sent: int = 0  # bytes of bodies


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self.respond()

    def do_GET(self) -> None:
        self.respond()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.respond()

    def log_message(self, *args: object) -> None:
        pass

    def respond(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path, self.headers.get("Range")))
        if hub.busy:
            hub.busy -= 1
            self.answer(503, b"busy")
        elif path in hub.files:
            self.file(hub.files[path])
        elif repo := next((name for name in hub.repos if f"/{name}" in path), None):
            self.dataset(repo, path)
        else:
            self.answer(404, b"nothing here", {"X-Error-Code": "RepoNotFound"})

    def dataset(self, repo: str, path: str) -> None:
        if repo in self.hub.gated:
            self.answer(401, b"gated", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
            return
        content = self.hub.repos[repo]
        if path in (f"/api/datasets/{repo}", *(f"/api/datasets/{repo}/revision/{r}" for r in ("main", SHA))):
            self.json({"id": repo, "sha": SHA, "siblings": [{"rfilename": name} for name in content]})
        elif tree := re.fullmatch(rf"/api/datasets/{repo}/tree/{SHA}(?:/(.*))?", path):
            folder = f"{tree[1]}/" if tree[1] else ""
            self.json([entry(name, content[name]) for name in content if name.startswith(folder)])
        elif path == f"/api/datasets/{repo}/paths-info/{SHA}":
            self.json([entry(name, data) for name, data in content.items()])
        elif (name := path.removeprefix(f"/datasets/{repo}/resolve/{SHA}/")) in content:
            self.file(content[name], {"X-Repo-Commit": SHA})
        else:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})

    def json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def file(self, content: bytes, headers: dict[str, str] | None = None) -> None:
        """A whole file or the range that was asked for, with the fault that is due."""
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes", **(headers or {})}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        status, body = 200, content
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
            if first >= len(content):
                self.answer(416, b"")
                return
            status, body = 206, content[first : last + 1]
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self.answer(status, body, headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        hub = self.hub
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        whole = len(body)
        if "ETag" in (headers or {}):  # the body of a file, not a listing
            if hub.cuts and whole > hub.cuts[0]:
                body = body[: hub.cuts.pop(0)]
            elif hub.stall_after is not None:
                body = body[: hub.stall_after]
        self.wfile.write(body)
        self.wfile.flush()
        hub.sent += len(body)
        if len(body) < whole:
            if hub.stall_after is not None:
                hub.stalled.set()
                hub.released.wait(30)
            self.close_connection = True


def entry(name: str, content: bytes) -> dict:
    digest = hashlib.sha256(content).hexdigest()
    return {"type": "file", "path": name, "size": len(content), "oid": digest[:40]}


@contextmanager
def serving() -> Iterator[Hub]:
    """A running server on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        server.server_close()
        thread.join()

"""A server of chat completions on loopback, for tests of what asks one."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def chat(text):
    return json.dumps(
        {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
    )


@contextmanager
def running() -> Iterator[ThreadingHTTPServer]:
    """A chat-completions server on loopback; `replies` holds (status, body) to give, the last one again and again."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(self.server.delay)
            self.server.seen.append((self.path, json.loads(body)))
            status, reply = self.server.replies[min(len(self.server.seen), len(self.server.replies)) - 1]
            data = reply.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self):
            data = json.dumps({"data": [{"id": "doc-intel"}]}).encode()
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            """Keep the tests' output clean."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.seen, made.replies, made.delay = [], [], 0
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()

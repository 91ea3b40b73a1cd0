"""The web server of the page: who may reach it, where it listens, and what Gradio is told before it starts."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extraction import files
from extraction.page import widgets

if TYPE_CHECKING:
    import gradio as gr


def login(host: str) -> tuple[str, str] | None:
    """User and password from the environment. Raises StageError without them for a token or an address others reach."""
    user, password, token = (os.environ.get(f"DOC_INTEL_{name}", "") for name in ("USER", "PASSWORD", "TOKEN"))
    if user and password:
        return user, password
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local or user or password or token:
        asking = "DOC_INTEL_TOKEN" if local and token else f"--host {host}"
        raise files.StageError(f"{asking} needs DOC_INTEL_USER and DOC_INTEL_PASSWORD, both, in the environment")
    return None


class Bearer:
    """Logs in who sends the token as `Authorization: Bearer`, as if user and password had been typed."""

    def __init__(self, app: Any, token: str, user: str):
        self.app, self.user = app, user
        self.wanted = f"Bearer {token}".encode()
        self.session = secrets.token_urlsafe(32)

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        headers = scope.get("headers", [])
        if secrets.compare_digest(dict(headers).get(b"authorization", b""), self.wanted):
            page = scope["app"]  # Gradio's, which knows a visitor by a cookie
            page.tokens[self.session] = self.user
            cookie = f"access-token-{page.cookie_id}={self.session}".encode()
            scope["headers"] = [*(pair for pair in headers if pair[0] != b"cookie"), (b"cookie", cookie)]
        await self.app(scope, receive, send)


def check_port(host: str, port: int) -> None:
    """Raises StageError if no server can be started there."""
    if not 1 <= port <= 65535:
        raise files.StageError(f"--port must be between 1 and 65535, got {port}")
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise files.StageError(
            f"the page cannot be started at {host}:{port}: {why}. Try --port {port % 65535 + 1}"
        ) from error


def set_environment(host: str, folder: str) -> None:
    """What Gradio takes from the environment, set before it is imported."""
    os.environ["GRADIO_TEMP_DIR"] = folder
    # Gradio keeps its last 10,000 events and sums them up with pandas after each, for a page of statistics that is off.
    os.environ |= {"GRADIO_ANALYTICS_MAX_EVENTS": "100", "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000"}
    sys.modules.setdefault("matplotlib", None)  # Gradio would load it, 30 MB, for plots; the page has none
    for name in ("NO_PROXY", "no_proxy"):  # Gradio asks its own server whether it is up, never through a proxy
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost,127.0.0.1,::1", host]))


@cache
def page_class() -> type[gr.Blocks]:
    """Gradio's page, which says what is wrong with a call, where Gradio says nothing and prints a traceback."""
    import gradio as gr
    from gradio.exceptions import InvalidPathError

    class Page(gr.Blocks):
        async def preprocess_data(self, *given: Any, **options: Any) -> Any:
            try:
                return await super().preprocess_data(*given, **options)
            except gr.Error as error:
                sentence = error.message
            except InvalidPathError:
                sentence = "the file was not uploaded to this page: upload it first"
            except Exception:
                sentence = "what was sent does not fit this call"
            raise gr.Error(sentence, print_exception=False)

    return Page


def launch(page: gr.Blocks, host: str, port: int, *, max_file_mb: float, auth: tuple[str, str] | None = None) -> None:
    """Start the server in a thread: no network, nothing kept, no file served that the page did not make."""
    from starlette.middleware import Middleware

    token = os.environ.get("DOC_INTEL_TOKEN")
    page.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=port,
        auth=auth,
        app_kwargs={"middleware": [Middleware(Bearer, token, auth[0])] if token else []},
        max_file_size=int(max_file_mb * 1e6),
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        mcp_server=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
        css=Path(__file__).with_name("page.css").read_text(encoding="utf-8"),
        theme=widgets.theme(),
    )

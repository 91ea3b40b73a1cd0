"""The web server of the page: who may reach it, where it listens, and what Gradio is told before it starts."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import TYPE_CHECKING

from extraction import files

if TYPE_CHECKING:
    import gradio as gr


def login(host: str) -> tuple[str, str] | None:
    """User and password from the environment. Raises StageError for an address that others reach without them."""
    user, password = os.environ.get("DOC_INTEL_USER", ""), os.environ.get("DOC_INTEL_PASSWORD", "")
    if user and password:
        return user, password
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local or user or password:
        raise files.StageError(f"--host {host} needs DOC_INTEL_USER and DOC_INTEL_PASSWORD, both, in the environment")
    return None


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
    for name in ("NO_PROXY", "no_proxy"):  # Gradio asks its own server whether it is up, never through a proxy
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost,127.0.0.1,::1", host]))


def launch(
    page: gr.Blocks, host: str, port: int, *, max_file_mb: float, css: str, auth: tuple[str, str] | None = None
) -> None:
    """Start the server in a thread: no network, nothing kept, no file served that the page did not make."""
    page.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=port,
        auth=auth,
        max_file_size=int(max_file_mb * 1e6),
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        mcp_server=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
        css=css,
    )

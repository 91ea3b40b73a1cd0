"""Watches a Python process from its first line, when this folder is in PYTHONPATH and GUARD_LOG names a file.

An audit hook sees each connection, each look-up of a name and each import, whoever asks for it. What leaves this
machine is refused and written down; when a library is imported that reports to its authors unless it is told not to,
what it is told at that moment is written down.
"""

import errno
import ipaddress
import json
import os
import sys

LOG = os.environ.get("GUARD_LOG")
REPORTING = {  # library -> what it reads from the environment when it is imported
    "huggingface_hub": ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"),
    "onnxruntime": ("ORT_DISABLE_TELEMETRY",),
    "gradio": ("GRADIO_ANALYTICS_ENABLED",),
    "unsloth": ("UNSLOTH_DISABLE_STATISTICS",),
}


def note(entry: dict) -> None:
    with open(LOG, "a", encoding="utf-8") as f:
        f.write(json.dumps({"program": os.path.basename(sys.argv[0] if sys.argv else "?"), **entry}) + "\n")


def is_here(host: object) -> bool:
    """Whether an address is of this machine alone; no host at all, or 0.0.0.0, is what a server listens on."""
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def watch(event: str, arguments: tuple) -> None:
    if event == "import" and arguments[0] in REPORTING:
        told = {name: os.environ.get(name) for name in REPORTING[arguments[0]]}
        note({"event": "import", "module": arguments[0], "told": told})
        return
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if not isinstance(address, tuple):  # of a socket in the file system, or one that is connected already
            return
        host = address[0]
    else:
        return
    if not is_here(host):
        note({"event": event, "host": str(host)})
        raise OSError(errno.ENETUNREACH, f"refused by the guard: {event} {host}")


if LOG:
    sys.addaudithook(watch)

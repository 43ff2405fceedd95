# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Where the broker is: argument, FLAME_ENDPOINT, the current context of ~/.flame/flame.yaml, the
default local cluster's cluster.json; and of which cluster; as flmctl."""

from __future__ import annotations

import json
import os
import pathlib
import socket

from flamepy._context import context_file, no_tls, target_of_context
from flamepy.errors import Code, FlameError

_FALLBACK = "tcp://127.0.0.1:7700"


def default_cluster_folder() -> pathlib.Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    base = pathlib.Path(state)  # a relative one means nothing
    if not base.is_absolute():
        base = pathlib.Path.home() / ".local" / "state"
    return base / "flame" / "default"


def _endpoint_of_cluster(folder: pathlib.Path) -> str:
    try:
        endpoint = json.loads((folder / "cluster.json").read_text())["endpoint"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return endpoint if isinstance(endpoint, str) else ""


def local_endpoint() -> str:
    return _endpoint_of_cluster(default_cluster_folder()) or _FALLBACK


def find_broker(address: str | None, cluster: str | None) -> tuple[str, str]:
    """Its address, and what its cluster must be called: "" for any. A context's name counts where
    the context was asked for the address."""
    cluster = cluster or os.environ.get("FLAME_CLUSTER", "")
    address = address or os.environ.get("FLAME_ENDPOINT")
    if address:
        return checked(address), cluster
    found, name = target_of_context()
    where = checked(found, f" (from {context_file()})") if found else checked(local_endpoint())
    return where, cluster or name


def checked(address: str, source: str = "") -> str:
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "tcp", address
    port = rest.rpartition(":")[2]
    good = scheme == "ipc" and rest or scheme == "tcp" and rest != port and port.isdigit()
    if scheme in ("https", "grpcs"):
        raise no_tls(f"'{address}'{source} asks for it; tcp://HOST:PORT does not")
    if not good:
        raise FlameError(
            Code.BAD_REQUEST,
            f"'{address}'{source} is no address of a broker; one looks like tcp://HOST:PORT or "
            "ipc:///PATH. `flmctl status` shows that of the local cluster",
        )
    return f"{scheme}://{rest}"


def unresolved(address: str) -> str:
    """What is wrong with the host's name where it has no address. Asks whom the system asks, which
    may take seconds."""
    scheme, _, rest = address.partition("://")
    host = rest.rpartition(":")[0]
    try:
        if scheme == "tcp":
            socket.getaddrinfo(host, None, socket.AF_INET)  # libzmq asks for no other
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"The host '{host}' of {address} does not resolve: {reason}"
    return ""

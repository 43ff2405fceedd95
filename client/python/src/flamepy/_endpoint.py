# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Where the broker is: argument, FLAME_ENDPOINT, the default local cluster's cluster.json; as
flmctl."""

from __future__ import annotations

import json
import os
import pathlib

from flamepy.errors import Code, FlameError

_FALLBACK = "tcp://127.0.0.1:7700"


def default_cluster_folder() -> pathlib.Path:
    state = os.environ.get("XDG_STATE_HOME")
    base = pathlib.Path(state) if state else pathlib.Path.home() / ".local" / "state"
    return base / "flame" / "default"


def _endpoint_of_cluster(folder: pathlib.Path) -> str:
    try:
        endpoint = json.loads((folder / "cluster.json").read_text())["endpoint"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return endpoint if isinstance(endpoint, str) else ""


def find_endpoint(address: str | None = None) -> str:
    found = address or os.environ.get("FLAME_ENDPOINT")
    return checked(found or _endpoint_of_cluster(default_cluster_folder()) or _FALLBACK)


def checked(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "tcp", address
    port = rest.rpartition(":")[2]
    good = scheme == "ipc" and rest or scheme == "tcp" and rest != port and port.isdigit()
    if not good:
        raise FlameError(
            Code.BAD_REQUEST,
            f"'{address}' is no address of a broker; one looks like tcp://HOST:PORT or "
            "ipc:///PATH. `flmctl status` shows that of the local cluster",
        )
    return f"{scheme}://{rest}"

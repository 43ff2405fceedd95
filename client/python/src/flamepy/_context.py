# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The context file of flamepy 0.6, ~/.flame/flame.yaml: named clusters, one of them current.

    current-context: work
    contexts:
      - name: work
        cluster:
          endpoint: tcp://flame.example.com:7700
          name: blue  # not the original's: what the broker's cluster must be called

What it says of the object cache, packages and runners is read and shown, and does not act yet. YAML
is read by PyYAML, which is no dependency: without it, a file that is there is an error, for the
program would talk to another cluster than the file says.
"""

from __future__ import annotations

import os
import pathlib
from dataclasses import dataclass, field
from typing import Any

from flamepy.errors import Code, FlameError, FlameErrorCode

__all__ = [
    "DEFAULT_FLAME_CACHE_ENDPOINT",
    "DEFAULT_FLAME_CONF",
    "DEFAULT_FLAME_ENDPOINT",
    "FlameClientCache",
    "FlameClientTls",
    "FlameClusterConfig",
    "FlameContext",
    "FlameContextRunner",
    "FlamePackage",
]

DEFAULT_FLAME_CONF = "flame.yaml"
DEFAULT_FLAME_ENDPOINT = "tcp://127.0.0.1:7700"
DEFAULT_FLAME_CACHE_ENDPOINT = "grpc://127.0.0.1:9090"
DEFAULT_FLAME_RUNNER_TEMPLATE = "flmrun"
_EXCLUDES = (".venv", "__pycache__", ".gitignore", "*.pyc")


@dataclass
class FlamePackage:
    storage: str
    excludes: list[str] = field(default_factory=lambda: list(_EXCLUDES))


@dataclass
class FlameContextRunner:
    template: str | None = None


@dataclass
class FlameClientTls:
    ca_file: str | None = None


@dataclass
class FlameClientCache:
    endpoint: str | None = None
    tls: FlameClientTls | None = None
    storage: str | None = None


@dataclass
class FlameClusterConfig:
    endpoint: str = ""
    tls: FlameClientTls | None = None


def context_file() -> pathlib.Path:
    return pathlib.Path.home() / ".flame" / DEFAULT_FLAME_CONF


def no_tls(why: str) -> FlameError:
    return FlameError(Code.UNSUPPORTED, f"there is no TLS yet: {why}")


def refuse_tls(tls: FlameClientTls | None) -> None:
    """Not ignored: who asks for it does not want to talk in the clear."""
    if tls is not None:
        raise no_tls("leave tls_config, and tls in the context file, out")


def target_of_context() -> tuple[str, str]:
    """Endpoint and name of the current one's cluster; "" for what is not said."""
    current = _current(context_file())
    cluster = _map_in(current, "cluster")
    refuse_tls(_tls_of(cluster))
    name = cluster.get("name") or ""
    if not isinstance(name, str):
        raise _invalid(context_file(), "has a cluster whose name is no text; put it in quotes")
    return str(cluster.get("endpoint") or ""), name


class FlameContext:
    """The current context with what the environment says instead: FLAME_ENDPOINT, FLAME_CA_FILE,
    FLAME_CACHE_ENDPOINT, FLAME_CACHE_STORAGE."""

    def __init__(self) -> None:
        current = _current(context_file())
        cluster, cache = _map_in(current, "cluster"), _map_in(current, "cache")
        package = _map_in(current, "package")
        ca_file = os.environ.get("FLAME_CA_FILE")
        self._endpoint = os.environ.get("FLAME_ENDPOINT") or cluster.get("endpoint")
        self._tls = _tls_of(cluster, ca_file)
        self._cache_tls = _tls_of(cache, ca_file)
        self._cache = FlameClientCache(
            os.environ.get("FLAME_CACHE_ENDPOINT")
            or cache.get("endpoint")
            or DEFAULT_FLAME_CACHE_ENDPOINT,
            self._cache_tls,
            os.environ.get("FLAME_CACHE_STORAGE") or cache.get("storage"),
        )
        self._package = None
        if package.get("storage"):
            more = [word for word in package.get("excludes", []) if word not in _EXCLUDES]
            self._package = FlamePackage(package["storage"], [*_EXCLUDES, *more])
        template = _map_in(current, "runner").get("template") or DEFAULT_FLAME_RUNNER_TEMPLATE
        self._runner = FlameContextRunner(template)

    @property
    def endpoint(self) -> str:
        from flamepy._endpoint import local_endpoint

        return self._endpoint or local_endpoint()

    @property
    def tls(self) -> FlameClientTls | None:
        return self._tls

    @property
    def package(self) -> FlamePackage | None:
        return self._package

    @property
    def cache(self) -> FlameClientCache:
        return self._cache

    @property
    def cache_endpoint(self) -> str:
        return self._cache.endpoint or DEFAULT_FLAME_CACHE_ENDPOINT

    @property
    def cache_tls(self) -> FlameClientTls | None:
        return self._cache_tls

    @property
    def runner(self) -> FlameContextRunner:
        return self._runner


# ---- the file ------------------------------------------------------------------------------------


def _current(path: pathlib.Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(path, f"cannot be read: {error}") from None
    content = _parsed(path, text)
    name = content.get("current-context")
    if name is None:
        raise _invalid(path, "names no current-context")
    contexts = content.get("contexts") or []
    if not isinstance(contexts, list):
        raise _invalid(path, "has contexts that are no list")
    for context in contexts:
        if isinstance(context, dict) and context.get("name") == name:
            return context
    raise _invalid(path, f"has no context '{name}', which current-context names")


def _parsed(path: pathlib.Path, text: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise _invalid(
            path,
            "cannot be read without PyYAML: pip install pyyaml, or set FLAME_ENDPOINT or give the "
            "address to connect()",
        ) from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _invalid(path, f"is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise _invalid(path, "is not a map with current-context and contexts")
    return content


def _map_in(outer: dict[str, Any], name: str) -> dict[str, Any]:
    found = outer.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _invalid(context_file(), f"has a {name} that is no map")
    return found


def _tls_of(outer: dict[str, Any], ca_file: str | None = None) -> FlameClientTls | None:
    if outer.get("tls") is None and ca_file is None:
        return None
    return FlameClientTls(_map_in(outer, "tls").get("ca_file") or ca_file)


def _invalid(path: pathlib.Path, what: str) -> FlameError:
    return FlameError(FlameErrorCode.INVALID_CONFIG, f"the context file {path} {what}")

# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A joblib backend: what uses joblib (scikit-learn for one) runs on the cluster.

    import flamepy.joblib, joblib

    flamepy.joblib.register()
    with joblib.parallel_config("flame"):
        joblib.Parallel()(joblib.delayed(function)(i) for i in range(1000))

joblib is no dependency of flamepy; it has to be installed here and where the executors are."""

from __future__ import annotations

from typing import Any, Callable

import joblib
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, SequentialBackend

from flamepy._client import Connection, connect, default_connection
from flamepy._executor import Executor
from flamepy._future import Future

__all__ = ["FlameBackend", "register"]


def register(name: str = "flame", make_default: bool = False) -> None:
    """joblib knows the backend by `name` from now on."""
    joblib.register_parallel_backend(name, FlameBackend, make_default=make_default)


class FlameBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """`parallel_config("flame", address=...)` or `connection=...` name the cluster; without either
    it is that of the module's functions. Short calls travel in batches, as joblib measures them."""

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(
        self, connection: Connection | None = None, address: str | None = None, **more: Any
    ) -> None:
        super().__init__(**more)
        self._connection = connection or (connect(address) if address else default_connection())
        self._executor: Executor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """All slots of the cluster where it is negative."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is not None and n_jobs > 0:
            return n_jobs
        return max(1, sum(executor.slots for executor in self._connection.list_executors()))

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        self.parallel = parallel
        bound = n_jobs if n_jobs > 0 else None
        self._executor = Executor(bound, connection=self._connection)
        return self.effective_n_jobs(n_jobs)

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None
    ) -> Future[Any]:
        assert self._executor is not None
        future = self._executor.submit(_call, func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit  # its name before joblib 1.4

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        return out.result()

    def terminate(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        if self._executor is not None:
            self._executor.cancel(running=True)

    def get_nested_backend(self) -> tuple[Any, Any]:
        """A task is one slot: what it would do in parallel it does one by one."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None


def _call(batch: Callable[[], Any]) -> Any:
    return batch()

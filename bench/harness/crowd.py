# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""flame-bench-idle at the executors' port of a cluster: executors that have nothing to do."""

import os
import subprocess
import tempfile

from harness.cluster import Failed, wait_for


class Crowd:
    def __init__(self, bin_folder, cluster, count):
        self.program, self.cluster, self.count = bin_folder / "flame-bench-idle", cluster, count
        self.said = ""

    def __enter__(self):
        # A connection is a file here and another one in the broker.
        files = os.sysconf("SC_OPEN_MAX")
        if files < self.count + 100:
            raise Failed(f"{self.count} connections need more files than {files}: ulimit -n")
        host, port = self.cluster.file["executors_endpoint"].removeprefix("tcp://").split(":")
        self.out = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [self.program, host, port, str(self.count)], stdout=self.out, stderr=self.out
        )
        return self

    def __exit__(self, *error):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.said = self._last_line()
        self.out.close()

    def _last_line(self):
        self.out.seek(0)
        return (self.out.read().splitlines() or [""])[-1][-300:]

    def connected(self):
        """Without the cluster's own."""
        return int(self.cluster.metric('flame_executors{state="connected"}')) - 1

    def wait_connected(self, seconds=90):
        most = 0

        def all_there():
            nonlocal most
            if self.process.poll() is not None:
                raise Failed(f"the crowd ended: {self._last_line()}")
            most = max(most, self.connected())
            return most >= self.count

        try:
            wait_for(all_there, "all connected", seconds, 0.1)
        except Failed:
            rejected = self.cluster.metrics("flame_messages_rejected_total")
            raise Failed(
                f"of {self.count} executors at most {most} were connected at once within "
                f"{seconds} s; the broker's log: {self.cluster.last_log('broker')}; refused: "
                f"{rejected or 'nothing'}"
            ) from None

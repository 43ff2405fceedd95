# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What /proc says about processes: CPU time, memory, children."""

import os
import pathlib
import select
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


def stat(pid):
    """The fields of /proc/PID/stat after the name; None if the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def alive(pid):
    fields = stat(pid)
    return fields is not None and fields[0] != "Z"


def cpu_seconds(pid):
    """All threads, user and system; 0 if the process is gone."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICK if fields else 0.0


def started_at(pid):
    """Seconds on the clock of time.monotonic() (both count from boot), or None."""
    fields = stat(pid)
    return int(fields[19]) / TICK if fields else None


def descendants(pid):
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = stat(entry.name)
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def memory_bytes(pid):
    """Resident memory by kind; `own` leaves out what is shared with a file in memory (the ring)."""
    kinds = {}
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("RssAnon", "RssFile", "RssShmem", "VmHWM"):
            kinds[name] = int(rest.split()[0]) * 1024
    kinds["own"] = kinds["RssAnon"] + kinds["RssFile"]
    return kinds


class CpuWatch:
    """CPU seconds by name between start and stop. `pids()` maps a name to its processes now."""

    def __init__(self, pids):
        self.pids = pids
        self.before = {}

    def __enter__(self):
        self.before = {pid: cpu_seconds(pid) for pids in self.pids().values() for pid in pids}
        return self

    def __exit__(self, *error):
        self.seconds = {
            name: sum(cpu_seconds(pid) - self.before.get(pid, 0.0) for pid in pids)
            for name, pids in self.pids().items()
        }


def run_timed(command, env=None, timeout=600):
    """(exit code, stdout, stderr, CPU seconds) of one process, waited for."""
    read_out, write_out = os.pipe()
    read_err, write_err = os.pipe()
    process = subprocess.Popen(
        [str(word) for word in command],
        env=env,
        stdout=write_out,
        stderr=write_err,
        stdin=subprocess.DEVNULL,
    )
    os.close(write_out)
    os.close(write_err)
    try:
        out, err = _read_both(read_out, read_err, process, timeout)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        os.close(read_out)
        os.close(read_err)
    return process.returncode, out, err, usage.ru_utime + usage.ru_stime


def _read_both(read_out, read_err, process, timeout):
    end = time.monotonic() + timeout
    text = {read_out: b"", read_err: b""}
    waiting = {read_out, read_err}
    while waiting:
        left = end - time.monotonic()
        ready = select.select(waiting, [], [], max(0.0, left))[0]
        if not ready:
            process.kill()
            os.waitpid(process.pid, 0)
            raise TimeoutError(f"{process.args[0]} did not end within {timeout} s")
        for fd in ready:
            piece = os.read(fd, 1 << 16)
            text[fd] += piece
            if not piece:
                waiting.discard(fd)
    return text[read_out].decode(errors="replace"), text[read_err].decode(errors="replace")

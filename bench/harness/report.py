# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Rows of the table *budget | measured | of the ceiling*, and where they are kept."""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Row:
    what: str
    budget: str
    measured: str = ""
    ceiling: str = ""  # of the ceiling
    good: bool | None = None  # None: no budget, or not measured
    numbers: dict = dataclasses.field(default_factory=dict)

    def fail(self, error):
        reason = " ".join(str(error).split())[:600] or type(error).__name__
        self.measured, self.good = "failed: " + reason.replace("|", "/"), False

    @contextlib.contextmanager
    def filled(self):
        """For one of many rows of a function: if it fails, the others still count."""
        try:
            yield self
        except Exception as error:  # whatever it is
            self.fail(error)

    @property
    def verdict(self):
        return {True: "ok", False: "**missed**", None: ""}[self.good]


def table(rows):
    lines = ["| what | budget | measured | of the ceiling | |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.what} | {row.budget} | {row.measured} | {row.ceiling} | {row.verdict} |"
        for row in rows
    ]
    return "\n".join(lines)


def cpu_table(rows):
    """CPU per task of each process in microseconds, ours beside the ceiling's."""
    names = ["client", "broker", "redis", "executor", "service"]
    lines = ["| run | " + " | ".join(names) + " | sum |", "|---|" + "---|" * (len(names) + 1)]
    for row in rows:
        for who, cpu in row.numbers.get("cpu_us", {}).items():
            values = [cpu.get(name, 0.0) for name in names]
            cells = " | ".join(f"{value:.2f}" for value in values)
            lines.append(f"| {row.what}: {who} | {cells} | {sum(values):.2f} |")
    return "\n".join(lines) if len(lines) > 2 else "nothing measured"


def redis_table(rows):
    """What each command costs Redis, ours beside the ceiling's: an extra one shows here."""
    lines = ["| run | command | ours | the ceiling |", "|---|---|---|---|"]
    for row in rows:
        both = row.numbers.get("redis_commands")
        if not both:
            continue
        ours, bare = both["ours"], both["the ceiling"]
        for name in sorted((ours.keys() | bare.keys()) - {"CONFIG", "INFO"}):  # the bench's own
            cells = " | ".join(_cost(side.get(name)) for side in (ours, bare))
            lines.append(f"| {row.what} | {name} | {cells} |")
    return "\n".join(lines) if len(lines) > 2 else "nothing measured"


def _cost(command):
    return f"{command['us_per_task']:.4f} in {command['calls']:,}" if command else "–"


def machine():
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) // 1024
    redis = subprocess.run(
        ["redis-server", "--version"], capture_output=True, text=True, check=False
    ).stdout.split()
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": memory,
        "kernel": platform.release(),
        "redis": next((word[2:] for word in redis if word.startswith("v=")), "unknown"),
        "load_before": os.getloadavg()[0],
    }


def git(*words):
    done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit():
    """Short, with a plus where the sources differ from it."""
    name = git("rev-parse", "--short", "HEAD") or "unknown"
    return name + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def binaries(folder):
    """When each executable was linked, and the commits to sources since the oldest."""
    linked = {
        path.name: path.stat().st_mtime
        for name in ("broker", "executor", "service", "ceiling")
        for path in folder.glob(f"flame-{name}")
    }
    times = {name: f"{datetime.datetime.fromtimestamp(at):%m-%d %T}" for name, at in linked.items()}
    oldest = int(min(linked.values()))
    since = git("log", "--format=%h", f"--since={oldest}", "--", "*.cpp", "*.hpp").split()
    return {"folder": str(folder), "linked": times, "commits_since_the_oldest": since}


def _doubt(about):
    since = about["binaries"]["commits_since_the_oldest"]
    return (
        [
            "",
            f"**Not the code of this commit:** an executable is older than "
            f"{len(since)} commits to sources "
            f"(linked {about['binaries']['linked']}).",
        ]
        if since
        else []
    )


def store(folder, rows, command, seconds, about):
    """Writes <date>-<commit>.md and .json; returns the path of the first."""
    now = datetime.datetime.now(datetime.timezone.utc)
    at = commit()
    name = f"{now:%Y-%m-%d}-{at.rstrip('+')}" + ("" if "long" not in command else "-long")
    text = [
        f"# Bench of {at}, {now:%Y-%m-%d %H:%M} UTC",
        "",
        f"`{command}` in {seconds:.0f} s on {about['cores']} cores of {about['cpu']}, "
        f"{about['memory_mib']} MiB, Linux {about['kernel']}, Redis {about['redis']}; "
        f"load before it began {about['load_before']:.1f}.",
        "",
        table(rows),
        "",
        "CPU per task, microseconds (user and system, all threads):",
        "",
        cpu_table(rows),
        "",
        "Redis' time per task and command, microseconds in calls:",
        "",
        redis_table(rows),
        "",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_text("\n".join(text))
    path.with_suffix(".json").write_text(
        json.dumps(
            {
                "commit": at,
                "date": now.isoformat(timespec="seconds"),
                "command": command,
                "machine": about,
                "seconds": round(seconds, 1),
                "rows": [dataclasses.asdict(row) for row in rows],
            },
            indent=1,
        )
        + "\n"
    )
    return path

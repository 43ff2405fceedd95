# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The processes of a cluster that is about to be killed, and a supervisor that starts them again:
same ids, same ports, same folders. Linux only: what lives is looked up in /proc."""

import ctypes
import os
import pathlib
import random
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from resp import Redis, RedisError

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("FLAME_BIN", ROOT / "build/release/bin"))
APPLICATION = "kill"
SESSION = "kill-test"
LEVELS = ["memory", "stored", "synced", "replicated"]
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Failure(Exception):
    """What must hold does not."""


def die_with_runner():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Where a test limits its files, it gets an error and no signal: as on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def state_of(pid):
    """The state letter in /proc, or "" where nobody is."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return ""


def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def lives(pid):
    return state_of(pid) not in ("", "Z", "X")


def free_port(rng):
    """P with P + 1 and P + 80 free too; below the range that connecting sockets draw from."""
    for _ in range(200):
        port = rng.randrange(20000, 32000)
        try:
            for each in (port, port + 1, port + 80):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", each))
            return port
        except OSError:
            continue
    raise Failure("no free port")


class Process:
    def __init__(self, name, argv, folder, env=None):
        self.name, self.argv = name, [str(word) for word in argv]
        self.log = folder / "logs" / f"{name}.log"
        clean = {key: value for key, value in os.environ.items() if not key.startswith("FLAME_")}
        self.env = clean | (env or {})
        self.child = None
        self.due = None  # when it is started again
        self.starts = 0

    @property
    def pid(self):
        return self.child.pid if self.child else 0

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def start(self):
        self.due = None
        self.starts += 1
        with open(self.log, "ab") as log:
            log.write(f"=== start {self.starts} at {time.time():.3f}\n".encode())
            log.flush()
            self.child = subprocess.Popen(
                self.argv,
                env=self.env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=die_with_runner,
            )

    def tail(self, size=1500):
        if not self.log.exists():
            return ""
        return f"--- {self.name}\n" + self.log.read_bytes()[-size:].decode(errors="replace")


class World:
    def __init__(
        self,
        seed,
        fsync="everysec",
        executors=3,
        slots=16,
        tasks=100_000,
        ring_size="256MiB",
        slow_ms=1500,
        client=True,
        loss=False,
        redis_flags="",
        password="",
        durability="stored",
        redis_server="redis-server",
    ):
        self.rng = random.Random(seed)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="flame-kill-"))
        for name in ("logs", "redis", "ring"):
            (self.folder / name).mkdir()
        self.socket = str(self.folder / "redis.sock")
        self.port = free_port(random.Random())
        self.journal = self.folder / "journal"
        self.ran = self.folder / "ran"
        self.until = self.folder / "until"
        self.fsync = "always" if fsync == "always" else "everysec"
        self.processes = {}
        self.redis_port = free_port(random.Random()) if password else 0
        self.password = password
        self.add_store(fsync, slow_ms, ring_size, redis_flags, redis_server)
        for i in range(1, executors + 1):
            self.add(
                f"executor-{i}",
                f"{BIN}/flame-executor --broker tcp://127.0.0.1:{self.port + 1} --id executor-{i}"
                f" --slots {slots} --work-dir {self.folder}/executor-{i}",
            )
        if client:
            self.add(
                "client",
                f"{BIN}/kill_client --endpoint {self.endpoint} --client {seed:032x}"
                f" --session {SESSION} --application {APPLICATION} --common {self.ran}"
                f" --journal {self.journal} --until {self.until}"
                f" --tasks {tasks} --seed {seed} --loss {int(loss)}"
                f" --durability {LEVELS.index(durability)}",
            )

    def add_store(self, fsync, slow_ms, ring_size, redis_flags, redis_server):
        slowly = {"LD_PRELOAD": f"{BIN}/kill_slow_fsync.so", "SLOW_FSYNC_MS": str(slow_ms)}
        self.add(
            "redis",
            f"{redis_server} --port {self.redis_port} --bind 127.0.0.1 --unixsocket {self.socket}"
            f" --dir {self.folder}/redis --save '' --appendonly yes --appendfsync {self.fsync}"
            f" --maxmemory-policy noeviction --requirepass '{self.password}' {redis_flags}",
            slowly if fsync == "slow" else {},
        )
        self.add(
            "broker",
            f"{BIN}/flame-broker --listen 127.0.0.1:{self.port} --cluster kill"
            f" --data {self.folder} --ring-dir {self.folder}/ring --ring-size {ring_size}",
            {"FLAME_REDIS_URL": self.redis_url},
        )

    def open_port(self):
        """Of loopback, for who cannot use the unix socket."""
        if not self.redis_port:
            self.redis_port = free_port(random.Random())
            with self.redis() as redis:
                redis("CONFIG", "SET", "port", self.redis_port)
            argv = self.processes["redis"].argv  # the next one has it from the start
            argv[argv.index("--port") + 1] = str(self.redis_port)
        return self.redis_port

    def add_replica(self):
        """Replication knows no unix sockets: the primary takes a port of loopback too."""
        port = self.open_port()
        (self.folder / "replica").mkdir()
        self.add(
            "replica",
            f"redis-server --port 0 --unixsocket {self.replica_socket} --dir {self.folder}/replica"
            f" --save '' --appendonly yes --replicaof 127.0.0.1 {port}",
        )
        self.processes["replica"].start()
        self.wait(self.in_step, "the replica is in step")

    def in_step(self):
        with self.redis() as redis:
            return b"state=online" in redis("INFO", "replication")

    @property
    def replica_socket(self):
        return str(self.folder / "replica.sock")

    def add(self, name, command, env=None):
        self.processes[name] = Process(name, shlex.split(command), self.folder, env)

    @property
    def endpoint(self):
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def executors(self):
        return [name for name in self.processes if name.startswith("executor-")]

    @property
    def redis_url(self):
        if not self.password:
            return f"unix://{self.socket}"
        return f"redis://:{self.password}@127.0.0.1:{self.redis_port}"

    def redis(self):
        redis = Redis(self.socket)
        if self.password:
            redis("AUTH", self.password)
        return redis

    # ---- supervising

    def tend(self):
        """Starts again what is due. Nobody may die but by our hand."""
        for process in self.processes.values():
            if process.child is None or process.alive():
                continue
            code = process.child.returncode
            if process.name == "client" and code == 0:
                continue
            if code != -signal.SIGKILL:
                raise Failure(f"{process.name} ended by itself with {code}\n{process.tail()}")
            if process.due is not None and time.monotonic() >= process.due:
                process.start()

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while True:
            self.tend()
            rest = end - time.monotonic()
            if rest <= 0:
                return
            time.sleep(min(rest, 0.02))

    def wait(self, condition, what, seconds=60):
        end = time.monotonic() + seconds
        while True:
            self.tend()
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise Failure(f"after {seconds} s still not: {what}\n{self.tails()}")
            time.sleep(0.02)

    def start_redis(self):
        self.processes["redis"].start()
        self.wait(self.redis_answers, "redis answers")

    def start(self):
        if not self.processes["redis"].alive():
            self.start_redis()
        self.processes["broker"].start()
        self.wait(lambda: self.http("/readyz")[0] == 200, "the broker is ready")
        self.register()
        for name in self.executors + [name for name in self.processes if name == "client"]:
            self.processes[name].start()

    def create(self, name, *words):
        """A session of the kill service, whose common data says where to write down what ran."""
        (self.folder / "common").write_text(str(self.ran))
        make = ["create", "-a", "kill", "--name", name, "-c", self.folder / "common"]
        return self.flmctl(*make, *words)

    def register(self):
        manifest = self.folder / "kill.yaml"
        manifest.write_text(
            f"metadata: {{name: {APPLICATION}}}\n"
            f"spec: {{shim: native, command: {BIN / 'kill_service'}}}\n"
        )
        done = self.flmctl("register", "-f", manifest)
        if done.returncode != 0:
            raise Failure(f"register: {done.stdout}{done.stderr}")

    def flmctl(self, *words):
        return subprocess.run(
            [str(BIN / "flmctl"), *map(str, words), "--endpoint", self.endpoint],
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )

    # ---- looking

    def redis_answers(self):
        try:
            with self.redis() as redis:
                return redis("PING") == b"PONG"
        except (OSError, RedisError):
            return False

    def http(self, path):
        """(status, text); (0, why) where nobody answers."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port + 80}{path}", timeout=3
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metrics(self):
        """Name with labels -> value; {} while nobody answers."""
        status, text = self.http("/metrics")
        lines = text.splitlines() if status == 200 else []
        pairs = (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")
        return {name: float(value) for name, value in pairs}

    def counters(self):
        """(pending, running) as Redis has them now; (0, 0) while it does not answer."""
        try:
            with self.redis() as redis:
                pending, running = redis(
                    "HMGET", f"flame:{{{SESSION}}}:session", "pending", "running"
                )
                return int(pending or 0), int(running or 0)
        except (OSError, RedisError):
            return 0, 0

    def busy(self):
        """(pending, running) while everything works and there are tasks of both kinds."""
        metrics = self.metrics()
        if metrics.get("flame_redis_up") != 1 or metrics.get("flame_clients", 0) < 1:
            return None
        if metrics.get('flame_executors{state="connected"}', 0) < 1:
            return None
        pending, running = self.counters()
        return (pending, running) if pending > 0 and running > 0 else None

    def services(self):
        """Pids of the services that now live below our executors."""
        found = []
        for name in self.executors:
            pid = self.processes[name].pid
            try:
                children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            except OSError:
                continue
            found += [int(child) for child in children if name_of(child) == "kill_service"]
        return found

    def leftovers(self):
        """Processes that work in our folder although nobody should."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(str(self.folder)):
                    found.append(f"{entry.name} {name_of(entry.name)}")
            except OSError:
                continue
        return found

    def tails(self):
        return "\n".join(process.tail() for process in self.processes.values())

    # ---- killing

    def pid_of(self, name):
        """Of what provably lives, else 0; `service` is any running one."""
        if name == "service":
            pids = [pid for pid in self.services() if lives(pid)]
            return self.rng.choice(pids) if pids else 0
        process = self.processes[name]
        return process.pid if process.alive() and lives(process.pid) else 0

    def end(self, name, pid, restart=(0.0, 0.4)):
        """SIGKILL."""
        if name == "service":
            os.kill(pid, signal.SIGKILL)
            return
        process = self.processes[name]
        process.child.kill()
        process.child.wait()
        process.due = None if restart is None else time.monotonic() + self.rng.uniform(*restart)

    def kill(self, name, restart=(0.0, 0.4)):
        """SIGKILL to what provably lives. None: nobody lives."""
        pid = self.pid_of(name)
        if not pid:
            return None
        self.end(name, pid, restart)
        return pid

    def stop(self, keep=False):
        for process in self.processes.values():
            process.due = None
            if process.alive():
                process.child.kill()
                process.child.wait()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What can be said of docker/ and compose.yaml without building an image; docker/try builds and
runs them. Prometheus is real and scrapes a real broker."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request

import pytest
import yaml
from conftest import BIN, ROOT, needs_grpc, sanitized, wait_until

DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = ["prepare", "redis", "broker", "executor", "console", "local"]
RULES = ROOT / "docker/prometheus/flame-alerts.yml"
BOARD = json.loads((ROOT / "docker/grafana/dashboards/flame.json").read_text())
PAGE = (ROOT / "docs/operating.md").read_text()


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


def output_of(*command, **kwargs):
    done = subprocess.run(command, text=True, capture_output=True, check=False, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port(*neighbours):
    """Free now, as are the ports so far above it."""
    while True:
        with contextlib.ExitStack() as stack:
            port = 0
            try:
                for offset in (0, *neighbours):
                    taken = stack.enter_context(socket.socket())
                    taken.bind(("127.0.0.1", port + offset if port else 0))
                    port = port or taken.getsockname()[1]
                return port
            except (OSError, OverflowError):
                continue


def expressions():
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    found = [rule["expr"] for rule in rules]
    for panel in BOARD["panels"]:
        found += [target["expr"] for target in panel["targets"]]
    return found


# ---- images --------------------------------------------------------------------------------------


def packages_of(target):
    """Those of a target of the Dockerfile and of the ones it is made from."""
    match = re.search(rf"^FROM (\S+) AS {target}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)
    words = set(re.findall(r"[\w.+-]+", match[2]))
    return words if "$" in match[1] else words | packages_of(match[1])


@pytest.mark.skipif(sanitized(), reason="a sanitizer has other libraries linked")
@pytest.mark.parametrize(
    "target, programs",
    [
        ("broker", ["flame-broker"]),
        pytest.param(
            *("executor", ["flame-executor", "flame-service", "flame-grpc-service"]),
            marks=needs_grpc,
        ),
        ("autoscaler", ["flame-autoscaler"]),
        ("console", ["flmctl", "flmping", "flmexec", "flame-broker", "flame-autoscaler"]),
    ],
)
def test_an_image_has_the_libraries_of_its_programs(target, programs):
    need("objdump", "dpkg")
    # Of these every Debian has its own.
    everywhere = {"libc6", "libgcc-s1", "libstdc++6"}
    installed = packages_of(target)
    headers = output_of("objdump", "-p", *(BIN / program for program in programs))
    libraries = set(re.findall(r"NEEDED +(\S+)", headers))
    owners = output_of("dpkg", "-S", *(f"*/{library}" for library in libraries)).splitlines()
    for library in libraries:
        packages = {line.split(":")[0] for line in owners if line.endswith("/" + library)}
        assert packages & (installed | everywhere), f"{library} of {packages} is not installed"


def test_everything_runs_without_rights_on_a_read_only_root():
    for name in OURS:
        service = COMPOSE["services"][name]
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        # Only the one that runs once gives folders away.
        assert service.get("cap_add", []) == (["CHOWN"] if name == "prepare" else []), name
    users = re.findall(r"^USER (\S+)\n(?:.*\n)*?(?:ENTRYPOINT|CMD)", DOCKERFILE, re.M)
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.M).count("10001:10001") == 4, users


def test_ports_are_open_on_this_machine_only():
    ports = [port for s in COMPOSE["services"].values() for port in s.get("ports", [])]
    assert len(ports) == 5 and all(port.startswith("127.0.0.1:") for port in ports)
    assert COMPOSE["networks"]["store"] == {"internal": True}
    assert [n for n, s in COMPOSE["services"].items() if "store" in s.get("networks", [])] == [
        "redis",
        "broker",
        "redisinsight",
    ]


def test_compose_takes_the_file():
    version = ["docker", "compose", "version"]
    if shutil.which("docker") and not subprocess.run(version, capture_output=True).returncode:
        output_of("docker", "compose", "config", "-q", cwd=ROOT)
        return
    need("docker-compose")
    output_of("docker-compose", "config", "-q", cwd=ROOT)


def test_redis_is_as_flmctl_up_sets_it(running):
    lines = (ROOT / "docker/redis.conf").read_text().splitlines()
    ours = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    for name in ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy"):
        assert running.redis("CONFIG", "GET", name).split("\n")[1] == ours[name]


# ---- health --------------------------------------------------------------------------------------


def test_health_of_broker_and_executor(cluster):
    port = free_port(1, 80)
    cluster.up("--executors", 0, port=port)
    health = ROOT / "docker/health"
    done = cluster.run(health, "broker", FLAME_LISTEN=f"127.0.0.1:{port}")
    assert done.code == 0 and done.out == "ok\n", done
    of_executor = {"FLAME_BROKER": f"tcp://127.0.0.1:{port + 1}", "FLAME_ID": "executor-"}
    done = cluster.run(health, "executor", **of_executor)
    assert done.code == 1 and "not among" in done.out, done
    cluster.up("--executors", 1, port=None)
    wait_until(
        lambda: cluster.run(health, "executor", **of_executor).code == 0,
        "the broker's list, at most a second old, has the executor",
    )
    assert cluster.run(health, "console").code == 0


def test_health_of_nothing_is_bad(cluster):
    port = free_port()
    done = cluster.run(ROOT / "docker/health", "broker", FLAME_LISTEN=f"127.0.0.1:{port}")
    assert done.code == 1 and "no answer" in done.out


# ---- prometheus and grafana ----------------------------------------------------------------------


def test_alerts_and_panels_use_metrics_that_exist():
    on_page = set(re.findall(r"^\| `(flame_\w+)` \|", PAGE, re.M))
    used = set(re.findall(r"\bflame_\w+", " ".join(expressions())))
    assert used - on_page == set()
    # The dashboard shows all of them; the version is its variable.
    shown = set(re.findall(r"\bflame_\w+", json.dumps(BOARD)))
    assert on_page - shown == set()


def test_promtool_takes_configuration_and_rules():
    need("promtool")
    config = ROOT / "docker/prometheus/prometheus.yml"
    assert "rules found" in output_of("promtool", "check", "config", "--lint=all", config)


def test_an_alert_fires_when_it_should_and_not_before(tmp_path):
    need("promtool")
    series = "flame_tasks{state='pending',app='a',instance='b'}"
    text = f"""
rule_files: [{RULES}]
evaluation_interval: 5s
tests:
  - interval: 5s
    input_series:
      - {{series: "flame_redis_up{{instance='b'}}", values: "1 1 0x20"}}
      - {{series: "{series}", values: "7x30"}}
      - {{series: "flame_slots{{instance='b'}}", values: "2x5 0x30"}}
    alert_rule_test:
      - {{eval_time: 15s, alertname: FlameRedisDown, exp_alerts: []}}
      - eval_time: 20s
        alertname: FlameRedisDown
        exp_alerts:
          - exp_labels: {{severity: critical, instance: b}}
            exp_annotations:
              summary: Redis takes no writes
              description: >-
                Nothing is dispatched or acknowledged. The broker's /readyz names the reason.
      - {{eval_time: 60s, alertname: FlameTasksWithoutExecutor, exp_alerts: []}}
      - eval_time: 100s
        alertname: FlameTasksWithoutExecutor
        exp_alerts:
          - exp_labels: {{severity: warning, instance: b}}
            exp_annotations:
              summary: 7 tasks wait and no executor is connected
              description: >-
                Start executors, or see why the autoscaler does not
                (flmctl scale explain APPLICATION).
"""
    (tmp_path / "test.yml").write_text(text)
    output_of("promtool", "test", "rules", tmp_path / "test.yml")


@pytest.fixture
def prometheus(running, tmp_path):
    """Scrapes the running broker with our configuration; gives a function for its API."""
    need("prometheus")
    port = free_port()
    config = (ROOT / "docker/prometheus/prometheus.yml").read_text()
    assert config.count("broker:7780") == 1
    config = config.replace("broker:7780", running.file["http"].removeprefix("http://"))
    config = config.replace(": 5s", ": 200ms")
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(RULES, tmp_path)
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=log,
        stderr=log,
    )

    def ask(path, **query):
        url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            assert process.poll() is None, (tmp_path / "log").read_text()
            return None

    yield ask
    process.terminate()
    process.wait(30)
    log.close()


def value_of(prometheus, expression):
    data = prometheus("query", query=expression)
    return data and data["result"] and float(data["result"][0]["value"][1])


def test_prometheus_scrapes_a_real_broker(running, prometheus):
    assert running.run("flmping", "-t", 100).code == 0
    done = 'flame_tasks_finished_total{result="succeed"}'
    wait_until(lambda: value_of(prometheus, done) == 100, "Prometheus has seen 100 results")
    assert value_of(prometheus, 'up{job="flame-broker"}') == 1
    groups = wait_until(lambda: (prometheus("rules") or {}).get("groups"), "rules are loaded")
    wait_until(
        lambda: all(r["health"] == "ok" for r in prometheus("rules")["groups"][0]["rules"]),
        "every rule was evaluated without an error",
    )
    assert len(groups[0]["rules"]) == 6
    for expression in expressions():
        query = expression.replace("$instance", ".*").replace("$__rate_interval", "5s")
        # A query that Prometheus does not take is an HTTP error, so None.
        assert prometheus("query", query=query) is not None, expression

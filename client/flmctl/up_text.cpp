// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/up_text.hpp"

#include <algorithm>
#include <array>

#include "proto/text.hpp"

namespace flame::flmctl {

namespace {

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string where(const ClusterStatus& status, const std::string& name) {
  if (name == "redis") return status.redis + "  AOF " + status.settings.appendfsync;
  if (name == "broker") return status.endpoint + "  " + status.http;
  if (name == "autoscaler")
    return "at most " + std::to_string(status.settings.max_executors) + " executors";
  return std::to_string(status.settings.slots) + (status.settings.slots == 1 ? " slot" : " slots");
}

std::string times_text(uint64_t restarts) {
  return std::to_string(restarts) + (restarts == 1 ? " restart" : " restarts");
}

std::string age_text(int64_t ms) {
  int64_t s = std::max<int64_t>(0, ms / 1000);
  if (s < 120) return std::to_string(s) + " s";
  if (s < 7200) return std::to_string(s / 60) + " min";
  if (s < 172'800) return std::to_string(s / 3600) + " h";
  return std::to_string(s / 86'400) + " days";
}

}  // namespace

std::string size_text(uint64_t bytes) {
  static constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  uint64_t tenths = bytes * 10;
  for (; tenths >= 10'240 && unit + 1 < kUnits.size(); unit++) tenths /= 1024;
  std::string fraction = unit == 0 || tenths >= 1000 ? "" : "." + std::to_string(tenths % 10);
  return std::to_string(tenths / 10) + fraction + " " + kUnits[unit];
}

std::string up_summary(const ClusterStatus& status, bool detached,
                       const std::string& default_data) {
  std::string out = "flame " + status.version + "  " + status.data + "\n";
  for (const auto& process : status.processes) {
    out += "  " + padded(process.name, 12) + padded("pid " + std::to_string(process.pid), 12) +
           where(status, process.name) + "\n";
  }
  if (!status.settings.redis.empty())
    out += "  " + padded("redis", 24) + status.settings.redis + "\n";
  bool elsewhere = status.data != default_data;
  std::string data = elsewhere ? " --data " + status.data : "";
  out += "Next:\n";
  if (elsewhere || status.settings.port != UpSettings{}.port) {
    out += "  export FLAME_ENDPOINT=" + status.endpoint + "\n";
  }
  out += "  flmping -t 1000000\n  flmctl list\n  flmctl status" + data + "\n";
  out +=
      detached ? "  flmctl down" + data + "\n" : "Ctrl-C (or flmctl down" + data + ") stops it.\n";
  return out;
}

std::string status_text(const ClusterStatus& status, const ClusterHealth& health, proto::Now now) {
  std::string out = "flame " + status.version + "  " + status.data + "  " + status.state +
                    (health.ready ? "" : ", not ready") + "\n";
  if (health.ready_text != "ok") {
    std::string text = health.ready_text;
    for (size_t at = 0; (at = text.find('\n', at)) != text.npos; at += 7)
      text.insert(at + 1, 6, ' ');
    out += "      broker: " + text + "\n";
  }
  for (const auto& process : status.processes) {
    out += "  " + padded(process.name, 12) + padded(process.state, 10) +
           padded(process.pid == 0 ? "" : "pid " + std::to_string(process.pid), 13) +
           padded(process.pid == 0 ? "" : age_text(now.wall_ms() - process.started_ms), 9) +
           times_text(process.restarts) + "\n";
    if (!process.last_exit.empty()) out += "      last: " + process.last_exit + "\n";
  }
  auto line = [&](const std::string& name, const std::string& value) {
    out += "  " + padded(name, 12) + value + "\n";
  };
  line("clients", status.endpoint);
  line("executors", status.executors_endpoint + ", " + std::to_string(status.settings.slots) +
                        (status.settings.slots == 1 ? " slot each" : " slots each"));
  line("http", status.http);
  line("redis", status.redis);
  if (health.memory_bytes != 0) {
    auto limit = health.memory_max_bytes == 0
                     ? " in Redis, no limit (maxmemory 0)"
                     : " of " + size_text(health.memory_max_bytes) + " in Redis";
    line("memory", size_text(health.memory_bytes) + limit);
  }
  if (status.settings.redis.empty()) {
    line("AOF", size_text(health.append_only_bytes) + ", fsync " + status.settings.appendfsync);
  }
  line("disk", size_text(health.disk_free_bytes) + " free");
  if (!status.ring.empty()) line("ring", status.ring);
  return out;
}

// The supervisor's object with a few fields more, so that both have one shape.
std::string status_json(const ClusterStatus& status, const ClusterHealth& health, proto::Now now) {
  std::string out = to_json(status, 2);
  out.resize(out.rfind('\n'));
  auto field = [&](const char* name, uint64_t value) {
    out += std::string(",\n  \"") + name + "\": " + std::to_string(value);
  };
  field("redis_memory_bytes", health.memory_bytes);
  field("redis_memory_max_bytes", health.memory_max_bytes);
  field("aof_bytes", health.append_only_bytes);
  field("disk_free_bytes", health.disk_free_bytes);
  field("now_ms", static_cast<uint64_t>(now.wall_ms()));
  out += std::string(",\n  \"ready\": ") + (health.ready ? "true" : "false");
  out += ",\n  \"ready_text\": " + json_text(health.ready_text);
  return out + "\n}\n";
}

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/supervisor_redis.hpp"

#include <sys/sysinfo.h>

#include <algorithm>

#include "client/flmctl/cluster_folder.hpp"
#include "proto/limits.hpp"
#include "proto/text.hpp"

namespace flame::flmctl {

namespace {
constexpr uint64_t GiB = 1024 * proto::MiB;
constexpr uint64_t kMemoryPercent = 60;
// A rewrite starts when the file has grown by kRewriteMin and by kRewritePercent of what the last
// one wrote. A stream of a million tasks a second writes 200 MB/s: Redis' own 64 MB and 100 % would
// mean one rewrite after another. 4 GiB are 20 s of that stream; 200 % bound what rewriting adds to
// half of what the stream writes. A small disk gets a smaller file, since a full disk stops Redis.
constexpr uint64_t kRewriteMin = 4 * GiB;
constexpr uint64_t kRewriteMinLeast = 256 * proto::MiB;
constexpr uint64_t kRewritePercent = 200;

// As Redis' configuration reader unquotes it.
std::string quoted(const std::string& path) {
  std::string out = "\"";
  for (char c : path) {
    if (c == '"' || c == '\\') out += '\\';
    c == '\n' ? out += "\\n" : out += c;
  }
  return out + "\"";
}
}  // namespace

std::string redis_settings(const RedisPlan& plan) {
  uint64_t rewrite = std::clamp(plan.disk_free_bytes / 10, kRewriteMinLeast, kRewriteMin);
  std::string out = "# Written by flmctl at each start; changes made here are lost.\n";
  auto set = [&](const std::string& name, const std::string& value) {
    out += name + " " + value + "\n";
  };
  set("port", "0");
  set("unixsocket", quoted(plan.socket));
  set("unixsocketperm", "700");
  set("dir", quoted(plan.folder));
  set("daemonize", "no");
  set("supervised", "no");
  set("logfile", "\"\"");
  set("appendonly", "yes");
  set("appendfsync", plan.appendfsync);
  set("save", "\"\"");
  out +=
      "# Full means an error to the broker, which then answers busy; nothing is ever thrown "
      "away.\n";
  set("maxmemory", std::to_string(plan.memory_bytes / 100 * kMemoryPercent));
  set("maxmemory-policy", "noeviction");
  out += "# Few rewrites: the stream may have 200 MB/s.\n";
  set("auto-aof-rewrite-min-size", std::to_string(rewrite));
  set("auto-aof-rewrite-percentage", std::to_string(kRewritePercent));
  out += "# yes would switch fsync off during a rewrite, even with appendfsync always.\n";
  set("no-appendfsync-on-rewrite", "no");
  out += "# A last transaction torn by a crash is dropped as a whole; the broker's ring has it.\n";
  set("aof-load-truncated", "yes");
  return out;
}

uint64_t memory_here_bytes() {
  struct sysinfo machine {};
  sysinfo(&machine);
  uint64_t bytes = machine.totalram * machine.mem_unit;
  for (const char* file :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::string text = read_text_file(file);
    auto limit = proto::parse_number<uint64_t>(std::string_view(text).substr(0, text.find('\n')));
    if (limit) bytes = std::min(bytes, *limit);
  }
  return bytes;
}

std::string redis_ping() { return "PING\r\nQUIT\r\n"; }
std::string redis_info() { return "INFO\r\nQUIT\r\n"; }

RedisAnswer redis_answer(const std::string& answer) {
  if (answer.starts_with("+PONG")) return RedisAnswer::kReady;
  if (answer.starts_with("-LOADING")) return RedisAnswer::kLoading;
  return RedisAnswer::kNone;
}

uint64_t redis_info_number(const std::string& info, const std::string& field) {
  size_t at = info.find("\n" + field + ":");
  if (at == info.npos) return 0;
  at += field.size() + 2;
  size_t end = info.find_first_not_of("0123456789", at);
  return proto::parse_number<uint64_t>(std::string_view(info).substr(at, end - at)).value_or(0);
}

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/redis_facts.hpp"

#include <array>

#include "proto/limits.hpp"
#include "proto/text.hpp"

namespace flame::broker {

namespace {

using proto::Code;

uint64_t number(std::string_view text) { return proto::parse_number<uint64_t>(text).value_or(0); }

void take_line(RedisFacts& facts, std::string_view name, std::string_view value) {
  if (name == "redis_version") facts.version = value;
  if (name == "run_id") facts.run_id = value;
  if (name == "uptime_in_seconds")
    facts.uptime_us = static_cast<int64_t>(number(value)) * proto::kUsPerSecond;
  if (name == "loading") facts.loading = value != "0";
  if (name == "role") facts.replica = value != "master";
  if (name == "cluster_enabled") facts.cluster = value != "0";
  if (name == "aof_enabled") facts.aof = value != "0";
  // They follow each other in INFO, and the first of them begins a new look.
  if (name == "aof_rewrite_in_progress") facts.rewriting = value != "0";
  if (name == "aof_rewrite_scheduled" && value != "0") facts.rewriting = true;
  if (name == "aof_last_bgrewrite_status" && value != "ok") facts.rewriting = true;
  if (name == "used_memory") facts.used_memory = number(value);
  if (name == "maxmemory") facts.maxmemory = number(value);
  if (name == "maxmemory_policy") facts.policy = value;
  // One line for each follows: slave0:ip=...,state=online,... Others are still being filled.
  if (name == "connected_slaves") facts.replicas = 0;
  bool one = name.starts_with("slave") && name.size() > 5 && name[5] >= '0' && name[5] <= '9';
  if (one && value.find("state=online") != value.npos) facts.replicas++;
  if (name == "aof_last_write_status") facts.file.failed = value != "ok";
  if (name == "aof_pending_bio_fsync") facts.file.pending = value != "0";
  if (name == "aof_delayed_fsync") facts.file.delayed = number(value);
}

struct Meaning {
  std::string_view word;
  Code code;
  bool final;
  std::string_view text;
};
constexpr std::array kMeanings = {
    Meaning{"OOM", Code::kStoreRefused, false,
            "is full (maxmemory); raise it (CONFIG SET maxmemory, and in redis.conf) or delete "
            "sessions, it goes on by itself; nothing that was acknowledged is lost"},
    Meaning{"MISCONF", Code::kStoreRefused, false,
            "cannot write to its disk; free space there, it goes on by itself"},
    Meaning{"READONLY", Code::kStoreRefused, false,
            "is a replica; point the broker at the primary or promote this one"},
    Meaning{"MASTERDOWN", Code::kStoreRefused, false,
            "is a replica without its primary; point the broker at the primary"},
    Meaning{"NOREPLICAS", Code::kStoreRefused, false,
            "has fewer replicas than min-replicas-to-write; start them"},
    Meaning{"LOADING", Code::kStoreDown, false, "is still loading its data; it goes on by itself"},
    Meaning{"BUSY", Code::kStoreDown, false,
            "runs somebody's long script; end it with SCRIPT KILL"},
    Meaning{
        "NOAUTH", Code::kStoreRefused, true,
        "wants a password; give it with FLAME_REDIS_URL, the config file or --redis-password-file"},
    Meaning{"WRONGPASS", Code::kStoreRefused, true,
            "does not accept this user and password; correct them"},
    Meaning{"NOPERM", Code::kStoreRefused, true,
            "does not allow this user a command; docs/redis.md has the ACL rule that is needed"},
    Meaning{"MOVED", Code::kUnsupported, true,
            "runs in cluster mode, where a batch cannot be atomic; use a plain one"},
    Meaning{"CROSSSLOT", Code::kUnsupported, true,
            "runs in cluster mode, where a batch cannot be atomic; use a plain one"},
    Meaning{"CLUSTERDOWN", Code::kUnsupported, true,
            "runs in cluster mode, where a batch cannot be atomic; use a plain one"},
    Meaning{
        "WRONGTYPE", Code::kStoreRefused, true,
        "holds something else under a key of ours; give the cluster a Redis database of its own"},
};

// The command that an error names in quotes: 'SETRANGE', and before Redis 7 `SETRANGE`.
std::string command_in(std::string_view error_text) {
  size_t begin = error_text.find_first_of("'`");
  if (begin == error_text.npos) return "";
  size_t end = error_text.find_first_of("'`", begin + 1);
  if (end == error_text.npos || end - begin > 40) return "";
  return proto::printable(error_text.substr(begin + 1, end - begin - 1));
}

Refusal refuse(Code code, bool final, std::string_view place, std::string_view text) {
  return {{code, "Redis at " + std::string(place) + " " + std::string(text), 0}, final};
}

}  // namespace

bool RedisFacts::is_at_least(uint64_t wanted_major, uint64_t wanted_minor) const {
  auto dot = version.find('.');
  if (dot == version.npos) return false;
  std::string_view rest = std::string_view(version).substr(dot + 1);
  uint64_t major = number(std::string_view(version).substr(0, dot));
  uint64_t minor = number(rest.substr(0, rest.find('.')));
  return major > wanted_major || (major == wanted_major && minor >= wanted_minor);
}

bool RedisFacts::has_waitaof() const { return aof && is_at_least(7, 2); }

bool RedisFacts::memory_near_limit() const {
  return maxmemory != 0 && used_memory >= maxmemory / 100 * proto::kBusyMemoryPercent;
}

void take_info(RedisFacts& facts, std::string_view info) {
  while (!info.empty()) {
    auto end = info.find("\r\n");
    auto line = info.substr(0, end);
    auto colon = line.find(':');
    if (colon != line.npos) take_line(facts, line.substr(0, colon), line.substr(colon + 1));
    if (end == info.npos) break;
    info.remove_prefix(end + 2);
  }
}

void take_config(RedisFacts& facts, const runtime::RedisReply& reply) {
  for (size_t i = 0; i + 1 < reply.items.size(); i += 2) {
    if (reply.items[i].text == "appendfsync") facts.appendfsync = reply.items[i + 1].text;
    if (reply.items[i].text == "no-appendfsync-on-rewrite")
      facts.fsync_on_rewrite = reply.items[i + 1].text == "no";
  }
}

std::optional<Refusal> check_facts(const RedisFacts& facts, bool allow_volatile,
                                   std::string_view place) {
  if (facts.cluster) {
    return refuse(
        Code::kUnsupported, true, place,
        "runs in cluster mode; a batch writes keys of several sessions at once, which a cluster "
        "cannot do "
        "atomically. Use a plain Redis with replicas, and a second broker with its own to grow");
  }
  if (facts.replica) return explain("READONLY", place);
  if (facts.loading) return explain("LOADING", place);
  if (!facts.policy.empty() && facts.policy != "noeviction") {
    return refuse(
        Code::kUnsupported, true, place,
        "has maxmemory-policy " + facts.policy +
            ", which may drop tasks and results unasked; set it to noeviction (CONFIG SET "
            "maxmemory-policy noeviction, and in redis.conf)");
  }
  if (!facts.aof && !allow_volatile) {
    return refuse(Code::kUnsupported, true, place,
                  "has no append-only file, so acknowledged tasks would not survive its restart; "
                  "set appendonly yes, "
                  "or start the broker with --allow-volatile-redis");
  }
  return std::nullopt;
}

Refusal explain(std::string_view error_text, std::string_view place) {
  constexpr std::string_view kDiscarded = "EXECABORT Transaction discarded because of: ";
  if (error_text.starts_with(kDiscarded)) error_text.remove_prefix(kDiscarded.size());
  auto command = command_in(error_text);
  // What follows the name are the arguments, so somebody's data.
  if (error_text.starts_with("ERR unknown command")) {
    return refuse(Code::kStoreRefused, true, place,
                  "does not know the command " + command +
                      " that Flame needs; take rename-command away, or use another Redis");
  }
  auto word = error_text.substr(0, error_text.find(' '));
  if (word == "NOPERM" && !command.empty()) {
    return refuse(Code::kStoreRefused, true, place,
                  "does not allow this user the command " + command +
                      "; docs/redis.md has the ACL rule that is needed");
  }
  for (const auto& meaning : kMeanings) {
    if (meaning.word != word) continue;
    Refusal refusal = refuse(meaning.code, meaning.final, place, meaning.text);
    refusal.full = word == "OOM";
    return refusal;
  }
  return refuse(Code::kStoreRefused, false, place, "refused: " + proto::printable(error_text));
}

}  // namespace flame::broker

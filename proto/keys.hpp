// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The Redis schema: one function per key and the table behind docs/redis.md (a test compares the
// two). Every key of a session carries its id as hash tag. Nobody else builds a key.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace flame::proto {

/// Raised when an older broker could not read what a newer one writes.
inline constexpr int kSchemaVersion = 1;

struct KeyRow {
  std::string_view pattern;  ///< {S} session id, K segment
  std::string_view type;
  std::string_view content;
  std::string_view writer;
  std::string_view deleter;
};

inline constexpr std::array kKeys = {
    KeyRow{"flame:meta", "hash",
           "schema, cluster, epoch, batch, lineage, secret, run_id, fsync, restore, clean, lost: "
           "who owns this "
           "Redis",
           "broker, with every batch", "nobody"},
    KeyRow{"flame:owner", "string", "address of the serving broker, with expiry: a hint", "broker",
           "expiry"},
    KeyRow{"flame:durable", "hash",
           "synced, replicated -> batch that is being waited for: a write behind it, which WAITAOF "
           "or WAIT counts from",
           "broker, while a session of that level waits", "nobody"},
    KeyRow{"flame:apps", "hash", "name -> application (msgpack map)", "register", "unregister"},
    KeyRow{"flame:sessions", "zset", "session id -> creation time (ms)", "create",
           "the last batch of delete"},
    KeyRow{
        "flame:demand", "hash",
        "application -> msgpack map: pending, running, run_seconds, backlog_seconds, slots, busy, "
        "..., updated (ms)",
        "broker, when changed, at most five times a second", "unregister"},
    KeyRow{"flame:executors", "hash",
           "executor id -> msgpack map: address, slots, state, sessions, idle, seen (ms)",
           "broker, when changed", "a day after it left"},
    KeyRow{"flame:scale", "hash",
           "application -> msgpack map: wanted, asked, registered, busy, reason, text, dry_run, "
           "updated (ms)",
           "autoscaler, when changed", "unregister, by the autoscaler"},
    KeyRow{"flame:decisions", "stream",
           "at, application, reason, text and the numbers: what the autoscaler did, and why",
           "autoscaler", "capped"},
    KeyRow{"flame:{S}:session", "hash",
           "plain text: uid, application, state, owner, tasks, pending, running, succeed, failed, "
           "cancelled, created, closed, ...",
           "create, every batch that changes it", "summary time after close, delete"},
    KeyRow{"flame:{S}:common", "string", "common data, as the client gave it", "create",
           "results time after close, delete"},
    KeyRow{"flame:{S}:state:K", "string", "one letter per task of segment K: P R S F C",
           "submit, dispatch, result, requeue, cancel", "summary time after close, delete"},
    KeyRow{"flame:{S}:input:K", "hash", "run -> msgpack array of inputs", "submit",
           "the batch that finishes the run's last task"},
    KeyRow{"flame:{S}:options:K", "hash", "run -> msgpack map of options that differ", "nobody yet",
           "with the input"},
    KeyRow{"flame:{S}:output:K", "hash",
           "run -> msgpack [executor, attempt, base_ms, exceptions, times, outputs, crc32c]",
           "result", "retention, delete"},
    KeyRow{"flame:{S}:done", "list", "runs in the order of completion", "result, cancel",
           "trimmed with the outputs"},
    KeyRow{"flame:{S}:attempts", "hash", "task -> attempts charged so far, only where above 0",
           "requeue of a lost or crashed task", "result, delete"},
    KeyRow{"flame:{S}:keys", "hash", "idempotency key -> task id", "nobody yet", "delete"},
    KeyRow{"flame:{S}:readers", "hash", "reader -> index acknowledged, last seen (ms)",
           "acknowledged results", "reader_ttl, delete"},
    KeyRow{"flame:{S}:submits", "hash",
           "client -> msgpack [last use (ms), [sequence, first id, count, code] ...]", "submit",
           "client_ttl, delete"},
    KeyRow{"flame:{S}:events", "stream", "at, code, text: what happened to the session",
           "created, retried, failed, cancelled, closing ...",
           "capped; results time after close, delete"},
};

inline constexpr std::string_view kMetaKey = "flame:meta";
inline constexpr std::string_view kOwnerKey = "flame:owner";
inline constexpr std::string_view kDurableKey = "flame:durable";
inline constexpr std::string_view kAppsKey = "flame:apps";
inline constexpr std::string_view kSessionsKey = "flame:sessions";
inline constexpr std::string_view kDemandKey = "flame:demand";
inline constexpr std::string_view kExecutorsKey = "flame:executors";
inline constexpr std::string_view kScaleKey = "flame:scale";
inline constexpr std::string_view kDecisionsKey = "flame:decisions";

std::string session_key(std::string_view session);
std::string common_key(std::string_view session);
std::string state_key(std::string_view session, uint64_t segment);
std::string input_key(std::string_view session, uint64_t segment);
std::string options_key(std::string_view session, uint64_t segment);
std::string output_key(std::string_view session, uint64_t segment);
std::string done_key(std::string_view session);
std::string attempts_key(std::string_view session);
std::string idempotency_key(std::string_view session);
std::string readers_key(std::string_view session);
std::string submits_key(std::string_view session);
std::string events_key(std::string_view session);

}  // namespace flame::proto

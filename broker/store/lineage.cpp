// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/lineage.hpp"

#include <algorithm>
#include <charconv>

#include "proto/keys.hpp"
#include "proto/text.hpp"

namespace flame::broker {

namespace {

proto::Error refuse(std::string message) {
  return {proto::Code::kUnsupported, std::move(message), 0};
}

Decision broken(std::string reason) {
  Decision decision;
  decision.finding = Finding::kBroken;
  decision.reason = std::move(reason);
  return decision;
}

Decision whole(uint64_t replay_from) {
  Decision decision;
  decision.finding = Finding::kWhole;
  decision.replay_from = replay_from;
  return decision;
}

Decision fenced(const Meta& meta) {
  Decision decision;
  decision.finding = Finding::kFenced;
  std::string who = meta.owner.empty() ? "" : " (" + proto::printable(meta.owner, 200) + ")";
  decision.reason = "another broker" + who + " took this Redis over: epoch " + meta.epoch.text() +
                    " stands in flame:meta, and only one may run";
  return decision;
}

std::string batches(uint64_t from, uint64_t to) {
  return from == to ? "batch " + std::to_string(from)
                    : "batches " + std::to_string(from) + " to " + std::to_string(to);
}

// The ring of an owner that nobody followed.
bool continues(const Meta& meta, const RingState& ring) {
  return ring.found && ring.lineage == meta.lineage &&
         (ring.epoch == meta.epoch || ring.epoch.number > meta.epoch.number);
}

std::optional<proto::Error> foreign(const Meta& meta, std::string_view cluster) {
  if (meta.schema != std::to_string(proto::kSchemaVersion)) {
    return refuse("flame:meta has schema '" + proto::printable(meta.schema, 20) +
                  "', this broker knows " + std::to_string(proto::kSchemaVersion) +
                  "; use a broker of the version that wrote it, or another Redis database");
  }
  if (meta.cluster != cluster) {
    return proto::Error{proto::Code::kCluster,
                        "this Redis belongs to cluster '" + proto::printable(meta.cluster, 128) +
                            "', not to '" + std::string(cluster) +
                            "'; name the cluster right or use another Redis database",
                        0};
  }
  return std::nullopt;
}

}  // namespace

proto::Result<Meta> Meta::from(const MetaFields& fields) {
  Meta meta;
  meta.exists = !fields.empty();
  auto value = [&](std::string_view name) -> std::string {
    auto found =
        std::find_if(fields.begin(), fields.end(), [&](const auto& f) { return f.first == name; });
    return found == fields.end() ? "" : found->second;
  };
  if (!meta.exists) return meta;
  meta.schema = value("schema");
  // Of another schema nothing else is read: the caller refuses it by name.
  if (meta.schema != std::to_string(proto::kSchemaVersion)) return meta;
  auto epoch = Epoch::parse(value("epoch"));
  auto batch = proto::parse_number<uint64_t>(value("batch").empty() ? "0" : value("batch"));
  if (!epoch || !batch) {
    return refuse(
        "epoch or batch in flame:meta is not a number; this Redis was edited by hand, restore a "
        "backup");
  }
  meta.epoch = *epoch;
  meta.batch = *batch;
  meta.owner = value("owner");
  meta.cluster = value("cluster");
  meta.lineage = value("lineage");
  meta.secret = value("secret");
  meta.run_id = value("run_id");
  meta.fsync = value("fsync");
  meta.restore = value("restore");
  meta.clean = value("clean") == "1";
  meta.lost = value("lost");
  return meta;
}

std::string Meta::secret_bytes() const {
  std::string bytes;
  for (size_t i = 0; i + 1 < secret.size(); i += 2) {
    unsigned value = 0;
    std::from_chars(secret.data() + i, secret.data() + i + 2, value, 16);
    bytes += static_cast<char>(value);
  }
  return bytes;
}

MetaFields Meta::fields() const {
  return {
      {"schema", schema},   {"cluster", cluster},         {"epoch", epoch.text()}, {"owner", owner},
      {"lineage", lineage}, {"secret", secret},           {"run_id", run_id},      {"fsync", fsync},
      {"restore", restore}, {"clean", clean ? "1" : "0"}, {"lost", lost}};
}

Decision decide_start(const Meta& meta, const RingState& ring, const RedisSeen& seen,
                      std::string_view cluster, int64_t takeover_grace_us,
                      std::string_view ring_place) {
  if (!meta.exists) {
    if (!ring.found || ring.last == 0) return {};
    return broken("this Redis is empty, but the ring " + std::string(ring_place) +
                  " holds what was confirmed up to batch " + std::to_string(ring.last));
  }
  if (auto error = foreign(meta, cluster)) {
    Decision decision;
    decision.finding = Finding::kRefuse;
    decision.error = *error;
    return decision;
  }
  if (!meta.lost.empty()) return broken(meta.lost);
  if (continues(meta, ring)) {
    if (ring.has(meta.batch + 1, ring.last)) return whole(meta.batch + 1);
    return broken("Redis came back with batch " + std::to_string(meta.batch) + "; " +
                  batches(meta.batch + 1, ring.first - 1) +
                  " were confirmed and are neither there nor in the ring");
  }
  if (meta.clean || meta.run_id == seen.run_id || meta.fsync == "always")
    return whole(meta.batch + 1);
  if (seen.uptime_us < takeover_grace_us) {
    Decision decision;
    decision.finding = Finding::kWait;
    decision.wait_us = takeover_grace_us - seen.uptime_us;
    decision.reason =
        "Redis has just started, and its owner, which has the ring, may come back first";
    return decision;
  }
  return broken("Redis was restarted since its last broker saw it, appendfsync is '" + meta.fsync +
                "', and there is no ring at " + std::string(ring_place) +
                ": confirmed writes after batch " + std::to_string(meta.batch) + " may be missing");
}

Decision decide_again(const Meta& meta, const RingState& ring, const Owned& owned) {
  bool ours = meta.exists && meta.epoch == owned.epoch;
  if (meta.exists && !ours && meta.epoch.number >= owned.epoch.number) return fenced(meta);
  if (meta.exists && meta.lineage != owned.lineage) return fenced(meta);
  uint64_t stored = meta.exists ? meta.batch : 0;
  if (stored > std::max(owned.confirmed, owned.in_flight)) return fenced(meta);
  if (ours && !meta.lost.empty()) return broken(meta.lost);
  if (!owned.lost.empty()) return broken(owned.lost);
  if (stored >= owned.confirmed) return whole(stored + 1);
  if (ring.has(stored + 1, owned.confirmed)) return whole(stored + 1);
  uint64_t missing_to =
      std::min(owned.confirmed, ring.last < ring.first ? owned.confirmed : ring.first - 1);
  return broken("Redis came back with batch " + std::to_string(stored) + "; " +
                batches(stored + 1, missing_to) +
                " were confirmed and are neither there nor in the ring");
}

}  // namespace flame::broker

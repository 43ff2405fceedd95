// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/stored_rows.hpp"

#include "proto/codec.hpp"
#include "proto/keys.hpp"
#include "proto/text.hpp"

namespace flame::autoscaler {

using proto::Code;
using proto::Error;
using runtime::RedisReply;

namespace {

/// Longer is no measurement.
constexpr int64_t kStartMaxUs = 24 * 3600 * proto::kUsPerSecond;

proto::Result<std::map<std::string, proto::Value>> rows_from(const RedisReply& reply,
                                                             std::string_view key) {
  std::map<std::string, proto::Value> rows;
  if (reply.is_error())
    return Error{Code::kStoreRefused, "Redis refuses " + std::string(key) + ": " + reply.text};
  for (size_t i = 0; i + 1 < reply.items.size(); i += 2) {
    auto row = proto::decode_value(reply.items[i + 1].text);
    if (!row || row->map() == nullptr) {
      return Error{Code::kBadFrame, "the row '" + proto::printable(reply.items[i].text, 60) +
                                        "' of " + std::string(key) + " is not readable"};
    }
    rows[reply.items[i].text] = std::move(*row);
  }
  return rows;
}

}  // namespace

runtime::RedisRequest read_request(bool applications, bool recall) {
  runtime::RedisRequest request;
  if (recall) request.add({"HGETALL", proto::kScaleKey});
  request.add({"MULTI"});
  request.add({"HGETALL", proto::kDemandKey});
  request.add({"HGETALL", proto::kExecutorsKey});
  request.add({"PTTL", proto::kOwnerKey});
  request.add({"HGET", proto::kMetaKey, "cluster"});
  if (applications) request.add({"HGETALL", proto::kAppsKey});
  request.add({"EXEC"});
  return request;
}

std::map<std::string, int64_t> cold_starts_from(const RedisReply& reply) {
  std::map<std::string, int64_t> found;
  for (size_t i = 0; i + 1 < reply.items.size(); i += 2) {
    auto row = proto::decode_value(reply.items[i + 1].text);
    int64_t us = row && row->map() != nullptr ? row->number_at("cold_start_us") : 0;
    if (us > 0 && us < kStartMaxUs) found[reply.items[i].text] = us;
  }
  return found;
}

proto::Result<Stored> stored_from(const runtime::RedisReplies& replies, std::string_view cluster) {
  const RedisReply& all = replies.back();
  if (all.is_error() || all.items.size() < 4) {
    return Error{Code::kStoreDown, "Redis does not tell the figures: " +
                                       (all.is_error() ? all.text : "an unexpected answer")};
  }
  // No text: no broker has written into it yet.
  const std::string& writer = all.items[3].text;
  if (!cluster.empty() && !writer.empty() && writer != cluster) {
    return Error{Code::kCluster, "this Redis belongs to cluster '" + proto::printable(writer, 128) +
                                     "', not to '" + std::string(cluster) + "'"};
  }
  auto demand = rows_from(all.items[0], proto::kDemandKey);
  if (!demand) return demand.error();
  auto executors = rows_from(all.items[1], proto::kExecutorsKey);
  if (!executors) return executors.error();
  Stored stored{std::move(*demand), std::move(*executors), all.items[2].integer};
  if (all.items.size() == 4) return stored;
  auto applications = rows_from(all.items[4], proto::kAppsKey);
  if (!applications) return applications.error();
  stored.applications = std::move(*applications);
  return stored;
}

}  // namespace flame::autoscaler

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A batch as the bytes that Redis gets:
//
//   MULTI  commands ...  HSET flame:meta batch N  EXEC  WATCH flame:meta  HMGET flame:meta epoch
//   batch
//
// One transaction is atomic, numbered and one fsync. The WATCH behind it is the fence of the *next*
// batch, which may follow only if this reply shows our epoch and number.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/store/resp.hpp"
#include "broker/store/store.hpp"

namespace flame::broker {

struct EncodedBatch {
  size_t bytes = 0;
  size_t replies = 0;  ///< one per command, MULTI to HMGET
};

/// Keeps its scratch memory from batch to batch. Within one session, commands on the same key are
/// joined: order is kept where it can matter (see plain()).
class BatchEncoder {
 public:
  /// Bytes that encode() never exceeds. Cheap: no value is looked at.
  static size_t size_max(const Batch& batch);
  EncodedBatch encode(const Batch& batch, char* out);

 private:
  struct SessionOps {
    std::string_view session;
    bool plain = true;
    std::vector<const StoreOp*> inputs, drops, outputs, states, others;
    std::vector<const StoreOp*> in_order;  ///< all of them, where not plain
  };

  SessionOps& ops_of(std::string_view session);
  void sort_out(const Batch& batch, RespOut& out);
  static void put_session(const SessionOps& ops, RespOut& out);

  std::unordered_map<std::string_view, size_t> index_;
  std::vector<SessionOps> sessions_;
  size_t used_ = 0;
};

}  // namespace flame::broker

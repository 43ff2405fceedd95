// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Who of several autoscalers acts: the one that holds a Lease, by the rules of Kubernetes' own
// clients. Pure. Whether another one's lease has expired is judged by how long it has not changed
// before our own monotonic clock; what it says of its times is never compared with ours.
//
// A lease is no fence: one that was held up may still have a call on its way. Every write names the
// version that it was decided on, so that the second of two fails.

#include <cstdint>
#include <string>

#include "proto/time.hpp"
#include "proto/value.hpp"

namespace flame::autoscaler::kubernetes {

/// As client-go's defaults.
inline constexpr int64_t kLeaseSeconds = 15;
inline constexpr int64_t kRenewDeadlineUs = 10 * proto::kUsPerSecond;
inline constexpr int64_t kRenewEveryUs = 2 * proto::kUsPerSecond;

struct LeaseSeen {
  std::string version;  ///< changes with every renewal
  std::string holder;   ///< "": it was given back
  int64_t duration_s = kLeaseSeconds;
  int64_t transitions = 0;
  bool ours = false;  ///< has the labels of this instance

  static LeaseSeen from(const proto::Value& object, const std::string& instance);
};

class Candidate {
 public:
  explicit Candidate(std::string identity) : identity_(std::move(identity)) {}

  enum class Step : uint8_t { kRenew, kTake, kWait };
  Step look(const LeaseSeen& seen, int64_t now_us);
  /// A write of ours that was sent at `sent_us` is confirmed.
  void confirmed(int64_t sent_us) { held_us_ = sent_us; }
  void lost() { held_us_ = INT64_MIN / 2; }
  /// Ends before the others may think that it has.
  bool leads(int64_t now_us) const { return now_us - held_us_ < kRenewDeadlineUs; }
  const std::string& identity() const { return identity_; }

 private:
  std::string identity_, version_;
  int64_t seen_us_ = 0;
  int64_t held_us_ = INT64_MIN / 2;
};

/// The Lease as `identity` holds it from now on; "" gives it back. `before`: null to create it.
proto::Value lease_body(const std::string& name, const std::string& space,
                        const std::string& instance, const std::string& identity,
                        const LeaseSeen* before, int64_t wall_us);

}  // namespace flame::autoscaler::kubernetes

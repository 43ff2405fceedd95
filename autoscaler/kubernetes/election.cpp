// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/election.hpp"

#include "autoscaler/kubernetes/text.hpp"
#include "proto/text.hpp"
#include "runtime/log.hpp"

namespace flame::autoscaler::kubernetes {

using proto::Code;
using proto::Result;
using proto::Value;

Election::Election(runtime::EventLoop& loop, Access access, const Place& place,
                   std::string identity)
    : loop_(loop),
      api_(loop, std::move(access), kRenewEveryUs),
      space_(place.space),
      instance_(place.instance),
      name_("flame-autoscaler-" + place.instance),
      path_("/apis/coordination.k8s.io/v1/namespaces/" + place.space + "/leases"),
      candidate_(std::move(identity)) {
  look();
}

void Election::look() {
  if (resigned_) return;
  api_.call({.method = "GET", .path = path_ + "/" + name_},
            [this](const Result<Value>& object) { seen(object); });
}

void Election::seen(const Result<Value>& object) {
  if (resigned_) return;
  if (!object && object.error().code == Code::kNotFound)
    return write(nullptr, candidate_.identity(), [this] { again(); });
  if (!object) {
    tell(object.error().message, true);
    return again();
  }
  last_ = LeaseSeen::from(*object, instance_);
  if (!last_.ours) {
    tell("the Lease " + name_ + " is not this autoscaler's (its labels say otherwise)", true);
    return again();
  }
  if (candidate_.look(last_, loop_.now().mono_us) != Candidate::Step::kWait)
    return write(&last_, candidate_.identity(), [this] { again(); });
  candidate_.lost();
  tell(proto::printable(last_.holder, 80) + " acts", false);
  again();
}

void Election::write(const LeaseSeen* before, const std::string& identity,
                     std::function<void()> done) {
  int64_t sent_us = loop_.now().mono_us;
  std::string query = "?fieldManager=flame-autoscaler&fieldValidation=Strict";
  api_.call({.method = before == nullptr ? "POST" : "PUT",
             .path = path_ + (before == nullptr ? "" : "/" + name_) + query,
             .content_type = "application/json",
             .body = lease_body(name_, space_, instance_, identity, before, loop_.now().wall_us)},
            [this, sent_us, identity, done = std::move(done)](const Result<Value>& written) {
              if (written) {
                last_ = LeaseSeen::from(*written, instance_);
                if (!identity.empty()) candidate_.confirmed(sent_us);
                tell("it holds the lease", false);
              } else if (written.error().code != Code::kConflict) {
                tell(written.error().message, true);
              }
              done();
            });
}

void Election::again() {
  loop_.call_at(loop_.now().mono_us + kRenewEveryUs, [this] { look(); });
}

// Each change once; what is wrong has other words with every try.
void Election::tell(const std::string& why, bool trouble) {
  std::string words = leads() ? "this autoscaler acts" : "this autoscaler stands by";
  std::string key = words + (trouble ? "!" : why);
  if (std::exchange(told_, key) == key) return;
  runtime::log::write(trouble ? runtime::log::Level::kWarn : runtime::log::Level::kInfo, words,
                      {{"lease", name_}, {"why", why}});
}

void Election::resign(std::function<void()> done) {
  resigned_ = true;
  bool led = leads();
  candidate_.lost();
  if (led) return write(&last_, "", std::move(done));
  loop_.call_at(loop_.now().mono_us, std::move(done));
}

}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Who really starts and stops executors. It decides nothing and remembers nothing: what exists is
// what list() says, so that an autoscaler that was killed goes on where the last one stopped.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "autoscaler/core/observer.hpp"

namespace flame::autoscaler {

/// Every call is answered once, from the loop, never from inside the call; one at a time.
class Provider {
 public:
  using Listed = std::function<void(proto::Result<std::vector<Provided>>)>;
  using Done = std::function<void(proto::Status)>;
  virtual ~Provider() = default;

  /// Whether it wants to know how applications are registered, and which are.
  virtual bool reads_applications() const { return false; }
  /// Those that are registered, before every list(); rows of flame:apps.
  virtual void know(const std::map<std::string, proto::Value>&) {}
  /// False while another autoscaler acts in our place: then nothing is read, decided or written.
  virtual bool leads() const { return true; }
  /// Before the process ends: the next one need not wait. `done` is called from the loop.
  virtual void resign(const std::function<void()>& done) { done(); }
  /// All that exist and those asked for; an error if it is not known to be all of them.
  virtual void list(Listed done) = 0;
  /// Asks for more; they are listed from then on.
  virtual void add(const std::string& application, uint64_t count, Done done) = 0;
  /// Drained ones and those that never registered leave; a local one that has something in hand all
  /// the same stays.
  virtual void leave(const std::vector<std::string>& ids, Done done) = 0;
  /// Removes what is left of applications that are not registered any more and have no executor;
  /// called of those that read applications.
  virtual void tidy(const Done& done) { done({}); }
};

}  // namespace flame::autoscaler

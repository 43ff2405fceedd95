// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Keeps a copy of the objects of one kind that have our labels: a list, then a watch from where the
// list stood. A watch that ends or is cut is resumed; one whose past is forgotten (410, as a status
// or within the stream), or that could not be resumed, begins with a list again.

#include <functional>
#include <set>
#include <string>

#include "autoscaler/kubernetes/api.hpp"
#include "autoscaler/kubernetes/watch.hpp"
#include "runtime/backoff.hpp"
#include "runtime/event_loop.hpp"

namespace flame::autoscaler::kubernetes {

class Mirror {
 public:
  struct Sink {
    std::function<void(const proto::Value& object)> put;
    std::function<void(const std::string& name)> gone;
    std::function<void(const std::set<std::string>& names)> only;  ///< after a list: what it had
  };

  Mirror(runtime::EventLoop& loop, Api& api, std::string path, std::string selector, Sink sink)
      : loop_(loop),
        api_(api),
        path_(std::move(path)),
        selector_(std::move(selector)),
        sink_(std::move(sink)),
        lines_(0),
        backoff_(250 * proto::kUsPerMs, 10 * proto::kUsPerSecond) {}

  void start() { list(); }
  /// "" while the copy is what the server has; else why it may not be.
  const std::string& trouble() const { return trouble_; }

 private:
  void list();
  void watch();
  bool on_chunk(std::string_view chunk);
  void on_event(const WatchEvent& event);
  void on_end(const proto::Status& status);
  void again(const proto::Error& error);

  runtime::EventLoop& loop_;
  Api& api_;
  std::string path_, selector_;
  Sink sink_;
  std::string version_;          ///< to watch from
  std::set<std::string> names_;  ///< of the list that is being read
  Lines lines_;
  int64_t begun_us_ = 0;  ///< the watch
  bool heard_ = false;    ///< something came from this watch
  bool spoiled_ = false;  ///< it said something that cannot be, or that the past is forgotten
  bool expired_ = false;
  std::string trouble_ = "it has not been listed yet";
  runtime::Backoff backoff_;
};

}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One instance of a real program in a real loop.

#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "proto/elements.hpp"
#include "runtime/clock.hpp"
#include "runtime/http_client.hpp"
#include "shims/grpc/client.hpp"
#include "shims/launch.hpp"
#include "shims/shim.hpp"

namespace flame::shims::test {

class ShimTest : public ::testing::Test {
 protected:
  ShimTest() {
    char folder[] = "/tmp/flame-shim-test-XXXXXX";
    folder_ = mkdtemp(folder);
    ::signal(SIGPIPE, SIG_IGN);  // as runtime/signals does in the executor
  }
  ~ShimTest() override {
    shim_.reset();
    std::filesystem::remove_all(folder_);
  }

  void start(proto::Application application) {
    application.name = "test";
    auto launch =
        make_launch(application, {program_directory(), folder_, nullptr, grpc_.get(), &http_});
    ASSERT_TRUE(launch) << launch.error().message;
    auto shim = make_shim(application, std::move(*launch), 1, loop_, events_);
    ASSERT_TRUE(shim) << shim.error().message;
    shim_ = std::move(*shim);
  }

  template <class E>
  E next(int64_t timeout_ms = 20'000) {
    wait([&] { return !events_.empty(); }, timeout_ms);
    if (events_.empty()) {
      ADD_FAILURE() << "nothing happened";
      return {};
    }
    Event event = std::move(events_.front().event);
    events_.erase(events_.begin());
    if (auto exited = std::get_if<Exited>(&event); exited && !std::is_same_v<E, Exited>) {
      ADD_FAILURE() << "ended: " << exited->reason;
      return {};
    }
    if (!std::holds_alternative<E>(event)) {
      ADD_FAILURE() << "another event: " << event.index();
      return {};
    }
    return std::get<E>(std::move(event));
  }

  bool wait(const std::function<bool()>& done, int64_t timeout_ms = 20'000) {
    int64_t until = runtime::read_clock().mono_us + timeout_ms * 1000;
    while (!done() && runtime::read_clock().mono_us < until) loop_.turn(10'000);
    return done();
  }

  static Frame frame(proto::TaskId first, const std::vector<std::string>& inputs,
                     proto::Attempt attempt = 1) {
    std::string elements;
    for (const auto& input : inputs) proto::append_element(elements, input);
    return {first, static_cast<uint32_t>(inputs.size()), attempt,
            proto::Bytes::own(std::move(elements))};
  }

  static std::vector<std::string> outputs(const Results& results) {
    std::vector<std::string> all;
    proto::ElementReader reader(results.elements.view());
    while (auto element = reader.next()) all.emplace_back(*element);
    return all;
  }

  void enter(const std::string& common = "") {
    shim_->enter({"session-1", "test", proto::Bytes::copy(common)});
    auto entered = next<Entered>();
    EXPECT_TRUE(entered.ok) << entered.message;
  }
  /// The answers to so many tasks from `first` on, told at once or one after the other.
  Results all_results(proto::TaskId first, uint32_t count, std::vector<std::string>& out) {
    Results all;
    while (all.count < count) {
      auto some = next<Results>();
      if (some.count == 0) break;
      EXPECT_EQ(some.first, first + all.count);
      for (auto& failure : some.failures) {
        failure.index += all.count;
        all.failures.push_back(failure);
      }
      for (auto& text : outputs(some)) out.push_back(text);
      all.count += some.count;
    }
    EXPECT_EQ(all.count, count);
    return all;
  }
  std::string run_one(const std::string& input, proto::TaskId id = 1) {
    shim_->invoke({frame(id, {input})});
    auto out = outputs(next<Results>());
    return out.empty() ? "(nothing)" : out[0];
  }

  /// Gone, or a zombie that nobody has reaped yet.
  static bool dead(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(file, text);
    auto name_end = text.rfind(')');
    return name_end == std::string::npos || text[name_end + 2] == 'Z' || text[name_end + 2] == 'X';
  }

  std::string folder_;
  runtime::EventLoop loop_;
  Events events_;
  runtime::HttpClient http_{loop_};
  std::unique_ptr<GrpcClient> grpc_ = make_grpc_client(loop_);
  std::unique_ptr<Shim> shim_;
};

}  // namespace flame::shims::test

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The service side: what runs your tasks. Derive from Service, give it to run(), and register the
// program as an application with `shim: native`:
//
//   class Square : public flame::Service {
//     flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override {
//       return square(task.input);
//     }
//   };
//   int main() { Square square; return flame::run(square); }
//
// An executor starts the program, once per slot, and calls on one thread, in this order:
//
//   on_session_enter, on_task_invoke for each task, on_session_leave, perhaps on_session_enter for
//   another session of the same application and owner, ... and SIGTERM when it is no longer needed.
//
// What the program writes to stdout and stderr goes to the executor, which keeps the last 64 KiB of
// each instance: `flmctl logs` and Session::logs() show them, and a crash its last 2 KiB. The
// program finds the cluster that runs it in FLAME_ENDPOINT: Client::connect() without arguments.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flame {

/// Valid until on_session_leave has returned.
struct SessionContext {
  std::string_view session;
  std::string_view application;
  std::string_view common_data;  ///< what the session was created with; at most 64 MiB
};

namespace service {
class Cancellations;
class Connection;
}  // namespace service

/// Valid during the call.
struct TaskContext {
  uint64_t task = 0;     ///< 1, 2, 3 ... within the session
  uint32_t attempt = 1;  ///< above 1: an earlier executor or service was lost with the task in hand
  std::string_view input;

  /// True once the task was cancelled. What it returns is thrown away then; return soon: 5 s
  /// after the cancel the process is killed. Costs a system call: ask every few ms, not in every
  /// step.
  bool cancelled() const;

  /// How far the task is, 0 to 100 %, and a line of at most 1 KiB: whoever watches the session or
  /// the task sees the last one. Costs a system call; more than ten a second are not passed on.
  void progress(unsigned percent, std::string_view text = "") const;

  service::Cancellations* cancellations = nullptr;  ///< the SDK's own
  service::Connection* connection = nullptr;        ///< the SDK's own
};

/// The output of a task, at most 64 MiB, or why it failed.
class TaskOutput {
 public:
  TaskOutput() = default;
  TaskOutput(std::string data) : data_(std::move(data)) {}  // NOLINT(google-explicit-constructor)
  TaskOutput(std::string_view data) : data_(data) {}        // NOLINT(google-explicit-constructor)
  TaskOutput(const char* data) : data_(data) {}             // NOLINT(google-explicit-constructor)

  /// The task ends as Failed with this reason (cut to 4 KiB); it is not tried again.
  static TaskOutput error(std::string reason) {
    TaskOutput output(std::move(reason));
    output.failed_ = true;
    return output;
  }

  bool failed() const { return failed_; }
  /// The output, or the reason of a failed one.
  const std::string& data() const { return data_; }

 private:
  std::string data_;
  bool failed_ = false;
};

class Service {
 public:
  virtual ~Service() = default;

  /// Once per session. Throwing refuses it: the executor reports the text and tries again later.
  virtual void on_session_enter(const SessionContext&) {}

  /// Once per task. Throwing fails the task with what() as the reason, like TaskOutput::error.
  virtual TaskOutput on_task_invoke(const TaskContext& task) = 0;

  virtual void on_session_leave() {}

  /// For services that are faster with many tasks at once: gets all tasks of a frame (1 to 1,024,
  /// as many as take about 2 ms) and returns as many outputs, in their order. Nothing means: call
  /// on_task_invoke for each.
  virtual std::optional<std::vector<TaskOutput>> on_batch(std::span<const TaskContext>) {
    return std::nullopt;
  }
};

/// Serves until the executor closes the connection; then returns 0. Returns 2, with a sentence on
/// stderr, where the program was not started by an executor, and 1 if the executor breaks the
/// protocol.
int run(Service& service);

}  // namespace flame

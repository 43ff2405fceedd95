// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A session: tasks of one application that belong together, with common data.
//
// Threads: all functions may be called from any thread, but a ResultStream is used by one.
// Life: a session outlives its handles. Dropping the last handle leaves it open (what was
// acknowledged goes on, another client may attach); close() ends it.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "flame/error.hpp"
#include "flame/future.hpp"

namespace flame {

class Client;
namespace detail {
class ClientImpl;
class SessionHandle;
class ResultQueue;
}  // namespace detail

/// What an acknowledgement of a submit means.
enum class Durability : uint8_t {
  kMemory = 0,      ///< the broker has it
  kStored = 1,      ///< Redis has it (default)
  kSynced = 2,      ///< it is on disk
  kReplicated = 3,  ///< a replica has it
};

enum class SessionState : uint8_t { kOpen, kSuspended, kClosing, kClosed, kDeleting };

struct SessionOptions {
  std::string application = {};
  std::string session = {};      ///< the id, 1-128 of [A-Za-z0-9._-]; "" makes one
  std::string common_data = {};  ///< given to every instance; at most 64 MiB
  uint64_t min_instances = 0;
  uint64_t max_instances = 0;  ///< 0: no limit of its own
  uint64_t priority = 0;       ///< kept and shown, not acting yet
  uint64_t batch_size = 1;     ///< kept and shown, not acting yet
  Durability durability = Durability::kStored;
  /// "ttl": outputs are dropped results_ttl after close. "read": as soon as every named reader has
  /// read them.
  std::string retention = "ttl";
  std::chrono::milliseconds results_ttl{0};  ///< 0: the application's
  std::string resources = {};                ///< kept and shown, not acting yet
  /// Name under which the broker remembers what this client has read; "" for none.
  std::string reader = {};
};

/// A session as the broker has it.
struct SessionStatus {
  std::string session = {};
  std::string application = {};
  SessionState state = SessionState::kOpen;
  uint64_t tasks = 0, pending = 0, running = 0, succeed = 0, failed = 0, cancelled = 0;
  std::chrono::system_clock::time_point created = {};
};

struct SessionEvent {
  std::chrono::system_clock::time_point at = {};
  std::string code = {};  ///< as "created", "retried", "failed", "cancelled", "bind_failed"
  std::string text = {};
};

/// Where a reader stands among a session's results. As text it can be kept and used by a later
/// process.
struct Cursor {
  std::string lineage = {};  ///< of the store; "" for "whatever it is now"
  uint64_t index = 0;        ///< entries read
  std::string session = {};  ///< whose they are: its id, '#' and its number; "" for "not said"

  std::string to_string() const;
  /// Throws bad_request.
  static Cursor parse(std::string_view text);
};

/// Contiguous task ids.
struct TaskRange {
  uint64_t first = 0;
  uint64_t count = 0;
};

/// What a cancel did, in tasks; what had finished is in neither.
struct CancelledTasks {
  uint64_t pending = 0;  ///< were pending
  uint64_t running = 0;  ///< were running
};

enum class TaskState : uint8_t { kPending, kRunning, kSucceed, kFailed, kCancelled };
/// "Pending", "Running", "Succeed", "Failed", "Cancelled".
std::string_view to_string(TaskState state);

/// One task as it is recorded. What is not known (yet, or not any more) is empty; a time then is
/// the clock's epoch.
struct TaskStatus {
  using Time = std::chrono::system_clock::time_point;
  uint64_t task = 0;
  TaskState state = TaskState::kPending;
  std::string executor = {};
  uint32_t attempt = 0;  ///< from 1
  Time dispatched = {};  ///< only while it runs
  Time started = {};     ///< of the frame in which it went through the service
  Time ended = {};
  Code code = Code::kOk;  ///< why it failed
  std::string reason = {};
  uint64_t percent = 0;                    ///< what a running task said of itself last, 0 to 100
  std::string progress = {};               ///< ... and its text
  std::optional<std::string> input = {};   ///< asked for, and kept: until it is done, if it failed
  std::optional<std::string> output = {};  ///< asked for, and kept
  std::string version = {};                ///< another one where any of the above is different

  bool finished() const { return state != TaskState::kPending && state != TaskState::kRunning; }
};

/// What the session's services need beside their tasks.
struct CommonData {
  std::string data = {};
  uint64_t version = 0;  ///< 1 at the session's creation, one more with every update
};

/// What one instance of a service wrote to stdout and stderr last, at most 64 KiB.
struct InstanceLog {
  std::string executor = {};
  uint64_t instance = 0;  ///< counts the executor's instances
  bool running = false;   ///< false: it ended
  std::string text = {};
  std::string error = {};  ///< why there is no text: the executor did not answer
};

struct TaskProgress {
  uint64_t task = 0;
  uint64_t percent = 0;
  std::string text = {};
};

struct TaskQuery {
  uint64_t from = 1;  ///< the first task of interest
  uint64_t limit = 1000;
  std::vector<TaskState> states = {};  ///< none: all
  bool payloads = false;
};

/// Tasks for the bulk path: encoded as they travel, at most 1,024 tasks and 256 KiB, or one larger
/// task.
class Run {
 public:
  /// False (and nothing added) if the input does not fit any more; an empty run takes every input
  /// up to 64 MiB.
  bool add(std::string_view input);
  uint64_t count() const { return count_; }
  bool empty() const { return count_ == 0; }

 private:
  friend class Session;
  std::string payload_;
  uint64_t count_ = 0;
};

struct ResultsOptions {
  Cursor after = {};  ///< where an earlier stream stood; without it the first that is kept
  /// Begin behind what is done now, instead of `after`.
  bool only_new = false;
  /// False: end with what is done now. True: go on until the session is closed.
  bool follow = true;
  /// Overrides SessionOptions::reader.
  std::string reader = {};
};

/// Results in the order of completion, whoever submitted the tasks. At most 16 MiB wait unread in
/// the client; the rest waits in the broker's store. One stream per session and client: a new one
/// ends the one before.
class ResultStream {
 public:
  ~ResultStream();
  ResultStream(ResultStream&&) noexcept;
  ResultStream& operator=(ResultStream&&) noexcept;

  /// Waits for the next; nothing at the end. Throws trimmed if results were dropped before they
  /// were read (the stream goes on behind them), lost_lineage if the cursor belongs to a store that
  /// lost writes.
  std::optional<TaskResult> next();
  /// The same, but throws timeout after `time`.
  std::optional<TaskResult> next_for(std::chrono::milliseconds time);

  /// Go on from here later. Results come in groups that finished together; inside one the cursor is
  /// its begin, so that after a restart some may come again, but none is missed.
  Cursor cursor() const;

  class Iterator {
   public:
    explicit Iterator(ResultStream* of) : of_(of) { advance(); }
    TaskResult& operator*() { return *current_; }
    Iterator& operator++() { return advance(), *this; }
    bool operator!=(std::nullptr_t) const { return current_.has_value(); }

   private:
    void advance() { current_ = of_->next(); }
    ResultStream* of_;
    std::optional<TaskResult> current_;
  };
  Iterator begin() { return Iterator(this); }
  std::nullptr_t end() { return nullptr; }

 private:
  friend class Session;
  ResultStream(std::shared_ptr<detail::SessionHandle> handle,
               std::shared_ptr<detail::ResultQueue> queue);
  std::shared_ptr<detail::SessionHandle> handle_;
  std::shared_ptr<detail::ResultQueue> queue_;
};

class Session {
 public:
  Session() = default;  ///< not valid until assigned

  const std::string& id() const;

  /// One task. Blocks while too much waits for the broker (64 runs or 64 MiB). Small tasks
  /// submitted in quick succession travel together. Throws too_large above 64 MiB; what the broker
  /// says comes with the future.
  Future submit(std::string_view input);
  /// Nothing instead of blocking.
  std::optional<Future> try_submit(std::string_view input);
  std::vector<Future> submit_many(std::span<const std::string> inputs);

  /// Submits all and waits for all: outputs in the order of the inputs. Throws the first failure.
  std::vector<std::string> map(std::span<const std::string> inputs);

  /// The bulk path: no futures; read with results(). Blocks like submit.
  void submit_run(Run&& run);
  /// Waits until everything submitted so far is acknowledged or refused, with futures or without.
  /// A future tells its own id and its own refusal. Of what was submitted by submit_run this
  /// returns the ids since the last flush, in ascending order, and throws the first refusal. Throws
  /// timeout after `time`. Where it throws, acknowledged() has the ids of the rest. Of ids that are
  /// never asked for the newest 2^20 ranges are kept.
  std::vector<TaskRange> flush(std::chrono::milliseconds time = std::chrono::milliseconds::max());
  /// Of the same ids those that are acknowledged by now, without waiting. They are told once, here
  /// or by flush().
  std::vector<TaskRange> acknowledged();

  /// Throws bad_request for a cursor of another session.
  ResultStream results(ResultsOptions options = {});

  SessionStatus status() const;
  /// Waits until no task is pending or running; throws timeout.
  SessionStatus wait(std::chrono::milliseconds time = std::chrono::milliseconds::max()) const;
  /// Tasks as they are recorded, in the order of their ids: a question for people and programs that
  /// look, not the way to read results. With retention `read`, those of the first
  /// million (2^20) are recorded until all their results are read, then the second, and so on.
  std::vector<TaskStatus> tasks(const TaskQuery& query = {}) const;
  /// One with input and output. Throws not_found.
  TaskStatus task(uint64_t task) const;
  /// One task with input and output, as soon as it is not what `known` says any more; without
  /// `known` at once. What happened between two calls is not told. Throws timeout, not_found.
  ///   for (auto task = session.watch(7); !task.finished(); task = session.watch(7, task)) ...
  TaskStatus watch(uint64_t task, const std::optional<TaskStatus>& known = {},
                   std::chrono::milliseconds time = std::chrono::milliseconds::max()) const;
  /// Called on the library's own thread, for each task that said something since, ten times a
  /// second at most, while futures or a stream are waited for. It must return soon, and must not
  /// call the session.
  void on_progress(std::function<void(const TaskProgress&)> callback);

  CommonData common_data() const;
  /// Tasks submitted after it returned run with the new data: services leave the session and enter
  /// it again. With `if_version` not 0 only if that is the present version, else throws
  /// conflict. Returns the new version.
  uint64_t update_common_data(std::string_view data, uint64_t if_version = 0);
  /// What happened to the session, oldest first, the last 256.
  std::vector<SessionEvent> events() const;
  /// By executor and instance; with `task` only what was written while that task may have run.
  std::vector<InstanceLog> logs(uint64_t task = 0) const;
  /// Cancels tasks of these ranges (at most 1,024 of them; none: all that are acknowledged). They
  /// end as cancelled at once and their futures throw task_cancelled. Pending ones never run; with
  /// `running` those in a service too: it is told (TaskContext::cancelled), and killed if it is in
  /// the task 5 s later. What has finished stays as it is. Throws not_found for ids that the
  /// session does not have.
  CancelledTasks cancel(std::span<const TaskRange> tasks = {}, bool running = false);
  /// Pending tasks are cancelled, running ones finish. Idempotent.
  SessionStatus close();

 private:
  friend class Client;
  explicit Session(std::shared_ptr<detail::SessionHandle> handle) : handle_(std::move(handle)) {}
  std::shared_ptr<detail::SessionHandle> handle_;
};

}  // namespace flame

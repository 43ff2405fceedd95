// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "flame/service.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "service/cancellations.hpp"
#include "service/connection.hpp"

namespace flame {

namespace {

using shims::native::Reader;
using shims::native::Type;

class Server {
 public:
  Server(Service& service, int fd, int cancel_fd)
      : service_(service), connection_(fd), cancellations_(cancel_fd) {}

  int serve() {
    while (auto message = connection_.next()) {
      if (!on_message(*message)) {
        std::fprintf(stderr, "flame: the executor sent a message that this SDK does not know\n");
        return 1;
      }
    }
    return 0;
  }

 private:
  bool on_message(const service::Incoming& message) {
    Reader reader(message.body);
    switch (message.type) {
      case Type::kEnter:
        return on_enter(reader);
      case Type::kNext:
        connection_.flush();
        return on_invoke(reader);
      case Type::kInvoke:
        return on_invoke(reader);
      case Type::kLeave:
        return on_leave();
      case Type::kProgress:
        break;  // only from us
    }
    return false;
  }

  bool on_enter(Reader& reader) {
    cancellations_.forget();
    session_ = reader.text();
    application_ = reader.text();
    common_data_ = reader.text();
    if (!reader.ok()) return false;
    std::string refusal;
    bool ok = guarded(refusal, [&] {
      service_.on_session_enter({session_, application_, common_data_});
    });
    connection_.entered(ok, refusal);
    return true;
  }

  bool on_leave() {
    std::string ignored;
    guarded(ignored, [&] { service_.on_session_leave(); });
    connection_.left();
    return true;
  }

  bool on_invoke(Reader& reader) {
    TaskContext task;
    task.cancellations = &cancellations_;
    task.connection = &connection_;
    task.task = reader.number<uint64_t>();
    auto count = reader.number<uint32_t>();
    task.attempt = reader.number<uint32_t>();
    if (!reader.ok()) return false;
    proto::ElementReader elements(reader.rest());
    if (batches_) {
      batches_ = on_batch(task, count, elements);
      if (batches_) return true;
      elements = proto::ElementReader(reader.rest());
    }
    connection_.begin_results(task.task);
    for (uint32_t i = 0; i < count; i++, task.task++) {
      auto input = elements.next();
      if (!input) return false;
      task.input = *input;
      invoke(task);
    }
    connection_.end_results();
    return true;
  }

  void invoke(const TaskContext& task) {
    std::string reason;
    bool ok = guarded(reason, [&] { add(service_.on_task_invoke(task)); });
    if (!ok) connection_.add_failure(reason);
  }

  // False if the service has no on_batch; then nothing was answered.
  bool on_batch(const TaskContext& first, uint32_t count, proto::ElementReader& elements) {
    std::vector<TaskContext> tasks(count, first);
    for (uint32_t i = 0; i < count; i++) {
      tasks[i].task += i;
      tasks[i].input = elements.next().value_or("");
    }
    std::optional<std::vector<TaskOutput>> outputs;
    std::string reason;
    bool ok = guarded(reason, [&] { outputs = service_.on_batch(tasks); });
    if (ok && !outputs) return false;
    if (ok && outputs->size() != count) {
      ok = false;
      reason = "on_batch returned " + std::to_string(outputs->size()) + " outputs for " +
               std::to_string(count) + " tasks";
    }
    connection_.begin_results(first.task);
    for (uint32_t i = 0; i < count; i++) ok ? add((*outputs)[i]) : connection_.add_failure(reason);
    connection_.end_results();
    return true;
  }

  void add(const TaskOutput& output) {
    if (output.failed()) return connection_.add_failure(output.data());
    connection_.add_output(output.data());
  }

  template <class Call>
  static bool guarded(std::string& reason, Call&& call) {
    try {
      call();
      return true;
    } catch (const std::exception& error) {
      reason = error.what();
    } catch (...) {
      reason = "an exception that is no std::exception";
    }
    return false;
  }

  Service& service_;
  service::Connection connection_;
  service::Cancellations cancellations_;
  bool batches_ = true;
  std::string session_, application_, common_data_;
};

}  // namespace

bool TaskContext::cancelled() const {
  return cancellations != nullptr && cancellations->contains(task);
}

void TaskContext::progress(unsigned percent, std::string_view text) const {
  if (connection != nullptr) connection->progress(task, percent, text);
}

int run(Service& service) {
  const char* text = std::getenv(shims::native::kInstanceFdName);
  int fd = text != nullptr ? std::atoi(text) : -1;
  int type = 0;
  socklen_t size = sizeof type;
  if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    std::fprintf(
        stderr,
        "This program is a Flame service: a flame-executor starts it, with a socket in %s.\n"
        "Register it as an application with `shim: native` and submit tasks to a session of "
        "it.\n",
        shims::native::kInstanceFdName);
    return 2;
  }
  const char* cancel = std::getenv(shims::native::kCancelFdName);
  return Server(service, fd, cancel != nullptr ? std::atoi(cancel) : -1).serve();
}

}  // namespace flame

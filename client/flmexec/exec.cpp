// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmexec/exec.hpp"

#include <chrono>
#include <cstdio>

#include "client/cpp/src/client_impl.hpp"
#include "client/failures.hpp"
#include "client/terminal.hpp"
#include "client/tool.hpp"
#include "flame/client.hpp"
#include "proto/messages.hpp"

namespace flame::exec {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLook{100};
constexpr milliseconds kRequest{30'000};
constexpr milliseconds kClose{3'000};  ///< whoever interrupts has waited enough

/// Thrown by a signal; what is open is closed on the way out.
struct Interrupted {};

void wait_for(const Future& future, const Settings& settings, tools::Waiter& waiter) {
  milliseconds waited{0};
  while (!future.wait_for(kLook)) {
    if (waiter.wait(0) != 0) throw Interrupted();
    waited += kLook;
    if (settings.timeout_ms > 0 && waited >= milliseconds(settings.timeout_ms)) {
      throw Error(Code::kTimeout, "no result for " + std::to_string(settings.timeout_ms) +
                                      " ms. Look for the reason: flmctl view session last");
    }
  }
}

/// Outputs in the order of the tasks, as they become available.
tools::Failures print_outputs(const std::vector<Future>& futures, const Settings& settings,
                              tools::Waiter& waiter) {
  tools::Failures failures;
  for (const auto& future : futures) {
    if (!future.ready()) {
      std::fflush(stdout);
      wait_for(future, settings, waiter);
    }
    auto result = future.result();
    if (result.ok()) {
      std::fwrite(result.output.data(), 1, result.output.size(), stdout);
    } else {
      failures.add({result.task, static_cast<proto::Code>(result.code), result.reason});
    }
  }
  std::fflush(stdout);
  return failures;
}

int run_session(Session& session, const Settings& settings, tools::Waiter& waiter) {
  std::string script = script_of(settings);
  std::vector<Future> futures;
  futures.reserve(settings.tasks);
  for (uint64_t i = 0; i < settings.tasks; i++) {
    futures.push_back(session.submit(script));
    if (waiter.wait(0) != 0) throw Interrupted();
  }
  auto failures = print_outputs(futures, settings, waiter);
  if (failures.count() == 0) return tools::kExitOk;
  std::fprintf(stderr, "flmexec: %s of %s tasks failed:\n%s",
               tools::with_thousands(failures.count()).c_str(),
               tools::with_thousands(settings.tasks).c_str(), failures.show().c_str());
  return tools::kExitTasksFailed;
}

proto::Error to_proto(const Error& error) {
  return {static_cast<proto::Code>(error.code()), error.what(), error.retry_after_ms()};
}

int close_interrupted(detail::ClientImpl& client, Session& session, tools::Waiter& waiter) {
  waiter.release();
  client.request_ms = kClose.count();
  std::fprintf(stderr, "flmexec: closing session %s, for at most %s; another signal ends at once\n",
               session.id().c_str(), tools::show_duration(kClose.count() * 1000).c_str());
  const char* left = "still open";
  try {
    left = session.close().state == SessionState::kClosed ? "closed" : "closing";
  } catch (const Error&) {  // it does not answer
  }
  std::fprintf(stderr, "flmexec: interrupted; session %s is %s\n", session.id().c_str(), left);
  return tools::kExitInterrupted;
}

// Closing cancels what has not run, so that nothing goes on behind the user's back.
int run_and_close(detail::ClientImpl& client, Session session, const Settings& settings,
                  tools::Waiter& waiter) {
  int code = tools::kExitFailed;
  try {
    code = run_session(session, settings, waiter);
  } catch (const Error& error) {
    code = tools::fail("flmexec", to_proto(error));
  } catch (const Interrupted&) {
    return close_interrupted(client, session, waiter);
  }
  session.close();
  return code;
}

}  // namespace

int run(const Settings& settings) {
  tools::Waiter waiter;
  auto connected = tools::connect_to_broker("flmexec", settings.endpoint, settings.cluster);
  if (!connected) return tools::fail("flmexec", connected.error());
  try {
    auto impl = std::make_shared<detail::ClientImpl>(std::move(*connected), kRequest);
    auto client = detail::ClientImpl::wrap(impl);
    SessionOptions options;
    options.application = "flmexec";
    options.retention = "read";  // flmexec is the only reader
    options.reader = "flmexec";
    return run_and_close(*impl, client.create_session(options), settings, waiter);
  } catch (const Error& error) {
    return tools::fail("flmexec", to_proto(error));
  }
}

}  // namespace flame::exec

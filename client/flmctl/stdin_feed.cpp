// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/stdin_feed.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace flame::flmctl {

namespace {

constexpr size_t kReadBytes = 256 * 1024;

bool more_is_there() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return poll(&input, 1, 0) > 0;
}

// As they come: what was read is submitted before a read that would wait.
void submit_lines(Submitter& submitter) {
  std::string line;
  std::vector<char> part(kReadBytes);
  while (true) {
    if (!more_is_there()) submitter.hand_on();
    ssize_t got = read(STDIN_FILENO, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw flame::Error(flame::Code::kBadRequest,
                         std::string("stdin cannot be read: ") + strerror(errno));
    if (got == 0) break;
    std::string_view rest(part.data(), static_cast<size_t>(got));
    for (size_t end = 0; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
      line += rest.substr(0, end);
      submitter.add(line);
      line.clear();
    }
    line += rest;
  }
  if (!line.empty()) submitter.add(line);
  submitter.hand_on();
}

}  // namespace

void Submitter::add(std::string_view input) {
  if (run_.add(input)) return;
  hand_on();
  run_.add(input);
}

void Submitter::hand_on() {
  if (stopped_) return;
  sent_ += run_.count();
  session_.submit_run(std::move(run_));
  run_ = Run();
}

StdinFeed::StdinFeed(tools::Waiter& waiter, std::function<Session()> open)
    : waiter_(waiter), thread_([this, open = std::move(open)] { run(open); }) {}

StdinFeed::~StdinFeed() {
  if (thread_.joinable()) thread_.join();
}

void StdinFeed::rethrow() const {
  if (ended_ && error_) std::rethrow_exception(error_);
}

void StdinFeed::run(const std::function<Session()>& open) {
  try {
    session_ = open();
    submitter_ = std::make_unique<Submitter>(session_);
    opened_ = true;
    submit_lines(*submitter_);
  } catch (...) {
    error_ = std::current_exception();
  }
  ended_ = true;
  waiter_.notify();
}

}  // namespace flame::flmctl

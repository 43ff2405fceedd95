// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/shell.hpp"

#include <signal.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "proto/limits.hpp"

namespace flame::shims {

ShellShim::ShellShim(Launch launch, InstanceId instance, runtime::EventLoop& loop, Events& events)
    : launch_(std::move(launch)),
      instance_(instance),
      loop_(loop),
      events_(events),
      stderr_(loop, log_) {
  launch_.environment.emplace_back("FLAME_SHIM", "shell");
}

ShellShim::~ShellShim() {
  close_input();
  close_output();
}

void ShellShim::enter(const EnterSession& session) {
  session_ = session.session;
  log_.at(session.uid, {});
  events_.push_back({instance_, Entered{}});
}

void ShellShim::leave() { events_.push_back({instance_, Left{}}); }

void ShellShim::invoke(const std::vector<Frame>& frames) {
  frames_.insert(frames_.end(), frames.begin(), frames.end());
  if (task_ == 0) start_next();
}

void ShellShim::start_next() {
  if (frames_.empty() || gone_) return;
  auto& frame = frames_.front();
  auto input = proto::ElementReader(frame.elements.view()).next().value_or("");
  auto offset = static_cast<size_t>(input.data() - frame.elements.data());
  auto bytes = input.empty() ? proto::Bytes() : frame.elements.slice(offset, input.size());
  start_task(frame.first, frame.attempt, bytes);
}

void ShellShim::start_task(proto::TaskId task, proto::Attempt attempt, const proto::Bytes& input) {
  Pipe in, out, err;
  if (!open_pipe(in) || !open_pipe(out) || !open_pipe(err)) {
    return gone(std::string("no descriptors for a process: ") + std::strerror(errno));
  }
  Launch launch = launch_;
  launch.environment.emplace_back("FLAME_TASK_ID", std::to_string(task));
  launch.environment.emplace_back("FLAME_SESSION_ID", session_);
  launch.environment.emplace_back("FLAME_ATTEMPT", std::to_string(attempt));
  auto process = ChildProcess::spawn(
      launch, {{in.read.get(), 0}, {out.write.get(), 1}, {err.write.get(), 2}}, loop_,
      [this](bool failed, const std::string& how) { on_exit(failed, how); });
  if (!process) return gone(process.error().message);
  process_ = std::move(*process);
  task_ = task;
  log_.at(log_.uid(), {task, 1});
  input_ = input;
  written_ = 0;
  output_.clear();
  too_large_ = false;
  stdin_ = std::move(in.write);
  stdout_ = std::move(out.read);
  set_nonblocking(stdin_.get());
  set_nonblocking(stdout_.get());
  stderr_.watch(std::move(err.read));
  loop_.add_fd(stdout_.get(), true, false, [this](runtime::EventLoop::Ready) { read_output(); });
  loop_.add_fd(stdin_.get(), false, true, [this](runtime::EventLoop::Ready) { write_input(); });
  write_input();
}

void ShellShim::write_input() {
  while (stdin_ && written_ < input_.size()) {
    ssize_t sent = ::write(stdin_.get(), input_.data() + written_, input_.size() - written_);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) return close_input();  // it does not want to read it: its right
    written_ += static_cast<size_t>(sent);
  }
  close_input();
}

// True while there is more.
bool ShellShim::read_output() {
  if (!stdout_) return false;
  std::array<char, kPipeBytes> buffer;
  ssize_t got = ::read(stdout_.get(), buffer.data(), buffer.size());
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) close_output();
  if (got <= 0) return false;
  if (output_.size() + static_cast<size_t>(got) > proto::kPayloadBytesMax) {
    too_large_ = true;
    close_output();
    if (process_) process_->signal(SIGKILL);
    return false;
  }
  output_.append(buffer.data(), static_cast<size_t>(got));
  return true;
}

void ShellShim::close_input() {
  if (stdin_) loop_.remove_fd(stdin_.get());
  stdin_.reset();
}

void ShellShim::close_output() {
  if (stdout_) loop_.remove_fd(stdout_.get());
  stdout_.reset();
}

void ShellShim::on_exit(bool failed, const std::string& how) {
  // Not until the end of the stream: what it left in the background may hold it open for ever.
  for (int i = 0; i < 16 && read_output(); i++) {
  }
  close_input();
  close_output();
  stderr_.close();
  if (!ended_by_us_.empty()) return gone(stderr_.explain(ended_by_us_));
  std::vector<Failure> failures;
  if (too_large_) {
    failures.push_back(output_too_large());
  } else if (failed) {
    failures.push_back({0, proto::Code::kTaskFailed, stderr_.explain(how)});
  }
  finish(std::move(failures));
}

void ShellShim::finish(std::vector<Failure> failures) {
  std::string element;
  if (!failures.empty()) output_.clear();
  element.reserve(proto::element_size(output_.size()));
  proto::append_element(element, output_);
  output_ = {};
  auto& frame = frames_.front();
  events_.push_back({instance_, Results{frame.first, 1, std::move(failures),
                                        proto::Bytes::own(std::move(element))}});
  size_t taken = proto::skip_elements(frame.elements.view(), 1).value_or(frame.elements.size());
  frame.elements = frame.elements.slice(taken, frame.elements.size() - taken);
  frame.first++;
  if (--frame.count == 0) frames_.pop_front();
  task_ = 0;
  start_next();
}

void ShellShim::cancel(const proto::Run& run) {
  if (run.contains(task_)) process_->signal(SIGTERM);
}

void ShellShim::terminate() {
  ended_by_us_ = "ended by the executor";
  if (task_ == 0) return gone(ended_by_us_);
  process_->signal(SIGTERM);
}

void ShellShim::kill() {
  ended_by_us_ = "ended by the executor";
  if (task_ == 0) return gone(ended_by_us_);
  process_->signal(SIGKILL);
}

void ShellShim::gone(const std::string& reason) {
  if (gone_) return;
  gone_ = true;
  task_ = 0;
  events_.push_back({instance_, Exited{reason}});
}

}  // namespace flame::shims

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/connection.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "client/cpp/src/core/client_core.hpp"
#include "proto/codec.hpp"
#include "runtime/assert.hpp"
#include "runtime/clock.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/socket.hpp"

namespace flame::client {

using proto::Code;
using proto::Error;
using proto::Result;

namespace {
constexpr int kReceiveBurst = 256;
// Payload bytes in the submit window of one session: 64 runs are 16 MiB, single tasks may have 64
// MiB each.
constexpr uint64_t kWindowBytes = 64 * proto::MiB;

uint32_t random_link() { return static_cast<uint32_t>(runtime::random_u64()) | 1u; }
}  // namespace

// Everything below the queue is touched by the I/O thread only.
class Connection::Loop {
 public:
  Loop(std::string endpoint, std::string cluster)
      : endpoint_(std::move(endpoint)),
        not_connected_{Code::kNoBroker, "No broker at " + endpoint_ + ". Start one: flmctl up"},
        core_({runtime::random_hex(16), endpoint_, std::move(cluster), FLAME_VERSION,
               random_link()}) {
    wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    FLAME_ASSERT(wake_fd_ >= 0);
    // The application's signals are none of our threads' business (libzmq's inherit this mask).
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~Loop() {
    post([this] { stopping_ = true; });
    thread_.join();
    close(wake_fd_);
  }

  const std::string& endpoint() const { return endpoint_; }

  Result<proto::Welcome> wait_until_up(uint64_t timeout_ms) {
    std::unique_lock lock(state_mutex_);
    bool known = state_changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                                         [this] { return up_ || rejection_.code != Code::kOk; });
    if (!known) return not_connected_;
    if (!up_) return rejection_;
    return welcome_;
  }

  void post(std::function<void()> work) {
    {
      std::lock_guard lock(queue_mutex_);
      queue_.push_back(std::move(work));
    }
    signal();
  }
  void wake(proto::SessionUid uid) {
    {
      std::lock_guard lock(queue_mutex_);
      woken_.push_back(uid);
    }
    signal();
  }

  using Reply = std::function<void(Result<proto::Message>)>;
  void request(Request request, Reply reply) {
    request.ticket = ++last_ticket_;
    replies_.emplace(request.ticket, std::move(reply));
    feed(std::move(request));
  }

  /// Creates or opens; the listener is attached in the same turn in which the answer is read.
  void open(Request request_event, std::shared_ptr<SessionListener> listener,
            std::function<void(Result<Opened>)> done) {
    request(std::move(request_event), [this, listener = std::move(listener),
                                       done = std::move(done)](Result<proto::Message> answer) {
      if (!answer) return done(answer.error());
      auto info = std::get_if<proto::SessionInfo>(&*answer);
      if (info == nullptr)
        return done(Error{Code::kBadFrame, "the broker did not answer with a session"});
      bool fresh = sessions_.try_emplace(info->uid, Session{listener, {}, 0}).second;
      if (fresh) feed(Attach{*info});
      done(Opened{*info, !fresh});
    });
  }

  void on_waiting(std::function<void(const Error&)> listener) { on_waiting_ = std::move(listener); }
  void feed(Event event) { core_.on(std::move(event), loop_.now(), actions_); }
  void detach(proto::SessionUid uid) {
    feed(Detach{uid});
    auto session = sessions_.extract(uid);
    if (!session.empty()) session.mapped().listener->on_detached();
  }

 private:
  struct Session {
    std::shared_ptr<SessionListener> listener;
    std::map<Ticket, size_t> in_window;  ///< bytes of the runs that are not answered
    uint64_t window_bytes = 0;
  };

  void signal() {
    if (signalled_.exchange(true)) return;
    uint64_t one = 1;
    [[maybe_unused]] auto written = write(wake_fd_, &one, sizeof one);
  }

  void run();
  void take_commands();
  void note_why_not_up();
  void pull();
  void pull_from(proto::SessionUid uid, Session& session);
  void drain_socket();
  void perform_all();

  void perform(OpenSocket&);
  void perform(Send& send);
  void perform(Answer& answer);
  void perform(Submitted& submitted);
  void perform(SubmitFailed& failed);
  void perform(Deliver& deliver);
  void perform(Trimmed& trimmed);
  void perform(WatchFailed& failed);
  void perform(Changed& changed);
  void perform(Progressed& progressed);
  void perform(Lost& lost);
  void perform(LinkUp& link);
  void perform(LinkDown&);
  void perform(Rejected& rejected);
  void perform(Waiting& waiting);

  Session* find(proto::SessionUid uid) {
    auto found = sessions_.find(uid);
    return found == sessions_.end() ? nullptr : &found->second;
  }
  SessionListener* listener_of(proto::SessionUid uid);
  bool takes(proto::SessionUid uid) const { return core_.has_room(uid) || !core_.knows(uid); }
  void left_window(proto::SessionUid uid, Ticket ticket);

  std::string endpoint_;
  int wake_fd_ = -1;
  std::atomic<bool> signalled_{false};

  std::mutex queue_mutex_;
  std::vector<std::function<void()>> queue_;
  std::vector<proto::SessionUid> woken_;

  std::mutex state_mutex_;
  std::condition_variable state_changed_;
  bool up_ = false;
  proto::Welcome welcome_;
  Error rejection_;
  Error not_connected_;

  // Of the I/O thread.
  runtime::EventLoop loop_;
  std::unique_ptr<runtime::SocketContext> context_;
  std::unique_ptr<runtime::Socket> socket_;
  ClientCore core_;
  Actions actions_;
  std::function<void(const Error&)> on_waiting_;
  uint32_t failed_link_ = 0;  ///< the rest of what was to go over it is dropped
  bool stopping_ = false;
  Ticket last_ticket_ = 0;
  std::map<Ticket, Reply> replies_;
  std::map<proto::SessionUid, Session> sessions_;
  std::set<proto::SessionUid> ready_;  ///< sessions whose listener may have a run
  std::thread thread_;
};

void Connection::Loop::run() {
  context_ = std::make_unique<runtime::SocketContext>();
  loop_.add_fd(wake_fd_, true, false, [this](runtime::EventLoop::Ready) {
    uint64_t count;
    [[maybe_unused]] auto got = read(wake_fd_, &count, sizeof count);
  });
  while (true) {
    if (core_.next_deadline() <= loop_.now().mono_us) feed(Tick{});
    take_commands();
    pull();
    perform_all();
    note_why_not_up();
    if (stopping_) break;  // not another turn: nothing might ever end it
    int64_t at = core_.next_deadline();
    loop_.turn(at == kNever ? -1 : std::max<int64_t>(0, at - loop_.now().mono_us));
  }
  feed(Leave{});
  perform_all();
  take_commands();  // who asked too late is answered too
  perform_all();
  for (auto& [uid, session] : sessions_) session.listener->on_detached();
  if (socket_) loop_.remove_socket(*socket_);
  socket_.reset();
  context_.reset();
}

void Connection::Loop::note_why_not_up() {
  if (core_.up()) return;
  std::lock_guard lock(state_mutex_);
  not_connected_ = core_.not_connected();
}

void Connection::Loop::take_commands() {
  signalled_ = false;
  std::vector<std::function<void()>> queue;
  std::vector<proto::SessionUid> woken;
  {
    std::lock_guard lock(queue_mutex_);
    queue.swap(queue_);
    woken.swap(woken_);
  }
  for (auto& work : queue) work();
  ready_.insert(woken.begin(), woken.end());
}

void Connection::Loop::pull() {
  for (auto uid = ready_.begin(); uid != ready_.end();) {
    auto session = find(*uid);
    if (session != nullptr) pull_from(*uid, *session);
    bool done = session == nullptr || takes(*uid);
    uid = done && !(session != nullptr && session->window_bytes >= kWindowBytes) ? ready_.erase(uid)
                                                                                 : std::next(uid);
  }
}

void Connection::Loop::pull_from(proto::SessionUid uid, Session& session) {
  while (takes(uid) && session.window_bytes < kWindowBytes) {
    auto run = session.listener->next_run();
    if (!run) return;
    session.in_window[run->ticket] = run->payload.size();
    session.window_bytes += run->payload.size();
    uint64_t sent_us = run->stamped ? static_cast<uint64_t>(runtime::read_clock().wall_us) : 0;
    feed(SubmitRun{uid, run->ticket, run->count, sent_us, std::move(run->payload)});
  }
}

void Connection::Loop::left_window(proto::SessionUid uid, Ticket ticket) {
  auto session = find(uid);
  if (session == nullptr) return;
  auto found = session->in_window.find(ticket);
  if (found == session->in_window.end()) return;
  session->window_bytes -= found->second;
  session->in_window.erase(found);
}

void Connection::Loop::drain_socket() {
  runtime::Received received;
  for (int i = 0; i < kReceiveBurst && socket_->receive(received); i++) {
    auto decoded = received.frames <= 2 ? proto::decode(received.header, received.payload)
                                        : Result<proto::Decoded>(Error{Code::kBadFrame, "frames"});
    // What does not decode counts as lost: the sequence shows the gap and the link is made anew.
    if (decoded) feed(Received{std::move(*decoded)});
  }
}

// Actions may cause events and so further actions, at the end of the list.
void Connection::Loop::perform_all() {
  while (!actions_.empty()) {
    Actions actions;
    actions.swap(actions_);
    for (auto& action : actions) {
      std::visit([this](auto& a) { perform(a); }, action);
    }
    pull();
  }
}

void Connection::Loop::perform(OpenSocket&) {
  if (socket_) loop_.remove_socket(*socket_);
  socket_ = std::make_unique<runtime::Socket>(*context_, runtime::Socket::Kind::kDealer);
  loop_.add_socket(*socket_, [this] { drain_socket(); });
  if (auto status = socket_->connect(endpoint_); !status) {
    Rejected rejected{status.error()};
    perform(rejected);
  }
}

void Connection::Loop::perform(Send& send) {
  if (send.envelope.link == failed_link_) return;
  auto header = proto::encode(send.envelope, send.message);
  if (socket_->send("", header, proto::payload_of(send.message)) == runtime::Sent::kYes) return;
  failed_link_ = send.envelope.link;
  feed(SendFailed{});
}

void Connection::Loop::perform(Answer& answer) {
  auto found = replies_.find(answer.ticket);
  if (found == replies_.end()) return;
  auto reply = std::move(found->second);
  replies_.erase(found);
  reply(std::move(answer.result));
}

SessionListener* Connection::Loop::listener_of(proto::SessionUid uid) {
  auto found = sessions_.find(uid);
  if (found == sessions_.end()) return nullptr;
  ready_.insert(uid);  // what it hears may give it something to submit
  return found->second.listener.get();
}

void Connection::Loop::perform(Submitted& submitted) {
  left_window(submitted.uid, submitted.ticket);
  if (auto listener = listener_of(submitted.uid)) {
    listener->on_submitted(submitted.ticket, submitted.run, submitted.level);
  }
}
void Connection::Loop::perform(SubmitFailed& failed) {
  left_window(failed.uid, failed.ticket);
  if (auto listener = listener_of(failed.uid))
    listener->on_submit_failed(failed.ticket, failed.error);
}
void Connection::Loop::perform(Deliver& deliver) {
  auto uid = deliver.results.uid;
  auto index = deliver.results.index;
  auto listener = listener_of(uid);
  if (listener != nullptr && listener->on_results(std::move(deliver.results))) {
    feed(Consumed{uid, index + 1});
  }
}
void Connection::Loop::perform(Trimmed& trimmed) {
  if (auto listener = listener_of(trimmed.uid)) listener->on_trimmed(trimmed.from, trimmed.to);
}
void Connection::Loop::perform(WatchFailed& failed) {
  if (auto listener = listener_of(failed.uid)) listener->on_watch_failed(failed.error);
}
void Connection::Loop::perform(Changed& changed) {
  if (auto listener = listener_of(changed.change.uid)) listener->on_changed(changed.change);
}
void Connection::Loop::perform(Progressed& progressed) {
  const auto& progress = progressed.progress;
  if (auto listener = listener_of(progress.uid)) listener->on_progress(progress);
}
void Connection::Loop::perform(Lost& lost) {
  if (auto listener = listener_of(lost.uid)) listener->on_lost(lost.run);
}

void Connection::Loop::perform(LinkUp& link) {
  std::lock_guard lock(state_mutex_);
  up_ = true;
  welcome_ = link.welcome;
  state_changed_.notify_all();
}
void Connection::Loop::perform(LinkDown&) {
  std::lock_guard lock(state_mutex_);
  up_ = false;
}
void Connection::Loop::perform(Rejected& rejected) {
  std::lock_guard lock(state_mutex_);
  rejection_ = rejected.error;
  state_changed_.notify_all();
}
void Connection::Loop::perform(Waiting& waiting) {
  if (on_waiting_) on_waiting_(waiting.reason);
}

// ---- the face
// -------------------------------------------------------------------------------------------

Connection::Connection(std::string endpoint, std::string cluster)
    : loop_(std::make_unique<Loop>(std::move(endpoint), std::move(cluster))) {}
Connection::~Connection() = default;

Result<proto::Welcome> Connection::wait_until_up(uint64_t timeout_ms) {
  return loop_->wait_until_up(timeout_ms);
}
const std::string& Connection::endpoint() const { return loop_->endpoint(); }
void Connection::on_waiting(std::function<void(const Error&)> listener) {
  post([this, listener = std::move(listener)] { loop_->on_waiting(listener); });
}

namespace {
int64_t timeout_us(uint64_t timeout_ms) {
  return timeout_ms >= static_cast<uint64_t>(kNever / proto::kUsPerMs)
             ? kNever
             : static_cast<int64_t>(timeout_ms) * proto::kUsPerMs;
}
}  // namespace

Result<proto::Message> Connection::request(proto::Message message, uint64_t timeout_ms) {
  auto promise = std::make_shared<std::promise<Result<proto::Message>>>();
  auto answer = promise->get_future();
  post(
      [this, promise, event = Request{0, std::move(message), timeout_us(timeout_ms), true, false}] {
        loop_->request(event,
                       [promise](Result<proto::Message> r) { promise->set_value(std::move(r)); });
      });
  return answer.get();
}

Result<Connection::Opened> Connection::create_session(proto::CreateSession message,
                                                      std::shared_ptr<SessionListener> listener,
                                                      uint64_t timeout_ms) {
  bool drawn = message.session.empty();
  if (drawn) message.session = message.spec.application + "-" + runtime::random_letters(6);
  auto promise = std::make_shared<std::promise<Result<Opened>>>();
  auto answer = promise->get_future();
  Request event{0, std::move(message), timeout_us(timeout_ms), true, drawn};
  post([this, promise, listener = std::move(listener), event = std::move(event)] {
    loop_->open(event, listener, [promise](Result<Opened> r) { promise->set_value(std::move(r)); });
  });
  return answer.get();
}

Result<Connection::Opened> Connection::open_session(const std::string& session,
                                                    std::shared_ptr<SessionListener> listener,
                                                    uint64_t timeout_ms) {
  auto promise = std::make_shared<std::promise<Result<Opened>>>();
  auto answer = promise->get_future();
  Request event{0, proto::OpenSession{0, session}, timeout_us(timeout_ms), true, false};
  post([this, promise, listener = std::move(listener), event = std::move(event)] {
    loop_->open(event, listener, [promise](Result<Opened> r) { promise->set_value(std::move(r)); });
  });
  return answer.get();
}

void Connection::wake(proto::SessionUid uid) { loop_->wake(uid); }
void Connection::watch(proto::SessionUid uid, uint64_t index, const std::string& reader,
                       const std::string& lineage) {
  post([this, event = WatchFrom{uid, index, reader, lineage}] { loop_->feed(event); });
}
void Connection::consumed(proto::SessionUid uid, uint64_t index) {
  post([this, uid, index] { loop_->feed(Consumed{uid, index}); });
}
void Connection::detach(proto::SessionUid uid) {
  post([this, uid] { loop_->detach(uid); });
}
void Connection::post(std::function<void()> work) { loop_->post(std::move(work)); }

}  // namespace flame::client

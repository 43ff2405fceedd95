// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The client of the kill tests: submits all the time and receives all the time, on one thread,
// until the file
// `--until` exists and at least `--tasks` were submitted; then it waits for the last result and
// closes the session. Killed and started again with the same journal it goes on as the same client:
// same id, next submit, next result.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "client/cpp/src/core/client_core.hpp"
#include "proto/codec.hpp"
#include "proto/elements.hpp"
#include "runtime/clock.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/socket.hpp"
#include "tests/kill/journal.hpp"
#include "tests/kill/workload.hpp"

namespace flame::tests {

using namespace flame::client;

namespace {

// Enough that something always waits, and little enough that the end is near when the kills are
// over.
constexpr uint64_t kTasksAhead = 6'000;
constexpr int64_t kLookUs = 50'000;
constexpr Ticket kOpenTicket = 1, kCloseTicket = 2;

struct Options {
  std::string endpoint, client, session, application, common, journal, until;
  uint64_t tasks = 0, seed = 0;
  uint64_t loss = 0;  ///< 1: acknowledged tasks may be reported as lost
  uint64_t durability = static_cast<uint64_t>(proto::Durability::kStored);
};

class KillClient {
 public:
  explicit KillClient(const Options& options)
      : options_(options),
        journal_(options.journal),
        core_({options.client, options.endpoint, "", FLAME_VERSION,
               static_cast<uint32_t>(runtime::random_u64()) | 1u}) {}

  int run() {
    proto::CreateSession create;
    create.session = options_.session;
    create.open_or_create = true;
    create.spec.application = options_.application;
    create.spec.durability = static_cast<proto::Durability>(options_.durability);
    create.payload = proto::Bytes::own(std::string(options_.common));
    feed(Request{kOpenTicket, create});
    while (!over_) {
      if (core_.next_deadline() <= loop_.now().mono_us) feed(Tick{});
      submit();
      perform_all();
      close_when_done();
      perform_all();
      int64_t rest = core_.next_deadline() - loop_.now().mono_us;
      loop_.turn(std::clamp<int64_t>(rest, 0, kLookUs));
    }
    if (socket_) loop_.remove_socket(*socket_);
    return failed_ ? 1 : 0;
  }

 private:
  void feed(Event event) { core_.on(std::move(event), loop_.now(), actions_); }
  void say(const std::string& line) { journal_.add(line); }
  void wrong(const std::string& what) {
    say("X " + what);
    journal_.flush();
    std::fprintf(stderr, "kill_client: %s\n", what.c_str());
    failed_ = over_ = true;
  }

  void submit() {
    if (uid_ == 0 || closing_) return;
    // First what an earlier process may have sent without hearing the answer, under the same
    // numbers.
    bool again = next_ <= journal_.submitted;
    while (core_.has_room(uid_) && (again || wants_more())) {
      Load load = load_of(options_.seed, next_);
      if (!again) say("S " + std::to_string(next_) + " " + std::to_string(load.count));
      feed(SubmitRun{uid_, next_++, load.count, 0, proto::Bytes::own(std::move(load.payload))});
      again = next_ <= journal_.submitted;
    }
  }

  bool wants_more() {
    bool ahead = journal_.tasks_submitted >= journal_.tasks_received + kTasksAhead;
    return !ahead &&
           !(journal_.tasks_submitted >= options_.tasks && std::filesystem::exists(options_.until));
  }

  void close_when_done() {
    if (uid_ == 0 || closing_ || next_ <= journal_.submitted || wants_more()) return;
    if (journal_.acknowledged < journal_.submitted ||
        journal_.tasks_received < journal_.tasks_submitted)
      return;
    closing_ = true;
    feed(Request{kCloseTicket, proto::CloseSession{0, options_.session}});
  }

  // The journal is written before anything leaves: what it does not say has not happened.
  void perform_all() {
    journal_.flush();
    while (!actions_.empty()) {
      Actions actions;
      actions.swap(actions_);
      for (auto& action : actions) std::visit([this](auto& a) { perform(a); }, action);
      journal_.flush();
    }
  }

  void perform(OpenSocket&) {
    if (socket_) loop_.remove_socket(*socket_);
    socket_ = std::make_unique<runtime::Socket>(context_, runtime::Socket::Kind::kDealer);
    loop_.add_socket(*socket_, [this] { drain(); });
    if (auto status = socket_->connect(options_.endpoint); !status) wrong(status.error().message);
  }
  void perform(Send& send) {
    if (send.envelope.link == failed_link_) return;
    auto header = proto::encode(send.envelope, send.message);
    if (socket_->send("", header, proto::payload_of(send.message)) == runtime::Sent::kYes) return;
    failed_link_ = send.envelope.link;
    feed(SendFailed{});
  }
  void perform(Answer& answer) {
    if (!answer.result) return wrong("refused: " + answer.result.error().message);
    auto info = std::get_if<proto::SessionInfo>(&*answer.result);
    if (info == nullptr) return wrong("the answer is no session");
    if (answer.ticket == kCloseTicket) return closed(*info);
    uid_ = info->uid;
    if (info->last_submit < journal_.acknowledged)
      return wrong("an acknowledged submit is forgotten");
    if (info->last_submit > journal_.submitted)
      return wrong("a submit is known that was never sent");
    proto::SessionInfo known = *info;
    known.last_submit = journal_.acknowledged;
    next_ = journal_.acknowledged + 1;
    feed(Attach{known});
    feed(
        WatchFrom{uid_, journal_.next_index, "", journal_.next_index == 0 ? "" : journal_.lineage});
  }
  void closed(const proto::SessionInfo& info) {
    say("Z " + std::to_string(info.counters.tasks));
    over_ = true;
  }
  void perform(Submitted& s) {
    say("A " + std::to_string(s.ticket) + " " + std::to_string(s.run.first) + " " +
        std::to_string(s.run.count));
  }
  void perform(SubmitFailed& failed) {
    wrong("submit " + std::to_string(failed.ticket) + " failed: " + failed.error.message);
  }

  void perform(Deliver& deliver) {
    const proto::Results& r = deliver.results;
    std::string line = "R " + std::to_string(r.index) + " " + std::to_string(r.run.first) + " " +
                       std::to_string(r.run.count) + " " + std::to_string(r.attempt) + " " +
                       r.executor + " |";
    std::map<proto::TaskId, proto::Code> failed;
    for (const auto& exception : r.exceptions) failed[exception.id] = exception.code;
    proto::ElementReader outputs(r.payload.view());
    for (proto::TaskId id = r.run.first; id < r.run.end(); id++) {
      auto output = outputs.next();
      auto code = failed.find(id);
      line += " " + (code != failed.end() ? "!" + std::string(proto::name_of(code->second))
                     : output             ? std::string(*output)
                                          : "!missing");
    }
    say(line);
    feed(Consumed{r.uid, r.index + 1});
  }

  void perform(Trimmed& t) { wrong("results were trimmed from " + std::to_string(t.from)); }
  void perform(WatchFailed& failed) { wrong("watch failed: " + failed.error.message); }
  void perform(Changed&) {}
  void perform(Progressed&) {}
  void perform(Lost& lost) {
    if (options_.loss == 0) return wrong("acknowledged tasks are lost: " + to_string(lost.run));
    say("L " + std::to_string(lost.run.first) + " " + std::to_string(lost.run.count));
  }
  void perform(LinkUp& link) { say("U " + link.welcome.lineage + " " + link.welcome.epoch); }
  void perform(Waiting&) {}
  void perform(LinkDown& link) { say("D " + link.reason); }
  void perform(Rejected& rejected) { wrong("rejected: " + rejected.error.message); }

  void drain() {
    runtime::Received received;
    for (int i = 0; i < 256 && socket_->receive(received); i++) {
      auto decoded = proto::decode(received.header, received.payload);
      if (!decoded) return wrong("a message does not decode: " + decoded.error().message);
      feed(client::Received{std::move(*decoded)});
    }
  }

  Options options_;
  Journal journal_;
  runtime::EventLoop loop_;
  runtime::SocketContext context_;
  std::unique_ptr<runtime::Socket> socket_;
  ClientCore core_;
  Actions actions_;
  uint32_t failed_link_ = 0;
  proto::SessionUid uid_ = 0;
  uint64_t next_ = 1;  ///< number of the next submit
  bool closing_ = false, over_ = false, failed_ = false;
};

bool read(int argc, char** argv, Options& o) {
  std::map<std::string, std::string*> texts = {
      {"--endpoint", &o.endpoint}, {"--client", &o.client},
      {"--session", &o.session},   {"--application", &o.application},
      {"--common", &o.common},     {"--journal", &o.journal},
      {"--until", &o.until}};
  std::map<std::string, uint64_t*> numbers = {{"--tasks", &o.tasks},
                                              {"--seed", &o.seed},
                                              {"--loss", &o.loss},
                                              {"--durability", &o.durability}};
  for (int i = 1; i + 1 < argc; i += 2) {
    if (auto text = texts.find(argv[i]); text != texts.end()) {
      *text->second = argv[i + 1];
    } else if (auto number = numbers.find(argv[i]); number != numbers.end()) {
      *number->second = std::strtoull(argv[i + 1], nullptr, 10);
    } else {
      return false;
    }
  }
  return argc % 2 == 1 && !o.endpoint.empty() && !o.journal.empty() && !o.session.empty();
}

}  // namespace

}  // namespace flame::tests

int main(int argc, char** argv) {
  flame::tests::Options options;
  if (!flame::tests::read(argc, argv, options)) {
    std::fprintf(stderr, "kill_client: started by tests/kill/kill.py; see there\n");
    return 2;
  }
  try {
    return flame::tests::KillClient(options).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kill_client: %s\n", error.what());
    return 1;
  }
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/client_node.hpp"

#include <algorithm>

#include "proto/codec.hpp"
#include "proto/elements.hpp"
#include "proto/rows.hpp"

namespace flame::sim {

using proto::Code;

namespace {
/// After a change without an answer: the application has no version, and a request that is still on
/// its way would undo a newer one.
constexpr int64_t kChangePauseUs = proto::kUsPerSecond;
}  // namespace

bool ClientNode::Job::done() const {
  if (step == Step::kGone) return true;
  if (step != Step::kOpen || !tickets.empty() || following != 0 || reading || viewing) return false;
  if (!finished_submits()) return false;
  if (plan.deletes) return false;  // gone is its end
  return !(plan.closes || plan.closes_early) || end == End::kClosed;
}

ClientNode::ClientNode(Cluster cluster, Checker& checker, std::string name,
                       std::vector<JobPlan> plans)
    : cluster_(cluster),
      checker_(checker),
      name_(std::move(name)),
      wire_(&cluster.network.make_wire(broker::Port::kClients, name_, *this)) {
  for (auto& plan : plans) jobs_.push_back({std::move(plan)});
}

void ClientNode::start() {
  if (alive()) return;
  cluster_.world.say(name_, "starts");
  life_++;
  if (id_.empty()) id_ = name_ + "-" + std::to_string(cluster_.world.rng().next());
  client::ClientConfig config;
  config.client = id_;
  config.cluster = "sim";
  config.first_link = static_cast<uint32_t>(cluster_.world.rng().next()) | 1u;
  core_ = std::make_unique<client::ClientCore>(std::move(config));
  feed(client::Tick{});
  for (size_t i = 0; i < jobs_.size(); i++) {
    if (jobs_[i].step != Step::kGone) pump_later(i, jobs_[i].plan.start_us);
  }
}

void ClientNode::crash(bool new_id) {
  if (!alive()) return;
  cluster_.world.say(name_, "ends");
  checker_.watches_no_more(watcher());
  life_++;
  core_.reset();
  actions_.clear();
  asked_.clear();
  next_tick_us_ = INT64_MAX;
  tick_number_++;
  wire_->close();
  if (new_id) id_.clear();
  for (auto& job : jobs_) {
    job.tickets.clear();  // unknown from now on
    if (job.step != Step::kGone) job.step = Step::kIdle;
    if (job.changing) job.next_change_us = cluster_.world.now_us() + kChangePauseUs;
    job.watching = job.cancelling = job.updating = job.changing = false;
    job.questioned.reset();
    job.reading.reset();
    job.viewing.reset();
    job.common_version = job.following = 0;
    if (job.end != Job::End::kClosed) job.end = Job::End::kNot;
  }
}

bool ClientNode::done() const {
  return alive() && std::all_of(jobs_.begin(), jobs_.end(), [this](const Job& job) {
           if (!job.done()) return false;
           return job.step == Step::kGone || !job.plan.watches || !job.watching ||
                  has_all_entries(job);
         });
}

// Entries of a `memory` session may have ended with the broker that delivered them.
bool ClientNode::has_all_entries(const Job& job) const {
  return checker_.forgives(job.uid) || job.next >= checker_.entries_end(job.uid);
}

std::string ClientNode::unfinished() const {
  std::string text;
  for (const auto& job : jobs_) {
    if (job.done() && has_all_entries(job)) continue;
    text += " " + name_ + "/" + job.plan.session + " step " +
            std::to_string(static_cast<int>(job.step)) + " end " +
            std::to_string(static_cast<int>(job.end)) + " submitted " +
            std::to_string(job.submitted) + "/" + std::to_string(job.plan.tasks) + " unanswered " +
            std::to_string(job.tickets.size()) + " entry " + std::to_string(job.next) + "/" +
            std::to_string(checker_.entries_end(job.uid)) + ";";
  }
  return text;
}

void ClientNode::recover() {
  if (alive()) ask(0, Ask::kLook, proto::Recover{0, true});
}

void ClientNode::receive(const proto::Envelope& envelope, const proto::Message& message) {
  if (alive()) feed(client::Received{{envelope, message}});
}

// ---- the loop
// -------------------------------------------------------------------------------------------

// What an action leads to is fed at once, and its actions are performed after those that stand
// already: a message must not overtake another one of its link.
void ClientNode::feed(client::Event event) {
  core_->on(std::move(event), cluster_.world.now(), actions_);
  if (performing_) return;
  performing_ = true;
  uint64_t life = life_;
  bool failed = false;
  for (size_t i = 0; i < actions_.size() || failed; i++) {
    if (i == actions_.size()) {
      failed = false;
      core_->on(client::SendFailed{}, cluster_.world.now(), actions_);
      i--;
      continue;
    }
    client::Action action = std::move(actions_[i]);
    auto send = std::get_if<client::Send>(&action);
    if (send == nullptr) {
      perform(action);
    } else if (!failed) {
      failed = !wire_->send(send->envelope, send->message);
    }
    if (life != life_) break;
  }
  performing_ = false;
  actions_.clear();
  if (alive()) tick_at(core_->next_deadline());
}

void ClientNode::tick_at(int64_t us) {
  if (us == client::kNever || us >= next_tick_us_) return;
  next_tick_us_ = std::max(us, cluster_.world.now_us() + 1);
  cluster_.world.at(next_tick_us_, [this, number = ++tick_number_] {
    if (!alive() || number != tick_number_) return;
    next_tick_us_ = INT64_MAX;
    feed(client::Tick{});
  });
}

ClientNode::Job* ClientNode::job_of(proto::SessionUid uid) {
  for (auto& job : jobs_) {
    if (job.uid == uid && job.step == Step::kOpen) return &job;
  }
  return nullptr;
}

void ClientNode::perform(client::Action& action) {
  using namespace client;
  if (std::holds_alternative<OpenSocket>(action)) {
    wire_->open();
  } else if (auto answer = std::get_if<Answer>(&action)) {
    perform(*answer);
  } else if (auto submitted = std::get_if<Submitted>(&action)) {
    Job* job = job_of(submitted->uid);
    if (job == nullptr) return;
    auto numbers = job->tickets.extract(submitted->ticket);
    if (!numbers.empty()) checker_.acknowledged(submitted->uid, submitted->run, numbers.mapped());
    job->last = std::max(job->last, submitted->run.last());
    pump_later(static_cast<size_t>(job - jobs_.data()), 0);
  } else if (auto failed = std::get_if<SubmitFailed>(&action)) {
    Job* job = job_of(failed->uid);
    if (job == nullptr) return;
    job->tickets.erase(failed->ticket);
    job->refused = true;
    pump_later(static_cast<size_t>(job - jobs_.data()), 0);
    bool fine = failed->error.code == Code::kWrongState || failed->error.code == Code::kGone ||
                failed->error.code == Code::kNotFound;
    if (!fine) cluster_.world.fail(name_ + ": a submit was refused: " + failed->error.message);
  } else if (auto delivered = std::get_if<Deliver>(&action)) {
    deliver(delivered->results);
  } else if (auto progressed = std::get_if<Progressed>(&action)) {
    Job* job = job_of(progressed->progress.uid);
    if (job != nullptr) checker_.told(watcher(), progressed->progress, job->next);
  } else if (auto trimmed = std::get_if<Trimmed>(&action)) {
    Job* job = job_of(trimmed->uid);
    if (job == nullptr) return;
    // Those of a `memory` session are counted anew by another broker.
    if (trimmed->to > checker_.entries_end(trimmed->uid) && !checker_.forgives(trimmed->uid)) {
      cluster_.world.fail(name_ + ": entries were dropped that nobody has read");
    }
    job->next = job->consumed = trimmed->to;
  } else if (auto failed_watch = std::get_if<WatchFailed>(&action)) {
    Job* job = job_of(failed_watch->uid);
    if (job == nullptr) return;
    Code code = failed_watch->error.code;
    if (code == Code::kGone || code == Code::kNotFound) return gone(*job);
    job->watching = false;
    // The results of a `memory` session went with its broker, and this cursor was written down
    // before.
    if (code == Code::kBadRequest && checker_.forgives(job->uid))
      job->consumed = 0, code = Code::kLostLineage;
    if (code == Code::kLostLineage) return watch(*job);
    cluster_.world.fail(name_ + ": a watch failed: " + failed_watch->error.message);
  } else if (auto up = std::get_if<LinkUp>(&action)) {
    serving_ = up->welcome.serving;
  } else if (auto lost = std::get_if<Lost>(&action)) {
    if (!serving_) cluster_.world.fail(name_ + ": told of a loss that nobody has accepted yet");
    checker_.told_lost(lost->uid, lost->run);
  } else if (auto rejected = std::get_if<Rejected>(&action)) {
    cluster_.world.fail(name_ + ": rejected: " + rejected->error.message);
  } else if (auto down = std::get_if<LinkDown>(&action)) {
    cluster_.world.say(name_, "link down: " + down->reason);
  }
}

void ClientNode::deliver(const proto::Results& results) {
  Job* job = job_of(results.uid);
  if (job == nullptr) return;
  if (results.index != job->next && !checker_.forgives(results.uid)) {
    return cluster_.world.fail(name_ + ": got entry " + std::to_string(results.index) +
                               " instead of " + std::to_string(job->next));
  }
  job->next = results.index + 1;
  checker_.delivered(name_, results);
  bool slow = cluster_.world.rng().chance(0.05);
  int64_t used_us = cluster_.world.rng().between(0, slow ? 300'000 : 200);
  cluster_.world.after(used_us, [this, life = life_, uid = results.uid, next = results.index + 1] {
    Job* of = life == life_ ? job_of(uid) : nullptr;
    if (of == nullptr) return;
    of->consumed = std::max(of->consumed, next);
    feed(client::Consumed{uid, of->consumed});
  });
}

// ---- the program
// ----------------------------------------------------------------------------------------

void ClientNode::ask(size_t index, Ask what, proto::Message message) {
  client::Ticket ticket = next_ticket_++;
  asked_[ticket] = {index, what};
  feed(client::Request{ticket, std::move(message)});
}

void ClientNode::perform(client::Answer& answer) {
  auto asked = asked_.extract(answer.ticket);
  if (asked.empty()) return;
  auto [index, what] = asked.mapped();
  Job& job = jobs_[index];
  // An executor that is unknown or on its way out, or no victim: all of that is fine.
  if (what == Ask::kLook || what == Ask::kHold) return;
  // Its session may be over, or its tasks gone with a store that forgot; others look at that.
  if (what == Ask::kCancel) {
    job.cancelling = false;
    auto ended = answer.result ? std::get_if<proto::Cancelled>(&*answer.result) : nullptr;
    if (ended == nullptr || ended->pending + ended->running == 0) return;
    return checker_.happened(ended->uid, "cancelled",
                             std::to_string(ended->pending) + " pending, " +
                                 std::to_string(ended->running) + " running");
  }
  if (what == Ask::kTasks) {
    if (answer.result) {
      if (auto tasks = std::get_if<proto::Tasks>(&*answer.result))
        checker_.listed(watcher(), job.uid, *tasks, *job.questioned);
    }
    job.questioned.reset();
    return;
  }
  if (what == Ask::kFollow) return followed(index, answer);
  if (what == Ask::kChange) return changed(job, answer);
  if (what == Ask::kLogs || what == Ask::kView) return read(job, answer, what);
  if (what == Ask::kUpdate || what == Ask::kCommon) return updated(job, answer, what);
  if (!answer.result) {
    Code code = answer.result.error().code;
    cluster_.world.say(name_, "refused: " + answer.result.error().message);
    bool ended = code == Code::kGone || code == Code::kNotFound;
    if (ended || (what == Ask::kCreate && code == Code::kWrongState)) return gone(job);
    if (what == Ask::kCreate) job.step = Step::kIdle;
    job.end = Job::End::kNot;
    if (proto::row_of(code).retry == proto::Retry::kNo) {
      return cluster_.world.fail(name_ +
                                 ": a request was refused: " + answer.result.error().message);
    }
    return pump_later(index, 100'000);
  }
  if (what == Ask::kDelete) {
    checker_.deleted(job.uid);
    return gone(job);
  }
  auto info = std::get_if<proto::SessionInfo>(&*answer.result);
  if (info == nullptr) return cluster_.world.fail(name_ + ": an answer of another kind");
  if (what == Ask::kCreate) return opened(index, *info);
  if (what == Ask::kClose) checker_.happened(info->uid, "closing", "");
  if (what == Ask::kWait && info->state != proto::SessionState::kClosed) {
    return cluster_.world.fail(name_ + ": waited for the end of " + info->session +
                               ", which is not closed");
  }
  job.end = what == Ask::kWait ? Job::End::kClosed : Job::End::kWaiting;
  pump_later(index, 0);
}

void ClientNode::opened(size_t index, const proto::SessionInfo& info) {
  Job& job = jobs_[index];
  if (job.uid != info.uid) job.consumed = job.next = 0;
  job.uid = info.uid;
  job.step = Step::kOpen;
  checker_.session(info.uid, info.session, info.spec);
  checker_.happened(info.uid, "created", "by ");
  feed(client::Attach{info});
  watch(job);
  pump_later(index, 0);
}

void ClientNode::watch(Job& job) {
  if (!job.plan.watches) return;
  job.next = job.consumed;
  job.watching = true;
  checker_.watches(watcher(), job.uid);
  feed(client::WatchFrom{job.uid, job.consumed, job.plan.reader, ""});
}

void ClientNode::gone(Job& job) {
  if (job.uid != 0) checker_.deleted(job.uid);
  job.step = Step::kGone;
  job.tickets.clear();
}

void ClientNode::pump_later(size_t index, int64_t us) {
  cluster_.world.after(us, [this, life = life_, index] {
    if (life == life_) pump(index);
  });
}

void ClientNode::pump(size_t index) {
  Job& job = jobs_[index];
  if (job.step == Step::kIdle) return create(index);
  if (job.step != Step::kOpen) return;
  submit(index);
  if (job.step == Step::kOpen) cancel(index);
  if (job.step == Step::kOpen) question(index);
  if (job.step == Step::kOpen && job.plan.updates > 0) update(index);
  if (job.step == Step::kOpen && job.plan.follows > 0 && job.following == 0 && job.last > 0 &&
      cluster_.world.rng().chance(job.plan.follows)) {
    job.following = 1 + cluster_.world.rng().below(job.last);
    follow(index, "");
  }
  if (job.step == Step::kOpen && job.plan.holds > 0) hold(index);
  if (job.step == Step::kOpen && job.plan.changes > 0) change(index);
  if (job.step == Step::kOpen && job.plan.reads > 0) read_logs(index);
  if (job.step == Step::kOpen && job.plan.reads > 0) view(index);
  if (job.step == Step::kOpen) end(index);
}

void ClientNode::create(size_t index) {
  Job& job = jobs_[index];
  job.step = Step::kCreating;
  // A session that this program has closed is not made again.
  bool again = job.uid != 0 || job.end == Job::End::kClosed;
  if (again) return ask(index, Ask::kCreate, proto::OpenSession{0, job.plan.session});
  ask(index, Ask::kCreate,
      proto::CreateSession{0, job.plan.session, true, job.plan.spec, proto::Bytes::copy("common")});
}

void ClientNode::submit(size_t index) {
  Job& job = jobs_[index];
  Rng& rng = cluster_.world.rng();
  while (!job.finished_submits() && core_->has_room(job.uid)) {
    if (cluster_.world.now_us() < job.next_submit_us) {
      return pump_later(index, job.next_submit_us - cluster_.world.now_us());
    }
    uint64_t count =
        std::min(job.plan.tasks - job.submitted, 1 + rng.below(job.plan.run_tasks_max));
    std::string payload;
    std::vector<uint64_t> numbers;
    for (uint64_t i = 0; i < count; i++) {
      Task task;
      task.number = checker_.attempt(job.uid);
      task.common = job.serial_known;
      task.application = checker_.serial_of(job.plan.spec.application);
      task.run_us = static_cast<uint64_t>(rng.between(0, job.plan.run_us_max));
      if (job.plan.lasting > 0 && rng.chance(job.plan.lasting)) {
        task.run_us = static_cast<uint64_t>(rng.between(1'000'000, 9'000'000));
      }
      task.kind = rng.chance(job.plan.poison) ? 'p' : rng.chance(job.plan.failing) ? 'f' : 'n';
      proto::append_element(payload, task.text());
      numbers.push_back(task.number);
    }
    job.submitted += count;
    client::Ticket ticket = next_ticket_++;
    job.tickets[ticket] = std::move(numbers);
    bool pauses = rng.chance(0.3);
    if (pauses)
      job.next_submit_us = cluster_.world.now_us() + rng.between(0, job.plan.pause_us_max);
    feed(client::SubmitRun{job.uid, ticket, count, 0, proto::Bytes::own(std::move(payload))});
    if (job.step != Step::kOpen) return;
  }
}

void ClientNode::cancel(size_t index) {
  Job& job = jobs_[index];
  Rng& rng = cluster_.world.rng();
  if (job.plan.cancels == 0 || job.cancelling || job.last == 0 || !rng.chance(job.plan.cancels))
    return;
  proto::CancelTasks message{0, job.plan.session, {}, rng.chance(0.6)};
  for (uint64_t i = rng.chance(0.2) ? 0 : 1 + rng.below(4); i > 0; i--) {
    proto::TaskId first = 1 + rng.below(job.last);
    message.runs.push_back({first, 1 + rng.below(std::min<uint64_t>(job.last - first + 1, 50))});
  }
  checker_.may_cancel(job.uid);
  job.cancelling = true;
  ask(index, Ask::kCancel, std::move(message));
}

void ClientNode::question(size_t index) {
  Job& job = jobs_[index];
  Rng& rng = cluster_.world.rng();
  if (job.questioned || job.last == 0 || !rng.chance(0.02)) return;
  proto::GetTasks message{0,  job.plan.session, 1 + rng.below(job.last), rng.below(100),
                          "", rng.chance(0.5)};
  if (rng.chance(0.3)) message.states = rng.chance(0.5) ? "SF" : "PRC";
  job.questioned = job.next;
  ask(index, Ask::kTasks, std::move(message));
}

// Another version than it knows: somebody else's, or its own of an earlier life.
void ClientNode::update(size_t index) {
  Job& job = jobs_[index];
  if (job.updating || !cluster_.world.rng().chance(job.plan.updates)) return;
  job.updating = true;
  if (job.common_version == 0)
    return ask(index, Ask::kCommon, proto::GetCommon{0, job.plan.session});
  ask(index, Ask::kUpdate,
      proto::UpdateCommon{0, job.plan.session, job.common_version,
                          proto::Bytes::own(common_text(++job.serial))});
}

void ClientNode::read_logs(size_t index) {
  Job& job = jobs_[index];
  Rng& rng = cluster_.world.rng();
  if (job.reading || !rng.chance(job.plan.reads)) return;
  proto::TaskId task = rng.chance(0.7) ? 0 : rng.below(job.last + 1);
  job.reading = checker_.talk().asks(job.uid, task);
  job.reading_us = cluster_.world.now_us();
  ask(index, Ask::kLogs, proto::GetLogs{0, job.plan.session, task});
}

void ClientNode::view(size_t index) {
  Job& job = jobs_[index];
  if (job.viewing || !cluster_.world.rng().chance(job.plan.reads)) return;
  job.viewing = checker_.facts(job.uid);
  ask(index, Ask::kView, proto::View{0, "session", job.plan.session});
}

void ClientNode::read(Job& job, const client::Answer& answer, Ask what) {
  if (what == Ask::kLogs) {
    auto question = std::exchange(job.reading, std::nullopt);
    auto logs = answer.result ? std::get_if<proto::Logs>(&*answer.result) : nullptr;
    if (logs != nullptr) checker_.read_logs(*question, *logs, job.reading_us);
    return;
  }
  auto known = std::exchange(job.viewing, std::nullopt);
  auto listing = answer.result ? std::get_if<proto::Listing>(&*answer.result) : nullptr;
  if (listing == nullptr) return;  // the session is over
  auto rows = proto::decode_rows(listing->payload.view());
  if (!rows || rows->size() != 1) return cluster_.world.fail(name_ + ": a view without its row");
  checker_.viewed(job.uid, rows->front(), *known);
}

void ClientNode::hold(size_t index) {
  const JobPlan& plan = jobs_[index].plan;
  Rng& rng = cluster_.world.rng();
  if (plan.executors < 2 || !rng.chance(plan.holds)) return;
  if (rng.chance(0.3)) {
    return ask(index, Ask::kHold,
               proto::PickVictims{0,
                                  rng.chance(0.5) ? "flmping" : "",
                                  1,
                                  0,
                                  {"executor-1", "executor-2", "executor-3", "executor-4"}});
  }
  std::string executor = "executor-" + std::to_string(1 + rng.below(plan.executors - 1));
  auto hold = static_cast<proto::Hold>(rng.below(3));
  // An operator's, or the autoscaler's.
  if (hold == proto::Hold::kCordoned && index % 2 == 1) hold = proto::Hold::kResting;
  ask(index, Ask::kHold, proto::HoldExecutor{0, executor, hold});
}

void ClientNode::change(size_t index) {
  Job& job = jobs_[index];
  Rng& rng = cluster_.world.rng();
  bool waits = job.changing || cluster_.world.now_us() < job.next_change_us;
  if (waits || !rng.chance(job.plan.changes)) return;
  proto::Map changes = changes_of(++job.changed);
  if (rng.chance(0.3))
    changes.emplace_back("max_instances", job.plan.instances_least + rng.below(4));
  if (rng.chance(0.2)) changes.emplace_back("max_instances", proto::Value());
  if (rng.chance(0.3)) changes.emplace_back("reuse", rng.chance(0.5) ? "always" : "never");
  job.changing = true;
  ask(index, Ask::kChange,
      proto::UpdateApplication{0, job.plan.spec.application, std::move(changes)});
}

void ClientNode::changed(Job& job, const client::Answer& answer) {
  job.changing = false;
  if (answer.result) return checker_.changed(job.plan.spec.application, job.changed);
  job.next_change_us = cluster_.world.now_us() + kChangePauseUs;
}

void ClientNode::updated(Job& job, const client::Answer& answer, Ask what) {
  job.updating = false;
  job.common_version = 0;
  auto common = answer.result ? std::get_if<proto::CommonData>(&*answer.result) : nullptr;
  if (common == nullptr) return;  // a conflict, or a session that is over
  job.common_version = common->version;
  if (what != Ask::kUpdate) return;
  job.serial_known = job.serial;
  checker_.happened(job.uid, "updated", "common data, version " + std::to_string(common->version));
}

// Whatever happens, the end of an acknowledged task is told to who waits for it.
void ClientNode::follow(size_t index, const std::string& known) {
  Job& job = jobs_[index];
  ask(index, Ask::kFollow, proto::WatchTask{0, job.plan.session, job.following, known, false});
}

void ClientNode::followed(size_t index, const client::Answer& answer) {
  Job& job = jobs_[index];
  proto::TaskId task = std::exchange(job.following, 0);
  if (!answer.result) return;
  auto tasks = std::get_if<proto::Tasks>(&*answer.result);
  if (tasks == nullptr) return cluster_.world.fail(name_ + ": an answer of another kind");
  checker_.listed(watcher(), job.uid, *tasks, job.next);
  proto::ElementReader elements(tasks->payload.view());
  auto element = elements.next();
  auto row = element ? proto::decode_value(*element) : proto::Error{Code::kBadFrame, "", 0};
  if (!row || row->number_at("id") != static_cast<int64_t>(task))
    return cluster_.world.fail(name_ + ": was told of another task than it follows");
  auto state = row->text_at("state");
  if (state != "Pending" && state != "Running") return;
  job.following = task;
  follow(index, std::string(row->text_at("version")));
}

void ClientNode::end(size_t index) {
  Job& job = jobs_[index];
  bool half = job.plan.closes_early && job.submitted * 2 >= job.plan.tasks;
  if (job.end == Job::End::kNot &&
      (half || (job.plan.closes && job.finished_submits() && job.tickets.empty()))) {
    job.end = Job::End::kClosing;
    checker_.may_cancel(job.uid);
    ask(index, Ask::kClose, proto::CloseSession{0, job.plan.session});
  } else if (job.end == Job::End::kWaiting) {
    job.end = Job::End::kClosing;
    ask(index, Ask::kWait, proto::WaitSession{0, job.plan.session, true});
  } else if (job.end == Job::End::kClosed && job.plan.deletes && job.tickets.empty()) {
    job.end = Job::End::kDeleting;
    ask(index, Ask::kDelete, proto::DeleteSession{0, job.plan.session, false});
  }
}

}  // namespace flame::sim

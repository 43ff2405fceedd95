// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/executor_node.hpp"

#include <algorithm>

#include "proto/elements.hpp"

namespace flame::sim {

namespace {
constexpr int64_t kExecutorTurnUs = 20;
/// A service answers at the latest after this much work, or at the end of a frame.
constexpr int64_t kGatherUs = 2'000;
/// What was said is heard then: executor and broker wait for progress_ms each.
constexpr int64_t kHeardUs = proto::kUsPerSecond;
}  // namespace

ExecutorNode::ExecutorNode(Cluster cluster, Checker& checker, ExecutorPlan plan)
    : cluster_(cluster),
      checker_(checker),
      plan_(std::move(plan)),
      wire_(&cluster.network.make_wire(broker::Port::kExecutors, plan_.id, *this)) {}

void ExecutorNode::start() {
  if (alive()) return;
  cluster_.world.say(plan_.id, "starts");
  checker_.talk().lives(plan_.id, ++life_);
  executor::Config config;
  config.id = plan_.id;
  config.nonce = std::to_string(cluster_.world.rng().next());
  config.application = plan_.application;
  config.slots = plan_.slots;
  config.first_link = static_cast<uint32_t>(cluster_.world.rng().next()) | 1u;
  config.address = "sim";
  config.provider = plan_.pod ? "pod sim/" + plan_.id + " 1" : "process 1";
  core_ = std::make_unique<executor::Core>(std::move(config), cluster_.world.now());
  logs_ = std::make_unique<executor::Logs>(plan_.id);
  wire_->open();
  turn_at(cluster_.world.now_us());
}

void ExecutorNode::crash() {
  if (!alive()) return;
  cluster_.world.say(plan_.id, "ends");
  checker_.executor_ended(plan_.id);
  checker_.talk().lives(plan_.id, 0);
  life_++;
  core_.reset();
  inbox_.clear();
  actions_.clear();
  services_.clear();
  refused_ = false;
  next_turn_us_ = INT64_MAX;
  turn_number_++;
  wire_->close();
}

void ExecutorNode::drain() {
  if (!alive()) return;
  cluster_.world.say(plan_.id, "drains");
  feed(executor::Terminate{});
}

void ExecutorNode::pause(int64_t us) {
  cluster_.world.say(plan_.id, "stands still for " + std::to_string(us) + " us");
  paused_until_us_ = cluster_.world.now_us() + us;
}

void ExecutorNode::receive(const proto::Envelope& envelope, const proto::Message& message) {
  if (alive()) feed(executor::Received{envelope, message});
}

void ExecutorNode::feed(executor::Event event) {
  inbox_.push_back(std::move(event));
  turn_at(cluster_.world.now_us() + kExecutorTurnUs);
}

void ExecutorNode::turn_at(int64_t us) {
  us = std::max({us, cluster_.world.now_us(), paused_until_us_});
  if (!alive() || us >= next_turn_us_) return;
  next_turn_us_ = us;
  cluster_.world.at(us, [this, number = ++turn_number_] {
    if (!alive() || number != turn_number_) return;
    next_turn_us_ = INT64_MAX;
    if (cluster_.world.now_us() < paused_until_us_) return turn_at(paused_until_us_);
    turn();
  });
}

void ExecutorNode::turn() {
  proto::Now now = cluster_.world.now();
  while (!inbox_.empty()) {
    core_->on(inbox_.front(), now, actions_);
    inbox_.pop_front();
  }
  core_->on(executor::TurnEnded{}, now, actions_);
  uint64_t life = life_;
  for (auto& action : std::exchange(actions_, {})) {
    perform(action);
    if (life != life_) return;
  }
  if (std::exchange(refused_, false)) core_->on(executor::SendRefused{}, now, actions_);
  turn_at(std::max(core_->next_deadline_us(), now.mono_us + 1));
}

void ExecutorNode::perform(executor::Action& action) {
  using namespace executor;
  if (auto send = std::get_if<Send>(&action)) {
    if (!wire_->send(send->envelope, send->message)) refused_ = true;
  } else if (std::holds_alternative<Reconnect>(action)) {
    wire_->open();
  } else if (auto start = std::get_if<Start>(&action)) {
    services_[start->instance].with.application = serial_of(start->application);
    bool dead = start->application.name == dead_application_;
    if (dead || cluster_.world.rng().chance(plan_.start_failure))
      exit(start->instance, "no such file", 100);
  } else if (auto entered = std::get_if<Enter>(&action)) {
    Service& service = services_[entered->instance];
    service.with.common = serial_of(entered->session.common.view());
    service.uid = entered->session.uid;
    write(entered->instance, service, 0);
    enter(entered->instance);
  } else if (auto invoke = std::get_if<Invoke>(&action)) {
    auto service = services_.find(invoke->instance);
    if (service == services_.end()) return;
    for (auto& frame : invoke->frames) service->second.frames.push_back(std::move(frame));
    work(invoke->instance);
  } else if (auto leave = std::get_if<Leave>(&action)) {
    yield(leave->instance, shims::Left{}, cluster_.world.rng().between(10, 2'000));
  } else if (auto stop = std::get_if<Stop>(&action)) {
    exit(stop->instance, "terminated", cluster_.world.rng().between(100, 50'000));
  } else if (auto kill = std::get_if<Kill>(&action)) {
    exit(kill->instance, "killed", 100);
  } else if (auto read = std::get_if<ReadLogs>(&action)) {
    read_logs(*read);
  } else if (auto note = std::get_if<Note>(&action)) {
    if (cluster_.world.verbose()) cluster_.world.say(plan_.id, note->text);
  } else if (std::holds_alternative<Exit>(action)) {
    crash();
  }
}

void ExecutorNode::yield(executor::InstanceId instance, shims::Event event, int64_t after_us) {
  cluster_.world.after(after_us, [this, life = life_, instance, event = std::move(event)] {
    if (life != life_ || !services_.contains(instance)) return;
    if (auto exited = std::get_if<shims::Exited>(&event)) forget(instance, exited->reason);
    feed(executor::InstanceEvent{instance, event});
  });
}

void ExecutorNode::enter(executor::InstanceId instance) {
  Rng& rng = cluster_.world.rng();
  if (rng.chance(plan_.start_failure)) {
    if (rng.chance(0.5)) return exit(instance, "died while entering", 1'000);
    fail(instance, "not today");
    return yield(instance, shims::Entered{false, "not today"}, 1'000);
  }
  // Every other one can have a frame waiting: work() answers the one before first.
  yield(instance, shims::Entered{true, "", instance % 2 == 1}, rng.between(10, 20'000));
}

void ExecutorNode::exit(executor::InstanceId instance, const std::string& reason,
                        int64_t after_us) {
  auto service = services_.find(instance);
  if (service == services_.end() || service->second.ends) return;
  service->second.ends = true;
  yield(instance, shims::Exited{reason}, after_us);
}

void ExecutorNode::fail(executor::InstanceId instance, const std::string& reason) {
  if (auto uid = services_[instance].uid; uid != 0) checker_.service_failed(uid, reason);
}

void ExecutorNode::forget(executor::InstanceId instance, const std::string& reason) {
  fail(instance, reason);
  auto ended = services_.extract(instance);
  logs_->ended(instance, ended.mapped().log);
  checker_.talk().ends(name_of(instance));
}

// ---- what it says
// ------------------------------------------------------------------------------------------------

// Two of them soon one after the other, so that only the later one has to come through.
void ExecutorNode::tell(executor::InstanceId instance, proto::TaskId id, const Task& task,
                        int64_t begins_us) {
  uint64_t attempt = checker_.talk().next_attempt();
  auto run_us = static_cast<int64_t>(task.run_us);
  int64_t ends_us = cluster_.world.now_us() + begins_us + run_us;
  for (uint64_t percent :
       plan_.tells_often ? std::vector<uint64_t>{25, 50, 51, 52, 75} : std::vector<uint64_t>{50}) {
    int64_t after_us = begins_us + run_us * static_cast<int64_t>(percent) / 100;
    cluster_.world.after(
        after_us, [this, life = life_, instance, id, task, attempt, percent, ends_us] {
          auto is_at_it = [this, life, instance] {
            auto service = life == life_ ? services_.find(instance) : services_.end();
            return service != services_.end() && !service->second.ends;
          };
          if (!is_at_it()) return;
          proto::SessionUid uid = services_[instance].uid;
          auto [number, text] = checker_.says(task, {uid, id, attempt, percent});
          feed(executor::InstanceEvent{instance, shims::Progressed{id, percent, text}});
          if (cluster_.world.now_us() + kHeardUs >= ends_us) return;
          cluster_.world.after(kHeardUs, [this, is_at_it, number = number] {
            if (is_at_it()) checker_.said_for_long(number);
          });
        });
  }
}

void ExecutorNode::write(executor::InstanceId instance, Service& service, proto::TaskId id) {
  service.log.at(service.uid, id == 0 ? proto::Run{} : proto::Run{id, 1});
  if (plan_.writes == 0) return;
  Rng& rng = cluster_.world.rng();
  if (!rng.chance(plan_.writes)) return;
  uint64_t bytes = rng.below(rng.chance(0.02) ? proto::kInstanceLogBytes * 5 / 4 : 200);
  service.log.append(checker_.talk().writes(name_of(instance), service.uid, id, bytes));
}

void ExecutorNode::read_logs(const executor::ReadLogs& question) {
  std::map<executor::InstanceId, const shims::OutputLog*> running;
  for (const auto& [id, service] : services_) running[id] = &service.log;
  feed(logs_->answer(question, running));
}

// ---- its work
// ------------------------------------------------------------------------------------------------

// Some tasks of the oldest frame at once: done when the sum of their times has passed.
void ExecutorNode::work(executor::InstanceId instance) {
  auto found = services_.find(instance);
  if (found == services_.end()) return;
  Service& service = found->second;
  if (service.working || service.ends || service.frames.empty()) return;
  shims::Frame& frame = service.frames.front();
  shims::Results results{frame.first, 0, {}, {}};
  std::string outputs;
  proto::ElementReader reader(frame.elements.view());
  int64_t spent_us = 0;
  bool dies = false;
  while (results.count < frame.count && spent_us < kGatherUs) {
    auto input = reader.next();
    auto task = input ? Task::parse(*input) : std::nullopt;
    if (!task)
      return cluster_.world.fail(plan_.id + ": a service got an input that nobody submitted");
    proto::TaskId id = frame.first + results.count;
    checker_.begins(task->number, plan_.id);
    write(instance, service, id);
    bool tells = plan_.tells > 0 && cluster_.world.rng().chance(plan_.tells);
    if (tells) tell(instance, id, *task, spent_us);
    spent_us += static_cast<int64_t>(task->run_us);
    executed_++;
    dies = task->kind == 'p' || cluster_.world.rng().chance(plan_.crash);
    if (dies) break;
    bool fails = task->kind == 'f';
    if (fails) results.failures.push_back({results.count, proto::Code::kTaskFailed, "as asked"});
    proto::append_element(outputs, fails ? "" : output_of(*input, service.with));
    results.count++;
  }
  if (dies) {
    exit(instance, "signal 11", spent_us + 1);
    if (results.count == 0 || cluster_.world.rng().chance(0.5))
      return;  // what it gathered dies with it
  }
  frame.elements =
      frame.elements.slice(frame.elements.size() - reader.rest().size(), reader.rest().size());
  frame.first += results.count;
  frame.count -= results.count;
  if (frame.count == 0) service.frames.pop_front();
  results.elements = proto::Bytes::own(std::move(outputs));
  service.working = true;
  yield(instance, results, spent_us);
  cluster_.world.after(spent_us, [this, life = life_, instance] {
    auto again = services_.find(instance);
    if (life != life_ || again == services_.end()) return;
    again->second.working = false;
    work(instance);
  });
}

}  // namespace flame::sim

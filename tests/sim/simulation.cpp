// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/simulation.hpp"

#include <algorithm>

namespace flame::sim {

namespace {
/// Longer than every lease, back-off and grace together, and the work that is left.
constexpr int64_t kPeaceUs = 180 * proto::kUsPerSecond;
/// In peace everybody has found everybody then, and nothing of before is left to be cleared up.
constexpr int64_t kSettleUs = 25 * proto::kUsPerSecond;
constexpr int64_t kLookUs = 100 * proto::kUsPerMs;
/// An operator reads what the broker says and types `flmctl recover --accept-loss`.
constexpr int64_t kOperatorUs = 2 * proto::kUsPerSecond;
}  // namespace

Simulation::Simulation(uint64_t seed, bool verbose)
    : world_(seed, verbose),
      chaos_(seed ^ 0xc4a05u),
      scenario_(Scenario::draw(world_.rng())),
      network_(world_),
      redis_(seed),
      checker_(world_) {
  scenario_.draw_dead(Rng(seed ^ 0xdeadu));
  scenario_.draw_levels(Rng(seed ^ 0x1e7e15u));
  scenario_.draw_cancels(Rng(seed ^ 0xcace1u));
  scenario_.draw_follows(Rng(seed ^ 0xf0110u));
  scenario_.draw_holds(Rng(seed ^ 0x401d5u));
  scenario_.draw_changes(Rng(seed ^ 0xc4a9e5u));
  scenario_.draw_progress(Rng(seed ^ 0x940645u));
  scenario_.draw_talk(Rng(seed ^ 0x7a1c5u));
  scenario_.draw_long(Rng(seed ^ 0x10b65u));
  world_.say("scenario", scenario_.text());
  network_.weather = scenario_.weather;
  network_.through_codec = scenario_.through_codec;
  redis_.set_delay(scenario_.redis_delay_us);
  redis_.set_unsynced_max(scenario_.redis_unsynced);
  if (scenario_.levels) redis_.add_replica();
  Cluster cluster{world_, network_, redis_};
  for (const auto& plan : scenario_.executors)
    executors_.push_back(std::make_unique<ExecutorNode>(cluster, checker_, plan));
  for (size_t i = 0; i < scenario_.clients.size(); i++) {
    clients_.push_back(std::make_unique<ClientNode>(
        cluster, checker_, "client-" + std::to_string(i), scenario_.clients[i]));
  }
}

Outcome Simulation::run() {
  for (Fault fault :
       {Fault::kBrokerCrash, Fault::kBrokerLeave, Fault::kTakeover, Fault::kBothForget}) {
    if (scenario_.has(fault)) checker_.expect_memory_loss();
  }
  for (Fault fault : {Fault::kRedisForgets, Fault::kBothForget}) {
    if (scenario_.has(fault)) checker_.expect_loss_of(proto::Durability::kReplicated);
  }
  start_broker(false);
  for (auto& executor : executors_) {
    executor->cannot_start(scenario_.dead_application);
    executor->start();
  }
  for (auto& client : clients_) client->start();
  if (scenario_.is_fair()) checker_.settle();
  for (const auto& [fault, mean_us] : scenario_.faults) schedule(fault, mean_us);
  operate();
  world_.at(scenario_.faults_end_us, [this] { make_peace(); });
  int64_t deadline_us = scenario_.faults_end_us + kPeaceUs, look_us = 0;
  while (world_.step()) {
    if (!peace_ || world_.now_us() < look_us) continue;
    look_us = world_.now_us() + kLookUs;
    mend();
    if (done()) break;
    if (world_.now_us() > deadline_us)
      world_.fail("not done after " + std::to_string(kPeaceUs / 1'000'000) +
                  " s of peace:" + unfinished());
  }
  finish(deadline_us);
  if (world_.failure().empty()) checker_.compare(redis_.keys());
  Outcome outcome{world_.failure(),
                  world_.now_us(),
                  world_.events(),
                  checker_.attempts(),
                  checker_.acknowledgements(),
                  checker_.results(),
                  0,
                  faults_};
  for (const auto& executor : executors_) outcome.executed += executor->executed();
  return outcome;
}

// What leaves the broker last is on its way to Redis still, and what Redis has last is on its way
// to a disk and from there to the watchers.
void Simulation::finish(int64_t deadline_us) {
  int64_t look_us = world_.now_us() + proto::kUsPerSecond;
  while (world_.now_us() < deadline_us && world_.step()) {
    if (world_.now_us() < look_us) continue;
    if (checker_.has_seen_all(redis_.keys())) break;
    look_us = world_.now_us() + kLookUs;
  }
}

void Simulation::start_broker(bool elsewhere) {
  // Started again where the last owner ran, with the ring that it left.
  std::shared_ptr<broker::MemoryRing> ring;
  uint64_t epoch = 0;
  for (const auto& broker : brokers_) {
    if (broker->state().epoch_number < epoch) continue;
    ring = broker->ring();
    epoch = broker->state().epoch_number;
  }
  if (elsewhere || ring == nullptr) ring = std::make_shared<broker::MemoryRing>();
  std::string name = "broker-" + std::to_string(brokers_.size());
  if (!brokers_.empty()) checker_.broker_restarted();
  brokers_.push_back(
      std::make_unique<BrokerNode>(Cluster{world_, network_, redis_}, name, std::move(ring)));
}

// A lineage that broke waits for a person. From then on what was stored may be gone.
void Simulation::operate() {
  world_.after(kOperatorUs, [this] {
    operate();
    BrokerNode* broker = a_broker();
    if (broker == nullptr || !broker->state().waits_for_recover) return;
    world_.say("operator", "accepts the loss");
    checker_.store_lost();
    for (auto& client : clients_) client->recover();
  });
}

BrokerNode* Simulation::a_broker() {
  auto alive = std::find_if(brokers_.rbegin(), brokers_.rend(),
                            [](const auto& broker) { return broker->alive(); });
  return alive == brokers_.rend() ? nullptr : alive->get();
}

void Simulation::schedule(Fault fault, int64_t mean_us) {
  world_.after(chaos_.between(mean_us / 10, 2 * mean_us), [this, fault, mean_us] {
    if (peace_) return;
    faults_++;
    world_.say("fault", std::string(kFaultNames[static_cast<size_t>(fault)]));
    strike(fault);
    schedule(fault, mean_us);
  });
}

void Simulation::strike(Fault fault) {
  switch (fault) {
    case Fault::kBrokerCrash:
    case Fault::kBrokerLeave:
    case Fault::kBrokerPause:
    case Fault::kTakeover:
      return strike_broker(fault);
    case Fault::kRedisDown:
    case Fault::kRedisForgets:
    case Fault::kBothForget:
    case Fault::kRedisRefuses:
    case Fault::kRedisSlow:
    case Fault::kReplicaStops:
      return strike_redis(fault);
    case Fault::kExecutorCrash:
    case Fault::kExecutorDrain:
    case Fault::kExecutorPause:
      return strike_executor(fault);
    case Fault::kWireBreak:
    case Fault::kWireCut:
      return strike_wire(fault);
    case Fault::kClientCrash:
      break;
  }
  auto& client = *clients_[chaos_.below(clients_.size())];
  client.crash(chaos_.chance(0.5));
  world_.after(chaos_.between(1'000, 2'000'000), [&client] { client.start(); });
}

void Simulation::strike_broker(Fault fault) {
  BrokerNode* broker = a_broker();
  if (broker == nullptr) return;
  if (fault == Fault::kBrokerPause) return broker->pause(chaos_.between(10'000, 6'000'000));
  if (fault == Fault::kTakeover) {
    // A stand-by waits for the owner after a restart of Redis (takeover_grace); the twin does not
    // know uptimes.
    bool graced =
        redis_forgot_us_ == 0 || world_.now_us() > redis_forgot_us_ + 10 * proto::kUsPerSecond;
    if (!graced || brokers_.size() > 50) return;
    return start_broker(true);
  }
  if (fault == Fault::kBrokerLeave) {
    broker->leave();
  } else {
    broker->crash();
  }
  world_.after(chaos_.between(1'000, 4'000'000), [this] {
    if (a_broker() == nullptr) start_broker(false);
  });
}

void Simulation::strike_redis(Fault fault) {
  bool forgets = fault == Fault::kRedisForgets || fault == Fault::kBothForget;
  bool one_starts = std::any_of(brokers_.begin(), brokers_.end(), [](const auto& broker) {
    return broker->alive() && broker->state().epoch.empty();
  });
  if (forgets && one_starts && scenario_.has(Fault::kTakeover)) return;  // the same grace
  int64_t for_us = chaos_.between(1'000, 4'000'000);
  switch (fault) {
    case Fault::kRedisDown:
      redis_.set_down(true);
      world_.after(for_us, [this] { redis_.set_down(false); });
      return;
    case Fault::kBothForget:
      redis_forgot_us_ = world_.now_us();
      strike_broker(Fault::kBrokerCrash);
      redis_.restart(chaos_.below(scenario_.redis_unsynced + 1));
      return;
    case Fault::kRedisForgets:
      redis_forgot_us_ = world_.now_us();
      redis_.restart(chaos_.below(scenario_.redis_unsynced + 1));
      return;
    case Fault::kReplicaStops:
      redis_.stop_replica(true);
      world_.after(for_us, [this] { redis_.stop_replica(false); });
      return;
    case Fault::kRedisRefuses:
      redis_.fill(true);
      world_.after(for_us, [this] { redis_.fill(false); });
      return;
    default:
      redis_.set_delay(chaos_.between(10'000, 800'000));
      world_.after(for_us, [this] { redis_.set_delay(scenario_.redis_delay_us); });
  }
}

void Simulation::strike_executor(Fault fault) {
  auto& executor = *executors_[chaos_.below(executors_.size())];
  if (fault == Fault::kExecutorPause) return executor.pause(chaos_.between(10'000, 8'000'000));
  if (fault == Fault::kExecutorDrain) {
    executor.drain();
  } else {
    executor.crash();
  }
  world_.after(chaos_.between(1'000, 5'000'000), [&executor] { executor.start(); });
}

void Simulation::strike_wire(Fault fault) {
  auto& wire = *network_.wires()[chaos_.below(network_.wires().size())];
  if (fault == Fault::kWireBreak) return network_.break_connection(wire);
  bool up = chaos_.chance(0.7), down = !up || chaos_.chance(0.7);
  network_.cut(wire, up, down, world_.now_us() + chaos_.between(10'000, 8'000'000));
}

void Simulation::make_peace() {
  world_.say("peace", "no more faults");
  peace_ = true;
  network_.heal();
  redis_.set_down(false);
  redis_.stop_replica(false);
  redis_.fill(false);
  redis_.set_delay(scenario_.redis_delay_us);
  if (a_broker() == nullptr) start_broker(false);
  for (auto& executor : executors_) {
    executor->calm();
    executor->start();
  }
  for (auto& client : clients_) client->start();
  replace_drained();
  world_.after(kSettleUs, [this] { checker_.settle(); });
}

// A drained executor or broker may still be on its way out, with long tasks for long.
void Simulation::replace_drained() {
  world_.after(12 * proto::kUsPerSecond, [this] {
    if (a_broker() == nullptr) start_broker(false);
    for (auto& executor : executors_) executor->start();
    replace_drained();
  });
}

// Those whose service does not start must not have kept the others from anything.
void Simulation::mend() {
  for (size_t i = 0; i < clients_.size(); i++) {
    if (i != scenario_.dead_client && !clients_[i]->done()) return;
  }
  for (auto& executor : executors_) executor->cannot_start("");
}

bool Simulation::done() const {
  // A broker that was stopped in peace's first moment still has to write what it said.
  auto awake = [](const auto& broker) { return !broker->stands_still(); };
  auto finished = [](const auto& client) { return client->done(); };
  auto answered = [](const auto& broker) { return !broker->alive() || broker->cancels_ended(); };
  return checker_.complete() && std::all_of(brokers_.begin(), brokers_.end(), answered) &&
         std::all_of(brokers_.begin(), brokers_.end(), awake) &&
         std::all_of(clients_.begin(), clients_.end(), finished);
}

std::string Simulation::unfinished() const {
  std::string text = checker_.unfinished();
  for (const auto& client : clients_) text += client->unfinished();
  for (const auto& broker : brokers_) {
    if (broker->alive()) text += "\n" + broker->describe();
  }
  return text;
}

}  // namespace flame::sim

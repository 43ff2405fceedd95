// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/broker_node.hpp"

#include <algorithm>

#include "broker/core/hands.hpp"
#include "proto/keys.hpp"

namespace flame::sim {

namespace {

constexpr int64_t kBrokerTurnUs = 30;
constexpr int64_t kStarvingUs = 5 * proto::kUsPerSecond;

broker::CoreConfig core_config(World& world) {
  broker::CoreConfig config;
  config.cluster = "sim";
  config.version = "sim";
  config.seed = world.rng().next();
  // Of a handful of executors, as if there were thousands.
  if (config.seed % 3 == 0) config.idle_beats_max = 1;
  // Small, so that inputs are read back all the time in some runs.
  config.input_memory_bytes = world.rng().chance(0.3) ? 2'000 : 1 << 20;
  return config;
}

// What is worth reading of a message in the log of --verbose.
std::string details(const proto::Message& message) {
  std::string text = std::string(proto::name_of(proto::type_of(message)));
  if (auto window = std::get_if<proto::Window>(&message)) {
    for (const auto& w : window->windows)
      text += " " + std::to_string(w.uid & 0xffff) + ":" + std::to_string(w.tasks);
  } else if (auto results = std::get_if<proto::TaskResults>(&message)) {
    text += " " + std::to_string(results->uid & 0xffff) + ":" + to_string(results->run) +
            " attempt " + std::to_string(results->ticket.attempt) + " window " +
            std::to_string(results->window_tasks);
  } else if (auto dispatch = std::get_if<proto::Dispatch>(&message)) {
    text += " " + std::to_string(dispatch->uid & 0xffff) + ":" + to_string(dispatch->ticket.run) +
            " attempt " + std::to_string(dispatch->ticket.attempt);
  } else if (auto returned = std::get_if<proto::Returned>(&message)) {
    text += " " + std::to_string(returned->uid & 0xffff) + ":" +
            std::string(proto::name_of(returned->code));
    for (const auto& run : returned->runs) text += " " + to_string(run.run);
  } else if (auto bind = std::get_if<proto::Bind>(&message)) {
    for (const auto& b : bind->bindings) {
      text += " [" + std::to_string(b.slot) + " " + std::to_string(b.uid & 0xffff) + "/" +
              std::to_string(b.generation) + "]";
    }
  } else if (auto bound = std::get_if<proto::Bound>(&message)) {
    text += " [" + std::to_string(bound->binding.slot) + " " +
            std::to_string(bound->binding.uid & 0xffff) + "/" +
            std::to_string(bound->binding.generation) + "] " +
            std::string(proto::name_of(bound->code));
  } else if (auto submit = std::get_if<proto::Submit>(&message)) {
    text +=
        " " + std::to_string(submit->uid & 0xffff) + " number " + std::to_string(submit->number);
  } else if (auto ack = std::get_if<proto::SubmitAck>(&message)) {
    for (const auto& item : ack->items)
      text += " " + std::to_string(item.number) + "=" + to_string(item.run);
  } else if (auto result = std::get_if<proto::Results>(&message)) {
    text += " " + std::to_string(result->uid & 0xffff) + " entry " + std::to_string(result->index) +
            " " + to_string(result->run);
  } else if (auto cancel = std::get_if<proto::CancelRuns>(&message)) {
    text += " " + std::to_string(cancel->uid & 0xffff);
    for (const auto& run : cancel->runs) text += " " + to_string(run);
  } else if (auto hello = std::get_if<proto::ExecutorHello>(&message)) {
    for (const auto& run : hello->hand)
      text += " " + std::to_string(run.uid & 0xffff) + ":" + to_string(run.run);
  } else if (auto error = std::get_if<proto::ErrorReply>(&message)) {
    text += " " + error->message;
  }
  return text;
}

// The letter Redis has of a task, or 0.
char letter_of(const broker::MemoryKeys& keys, const std::string& session, proto::TaskId id) {
  auto found = keys.find(proto::state_key(session, proto::segment_of(id)));
  if (found == keys.end()) return 0;
  const auto& letters = std::get<std::string>(found->second);
  uint64_t at = proto::offset_in_segment(id);
  return at < letters.size() ? letters[at] : char{0};
}

}  // namespace

BrokerNode::BrokerNode(Cluster cluster, std::string name, std::shared_ptr<broker::MemoryRing> ring)
    : cluster_(cluster),
      name_(std::move(name)),
      ring_(std::move(ring)),
      store_(std::make_unique<broker::MemoryStore>(cluster.redis, ring_,
                                                   broker::MemoryStoreConfig{"sim", 0})),
      core_(core_config(cluster.world)) {
  cluster_.world.say(name_, "starts");
  cluster_.network.add_listener(*this);
  store_->start(cluster_.world.now());
  turn_at(cluster_.world.now_us());
}

void BrokerNode::crash() {
  if (!alive_) return;
  cluster_.world.say(name_, "ends");
  alive_ = false;
  store_.reset();
  inbox_.clear();
  cluster_.network.listener_gone(*this);
}

void BrokerNode::pause(int64_t us) {
  cluster_.world.say(name_, "stands still for " + std::to_string(us) + " us");
  paused_until_us_ = cluster_.world.now_us() + us;
}

void BrokerNode::leave() {
  if (!alive_ || closing_) return;
  cluster_.world.say(name_, "leaves");
  closing_ = true;
  core_.leave();
  store_->close(cluster_.world.now());
  // As the shell does it: a store that is away does not hold the process for ever.
  cluster_.world.after(10 * proto::kUsPerSecond, [this] { crash(); });
  wake();
}

void BrokerNode::receive(broker::PeerMessage message) {
  inbox_.push_back(std::move(message));
  turn_at(cluster_.world.now_us() + kBrokerTurnUs);
}

void BrokerNode::turn_at(int64_t us) {
  us = std::max({us, cluster_.world.now_us(), paused_until_us_});
  if (!alive_ || us >= next_turn_us_) return;
  next_turn_us_ = us;
  cluster_.world.at(us, [this, number = ++turn_number_] {
    if (!alive_ || number != turn_number_) return;
    next_turn_us_ = INT64_MAX;
    if (cluster_.world.now_us() < paused_until_us_) return turn_at(paused_until_us_);
    turn();
  });
}

void BrokerNode::turn() {
  proto::Now now = cluster_.world.now();
  bool drained = drain_inbox(now);
  for (auto& event : store_->poll(now)) on(std::move(event), now);
  core_.tick(now, drained);
  check();
  if (auto batch = core_.close_batch(now)) store_->write(std::move(*batch), now);
  check();
  check_starvation();
  perform(core_.take_actions());
  if (!alive_) return;
  int64_t next = std::min(core_.next_tick_us(now), store_->next_us());
  if (!inbox_.empty()) next = now.mono_us + kBrokerTurnUs;
  turn_at(std::max(next, now.mono_us + 1));
}

bool BrokerNode::drain_inbox(const proto::Now& now) {
  std::deque<broker::Event> later;
  while (!inbox_.empty()) {
    broker::Event event = std::move(inbox_.front());
    inbox_.pop_front();
    auto message = std::get_if<broker::PeerMessage>(&event);
    bool accepted =
        message == nullptr || (message->port == broker::Port::kClients ? core_.accepts_clients()
                                                                       : core_.accepts_executors());
    if (accepted) {
      on(std::move(event), now);
    } else {
      later.push_back(std::move(event));
    }
  }
  inbox_ = std::move(later);
  return inbox_.empty();
}

void BrokerNode::on(broker::Event event, const proto::Now& now) {
  if (cluster_.world.verbose()) {
    if (auto message = std::get_if<broker::PeerMessage>(&event)) {
      cluster_.world.say(name_, "<- " + message->peer + " " + details(message->message) + " " +
                                    std::to_string(message->envelope.link) + "/" +
                                    std::to_string(message->envelope.sequence));
    }
  }
  core_.on(std::move(event), now);
  check();
}

void BrokerNode::perform(std::vector<broker::Action> actions) {
  proto::Now now = cluster_.world.now();
  for (auto& action : actions) {
    if (auto send = std::get_if<broker::Send>(&action)) {
      perform(*send);
    } else if (auto read = std::get_if<broker::StoreRead>(&action)) {
      store_->read(std::move(*read), now);
    } else if (auto wanted = std::get_if<broker::AwaitDurable>(&action)) {
      store_->await(*wanted, now);
    } else if (auto stop = std::get_if<broker::Stop>(&action)) {
      cluster_.world.say(name_, "stops: " + stop->reason);
      return crash();
    } else if (auto room = std::get_if<broker::MakeRoom>(&action)) {
      store_->make_room(room->batch, now);
    } else if (std::get_if<broker::AcceptLoss>(&action) != nullptr) {
      store_->accept_loss(now);
    } else if (auto note = std::get_if<broker::Note>(&action)) {
      cluster_.world.say(name_, note->text);
    }
  }
}

void BrokerNode::perform(broker::Send& send) {
  if (cluster_.world.verbose()) {
    cluster_.world.say(name_, "-> " + send.peer + " " + details(send.message) + " " +
                                  std::to_string(send.envelope.link) + "/" +
                                  std::to_string(send.envelope.sequence));
  }
  check_promise(send);
  if (!cluster_.network.send_down(*this, send.peer, send.envelope, send.message)) {
    inbox_.push_back(broker::PeerGone{send.port, send.peer});
  }
}

bool BrokerNode::cancels_ended() const {
  const auto& executors = state().executors;
  return std::all_of(executors.begin(), executors.end(), [](const auto& entry) {
    const auto& shares = entry.second.shares;
    return std::all_of(shares.begin(), shares.end(),
                       [](const auto& share) { return share.second.cancelled.empty(); });
  });
}

std::string BrokerNode::describe() const {
  const auto& state = core_.state();
  std::string text = name_ +
                     (state.serving ? " serves" : " does not serve: " + state.not_serving_because) +
                     (state.health.writable ? "" : ", the store is not writable") +
                     (state.in_flight ? ", a batch is in flight" : "") + "\n";
  auto number = [](uint64_t n) { return std::to_string(n); };
  for (const auto& [uid, s] : state.sessions) {
    text += "  " + s->name + " " + std::string(proto::name_of(s->state)) + " pending " +
            number(s->counters.pending) + " running " + number(s->counters.running) + " orphans " +
            number(s->tasks.orphans().size()) + " slots " + number(s->slots_bound) + " done " +
            number(s->done_first) + "/" + number(s->done_confirmed) + "/" + number(s->done_end) +
            " reads " + number(s->reads_in_flight) + "\n";
    if (s->tasks.any_waiting()) {
      auto input = std::find_if(s->tasks.inputs().begin(), s->tasks.inputs().end(),
                                [next = s->tasks.front().run.first](const broker::InputRun& run) {
                                  return run.run().contains(next);
                                });
      text += "    next is " + to_string(s->tasks.front().run);
      if (input != s->tasks.inputs().end()) {
        text += " of input " + to_string(input->run()) + (input->in_memory ? " in memory" : "") +
                (input->reading ? " being read" : "");
      }
      text += "\n";
    }
    for (const auto& [peer, w] : s->watchers) {
      text += "    watcher " + peer + " next " + number(w.next) + " acked " + number(w.acked) +
              " unacked " + number(w.unacked_bytes) + " reading " + number(w.reading) + "\n";
    }
  }
  for (const auto& [id, executor] : state.executors) {
    text += "  " + id + " " + std::string(proto::name_of(executor.state));
    for (const auto& slot : executor.slots) {
      text += " [" + number(slot.wanted & 0xffff) + "/" + number(slot.generation) + " is " +
              number(slot.bound & 0xffff) + "/" + number(slot.bound_generation) + "]";
    }
    for (const auto& [uid, share] : executor.shares) {
      text += " share " + number(uid & 0xffff) + ": " + number(share.tasks) + " of " +
              number(share.window_tasks) + " tasks, wanted " + number(share.slots_wanted) +
              " bound " + number(share.slots_bound) + (share.has_context ? " context" : "");
    }
    text += "\n";
  }
  return text;
}

void BrokerNode::check() {
  if (auto wrong = core_.broken_invariant(); !wrong.empty())
    cluster_.world.fail(name_ + ": " + wrong + "\n" + describe());
}

bool BrokerNode::application_may(const std::string& name) const {
  const auto& state = core_.state();
  auto application = state.applications.find(name);
  if (application == state.applications.end() || application->second.max_instances == 0)
    return true;
  uint64_t slots = 0;
  for (const auto& [uid, session] : state.sessions)
    if (session->spec.application == name) slots += session->slots_bound;
  return slots < application->second.max_instances;
}

// Free slots and waiting tasks do not stay side by side: the planner and dispatch see both at once.
void BrokerNode::check_starvation() {
  const auto& state = core_.state();
  proto::SessionUid hungry = 0;
  for (const auto& [id, executor] : state.executors) {
    if (!executor.takes_tasks()) continue;
    bool free = std::any_of(executor.slots.begin(), executor.slots.end(),
                            [](const broker::Slot& slot) { return slot.wanted == 0; });
    if (!free) continue;
    for (const auto& [uid, session] : state.sessions) {
      const auto& only = executor.only_application;
      if (!only.empty() && only != session->spec.application) continue;
      bool more =
          session->slots_bound < session->counters.unfinished() && session->counters.pending > 0;
      uint64_t max = session->spec.max_instances == 0 ? UINT64_MAX : session->spec.max_instances;
      bool may = session->slots_bound < max && application_may(session->spec.application);
      if (session->dispatches() && more && may) hungry = uid;
    }
  }
  // Of its own time: while it stands still it can do nothing about it.
  int64_t turned_us = std::exchange(last_turn_us_, cluster_.world.now_us());
  starving_us_ += std::min<int64_t>(cluster_.world.now_us() - turned_us, 200'000);
  if (hungry == 0 || hungry != starving_ || !state.serving || !state.health.writable) {
    starving_ = hungry;
    starving_us_ = 0;
  } else if (starving_us_ > kStarvingUs) {
    cluster_.world.fail(name_ + ": session " + state.sessions.at(hungry)->name +
                        " has tasks and no slot, and a slot is free\n" + describe());
  }
}

// Nothing leaves that Redis has not confirmed. Judged only while Redis is the one this broker wrote
// to.
void BrokerNode::check_promise(const broker::Send& send) {
  auto ack = std::get_if<proto::SubmitAck>(&send.message);
  auto dispatch = std::get_if<proto::Dispatch>(&send.message);
  auto results = std::get_if<proto::Results>(&send.message);
  if (ack == nullptr && dispatch == nullptr && results == nullptr) return;
  const auto& state = core_.state();
  proto::SessionUid uid = ack ? ack->uid : dispatch ? dispatch->uid : results->uid;
  auto session = state.sessions.find(uid);
  if (session == state.sessions.end() ||
      session->second->spec.durability == proto::Durability::kMemory)
    return;
  auto meta = cluster_.redis.meta();
  if (meta.epoch.text() != state.epoch || meta.batch < state.confirmed_batch()) return;
  const std::string& name = session->second->name;
  auto expect_in = [&](const broker::MemoryKeys& keys, const char* place, const proto::Run& run,
                       std::string_view letters, const char* what) {
    for (proto::TaskId id = run.first; id < run.end(); id++) {
      char letter = letter_of(keys, name, id);
      if (letter != 0 && letters.find(letter) != letters.npos) continue;
      return cluster_.world.fail(
          name_ + ": " + what + " of " + name + " " + to_string(run) + " leaves, but " + place +
          " has '" + std::string(1, letter == 0 ? '-' : letter) + "' for " + std::to_string(id));
    }
  };
  auto expect = [&](const proto::Run& run, std::string_view letters, const char* what) {
    expect_in(cluster_.redis.keys(), "Redis", run, letters, what);
    if (dispatch != nullptr) return;  // is never held back
    auto [keys, place] = safe_place(session->second->spec.durability);
    if (keys != nullptr) expect_in(*keys, place, run, letters, what);
  };
  if (ack != nullptr) {
    for (const auto& item : ack->items) expect(item.run, "PRSFC", "an acknowledgement");
  }
  if (dispatch != nullptr) {
    // Of what an earlier attempt has answered meanwhile the letter may be final; the rest runs.
    const auto* executor = state.executor_at(send.peer);
    if (executor == nullptr) return cluster_.world.fail(name_ + ": a dispatch to nobody");
    if (auto share = executor->shares.find(uid); share != executor->shares.end()) {
      for (const auto& hand : broker::hands_within(share->second, dispatch->ticket.run)) {
        expect(hand, "R", "a dispatch");
      }
    }
    expect(dispatch->ticket.run, "RSFC", "a dispatch");
  }
  if (results != nullptr) expect(results->run, "SFC", "a result");
}

// Where what a client is told must be, beside Redis' memory.
std::pair<const broker::MemoryKeys*, const char*> BrokerNode::safe_place(
    proto::Durability level) const {
  if (level == proto::Durability::kSynced) return {&cluster_.redis.disk(), "disk"};
  if (level == proto::Durability::kReplicated) return {&cluster_.redis.replica(), "replica"};
  return {nullptr, ""};
}

}  // namespace flame::sim

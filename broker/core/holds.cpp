// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/holds.hpp"

#include <algorithm>

#include "broker/core/clients.hpp"
#include "broker/core/executors.hpp"
#include "proto/rows.hpp"
#include "proto/text.hpp"

namespace flame::broker {

using proto::Code;
using proto::Error;
using proto::ExecutorState;
using proto::Hold;

namespace {

bool is_pod(std::string_view provider) { return provider.starts_with("pod "); }

bool has_nothing_in_hand(const Executor& executor) {
  return executor.tasks() == 0 &&
         std::all_of(executor.shares.begin(), executor.shares.end(),
                     [](const auto& entry) { return entry.second.cancelled.empty(); });
}

// Into the batch of the answer: what was said to be drained is drained after a crash of ours too.
void hold(State& state, Executor& executor, Hold hold, const proto::Now& now) {
  bool took_tasks = executor.takes_tasks();
  executor.hold = hold;
  if (took_tasks && !executor.takes_tasks()) unbind_all(state, executor, now);
  tell_hold(state, executor);
  state.plan_due = true;
  state.ops.push_back(PutExecutor{executor.id, proto::encode_value(row_of(state, executor))});
  note(state, false,
       "executor " + executor.id + " is " +
           (hold == Hold::kNone ? "uncordoned" : std::string(proto::name_of(hold))));
}

proto::Status may_hold(const Executor& executor, Hold hold) {
  std::string state{proto::name_of(executor.state)};
  if (!executor.serves() && hold != Hold::kNone) {
    return Error{Code::kWrongState,
                 "executor '" + executor.id + "' is not connected: it is " + state};
  }
  bool leaves = executor.state == ExecutorState::kDraining ||
                (executor.hold == Hold::kDrained && !is_pod(executor.provider));
  if (executor.serves() && leaves && hold != Hold::kDrained) {
    return Error{Code::kWrongState, "executor '" + executor.id +
                                        "' is leaving already and cannot be kept; start another"};
  }
  if (hold == Hold::kResting && executor.hold != Hold::kNone && executor.hold != Hold::kResting) {
    return Error{Code::kWrongState, "executor '" + executor.id + "' is " +
                                        std::string(proto::name_of(executor.hold)) + " already"};
  }
  return {};
}

std::string answer_text(const Executor& executor, Hold hold) {
  std::string text = "Executor <" + executor.id + "> ";
  if (hold == Hold::kNone && !executor.serves())
    return text + "is free, and not connected: it is " +
           std::string(proto::name_of(executor.state)) + ".";
  if (hold == Hold::kNone) return text + "takes tasks again.";
  text += "is " + std::string(proto::name_of(hold)) + ": it takes nothing new";
  if (uint64_t tasks = executor.tasks(); tasks > 0)
    text += " and has " + std::to_string(tasks) + (tasks == 1 ? " task" : " tasks") + " in hand";
  if (hold == Hold::kDrained) {
    text += is_pod(executor.provider) ? "; its pod can be deleted once it is idle"
                                      : "; it leaves when it is idle";
  }
  return text + ".";
}

bool may_be_victim(const Executor& executor, const proto::PickVictims& asked,
                   const proto::Now& now) {
  if (executor.state != ExecutorState::kConnected || !has_nothing_in_hand(executor)) return false;
  if (executor.only_application != asked.application) return false;
  bool named = std::find(asked.executors.begin(), asked.executors.end(), executor.id) !=
               asked.executors.end();
  if (!asked.executors.empty() && !named) return false;
  // Nothing can have reached those since they were held.
  if (executor.hold == Hold::kDrained || executor.hold == Hold::kResting) return true;
  if (executor.hold == Hold::kCordoned) return false;  // an operator's
  if (asked.idle_ms == 0) return true;
  return executor.idle_ms != 0 &&
         now.wall_ms() - executor.idle_ms >= static_cast<int64_t>(asked.idle_ms);
}

}  // namespace

std::string instance_of(const proto::ExecutorHello& hello) {
  return is_pod(hello.provider) ? proto::printable(hello.provider, proto::kProviderBytesMax)
                                : proto::printable(hello.nonce, proto::kNameBytesMax);
}

Hold hold_after_restart(const Executor& known, const proto::ExecutorHello& hello) {
  if (known.hold == Hold::kCordoned) return known.hold;
  return known.instance == instance_of(hello) ? known.hold : Hold::kNone;
}

void tell_hold(State& state, Executor& executor) {
  if (executor.hold != Hold::kDrained || is_pod(executor.provider)) return;
  if (executor.state == ExecutorState::kConnected)
    send_now(state, executor, proto::Drain{"drained through the broker"});
}

void on_hold_executor(State& state, Client& client, const proto::HoldExecutor& message,
                      const proto::Now& now) {
  auto id = find_executor(state, message.executor);
  if (!id) return refuse(state, client, message.request, id.error());
  Executor& executor = state.executors.at(*id);
  if (auto status = may_hold(executor, message.hold); !status)
    return refuse(state, client, message.request, status.error());
  std::string text = answer_text(executor, message.hold);
  hold(state, executor, message.hold, now);
  send_after(state, Port::kClients, client.peer, proto::Ok{message.request, std::move(text)});
}

void on_pick_victims(State& state, Client& client, const proto::PickVictims& message,
                     const proto::Now& now) {
  std::vector<Executor*> victims;
  for (auto& [id, executor] : state.executors) {
    if (may_be_victim(executor, message, now)) victims.push_back(&executor);
  }
  auto rank = [](const Executor* executor) {
    return std::pair(executor->hold != Hold::kDrained,
                     executor->idle_ms == 0 ? INT64_MAX : executor->idle_ms);
  };
  std::stable_sort(victims.begin(), victims.end(),
                   [&](auto* a, auto* b) { return rank(a) < rank(b); });
  uint64_t most = std::min(message.count, proto::kListRowsMax);
  if (victims.size() > most) victims.resize(most);
  proto::List rows;
  for (Executor* victim : victims) {
    if (victim->hold != Hold::kDrained) hold(state, *victim, Hold::kDrained, now);
    rows.push_back(row_of(state, *victim));
  }
  send_after(state, Port::kClients, client.peer,
             proto::Listing{message.request, false, proto::encode_rows(rows)});
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/app.hpp"

#include <signal.h>

#include <algorithm>

#include "autoscaler/local_provider.hpp"
#include "autoscaler/stored_rows.hpp"
#include "runtime/log.hpp"

namespace flame::autoscaler {

namespace {

/// A new backlog is seen within a second, and nobody notices what this costs.
constexpr int64_t kRoundEveryUs = 250 * proto::kUsPerMs;
constexpr int64_t kResignPatienceUs = 2 * proto::kUsPerSecond;
constexpr int64_t kRedisPatienceUs = 3 * proto::kUsPerSecond;
constexpr int64_t kReconnectFirstUs = 100 * proto::kUsPerMs;
constexpr int64_t kReconnectMostUs = 2 * proto::kUsPerSecond;

void log_decision(const Decision& decision) {
  bool bad = decision.reason == Reason::kFrozen || decision.reason == Reason::kFailing;
  runtime::log::write(
      bad ? runtime::log::Level::kWarn : runtime::log::Level::kInfo, explain(decision),
      {{"application", decision.application}, {"reason", name_of(decision.reason)}});
}

// Of an EXEC: as a whole, or one of its commands.
std::string refusal_in(const runtime::RedisReply& reply) {
  if (reply.is_error()) return reply.text;
  for (const auto& item : reply.items) {
    if (item.is_error()) return item.text;
  }
  return "";
}

std::unique_ptr<Provider> provider_for(const AppConfig& config, runtime::EventLoop& loop) {
  if (!config.kubernetes) return std::make_unique<LocalProvider>(loop, config.control_socket);
  runtime::log::info("executors are pods", {{"server", config.kubernetes->access.server},
                                            {"namespace", config.kubernetes->place.space}});
  return std::make_unique<kubernetes::KubernetesProvider>(loop, *config.kubernetes);
}

}  // namespace

App::App(AppConfig config)
    : config_(std::move(config)),
      signals_(loop_, {SIGTERM, SIGINT}, [this](int) { leave(); }),
      redis_(loop_, config_.redis,
             {.opened =
                  [this] {
                    reconnect_.reset();
                    runtime::log::info("connected", {{"redis", config_.redis.shown()}});
                  },
              .lost = [this](const proto::Error& error) { on_lost(error); }}),
      reconnect_(kReconnectFirstUs, kReconnectMostUs),
      broker_(loop_, config_.broker, config_.cluster),
      provider_(provider_for(config_, loop_)),
      scaler_(config_.policy, loop_.now()),
      journal_(config_.dry_run) {}

int App::run() {
  open_redis();
  end_round();
  loop_.run();
  return 0;
}

void App::open_redis() { redis_.open(kRedisPatienceUs); }

void App::on_lost(const proto::Error& error) {
  redis_trouble_ = error.message;
  if (runtime::log::once_a_second("redis")) {
    runtime::log::warn("no Redis, nothing is scaled meanwhile", {{"error", error.message}});
  }
  loop_.call_at(loop_.now().mono_us + reconnect_.next_us(), [this] { open_redis(); });
  if (phase_ == Phase::kReading) return list(error);
  // Not written down, so not done; the next round decides again.
  if (phase_ == Phase::kRecording) end_round();
}

// A second signal does not wait.
void App::leave() {
  if (std::exchange(leaving_, true)) return loop_.stop();
  loop_.call_at(loop_.now().mono_us + kResignPatienceUs, [this] { loop_.stop(); });
  provider_->resign([this] { loop_.stop(); });
}

void App::begin_round() {
  if (leaving_ || !provider_->leads()) {
    led_ = false;
    return end_round();
  }
  if (!std::exchange(led_, true)) {
    // What was before is another one's: it begins as after a start.
    observer_ = Observer();
    scaler_ = Scaler(config_.policy, loop_.now());
    journal_ = Journal(config_.dry_run);
    recalled_ = false;
  }
  if (!redis_.is_open()) return list(proto::Error{proto::Code::kStoreDown, redis_trouble_});
  phase_ = Phase::kReading;
  redis_.send(read_request(provider_->reads_applications(), !recalled_), kRedisPatienceUs,
              [this](runtime::RedisReplies&& replies) {
                auto stored = stored_from(replies, config_.cluster);
                if (!stored && stored.error().code == proto::Code::kCluster)
                  return refuse(stored.error());
                if (stored && !std::exchange(recalled_, true))
                  scaler_.recall(cold_starts_from(replies.front()));
                list(std::move(stored));
              });
}

// What is decided is written into Redis: nothing of ours belongs into another cluster's.
void App::refuse(const proto::Error& error) {
  if (runtime::log::once_a_second("cluster")) {
    runtime::log::warn("this is another cluster's Redis, nothing is scaled",
                       {{"error", error.message}});
  }
  end_round();
}

void App::list(proto::Result<Stored> stored) {
  if (!stored) return decide(stored, std::vector<Provided>());
  phase_ = Phase::kListing;
  provider_->know(stored->applications);
  provider_->list([this, stored = std::move(stored)](auto provided) { decide(stored, provided); });
}

void App::decide(const proto::Result<Stored>& stored,
                 const proto::Result<std::vector<Provided>>& provided) {
  auto seen = observer_.observe(stored, provided, loop_.now());
  auto decisions = scaler_.decide(seen, loop_.now());
  for (const auto& news : journal_.note(decisions, loop_.now())) log_decision(news);
  record(std::move(decisions));
}

void App::record(std::vector<Decision> decisions) {
  if (!redis_.is_open()) return end_round();
  auto request = journal_.request(loop_.now());
  if (request.commands() == 0) return act(decisions);
  phase_ = Phase::kRecording;
  redis_.send(std::move(request), kRedisPatienceUs,
              [this, decisions = std::move(decisions)](runtime::RedisReplies&& replies) {
                std::string refusal = refusal_in(replies.back());
                if (refusal.empty()) {
                  journal_.kept();
                  return act(decisions);
                }
                if (runtime::log::once_a_second("journal")) {
                  runtime::log::warn("Redis does not take the decision, so it is not carried out",
                                     {{"error", refusal}});
                }
                end_round();
              });
}

// Leaving first: where the cluster is full it makes room. Who is idle only the broker knows: those
// that it has drained leave.
void App::act(const std::vector<Decision>& decisions) {
  phase_ = Phase::kActing;
  leave_.clear();
  for (const auto& decision : decisions) {
    leave_.insert(leave_.end(), decision.finish.begin(), decision.finish.end());
    leave_.insert(leave_.end(), decision.failed.begin(), decision.failed.end());
    if (decision.retire.empty()) continue;
    orders_.emplace_back([this, application = decision.application,
                          retire = decision.retire](const Provider::Done& done) {
      broker_.pick_victims(application, retire, [this, done](auto victims) {
        if (!victims) return done(victims.error());
        leave_.insert(leave_.end(), victims->begin(), victims->end());
        done({});
      });
    });
  }
  orders_.emplace_back([this](const Provider::Done& done) {
    leave_.empty() ? done({}) : provider_->leave(leave_, done);
  });
  for (const auto& decision : decisions) {
    for (const auto& id : decision.cordon)
      orders_.emplace_back([this, id](const Provider::Done& done) { broker_.rest(id, done); });
    for (const auto& id : decision.restore)
      orders_.emplace_back([this, id](const Provider::Done& done) { broker_.uncordon(id, done); });
    if (decision.add == 0) continue;
    orders_.emplace_back([this, application = decision.application,
                          count = decision.add](const Provider::Done& done) {
      provider_->add(application, count, done);
    });
  }
  // Of what could not be read nothing is known to be left over.
  bool frozen = std::any_of(decisions.begin(), decisions.end(), [](const Decision& decision) {
    return decision.reason == Reason::kFrozen;
  });
  if (provider_->reads_applications() && !frozen)
    orders_.emplace_back([this](const Provider::Done& done) { provider_->tidy(done); });
  if (config_.dry_run) orders_.clear();
  act_next();
}

void App::act_next() {
  if (leaving_ || !provider_->leads()) orders_.clear();
  if (orders_.empty()) return end_round();
  auto order = std::move(orders_.front());
  orders_.pop_front();
  order([this](const proto::Status& status) {
    if (!status) {
      auto kind = "order " + std::string(proto::name_of(status.error().code));
      if (runtime::log::once_a_second(kind))
        runtime::log::warn("not carried out", {{"error", status.error().message}});
    }
    act_next();
  });
}

void App::end_round() {
  phase_ = Phase::kWaiting;
  loop_.call_at(loop_.now().mono_us + kRoundEveryUs, [this] { begin_round(); });
}

}  // namespace flame::autoscaler

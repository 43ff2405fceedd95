// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/app.hpp"

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "proto/process_exit.hpp"
#include "proto/text.hpp"
#include "runtime/clock.hpp"
#include "runtime/log.hpp"
#include "runtime/process.hpp"

namespace flame::broker {

namespace {

constexpr int64_t kPublishUs = 250 * proto::kUsPerMs;
// The reply to a small batch is nearer than a sleep and a wake-up; one that takes longer gets the
// core to itself.
constexpr int64_t kSpinUs = 60;

std::string tcp(const std::string& address, int port) {
  return "tcp://" + address + ":" + (port == 0 ? "*" : std::to_string(port));
}

int port_of(const std::string& endpoint) {
  auto colon = endpoint.rfind(':');
  return static_cast<int>(
      proto::parse_number<uint64_t>(std::string_view(endpoint).substr(colon + 1)).value_or(0));
}

}  // namespace

App::App(AppConfig config)
    : config_(std::move(config)),
      signals_(loop_, {SIGTERM, SIGINT}, [this](int) { leave(); }),
      core_(config_.core),
      store_(loop_, config_.store),
      clients_(context_, loop_, Port::kClients, core_),
      executors_(context_, loop_, Port::kExecutors, core_) {}

proto::Status App::start() {
  int port = config_.port;
  if (auto status = clients_.listen(tcp(config_.address, port)); !status) return status;
  if (auto status = executors_.listen(tcp(config_.address, port == 0 ? 0 : port + 1)); !status) {
    return status;
  }
  auto http = http_.listen(config_.address, port == 0 ? 0 : port + 80);
  if (!http) return http.error();
  http_port_ = *http;
  if (config_.insecure) {
    runtime::log::warn("INSECURE: listens beyond loopback without keys",
                       {{"address", config_.address}});
  }
  runtime::log::info("listening", {{"clients", clients_.endpoint()},
                                   {"executors", executors_.endpoint()},
                                   {"http", http_port_}});
  loop_.on_turn([this] { turn(); });
  // What tells this broker from all others, to whoever it replaces.
  store_.set_owner(config_.address + ":" + std::to_string(port_of(clients_.endpoint())) + ", pid " +
                   std::to_string(getpid()) + " on " + runtime::host_name());
  store_.start(loop_.now());
  return {};
}

int App::run() {
  loop_.run();
  threads_remain_ = !http_.stop();
  return exit_code_;
}

void App::turn() {
  const proto::Now& now = loop_.now();
  for (auto& event : store_.poll(now)) core_.on(std::move(event), now);
  core_.tick(now, clients_.drained() && executors_.drained());
  perform(core_.take_actions());  // what was just confirmed leaves before the next batch is built
  if (auto batch = core_.close_batch(now)) {
    store_.write(std::move(*batch), now);
    loop_.spin_until(now.mono_us + kSpinUs);
  }
  perform(core_.take_actions());
  clients_.set_reading(core_.accepts_clients());
  executors_.set_reading(core_.accepts_executors());
  clients_.begin_turn();
  executors_.begin_turn();
  if (now.mono_us >= publish_due_us_ || (!announced_ && core_.state().serving)) publish();
  loop_.cancel(timer_);
  timer_ = loop_.call_at(core_.next_tick_us(now), [] {});
}

void App::perform(std::vector<Action> actions) {
  for (auto& action : actions) {
    if (auto send = std::get_if<Send>(&action)) {
      perform(*send);
    } else if (auto read = std::get_if<StoreRead>(&action)) {
      store_.read(std::move(*read), loop_.now());
    } else if (auto wanted = std::get_if<AwaitDurable>(&action)) {
      store_.await(*wanted, loop_.now());
    } else if (auto stop = std::get_if<Stop>(&action)) {
      if (stop->exit_code != 0) runtime::log::error("stopping", {{"reason", stop->reason}});
      exit_code_ = stop->exit_code;
      if (exit_code_ == proto::kExitReplaced) {
        nlohmann::json why = {{"pid", getpid()}, {"replaced", stop->reason}};
        write_ready_file(why.dump());
      }
      loop_.stop();
      return;
    } else if (auto room = std::get_if<MakeRoom>(&action)) {
      store_.make_room(room->batch, loop_.now());
    } else if (std::get_if<AcceptLoss>(&action) != nullptr) {
      store_.accept_loss(loop_.now());
      publish_due_us_ = 0;  // /readyz must not ask a person for it again
    } else if (auto note = std::get_if<Note>(&action)) {
      note->warning ? runtime::log::warn(note->text) : runtime::log::info(note->text);
    }
  }
}

void App::perform(Send& send) {
  (send.port == Port::kClients ? clients_ : executors_).send(send, loop_.now());
}

void App::publish() {
  publish_due_us_ = loop_.now().mono_us + kPublishUs;
  http_.publish(snapshot_of(core_.state(), loop_.now(), config_.insecure));
  if (!announced_ && core_.state().serving) {
    announced_ = true;
    announce();
  }
}

void App::announce() {
  runtime::log::info("serving",
                     {{"endpoint", clients_.endpoint()}, {"epoch", core_.state().epoch}});
  nlohmann::json ready = {{"endpoint", clients_.endpoint()},
                          {"executors", executors_.endpoint()},
                          {"http", "http://" + config_.address + ":" + std::to_string(http_port_)},
                          {"port", port_of(clients_.endpoint())},
                          {"ring", store_.ring_path()},
                          {"pid", getpid()}};
  write_ready_file(ready.dump());
}

// Written beside and renamed: a reader sees all of it or nothing.
void App::write_ready_file(const std::string& text) {
  if (config_.ready_file.empty()) return;
  std::string beside = config_.ready_file + ".new";
  std::ofstream(beside) << text << "\n";
  std::error_code error;
  std::filesystem::rename(beside, config_.ready_file, error);
  if (error) runtime::log::error("cannot write the ready file", {{"error", error.message()}});
}

// Everything acknowledged is in Redis already; what is not was promised to nobody.
void App::leave() {
  if (leaving_) return loop_.stop();  // a second signal does not wait for the disk
  leaving_ = true;
  runtime::log::info("leaving");
  core_.leave();
  store_.close(loop_.now());
  loop_.call_at(loop_.now().mono_us + 10 * proto::kUsPerSecond, [this] { loop_.stop(); });
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <signal.h>

#include <algorithm>
#include <sstream>

#include "proto/text.hpp"
#include "tests/contract/store_world.hpp"

namespace flame::tests {

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Values have line ends in them, so each field is asked for alone.
std::string show_hash(const RedisServer& server, const std::string& key) {
  auto names = lines_of(server.command({"HKEYS", key}));
  std::sort(names.begin(), names.end());
  std::string out = "hash";
  for (const auto& name : names) {
    out += " " + proto::printable(name) + "=" +
           proto::printable(server.command({"HGET", key, name}), 4096);
  }
  return out;
}

std::string show_zset(const RedisServer& server, const std::string& key) {
  auto names = lines_of(server.command({"ZRANGE", key, "0", "-1"}));
  std::sort(names.begin(), names.end());
  std::string out = "zset";
  for (const auto& name : names) out += " " + name + "=" + server.command({"ZSCORE", key, name});
  return out;
}

std::string show_stream(const RedisServer& server, const std::string& key) {
  std::string out = "stream";
  // An entry is: id, its six fields each on a line, and the two ends of the nested arrays.
  std::vector<std::string> lines;
  for (auto& line : lines_of(server.command({"XRANGE", key, "-", "+"}))) {
    if (!line.empty()) lines.push_back(line);
  }
  for (size_t i = 0; i + 6 < lines.size() + 0; i += 7) {
    out += " [at=" + lines[i + 2] + " code=" + lines[i + 4] + " text=" + lines[i + 6] + "]";
  }
  return out;
}

}  // namespace

RedisWorld::RedisWorld(std::vector<std::string> redis_arguments)
    : server_(std::move(redis_arguments)) {}

broker::RedisStoreConfig RedisWorld::config(const std::string& name) {
  broker::RedisStoreConfig config;
  config.redis = *runtime::parse_redis_url(server_.url());
  config.ring_folder = server_.folder();
  config.data_folder = server_.folder() + "/" + name;
  config.ring_bytes = 8 << 20;
  config.takeover_grace_us = 0;
  return config;
}

std::unique_ptr<broker::Store> RedisWorld::make_store(const std::string& name) {
  return std::make_unique<broker::RedisStore>(loop_, config(name));
}

void RedisWorld::step(broker::Store&) { loop_.turn(5000); }

Table RedisWorld::table() {
  Table table;
  for (const auto& key : lines_of(server_.command({"KEYS", "*"}))) {
    std::string type = server_.command({"TYPE", key});
    if (key == "flame:owner") continue;
    if (key == "flame:meta") {
      table[key] = "hash batch=" + server_.command({"HGET", key, "batch"});
    } else if (type == "string") {
      table[key] = "string " + proto::printable(server_.command({"GET", key}), 4096);
    } else if (type == "hash") {
      table[key] = show_hash(server_, key);
    } else if (type == "list") {
      table[key] = "list";
      for (const auto& entry : lines_of(server_.command({"LRANGE", key, "0", "-1"})))
        table[key] += " " + entry;
    } else if (type == "zset") {
      table[key] = show_zset(server_, key);
    } else {
      table[key] = show_stream(server_, key);
    }
  }
  return table;
}

void RedisWorld::restart_redis() {
  // SIGTERM writes what is buffered; a SIGKILL that loses is a test of its own.
  server_.kill(15);
  server_.start();
}

// Replication knows no unix sockets: the primary gets a port for it, a free one on loopback.
void RedisWorld::add_replica() {
  server_.listen_on_loopback();
  replica_ = std::make_unique<RedisServer>(
      std::vector<std::string>{"--replicaof", "127.0.0.1 " + std::to_string(server_.port()),
                               "--repl-diskless-sync-delay", "0"});
  for (int i = 0; i < 3000; i++) {
    if (server_.command({"INFO", "replication"}).find("state=online") != std::string::npos) return;
    loop_.turn(10'000);
  }
  throw std::runtime_error("the replica did not come in step");
}

void RedisWorld::stop_replica(bool stopped) {
  ::kill(replica_->pid(), stopped ? SIGSTOP : SIGCONT);
}

void RedisWorld::fill(bool full) {
  server_.command({"CONFIG", "SET", "maxmemory", full ? "1000000" : "0"});
}

void RedisWorld::spoil(const std::string& session) {
  for (const char* suffix : {"session", "state:0", "input:0", "output:0"}) {
    server_.command({"DEL", "flame:{" + session + "}:" + suffix});
    server_.command({"RPUSH", "flame:{" + session + "}:" + suffix, "not ours"});
  }
}

}  // namespace flame::tests

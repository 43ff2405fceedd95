// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <map>
#include <mutex>

#include "proto/text.hpp"
#include "runtime/clock.hpp"

namespace flame::runtime::log {

namespace {

struct State {
  std::shared_ptr<spdlog::logger> logger;
  std::string component = "flame";
  bool json = false;
};
// One per process on purpose: a log line must be possible from anywhere, also before main has wired
// things.
State& state() {
  static State instance{
      std::make_shared<spdlog::logger>("flame", std::make_shared<spdlog::sinks::stderr_sink_mt>()),
      "flame", false};
  return instance;
}

spdlog::level::level_enum native(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarn:
      return spdlog::level::warn;
    default:
      return spdlog::level::err;
  }
}

void append_json(std::string& line, std::string_view key, std::string_view value) {
  line += line.size() > 1 ? ",\"" : "\"";
  line.append(key).append("\":\"");
  for (char c : proto::printable(value)) {
    if (c == '"' || c == '\\') line += '\\';
    line += c;
  }
  line += '"';
}

}  // namespace

proto::Status start(std::string_view component, std::string_view level, std::string_view format) {
  static const std::map<std::string_view, Level> kLevels = {{"debug", Level::kDebug},
                                                            {"info", Level::kInfo},
                                                            {"warn", Level::kWarn},
                                                            {"error", Level::kError}};
  auto found = kLevels.find(level);
  if (found == kLevels.end()) {
    return proto::Error{proto::Code::kBadRequest,
                        "log level '" + std::string(level) + "' is not debug, info, warn or error"};
  }
  if (format != "text" && format != "json") {
    return proto::Error{proto::Code::kBadRequest,
                        "log format '" + std::string(format) + "' is not text or json"};
  }
  State& s = state();
  s.component = component;
  s.json = format == "json";
  s.logger->set_level(native(found->second));
  s.logger->set_pattern(s.json ? "%v" : "%Y-%m-%dT%H:%M:%S.%f %-5l %v");
  s.logger->flush_on(spdlog::level::debug);
  return {};
}

void write(Level level, std::string_view message, Fields fields) {
  State& s = state();
  if (!s.logger->should_log(native(level))) return;
  std::string line;
  if (s.json) {
    static constexpr std::string_view kNames[] = {"debug", "info", "warn", "error"};
    line = "{";
    append_json(line, "ts_us", std::to_string(read_clock().wall_us));
    append_json(line, "level", kNames[static_cast<size_t>(level)]);
    append_json(line, "component", s.component);
    append_json(line, "msg", message);
    for (const auto& field : fields) append_json(line, field.key, field.value);
    line += '}';
  } else {
    line.append(s.component).append(": ").append(proto::printable(message, 1024));
    for (const auto& field : fields) {
      line.append(" ").append(field.key).append("=").append(proto::printable(field.value));
    }
  }
  s.logger->log(native(level), "{}", line);
}

bool once_a_second(std::string_view key) {
  static std::mutex mutex;
  static std::map<std::string, int64_t, std::less<>> last;
  std::lock_guard guard(mutex);
  int64_t now = read_clock().mono_us;
  if (last.size() > 1000) last.clear();
  auto [entry, fresh] = last.try_emplace(std::string(key), now);
  if (!fresh && now - entry->second < proto::kUsPerSecond) return false;
  entry->second = now;
  return true;
}

}  // namespace flame::runtime::log

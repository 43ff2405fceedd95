// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/sent_batch.hpp"

#include "proto/keys.hpp"
#include "proto/text.hpp"
#include "runtime/assert.hpp"

namespace flame::broker {

namespace {

// The next `$size\r\nbytes\r\n`, or "" at the end.
std::string_view take_text(std::string_view& rest) {
  auto line = rest.find("\r\n");
  auto size =
      line == rest.npos ? std::nullopt : proto::parse_number<size_t>(rest.substr(1, line - 1));
  if (!size || rest.size() < line + 4 + *size) return rest = {};
  auto text = rest.substr(line + 2, *size);
  rest.remove_prefix(line + 4 + *size);
  return text;
}

struct Command {
  size_t arguments = 0;  ///< with its name; 0: there is none any more
  std::string_view name, key;
  std::string_view bytes;  ///< of all arguments, each with its size
};

Command take_command(std::string_view& rest) {
  Command command;
  auto line = rest.find("\r\n");
  if (line == rest.npos) return command;
  command.arguments = proto::parse_number<size_t>(rest.substr(1, line - 1)).value_or(0);
  rest.remove_prefix(line + 2);
  auto from = rest;
  for (size_t i = 0; i < command.arguments && !rest.empty(); i++) {
    auto text = take_text(rest);
    if (i == 0) command.name = text;
    if (i == 1) command.key = text;
  }
  command.bytes = from.substr(0, from.size() - rest.size());
  return command;
}

// An error of one command does not keep the others from being applied, as in a transaction. What
// has more arguments than Lua's stack has room for goes in parts: HSET, HDEL, RPUSH, UNLINK. Pairs
// stay together.
constexpr std::string_view kOverfill = R"(#!lua flags=allow-oom
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'batch')
if (meta[1] or '') ~= ARGV[1] or (meta[2] or '') ~= ARGV[2] then return nil end
local replies, at = {}, 3
while at <= #ARGV do
  local from, last, failed = at + 3, at + ARGV[at]
  repeat
    local to = math.min(from + 3999, last)
    local reply = redis.pcall(ARGV[at + 1], ARGV[at + 2], unpack(ARGV, from, to))
    if type(reply) == 'table' and reply.err then failed = failed or reply end
    from = to + 1
  until from > last
  replies[#replies + 1] = failed or 1
  at = last + 1
end
return replies)";

void put_text(std::string& out, std::string_view text) {
  out += "$" + std::to_string(text.size()) + "\r\n";
  out += text;
  out += "\r\n";
}

}  // namespace

std::string overfilling(std::string_view rest, std::string_view epoch, std::string_view batch) {
  take_command(rest);  // MULTI
  std::string_view tail;
  std::string arguments;
  arguments.reserve(rest.size() + rest.size() / 8);
  put_text(arguments, epoch);
  put_text(arguments, batch);
  size_t count = 6;
  for (;;) {
    Command command = take_command(rest);
    FLAME_ASSERT(command.arguments > 0);
    tail = rest;
    if (command.name == "EXEC") break;
    put_text(arguments, std::to_string(command.arguments));
    arguments += command.bytes;
    count += command.arguments + 1;
  }
  std::string out = "*1\r\n$7\r\nUNWATCH\r\n*" + std::to_string(count) + "\r\n";
  for (std::string_view word : {std::string_view("EVAL"), kOverfill, std::string_view("1"),
                                std::string_view(proto::kMetaKey)})
    put_text(out, word);
  return out.append(arguments).append(tail);
}

std::string session_of_command(std::string_view rest, size_t index) {
  take_command(rest);  // MULTI
  for (size_t i = 0; i < index; i++) take_command(rest);
  auto key = take_command(rest).key;
  auto open = key.find('{'), close = key.find('}');
  return open == key.npos || close == key.npos
             ? ""
             : std::string(key.substr(open + 1, close - open - 1));
}

}  // namespace flame::broker

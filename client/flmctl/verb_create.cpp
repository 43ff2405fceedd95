// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>

#include "client/flmctl/files.hpp"
#include "client/flmctl/verbs.hpp"
#include "proto/ids.hpp"
#include "proto/limits.hpp"
#include "proto/text.hpp"
#include "runtime/clock.hpp"

namespace flame::flmctl {

using proto::Code;
using proto::Error;

namespace {

proto::Result<proto::CreateSession> message_of(const runtime::Options& options,
                                               const std::string& application) {
  proto::CreateSession message;
  message.session = options.text("name");
  message.open_or_create = options.flag("open-or-create");
  proto::SessionSpec& spec = message.spec;
  spec.application = application;
  spec.resources = options.text("resreq");
  spec.retention = options.text("retention");
  auto level = proto::durability_from(options.text("durability"));
  if (!level) {
    return Error{Code::kBadRequest,
                 "--durability must be memory, stored, synced or replicated, not '" +
                     proto::printable(options.text("durability"), 40) + "'"};
  }
  spec.durability = *level;
  auto min = options.number("min-instances", 0, 1'000'000);
  auto max = options.number("max-instances", 0, 1'000'000);
  auto priority = options.number("priority", 0, UINT32_MAX);
  auto batch = options.number("batch-size", 1, UINT32_MAX);
  for (auto* number : {&min, &max, &priority, &batch}) {
    if (!*number) return number->error();
  }
  spec.min_instances = *min, spec.max_instances = *max;
  spec.priority = *priority, spec.batch_size = *batch;
  auto ttl = options.duration_ms("results-ttl");
  if (!ttl) return ttl.error();
  spec.results_ttl_ms = *ttl;
  return message;
}

}  // namespace

int run_create(Command& command) {
  auto target = command.target_with_id(Kind::kApplication);
  if (!target) return command.fail_usage(target.error());
  if (target->kind != Kind::kApplication) {
    return command.fail_usage({Code::kBadRequest, "a session is created with -a APPLICATION"});
  }
  // Before the broker makes a session's name of it.
  if (auto name = proto::check_name("application", target->id); !name)
    return command.fail(name.error());
  auto message = message_of(command.options(), target->id);
  if (!message) return command.fail_usage(message.error());
  if (auto path = command.options().text("common-data"); !path.empty()) {
    auto common = read_file(path, proto::kCommonBytesMax);
    if (!common) return command.fail(common.error());
    message->payload = proto::Bytes::own(std::move(*common));
  }
  bool differs = message->open_or_create;
  auto connection = command.connect();
  if (!connection) return command.fail(connection.error());
  auto opened =
      (*connection)
          ->create_session(std::move(*message), std::make_shared<client::SessionListener>(),
                           command.timeout_ms());
  if (!opened && opened.error().code == Code::kAlreadyExists && differs) {
    return command.fail(Command::with_next_step(
        opened.error(), "ask for the same, or leave --name out to get a fresh one"));
  }
  if (!opened) return command.fail(opened.error());
  auto format = *command.format();
  const auto& info = opened->info;
  if (is_data(format)) {
    proto::Map row = {{"id", info.session},
                      {"state", std::string(proto::name_of(info.state))},
                      {"application", info.spec.application},
                      {"created", info.created_ms}};
    std::fputs(show_one(row, format).c_str(), stdout);
  } else {
    std::puts(info.session.c_str());
  }
  return tools::kExitOk;
}

}  // namespace flame::flmctl

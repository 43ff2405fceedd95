// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/rest/batch.hpp"

#include <nlohmann/json.hpp>

#include "proto/elements.hpp"

namespace flame::shims {

using nlohmann::json;

proto::Result<std::string> batch_request(std::string_view session, const CallQueue::Call& call) {
  // Inputs go in as they are: parsing would change numbers and cost time.
  std::string body = "{\"session\":" + json(session).dump() + ",\"tasks\":[";
  proto::ElementReader inputs(call.inputs.view());
  for (uint32_t i = 0; i < call.count; i++) {
    auto input = inputs.next().value_or("");
    if (input.empty()) input = "null";
    if (!json::accept(input)) {
      return proto::Error{proto::Code::kTaskFailed,
                          "the input of task " + std::to_string(call.first + i) +
                              " is not JSON, which a batch needs (rest.batch)"};
    }
    if (i > 0) body += ',';
    body += "{\"id\":" + std::to_string(call.first + i) +
            ",\"attempt\":" + std::to_string(call.attempt) + ",\"input\":";
    body += input;
    body += '}';
  }
  return body + "]}";
}

proto::Result<std::vector<BatchResult>> read_batch_answer(std::string_view body, uint32_t count) {
  auto wrong = [](const std::string& text) {
    return proto::Error{proto::Code::kBadFrame, "the answer to a batch " + text};
  };
  auto answer = json::parse(body, nullptr, false);
  if (answer.is_discarded()) return wrong("is not JSON");
  if (!answer.is_object() || !answer.contains("results") || !answer["results"].is_array())
    return wrong("has no list `results`");
  const auto& results = answer["results"];
  if (results.size() != count) {
    return wrong("has " + std::to_string(results.size()) + " results for " + std::to_string(count) +
                 " tasks");
  }
  std::vector<BatchResult> out;
  out.reserve(count);
  constexpr auto kReplace = json::error_handler_t::replace;
  for (const auto& result : results) {
    if (!result.is_object()) return wrong("has a result that is no object");
    if (auto error = result.find("error"); error != result.end() && !error->is_null()) {
      out.push_back({false, error->is_string() ? error->get<std::string>()
                                               : error->dump(-1, ' ', false, kReplace)});
    } else if (auto output = result.find("output"); output != result.end()) {
      out.push_back({true, output->dump(-1, ' ', false, kReplace)});
    } else {
      return wrong("has a result without `output` and without `error`");
    }
  }
  return out;
}

}  // namespace flame::shims

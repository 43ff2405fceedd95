// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/settings.hpp"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>

#include "autoscaler/kubernetes/text.hpp"
#include "proto/ids.hpp"
#include "proto/limits.hpp"
#include "proto/text.hpp"
#include "runtime/clock.hpp"

namespace flame::autoscaler {

using proto::Code;
using proto::Error;
using runtime::OptionRow;

namespace {

constexpr uint64_t kExecutorsMost = 100'000;
constexpr size_t kInstanceMost = 40, kNamespaceMost = 63;

// "flmping=1:8,other=0:2"
proto::Status read_limits(const std::string& text, Policy& policy) {
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string part = text.substr(at, end - at);
    at = end + 1;
    size_t equals = part.find('='), colon = part.find(':', equals == part.npos ? 0 : equals);
    auto wrong = [&] {
      return Error{Code::kBadRequest,
                   "--limits is APPLICATION=MIN:MAX, comma separated, MIN not above MAX; not '" +
                       proto::printable(part, 80) + "'"};
    };
    if (equals == part.npos || colon == part.npos) return wrong();
    auto name = proto::check_name("application", part.substr(0, equals));
    if (!name) return name.error();
    auto min = proto::parse_number<uint64_t>(
        std::string_view(part).substr(equals + 1, colon - equals - 1));
    auto max = proto::parse_number<uint64_t>(std::string_view(part).substr(colon + 1));
    if (!min || !max || *min > *max) return wrong();
    policy.of_application[*name] = {*min, *max};
  }
  return {};
}

proto::Status read_times(const runtime::Options& options, Policy& policy) {
  struct Row {
    const char* name;
    int64_t& out;
    bool may_be_zero;
    uint64_t pods_ms = 0;  ///< default for pods, which take longer; 0: the same
  };
  auto pods = is_kubernetes(options);
  if (!pods) return pods.error();
  for (const auto& row : {Row{"target-drain", policy.target_drain_us, false},
                          Row{"prior-run", policy.prior_run_us, false},
                          Row{"idle-after", policy.idle_after_us, true, 60'000},
                          Row{"stabilization", policy.stabilization_us, true, 120'000},
                          Row{"down-cooldown", policy.down_cooldown_us, true},
                          Row{"start-deadline", policy.start_deadline_us, false, 180'000}}) {
    auto ms = options.duration_ms(row.name);
    if (!ms) return ms.error();
    if (*pods && row.pods_ms > 0 && !options.given(row.name)) *ms = row.pods_ms;
    if (*ms == 0 && !row.may_be_zero)
      return Error{Code::kBadRequest, std::string("--") + row.name + " must be above 0"};
    row.out = static_cast<int64_t>(*ms) * proto::kUsPerMs;
  }
  return {};
}

// What may be part of a name.
bool is_label(const std::string& text, size_t most) {
  auto plain = [](unsigned char c) { return std::islower(c) != 0 || std::isdigit(c) != 0; };
  return !text.empty() && text.size() <= most && plain(text.front()) && plain(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [&](unsigned char c) { return plain(c) || c == '-'; });
}

std::string own_identity() {
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  return std::string(host) + "_" + runtime::random_letters(6);
}

proto::Result<kubernetes::PodDefaults> pod_defaults(const std::string& path) {
  if (path.empty()) return kubernetes::PodDefaults();
  std::ifstream file(path);
  if (!file) return Error{Code::kBadRequest, "--pod-defaults " + path + " cannot be read"};
  auto value = kubernetes::read_yaml({std::istreambuf_iterator<char>(file), {}});
  auto defaults = value ? kubernetes::pod_defaults_from(*value) : value.error();
  if (!defaults)
    return Error{Code::kBadRequest, "--pod-defaults " + path + ": " + defaults.error().message};
  return defaults;
}

}  // namespace

proto::Result<bool> is_kubernetes(const runtime::Options& options) {
  std::string provider = options.text("provider");
  if (provider == "local" || provider == "kubernetes") return provider == "kubernetes";
  return Error{Code::kBadRequest,
               "--provider is local or kubernetes, not '" + proto::printable(provider, 40) + "'"};
}

proto::Result<kubernetes::Settings> kubernetes_from(const runtime::Options& options,
                                                    const Policy& policy) {
  kubernetes::Place place{.space = options.text("namespace"),
                          .instance = options.text("instance"),
                          .broker = options.text("broker"),
                          .slots = policy.slots,
                          .cluster = options.text("cluster")};
  if (place.broker.empty())
    return Error{Code::kBadRequest,
                 "--broker is missing: the endpoint under which pods reach the broker, like "
                 "tcp://flame-broker:7701"};
  if (!is_label(place.instance, kInstanceMost))
    return Error{Code::kBadRequest,
                 "--instance has 1-40 lower-case letters, digits and, between them, '-'"};
  auto defaults = pod_defaults(options.text("pod-defaults"));
  if (!defaults) return defaults.error();
  auto access = kubernetes::load_access(options.text("kubeconfig"), options.text("context"));
  if (!access) return access.error();
  if (place.space.empty()) place.space = access->space.empty() ? "default" : access->space;
  if (!is_label(place.space, kNamespaceMost))
    return Error{Code::kBadRequest,
                 "'" + proto::printable(place.space, 80) + "' is no name of a namespace"};
  return kubernetes::Settings{std::move(*access), std::move(*defaults), std::move(place),
                              options.flag("no-election") ? "" : own_identity()};
}

std::string broker_from(const runtime::Options& options) {
  std::string given = options.text("endpoint");
  if (given.empty()) given = proto::client_endpoint_of(options.text("broker"));
  return given.empty() ? "tcp://127.0.0.1:7700" : given;
}

const std::vector<OptionRow>& option_rows() {
  static const std::vector<OptionRow> kRows = {
      {"provider", 0, "NAME", "local", "Who starts executors: local or kubernetes"},
      {"control", 0, "SOCKET", "",
       "local: control.sock of the flmctl up whose executors these are"},
      {"kubeconfig", 0, "FILE", "", "Default: the pod's service account, else ~/.kube/config"},
      {"context", 0, "NAME", "", "Of the kubeconfig; default: its current one"},
      {"namespace", 0, "NAME", "", "Of the pods; default: that of the context, or of our own pod"},
      {"instance", 0, "NAME", "flame", "Tells Flame clusters in one namespace apart"},
      {"no-election", 0, "", "", "This is the only one: it acts without a Lease"},
      {"broker", 0, "ENDPOINT", "", "The broker's endpoint for executors, as pods reach it"},
      {"endpoint", 0, "ENDPOINT", "",
       "That for clients, where we ask who is idle; default: one port below --broker"},
      {"cluster", 0, "NAME", "", "What the broker's cluster must be called; default: any"},
      {"pod-defaults", 0, "FILE", "", "What pods are made of, and what applications may say of it"},
      {"redis-url", 0, "URL", "redis://127.0.0.1:6379/0",
       "Redis of the broker: redis://host:port/db or unix:///path; not a flag", true},
      {"slots", 0, "N", "1", "Slots of an executor"},
      {"min-executors", 0, "N", "0", "Executors of all applications together, also without work"},
      {"max-executors", 0, "N", "16", "Executors of all applications together"},
      {"limits", 0, "LIST", "", "Executors of an application: APP=MIN:MAX, comma separated"},
      {"target-drain", 0, "TIME", "10s", "A backlog should be done within it"},
      {"prior-run", 0, "TIME", "1s", "What a task takes, until that is known"},
      {"spares", 0, "N", "0", "Executors of an application with work beyond what it needs"},
      {"idle-after", 0, "TIME", "10s", "Idle so long, an executor may go; for pods 1m"},
      {"stabilization", 0, "TIME", "10s", "Never below the most wanted in this time; for pods 2m"},
      {"down-cooldown", 0, "TIME", "2s", "Between two steps down"},
      {"step-up", 0, "N", "0", "Executors in one step up; 0: no limit"},
      {"step-down", 0, "N", "0", "Executors in one step down; 0: no limit"},
      {"tolerance", 0, "PERCENT", "10", "A difference that is left alone"},
      {"start-deadline", 0, "TIME", "30s", "Not there by then, it has failed; for pods 3m"},
      {"dry-run", 0, "", "", "Decide and write down, do nothing"},
      {"log-level", 0, "LEVEL", "info", "debug, info, warn or error"},
      {"log-format", 0, "FORMAT", "text", "text or json"},
      {"help", 'h', "", "", "This text"},
      {"version", 'V', "", "", "The version"},
  };
  return kRows;
}

proto::Result<Policy> policy_from(const runtime::Options& options) {
  Policy policy;
  struct Row {
    const char* name;
    uint64_t& out;
    uint64_t least, most;
    bool zero_is_any;
  };
  uint64_t tolerance = 0;
  for (const auto& row : {Row{"slots", policy.slots, 1, proto::kSlotsMax, false},
                          Row{"min-executors", policy.cluster_min, 0, kExecutorsMost, false},
                          Row{"max-executors", policy.cluster_max, 0, kExecutorsMost, false},
                          Row{"spares", policy.spares, 0, kExecutorsMost, false},
                          Row{"step-up", policy.step_up_max, 0, kExecutorsMost, true},
                          Row{"step-down", policy.step_down_max, 0, kExecutorsMost, true},
                          Row{"tolerance", tolerance, 0, 100, false}}) {
    auto number = options.number(row.name, row.least, row.most);
    if (!number) return number.error();
    row.out = *number == 0 && row.zero_is_any ? UINT64_MAX : *number;
  }
  policy.tolerance = static_cast<double>(tolerance) / 100;
  if (policy.cluster_min > policy.cluster_max) {
    return Error{Code::kBadRequest, "--min-executors " + std::to_string(policy.cluster_min) +
                                        " is above --max-executors " +
                                        std::to_string(policy.cluster_max)};
  }
  if (auto status = read_times(options, policy); !status) return status.error();
  if (auto status = read_limits(options.text("limits"), policy); !status) return status.error();
  return policy;
}

}  // namespace flame::autoscaler

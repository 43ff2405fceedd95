// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/verbs.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "client/flmctl/up.hpp"
#include "client/tool.hpp"
#include "proto/text.hpp"

namespace flame::flmctl {

using proto::Code;
using proto::Error;
using runtime::OptionRow;

namespace {

std::vector<OptionRow> none() { return {}; }

// What a verb is about is said to that call. FLAME_APPLICATION is the one of a service, which may
// be a client too.
OptionRow selector(std::string name, char letter, std::string argument, std::string help) {
  return {.name = std::move(name),
          .letter = letter,
          .argument = std::move(argument),
          .help = std::move(help),
          .no_environment = true};
}
const OptionRow kSessionRow =
    selector("session", 's', "ID", "the session: id, unique prefix, or `last`");
const OptionRow kApplicationRow = selector("application", 'a', "NAME", "the application");
const OptionRow kExecutorRow = selector("executor", 'e', "ID", "the executor: id or unique prefix");

std::vector<OptionRow> selectors() {
  return {kSessionRow, kApplicationRow, selector("executor", 'e', "ID", "the executor"),
          selector("task", 't', "N", "the task of that number, of session -s")};
}
std::vector<OptionRow> of_session(std::vector<OptionRow> rows) {
  rows.insert(rows.begin(), kSessionRow);
  return rows;
}
std::vector<OptionRow> session_options() { return {kSessionRow}; }
std::vector<OptionRow> executor_options() { return {kExecutorRow}; }
std::vector<OptionRow> application_options() { return {kApplicationRow}; }

std::vector<OptionRow> list_options() {
  return {selector("session", 's', "", "sessions (also without any word)"),
          selector("application", 'a', "", "applications"),
          selector("executor", 'e', "", "executors that are connected"),
          selector("task", 't', "", "tasks of a session"),
          {"state", 0, "STATES", "",
           "tasks: pending, running, succeed, failed, cancelled; several with a comma"},
          {"limit", 0, "N", "1000", "tasks: at most so many"},
          {"all", 0, "", "", "also executors that left"}};
}

std::vector<OptionRow> create_options() {
  return {kApplicationRow,
          {"name", 0, "ID", "", "the session's id; else one is made"},
          {"common-data", 'c', "FILE", "", "common data: a file, or - for stdin"},
          {"min-instances", 0, "N", "0", "instances kept while the session is open"},
          {"max-instances", 0, "N", "0", "instances at most; 0: as many as there are"},
          {"priority", 'P', "N", "0", "kept and shown, not acting yet"},
          {"batch-size", 0, "N", "1", "kept and shown, not acting yet"},
          {"resreq", 'r', "TEXT", "", "resources per instance; kept and shown, not acting yet"},
          {"durability", 0, "LEVEL", "stored", "memory, stored, synced or replicated"},
          {"retention", 0, "HOW", "ttl",
           "outputs are kept: `ttl` for a time after close, `read` until read"},
          {"results-ttl", 0, "TIME", "0", "how long; 0: the application's"},
          {"open-or-create", 0, "", "", "an equal session of that id is fine"}};
}

std::vector<OptionRow> submit_options() {
  return of_session({{"wait", 'w', "", "", "wait for the results and print them"}});
}
std::vector<OptionRow> wait_options() {
  return of_session({{"closed", 0, "", "", "until the session is closed"}});
}
std::vector<OptionRow> results_options() {
  return of_session({{"after", 0, "CURSOR", "", "only what came after it"},
                     {"follow", 'f', "", "", "go on until the session is closed"}});
}
std::vector<OptionRow> cancel_options() {
  return of_session(
      {{"running", 0, "", "", "also what runs: its service is told, and killed after 5 s"}});
}
std::vector<OptionRow> delete_options() {
  return of_session({{"force", 0, "", "", "also if it is not closed"}});
}
std::vector<OptionRow> register_options() {
  return {{"file", 'f', "FILE", "", "manifests (YAML, several documents); - for stdin"}};
}
std::vector<OptionRow> update_options() {
  return {kApplicationRow,
          kSessionRow,
          {"file", 'f', "FILE", "", "the fields that change, or a manifest (YAML); - for stdin"},
          {"common-data", 'c', "FILE", "", "a session's new common data; - for stdin"}};
}
std::vector<OptionRow> task_options() {
  return of_session({selector("task", 't', "N", "only the task of that number")});
}
std::vector<OptionRow> recover_options() {
  return {{"accept-loss", 0, "", "", "go on with what Redis has; lost tasks are reported by id"}};
}

std::vector<OptionRow> scale_options() {
  auto rows = simulate_options();
  rows.insert(rows.begin(), {"watch", 'w', "", "", "again each second, until Ctrl-C"});
  return rows;
}

constexpr std::array kVerbs = {
    Verb{"up", "", "start a local cluster, or what is missing of it", nullptr, nullptr, run_up},
    Verb{"down", "", "stop the local cluster", nullptr, nullptr, run_down},
    Verb{"status", "", "how the local cluster is", nullptr, nullptr, run_status},
    Verb{"list", "[session|application|executor|node] [PREFIX]\n       flmctl list task SESSION",
         "list things (sessions without a word)", list_options, run_list},
    Verb{"view", "[session|application|executor] ID\n       flmctl view task SESSION/N",
         "everything about one thing, and why it is so", selectors, run_view},
    Verb{"create", "-a APPLICATION", "create a session, print its id", create_options, run_create},
    Verb{"submit", "SESSION [INPUT...]",
         "submit tasks (else one per line of stdin), print their ids", submit_options, run_submit},
    Verb{"wait", "SESSION", "wait until no task is pending or running", wait_options, run_wait},
    Verb{"results", "SESSION", "print results in the order of completion", results_options,
         run_results},
    Verb{"watch", "SESSION\n       flmctl watch task SESSION/N",
         "results and progress as they come; or the way of one task", task_options, run_watch},
    Verb{"logs", "SESSION[/N]", "what its services wrote last (of task N: while that ran)",
         task_options, run_logs},
    Verb{"cancel", "SESSION [N|FIRST-LAST...]",
         "cancel pending tasks: all, or those of these numbers", cancel_options, run_cancel},
    Verb{"close", "SESSION", "cancel what is pending, let finish what runs", session_options,
         run_close},
    Verb{"delete", "SESSION", "remove a closed session and its data", delete_options, run_delete},
    Verb{"register", "-f FILE", "register applications", register_options, run_register},
    Verb{"update", "APPLICATION [FIELD=VALUE...]\n       flmctl update session ID -c FILE",
         "change an application, or a session's common data, while in use", update_options,
         run_update},
    Verb{"unregister", "APPLICATION", "remove an application", application_options, run_unregister},
    Verb{"cordon", "EXECUTOR", "it finishes what it has and takes nothing new", executor_options,
         run_cordon},
    Verb{"uncordon", "EXECUTOR", "it takes tasks again", executor_options, run_uncordon},
    Verb{"drain", "EXECUTOR", "cordon it for good: once it is idle it leaves", executor_options,
         run_drain},
    Verb{"recover", "--accept-loss", "go on after Redis lost confirmed writes", recover_options,
         run_recover},
    Verb{"scale",
         "\n       flmctl scale explain|record APPLICATION\n       flmctl scale simulate --trace "
         "FILE",
         "executors that the autoscaler wants and has, and why", scale_options, run_scale},
    Verb{"version", "", "of flmctl and of the broker", none, run_version},
    Verb{"limits", "", "every bound and interval, what happens at it; -o wide: and why", none,
         run_limits},
};

bool waits_for_ever(std::string_view verb) {
  return verb == "wait" || verb == "submit" || verb == "watch";
}

std::vector<OptionRow> options_of(const Verb& verb) {
  auto rows = verb.options();
  std::vector<OptionRow> common = {
      {"output", 'o', "FORMAT", "table", "table, wide, json, yaml or name"},
      {"endpoint", 0, "URL", "", "broker; default: FLAME_ENDPOINT, else the local cluster"},
      {"cluster", 0, "NAME", "", "what the broker's cluster must be called; default: any"},
      {"timeout", 0, "TIME", waits_for_ever(verb.name) ? "" : "30s",
       "give up after: 500ms, 30s, 5m"},
      {"help", 'h', "", "", "this text"}};
  rows.insert(rows.end(), common.begin(), common.end());
  return rows;
}

std::string overview() {
  std::string text = "Usage: flmctl VERB [KIND] [ID] [options]\n\n";
  for (const auto& verb : kVerbs) {
    text += "  " + std::string(verb.name) + std::string(12 - verb.name.size(), ' ') +
            std::string(verb.summary) + "\n";
  }
  return text +
         "\nflmctl VERB --help says more. A session: its id, a unique prefix, or `last`; an\n"
         "executor: its id or a unique prefix; an application: its name in full.\n"
         "The broker: --endpoint, else FLAME_ENDPOINT, else the current context of\n"
         "~/.flame/flame.yaml, else the local one of flmctl up.\n"
         "Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 some tasks failed,\n"
         "5 no broker, 124 timed out, 130 interrupted.\n";
}

std::string help_of(const Verb& verb) {
  return "Usage: flmctl " + std::string(verb.name) + (verb.arguments.empty() ? "" : " ") +
         std::string(verb.arguments) + " [options]\n\n  " + std::string(verb.summary) + "\n\n" +
         runtime::options_help(options_of(verb));
}

const Verb* find_verb(std::string_view name) {
  auto found =
      std::find_if(kVerbs.begin(), kVerbs.end(), [name](auto& v) { return v.name == name; });
  return found == kVerbs.end() ? nullptr : &*found;
}

int unknown_verb(std::string_view name) {
  std::vector<std::string_view> names;
  for (const auto& verb : kVerbs) names.push_back(verb.name);
  auto near = proto::nearest(name, names);
  return tools::fail_usage(
      "flmctl", Error{Code::kBadRequest,
                      "unknown verb '" + proto::printable(name, 40) + "'" +
                          (near.empty() ? "" : "; did you mean '" + std::string(near) + "'?")});
}

}  // namespace

std::span<const Verb> verbs() { return kVerbs; }

int run_flmctl(int argc, const char* const* argv) {
  std::string_view name = argc > 1 ? argv[1] : "";
  if (name == "--version") name = "version";
  bool asks = name == "help" || name == "--help" || name == "-h";
  if (name.empty() || asks) {
    auto verb = argc > 2 ? find_verb(argv[2]) : nullptr;
    if (asks && verb != nullptr && verb->run_raw != nullptr) {
      const char* words[] = {argv[2], "--help"};
      return verb->run_raw(2, words);
    }
    if (asks && verb != nullptr) {
      std::fputs(help_of(*verb).c_str(), stdout);
    } else {
      std::fputs(overview().c_str(), asks ? stdout : stderr);
    }
    return asks ? tools::kExitOk : tools::kExitUsage;
  }
  auto verb = find_verb(name);
  if (verb == nullptr) return unknown_verb(name);
  if (verb->run_raw != nullptr) return verb->run_raw(argc - 1, argv + 1);
  auto options = runtime::Options::parse(options_of(*verb), argc - 1, argv + 1);
  if (!options) return tools::fail_usage("flmctl " + std::string(name), options.error());
  if (options->flag("help")) {
    std::fputs(help_of(*verb).c_str(), stdout);
    return tools::kExitOk;
  }
  Command command(std::string(name), std::move(*options));
  if (auto format = command.format(); !format) return command.fail_usage(format.error());
  if (auto wait = command.options().duration_ms("timeout");
      !wait && command.options().given("timeout"))
    return command.fail_usage(wait.error());
  try {
    return verb->run(command);
  } catch (const flame::Error& thrown) {  // the public client throws
    Error error{static_cast<Code>(thrown.code()), thrown.what(), thrown.retry_after_ms()};
    if (error.code == Code::kWrongState && name == "submit")
      error = Command::with_next_step(error, "flmctl create -a APPLICATION makes another one");
    return command.fail(error);
  }
}

}  // namespace flame::flmctl

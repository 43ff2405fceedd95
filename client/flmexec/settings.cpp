// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmexec/settings.hpp"

#include "proto/text.hpp"
#include "runtime/options.hpp"

namespace flame::exec {

using proto::Code;
using proto::Error;

namespace {

// The code becomes one argument of its interpreter; Linux allows 128 KiB for one.
constexpr size_t kCodeBytesMax = 120 * 1024;

const std::vector<runtime::OptionRow>& rows() {
  static const std::vector<runtime::OptionRow> kRows = {
      {"task-num", 't', "N", "10", "how many times to run it"},
      {"code", 'c', "CODE", "", "what to run; FLAME_TASK_ID tells which task it is"},
      {"language", 'l', "LANG", "shell", "shell or python"},
      {"input", 'i', "TEXT", "", "given to each task on its stdin"},
      {"timeout", 0, "TIME", "0", "give up after this long without a result; 0: never"},
      {"endpoint", 0, "URL", "", "broker; default: FLAME_ENDPOINT, else the local cluster"},
      {"cluster", 0, "NAME", "", "what the broker's cluster must be called; default: any"},
      {"help", 'h', "", "", "this text"},
      {"version", 0, "", "", "print the version"},
  };
  return kRows;
}

// As one word of a shell, whatever it holds.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

proto::Status check(const Settings& settings) {
  if (settings.code.empty()) {
    return Error{Code::kBadRequest,
                 "what to run? Give it with -c: flmexec -t 3 -c 'echo $FLAME_TASK_ID'"};
  }
  if (settings.code.size() > kCodeBytesMax) {
    return Error{Code::kTooLarge, "the code is longer than " + std::to_string(kCodeBytesMax) +
                                      " bytes; put it in a file and run that"};
  }
  if (settings.language != "shell" && settings.language != "python") {
    return Error{Code::kBadRequest, "-l must be shell or python, not '" +
                                        proto::printable(settings.language, 40) + "'"};
  }
  return {};
}

}  // namespace

proto::Result<Settings> parse_settings(int argc, const char* const* argv) {
  auto options = runtime::Options::parse(rows(), argc, argv);
  if (!options) return options.error();
  Settings settings;
  settings.help = options->flag("help");
  settings.version = options->flag("version");
  if (settings.help || settings.version) return settings;
  if (!options->positional().empty()) {
    return Error{Code::kBadRequest, "unexpected argument '" +
                                        proto::printable(options->positional().front(), 60) +
                                        "'; quote the code: -c 'echo a b'"};
  }
  auto tasks = options->number("task-num", 1, 100'000'000);
  if (!tasks) return tasks.error();
  auto timeout = options->duration_ms("timeout");
  if (!timeout) return timeout.error();
  settings.tasks = *tasks;
  settings.timeout_ms = *timeout;
  settings.code = options->text("code");
  settings.language = options->text("language");
  settings.input = options->text("input");
  settings.has_input = options->given("input");
  settings.endpoint = options->text("endpoint");
  settings.cluster = options->text("cluster");
  if (auto status = check(settings); !status) return status.error();
  return settings;
}

std::string help_text() {
  return "Usage: flmexec -t N -c CODE [options]\n\n"
         "Runs a piece of shell or Python as N tasks and prints their outputs in order.\n"
         "A task whose exit code is not 0 has failed; its stderr is shown.\n\n" +
         runtime::options_help(rows()) +
         "\nExit codes: 0 all succeeded, 1 failed, 2 usage, 4 some tasks failed,\n"
         "5 no broker, 124 timed out, 130 interrupted.\n"
         "Example: flmexec -t 3 -c 'echo task $FLAME_TASK_ID on $(hostname)'\n";
}

std::string script_of(const Settings& settings) {
  std::string run = settings.language == "python" ? "python3 -c " : "/bin/sh -c ";
  run += quoted(settings.code);
  if (!settings.has_input) return "exec " + run + " </dev/null\n";
  return "printf %s " + quoted(settings.input) + " | " + run + "\n";
}

}  // namespace flame::exec

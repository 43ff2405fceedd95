// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Command lines, environment and configuration files from one table; the only user of
// boost.program_options. Order: flag, environment (FLAME_<NAME>), file, default.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proto/error.hpp"

namespace flame::runtime {

struct OptionRow {
  std::string name;      ///< "redis-url": --redis-url, FLAME_REDIS_URL, `redis-url:` in the file
  char letter = 0;       ///< 'd' for -d, or 0
  std::string argument;  ///< shown in the help; "" makes it a switch
  std::string fallback;  ///< default, as text
  std::string help;      ///< with the unit
  bool secret = false;   ///< not accepted on the command line: `ps` would show it
  /// Not read from the environment, where its name means something else.
  bool no_environment = false;
};

class Options {
 public:
  /// argv[0] is skipped. Unknown options and file keys are errors that name the nearest right one.
  /// The file is the one of `--config` if the table has it; a missing default file is fine.
  static proto::Result<Options> parse(const std::vector<OptionRow>& rows, int argc,
                                      const char* const* argv);

  std::string text(std::string_view name) const;
  bool flag(std::string_view name) const;
  /// Given by flag, environment or file rather than by default.
  bool given(std::string_view name) const;
  proto::Result<uint64_t> number(std::string_view name, uint64_t least, uint64_t most) const;
  /// Bytes: 64, 64KiB, 1MiB, 1GiB.
  proto::Result<uint64_t> size(std::string_view name) const;
  /// Milliseconds: 500ms, 3s, 5m, 2h; a plain number is seconds.
  proto::Result<uint64_t> duration_ms(std::string_view name) const;
  const std::vector<std::string>& positional() const { return positional_; }

 private:
  std::map<std::string, std::string, std::less<>> values_;
  std::map<std::string, bool, std::less<>> given_;
  std::vector<std::string> positional_;
};

/// The option part of a help text, 80 columns.
std::string options_help(const std::vector<OptionRow>& rows);

proto::Result<uint64_t> parse_size(std::string_view text);
proto::Result<uint64_t> parse_duration_ms(std::string_view text);

}  // namespace flame::runtime

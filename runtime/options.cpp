// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/options.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <cstdlib>
#include <filesystem>

#include "proto/text.hpp"

namespace flame::runtime {

namespace po = boost::program_options;
using proto::Code;
using proto::Error;

namespace {

std::string environment_name(const std::string& name) {
  std::string out = "FLAME_";
  for (char c : name) out += c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return out;
}

std::vector<std::string> names_of(const std::vector<OptionRow>& rows) {
  std::vector<std::string> names;
  for (const auto& row : rows) names.push_back(row.name);
  return names;
}

Error unknown(std::string_view what, const std::string& name, const std::vector<OptionRow>& rows,
              std::string_view prefix) {
  auto names = names_of(rows);
  auto near = proto::nearest(name, names);
  return Error{Code::kBadRequest, "unknown " + std::string(what) + " '" + std::string(prefix) +
                                      proto::printable(name, 60) + "'" +
                                      (near.empty() ? "; --help lists all"
                                                    : "; did you mean '" + std::string(prefix) +
                                                          std::string(near) + "'?")};
}

using Values = std::map<std::string, std::string, std::less<>>;

proto::Status read_command_line(const std::vector<OptionRow>& rows, int argc,
                                const char* const* argv, Values& values,
                                std::vector<std::string>& positional) {
  po::options_description description;
  for (const auto& row : rows) {
    std::string names = row.name + (row.letter != 0 ? std::string(",") + row.letter : "");
    if (row.argument.empty()) {
      description.add_options()(names.c_str(), "");
    } else {
      description.add_options()(names.c_str(), po::value<std::string>(), "");
    }
  }
  description.add_options()("positional-words", po::value<std::vector<std::string>>());
  po::positional_options_description places;
  places.add("positional-words", -1);
  auto style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  try {
    auto parsed = po::command_line_parser(argc, argv)
                      .options(description)
                      .positional(places)
                      .style(style)
                      .run();
    for (const auto& option : parsed.options) {
      if (option.string_key == "positional-words") {
        positional.insert(positional.end(), option.value.begin(), option.value.end());
        continue;
      }
      auto row = std::find_if(rows.begin(), rows.end(),
                              [&](const OptionRow& r) { return r.name == option.string_key; });
      if (row->secret) {
        return Error{Code::kBadRequest, "--" + row->name +
                                            " is a secret: every user could read it in " +
                                            "the process list; use " + environment_name(row->name)};
      }
      values[option.string_key] = option.value.empty() ? "true" : option.value.front();
    }
  } catch (const po::unknown_option& error) {
    std::string name = error.get_option_name();
    name.erase(0, name.find_first_not_of('-'));
    return unknown("option", name, rows, name.size() == 1 ? "-" : "--");
  } catch (const po::error& error) {
    return Error{Code::kBadRequest, error.what()};
  }
  return {};
}

proto::Status read_file(const std::vector<OptionRow>& rows, const std::string& path,
                        Values& values) {
  try {
    YAML::Node file = YAML::LoadFile(path);
    if (file.IsNull()) return {};
    if (!file.IsMap()) return Error{Code::kBadRequest, path + ": not a map of options"};
    for (const auto& entry : file) {
      auto name = entry.first.as<std::string>();
      bool known =
          std::any_of(rows.begin(), rows.end(), [&](auto& row) { return row.name == name; });
      if (!known) {
        auto error = unknown("key", name, rows, "");
        error.message =
            path + ":" + std::to_string(entry.first.Mark().line + 1) + ": " + error.message;
        return error;
      }
      if (!entry.second.IsScalar()) {
        return Error{Code::kBadRequest, path + ": '" + name + "' must be a single value"};
      }
      values[name] = entry.second.as<std::string>();
    }
  } catch (const YAML::Exception& error) {
    return Error{Code::kBadRequest, "cannot read " + path + ": " + error.what()};
  }
  return {};
}

}  // namespace

proto::Result<Options> Options::parse(const std::vector<OptionRow>& rows, int argc,
                                      const char* const* argv) {
  Options options;
  Values flags, file;
  if (auto status = read_command_line(rows, argc, argv, flags, options.positional_); !status) {
    return status.error();
  }
  auto environment = [](const OptionRow& row) {
    return row.no_environment ? nullptr : std::getenv(environment_name(row.name).c_str());
  };
  for (const auto& row : rows) {
    if (row.name != "config") continue;
    auto from_environment = environment(row);
    std::string path = flags.contains("config")      ? flags["config"]
                       : from_environment != nullptr ? from_environment
                                                     : row.fallback;
    bool asked = flags.contains("config") || from_environment != nullptr;
    if (!path.empty() && (asked || std::filesystem::exists(path))) {
      if (auto status = read_file(rows, path, file); !status) return status.error();
    }
  }
  for (const auto& row : rows) {
    auto from_environment = environment(row);
    bool given = true;
    if (auto flag = flags.find(row.name); flag != flags.end()) {
      options.values_[row.name] = flag->second;
    } else if (from_environment != nullptr) {
      options.values_[row.name] = from_environment;
    } else if (auto entry = file.find(row.name); entry != file.end()) {
      options.values_[row.name] = entry->second;
    } else {
      options.values_[row.name] = row.fallback;
      given = false;
    }
    options.given_[row.name] = given;
  }
  return options;
}

std::string Options::text(std::string_view name) const {
  auto found = values_.find(name);
  return found == values_.end() ? "" : found->second;
}
bool Options::flag(std::string_view name) const {
  std::string value = text(name);
  return value == "true" || value == "1" || value == "yes";
}
bool Options::given(std::string_view name) const {
  auto found = given_.find(name);
  return found != given_.end() && found->second;
}

proto::Result<uint64_t> Options::number(std::string_view name, uint64_t least,
                                        uint64_t most) const {
  auto value = proto::parse_number<uint64_t>(text(name));
  if (value && *value >= least && *value <= most) return *value;
  return Error{Code::kBadRequest, "--" + std::string(name) + " must be a number from " +
                                      std::to_string(least) + " to " + std::to_string(most) +
                                      ", not '" + proto::printable(text(name), 40) + "'"};
}

proto::Result<uint64_t> Options::size(std::string_view name) const {
  auto value = parse_size(text(name));
  if (!value)
    return Error{value.error().code, "--" + std::string(name) + ": " + value.error().message};
  return value;
}
proto::Result<uint64_t> Options::duration_ms(std::string_view name) const {
  auto value = parse_duration_ms(text(name));
  if (!value)
    return Error{value.error().code, "--" + std::string(name) + ": " + value.error().message};
  return value;
}

namespace {
struct Unit {
  std::string_view name;
  uint64_t factor;
};
template <class Units>
proto::Result<uint64_t> parse_with_unit(std::string_view text, const Units& units,
                                        std::string_view example) {
  size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  auto number = proto::parse_number<uint64_t>(text.substr(0, digits));
  for (const Unit& unit : units) {
    if (number && text.substr(digits) == unit.name && *number <= UINT64_MAX / unit.factor) {
      return *number * unit.factor;
    }
  }
  return Error{Code::kBadRequest,
               "'" + proto::printable(text, 40) + "' is not " + std::string(example)};
}
}  // namespace

proto::Result<uint64_t> parse_size(std::string_view text) {
  static constexpr std::array kUnits = {
      Unit{"", 1},          Unit{"B", 1},       Unit{"KiB", 1 << 10}, Unit{"K", 1 << 10},
      Unit{"MiB", 1 << 20}, Unit{"M", 1 << 20}, Unit{"GiB", 1 << 30}, Unit{"G", 1 << 30}};
  return parse_with_unit(text, kUnits, "a size like 64, 1KiB, 256MiB or 2GiB");
}

proto::Result<uint64_t> parse_duration_ms(std::string_view text) {
  static constexpr std::array kUnits = {Unit{"ms", 1}, Unit{"s", 1000}, Unit{"", 1000},
                                        Unit{"m", 60'000}, Unit{"h", 3'600'000}};
  return parse_with_unit(text, kUnits, "a duration like 500ms, 3s, 5m or 2h");
}

std::string options_help(const std::vector<OptionRow>& rows) {
  constexpr size_t kColumn = 28, kWidth = 80;
  std::string out;
  for (const auto& row : rows) {
    if (row.help.empty()) continue;
    std::string left = row.letter != 0 ? std::string("  -") + row.letter + ", --" + row.name
                                       : "      --" + row.name;
    if (row.secret) left = "      " + environment_name(row.name);
    if (!row.argument.empty() && !row.secret) left += " " + row.argument;
    std::string help = row.help;
    if (!row.fallback.empty() && !row.argument.empty()) help += " (default " + row.fallback + ")";
    left += left.size() + 2 > kColumn ? "\n" + std::string(kColumn, ' ')
                                      : std::string(kColumn - left.size(), ' ');
    out += left;
    while (help.size() > kWidth - kColumn) {
      size_t cut = help.rfind(' ', kWidth - kColumn);
      if (cut == help.npos || cut == 0) break;
      out += help.substr(0, cut) + "\n" + std::string(kColumn, ' ');
      help.erase(0, cut + 1);
    }
    out += help + "\n";
  }
  return out;
}

}  // namespace flame::runtime

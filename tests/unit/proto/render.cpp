// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/unit/proto/render.hpp"

#include <fstream>
#include <map>
#include <regex>
#include <sstream>

namespace flame::proto::test {

namespace {

std::map<std::string, std::vector<std::string>> read_field_names() {
  std::stringstream buffer;
  for (auto name : {"messages", "client_messages", "executor_messages"}) {
    std::ifstream file(std::string(FLAME_SOURCE_DIR "/proto/") + name + ".hpp");
    buffer << file.rdbuf();
  }
  const std::string text = buffer.str();
  static const std::regex kStruct(R"(\nstruct (\w+) \{)");
  static const std::regex kList(R"(return f\(([^)]*)\))");
  static const std::regex kName(R"(\w+)");
  std::map<std::string, std::vector<std::string>> names;
  for (std::sregex_iterator at(text.begin(), text.end(), kStruct), end; at != end; ++at) {
    auto from = text.begin() + at->position();
    auto to =
        text.begin() + static_cast<long>(text.find("\n};", static_cast<size_t>(at->position())));
    std::smatch list;
    if (!std::regex_search(from, to, list, kList)) continue;
    const std::string arguments = list[1];
    for (std::sregex_iterator name(arguments.begin(), arguments.end(), kName); name != end;
         ++name) {
      names[(*at)[1]].push_back(name->str());
    }
  }
  return names;
}

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    auto lead = static_cast<unsigned char>(text[at++]);
    int more = lead < 0x80       ? 0
               : lead >> 5 == 6  ? 1
               : lead >> 4 == 14 ? 2
               : lead >> 3 == 30 ? 3
                                 : -1;
    if (more < 0) return false;
    for (; more > 0; more--, at++) {
      if (at >= text.size() || (static_cast<unsigned char>(text[at]) >> 6) != 2) return false;
    }
  }
  return true;
}

}  // namespace

std::vector<std::string> field_names(const std::string& struct_name) {
  static const auto names = read_field_names();
  auto found = names.find(struct_name);
  return found == names.end() ? std::vector<std::string>() : found->second;
}

Json render_text(std::string_view text) {
  if (is_utf8(text)) return text;
  return Json{{"hex", to_hex(text)}};
}

Json render_value(const Value& value) {
  return std::visit(
      [](const auto& data) -> Json {
        using D = std::decay_t<decltype(data)>;
        if constexpr (std::is_same_v<D, std::monostate>) {
          return nullptr;
        } else if constexpr (std::is_same_v<D, std::string>) {
          return render_text(data);
        } else if constexpr (std::is_same_v<D, List>) {
          return render(data);
        } else if constexpr (std::is_same_v<D, Map>) {
          Json out = Json::object();
          for (const auto& [name, item] : data) out[name] = render_value(item);
          return out;
        } else {
          return data;
        }
      },
      value.data);
}

std::string to_hex(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (char c : bytes) {
    auto byte = static_cast<unsigned char>(c);
    out += {kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

std::string from_hex(std::string_view hex) {
  auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out += static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1]));
  }
  return out;
}

}  // namespace flame::proto::test

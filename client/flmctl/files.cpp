// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/files.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace flame::flmctl {

using proto::Code;
using proto::Error;

proto::Result<std::string> read_file(const std::string& path, uint64_t size_max) {
  std::FILE* file = path == "-" ? stdin : std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    // Not `not_found`: its exit code is about what the cluster has.
    return Error{Code::kSystem, "cannot read " + path + ": " + std::strerror(errno)};
  }
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    size_t got = std::fread(buffer.data(), 1, buffer.size(), file);
    if (got == 0 || text.size() > size_max) break;
    text.append(buffer.data(), got);
  }
  bool failed = std::ferror(file) != 0;
  std::string reason = failed ? std::strerror(errno) : "";
  if (file != stdin) std::fclose(file);
  if (failed) return Error{Code::kSystem, "cannot read " + path + ": " + reason};
  if (text.size() > size_max) {
    return Error{Code::kTooLarge, path + " is larger than " + std::to_string(size_max) + " bytes"};
  }
  return text;
}

}  // namespace flame::flmctl

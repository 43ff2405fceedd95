// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "service/cancellations.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "shims/native_protocol.hpp"

namespace flame::service {

bool Cancellations::contains(uint64_t task) {
  auto known = [&] {
    return std::any_of(runs_.begin(), runs_.end(), [&](const auto& run) {
      return task >= run.first && task - run.first < run.second;
    });
  };
  if (known()) return true;
  read_some();
  return known();
}

void Cancellations::forget() {
  read_some();
  runs_.clear();
}

void Cancellations::read_some() {
  if (fd_ < 0) return;
  std::array<char, 64 * shims::native::kCancelRecordBytes> buffer;
  for (;;) {
    ssize_t got = ::read(fd_, buffer.data(), buffer.size());
    if (got <= 0) return;
    shims::native::Reader reader({buffer.data(), static_cast<size_t>(got)});
    while (reader.rest().size() >= shims::native::kCancelRecordBytes) {
      auto first = reader.number<uint64_t>();
      runs_.emplace_back(first, reader.number<uint64_t>());
    }
    if (static_cast<size_t>(got) < buffer.size()) return;
  }
}

}  // namespace flame::service

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The place in a mapped file where a batch is written and sent from, as in the real store. What is
// left out is knowing when a batch may be forgotten: the oldest bytes are simply overwritten.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "bench/ceiling/processes.hpp"
#include "proto/limits.hpp"

namespace flame::ceiling {

class Ring {
 public:
  explicit Ring(const std::string& folder) {
    int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, proto::kRingBytes) != 0) die("cannot make the ring in " + folder);
    void* at = mmap(nullptr, proto::kRingBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED) die("cannot map the ring in " + folder);
    base_ = static_cast<char*>(at);
  }
  ~Ring() { munmap(base_, proto::kRingBytes); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  char* reserve(size_t size_max) {
    if (size_max > proto::kRingBytes) die("a batch larger than the ring");
    if (at_ + size_max > proto::kRingBytes) at_ = 0;
    return base_ + at_;
  }
  void commit(size_t size) { at_ += size; }

 private:
  char* base_;
  size_t at_ = 0;
};

}  // namespace flame::ceiling

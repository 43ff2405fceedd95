// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/ring_file.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proto/crc32c.hpp"
#include "runtime/log.hpp"

namespace flame::broker {

namespace {

constexpr size_t kPageBytes = 4096;

proto::Error failure(const std::string& verb, const std::string& path, const char* hint) {
  return {proto::Code::kSystem,
          "cannot " + verb + " the ring " + path + ": " + strerror(errno) + "; " + hint, 0};
}

}  // namespace

std::string RingFile::path_of(const std::string& folder, const std::string& cluster,
                              const std::string& data_folder) {
  char hex[9];
  snprintf(hex, sizeof hex, "%08x", proto::crc32c(data_folder));
  return folder + "/flame-" + cluster + "-" + hex + ".ring";
}

proto::Result<std::unique_ptr<RingFile>> RingFile::open(const std::string& path, size_t bytes) {
  constexpr auto kHint = "choose another folder with --ring-dir";
  bytes = std::max<size_t>(bytes, Ring::kBytesMin) / kPageBytes * kPageBytes;
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return failure("open", path, kHint);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    auto error = failure("lock", path, "another broker of this cluster and data folder is running");
    ::close(fd);
    return error;
  }
  struct stat info {};
  fstat(fd, &info);
  auto size = static_cast<size_t>(info.st_size) / kPageBytes * kPageBytes;
  if (size < Ring::kBytesMin) size = bytes;
  if (info.st_uid != geteuid() || fchmod(fd, 0600) != 0 ||
      ftruncate(fd, static_cast<off_t>(size)) != 0) {
    auto error = failure("prepare", path, kHint);
    ::close(fd);
    return error;
  }
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    auto error = failure("map", path, kHint);
    ::close(fd);
    return error;
  }
  std::unique_ptr<RingFile> file(new RingFile(path, fd, {static_cast<char*>(memory), size}));
  if (!file->take({0, kStepBytes})) {
    errno = ENOSPC;
    return failure("find room for", path, kHint);
  }
  file->ring_ = std::make_unique<Ring>(file->memory_);
  return file;
}

RingFile::RingFile(std::string path, int fd, std::span<char> memory)
    : path_(std::move(path)),
      fd_(fd),
      memory_(memory),
      steps_((memory.size() + kStepBytes - 1) / kStepBytes, Step{.filled = true}) {}

RingFile::~RingFile() {
  ring_.reset();
  munmap(memory_.data(), memory_.size());
  ::close(fd_);
}

Ring::Range RingFile::bytes_of(size_t step) const {
  return {step * kStepBytes, std::min(memory_.size(), (step + 1) * kStepBytes)};
}

bool RingFile::take(Ring::Range range) {
  size_t end = std::min(range.to, memory_.size());
  for (size_t at = range.from / kStepBytes; at * kStepBytes < end; at++) {
    Step& step = steps_[at];
    step.unused_since_us = 0;
    if (step.promised) continue;
    auto [from, to] = bytes_of(at);
    int failed;
    do {
      failed = fallocate(fd_, 0, static_cast<off_t>(from), static_cast<off_t>(to - from));
    } while (failed != 0 && errno == EINTR);
    step.filled = true;
    // A filesystem that cannot promise is taken at its word.
    if (failed != 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
      if (!std::exchange(said_full_, true)) {
        runtime::log::warn("no room for the ring to grow: submits will be answered busy earlier",
                           {{"path", path_}, {"bytes", from}, {"error", strerror(errno)}});
      }
      return false;
    }
    step.promised = true;
  }
  return true;
}

char* RingFile::reserve(size_t bytes_max) {
  auto reach = ring_->reach(bytes_max);
  if (!reach || !take(*reach)) return nullptr;
  return ring_->reserve(bytes_max);
}

void RingFile::give_back(int64_t now_us) {
  size_t given = 0;
  for (size_t at = 1; at < steps_.size() && can_punch_ && given < kStepsPerCall; at++) {
    Step& step = steps_[at];
    if (!step.filled) continue;
    if (ring_->needs(bytes_of(at))) {
      step.unused_since_us = 0;
    } else if (step.unused_since_us == 0) {
      step.unused_since_us = now_us;
    } else if (now_us - step.unused_since_us >= kKeepUs) {
      given += punch(at) ? 1 : 0;
    }
  }
}

// What it held is freed: that was written before, so that nobody looks for it here.
bool RingFile::punch(size_t step) {
  auto [from, to] = bytes_of(step);
  constexpr int kMode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  if (fallocate(fd_, kMode, static_cast<off_t>(from), static_cast<off_t>(to - from)) != 0) {
    can_punch_ = errno == EINTR;  // then the next call
    return false;
  }
  steps_[step] = {};
  return true;
}

void RingFile::remove() { unlink(path_.c_str()); }

}  // namespace flame::broker

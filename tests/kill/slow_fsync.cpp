// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Preloaded into redis-server by the kill tests: fsync and fdatasync take SLOW_FSYNC_MS longer.
// While one is on its way Redis answers writes and keeps their bytes to itself for up to 2 s, so
// that a SIGKILL makes it forget them.

#include <dlfcn.h>
#include <time.h>

#include <cstdlib>

namespace {

void wait() {
  const char* text = std::getenv("SLOW_FSYNC_MS");
  long ms = text != nullptr ? std::atol(text) : 0;
  timespec rest{ms / 1000, ms % 1000 * 1'000'000};
  while (nanosleep(&rest, &rest) != 0) {
  }
}

int slowly(const char* name, int fd) {
  wait();
  auto real = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, name));
  return real(fd);
}

}  // namespace

extern "C" int fdatasync(int fd) { return slowly("fdatasync", fd); }
extern "C" int fsync(int fd) { return slowly("fsync", fd); }

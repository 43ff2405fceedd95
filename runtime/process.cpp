// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/process.hpp"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>

namespace flame::runtime {

void forget_environment(const std::string& name) {
  if (char* value = std::getenv(name.c_str())) explicit_bzero(value, strlen(value));
  unsetenv(name.c_str());
}

uint64_t take_all_descriptors() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return 0;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  getrlimit(RLIMIT_NOFILE, &files);
  return files.rlim_cur;
}

std::string host_name() {
  char name[256] = "localhost";
  gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace flame::runtime

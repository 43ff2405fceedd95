// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/socket_folder.hpp"

#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace flame::shims {

SocketFolder::~SocketFolder() {
  if (path_.empty()) return;
  unlink(socket().c_str());
  rmdir(path_.c_str());
}

proto::Status SocketFolder::make(const std::string& parent) {
  std::string error;
  for (const std::string& at : {parent + "/grpc-XXXXXX", std::string("/tmp/flame-XXXXXX")}) {
    std::string path = at;
    if (path.size() + std::strlen("/sock") >= sizeof(sockaddr_un::sun_path)) continue;
    if (mkdtemp(path.data()) != nullptr) {
      path_ = path;
      return {};
    }
    error += (error.empty() ? "" : ", ") + at + ": " + std::strerror(errno);
  }
  return proto::Error{proto::Code::kTaskServiceFailed,
                      "cannot make a folder for the service's socket: " + error};
}

}  // namespace flame::shims

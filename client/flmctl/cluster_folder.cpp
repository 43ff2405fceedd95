// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/cluster_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "proto/text.hpp"

namespace flame::flmctl {

namespace fs = std::filesystem;
using proto::Code;
using proto::Error;

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Error system_error(const std::string& what, const std::string& path, int number) {
  return Error{Code::kSystem, what + " " + path + ": " + std::strerror(number)};
}

// A folder that only this user can look into; a link or somebody else's is refused, since /tmp is
// everybody's.
proto::Status make_private_folder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return system_error("cannot make", path, errno);
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0) return system_error("cannot look at", path, errno);
  if (!S_ISDIR(found.st_mode))
    return Error{Code::kRefused, path + " is not a folder; choose another --data"};
  if (found.st_uid != geteuid()) {
    return Error{Code::kRefused, path + " belongs to another user; choose another --data"};
  }
  if ((found.st_mode & 0777) != 0700 && chmod(path.c_str(), 0700) != 0) {
    return system_error("cannot make private", path, errno);
  }
  return {};
}

proto::Status write_atomically(const std::string& path, const std::string& text) {
  std::string fresh = path + ".new";
  int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return system_error("cannot write", fresh, errno);
  ssize_t written = write(fd, text.data(), text.size());
  int number = written < 0 ? errno : ENOSPC;
  close(fd);
  if (written != static_cast<ssize_t>(text.size()))
    return system_error("cannot write", fresh, number);
  if (rename(fresh.c_str(), path.c_str()) != 0) return system_error("cannot write", path, errno);
  return {};
}

}  // namespace

const ProcessStatus* ClusterStatus::find(std::string_view name) const {
  auto found = std::find_if(processes.begin(), processes.end(),
                            [&](const ProcessStatus& process) { return process.name == name; });
  return found == processes.end() ? nullptr : &*found;
}

std::string short_socket_folder(std::string_view data, std::string_view runtime_folder,
                                unsigned user) {
  uint64_t hash = 14695981039346656037ull;  // FNV-1a
  for (char c : data) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  static constexpr char kHex[] = "0123456789abcdef";
  std::string name;
  for (int shift = 60; shift >= 0; shift -= 4) name += kHex[hash >> shift & 15];
  if (!runtime_folder.empty() && runtime_folder.size() < 60) {
    return std::string(runtime_folder) + "/flame-" + name;
  }
  return "/tmp/flame-" + std::to_string(user) + "-" + name;
}

ClusterFolder::ClusterFolder(std::string path) : path_(std::move(path)) {
  bool fits = path_.size() + std::strlen("/control.sock") <= kSocketPathMax;
  sockets_ = fits ? path_ : short_socket_folder(path_, environment("XDG_RUNTIME_DIR"), geteuid());
}

proto::Result<ClusterFolder> ClusterFolder::make(const std::string& path) {
  std::error_code error;
  auto absolute = fs::absolute(path, error).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  fs::create_directories(absolute.parent_path(), error);
  auto canonical = error ? fs::path() : fs::weakly_canonical(absolute, error);
  if (error)
    return Error{Code::kSystem,
                 "cannot make " + path + ": " + error.message() + "; choose another --data"};
  ClusterFolder folder(canonical.string());
  if (auto status = folder.make_folders(); !status) return status.error();
  return folder;
}

proto::Status ClusterFolder::make_folders() const {
  if (auto status = make_private_folder(path_); !status) return status;
  if (auto status = make_private_folder(sockets_); !status) return status;
  for (const char* part : {"/redis", "/logs", "/run"}) {
    if (auto status = make_private_folder(path_ + part); !status) return status;
  }
  return {};
}

proto::Result<ClusterFolder> ClusterFolder::existing(const std::string& path) {
  std::error_code error;
  auto canonical = fs::canonical(path, error);
  if (error || !fs::exists(canonical / "lock")) {
    return Error{Code::kNotFound, "no cluster was ever started in " + path};
  }
  return ClusterFolder(canonical.string());
}

std::string ClusterFolder::default_path() {
  std::string state = environment("XDG_STATE_HOME");
  if (state.empty() || state[0] != '/') state = environment("HOME") + "/.local/state";
  return state + "/flame/default";
}

proto::Result<int> ClusterFolder::lock() const {
  std::string path = path_ + "/lock";
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return system_error("cannot open", path, errno);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  int number = errno;
  close(fd);
  if (number == EWOULDBLOCK) return -1;
  return system_error("cannot lock", path, number);
}

proto::Status ClusterFolder::write_cluster(const ClusterStatus& status) const {
  write_pid_files(status);
  return write_atomically(path_ + "/cluster.json", to_json(status, 2) + "\n");
}

void ClusterFolder::write_pid_files(const ClusterStatus& status) const {
  std::set<std::string> present;
  for (const auto& process : status.processes) {
    if (process.pid == 0) continue;
    std::string name = process.name + ".pid";
    std::string text = std::to_string(process.pid) + "\n";
    present.insert(name);
    // A pid file that cannot be written costs a convenience; cluster.json, written next, reports
    // the cause.
    if (read_text_file(path_ + "/run/" + name) == text) continue;
    if (!write_atomically(path_ + "/run/" + name, text)) continue;
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path_ + "/run", error)) {
    if (entry.path().extension() == ".pid" && !present.contains(entry.path().filename().string())) {
      fs::remove(entry.path(), error);
    }
  }
}

proto::Result<ClusterStatus> ClusterFolder::read_cluster() const {
  std::string path = path_ + "/cluster.json";
  std::string text = read_text_file(path);
  if (text.empty()) return Error{Code::kNotFound, "no cluster runs in " + path_};
  auto status = cluster_from_json(text);
  if (!status) return Error{Code::kBadRequest, path + ": " + status.error().message};
  return status;
}

void ClusterFolder::remove_cluster() const {
  write_pid_files(ClusterStatus{});
  std::error_code error;
  fs::remove(path_ + "/cluster.json", error);
  fs::remove(ready_file(), error);
  fs::remove(control_socket(), error);
  fs::remove(redis_socket(), error);
  if (sockets_ != path_) fs::remove(sockets_, error);
}

uint64_t ClusterFolder::append_only_bytes() const {
  uint64_t bytes = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(redis_folder() + "/appendonlydir", error)) {
    auto size = entry.file_size(error);
    if (!error) bytes += size;  // a rewrite may just have removed it
  }
  return bytes;
}

uint64_t ClusterFolder::disk_free_bytes() const {
  struct statvfs disk {};
  if (statvfs(path_.c_str(), &disk) != 0) return 0;
  return disk.f_bavail * disk.f_frsize;
}

std::string read_text_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace flame::flmctl

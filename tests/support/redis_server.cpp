// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/support/redis_server.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace flame::tests {

namespace {

int connect_to(const std::string& path) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::strncpy(name.sun_path, path.c_str(), sizeof name.sun_path - 1);
  if (connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0) return fd;
  close(fd);
  return -1;
}

class Reader {
 public:
  explicit Reader(int fd) : fd_(fd) {}
  std::string reply() {
    std::string line = take_line();
    long number = std::strtol(line.c_str() + 1, nullptr, 10);
    if (line[0] == '$') {
      if (number < 0) return "(nil)";
      std::string text = take(static_cast<size_t>(number));
      take(2);
      return text;
    }
    if (line[0] != '*') return line.substr(1);
    if (number < 0) return "(nil)";
    std::string lines;
    for (long i = 0; i < number; i++) lines += reply() + "\n";
    return lines;
  }

 private:
  std::string take(size_t size) {
    while (buffer_.size() < size) {
      char bytes[65536];
      ssize_t got = recv(fd_, bytes, sizeof bytes, 0);
      if (got <= 0) throw std::runtime_error("redis-server closed the connection");
      buffer_.append(bytes, static_cast<size_t>(got));
    }
    std::string out = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return out;
  }
  std::string take_line() {
    std::string line;
    while (line.size() < 2 || line.substr(line.size() - 2) != "\r\n") line += take(1);
    return line.substr(0, line.size() - 2);
  }
  int fd_;
  std::string buffer_;
};

}  // namespace

RedisServer::RedisServer(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {
  std::string name = (std::filesystem::temp_directory_path() / "flame-redis-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  folder_ = name;
  start();
}

RedisServer::~RedisServer() {
  kill();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void RedisServer::start(std::vector<std::string> more_arguments, bool until_loaded) {
  std::vector<std::string> words = {"redis-server",
                                    "--port",
                                    "0",
                                    "--unixsocket",
                                    socket(),
                                    "--dir",
                                    folder_,
                                    "--save",
                                    "",
                                    "--appendonly",
                                    "yes",
                                    "--logfile",
                                    folder_ + "/redis.log",
                                    "--daemonize",
                                    "no"};
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  words.insert(words.end(), more_arguments.begin(), more_arguments.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  unlink(socket().c_str());
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  for (int i = 0; i < 2000; i++) {
    int fd = connect_to(socket());
    if (fd >= 0) {
      close(fd);
      if (!until_loaded || command({"PING"}).find("LOADING") == std::string::npos) return;
    }
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      throw std::runtime_error("redis-server did not start; see " + folder_ + "/redis.log");
    }
    poll(nullptr, 0, 5);
  }
  throw std::runtime_error("redis-server does not listen");
}

void RedisServer::listen_on_loopback() {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  bool bound = bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0 &&
               getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) == 0;
  close(fd);
  port_ = ntohs(name.sin_port);
  if (!bound || command({"CONFIG", "SET", "port", std::to_string(port_)}) != "OK")
    throw std::runtime_error("redis-server does not take the port " + std::to_string(port_));
}

void RedisServer::kill(int signal) {
  if (pid_ <= 0) return;
  ::kill(pid_, signal);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string RedisServer::command(const std::vector<std::string>& words) const {
  int fd = connect_to(socket());
  if (fd < 0) throw std::runtime_error("redis-server is not there");
  std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
  for (const auto& word : words)
    bytes += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  for (size_t at = 0; at < bytes.size();) {
    ssize_t sent = send(fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) break;
    at += static_cast<size_t>(sent);
  }
  std::string reply;
  try {
    reply = Reader(fd).reply();
  } catch (...) {
    close(fd);
    throw;
  }
  close(fd);
  return reply;
}

}  // namespace flame::tests

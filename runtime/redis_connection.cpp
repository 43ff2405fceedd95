// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/redis_connection.hpp"

#include <hiredis/read.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include "proto/text.hpp"
#include "runtime/assert.hpp"

namespace flame::runtime {

namespace {

using Kind = RedisReply::Kind;
constexpr int64_t kLookupPollUs = 2000;
constexpr size_t kReadBytes = 256 * 1024;
constexpr size_t kReadsPerTurn = 16;
constexpr int kItemsMax = 64 * 1024 * 1024;  // more in one reply is not Redis speaking

// hiredis builds its own tree unless told how; ours needs no copy and no hiredis type in the
// header.
RedisReply* place(const redisReadTask* task) {
  auto root = static_cast<RedisReply*>(task->privdata);
  if (task->parent == nullptr) return root;
  return &static_cast<RedisReply*>(task->parent->obj)->items[static_cast<size_t>(task->idx)];
}
void* make_text(const redisReadTask* task, char* bytes, size_t size) {
  RedisReply* reply = place(task);
  reply->kind = task->type == REDIS_REPLY_ERROR    ? Kind::kError
                : task->type == REDIS_REPLY_STATUS ? Kind::kStatus
                                                   : Kind::kText;
  reply->text.assign(bytes, size);
  return reply;
}
void* make_array(const redisReadTask* task, int count) {
  if (count < 0 || count > kItemsMax) return nullptr;
  RedisReply* reply = place(task);
  reply->kind = Kind::kArray;
  reply->items.resize(static_cast<size_t>(count));
  return reply;
}
void* make_integer(const redisReadTask* task, long long value) {
  RedisReply* reply = place(task);
  reply->kind = Kind::kInteger;
  reply->integer = value;
  return reply;
}
void* make_nil(const redisReadTask* task) {
  RedisReply* reply = place(task);
  reply->kind = Kind::kNil;
  return reply;
}
void free_nothing(void*) {}

redisReplyObjectFunctions builders = {make_text, make_array, make_integer, make_nil, free_nothing};

void decode_percent(std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    auto digit = [&](size_t at) {
      char c = at < text.size() ? text[at] : 'x';
      return c >= '0' && c <= '9'                 ? c - '0'
             : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                  : -1;
    };
    if (text[i] == '%' && digit(i + 1) >= 0 && digit(i + 2) >= 0) {
      out += static_cast<char>(digit(i + 1) * 16 + digit(i + 2));
      i += 2;
    } else {
      out += text[i];
    }
  }
  text = std::move(out);
}

proto::Error bad_url(std::string_view why) {
  return proto::Error{proto::Code::kBadRequest,
                      "the Redis URL " + std::string(why) +
                          "; write redis://[user:password@]host:port/db or unix://path?db=n"};
}

proto::Result<RedisAddress> parse_unix(std::string_view rest) {
  RedisAddress address;
  auto query = rest.find('?');
  address.path = rest.substr(0, query);
  if (address.path.empty()) return bad_url("has no path");
  if (address.path.size() >= sizeof(sockaddr_un::sun_path)) {
    return bad_url("has a path of more than 107 characters, too long for a unix socket");
  }
  if (query == rest.npos) return address;
  auto option = rest.substr(query + 1);
  auto number =
      option.substr(0, 3) == "db=" ? proto::parse_number<uint32_t>(option.substr(3)) : std::nullopt;
  if (!number) return bad_url("has an option that is not db=NUMBER");
  address.database = *number;
  return address;
}

proto::Result<RedisAddress> parse_tcp(std::string_view rest) {
  RedisAddress address;
  if (auto at = rest.rfind('@'); at != rest.npos) {
    auto login = rest.substr(0, at);
    auto colon = login.find(':');
    if (colon != login.npos) address.user = login.substr(0, colon);
    address.password = colon == login.npos ? login : login.substr(colon + 1);
    decode_percent(address.user);
    decode_percent(address.password);
    rest.remove_prefix(at + 1);
  }
  if (auto slash = rest.find('/'); slash != rest.npos) {
    auto text = rest.substr(slash + 1);
    auto number = proto::parse_number<uint32_t>(text.empty() ? "0" : text);
    if (!number) return bad_url("has a database that is not a number");
    address.database = *number;
    rest = rest.substr(0, slash);
  }
  auto bracket = rest.find(']');  // [::1]:6379
  auto colon = rest.find(':', bracket == rest.npos ? 0 : bracket);
  if (colon != rest.npos) {
    auto port = proto::parse_number<uint16_t>(rest.substr(colon + 1));
    if (!port || *port == 0) return bad_url("has a port that is not a number from 1 to 65535");
    address.port = *port;
    rest = rest.substr(0, colon);
  }
  if (bracket != std::string_view::npos && !rest.empty() && rest[0] == '[')
    rest = rest.substr(1, bracket - 1);
  address.host = rest;
  if (address.host.empty()) return bad_url("has no host");
  return address;
}

}  // namespace

// ---- values
// ---------------------------------------------------------------------------------------------

std::string RedisAddress::shown() const {
  std::string db = std::to_string(database);
  if (!path.empty()) return "unix://" + path + (database != 0 ? "?db=" + db : "");
  return "redis://" + host + ":" + std::to_string(port) + (database != 0 ? "/" + db : "");
}

proto::Result<RedisAddress> parse_redis_url(std::string_view url) {
  if (url.substr(0, 7) == "unix://") return parse_unix(url.substr(7));
  if (url.substr(0, 8) == "redis://") return parse_tcp(url.substr(8));
  return bad_url("begins with neither redis:// nor unix://");
}

std::string_view RedisReply::error_word() const {
  if (kind != Kind::kError) return {};
  return std::string_view(text).substr(0, text.find(' '));
}

template <class Range>
void RedisRequest::append(const Range& command) {
  bytes_ += '*';
  proto::append_number(bytes_, command.size());
  for (std::string_view argument : command) {
    bytes_ += "\r\n$";
    proto::append_number(bytes_, argument.size());
    bytes_ += "\r\n";
    bytes_ += argument;
  }
  bytes_ += "\r\n";
  commands_++;
}
RedisRequest& RedisRequest::add(std::initializer_list<std::string_view> command) {
  append(command);
  return *this;
}
RedisRequest& RedisRequest::add(const std::vector<std::string_view>& command) {
  append(command);
  return *this;
}

// ---- connection
// -----------------------------------------------------------------------------------------

struct RedisConnection::Parser {
  RedisReply root;
  redisReader* reader;
  std::unique_ptr<char[]> buffer{new char[kReadBytes]};

  Parser() : reader(redisReaderCreateWithFunctions(&builders)) {
    FLAME_ASSERT(reader != nullptr);
    reader->privdata = &root;
    reader->maxbuf =
        0;  // keep the buffer: giving it back after every reply costs more than it saves
  }
  ~Parser() { redisReaderFree(reader); }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;
};

// getaddrinfo may take seconds where a name server is gone, and cannot be cancelled: a thread of
// its own waits for it, and whoever of the two is last frees the answer. Not glibc's getaddrinfo_a,
// whose hidden threads leak what is given up and crash under the thread sanitizer.
struct RedisConnection::Lookup {
  std::string host, service;
  addrinfo* found = nullptr;
  int error = 0;
  std::atomic<bool> done = false;  // the thread's last write; the answer is ours from then on

  Lookup(std::string host_name, uint16_t port)
      : host(std::move(host_name)), service(std::to_string(port)) {}
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;
  ~Lookup() {
    if (found != nullptr) freeaddrinfo(found);
  }

  void run() {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    error = getaddrinfo(host.c_str(), service.c_str(), &hints, &found);
    done = true;
  }

  static bool start(const std::shared_ptr<Lookup>& lookup) {
    // The process's signals are none of this thread's business.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
      std::thread([lookup] { lookup->run(); }).detach();
    } catch (const std::system_error&) {
      started = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
  }
};

RedisConnection::RedisConnection(EventLoop& loop, RedisAddress address, Owner owner)
    : loop_(loop), address_(std::move(address)), owner_(std::move(owner)) {}
RedisConnection::~RedisConnection() { close(); }

void RedisConnection::open(int64_t timeout_us) {
  close();
  parser_ = std::make_unique<Parser>();
  open_deadline_us_ = loop_.now().mono_us + timeout_us;
  if (address_.path.empty()) return resolve();
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (address_.path.size() >= sizeof name.sun_path)
    return fail_later(down("connect to", "path too long"));
  std::memcpy(name.sun_path, address_.path.data(), address_.path.size());
  connect_to(&name, sizeof name, AF_UNIX);
}

void RedisConnection::close() {
  generation_++;
  if (fd_ >= 0) {
    loop_.remove_fd(fd_);
    ::close(fd_);
    fd_ = -1;
  }
  if (timer_ != 0) loop_.cancel(std::exchange(timer_, 0));
  lookup_.reset();
  state_ = State::kClosed;
  out_.clear();
  waiting_.clear();
}

void RedisConnection::resolve() {
  state_ = State::kResolving;
  lookup_ = std::make_shared<Lookup>(address_.host, address_.port);
  if (!Lookup::start(lookup_)) return fail_later(down("resolve the host of", "out of resources"));
  timer_ = loop_.call_at(loop_.now().mono_us, [this] { poll_lookup(); });
}

void RedisConnection::poll_lookup() {
  timer_ = 0;
  if (!lookup_->done) {
    if (loop_.now().mono_us >= open_deadline_us_)
      return fail(down("resolve the host of", "no answer in time"));
    timer_ = loop_.call_at(loop_.now().mono_us + kLookupPollUs, [this] { poll_lookup(); });
    return;
  }
  auto lookup = std::move(lookup_);
  if (lookup->error != 0) return fail(down("resolve the host of", gai_strerror(lookup->error)));
  connect_to(lookup->found->ai_addr, lookup->found->ai_addrlen, lookup->found->ai_family);
}

void RedisConnection::connect_to(const void* address, size_t size, int family) {
  state_ = State::kConnecting;
  fd_ = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return fail_later(down("connect to", strerror(errno)));
  int yes = 1, bytes = 4 << 20;
  if (family != AF_UNIX) {
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
  } else {
    setsockopt(fd_, SOL_SOCKET, SO_SNDBUF, &bytes,
               sizeof bytes);  // fewer wake-ups for a large batch
  }
  int failed = connect(fd_, static_cast<const sockaddr*>(address), static_cast<socklen_t>(size));
  if (failed != 0 && errno != EINPROGRESS) return fail_later(down("connect to", strerror(errno)));
  loop_.add_fd(fd_, true, true, [this](EventLoop::Ready ready) { on_ready(ready); });
  timer_ = loop_.call_at(open_deadline_us_, [this] {
    timer_ = 0;
    fail(down("connect to", "no answer in time"));
  });
}

void RedisConnection::on_ready(EventLoop::Ready ready) {
  if (state_ == State::kConnecting) {
    if (ready.writable) finish_connect();
    return;
  }
  uint64_t generation = generation_;
  if (ready.writable) write_some();
  if (ready.readable && generation == generation_) read_some();
}

void RedisConnection::finish_connect() {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return fail(down("connect to", strerror(error)));
  loop_.cancel(std::exchange(timer_, 0));
  greet();
}

namespace {

// The owner's first look meets these again, and knows what they mean.
bool is_about_more_than_login(std::string_view word) {
  return word == "LOADING" || word == "BUSY" || word == "NOAUTH";
}

std::string next_step(std::string_view refusal) {
  if (refusal.starts_with("WRONGPASS")) {
    return "correct the user or the password, or change it there; it is tried again until it works";
  }
  if (refusal.find("max number of clients") != refusal.npos) {
    return "raise its maxclients or end other clients; it is tried again until it works";
  }
  return "check user, password and database number";
}

}  // namespace

// Password and database first: nothing else may be answered before them.
void RedisConnection::greet() {
  state_ = State::kGreeting;
  RedisRequest request;
  if (!address_.password.empty() && !address_.user.empty()) {
    request.add({"AUTH", address_.user, address_.password});
  } else if (!address_.password.empty()) {
    request.add({"AUTH", address_.password});
  }
  request.add({"SELECT", std::to_string(address_.database)});
  size_t commands = request.commands();
  Outgoing outgoing{std::move(request.bytes_), {}};
  int64_t left = std::max<int64_t>(1, open_deadline_us_ - loop_.now().mono_us);
  enqueue(std::move(outgoing), commands, left, [this](RedisReplies&& replies) {
    for (const auto& reply : replies) {
      if (!reply.is_error() || is_about_more_than_login(reply.error_word())) continue;
      return fail({proto::Code::kStoreRefused,
                   "Redis at " + address_.shown() + " refused the login: " +
                       proto::printable(reply.text) + "; " + next_step(reply.text)});
    }
    state_ = State::kOpen;
    owner_.opened();
  });
}

void RedisConnection::send(RedisRequest&& request, int64_t timeout_us, OnReplies done) {
  FLAME_ASSERT(is_open());
  size_t commands = request.commands();
  enqueue({std::move(request.bytes_), {}}, commands, timeout_us, std::move(done));
}

void RedisConnection::send(std::string_view bytes, size_t commands, int64_t timeout_us,
                           OnReplies done) {
  FLAME_ASSERT(is_open());
  enqueue({{}, bytes}, commands, timeout_us, std::move(done));
}

void RedisConnection::enqueue(Outgoing outgoing, size_t commands, int64_t timeout_us,
                              OnReplies done) {
  FLAME_ASSERT(commands > 0);
  out_.push_back(std::move(outgoing));
  // A deque never moves its elements, so the view stays good.
  if (out_.back().rest.empty()) out_.back().rest = out_.back().owned;
  waiting_.push_back({commands, loop_.now().mono_us + timeout_us, std::move(done), {}});
  waiting_.back().replies.reserve(commands);
  watch_deadline();
  if (out_.size() == 1) write_some();
}

void RedisConnection::write_some() {
  while (!out_.empty()) {
    std::array<iovec, 16> parts;
    size_t count = 0;
    for (auto& outgoing : out_) {
      if (count == parts.size()) break;
      parts[count++] = {const_cast<char*>(outgoing.rest.data()), outgoing.rest.size()};
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    ssize_t sent = sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
      return fail_later(down("write to", strerror(errno)));
    }
    if (sent < 0) break;
    for (size_t left = static_cast<size_t>(sent); left > 0;) {
      auto& front = out_.front().rest;
      size_t part = std::min(left, front.size());
      front.remove_prefix(part);
      left -= part;
      if (front.empty()) out_.pop_front();
    }
  }
  loop_.change_fd(fd_, true, !out_.empty());
}

void RedisConnection::read_some() {
  uint64_t generation = generation_;
  for (size_t i = 0; i < kReadsPerTurn; i++) {
    ssize_t got = recv(fd_, parser_->buffer.get(), kReadBytes, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got < 0) return fail(down("read from", strerror(errno)));
    if (got == 0) return fail(down("read from", "it closed the connection"));
    size_t size = static_cast<size_t>(got);
    if (redisReaderFeed(parser_->reader, parser_->buffer.get(), size) != REDIS_OK) {
      return fail(down("read from", parser_->reader->errstr));
    }
    take_replies();
    if (generation != generation_ || size < kReadBytes) return;
  }
}

void RedisConnection::take_replies() {
  uint64_t generation = generation_;
  for (;;) {
    void* reply = nullptr;
    if (redisReaderGetReply(parser_->reader, &reply) != REDIS_OK) {
      return fail(down("understand", parser_->reader->errstr));
    }
    if (reply == nullptr) return;
    if (waiting_.empty()) return fail(down("understand", "a reply that nobody asked for"));
    auto& front = waiting_.front();
    front.replies.push_back(std::exchange(parser_->root, RedisReply{}));
    if (front.replies.size() < front.commands) continue;
    Waiting done = std::move(front);
    waiting_.pop_front();
    done.done(std::move(done.replies));
    if (generation != generation_) return;
  }
}

// One timer for all: it is not moved with every reply but looks again when it fires.
void RedisConnection::watch_deadline() {
  if (waiting_.empty()) return;
  int64_t due_us = waiting_.back().deadline_us;
  if (timer_ == 0) due_us = std::min(due_us, waiting_.front().deadline_us);
  if (timer_ != 0 && timer_us_ <= due_us) return;
  if (timer_ != 0) loop_.cancel(timer_);
  timer_us_ = due_us;
  timer_ = loop_.call_at(due_us, [this] { on_deadline(); });
}

void RedisConnection::on_deadline() {
  timer_ = 0;
  int64_t now_us = loop_.now().mono_us;
  auto late = [&](const Waiting& waiting) { return waiting.deadline_us <= now_us; };
  if (std::any_of(waiting_.begin(), waiting_.end(), late)) {
    return fail(down("get an answer from", "no reply in time"));
  }
  watch_deadline();
}

void RedisConnection::fail(proto::Error error) {
  close();
  owner_.lost(std::move(error));
}

// From inside a call of the owner: it is told at the end of the turn.
void RedisConnection::fail_later(proto::Error error) {
  close();
  timer_ = loop_.call_at(0, [this, error = std::move(error)] {
    timer_ = 0;
    fail(error);
  });
}

proto::Error RedisConnection::down(std::string_view verb, std::string_view reason) const {
  return {proto::Code::kStoreDown, "cannot " + std::string(verb) + " Redis at " + address_.shown() +
                                       ": " + std::string(reason) +
                                       "; it is tried again until it works"};
}

}  // namespace flame::runtime

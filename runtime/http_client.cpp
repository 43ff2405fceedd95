// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/http_client.hpp"

#include <curl/curl.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "proto/text.hpp"
#include "runtime/assert.hpp"
#include "runtime/clock.hpp"

namespace flame::runtime {

using proto::Code;
using proto::Error;

namespace {

/// Of all headers together; libcurl itself bounds a single line only.
constexpr size_t kHeaderBytesMax = size_t{64} * 1024;
/// Connections that wait for their next request.
constexpr long kIdleConnectionsMax = 8;
/// A peer that is gone without a word is found after these seconds, also by a stream that is quiet.
constexpr long kKeepAliveIdle = 30, kKeepAliveEvery = 10;

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, FreeUrl>;

std::string part_of(const Url& url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url.get(), part, &text, 0) != CURLUE_OK) return "";
  std::string out = text;
  curl_free(text);
  return out;
}

Url parsed(const std::string& text) {
  Url url(curl_url());
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return nullptr;
  return url;
}

// For errors: a query or a user may be a secret.
std::string shown(const std::string& text) {
  Url url = parsed(text);
  if (!url) return "'" + proto::printable(text.substr(0, text.find('?')), 80) + "'";
  for (auto part : {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY, CURLUPART_FRAGMENT}) {
    curl_url_set(url.get(), part, nullptr, 0);
  }
  return proto::printable(part_of(url, CURLUPART_URL), 300);
}

bool is_plain(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_';
  });
}

struct Cause {
  CURLcode curl;
  Code code;
  std::string_view words;
};
constexpr std::array kCauses = {
    Cause{CURLE_COULDNT_RESOLVE_HOST, Code::kNoBroker, "its name is not known"},
    Cause{CURLE_COULDNT_RESOLVE_PROXY, Code::kNoBroker, "the proxy's name is not known"},
    Cause{CURLE_COULDNT_CONNECT, Code::kNoBroker, "not reached"},
    Cause{CURLE_OPERATION_TIMEDOUT, Code::kTimeout, "no answer in time"},
    Cause{
        CURLE_PEER_FAILED_VERIFICATION, Code::kRefused,
        "the server's certificate is not trusted (is it signed by the CA that was given, for this "
        "name, and not expired?)"},
    Cause{CURLE_SSL_CONNECT_ERROR, Code::kRefused, "TLS was not agreed on"},
    Cause{CURLE_SSL_CERTPROBLEM, Code::kRefused, "our client certificate or its key is not usable"},
    Cause{CURLE_SSL_CACERT_BADFILE, Code::kRefused, "the CA file cannot be read"},
    Cause{CURLE_GOT_NOTHING, Code::kBadFrame, "the connection was closed without an answer"},
    Cause{CURLE_PARTIAL_FILE, Code::kBadFrame, "the connection was closed within the answer"},
    Cause{CURLE_RECV_ERROR, Code::kBadFrame, "the connection broke"},
    Cause{CURLE_SEND_ERROR, Code::kBadFrame, "the connection broke"},
    Cause{CURLE_URL_MALFORMAT, Code::kBadRequest, "this is no URL"},
    // The request's own protocol was looked at before.
    Cause{CURLE_UNSUPPORTED_PROTOCOL, Code::kBadFrame, "the answer is not HTTP/1.1"},
    Cause{CURLE_WEIRD_SERVER_REPLY, Code::kBadFrame, "the answer is not HTTP/1.1"},
};

}  // namespace

struct HttpClient::Transfer {
  HttpClient& client;
  Id id;
  HttpRequest request;
  Done done;
  CURL* easy;
  curl_slist* headers = nullptr;
  curl_slist* connect_to = nullptr;
  bool added = false;  ///< to the multi handle
  HttpAnswer answer;
  std::string chunk;  ///< came, not handed on yet
  size_t header_bytes = 0;
  bool too_large = false;
  int64_t heard_us;
  EventLoop::TimerId stall_timer = 0;
  std::array<char, CURL_ERROR_SIZE> words{};

  Transfer(HttpClient& owner, Id own_id, HttpRequest what, Done then)
      : client(owner),
        id(own_id),
        request(std::move(what)),
        done(std::move(then)),
        easy(curl_easy_init()),
        heard_us(read_clock().mono_us) {
    FLAME_ASSERT(easy != nullptr);
  }
  ~Transfer() {
    client.loop_.cancel(stall_timer);
    if (added) curl_multi_remove_handle(client.multi_, easy);
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
    curl_slist_free_all(connect_to);
  }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  bool streams() const { return request.on_chunk && answer.status / 100 == 2; }
  Error error(Code code, const std::string& why) const {
    return {code, request.method + " " + shown(request.url) + ": " + why};
  }
};

// Called from inside libcurl, where it may not be called: they only take notes.
struct HttpClient::Hooks {
  static size_t on_header(char* data, size_t, size_t size, void* context) {
    auto& transfer = *static_cast<Transfer*>(context);
    transfer.heard_us = read_clock().mono_us;
    transfer.header_bytes += size;
    if (transfer.header_bytes > kHeaderBytesMax) {
      transfer.too_large = true;
      return 0;
    }
    std::string_view line(data, size);
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) {
      // The last one counts: a 100 may come before.
      transfer.answer.headers.clear();
      size_t space = line.find(' ');
      auto number = space == line.npos ? std::nullopt
                                       : proto::parse_number<uint16_t>(line.substr(space + 1, 3));
      transfer.answer.status = number.value_or(0);
      return size;
    }
    size_t colon = line.find(':');
    if (colon == line.npos) return size;
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    auto value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
      value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    auto [place, fresh] = transfer.answer.headers.try_emplace(std::move(name), value);
    if (!fresh) place->second.append(", ").append(value);
    return size;
  }

  static size_t on_body(char* data, size_t, size_t size, void* context) {
    auto& transfer = *static_cast<Transfer*>(context);
    transfer.heard_us = read_clock().mono_us;
    if (transfer.streams()) {
      if (transfer.chunk.empty()) transfer.client.with_chunks_.push_back(transfer.id);
      transfer.chunk.append(data, size);
      return size;
    }
    if (transfer.answer.body.size() + size > transfer.request.answer_max) {
      transfer.too_large = true;
      return 0;
    }
    transfer.answer.body.append(data, size);
    return size;
  }

  static int on_socket(CURL*, curl_socket_t fd, int what, void* context, void*) {
    static_cast<HttpClient*>(context)->watch(fd, what);
    return 0;
  }

  // libcurl's own sockets would be inherited by every child.
  static curl_socket_t open_socket(void*, curlsocktype, curl_sockaddr* address) {
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }
};

namespace {

template <class Value>
void set(CURL* easy, CURLoption option, Value value) {
  CURLcode code = curl_easy_setopt(easy, option, value);
  FLAME_ASSERT(code == CURLE_OK);
}

void set_pem(CURL* easy, CURLoption blob, CURLoption file, const std::string& text,
             const std::string& path) {
  if (!text.empty()) {
    // Copied: the connection may be used after this request.
    curl_blob pem{const_cast<char*>(text.data()), text.size(), CURL_BLOB_COPY};
    set(easy, blob, &pem);
  } else if (!path.empty()) {
    set(easy, file, path.c_str());
  }
}

void set_tls(CURL* easy, const HttpTls& tls) {
  set(easy, CURLOPT_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
  set(easy, CURLOPT_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
  set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!tls.ca.empty() || !tls.ca_file.empty()) {
    // In place of the system's list, not beside it.
    set(easy, CURLOPT_CAINFO, nullptr);
    set(easy, CURLOPT_CAPATH, nullptr);
  }
  set_pem(easy, CURLOPT_CAINFO_BLOB, CURLOPT_CAINFO, tls.ca, tls.ca_file);
  set_pem(easy, CURLOPT_SSLCERT_BLOB, CURLOPT_SSLCERT, tls.cert, tls.cert_file);
  set_pem(easy, CURLOPT_SSLKEY_BLOB, CURLOPT_SSLKEY, tls.key, tls.key_file);
}

void set_method(CURL* easy, const HttpRequest& request) {
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT" ||
      request.method == "PATCH") {
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(easy, CURLOPT_POSTFIELDS, request.body.data());
  }
  if (request.method == "HEAD") set(easy, CURLOPT_NOBODY, 1L);
  set(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
}

long ms_of(int64_t us) { return static_cast<long>((us + proto::kUsPerMs - 1) / proto::kUsPerMs); }

}  // namespace

HttpClient::HttpClient(EventLoop& loop) : loop_(loop) {
  static const CURLcode kStarted = curl_global_init(CURL_GLOBAL_DEFAULT);
  FLAME_ASSERT(kStarted == CURLE_OK);
  multi_ = curl_multi_init();
  FLAME_ASSERT(multi_ != nullptr);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Hooks::on_socket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kIdleConnectionsMax);
}

HttpClient::~HttpClient() {
  FLAME_ASSERT(!delivering_);
  transfers_.clear();
  curl_multi_cleanup(multi_);
  loop_.cancel(timer_);
  for (int fd : watched_) loop_.remove_fd(fd);
}

HttpClient::Id HttpClient::send(HttpRequest request, Done done) {
  Id id = next_++;
  auto owned = std::make_unique<Transfer>(*this, id, std::move(request), std::move(done));
  Transfer& transfer = *owned;
  transfers_.emplace(id, std::move(owned));
  if (auto status = prepare(transfer); !status) {
    transfer.stall_timer =
        loop_.call_at(loop_.now().mono_us, [this, id, error = status.error()] { fail(id, error); });
    return id;
  }
  transfer.added = curl_multi_add_handle(multi_, transfer.easy) == CURLM_OK;
  FLAME_ASSERT(transfer.added);
  if (transfer.request.stall_us > 0) {
    transfer.stall_timer = loop_.call_at(transfer.heard_us + transfer.request.stall_us,
                                         [this, id] { check_stall(id); });
  }
  set_timer();
  return id;
}

proto::Status HttpClient::prepare(Transfer& transfer) {
  HttpRequest& request = transfer.request;
  Url url = parsed(request.url);
  if (!url || !is_plain(request.url)) return transfer.error(Code::kBadRequest, "this is no URL");
  if (auto scheme = part_of(url, CURLUPART_SCHEME); scheme != "http" && scheme != "https")
    return transfer.error(Code::kBadRequest, "only http and https are spoken");
  if (!is_token(request.method)) return transfer.error(Code::kBadRequest, "this is no method");
  CURL* easy = transfer.easy;
  auto add_header = [&](const std::string& line) {
    transfer.headers = curl_slist_append(transfer.headers, line.c_str());
  };
  bool has_type = false;
  for (const auto& [name, value] : request.headers) {
    // The value may be a token.
    if (!is_token(name) || !is_plain(value))
      return transfer.error(Code::kBadRequest, "the header '" + proto::printable(name, 40) +
                                                   "' has a character that none may have");
    has_type = has_type || strcasecmp(name.c_str(), "content-type") == 0;
    // An empty one has a form of its own.
    add_header(name + (value.empty() ? ";" : ": " + value));
  }
  add_header("Expect:");
  if (!has_type) add_header("Content-Type:");
  if (!request.tls.server_name.empty()) {
    // The certificate's name goes into the URL, and the connection where it would have gone.
    std::string host = part_of(url, CURLUPART_HOST), port = part_of(url, CURLUPART_PORT);
    transfer.connect_to = curl_slist_append(nullptr, ("::" + host + ":" + port).c_str());
    add_header("Host: " + host + (port.empty() ? "" : ":" + port));
    if (curl_url_set(url.get(), CURLUPART_HOST, request.tls.server_name.c_str(), 0) != CURLUE_OK)
      return transfer.error(Code::kBadRequest, "the TLS server name is no name");
    set(easy, CURLOPT_CONNECT_TO, transfer.connect_to);
  }
  set(easy, CURLOPT_URL, part_of(url, CURLUPART_URL).c_str());
  set(easy, CURLOPT_PRIVATE, static_cast<void*>(&transfer));
  set(easy, CURLOPT_ERRORBUFFER, transfer.words.data());
  set(easy, CURLOPT_HTTPHEADER, transfer.headers);
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_NOSIGNAL, 1L);
  // A name that is being looked up must not hold the loop when nobody waits for it any more.
  set(easy, CURLOPT_QUICK_EXIT, 1L);
  set(easy, CURLOPT_PROXY, request.proxy.c_str());  // "" also keeps the environment's out
  if (!request.unix_socket.empty()) {
    set(easy, CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
  }
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  set(easy, CURLOPT_TCP_KEEPIDLE, kKeepAliveIdle);
  set(easy, CURLOPT_TCP_KEEPINTVL, kKeepAliveEvery);
  set(easy, CURLOPT_OPENSOCKETFUNCTION, &Hooks::open_socket);
  set(easy, CURLOPT_HEADERFUNCTION, &Hooks::on_header);
  set(easy, CURLOPT_HEADERDATA, static_cast<void*>(&transfer));
  set(easy, CURLOPT_WRITEFUNCTION, &Hooks::on_body);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, ms_of(request.connect_us));
  set(easy, CURLOPT_TIMEOUT_MS, ms_of(request.total_us));
  set_tls(easy, request.tls);
  set_method(easy, request);
  return {};
}

std::unique_ptr<HttpClient::Transfer> HttpClient::take(Id id) {
  auto node = transfers_.extract(id);
  return node.empty() ? nullptr : std::move(node.mapped());
}

void HttpClient::cancel(Id id) {
  auto transfer = take(id);
  if (!transfer) return;
  if (delivering_) cancelled_.push_back(std::move(transfer));
  transfer.reset();
  set_timer();
}

void HttpClient::watch(int fd, int what) {
  if (what == CURL_POLL_REMOVE) {
    watched_.erase(fd);
    return loop_.remove_fd(fd);
  }
  bool read = (what & CURL_POLL_IN) != 0, write = (what & CURL_POLL_OUT) != 0;
  if (!watched_.insert(fd).second) return loop_.change_fd(fd, read, write);
  loop_.add_fd(fd, read, write, [this, fd](EventLoop::Ready ready) {
    advance(fd, (ready.readable ? CURL_CSELECT_IN : 0) | (ready.writable ? CURL_CSELECT_OUT : 0));
  });
}

void HttpClient::advance(int fd, int events) {
  int running = 0;
  curl_multi_socket_action(multi_, fd, events, &running);
  // What is over is noted before any handler is called: they may send and cancel.
  std::vector<std::pair<Id, int>> over;
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    char* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    over.emplace_back(reinterpret_cast<Transfer*>(transfer)->id, message->data.result);
  }
  delivering_ = true;
  deliver_chunks();
  for (auto [id, code] : over) finish(id, code);
  delivering_ = false;
  cancelled_.clear();
  set_timer();
}

void HttpClient::deliver_chunks() {
  for (Id id : std::exchange(with_chunks_, {})) {
    auto found = transfers_.find(id);
    if (found == transfers_.end()) continue;
    std::string chunk = std::exchange(found->second->chunk, {});
    found->second->request.on_chunk(chunk);
  }
}

void HttpClient::finish(Id id, int code) {
  auto transfer = take(id);
  if (!transfer) return;  // an earlier handler has cancelled it
  if (code == CURLE_OK) return transfer->done(std::move(transfer->answer));
  if (transfer->too_large) {
    auto most = std::to_string(transfer->request.answer_max);
    return transfer->done(transfer->error(
        Code::kTooLarge, transfer->header_bytes > kHeaderBytesMax
                             ? "the answer's headers are too long"
                             : "the answer is longer than the " + most + " bytes it may have"));
  }
  auto curl = static_cast<CURLcode>(code);
  std::string detail = transfer->words[0] ? transfer->words.data() : curl_easy_strerror(curl);
  auto cause = std::find_if(kCauses.begin(), kCauses.end(),
                            [&](const Cause& row) { return row.curl == curl; });
  if (cause == kCauses.end()) return transfer->done(transfer->error(Code::kSystem, detail));
  transfer->done(transfer->error(cause->code,
                                 std::string(cause->words) + ": " + proto::printable(detail, 200)));
}

void HttpClient::fail(Id id, const Error& error) {
  auto transfer = take(id);
  if (!transfer) return;
  transfer->stall_timer = 0;
  transfer->done(error);
  transfer.reset();
  set_timer();
}

void HttpClient::check_stall(Id id) {
  auto& transfer = *transfers_.at(id);
  int64_t due = transfer.heard_us + transfer.request.stall_us;
  if (loop_.now().mono_us >= due) {
    auto ms = std::to_string(transfer.request.stall_us / proto::kUsPerMs);
    return fail(id, transfer.error(Code::kTimeout, "nothing came for " + ms + " ms"));
  }
  transfer.stall_timer = loop_.call_at(due, [this, id] { check_stall(id); });
}

// Asked after every step rather than told by libcurl, which does not repeat a time that it thinks
// we know: its clock is not ours, and a timer that is early by it would be the last.
void HttpClient::set_timer() {
  if (timer_set_) loop_.cancel(timer_);
  long ms = -1;
  curl_multi_timeout(multi_, &ms);
  timer_set_ = ms >= 0;
  if (!timer_set_) return;
  timer_ = loop_.call_at(read_clock().mono_us + ms * proto::kUsPerMs, [this] {
    timer_set_ = false;
    advance(CURL_SOCKET_TIMEOUT, 0);
  });
}

}  // namespace flame::runtime

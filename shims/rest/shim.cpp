// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/rest/shim.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "proto/elements.hpp"
#include "proto/limits.hpp"
#include "proto/text.hpp"

namespace flame::shims {

namespace {

using runtime::HttpAnswer;
using runtime::HttpRequest;

constexpr int kNotFound = 404, kNotAllowed = 405, kTooMany = 429, kBadGateway = 502,
              kUnavailable = 503, kGatewayTimeout = 504;
constexpr std::string_view kPort = "{port}";

/// How often a starting service is asked: a sixteenth of the time it has had, within these.
constexpr int64_t kHealthUsMin = 2'000, kHealthUsMax = 200'000;
constexpr int64_t kHealthTimeoutUs = 5 * proto::kUsPerSecond;
/// After 503 and 429; without a Retry-After of seconds the first.
constexpr int64_t kRetryUs = proto::kUsPerSecond, kRetryUsMax = 60 * proto::kUsPerSecond;
/// So long in all one call is tried again.
constexpr int64_t kRetryForUs = 300 * proto::kUsPerSecond;
/// What a service answered just before it died is on its way.
constexpr int64_t kLastWordsUs = proto::kUsPerSecond;

bool good(const HttpAnswer& answer) { return answer.status / 100 == 2; }
/// It has no such path: enter and leave are not for everybody.
bool has_not(const HttpAnswer& answer) {
  return answer.status == kNotFound || answer.status == kNotAllowed;
}

std::string words_of(const HttpAnswer& answer) {
  std::string text = "HTTP " + std::to_string(answer.status);
  if (auto to = answer.header("location"); !to.empty())
    text += " to " + proto::printable(to, 200) + " (redirects are not followed)";
  if (answer.body.empty()) return text;
  text += ": " + answer.body.substr(0, proto::kReasonBytesMax - text.size() - 2);
  return text;
}

int64_t retry_after_us(const HttpAnswer& answer) {
  auto seconds = proto::parse_number<uint32_t>(answer.header("retry-after"));
  if (!seconds) return kRetryUs;
  return std::clamp(int64_t{*seconds} * proto::kUsPerSecond, kRetryUs / 10, kRetryUsMax);
}

/// One that nobody listens on now. Somebody else may take it before the service does: the start
/// then fails, and is tried again with another one.
proto::Result<uint16_t> free_port() {
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (!socket || bind(socket.get(), any, size) != 0 || getsockname(socket.get(), any, &size) != 0) {
    return proto::Error{proto::Code::kTaskServiceFailed,
                        std::string("no port for the service: ") + std::strerror(errno)};
  }
  return ntohs(address.sin_port);
}

}  // namespace

proto::Result<std::unique_ptr<Shim>> RestShim::start(const proto::Application& application,
                                                     Launch launch, InstanceId instance,
                                                     runtime::EventLoop& loop, Events& events) {
  std::unique_ptr<RestShim> shim(new RestShim(application, *launch.http, instance, loop, events));
  if (auto placed = shim->place(launch); !placed) return placed.error();
  auto self = shim.get();
  if (!shim->remote()) {
    auto started = shim->service_.start(launch, {}, [self] { self->on_exit(); });
    if (!started) return started.error();
  }
  shim->try_health();
  return std::unique_ptr<Shim>(std::move(shim));
}

RestShim::RestShim(const proto::Application& application, runtime::HttpClient& http,
                   InstanceId instance, runtime::EventLoop& loop, Events& events)
    : application_(application),
      http_(http),
      instance_(instance),
      loop_(loop),
      events_(events),
      service_(loop, log_),
      started_us_(loop.now().mono_us),
      queue_(application.concurrency, application.rest.batch ? UINT32_MAX : 1, instance, events) {}

RestShim::~RestShim() {
  if (timer_ != 0) loop_.cancel(timer_);
  if (health_ != 0) http_.cancel(health_);
  forget_posts();
}

// Where it listens: a unix socket of its own, a port that is chosen here, or where the URL says.
proto::Status RestShim::place(Launch& launch) {
  base_ = application_.rest.url;
  if (base_.empty()) {
    if (auto made = folder_.make(launch.socket_parent); !made) return made;
    unix_socket_ = folder_.socket();
    base_ = "http://localhost";
    launch.environment.emplace_back("FLAME_INSTANCE_ENDPOINT", unix_socket_);
  } else if (auto at = base_.find(kPort); at != base_.npos) {
    auto port = free_port();
    if (!port) return port.error();
    base_.replace(at, kPort.size(), std::to_string(*port));
    launch.environment.emplace_back("PORT", std::to_string(*port));
    launch.environment.emplace_back("FLAME_INSTANCE_ENDPOINT", base_);
  }
  launch.environment.emplace_back("FLAME_SHIM", "rest");
  while (base_.ends_with('/')) base_.pop_back();
  return {};
}

HttpRequest RestShim::request(std::string_view method, std::string_view path) const {
  HttpRequest request;
  request.method = method;
  request.url = base_ + std::string(path);
  request.unix_socket = unix_socket_;
  request.tls.ca_file = application_.rest.ca_file;
  request.answer_max = proto::kPayloadBytesMax;
  return request;
}

// ---- until it listens
// ------------------------------------------------------------------------------------

void RestShim::try_health() {
  timer_ = 0;
  auto ask = request("GET", application_.rest.health);
  ask.total_us = kHealthTimeoutUs;
  health_ = http_.send(std::move(ask), [this](const proto::Result<HttpAnswer>& answer) {
    health_ = 0;
    on_health(answer);
  });
}

void RestShim::on_health(const proto::Result<HttpAnswer>& answer) {
  if (exited_) return;
  if (answer && good(*answer)) {
    ready_ = true;
    if (to_enter_) post_enter();
    return;
  }
  not_ready_because_ = answer ? words_of(*answer) : answer.error().message;
  if (!answer && answer.error().code == proto::Code::kRefused)
    return end("is not trusted: " + not_ready_because_);  // nor will it be in a moment
  if (answer && answer->status != kUnavailable && answer->status != kTooMany) {
    return end("answered GET " + application_.rest.health + " with " + not_ready_because_ +
               "; it must answer 2xx there when it is ready (rest.health)");
  }
  int64_t now = loop_.now().mono_us;
  int64_t after = std::clamp((now - started_us_) / 16, kHealthUsMin, kHealthUsMax);
  timer_ = loop_.call_at(now + after, [this] { try_health(); });
}

// ---- towards the service
// ------------------------------------------------------------------------------------

void RestShim::enter(const EnterSession& session) {
  session_ = session.session;
  log_.at(session.uid, {});
  to_enter_ = session;
  if (ready_) post_enter();
}

void RestShim::post_enter() {
  Post enter{.path = "/enter",
             .headers = {},
             .content_type = application_.rest.content_type,
             .body = std::string(to_enter_->common.view())};
  to_enter_.reset();
  post(std::move(enter));
}

void RestShim::invoke(const std::vector<Frame>& frames) {
  queue_.add(frames);
  start_calls();
}

void RestShim::start_calls() {
  while (!exited_) {
    auto call = queue_.next();
    if (!call) return;
    send_call(std::move(*call));
  }
}

void RestShim::send_call(CallQueue::Call call) {
  log_.at(log_.uid(), {call.first, call.count});  // of several at a time the last one
  Post invoke{.path = "/invoke",
              .headers = {},
              .content_type = application_.rest.content_type,
              .body = {},
              .call = std::move(call)};
  if (application_.rest.batch) {
    invoke.path = "/invoke_batch";
    auto body = batch_request(session_, invoke.call);
    if (!body) {
      // Nobody can tell which of them the service would have taken: all of the frame fail alike.
      Failure failure{0, proto::Code::kTaskFailed, body.error().message};
      return queue_.answer(invoke.call.first, {invoke.call.count, {failure, ""}});
    }
    invoke.body = std::move(*body);
  } else {
    invoke.headers = {{"Flame-Task", std::to_string(invoke.call.first)},
                      {"Flame-Attempt", std::to_string(invoke.call.attempt)}};
    invoke.body = proto::ElementReader(invoke.call.inputs.view()).next().value_or("");
  }
  post(std::move(invoke));
}

void RestShim::post(Post post) {
  post.headers.emplace_back("Flame-Session", session_);
  post.headers.emplace_back("Flame-Application", application_.name);
  post.headers.emplace_back("Content-Type", post.content_type);
  post.began_us = loop_.now().mono_us;
  PostId id = next_post_++;
  posts_.emplace(id, std::move(post));
  send(id);
}

void RestShim::send(PostId id) {
  auto& post = posts_.at(id);
  post.timer = 0;
  auto sent = request("POST", post.path);
  sent.headers = post.headers;
  sent.body = post.body;
  sent.total_us = 0;  // the executor knows how long a task may take
  post.sent = http_.send(std::move(sent), [this, id](const proto::Result<HttpAnswer>& answer) {
    on_answer(id, answer);
  });
}

// HTTP has no word for it: a task that runs goes on, and the executor's grace decides. One that
// waits to be tried again has not begun.
void RestShim::cancel(const proto::Run& run) {
  queue_.cancel(run);
  std::vector<CallQueue::Call> unwanted;
  for (auto& [id, post] : posts_) {
    if (post.sent != 0 || post.call.count != 1 || !run.contains(post.call.first)) continue;
    loop_.cancel(post.timer);
    unwanted.push_back(post.call);
  }
  for (const auto& call : unwanted) {
    std::erase_if(posts_, [&](const auto& entry) {
      return entry.second.call.count == 1 && entry.second.call.first == call.first;
    });
    queue_.answer(call.first, {{std::nullopt, ""}});
  }
  if (!unwanted.empty()) start_calls();
}

void RestShim::leave() {
  post({.path = "/leave",
        .headers = {},
        .content_type = application_.rest.content_type,
        .body = {}});
}

void RestShim::terminate() {
  if (remote()) return end("was left");
  service_.terminate();
}

void RestShim::kill() {
  if (!remote() && ready_) return service_.kill();
  end(ready_ ? "was left in the middle of a call"
             : "does not answer GET " + base_ + application_.rest.health +
                   (unix_socket_.empty() ? "" : " on FLAME_INSTANCE_ENDPOINT=" + unix_socket_) +
                   ": " + not_ready_because_);
}

// ---- from the service
// ---------------------------------------------------------------------------------------

void RestShim::on_answer(PostId id, const proto::Result<HttpAnswer>& answer) {
  auto& post = posts_.at(id);
  post.sent = 0;
  if (answer && retry(id, *answer)) return;
  auto path = post.path;
  auto call = std::move(post.call);
  posts_.erase(id);
  service_.read_output();  // what it wrote in the task, before the next one counts
  if (call.count > 0 && queue_.running() == 1) log_.at(log_.uid(), {});
  if (!answer && answer.error().code == proto::Code::kTooLarge && call.count > 0) {
    queue_.answer(call.first, {call.count, {output_too_large(), ""}});
  } else if (!answer) {
    lost(answer.error());
  } else if (answer->status == kBadGateway || answer->status == kGatewayTimeout) {
    lost({proto::Code::kNoBroker, "answered " + words_of(*answer)});  // who is behind it is away
  } else if (path == "/enter") {
    on_entered(*answer);
  } else if (path == "/leave") {
    on_left(*answer);
  } else {
    on_invoked(call, *answer);
  }
  if (exited_ && posts_.empty()) return gone();
  start_calls();
}

bool RestShim::retry(PostId id, const HttpAnswer& answer) {
  if (answer.status != kUnavailable && answer.status != kTooMany) return false;
  auto& post = posts_.at(id);
  int64_t now = loop_.now().mono_us;
  int64_t after = retry_after_us(answer);
  bool wanted = post.call.count != 1 || !queue_.is_cancelled(post.call.first);
  if (exited_ || !wanted || now + after - post.began_us > kRetryForUs) return false;
  post.timer = loop_.call_at(now + after, [this, id] { send(id); });
  return true;
}

void RestShim::on_entered(const HttpAnswer& answer) {
  if (!good(answer) && !has_not(answer)) {
    return events_.push_back({instance_, Entered{false, words_of(answer)}});
  }
  events_.push_back({instance_, Entered{true, "", application_.concurrency == 1}});
}

void RestShim::on_invoked(const CallQueue::Call& call, const HttpAnswer& answer) {
  if (!good(answer)) {
    Failure failure{0, proto::Code::kTaskFailed, words_of(answer)};
    return queue_.answer(call.first, {call.count, {failure, ""}});
  }
  if (!application_.rest.batch) return queue_.answer(call.first, {{std::nullopt, answer.body}});
  auto results = read_batch_answer(answer.body, call.count);
  if (!results) return end("broke the protocol: " + results.error().message);
  std::vector<CallQueue::Answer> answers;
  for (const auto& result : *results) {
    auto text = std::string_view(result.text);
    if (result.ok) {
      answers.push_back({std::nullopt, text});
    } else {
      text = text.substr(0, proto::kReasonBytesMax);
      answers.push_back({Failure{0, proto::Code::kTaskFailed, std::string(text)}, ""});
    }
  }
  queue_.answer(call.first, answers);
}

// A service that fails to leave must not enter another session: it ends instead.
void RestShim::on_left(const HttpAnswer& answer) {
  if (good(answer) || has_not(answer)) return events_.push_back({instance_, Left{}});
  if (remote()) return end("failed to leave: " + words_of(answer));
  service_.terminate();
}

void RestShim::lost(const proto::Error& error) {
  if (exited_) return;
  if (error.code == proto::Code::kTooLarge) return end("broke the protocol: " + error.message);
  if (remote()) return end(error.message);
  bool nonsense = error.code == proto::Code::kBadFrame;  // or a connection that its end has cut
  if (nonsense) return service_.expect_exit_or_kill_for("broke the protocol: " + error.message);
  service_.expect_exit(error.message);
}

// ---- the end
// ------------------------------------------------------------------------------------------------

void RestShim::end(std::string reason) {
  if (!remote()) return service_.kill_for(std::move(reason));
  if (exited_) return;
  exited_ = true;
  reason_ = "the service at " + base_ + " " + std::move(reason);
  forget_posts();
  if (timer_ != 0) loop_.cancel(timer_);
  timer_ = loop_.call_at(loop_.now().mono_us, [this] { gone(); });  // not from inside of a call
}

void RestShim::on_exit() {
  exited_ = true;
  if (timer_ != 0) loop_.cancel(std::exchange(timer_, 0));
  std::erase_if(posts_, [this](const auto& entry) {
    if (entry.second.sent == 0) loop_.cancel(entry.second.timer);
    return entry.second.sent == 0;
  });
  if (posts_.empty()) return gone();
  timer_ = loop_.call_at(loop_.now().mono_us + kLastWordsUs, [this] { gone(); });
}

void RestShim::forget_posts() {
  for (auto& [id, post] : posts_) {
    if (post.sent != 0) http_.cancel(post.sent);
    if (post.timer != 0) loop_.cancel(post.timer);
  }
  posts_.clear();
}

void RestShim::gone() {
  if (timer_ != 0) loop_.cancel(std::exchange(timer_, 0));
  forget_posts();
  events_.push_back({instance_, Exited{remote() ? reason_ : service_.explain_exit()}});
}

}  // namespace flame::shims

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A service that is an HTTP server: started here, or running somewhere already. GET health until it
// answers, POST enter, POST invoke for each task (or for each frame, as a batch), POST leave.
// docs/applications.md has the contract. As many calls at a time as the application's
// `concurrency`, at most one of a frame.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/application.hpp"
#include "runtime/http_client.hpp"
#include "shims/call_queue.hpp"
#include "shims/rest/batch.hpp"
#include "shims/service_process.hpp"
#include "shims/shim.hpp"
#include "shims/socket_folder.hpp"

namespace flame::shims {

class RestShim final : public Shim {
 public:
  static proto::Result<std::unique_ptr<Shim>> start(const proto::Application& application,
                                                    Launch launch, InstanceId instance,
                                                    runtime::EventLoop& loop, Events& events);
  ~RestShim() override;

  void enter(const EnterSession& session) override;
  void invoke(const std::vector<Frame>& frames) override;
  void cancel(const proto::Run& run) override;
  void leave() override;
  void terminate() override;
  void kill() override;

 private:
  /// A POST that is not answered for good: it is on the way, or waits to be tried again.
  struct Post {
    std::string path;
    std::vector<std::pair<std::string, std::string>> headers;
    std::string content_type, body;
    CallQueue::Call call;  ///< count 0: enter or leave
    int64_t began_us = 0;
    runtime::HttpClient::Id sent = 0;       ///< 0: it waits
    runtime::EventLoop::TimerId timer = 0;  ///< until it is tried again
  };
  using PostId = uint64_t;

  RestShim(const proto::Application& application, runtime::HttpClient& http, InstanceId instance,
           runtime::EventLoop& loop, Events& events);

  proto::Status place(Launch& launch);
  runtime::HttpRequest request(std::string_view method, std::string_view path) const;
  void try_health();
  void on_health(const proto::Result<runtime::HttpAnswer>& answer);
  void post_enter();
  void start_calls();
  void send_call(CallQueue::Call call);
  void post(Post post);
  void send(PostId id);
  void on_answer(PostId id, const proto::Result<runtime::HttpAnswer>& answer);
  /// True if it is tried again later.
  bool retry(PostId id, const runtime::HttpAnswer& answer);
  void on_entered(const runtime::HttpAnswer& answer);
  void on_invoked(const CallQueue::Call& call, const runtime::HttpAnswer& answer);
  void on_left(const runtime::HttpAnswer& answer);
  /// The conversation is over.
  void lost(const proto::Error& error);
  void end(std::string reason);
  void on_exit();
  void forget_posts();
  void gone();
  bool remote() const { return application_.command.empty(); }

  proto::Application application_;
  runtime::HttpClient& http_;
  InstanceId instance_;
  runtime::EventLoop& loop_;
  Events& events_;
  SocketFolder folder_;
  ServiceProcess service_;
  std::string base_;         ///< URL without a slash at its end
  std::string unix_socket_;  ///< "": by the URL's host and port
  int64_t started_us_;
  std::string not_ready_because_ = "nobody asked it yet";
  runtime::HttpClient::Id health_ = 0;
  runtime::EventLoop::TimerId timer_ = 0;  ///< of the next health check, or of the end
  bool ready_ = false;

  std::optional<EnterSession> to_enter_;
  std::string session_;
  CallQueue queue_;
  std::map<PostId, Post> posts_;
  PostId next_post_ = 1;
  bool exited_ = false;
  std::string reason_;  ///< of the end of one that runs elsewhere
};

}  // namespace flame::shims

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/http_client.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include <nlohmann/json.hpp>

#include "runtime/clock.hpp"

namespace flame::runtime {

namespace {

using proto::Code;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

int run(std::vector<std::string> words, int in, int out, int trouble = 2) {
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(in, 0);
  dup2(out, 1);
  dup2(trouble, 2);
  execvp(argv[0], argv.data());
  _exit(127);
}

/// odd_http_server.py: what it does is said there.
class OddServer {
 public:
  explicit OddServer(const std::vector<std::string>& arguments = {}) {
    int in[2], out[2];
    EXPECT_EQ(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
    std::vector<std::string> words = {"/usr/bin/python3", ODD_HTTP_SERVER_PATH};
    words.insert(words.end(), arguments.begin(), arguments.end());
    pid_ = run(words, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    stop_ = in[1];
    FILE* file = fdopen(out[0], "r");
    EXPECT_EQ(fscanf(file, "%d", &port_), 1);
    fclose(file);
  }
  ~OddServer() { stop(); }
  void stop() {
    if (pid_ == 0) return;
    close(stop_);
    waitpid(std::exchange(pid_, 0), nullptr, 0);
  }
  std::string url(const std::string& path, const std::string& scheme = "http") const {
    return scheme + "://127.0.0.1:" + std::to_string(port_) + path;
  }

 private:
  pid_t pid_;
  int stop_, port_ = 0;
};

class HttpClientTest : public ::testing::Test {
 protected:
  using Answer = std::optional<proto::Result<HttpAnswer>>;

  HttpClientTest() { ::signal(SIGPIPE, SIG_IGN); }  // as runtime/signals does

  template <class Condition>
  bool turn_until(Condition condition) {
    int64_t give_up = read_clock().mono_us + 20 * proto::kUsPerSecond;
    while (!condition() && read_clock().mono_us < give_up) loop_.turn(10'000);
    return condition();
  }
  proto::Result<HttpAnswer> ask(HttpRequest request) {
    Answer answer;
    client_.send(std::move(request), [&](auto got) { answer = std::move(got); });
    EXPECT_FALSE(answer) << "called from inside send()";
    EXPECT_TRUE(turn_until([&] { return answer.has_value(); }));
    EXPECT_EQ(client_.running(), 0u);
    return answer ? *answer : proto::Error{Code::kSystem, "the test has given up"};
  }
  proto::Error error_of(HttpRequest request) {
    auto answer = ask(std::move(request));
    EXPECT_FALSE(answer) << answer->status << " " << answer->body.substr(0, 100);
    return answer ? proto::Error{} : answer.error();
  }

  EventLoop loop_;
  HttpClient client_{loop_};
};

TEST_F(HttpClientTest, SendsWhatItIsToldAndNothingOfItsOwn) {
  OddServer server;
  auto answer = ask({.method = "PATCH",
                     .url = server.url("/echo?dryRun=All"),
                     .headers = {{"Authorization", "Bearer t0ken"}, {"X-Empty", ""}},
                     .body = "{\"a\": 1}"});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 200);
  Json seen = Json::parse(answer->body);
  EXPECT_EQ(seen["method"], "PATCH");
  EXPECT_EQ(seen["target"], "/echo?dryRun=All");
  EXPECT_EQ(seen["body"], "{\"a\": 1}");
  EXPECT_EQ(seen["headers"]["authorization"], "Bearer t0ken");
  EXPECT_EQ(seen["headers"]["x-empty"], "");
  EXPECT_FALSE(seen["headers"].contains("expect"));
  EXPECT_FALSE(seen["headers"].contains("content-type"));
  EXPECT_FALSE(seen["headers"].contains("accept-encoding"));
}

TEST_F(HttpClientTest, EveryMethodWithAndWithoutABody) {
  OddServer server;
  for (std::string method : {"GET", "POST", "PUT", "PATCH", "DELETE"}) {
    for (std::string body : {"", "text"}) {
      auto answer = ask({.method = method, .url = server.url("/echo"), .body = body});
      ASSERT_TRUE(answer) << answer.error().message;
      Json seen = Json::parse(answer->body);
      EXPECT_EQ(seen["method"], method);
      EXPECT_EQ(seen["body"], body);
    }
  }
}

TEST_F(HttpClientTest, AnyStatusIsAnAnswer) {
  OddServer server;
  for (int status : {201, 404, 409, 429, 503}) {
    auto answer = ask({.url = server.url("/status?" + std::to_string(status))});
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->status, status);
    EXPECT_EQ(answer->body, "says " + std::to_string(status));
    EXPECT_EQ(answer->header("x-twice"), "a, b");
    EXPECT_EQ(answer->header("x-none"), "");
  }
}

TEST_F(HttpClientTest, NoRedirectIsFollowed) {
  OddServer server;
  auto answer =
      ask({.url = server.url("/redirect"), .headers = {{"Authorization", "Bearer t0ken"}}});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 302);
  EXPECT_EQ(answer->header("location"), "/echo");
}

TEST_F(HttpClientTest, AnInformationBeforeTheAnswerIsSkipped) {
  OddServer server;
  auto answer = ask({.url = server.url("/go_on")});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "after all");
  EXPECT_EQ(answer->header("x-early"), "");
}

TEST_F(HttpClientTest, AConnectionIsUsedAgainUntilTheServerClosesIt) {
  OddServer server;
  auto connection = [&](const std::string& path) {
    auto answer = ask({.url = server.url(path)});
    return answer ? std::string(answer->header("x-connection")) : answer.error().message;
  };
  EXPECT_EQ(connection("/status?200"), "1");
  EXPECT_EQ(connection("/closes_later"), "1");
  EXPECT_EQ(connection("/status?404"), "2");
  EXPECT_EQ(connection("/status?200"), "2");
}

TEST_F(HttpClientTest, ManyAtATimeAndAHandlerMaySendMore) {
  OddServer server;
  int answered = 0;
  for (int i = 0; i < 20; i++) {
    client_.send({.url = server.url("/echo")}, [&](auto first) {
      EXPECT_TRUE(first);
      client_.send({.url = server.url("/echo")}, [&](auto second) {
        EXPECT_TRUE(second);
        answered++;
      });
    });
  }
  EXPECT_TRUE(turn_until([&] { return answered == 20; }));
  EXPECT_EQ(client_.running(), 0u);
}

TEST_F(HttpClientTest, AnAnswerThatIsCutOffIsAnError) {
  OddServer server;
  for (std::string path :
       {"/cut", "/cut_chunk", "/nothing", "/garbage", "/bad_chunk", "/stream?a,cut"}) {
    auto error = error_of({.url = server.url(path + (path[1] == 's' ? "" : "?token=t0ken"))});
    EXPECT_EQ(error.code, Code::kBadFrame) << error.message;
    EXPECT_THAT(error.message, HasSubstr("GET " + server.url(path.substr(0, path.find('?')))));
    EXPECT_THAT(error.message, Not(HasSubstr("t0ken")));
  }
}

TEST_F(HttpClientTest, NobodyThere) {
  std::string url;
  {
    OddServer server;
    url = server.url("/echo");
  }
  auto error = error_of({.url = url});
  EXPECT_EQ(error.code, Code::kNoBroker);
  EXPECT_THAT(error.message, HasSubstr(url + ": not reached: "));
  EXPECT_EQ(error_of({.url = "http://no-such-host.invalid/"}).code, Code::kNoBroker);
}

TEST_F(HttpClientTest, ASilentServerIsGivenUp) {
  OddServer server;
  auto total = error_of({.url = server.url("/silent"), .total_us = 50'000});
  EXPECT_EQ(total.code, Code::kTimeout) << total.message;
  auto stall = error_of({.url = server.url("/silent"), .stall_us = 50'000});
  EXPECT_EQ(stall.code, Code::kTimeout);
  EXPECT_THAT(stall.message, HasSubstr("nothing came for 50 ms"));
}

TEST_F(HttpClientTest, AStreamThatGoesQuietIsGivenUpAndWhatCameWasHandedOn) {
  OddServer server;
  std::string got;
  auto error = error_of({.url = server.url("/stream?one,two,silent"),
                         .total_us = 0,
                         .stall_us = 200'000,
                         .on_chunk = [&](std::string_view chunk) { got += chunk; }});
  EXPECT_EQ(error.code, Code::kTimeout);
  EXPECT_EQ(got, "one\ntwo\n");
}

TEST_F(HttpClientTest, AStreamEndsOrIsCut) {
  OddServer server;
  std::string got;
  auto take = [&](std::string_view chunk) { got += chunk; };
  auto answer = ask({.url = server.url("/stream?a,b,end"), .on_chunk = take});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "");
  EXPECT_EQ(std::exchange(got, ""), "a\nb\n");
  EXPECT_EQ(error_of({.url = server.url("/stream?c,cut"), .on_chunk = take}).code, Code::kBadFrame);
  EXPECT_EQ(got, "c\n");
}

TEST_F(HttpClientTest, TheBodyOfAnErrorIsNoStream) {
  OddServer server;
  auto answer = ask({.url = server.url("/status?410"),
                     .on_chunk = [](std::string_view) { ADD_FAILURE() << "of an error"; }});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "says 410");
}

TEST_F(HttpClientTest, AnAnswerIsBounded) {
  OddServer server;
  auto fits = ask({.url = server.url("/big?100000"), .answer_max = 100'000});
  ASSERT_TRUE(fits);
  EXPECT_EQ(fits->body.size(), 100'000u);
  auto error = error_of({.url = server.url("/big?100001"), .answer_max = 100'000});
  EXPECT_EQ(error.code, Code::kTooLarge);
  EXPECT_THAT(error.message, HasSubstr("100000 bytes"));
  EXPECT_EQ(error_of({.url = server.url("/long_headers")}).code, Code::kTooLarge);
}

TEST_F(HttpClientTest, ALargeBodyArrivesWhole) {
  OddServer server;
  std::string body(5'000'000, 'b');
  auto answer = ask({.method = "POST", .url = server.url("/echo"), .body = body});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(Json::parse(answer->body)["body"], body);
}

TEST_F(HttpClientTest, ACancelledOneIsNotHeardOf) {
  OddServer server;
  auto never = [](auto) { ADD_FAILURE() << "cancelled"; };
  client_.cancel(client_.send({.url = server.url("/echo")}, never));
  client_.cancel(client_.send({.url = "nonsense"}, never));
  auto silent = client_.send({.url = server.url("/silent"), .stall_us = 10'000}, never);
  client_.cancel(silent);
  client_.cancel(silent);
  client_.cancel(12345);
  EXPECT_EQ(client_.running(), 0u);
  EXPECT_TRUE(ask({.url = server.url("/echo")}));
}

TEST_F(HttpClientTest, AHandlerMayCancelItselfAndOthers) {
  OddServer server;
  std::string captured = "lives until the call returns";
  HttpClient::Id stream = 0, other = 0;
  bool called = false;
  other = client_.send({.url = server.url("/silent")}, [](auto) { ADD_FAILURE(); });
  stream = client_.send({.url = server.url("/stream?one,silent"),
                         .on_chunk =
                             [&, captured](std::string_view) {
                               client_.cancel(other);
                               client_.cancel(stream);
                               EXPECT_EQ(captured.size(), 28u);
                               called = true;
                             }},
                        [](auto) { ADD_FAILURE(); });
  EXPECT_TRUE(turn_until([&] { return called; }));
  EXPECT_EQ(client_.running(), 0u);
}

TEST_F(HttpClientTest, WhatStillRunsGoesWithTheClient) {
  OddServer server;
  auto own = std::make_unique<HttpClient>(loop_);
  bool chunk = false;
  own->send({.url = server.url("/stream?one,silent"), .on_chunk = [&](auto) { chunk = true; }},
            [](auto) { ADD_FAILURE(); });
  EXPECT_TRUE(turn_until([&] { return chunk; }));
  own.reset();
  EXPECT_TRUE(ask({.url = server.url("/echo")}));
}

TEST_F(HttpClientTest, ARequestThatCannotBeSent) {
  for (const auto& request :
       {HttpRequest{.url = "not a url"}, HttpRequest{.url = "ftp://127.0.0.1/x"},
        HttpRequest{.method = "GET /\r\nX:", .url = "http://127.0.0.1/"},
        HttpRequest{.url = "http://127.0.0.1/", .headers = {{"Authorization", "t0ken\r\nX: y"}}},
        HttpRequest{.url = "http://127.0.0.1/", .headers = {{"Bad Name", "t0ken"}}}}) {
    auto error = error_of(request);
    EXPECT_EQ(error.code, Code::kBadRequest) << error.message;
    EXPECT_THAT(error.message, Not(HasSubstr("t0ken")));
  }
  auto error = error_of({.url = "ftp://user:t0ken@127.0.0.1/x?t0ken"});
  EXPECT_THAT(error.message, HasSubstr("ftp://127.0.0.1/x: "));
}

TEST_F(HttpClientTest, AUnixSocketAndNoProxyOfTheEnvironment) {
  char folder[] = "/tmp/flame-http-test-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  std::string path = std::string(folder) + "/socket";
  {
    OddServer server({"--unix", path});
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    auto answer = ask({.url = "http://service/echo", .unix_socket = path});
    unsetenv("http_proxy");
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(Json::parse(answer->body)["headers"]["host"], "service");
  }
  EXPECT_EQ(error_of({.url = "http://service/", .unix_socket = path}).code, Code::kNoBroker);
  std::filesystem::remove_all(folder);
}

class HttpClientTlsTest : public HttpClientTest {
 protected:
  HttpClientTlsTest() {
    char folder[] = "/tmp/flame-http-test-XXXXXX";
    folder_ = mkdtemp(folder);
    // Each is its own CA.
    make("server", "/CN=flame", "subjectAltName=IP:127.0.0.1,DNS:api.flame");
    make("other", "/CN=other", "subjectAltName=IP:127.0.0.1");
    make("client", "/CN=autoscaler", "extendedKeyUsage=clientAuth");
  }
  ~HttpClientTlsTest() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string text(const std::string& name) const {
    std::ifstream file(path(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void make(const std::string& name, const std::string& subject, const std::string& extension) {
    int status = 0, nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t pid =
        run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-days", "2", "-subj", subject, "-addext", extension, "-keyout",
             path(name + ".key"), "-out", path(name + ".crt")},
            nothing, nothing, nothing);
    waitpid(pid, &status, 0);
    close(nothing);
    ASSERT_TRUE(std::filesystem::exists(path(name + ".crt")));
  }
  std::vector<std::string> serve_as(const std::string& name, const std::string& client = "") {
    std::vector<std::string> words = {"--tls", path(name + ".crt"), path(name + ".key")};
    if (!client.empty()) words.push_back(path(client + ".crt"));
    return words;
  }
  std::string folder_;
};

TEST_F(HttpClientTlsTest, ACertificateIsVerifiedAgainstTheCaThatWasGivenAndNoOther) {
  OddServer server(serve_as("server"));
  std::string url = server.url("/echo", "https");
  EXPECT_TRUE(ask({.url = url, .tls = {.ca = text("server.crt")}}));
  // Each of these must not be served by the connection that the first one left behind.
  for (const auto& tls :
       {HttpTls{}, HttpTls{.ca = text("other.crt")}, HttpTls{.ca_file = path("other.crt")}}) {
    auto error = error_of({.url = url, .tls = tls});
    EXPECT_EQ(error.code, Code::kRefused);
    EXPECT_THAT(error.message, HasSubstr("certificate is not trusted"));
  }
  EXPECT_TRUE(ask({.url = url, .tls = {.ca_file = path("server.crt")}}));
  EXPECT_TRUE(ask({.url = url, .tls = {.verify = false}}));
  EXPECT_EQ(error_of({.url = url, .tls = {.ca_file = path("absent")}}).code, Code::kRefused);
}

TEST_F(HttpClientTlsTest, TheNameMustFit) {
  OddServer server(serve_as("server"));
  std::string url = server.url("/echo", "https"), host = url.substr(8, url.rfind('/') - 8);
  HttpTls tls{.ca = text("server.crt"), .server_name = "api.flame"};
  auto answer = ask({.url = url, .tls = tls});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(Json::parse(answer->body)["headers"]["host"], host);
  tls.server_name = "api.other";
  EXPECT_EQ(error_of({.url = url, .tls = tls}).code, Code::kRefused);
}

TEST_F(HttpClientTlsTest, AClientCertificate) {
  OddServer server(serve_as("server", "client"));
  std::string url = server.url("/echo", "https");
  HttpTls tls{.ca = text("server.crt")};
  EXPECT_FALSE(ask({.url = url, .tls = tls}));
  tls.cert = text("client.crt");
  tls.key = text("client.key");
  EXPECT_TRUE(ask({.url = url, .tls = tls}));
  EXPECT_TRUE(ask({.url = url,
                   .tls = {.ca = text("server.crt"),
                           .cert_file = path("client.crt"),
                           .key_file = path("client.key")}}));
  tls.cert = text("other.crt");
  EXPECT_EQ(error_of({.url = url, .tls = tls}).code, Code::kRefused) << "the key is another's";
}

TEST_F(HttpClientTlsTest, AServerThatSpeaksNoTls) {
  OddServer server({"--greet"});
  auto error = error_of({.url = server.url("/echo", "https")});
  EXPECT_EQ(error.code, Code::kRefused) << error.message;
}

}  // namespace

}  // namespace flame::runtime

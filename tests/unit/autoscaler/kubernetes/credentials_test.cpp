// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/credentials.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "runtime/clock.hpp"

namespace flame::autoscaler::kubernetes {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CredentialsTest : public ::testing::Test {
 protected:
  CredentialsTest() {
    char folder[] = "/tmp/flame-credentials-test-XXXXXX";
    folder_ = mkdtemp(folder);
  }
  ~CredentialsTest() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    std::string path = folder_ + "/" + name;
    std::ofstream(path) << text;
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
  // Prints another token each time it runs, and how long that is good.
  ExecPlugin plugin(const std::string& expires) {
    auto path = write("plugin",
                      "#!/bin/sh\ncd \"$0.d\" || exit 1\n: >\"$(ls | wc -l)\"\n"
                      "echo \"$KUBERNETES_EXEC_INFO\" >../info\n"
                      "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"" +
                          version_ + "\",\"status\":{\"token\":\"token'$(ls | wc -l)'\"," +
                          "\"expirationTimestamp\":\"" + expires + "\"}}'\n");
    std::filesystem::create_directory(path + ".d");
    return {.api_version = version_, .words = {path}};
  }
  proto::Result<runtime::HttpRequest> request(Credentials& credentials) {
    std::optional<proto::Result<runtime::HttpRequest>> ready;
    credentials.prepare([&](auto got) { ready = std::move(got); });
    int64_t give_up = runtime::read_clock().mono_us + 20 * proto::kUsPerSecond;
    while (!ready && runtime::read_clock().mono_us < give_up) loop_.turn(10'000);
    EXPECT_TRUE(ready.has_value());
    return ready ? *ready : proto::Error{};
  }
  std::string authorization(Credentials& credentials) {
    auto ready = request(credentials);
    if (!ready) return ready.error().message;
    return ready->headers.empty() ? "" : ready->headers[0].second;
  }

  std::string folder_, version_ = "client.authentication.k8s.io/v1";
  runtime::EventLoop loop_;
};

TEST_F(CredentialsTest, ATokenInAFileIsReadAgainWhenItRotates) {
  Access access{.server = "https://api", .token_file = write("token", "first\n")};
  Credentials credentials(loop_, access);
  EXPECT_EQ(authorization(credentials), "Bearer first");
  write("token", "second");
  EXPECT_EQ(authorization(credentials), "Bearer second");
  write("token", " ");
  EXPECT_THAT(authorization(credentials), HasSubstr("holds no token"));
  std::filesystem::remove(access.token_file);
  EXPECT_THAT(authorization(credentials), HasSubstr("cannot be read: No such file"));
}

TEST_F(CredentialsTest, APluginIsAskedOnceUntilItsTokenExpiresOrIsRefused) {
  Credentials credentials(loop_, {.server = "https://api", .exec = plugin("2999-01-01T00:00:00Z")});
  std::vector<std::string> got;
  for (int i = 0; i < 2; i++) {
    credentials.prepare([&](auto ready) { got.push_back(ready->headers.at(0).second); });
  }
  EXPECT_EQ(authorization(credentials), "Bearer token1");
  EXPECT_THAT(got, ElementsAre("Bearer token1", "Bearer token1")) << "who waits gets the same one";
  EXPECT_EQ(authorization(credentials), "Bearer token1");
  credentials.refused();
  EXPECT_EQ(authorization(credentials), "Bearer token2");
  std::ifstream info(folder_ + "/info");
  std::string text{std::istreambuf_iterator<char>(info), {}};
  EXPECT_THAT(text, HasSubstr("\"apiVersion\":\"client.authentication.k8s.io/v1\""));
  EXPECT_THAT(text, HasSubstr("\"interactive\":false"));
}

TEST_F(CredentialsTest, AnExpiredTokenIsNotUsedAgain) {
  Credentials credentials(loop_, {.server = "https://api", .exec = plugin("2001-01-01T00:00:00Z")});
  EXPECT_EQ(authorization(credentials), "Bearer token1");
  EXPECT_EQ(authorization(credentials), "Bearer token2");
}

TEST_F(CredentialsTest, APluginThatFailsSaysWhyAndIsTriedAgain) {
  auto failing = write("plugin", "#!/bin/sh\necho log in first >&2\nexit 1\n");
  Credentials credentials(
      loop_,
      {.server = "https://api",
       .exec = ExecPlugin{.api_version = version_, .words = {failing}, .install_hint = "hint"}});
  std::string words = authorization(credentials);
  EXPECT_THAT(words, HasSubstr("exit code 1: log in first; hint"));
  plugin("2999-01-01T00:00:00Z");
  EXPECT_EQ(authorization(credentials), "Bearer token1");
}

TEST_F(CredentialsTest, AKubeconfigIsFoundAndItsMistakesNameTheFile) {
  std::string text =
      "current-context: a\n"
      "contexts: [{name: a, context: {cluster: c, user: u}}]\n"
      "clusters: [{name: c, cluster: {server: https://api}}]\n"
      "users: [{name: u, user: {tokenFile: token}}]\n";
  auto path = write("config", text);
  auto access = load_access(path, "");
  ASSERT_TRUE(access) << access.error().message;
  EXPECT_EQ(access->token_file, folder_ + "/token");
  EXPECT_EQ(load_access(path, "b").error().message,
            "kubeconfig " + path +
                ": the context 'b' is not in `contexts`, which has 'a'; choose one with --context");
  EXPECT_THAT(load_access(write("broken", "a: [1"), "").error().message,
              HasSubstr("broken: this is no YAML"));
  EXPECT_THAT(load_access(folder_ + "/absent", "").error().message,
              HasSubstr("absent cannot be read: No such file or directory; name one with"));
  setenv("KUBECONFIG", path.c_str(), 1);
  EXPECT_TRUE(load_access("", ""));
  setenv("KUBECONFIG", (path + ":" + path).c_str(), 1);
  EXPECT_THAT(load_access("", "").error().message, HasSubstr("several files"));
  unsetenv("KUBECONFIG");
}

}  // namespace
}  // namespace flame::autoscaler::kubernetes

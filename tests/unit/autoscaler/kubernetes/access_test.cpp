// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/access.hpp"

#include <gmock/gmock.h>

#include "autoscaler/kubernetes/text.hpp"

namespace flame::autoscaler::kubernetes {
namespace {

using ::testing::HasSubstr;

constexpr const char* kPem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==";

// A kubeconfig with one of everything; its words can be replaced.
std::string config(const std::string& cluster = "", const std::string& user = "") {
  return "apiVersion: v1\n"
         "kind: Config\n"
         "current-context: main\n"
         "contexts:\n"
         "- {name: main, context: {cluster: prod, user: admin, namespace: jobs}}\n"
         "- {name: other, context: {cluster: gone, user: admin}}\n"
         "- {name: nobody, context: {cluster: prod, user: ghost}}\n"
         "clusters:\n"
         "- name: prod\n"
         "  cluster: " +
         (cluster.empty() ? "{server: 'https://10.0.0.1:6443/', certificate-authority: ca.crt}"
                          : cluster) +
         "\nusers:\n"
         "- name: admin\n"
         "  user: " +
         (user.empty() ? "{token: t0ken}" : user) + "\n";
}

proto::Result<Access> access_of(const std::string& text, const std::string& context = "") {
  auto file = read_yaml(text);
  if (!file) return file.error();
  return access_from_kubeconfig(*file, "/etc/kube", context);
}

std::string refusal(const std::string& text, const std::string& context = "") {
  auto access = access_of(text, context);
  EXPECT_FALSE(access);
  return access ? "" : access.error().message;
}

TEST(Kubeconfig, TheCurrentContextWithFilesBesideIt) {
  auto access = access_of(config());
  ASSERT_TRUE(access) << access.error().message;
  EXPECT_EQ(*access, (Access{.server = "https://10.0.0.1:6443",
                             .space = "jobs",
                             .ca_file = "/etc/kube/ca.crt",
                             .token = "t0ken"}));
}

TEST(Kubeconfig, InlineDataAndCertificates) {
  auto access = access_of(
      config(std::string("{server: https://api, certificate-authority-data: ") + kPem +
                 ", tls-server-name: kubernetes, proxy-url: 'http://proxy:3128'}",
             std::string("{client-certificate-data: ") + kPem + ", client-key: /abs/key}"));
  ASSERT_TRUE(access) << access.error().message;
  std::string pem = "-----BEGIN CERTIFICATE-----\n";
  EXPECT_EQ(*access, (Access{.server = "https://api",
                             .space = "jobs",
                             .ca = pem,
                             .server_name = "kubernetes",
                             .proxy = "http://proxy:3128",
                             .cert = pem,
                             .key_file = "/abs/key"}));
}

TEST(Kubeconfig, PlainHttpOnlyOnThisMachine) {
  for (std::string server : {"http://127.0.0.1:8001", "http://localhost", "http://[::1]:8001/x"}) {
    EXPECT_TRUE(access_of(config("{server: '" + server + "'}"))) << server;
  }
}

TEST(Kubeconfig, APlugin) {
  auto access = access_of(
      config("",
             "{exec: {apiVersion: client.authentication.k8s.io/v1, command: bin/get-token, "
             "args: [eks, '7'], env: [{name: PROFILE, value: dev}], installHint: get it}}"));
  ASSERT_TRUE(access) << access.error().message;
  ExecPlugin plugin{.api_version = "client.authentication.k8s.io/v1",
                    .words = {"/etc/kube/bin/get-token", "eks", "7"},
                    .environment = {{"PROFILE", "dev"}},
                    .install_hint = "get it"};
  EXPECT_EQ(access->exec, plugin);
}

TEST(Kubeconfig, EachMistakeNamesItsFieldAndTheWayOut) {
  EXPECT_THAT(refusal("- a list"), HasSubstr("no kubeconfig"));
  EXPECT_THAT(refusal("a text"), HasSubstr("no kubeconfig"));
  EXPECT_THAT(refusal("clusters: []"), HasSubstr("`current-context` is not set"));
  EXPECT_THAT(refusal(config(), "absent"),
              HasSubstr("the context 'absent' is not in `contexts`, which has 'main', 'other', "
                        "'nobody'; choose one with --context"));
  EXPECT_THAT(refusal(config(), "other"), HasSubstr("the cluster 'gone' is not in `clusters`"));
  EXPECT_THAT(refusal(config(), "nobody"), HasSubstr("the user 'ghost' is not in `users`"));
  struct Row {
    std::string cluster, user, words;
  };
  for (const auto& row : {
           Row{"{server: ''}", "", "cluster 'prod'.server is missing"},
           Row{"{server: 10.0.0.1}", "", ".server is '10.0.0.1'; it must be the API server's URL"},
           Row{"{server: 'http://10.0.0.1:8080'}", "", "everybody on the way could read the token"},
           Row{"{server: 'http://127.0.0.1.example.org'}", "", "use https"},
           Row{"{server: 7}", "", ".server is not a text"},
           Row{"{server: https://a, insecure-skip-tls-verify: true}", "",
               ".insecure-skip-tls-verify is not done; give certificate-authority"},
           Row{"{server: https://a, certificate-authority-data: '!'}", "",
               ".certificate-authority-data is not base64"},
           Row{"{server: https://a, certificate-authority-data: Zm9v}", "",
               ".certificate-authority-data holds no PEM"},
           Row{"", "{client-certificate: c}", ".client-key is missing beside"},
           Row{"", "{client-key: c}", ".client-certificate is missing beside"},
           Row{"", "{username: u, password: p}", "user 'admin'.username: no API server takes"},
           Row{"", "{auth-provider: {name: gcp}}", ".auth-provider is gone"},
           Row{"", "{token: t, as: root}", ".as: acting as somebody else"},
           Row{"", "{exec: {apiVersion: client.authentication.k8s.io/v1}}",
               "user 'admin'.exec.command is missing"},
           Row{"", "{exec: {apiVersion: v0, command: c}}", ".exec.apiVersion is 'v0'; known are"},
           Row{"",
               "{exec: {apiVersion: client.authentication.k8s.io/v1, command: c, interactiveMode: "
               "Always}}",
               "there is nobody to ask"},
       }) {
    EXPECT_THAT(refusal(config(row.cluster, row.user)), HasSubstr(row.words));
  }
}

TEST(InCluster, TheServiceAccount) {
  auto access = access_in_cluster(
      {{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}, {"KUBERNETES_SERVICE_PORT", "443"}}, "/mount",
      "jobs");
  ASSERT_TRUE(access);
  EXPECT_EQ(*access, (Access{.server = "https://10.96.0.1:443",
                             .space = "jobs",
                             .ca_file = "/mount/ca.crt",
                             .token_file = "/mount/token"}));
  EXPECT_EQ(access_in_cluster(
                {{"KUBERNETES_SERVICE_HOST", "fd00::1"}, {"KUBERNETES_SERVICE_PORT", "443"}},
                "/mount", "jobs")
                ->server,
            "https://[fd00::1]:443");
  auto nowhere = access_in_cluster({}, "/mount", "jobs");
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error().message, HasSubstr("--kubeconfig"));
}

TEST(CredentialPlugin, WhatItPrints) {
  ExecPlugin plugin{.api_version = "client.authentication.k8s.io/v1", .words = {"get-token"}};
  auto of = [&](const std::string& status, const std::string& version = "v1") {
    return credential_from(R"({"kind": "ExecCredential", "apiVersion": )"
                           R"("client.authentication.k8s.io/)" +
                               version + "\", \"status\": " + status + "}",
                           plugin);
  };
  auto token = of(R"({"token": "t0ken", "expirationTimestamp": "1970-01-01T00:01:00Z"})");
  ASSERT_TRUE(token) << token.error().message;
  EXPECT_EQ(token->token, "t0ken");
  EXPECT_EQ(token->expires_s, 60);
  EXPECT_TRUE(of(R"({"clientCertificateData": "c", "clientKeyData": "k"})"));
  auto wrong = [](const proto::Result<Credential>& result) {
    EXPECT_FALSE(result);
    return result ? "" : result.error().message;
  };
  EXPECT_THAT(wrong(of("{}")), HasSubstr("'get-token' printed neither a token"));
  EXPECT_THAT(wrong(of(R"({"clientCertificateData": "c"})")), HasSubstr("neither"));
  EXPECT_THAT(wrong(of(R"({"token": "t0ken"})", "v1beta1")), HasSubstr("the kubeconfig says"));
  EXPECT_THAT(wrong(of(R"({"token": "t0ken", "expirationTimestamp": "soon"})")),
              HasSubstr("'soon'"));
  for (std::string text : {"", "token", "[]", "{}"}) {
    EXPECT_THAT(wrong(credential_from(text, plugin)), HasSubstr("did not print"));
  }
}

}  // namespace
}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/credentials.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "autoscaler/kubernetes/text.hpp"

namespace flame::autoscaler::kubernetes {

using proto::Code;
using proto::Error;
using proto::Result;

namespace {

constexpr const char* kMount = "/var/run/secrets/kubernetes.io/serviceaccount";
/// A credential is not used in its last seconds: the request takes time, and clocks differ.
constexpr int64_t kExpiresEarlyS = 30;
constexpr int64_t kPluginPatienceUs = 30 * proto::kUsPerSecond;

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad())
    return Error{Code::kBadRequest, path + " cannot be read: " + std::strerror(errno)};
  return text;
}

std::string trimmed(std::string text) {
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.pop_back();
  return text;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<std::string> kubeconfig_path(const std::string& given) {
  if (!given.empty()) return given;
  std::string path = environment("KUBECONFIG");
  if (path.find(':') != path.npos)
    return Error{Code::kBadRequest,
                 "KUBECONFIG names several files, which are not merged; choose one with "
                 "--kubeconfig"};
  return path.empty() ? environment("HOME") + "/.kube/config" : path;
}

}  // namespace

Result<Access> load_access(const std::string& kubeconfig, const std::string& context) {
  if (kubeconfig.empty() && context.empty() && !environment("KUBERNETES_SERVICE_HOST").empty()) {
    auto space = read_file(std::string(kMount) + "/namespace");
    if (!space)
      return Error{Code::kBadRequest,
                   "this pod has no service account to use: " + space.error().message +
                       "; set automountServiceAccountToken"};
    return access_in_cluster({{"KUBERNETES_SERVICE_HOST", environment("KUBERNETES_SERVICE_HOST")},
                              {"KUBERNETES_SERVICE_PORT", environment("KUBERNETES_SERVICE_PORT")}},
                             kMount, trimmed(*space));
  }
  auto path = kubeconfig_path(kubeconfig);
  if (!path) return path.error();
  auto text = read_file(*path);
  if (!text)
    return Error{Code::kBadRequest,
                 "no kubeconfig: " + text.error().message + "; name one with --kubeconfig"};
  auto file = read_yaml(*text);
  if (!file) return Error{Code::kBadRequest, "kubeconfig " + *path + ": " + file.error().message};
  std::string folder = std::filesystem::path(*path).parent_path();
  auto access = access_from_kubeconfig(*file, folder.empty() ? "." : folder, context);
  if (!access)
    return Error{Code::kBadRequest, "kubeconfig " + *path + ": " + access.error().message};
  return access;
}

void Credentials::prepare(Ready ready) {
  bool fresh = known_ &&
               (credential_.expires_s == 0 ||
                loop_.now().wall_us / proto::kUsPerSecond + kExpiresEarlyS < credential_.expires_s);
  if (!access_.exec || fresh) return ready(request());
  waiting_.push_back(std::move(ready));
  if (!plugin_) run_plugin();
}

void Credentials::run_plugin() {
  const ExecPlugin& plugin = *access_.exec;
  runtime::CommandLine line{
      .words = plugin.words, .environment = plugin.environment, .patience_us = kPluginPatienceUs};
  line.environment.emplace_back(
      "KUBERNETES_EXEC_INFO", write_json(proto::Map{{"kind", "ExecCredential"},
                                                    {"apiVersion", plugin.api_version},
                                                    {"spec", proto::Map{{"interactive", false}}}}));
  plugin_ = std::make_unique<runtime::Command>(loop_, std::move(line), [this](auto printed) {
    const ExecPlugin& used = *access_.exec;
    auto credential = printed ? credential_from(*printed, used) : printed.error();
    known_ = credential.has_value();
    if (known_) {
      credential_ = std::move(*credential);
      trouble_ = {};
    } else {
      trouble_ =
          Error{Code::kRefused, "no credential: " + credential.error().message +
                                    (used.install_hint.empty() ? "" : "; " + used.install_hint)};
    }
    answer();
  });
}

void Credentials::answer() {
  auto done = std::move(plugin_);
  auto waiting = std::exchange(waiting_, {});
  for (auto& ready : waiting) ready(known_ ? request() : trouble_.error());
}

Result<runtime::HttpRequest> Credentials::request() const {
  runtime::HttpRequest request;
  request.url = access_.server;
  request.proxy = access_.proxy;
  request.tls = {.ca = access_.ca,
                 .ca_file = access_.ca_file,
                 .cert = access_.exec ? credential_.cert : access_.cert,
                 .cert_file = access_.exec ? "" : access_.cert_file,
                 .key = access_.exec ? credential_.key : access_.key,
                 .key_file = access_.exec ? "" : access_.key_file,
                 .server_name = access_.server_name};
  std::string token = access_.exec ? credential_.token : access_.token;
  if (!access_.exec && !access_.token_file.empty()) {
    auto text = read_file(access_.token_file);
    if (!text || trimmed(*text).empty())
      return Error{Code::kRefused,
                   text ? access_.token_file + " holds no token" : text.error().message};
    token = trimmed(*text);
  }
  if (!token.empty()) request.headers.emplace_back("Authorization", "Bearer " + token);
  return request;
}

}  // namespace flame::autoscaler::kubernetes

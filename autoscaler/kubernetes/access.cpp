// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/access.hpp"

#include "autoscaler/kubernetes/text.hpp"
#include "proto/text.hpp"

namespace flame::autoscaler::kubernetes {

using proto::Code;
using proto::Error;
using proto::List;
using proto::Result;
using proto::Status;
using proto::Value;

namespace {

Error bad(const std::string& what) { return {Code::kBadRequest, what}; }

std::string quoted(const std::string& text) { return "'" + proto::printable(text, 80) + "'"; }

// contexts, clusters and users are lists of {name, KIND: {...}}.
Result<const Value*> entry(const Value& file, const std::string& list, const std::string& kind,
                           const std::string& name) {
  const Value* all = file.find(list);
  std::string known;
  if (all != nullptr && all->list() != nullptr) {
    for (const auto& item : *all->list()) {
      std::string own{item.text_at("name")};
      const Value* value = item.find(kind);
      if (own == name && value != nullptr && value->map() != nullptr) return value;
      known += (known.empty() ? "" : ", ") + quoted(own);
    }
  }
  return bad("the " + kind + " " + quoted(name) + " is not in `" + list + "`, which has " +
             (known.empty() ? "none" : known));
}

/// Reads the fields of one map, and remembers the first that is wrong.
struct Fields {
  const Value& map;
  std::string where;
  const std::string& folder;
  Status status = {};

  void fail(const std::string& what) {
    if (status) status = bad(where + what);
  }
  std::string text(const std::string& field) {
    const Value* value = map.find(field);
    if (value == nullptr || value->is_null()) return "";
    if (value->text() != nullptr) return *value->text();
    fail("." + field + " is not a text");
    return "";
  }
  std::string path(const std::string& field) {
    std::string text = this->text(field);
    return text.empty() || text[0] == '/' || folder.empty() ? text : folder + "/" + text;
  }
  std::string pem(const std::string& field) {
    std::string text = this->text(field);
    if (text.empty()) return "";
    auto decoded = decode_base64(text);
    if (!decoded) {
      fail("." + field + " " + decoded.error().message);
    } else if (decoded->find("-----BEGIN") == decoded->npos) {
      fail("." + field + " holds no PEM (-----BEGIN ...) in base64");
    }
    return decoded ? *decoded : "";
  }
  bool flag(const std::string& field) {
    const Value* value = map.find(field);
    auto set = value == nullptr ? nullptr : std::get_if<bool>(&value->data);
    return set != nullptr && *set;
  }
};

bool is_near(const std::string& server) {
  std::string host = server.substr(std::string_view("http://").size());
  host = host.substr(0, host.find_first_of("/:", host.starts_with('[') ? host.find(']') : 0));
  bool numeric = host.find_first_not_of("0123456789.") == host.npos;
  return host == "localhost" || host == "[::1]" || (numeric && host.starts_with("127."));
}

Status check_server(const std::string& server, const std::string& where) {
  bool http = server.starts_with("https://") || server.starts_with("http://");
  if (!http || server.find('/') + 2 >= server.size()) {
    return bad(where + ".server " + (server.empty() ? "is missing" : "is " + quoted(server)) +
               "; it must be the API server's URL, like https://10.0.0.1:6443");
  }
  if (server.starts_with("https://") || is_near(server)) return {};
  return bad(where + ".server is " + quoted(server) +
             ": without TLS everybody on the way could read the token; use https");
}

Status read_cluster(Fields fields, Access& access) {
  access.server = fields.text("server");
  while (access.server.ends_with('/')) access.server.pop_back();
  access.ca = fields.pem("certificate-authority-data");
  access.ca_file = fields.path("certificate-authority");
  access.server_name = fields.text("tls-server-name");
  access.proxy = fields.text("proxy-url");
  if (fields.flag("insecure-skip-tls-verify")) {
    fields.fail(".insecure-skip-tls-verify is not done; give certificate-authority instead");
  }
  if (!fields.status) return fields.status;
  return check_server(access.server, fields.where);
}

Result<ExecPlugin> plugin_from(Fields fields) {
  ExecPlugin plugin;
  plugin.api_version = fields.text("apiVersion");
  plugin.install_hint = fields.text("installHint");
  std::string command = fields.text("command");
  // One with a '/' that is relative begins where the file lies, as in kubectl.
  if (command.find('/') != command.npos) command = fields.path("command");
  plugin.words.push_back(command);
  if (command.empty()) fields.fail(".command is missing");
  if (plugin.api_version != "client.authentication.k8s.io/v1" &&
      plugin.api_version != "client.authentication.k8s.io/v1beta1") {
    fields.fail(".apiVersion is " + quoted(plugin.api_version) +
                "; known are client.authentication.k8s.io/v1 and v1beta1");
  }
  if (fields.text("interactiveMode") == "Always")
    fields.fail(".interactiveMode is Always, and there is nobody to ask");
  if (const Value* args = fields.map.find("args"); args != nullptr && args->list()) {
    for (const auto& word : *args->list()) {
      if (!word.text()) fields.fail(".args has something that is no text");
      plugin.words.push_back(word.text() ? *word.text() : "");
    }
  }
  if (const Value* env = fields.map.find("env"); env != nullptr && env->list()) {
    for (const auto& item : *env->list())
      plugin.environment.emplace_back(item.text_at("name"), item.text_at("value"));
  }
  if (!fields.status) return fields.status.error();
  return plugin;
}

Status read_user(Fields fields, Access& access) {
  access.cert = fields.pem("client-certificate-data");
  access.cert_file = fields.path("client-certificate");
  access.key = fields.pem("client-key-data");
  access.key_file = fields.path("client-key");
  access.token = fields.text("token");
  access.token_file = fields.path("tokenFile");
  bool has_cert = !access.cert.empty() || !access.cert_file.empty();
  bool has_key = !access.key.empty() || !access.key_file.empty();
  if (has_cert != has_key) {
    fields.fail(has_cert ? ".client-key is missing beside client-certificate"
                         : ".client-certificate is missing beside client-key");
  }
  for (std::string field : {"username", "password"}) {
    if (fields.map.find(field))
      fields.fail("." + field + ": no API server takes passwords any more; use a token");
  }
  for (std::string field : {"as", "as-groups", "as-uid", "as-user-extra"}) {
    if (fields.map.find(field)) fields.fail("." + field + ": acting as somebody else is not done");
  }
  if (fields.map.find("auth-provider"))
    fields.fail(".auth-provider is gone from Kubernetes; use `exec` with the provider's plugin");
  if (!fields.status) return fields.status;
  const Value* exec = fields.map.find("exec");
  if (exec == nullptr || exec->map() == nullptr) return {};
  auto plugin = plugin_from({*exec, fields.where + ".exec", fields.folder});
  if (!plugin) return plugin.error();
  access.exec = std::move(*plugin);
  return {};
}

}  // namespace

Result<Access> access_from_kubeconfig(const Value& file, const std::string& folder,
                                      const std::string& context) {
  if (file.map() == nullptr || file.find("clusters") == nullptr)
    return bad("this is no kubeconfig: it has no `clusters`");
  std::string name = context.empty() ? std::string(file.text_at("current-context")) : context;
  if (name.empty()) return bad("`current-context` is not set; choose one with --context");
  auto chosen = entry(file, "contexts", "context", name);
  if (!chosen) return bad(chosen.error().message + "; choose one with --context");
  Access access;
  access.space = (*chosen)->text_at("namespace");
  std::string cluster_name{(*chosen)->text_at("cluster")}, user{(*chosen)->text_at("user")};
  auto cluster = entry(file, "clusters", "cluster", cluster_name);
  if (!cluster) return cluster.error();
  if (auto status = read_cluster({**cluster, "cluster " + quoted(cluster_name), folder}, access);
      !status)
    return status.error();
  if (user.empty()) return access;
  auto found = entry(file, "users", "user", user);
  if (!found) return found.error();
  if (auto status = read_user({**found, "user " + quoted(user), folder}, access); !status)
    return status.error();
  return access;
}

Result<Access> access_in_cluster(const Environment& environment, const std::string& mount,
                                 const std::string& space) {
  auto get = [&](const std::string& name) {
    auto found = environment.find(name);
    return found == environment.end() ? "" : found->second;
  };
  std::string host = get("KUBERNETES_SERVICE_HOST"), port = get("KUBERNETES_SERVICE_PORT");
  if (host.empty() || port.empty())
    return bad(
        "this is no pod (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set); name a "
        "kubeconfig with --kubeconfig");
  if (host.find(':') != host.npos) host = "[" + host + "]";
  Access access;
  access.server = "https://" + host + ":" + port;
  access.space = space;
  access.ca_file = mount + "/ca.crt";
  access.token_file = mount + "/token";
  return access;
}

Result<Credential> credential_from(const std::string& printed, const ExecPlugin& plugin) {
  auto fail = [&](const std::string& why) {
    return bad("the credential plugin '" + proto::printable(plugin.words[0], 100) + "' " + why);
  };
  auto value = read_json(printed);
  if (!value || value->text_at("kind") != "ExecCredential")
    return fail("did not print an ExecCredential");
  if (value->text_at("apiVersion") != plugin.api_version)
    return fail("answers in " + quoted(std::string(value->text_at("apiVersion"))) +
                ", the kubeconfig says " + plugin.api_version);
  Credential credential{.token = text_in(*value, {"status", "token"}),
                        .cert = text_in(*value, {"status", "clientCertificateData"}),
                        .key = text_in(*value, {"status", "clientKeyData"})};
  if (credential.token.empty() && (credential.cert.empty() || credential.key.empty()))
    return fail("printed neither a token nor a certificate with its key");
  std::string expires = text_in(*value, {"status", "expirationTimestamp"});
  if (expires.empty()) return credential;
  auto seconds = read_time(expires);
  if (!seconds) return fail("says when it expires in no way that is known: " + quoted(expires));
  credential.expires_s = *seconds;
  return credential;
}

}  // namespace flame::autoscaler::kubernetes

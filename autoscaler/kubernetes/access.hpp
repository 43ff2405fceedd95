// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Where the API server is and who we are there: from a kubeconfig, or from what a pod finds in its
// environment and its service account. Pure; files are named, not read.

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/error.hpp"
#include "proto/value.hpp"

namespace flame::autoscaler::kubernetes {

/// A program that prints a credential.
struct ExecPlugin {
  std::string api_version;
  std::vector<std::string> words;
  std::vector<std::pair<std::string, std::string>> environment;
  std::string install_hint;
  friend bool operator==(const ExecPlugin&, const ExecPlugin&) = default;
};

/// Of a text and a file, the text wins, as in kubectl; but of token and token_file the file.
struct Access {
  std::string server;
  std::string space;  ///< namespace
  std::string ca, ca_file, server_name, proxy;
  std::string cert, cert_file, key, key_file;
  std::string token, token_file;
  std::optional<ExecPlugin> exec;
  friend bool operator==(const Access&, const Access&) = default;
};

/// `file` as it was read, `folder` where relative paths in it begin; "" is the current context.
/// Errors name the field and the way out.
proto::Result<Access> access_from_kubeconfig(const proto::Value& file, const std::string& folder,
                                             const std::string& context);

using Environment = std::map<std::string, std::string>;
/// In a pod: `space` is what the file `namespace` of the service account says.
proto::Result<Access> access_in_cluster(const Environment& environment, const std::string& mount,
                                        const std::string& space);

/// What a credential plugin printed.
struct Credential {
  std::string token, cert, key;
  int64_t expires_s = 0;  ///< since 1970; 0: it does not say
};
proto::Result<Credential> credential_from(const std::string& printed, const ExecPlugin& plugin);

}  // namespace flame::autoscaler::kubernetes

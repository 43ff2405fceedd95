// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/supervisor_probe.hpp"

namespace flame::flmctl {

std::string http_get(const std::string& path) {
  return "GET " + path + " HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n";
}

bool http_ok(const std::string& answer) {
  return answer.starts_with("HTTP/1.") && answer.compare(8, 5, " 200 ") == 0;
}

std::string http_text(const std::string& answer) {
  size_t at = answer.find("\r\n\r\n");
  if (at == answer.npos) return "";
  std::string text = answer.substr(at + 4);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string http_body(const std::string& answer) {
  return http_ok(answer) ? http_text(answer) : "";
}

std::string address_of(const std::string& url) {
  size_t start = url.find("://");
  return start == url.npos ? url : url.substr(start + 3);
}

}  // namespace flame::flmctl

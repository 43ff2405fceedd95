// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/application.hpp"

#include <algorithm>
#include <array>

#include "proto/ids.hpp"
#include "proto/text.hpp"

namespace flame::proto {

namespace {

constexpr std::array<std::string_view, 4> kShims = {"native", "shell", "grpc", "rest"};
/// `grpc`, and the original's words for it.
constexpr std::array<std::string_view, 4> kGrpc = {"grpc", "Grpc", "Host", "host"};
constexpr std::array<std::string_view, 2> kShimsLater = {"stdio", "library"};

bool is_grpc(std::string_view shim) {
  return std::find(kGrpc.begin(), kGrpc.end(), shim) != kGrpc.end();
}

Error wrong(std::string_view field, std::string_view expected) {
  return Error{Code::kBadRequest,
               "application field '" + std::string(field) + "' must be " + std::string(expected)};
}

Status read(const Value& value, std::string_view field, std::string& out) {
  if (value.is_null()) return {};
  if (!value.text()) return wrong(field, "a text");
  out = *value.text();
  return {};
}

Status read(const Value& value, std::string_view field, uint64_t& out) {
  if (value.is_null()) return {};
  int64_t number = value.number(-1);
  if (number < 0) return wrong(field, "a number from 0 on");
  out = static_cast<uint64_t>(number);
  return {};
}

Status read(const Value& value, std::string_view field, std::vector<std::string>& out) {
  if (value.is_null()) return {};
  if (!value.list()) return wrong(field, "a list of texts");
  for (const auto& item : *value.list()) {
    if (!item.text()) return wrong(field, "a list of texts");
    out.push_back(*item.text());
  }
  return {};
}

Status read(const Value& value, std::string_view field,
            std::vector<std::pair<std::string, std::string>>& out) {
  if (value.is_null()) return {};
  if (!value.map()) return wrong(field, "a map of names to texts");
  for (const auto& [name, item] : *value.map()) {
    if (!item.text()) return wrong(field, "a map of names to texts (quote numbers)");
    if (name.empty() || name.find('=') != name.npos) return wrong(field, "a map of variable names");
    out.emplace_back(name, *item.text());
  }
  return {};
}

Status read_reuse(const Value& value, std::string_view field, bool& out) {
  if (value.is_null()) return {};
  if (!value.text() || (*value.text() != "always" && *value.text() != "never")) {
    return wrong(field, "always or never");
  }
  out = *value.text() == "always";
  return {};
}

Status read_shim(const Value& value, std::string_view field, std::string& out) {
  auto status = read(value, field, out);
  if (!status) return status;
  if (is_grpc(out)) out = "grpc";
  for (auto shim : kShims) {
    if (out == shim) return {};
  }
  for (auto shim : kShimsLater) {
    if (out == shim) {
      return Error{
          Code::kUnsupported,
          "shim '" + out + "' is not in this version; it has native, shell, grpc and rest"};
    }
  }
  return wrong(field, "native, shell, grpc or rest, not '" + printable(out, 40) + "'");
}

Status read(const Value& value, std::string_view field, bool& out) {
  if (value.is_null()) return {};
  auto said = std::get_if<bool>(&value.data);
  if (said == nullptr) return wrong(field, "true or false");
  out = *said;
  return {};
}

Status read_rest(const Value& value, RestService& out) {
  if (value.is_null()) return {};
  if (!value.map()) return wrong("rest", "a map");
  for (const auto& [name, item] : *value.map()) {
    std::string field = "rest." + name;
    Status status;
    if (name == "url") {
      status = read(item, field, out.url);
    } else if (name == "health") {
      status = read(item, field, out.health);
    } else if (name == "content_type") {
      status = read(item, field, out.content_type);
    } else if (name == "batch") {
      status = read(item, field, out.batch);
    } else if (name == "ca_file") {
      status = read(item, field, out.ca_file);
    } else {
      status = wrong("rest", "a map of url, health, content_type, batch and ca_file, not '" +
                                 printable(name, 60) + "'");
    }
    if (!status) return status;
  }
  return {};
}

// One row per field: reading and the known names come from the same table.
struct Field {
  std::string_view name;
  Status (*read)(const Value&, std::string_view, Application&);
};

constexpr std::array<std::string_view, 5> kExtra = {"schema", "url", "installer", "resources",
                                                    "kubernetes"};

const std::array kFields = {
    Field{"name", [](auto& v, auto f, auto& a) { return read(v, f, a.name); }},
    Field{"shim", [](auto& v, auto f, auto& a) { return read_shim(v, f, a.shim); }},
    Field{"command", [](auto& v, auto f, auto& a) { return read(v, f, a.command); }},
    Field{"arguments", [](auto& v, auto f, auto& a) { return read(v, f, a.arguments); }},
    Field{"environments", [](auto& v, auto f, auto& a) { return read(v, f, a.environment); }},
    Field{"working_directory",
          [](auto& v, auto f, auto& a) { return read(v, f, a.working_directory); }},
    Field{"image", [](auto& v, auto f, auto& a) { return read(v, f, a.image); }},
    Field{"description", [](auto& v, auto f, auto& a) { return read(v, f, a.description); }},
    Field{"labels", [](auto& v, auto f, auto& a) { return read(v, f, a.labels); }},
    Field{"max_instances", [](auto& v, auto f, auto& a) { return read(v, f, a.max_instances); }},
    Field{"delay_release_ms",
          [](auto& v, auto f, auto& a) { return read(v, f, a.delay_release_ms); }},
    Field{"delay_release",
          [](auto& v, auto f, auto& a) {  // seconds, as the original has it
            uint64_t seconds = a.delay_release_ms / 1000;
            auto status = read(v, f, seconds);
            if (!v.is_null()) a.delay_release_ms = seconds * 1000;
            return status;
          }},
    Field{"task_timeout_ms",
          [](auto& v, auto f, auto& a) { return read(v, f, a.task_timeout_ms); }},
    Field{"max_attempts", [](auto& v, auto f, auto& a) { return read(v, f, a.max_attempts); }},
    Field{"reuse", [](auto& v, auto f, auto& a) { return read_reuse(v, f, a.reuse); }},
    Field{"concurrency", [](auto& v, auto f, auto& a) { return read(v, f, a.concurrency); }},
    Field{"rest", [](auto& v, auto, auto& a) { return read_rest(v, a.rest); }},
    Field{"results_ttl_ms", [](auto& v, auto f, auto& a) { return read(v, f, a.results_ttl_ms); }},
    Field{"summary_ttl_ms", [](auto& v, auto f, auto& a) { return read(v, f, a.summary_ttl_ms); }},
};

Status read_field(const std::string& name, const Value& value, Application& application) {
  for (const auto& field : kFields) {
    if (field.name == name) return field.read(value, name, application);
  }
  for (auto extra : kExtra) {
    if (extra != name) continue;
    if (!application.extra.map()) application.extra = Map{};
    std::get<Map>(application.extra.data).emplace_back(name, value);
    return {};
  }
  std::vector<std::string_view> known(kExtra.begin(), kExtra.end());
  for (const auto& field : kFields) known.push_back(field.name);
  auto near = nearest(name, known);
  return Error{Code::kBadRequest,
               "unknown application field '" + printable(name, 60) + "'" +
                   (near.empty() ? "" : "; did you mean '" + std::string(near) + "'?")};
}

// Not all that a URL may not be, only what would be misunderstood or shown to everybody.
Status validate_rest(const RestService& rest) {
  std::string_view rest_of_url = rest.url;
  for (std::string_view scheme : {"http://", "https://"}) {
    if (rest_of_url.starts_with(scheme)) rest_of_url.remove_prefix(scheme.size());
  }
  bool has_scheme = rest_of_url.size() < rest.url.size();
  if (!rest.url.empty() && (!has_scheme || rest_of_url.empty())) {
    return wrong("rest.url", "http://host:port/path or https://...");
  }
  if (rest_of_url.find('@') != rest_of_url.npos) {
    return wrong("rest.url", "without user and password: everybody may see an application");
  }
  if (printable(rest.url) != rest.url || rest.url.find_first_of(" ?#") != rest.url.npos)
    return wrong("rest.url", "without blanks, query and fragment");
  for (const auto* text : {&rest.health, &rest.content_type}) {
    if (text->empty() || printable(*text) != *text) return wrong("rest", "made of printable texts");
  }
  if (rest.health.front() != '/') return wrong("rest.health", "a path that begins with /");
  if (rest.batch && rest.content_type != "application/json") {
    return wrong("rest.content_type", "application/json with rest.batch: a batch is one document");
  }
  return {};
}

Status validate(const Application& a) {
  auto name = check_name("application", a.name);
  if (!name) return name.error();
  if (a.shim != "rest" && a.rest != RestService{}) return wrong("rest", "absent without shim rest");
  if (auto status = validate_rest(a.rest); !status) return status;
  bool elsewhere = a.shim == "rest" && !a.rest.url.empty();
  if (a.command.empty() && a.rest.url.find("{port}") != a.rest.url.npos)
    return wrong("command", "set where rest.url has {port}: the executor tells it the port");
  if (a.command.empty() && a.shim == "rest" && !elsewhere)
    return wrong("command", "set, or rest.url: where the service runs already");
  if (a.command.empty() && !elsewhere)
    return wrong("command", "set: the executable of the service");
  if (!a.working_directory.empty() && a.working_directory.front() != '/') {
    return wrong("working_directory", "an absolute path");
  }
  if (a.max_instances == 0) return wrong("max_instances", "at least 1");
  if (a.concurrency == 0 || a.concurrency > kConcurrencyMax) {
    return wrong("concurrency", "from 1 to " + std::to_string(kConcurrencyMax));
  }
  if (a.concurrency > 1 && a.shim != "grpc" && a.shim != "rest") {
    return wrong("concurrency",
                 "1 unless the shim is grpc or rest: others get a frame of tasks at a time");
  }
  if (a.max_attempts == 0 || a.max_attempts > 1000) return wrong("max_attempts", "from 1 to 1000");
  return {};
}

}  // namespace

bool reuses_by_default(std::string_view shim) { return !is_grpc(shim); }

namespace {
Map to_map(const RestService& rest) {
  return {{"url", rest.url},
          {"health", rest.health},
          {"content_type", rest.content_type},
          {"batch", rest.batch},
          {"ca_file", rest.ca_file}};
}
}  // namespace

Value to_value(const Application& a) {
  auto texts = [](const std::vector<std::string>& items) {
    return List(items.begin(), items.end());
  };
  Map environment;
  for (const auto& [name, text] : a.environment) environment.emplace_back(name, text);
  Map map = {{"name", a.name},
             {"shim", a.shim},
             {"command", a.command},
             {"arguments", texts(a.arguments)},
             {"environments", environment},
             {"working_directory", a.working_directory},
             {"image", a.image},
             {"description", a.description},
             {"labels", texts(a.labels)},
             {"max_instances", a.max_instances},
             {"delay_release_ms", a.delay_release_ms},
             {"task_timeout_ms", a.task_timeout_ms},
             {"max_attempts", a.max_attempts},
             {"reuse", a.reuse ? "always" : "never"},
             {"results_ttl_ms", a.results_ttl_ms},
             {"summary_ttl_ms", a.summary_ttl_ms}};
  if (a.concurrency != 1) map.emplace_back("concurrency", a.concurrency);
  if (a.shim == "rest") map.emplace_back("rest", to_map(a.rest));
  if (auto extra = a.extra.map()) map.insert(map.end(), extra->begin(), extra->end());
  return map;
}

Result<Application> application_from(const Value& value) {
  if (!value.map()) return Error{Code::kBadRequest, "an application must be a map of fields"};
  Application application;
  for (const auto& [name, field] : *value.map()) {
    if (auto status = read_field(name, field, application); !status) return status.error();
  }
  auto reuse = value.find("reuse");
  if (!reuse || reuse->is_null()) application.reuse = reuses_by_default(application.shim);
  if (auto status = validate(application); !status) return status.error();
  return application;
}

Result<Application> application_from_manifest(const Value& manifest) {
  if (!manifest.map()) {
    return Error{Code::kBadRequest,
                 "is no manifest: it must be a map with metadata and spec; see "
                 "docs/applications.md"};
  }
  auto metadata = manifest.find("metadata"), spec = manifest.find("spec");
  if (!metadata || !metadata->find("name") || !metadata->find("name")->text()) {
    return Error{Code::kBadRequest, "a manifest needs metadata.name; see docs/applications.md"};
  }
  if (!spec || !spec->map()) {
    return Error{Code::kBadRequest, "a manifest needs a map named spec; see docs/applications.md"};
  }
  for (const auto& [name, unused] : *manifest.map()) {
    if (name != "metadata" && name != "spec" && name != "apiVersion" && name != "kind") {
      return Error{Code::kBadRequest, "unknown manifest field '" + printable(name, 60) +
                                          "'; it has metadata and spec"};
    }
  }
  Map fields = *spec->map();
  if (spec->find("name")) return Error{Code::kBadRequest, "spec.name stands in metadata.name"};
  fields.emplace_back("name", *metadata->find("name"));
  return application_from(Value(std::move(fields)));
}

}  // namespace flame::proto

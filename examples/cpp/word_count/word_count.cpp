// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Counts the words of a text, a line a task, without those of a stop list. The list is common data:
// it travels once per executor, not with every task. Results are read as a stream.
//
//   word_count FILE [STOP_WORD...]

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <string_view>

#include "flame/flame.hpp"
#include "flame/service.hpp"

namespace {

using Counts = std::map<std::string, uint64_t>;

/// Lines of `word count`.
class WordCount : public flame::Service {
  void on_session_enter(const flame::SessionContext& session) override {
    std::istringstream words{std::string(session.common_data)};
    stop_words_.clear();
    for (std::string word; words >> word;) stop_words_.insert(word);
  }
  flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override {
    Counts counts;
    std::istringstream words{std::string(task.input)};
    for (std::string word; words >> word;) {
      std::erase_if(word, [](unsigned char c) { return std::isalnum(c) == 0; });
      std::transform(word.begin(), word.end(), word.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      if (!word.empty() && !stop_words_.contains(word)) counts[word]++;
    }
    std::string out;
    for (const auto& [word, count] : counts) out += word + " " + std::to_string(count) + "\n";
    return out;
  }
  std::set<std::string> stop_words_;
};

int count(const std::string& path, const std::string& stop_words) {
  std::ifstream file(path);
  if (!file) {
    std::cerr << "word_count: cannot read " << path << "\n";
    return 1;
  }
  auto client = flame::Client::connect();
  client.register_application({.name = "word-count",
                               .command = std::filesystem::read_symlink("/proc/self/exe"),
                               .arguments = {"service"}});
  auto session = client.create_session({.application = "word-count", .common_data = stop_words});
  flame::Run run;
  for (std::string line; std::getline(file, line);) {
    if (run.add(line)) continue;
    session.submit_run(std::move(run));  // full; it is empty again afterwards
    run.add(line);                       // NOLINT(bugprone-use-after-move)
  }
  session.submit_run(std::move(run));
  session.flush();
  session.wait();
  Counts counts;
  for (flame::TaskResult& result : session.results({.follow = false})) {
    if (!result.ok()) throw flame::Error(result.code, result.reason);
    std::istringstream lines(result.output);
    uint64_t times = 0;
    for (std::string word; lines >> word >> times;) counts[word] += times;
  }
  session.close();
  for (const auto& [word, times] : counts) std::cout << times << " " << word << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "service") {
    WordCount service;
    return flame::run(service);
  }
  if (argc < 2) {
    std::cerr << "Usage: word_count FILE [STOP_WORD...]\n";
    return 2;
  }
  std::string stop_words;
  for (int i = 2; i < argc; i++) stop_words += std::string(argv[i]) + " ";
  try {
    return count(argv[1], stop_words);
  } catch (const flame::Error& error) {
    std::cerr << "word_count: " << error.what() << "\n";
    return 1;
  }
}

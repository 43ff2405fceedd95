// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What services say: how far a task is, and lines on their stdout. All of it is numbered and kept,
// so that what a client hears can be traced to who said it, and when.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "proto/messages.hpp"

namespace flame::sim {

/// One of an executor's processes: its life, as it may start again under the same id, and there.
using InstanceName = std::tuple<std::string, uint64_t, uint64_t>;

// Each check answers with what is wrong; empty: nothing.
class Talk {
 public:
  // ---- progress
  struct Report {
    proto::SessionUid uid = 0;
    proto::TaskId task = 0;
    uint64_t attempt = 0;  ///< a number of this execution, greater than those of earlier ones
    uint64_t percent = 0;
    int64_t at_us = 0;
  };
  /// Its number, which its text begins with.
  uint64_t says(const Report& report);
  uint64_t next_attempt() { return next_attempt_++; }
  const Report& report(uint64_t number) const { return reports_[number]; }
  /// `watcher` is one life of a client.
  std::string hears(const std::string& watcher, proto::SessionUid uid,
                    const proto::ProgressReport& report);
  /// True if it heard this one, or a later one of the same attempt.
  bool heard(const std::string& watcher, uint64_t number) const;

  // ---- lines
  /// The line, of at least `bytes`. Task 0: between tasks.
  std::string writes(const InstanceName& instance, proto::SessionUid uid, proto::TaskId task,
                     size_t bytes);
  void ends(const InstanceName& instance) { ended_.insert(instance); }
  /// An executor's process; life 0: it ended.
  void lives(const std::string& executor, uint64_t life) { lives_[executor] = life; }
  /// A question about logs, and how many lines were written when it was asked.
  struct Question {
    proto::SessionUid uid = 0;
    proto::TaskId task = 0;
    uint64_t lines = 0;
  };
  Question asks(proto::SessionUid uid, proto::TaskId task) const {
    return {uid, task, lines_.size()};
  }
  std::string reads(const Question& question, const proto::Logs& logs,
                    const std::function<bool(const std::string&)>& may_be_silent) const;

 private:
  struct Line {
    InstanceName instance;
    proto::SessionUid uid = 0;
    proto::TaskId task = 0;
    size_t bytes = 0;
    size_t before = 0;  ///< what its instance had written
    std::string text(uint64_t number) const;
    bool is_for(const Question& question) const {
      return uid == question.uid && (question.task == 0 || task == question.task);
    }
  };
  using Numbers = std::vector<uint64_t>;
  struct Written {
    Numbers lines;
    size_t bytes = 0;
  };
  using Found = std::map<InstanceName, Numbers>;
  std::string read_row(const Question& question, const proto::Value& row, std::string_view text,
                       Found& found) const;
  std::string read_text(const Question& question, const InstanceName& of, std::string_view text,
                        Numbers& numbers) const;
  std::optional<uint64_t> number_of(std::string_view line) const;
  std::string lacks(const Question& question, const std::string& executor, uint64_t life,
                    const Found& found) const;
  std::string lacks(const Question& question, const InstanceName& of, const Numbers& has) const;
  bool may_have_dropped(const InstanceName& of, uint64_t number) const;

  std::vector<Report> reports_;
  uint64_t next_attempt_ = 1;
  std::map<std::pair<std::string, uint64_t>, uint64_t> heard_;  ///< by watcher and attempt
  std::vector<Line> lines_;
  std::map<InstanceName, Written> written_;
  std::set<InstanceName> ended_;
  std::map<std::string, uint64_t> lives_;
};

}  // namespace flame::sim

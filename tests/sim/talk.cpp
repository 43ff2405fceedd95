// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/talk.hpp"

#include <iterator>

#include "proto/codec.hpp"
#include "proto/elements.hpp"
#include "proto/limits.hpp"
#include "proto/text.hpp"

namespace flame::sim {

namespace {
/// What a piece of a log costs beside its text, at most.
constexpr size_t kPieceBytes = 128;
}  // namespace

// ---- progress
// -------------------------------------------------------------------------------------------------

uint64_t Talk::says(const Report& report) {
  reports_.push_back(report);
  return reports_.size() - 1;
}

std::string Talk::hears(const std::string& watcher, proto::SessionUid uid,
                        const proto::ProgressReport& report) {
  std::string name = "id " + std::to_string(report.task);
  auto number = proto::parse_number<uint64_t>(report.text.substr(0, report.text.find(' ')));
  if (!number || *number >= reports_.size()) return name + " is told what no service said";
  const Report& said = reports_[*number];
  if (said.uid != uid || said.task != report.task || said.percent != report.percent)
    return name + " is told what was said otherwise, or of another task";
  auto& last = heard_[{watcher, said.attempt}];
  if (*number < last) return name + ": " + watcher + " is told what was said before what it knows";
  last = *number;
  return "";
}

bool Talk::heard(const std::string& watcher, uint64_t number) const {
  auto last = heard_.find({watcher, reports_[number].attempt});
  return last != heard_.end() && last->second >= number;
}

// ---- lines
// -------------------------------------------------------------------------------------------------

// The number is at its end: the beginning of an instance's oldest line may be gone.
std::string Talk::Line::text(uint64_t number) const {
  return std::string(bytes, '.') + ' ' + std::to_string(number) + '\n';
}

std::string Talk::writes(const InstanceName& instance, proto::SessionUid uid, proto::TaskId task,
                         size_t bytes) {
  Written& written = written_[instance];
  uint64_t number = lines_.size();
  lines_.push_back({instance, uid, task, bytes, written.bytes});
  std::string text = lines_.back().text(number);
  written.lines.push_back(number);
  written.bytes += text.size() + kPieceBytes;
  return text;
}

std::string Talk::reads(const Question& question, const proto::Logs& logs,
                        const std::function<bool(const std::string&)>& may_be_silent) const {
  Found found;
  proto::ElementReader elements(logs.payload.view());
  while (auto element = elements.next()) {
    auto row = proto::decode_value(*element);
    auto text = elements.next();
    if (!row || !text) return "logs have a row that is none";
    if (row->find("error") != nullptr) {
      std::string executor(row->text_at("executor"));
      if (!may_be_silent(executor)) return executor + " did not answer a question about logs";
      continue;
    }
    if (auto wrong = read_row(question, *row, *text, found); !wrong.empty()) return wrong;
  }
  // An executor that has said one row has said them all, and so has one that must have answered.
  std::set<std::pair<std::string, uint64_t>> complete;
  for (const auto& [executor, life] : lives_) {
    if (life != 0 && !may_be_silent(executor)) complete.emplace(executor, life);
  }
  for (const auto& [instance, numbers] : found)
    complete.emplace(std::get<0>(instance), std::get<1>(instance));
  for (const auto& [executor, life] : complete) {
    if (auto wrong = lacks(question, executor, life, found); !wrong.empty()) return wrong;
  }
  return "";
}

// Whose row it is, its last line says.
std::string Talk::read_row(const Question& question, const proto::Value& row, std::string_view text,
                           Found& found) const {
  auto number = number_of(text);
  if (!number) return "logs have a line that nobody wrote";
  const InstanceName& of = lines_[*number].instance;
  const auto& [executor, life, instance] = of;
  std::string name = "instance " + std::to_string(instance) + " of " + executor;
  if (executor != row.text_at("executor") ||
      static_cast<int64_t>(instance) != row.number_at("instance"))
    return "what " + name + " wrote is in another one's log";
  auto running = row.find("running");
  auto runs = running == nullptr ? nullptr : std::get_if<bool>(&running->data);
  if (runs == nullptr || (!*runs && !ended_.contains(of)))
    return name + " is told to have ended, and runs";
  auto [numbers, fresh] = found.try_emplace(of);
  if (!fresh) return name + " has two logs";
  return read_text(question, of, text, numbers->second);
}

std::optional<uint64_t> Talk::number_of(std::string_view line) const {
  auto space = line.find_last_of(' ');
  if (space == line.npos || !line.ends_with('\n')) return std::nullopt;
  auto number = proto::parse_number<uint64_t>(line.substr(space + 1, line.size() - space - 2));
  return number && *number < lines_.size() ? number : std::nullopt;
}

// Line by line what this instance wrote, in its order.
std::string Talk::read_text(const Question& question, const InstanceName& of, std::string_view text,
                            Numbers& numbers) const {
  if (text.size() > proto::kInstanceLogBytes) return "an instance's log is above its limit";
  for (bool first = true; !text.empty(); first = false) {
    std::string_view line = text.substr(0, text.find('\n') + 1);
    text.remove_prefix(line.size());
    if (first && line.find(' ') == line.npos) continue;  // cut within its number
    auto number = number_of(line);
    if (!number) return "logs have a line that nobody wrote";
    const Line& wrote = lines_[*number];
    std::string name = "line " + std::to_string(*number);
    if (wrote.instance != of) return name + " is in the log of an instance that did not write it";
    if (!wrote.is_for(question)) return name + " is of another session or task than asked for";
    if (!numbers.empty() && *number <= numbers.back()) return name + " is in the wrong place";
    std::string whole = wrote.text(*number);
    bool is_cut = first && whole.ends_with(line) && may_have_dropped(of, *number);
    if (line != whole && !is_cut) return name + " is not as it was written";
    numbers.push_back(*number);
  }
  return "";
}

std::string Talk::lacks(const Question& question, const std::string& executor, uint64_t life,
                        const Found& found) const {
  auto from = written_.lower_bound({executor, life, 0});
  auto to = written_.upper_bound({executor, life, UINT64_MAX});
  bool dropped = std::distance(from, to) > static_cast<long>(proto::kEndedLogsMax);
  for (; from != to; ++from) {
    auto has = found.find(from->first);
    if (has == found.end() && dropped) continue;
    auto wrong = lacks(question, from->first, has == found.end() ? Numbers() : has->second);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

// From the first line that it has to the last one written before the question nothing is left out,
// and before the first one only what made room.
std::string Talk::lacks(const Question& question, const InstanceName& of,
                        const Numbers& has) const {
  auto at = has.begin();
  for (auto number : written_.at(of).lines) {
    if (!lines_[number].is_for(question)) continue;
    if (at != has.end() && *at == number) {
      ++at;
      continue;
    }
    bool later = at == has.end() && number >= question.lines;
    bool dropped = at == has.begin() && may_have_dropped(of, number);
    if (later || dropped) continue;
    const auto& [executor, life, instance] = of;
    return "the log of instance " + std::to_string(instance) + " of " + executor + " lacks line " +
           std::to_string(number);
  }
  return "";
}

// Judged generously: from its begin on this log got half of what is kept.
bool Talk::may_have_dropped(const InstanceName& of, uint64_t number) const {
  return written_.at(of).bytes - lines_[number].before > proto::kInstanceLogBytes / 2;
}

}  // namespace flame::sim

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The small pure pieces: runs, elements, ids, text, states, codes, limits, crc32c, link.
#include <gtest/gtest.h>

#include <set>

#include "proto/crc32c.hpp"
#include "proto/elements.hpp"
#include "proto/error.hpp"
#include "proto/ids.hpp"
#include "proto/keys.hpp"
#include "proto/limits.hpp"
#include "proto/link.hpp"
#include "proto/run.hpp"
#include "proto/states.hpp"
#include "proto/text.hpp"

namespace flame::proto::test {

// ---- run
// ------------------------------------------------------------------------------------------------

TEST(Run, IsWrittenAsOneNumberOrARange) {
  EXPECT_EQ(to_string(proto::Run{7, 1}), "7");
  EXPECT_EQ(to_string(proto::Run{7, 6}), "7-12");
  EXPECT_EQ(*parse_run("7"), (proto::Run{7, 1}));
  EXPECT_EQ(*parse_run("7-12"), (proto::Run{7, 6}));
  EXPECT_EQ(*parse_run("7-7"), (proto::Run{7, 1}));
}

TEST(Run, NonsenseIsRefusedWithAnExample) {
  for (auto text : {"", "-", "0", "0-3", "7-", "-7", "7-6", "7-12-13", " 7", "7 ", "+7", "0x7", "a",
                    "18446744073709551615", "18446744073709551616", "7\n"}) {
    auto run = parse_run(text);
    ASSERT_FALSE(run) << text;
    EXPECT_EQ(run.error().code, Code::kBadRequest);
    EXPECT_NE(run.error().message.find("7-12"), std::string::npos);
  }
}

TEST(Run, PartsAndOverlaps) {
  proto::Run run{10, 5};  // 10-14
  EXPECT_EQ(run.last(), 14u);
  EXPECT_EQ(run.end(), 15u);
  EXPECT_TRUE(run.contains(proto::Run{10, 5}) && run.contains(proto::Run{14, 1}));
  EXPECT_FALSE(run.contains(proto::Run{9, 2}) || run.contains(proto::Run{14, 2}));
  EXPECT_TRUE(run.overlaps({14, 1}) && run.overlaps({1, 100}));
  EXPECT_FALSE(run.overlaps({15, 1}) || run.overlaps({5, 5}));
  EXPECT_EQ(run.intersect({12, 100}), (proto::Run{12, 3}));
  EXPECT_TRUE(run.intersect({15, 1}).empty());
}

TEST(Run, SegmentsBeginAtOne) {
  EXPECT_EQ(segment_of(1), 0u);
  EXPECT_EQ(segment_of(kSegmentTasks), 0u);
  EXPECT_EQ(segment_of(kSegmentTasks + 1), 1u);
  EXPECT_EQ(offset_in_segment(1), 0u);
  EXPECT_EQ(offset_in_segment(kSegmentTasks), kSegmentTasks - 1);
  EXPECT_EQ(offset_in_segment(kSegmentTasks + 1), 0u);
  EXPECT_EQ(segment_end(1), kSegmentTasks + 1);
  EXPECT_EQ(segment_end(kSegmentTasks), kSegmentTasks + 1);
}

// ---- elements
// -------------------------------------------------------------------------------------------

TEST(Elements, OfEveryWidthAreWalkedAndRead) {
  std::string payload;
  size_t expected = 0;
  for (size_t size : {0, 1, 255, 256, 65535, 65536}) {
    append_element(payload, std::string(size, 'x'));
    expected += element_size(size);
  }
  EXPECT_EQ(payload.size(), expected);
  EXPECT_TRUE(is_elements(payload, 6));
  EXPECT_EQ(largest_element(payload, 6), 65536u);
  ElementReader reader(payload);
  for (size_t size : {0, 1, 255, 256, 65535, 65536}) EXPECT_EQ(reader.next()->size(), size);
  EXPECT_FALSE(reader.next());
  EXPECT_TRUE(reader.rest().empty());
}

TEST(Elements, EverySubRangeIsASlice) {
  std::string payload;
  for (auto text : {"one", "two", "three"}) append_element(payload, text);
  auto from = *skip_elements(payload, 1), to = *skip_elements(payload, 2);
  EXPECT_EQ(payload.substr(from, to - from), std::string("\xc4\x03two"));
  EXPECT_EQ(skip_elements(payload, 0), 0u);
  EXPECT_EQ(skip_elements(payload, 4), std::nullopt);
}

TEST(Elements, ACountOrEndThatDoesNotFitIsRefused) {
  std::string payload;
  for (auto text : {"one", "two", "three"}) append_element(payload, text);
  EXPECT_FALSE(is_elements(payload, 2));
  EXPECT_FALSE(is_elements(payload, 4));
  EXPECT_FALSE(is_elements(payload, UINT64_MAX));
  for (size_t size = 0; size < payload.size(); size++) {
    EXPECT_FALSE(is_elements(std::string(payload.data(), size), 3)) << size;
  }
  for (std::string bad : {"\xc4", "\xc4\x01", "\xc5\x01", "\xc5\xff\xff", "\xc6\xff\xff\xff",
                          "\xc6\xff\xff\xff\xffx", "\xa1x", "\x01", "\x90"}) {
    EXPECT_FALSE(is_elements(bad, 1));
    EXPECT_FALSE(ElementReader(bad).next());
  }
}

TEST(Elements, LongerFormsThanNeededAreAccepted) {
  EXPECT_TRUE(is_elements(std::string("\xc6\0\0\0\x01x\xc5\0\x01y", 10), 2));
}

TEST(Elements, ArrayHeadersAreTheShortest) {
  EXPECT_EQ(array_header(0), "\x90");
  EXPECT_EQ(array_header(15), "\x9f");
  EXPECT_EQ(array_header(16), std::string("\xdc\0\x10", 3));
  EXPECT_EQ(array_header(65535), "\xdc\xff\xff");
  EXPECT_EQ(array_header(65536), std::string("\xdd\0\x01\0\0", 5));
}

// ---- names and text
// -------------------------------------------------------------------------------------

TEST(Name, TheAlphabetAndTheLengthAreChecked) {
  for (const std::string& name : {std::string("a"), std::string("A.b_c-9"), std::string("_x"),
                                  std::string("9"), std::string(kNameBytesMax, 'n')}) {
    EXPECT_TRUE(check_name("session", name)) << name;
  }
  for (const std::string& name :
       {std::string(), std::string(kNameBytesMax + 1, 'n'), std::string(10'000, 'n'),
        std::string(".hidden"), std::string(".."), std::string("-flag"), std::string("a/b"),
        std::string("../x"), std::string("a b"), std::string("a\nb"), std::string("a\0b", 3),
        std::string("{a}"), std::string("a:b"), std::string("ü"), std::string("a*")}) {
    auto checked = check_name("session", name);
    ASSERT_FALSE(checked) << name;
    EXPECT_EQ(checked.error().code, Code::kBadName);
    EXPECT_EQ(checked.error().message.find("session name"), 0u);
    EXPECT_LT(checked.error().message.size(), 200u) << "a long name is cut";
    for (char c : checked.error().message) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << "escaped";
  }
}

TEST(Text, WhatIsNotPrintableIsEscapedAndCut) {
  EXPECT_EQ(printable("plain text"), "plain text");
  EXPECT_EQ(printable("a\r\nb"), "a\\x0d\\x0ab");
  EXPECT_EQ(printable("\x1b[31mred"), "\\x1b[31mred");
  EXPECT_EQ(printable("\xff\x7f"), "\\xff\\x7f");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("abc", 3), "abc");
}

TEST(Text, TheNearestWordIsNamedIfOneIsNear) {
  std::vector<std::string> words = {"command", "arguments", "image"};
  EXPECT_EQ(nearest("comand", words), "command");
  EXPECT_EQ(nearest("IMAGE", words), "image");
  EXPECT_EQ(nearest("argument", words), "arguments");
  EXPECT_EQ(nearest("zzzzzz", words), "");
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
}

TEST(Text, NumbersAreTheWholeText) {
  EXPECT_EQ(parse_number<uint64_t>("42"), 42u);
  EXPECT_EQ(parse_number<int64_t>("-42"), -42);
  for (auto text : {"", "4 2", "42x", "+42", "18446744073709551616"}) {
    EXPECT_EQ(parse_number<uint64_t>(text), std::nullopt) << text;
  }
  std::string out = "n=";
  append_number(out, UINT64_MAX);
  EXPECT_EQ(out, "n=18446744073709551615");
}

// ---- tables
// ---------------------------------------------------------------------------------------------

TEST(States, EveryNameComesBack) {
  for (auto state : kSessionStates) EXPECT_EQ(session_state_from(name_of(state)), state);
  EXPECT_EQ(session_state_from("open"), std::nullopt);
  for (auto level :
       {Durability::kMemory, Durability::kStored, Durability::kSynced, Durability::kReplicated}) {
    EXPECT_EQ(durability_from(name_of(level)), level);
  }
  EXPECT_EQ(durability_from("disk"), std::nullopt);
  std::set<std::string_view> names;
  for (auto state : kTaskStates) names.insert(name_of(state));
  EXPECT_EQ(names.size(), kTaskStates.size());
}

TEST(States, APairHasAtMostOneStepAndFinalTasksStay) {
  std::set<std::pair<TaskState, TaskEvent>> task_pairs;
  for (const auto& step : kTaskSteps) {
    EXPECT_TRUE(task_pairs.insert({step.from, step.event}).second);
    EXPECT_EQ(next_state(step.from, step.event), step.to);
  }
  std::set<std::pair<SessionState, SessionEvent>> session_pairs;
  for (const auto& step : kSessionSteps) {
    EXPECT_TRUE(session_pairs.insert({step.from, step.event}).second);
    EXPECT_EQ(next_state(step.from, step.event), step.to);
  }
  EXPECT_EQ(next_state(TaskState::kSucceed, TaskEvent::kFail), std::nullopt);
  EXPECT_EQ(next_state(TaskState::kCancelled, TaskEvent::kSucceed), std::nullopt);
  EXPECT_EQ(next_state(SessionState::kClosed, SessionEvent::kResume), std::nullopt);
}

TEST(Codes, NamesAndNumbersAreUniqueAndFoundAgain) {
  std::set<std::string_view> names;
  std::set<uint16_t> numbers;
  uint16_t before = 0;
  for (const auto& row : kCodes) {
    auto number = static_cast<uint16_t>(row.code);
    EXPECT_TRUE(names.insert(row.name).second && numbers.insert(number).second) << row.name;
    EXPECT_TRUE(number == 0 || number > before) << "the table is in order of numbers";
    before = number;
    EXPECT_EQ(code_from(number), row.code);
    EXPECT_EQ(name_of(row.code), row.name);
    EXPECT_FALSE(row.meaning.empty());
  }
  EXPECT_EQ(code_from(9999), Code::kBadRequest);
}

TEST(Limits, EachHasARowThatSaysWhatHappens) {
  std::set<std::string_view> names;
  for (const auto& row : kLimits) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_GT(row.value, 0u) << row.name;
    EXPECT_FALSE(row.unit.empty() || row.at_it.empty() || row.why.empty()) << row.name;
  }
}

TEST(Keys, EveryKeyOfASessionCarriesItsHashTagAndARow) {
  std::set<std::string> rows;
  for (const auto& row : kKeys) rows.insert(std::string(row.pattern));
  for (auto key :
       {session_key("{S}"), common_key("{S}"), done_key("{S}"), attempts_key("{S}"),
        idempotency_key("{S}"), readers_key("{S}"), submits_key("{S}"), events_key("{S}")}) {
    key.replace(key.find("{{S}}"), 5, "{S}");
    EXPECT_TRUE(rows.contains(key)) << key;
  }
  EXPECT_EQ(state_key("s", 3), "flame:{s}:state:3");
  EXPECT_EQ(input_key("s", 3), "flame:{s}:input:3");
  EXPECT_EQ(options_key("s", 3), "flame:{s}:options:3");
  EXPECT_EQ(output_key("s", 3), "flame:{s}:output:3");
  for (auto key : {kMetaKey, kOwnerKey, kAppsKey, kSessionsKey, kDemandKey, kExecutorsKey}) {
    EXPECT_TRUE(rows.contains(std::string(key))) << key;
  }
}

// ---- crc32c
// ---------------------------------------------------------------------------------------------

TEST(Crc32c, TheVectorsOfRfc3720) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string up, down;
  for (char i = 0; i < 32; i++) up += i, down += static_cast<char>(31 - i);
  EXPECT_EQ(crc32c(up), 0x46dd794eu);
  EXPECT_EQ(crc32c(down), 0x113fdb5cu);
}

TEST(Crc32c, PartsGiveTheWhole) {
  std::string text = "the quick brown fox jumps over the lazy dog";
  for (size_t cut = 0; cut <= text.size(); cut++) {
    EXPECT_EQ(
        crc32c(std::string_view(text).substr(cut), crc32c(std::string_view(text).substr(0, cut))),
        crc32c(text));
  }
}

// ---- bytes and link
// -------------------------------------------------------------------------------------

TEST(Bytes, SlicesOutliveWhatTheyAreOf) {
  Bytes part;
  {
    auto whole = Bytes::own(std::string(1000, 'a') + "tail");
    part = whole.slice(1000, 4);
  }
  EXPECT_EQ(part.view(), "tail");
}

TEST(Link, AcceptsTheNextAndJudgesTheRest) {
  Link receiver(9), sender(9);
  EXPECT_EQ(receiver.receive(sender.next()), Link::Verdict::kAccept);
  EXPECT_EQ(receiver.receive({9, 1}), Link::Verdict::kDuplicate);
  EXPECT_EQ(receiver.receive({9, 0}), Link::Verdict::kDuplicate);
  EXPECT_EQ(receiver.receive({9, 3}), Link::Verdict::kGap);
  EXPECT_EQ(receiver.receive({8, 2}), Link::Verdict::kForeign);
  EXPECT_EQ(receiver.receive({9, 2}), Link::Verdict::kAccept)
      << "only an accepted one moves the counter";
}

TEST(Link, WithoutANumberEverythingIsForeign) {
  Link none;
  EXPECT_EQ(none.receive({0, 1}), Link::Verdict::kForeign);
  EXPECT_EQ(none.receive({9, 1}), Link::Verdict::kForeign);
}

}  // namespace flame::proto::test

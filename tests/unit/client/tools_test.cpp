// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/exit_codes.hpp"
#include "client/failures.hpp"
#include "client/flmexec/settings.hpp"
#include "client/flmping/report.hpp"
#include "client/terminal.hpp"

namespace flame {
namespace {

using proto::Code;
using testing::HasSubstr;

// ---- terminal
// -------------------------------------------------------------------------------------------

TEST(Terminal, NumbersHaveThousands) {
  EXPECT_EQ(tools::with_thousands(0), "0");
  EXPECT_EQ(tools::with_thousands(999), "999");
  EXPECT_EQ(tools::with_thousands(1'000), "1,000");
  EXPECT_EQ(tools::with_thousands(1'234'567), "1,234,567");
}

TEST(Terminal, DurationsAreReadable) {
  EXPECT_EQ(tools::show_whole_ms(0), "1 ms");
  EXPECT_EQ(tools::show_whole_ms(23'400), "23 ms");
  EXPECT_EQ(tools::show_whole_ms(1'234'000), "1,234 ms");
  EXPECT_EQ(tools::show_whole_ms(12'340'000), "12.3 s");
  EXPECT_EQ(tools::show_duration(123), "0.12 ms");
  EXPECT_EQ(tools::show_duration(-5), "0.00 ms");
}

TEST(Terminal, TheBarIsTheOneOfTheManual) {
  EXPECT_EQ(tools::progress_bar(10'000, 10'000),
            "[100%] =============================================   10000/10000");
  EXPECT_EQ(tools::progress_bar(0, 10), "[  0%] " + std::string(45, ' ') + "   0/10");
  EXPECT_EQ(tools::progress_bar(12, 10), tools::progress_bar(10, 10));
  EXPECT_EQ(tools::progress_bar(5, 10, 30).size(), 30u);
}

TEST(Terminal, TablesHaveNoBordersAndNoTrailingSpace) {
  EXPECT_EQ(tools::format_table({"ID", "State"}, {{"long-id", "Open"}, {"x", ""}}),
            "ID        State\nlong-id   Open\nx\n");
  EXPECT_EQ(tools::format_table({"ID", "State"}, {{"long-id", "Open"}}, 8), "ID\nlong-id\n");
}

TEST(Terminal, ColumnsOfATableMoveTogetherBeforeTheLastOnesAreCutOff) {
  const std::vector<std::string> header = {"ID",      "State",   "App",    "Slots",  "Pending",
                                           "Running", "Succeed", "Failed", "Created"};
  const std::vector<std::vector<std::string>> row = {
      {"flmping-a8Kx02", "Closed", "flmping", "1", "0", "0", "1000000", "0", "08:34:20"}};
  EXPECT_EQ(tools::format_table(header, row, 80),
            "ID             State  App     Slots Pending Running Succeed Failed Created\n"
            "flmping-a8Kx02 Closed flmping 1     0       0       1000000 0      08:34:20\n");
  EXPECT_EQ(tools::format_table(header, row, 100), tools::format_table(header, row, 0));
}

TEST(ExitCodes, FollowTheErrorsCode) {
  EXPECT_EQ(tools::exit_code_of(Code::kNotFound), 3);
  EXPECT_EQ(tools::exit_code_of(Code::kNoBroker), 5);
  EXPECT_EQ(tools::exit_code_of(Code::kTimeout), 124);
  EXPECT_EQ(tools::exit_code_of(Code::kInterrupted), 130);
  EXPECT_EQ(tools::exit_code_of(Code::kWrongState), 1);
}

// ---- failures
// -------------------------------------------------------------------------------------------

TEST(Failures, ShowsTheFirstThreeKindsAndCountsTheRest) {
  tools::Failures failures;
  EXPECT_EQ(failures.show(), "");
  for (proto::TaskId id = 1; id <= 1'000; id++)
    failures.add({id, Code::kTaskFailed, "exit code 1\nboom\x1b"});
  failures.add({1'001, Code::kTaskCrashed, "signal 9"});
  failures.add({1'002, Code::kTaskFailed, "c"});
  failures.add({1'003, Code::kTaskFailed, "d"});
  EXPECT_EQ(failures.count(), 1'003u);
  EXPECT_EQ(failures.show(),
            "  1,000 x task_failed, first task 1:\n      exit code 1\n      boom\\x1b\n"
            "  1 x task_crashed, first task 1001:\n      signal 9\n"
            "  1 x task_failed, first task 1002:\n      c\n"
            "  and 1 more with other reasons\n");
}

TEST(Failures, EndlesslyManyReasonsStayBounded) {
  tools::Failures failures;
  for (proto::TaskId id = 1; id <= 500; id++)
    failures.add({id, Code::kTaskFailed, std::to_string(id)});
  EXPECT_THAT(failures.show(), HasSubstr("and 497 more"));
}

// ---- flmping
// --------------------------------------------------------------------------------------------

proto::Results results_of(proto::Run run, proto::Attempt attempt = 1) {
  proto::Results results;
  results.run = run;
  results.attempt = attempt;
  return results;
}

TEST(Tally, EveryIdIsTickedOffOnce) {
  ping::Tally tally(200);
  tally.add(results_of({1, 100}));
  tally.add(results_of({101, 99}));
  EXPECT_FALSE(tally.complete());
  tally.add(results_of({200, 1}, 3));
  EXPECT_TRUE(tally.complete());
  EXPECT_EQ(tally.succeeded(), 200u);
  EXPECT_EQ(tally.duplicates(), 0u);
  EXPECT_EQ(tally.retried(), 1u);
}

TEST(Tally, DoubledAndUnknownIdsAreDuplicates) {
  ping::Tally tally(130);
  tally.add(results_of({60, 10}));
  tally.add(results_of({65, 10}));
  tally.add(results_of({131, 2}));
  EXPECT_EQ(tally.received(), 15u);
  EXPECT_EQ(tally.duplicates(), 7u);
}

TEST(Tally, FailuresCountOnceEvenIfDoubled) {
  ping::Tally tally(10);
  auto failed = results_of({1, 10});
  failed.exceptions = {{3, Code::kTaskFailed, "x"}, {4, Code::kTaskFailed, "x"}};
  tally.add(failed);
  tally.add(failed);
  EXPECT_EQ(tally.failed(), 2u);
  EXPECT_EQ(tally.succeeded(), 8u);
  EXPECT_EQ(tally.duplicates(), 10u);
}

TEST(Tally, ACancelledRunIsManyFailures) {
  ping::Tally tally(10);
  auto cancelled = results_of({3, 8});
  cancelled.exceptions = {{3, Code::kTaskCancelled, "session closed"}};
  tally.add(cancelled);
  EXPECT_EQ(tally.failed(), 8u);
  EXPECT_EQ(tally.succeeded(), 0u);
}

TEST(Tally, LostTasksCountAnew) {
  ping::Tally tally(100);
  tally.add(results_of({1, 50}));
  tally.lose({41, 20});
  EXPECT_EQ(tally.received(), 40u);
  tally.add(results_of({41, 60}));
  EXPECT_TRUE(tally.complete());
  EXPECT_EQ(tally.duplicates(), 0u);
  EXPECT_EQ(tally.lost(), 20u);
}

TEST(Stages, AreMediansOfTheSpansBetweenStamps) {
  ping::Stages stages;
  for (uint64_t i = 0; i < 3; i++) {
    auto results = results_of({1, 10});
    results.stamps = {1'000, 2'000, 4'000, 7'000, 11'000 + i, 16'000 + i, 17'000 + i, 22'000 + i};
    stages.add(results, static_cast<int64_t>(30'000 + i));
  }
  stages.add(results_of({1, 10}), 99'000);  // without stamps
  auto forgotten = results_of({1, 10});
  forgotten.stamps = {1'000, 2'000, 0, 0, 11'000, 16'000, 17'000, 22'000};
  stages.add(forgotten, 99'000);  // its batch is too long ago
  EXPECT_DOUBLE_EQ(stages.median_ms(0), 1.0);
  EXPECT_DOUBLE_EQ(stages.median_ms(3), 4.001);
  EXPECT_DOUBLE_EQ(stages.median_ms(5), 6.0);  // written and stored together
  EXPECT_DOUBLE_EQ(stages.median_ms(6), 8.0);
  EXPECT_DOUBLE_EQ(stages.first_bind_ms(), 4.0);
  EXPECT_DOUBLE_EQ(stages.latencies().percentiles().p50, 29.001);
}

TEST(Latencies, PercentilesWeighWithTasks) {
  ping::Latencies latencies;
  latencies.add(1'000, 98);
  latencies.add(5'000, 1);
  latencies.add(9'000, 1);
  auto p = latencies.percentiles();
  EXPECT_DOUBLE_EQ(p.p50, 1);
  EXPECT_DOUBLE_EQ(p.p90, 1);
  EXPECT_DOUBLE_EQ(p.p99, 5);
  EXPECT_DOUBLE_EQ(p.max, 9);
  EXPECT_DOUBLE_EQ(ping::Latencies().percentiles().p50, 0);
}

proto::Result<ping::Settings> ping_settings(std::vector<const char*> words) {
  words.insert(words.begin(), "flmping");
  return ping::parse_settings(static_cast<int>(words.size()), words.data());
}

TEST(PingSettings, HaveTheManualsDefaultsAndUnits) {
  auto settings = ping_settings({});
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->tasks, 10u);
  EXPECT_EQ(settings->timeout_ms, 60'000u);
  EXPECT_EQ(ping::common_data_of(*settings), "output-size=64\nduration-ms=0\nmemory=0\n");
  settings = ping_settings({"-t", "5", "--input-size", "1KiB", "--output-size=2MiB", "-d", "20",
                            "-m", "64KiB", "-c", "x", "-o", "json"});
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->input_size, 1024u);
  EXPECT_EQ(ping::common_data_of(*settings),
            "output-size=2097152\nduration-ms=20\nmemory=65536\ncommon-data=x\n");
  EXPECT_TRUE(settings->json);
  settings = ping_settings({"--input-size", "1KiB", "--shim", "shell"});
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(ping::application_of(*settings), "flmping-shell");
  EXPECT_EQ(settings->output_size, 1024u) << "it gives back its input";
}

TEST(PingSettings, TheGrpcShimIsThereWhereItWasBuilt) {
  for (const char* shim : {"native", "shell"}) EXPECT_TRUE(ping::check_shim(shim, false)) << shim;
  EXPECT_TRUE(ping::check_shim("grpc", true));
  EXPECT_THAT(ping::check_shim("grpc", false).error().message, HasSubstr("without gRPC"));
  EXPECT_THAT(ping::check_shim("rest", true).error().message, HasSubstr("native, shell or grpc"));
  ping::Settings settings;
  settings.shim = "grpc";
  EXPECT_EQ(ping::application_of(settings), "flmping-grpc");
}

TEST(PingSettings, WrongOnesAreNamed) {
  struct Row {
    std::vector<const char*> words;
    const char* expected;
  };
  for (const auto& row :
       {Row{{"-t", "0"}, "--task-num"}, Row{{"--shim", "gprc"}, "--shim"},
        Row{{"--durability", "x"}, "--durability"}, Row{{"-o", "xml"}, "-o must"},
        Row{{"--input-size", "1GiB"}, "--input-size"}, Row{{"word"}, "word"},
        Row{{"--shim", "shell", "-d", "5"}, "--duration is for the other shims"},
        Row{{"--latncy"}, "--latency"}, Row{{"--timeout", "soon"}, "--timeout"}}) {
    auto settings = ping_settings(row.words);
    ASSERT_FALSE(settings) << row.expected;
    EXPECT_THAT(settings.error().message, HasSubstr(row.expected));
  }
}

TEST(PingReport, BeginsAsTheManualShows) {
  EXPECT_EQ(ping::created_line({"flmping-a8Kx02", 900}, 10'000),
            "Session <flmping-a8Kx02> was created in <1 ms>, start to run <10,000> tasks in the "
            "session:\n");
}

// ---- flmexec
// --------------------------------------------------------------------------------------------

proto::Result<exec::Settings> exec_settings(std::vector<const char*> words) {
  words.insert(words.begin(), "flmexec");
  return exec::parse_settings(static_cast<int>(words.size()), words.data());
}

TEST(ExecScript, QuotesWhateverItHolds) {
  auto settings = exec_settings({"-c", "echo 'a' \"b\""});
  ASSERT_TRUE(settings);
  EXPECT_EQ(exec::script_of(*settings), "exec /bin/sh -c 'echo '\\''a'\\'' \"b\"' </dev/null\n");
  settings = exec_settings({"-c", "x", "-l", "python", "-i", "it's"});
  ASSERT_TRUE(settings);
  EXPECT_EQ(exec::script_of(*settings), "printf %s 'it'\\''s' | python3 -c 'x'\n");
}

TEST(ExecSettings, WrongOnesAreNamed) {
  EXPECT_THAT(exec_settings({}).error().message, HasSubstr("-c"));
  EXPECT_THAT(exec_settings({"-c", "x", "-l", "perl"}).error().message, HasSubstr("perl"));
  EXPECT_THAT(exec_settings({"-c", "echo", "b"}).error().message, HasSubstr("quote"));
}

}  // namespace
}  // namespace flame

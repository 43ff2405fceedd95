// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/unit/proto/examples.hpp"

#include <utility>

#include "proto/codec.hpp"
#include "proto/elements.hpp"
#include "proto/rows.hpp"

namespace flame::proto::test {

namespace {

template <class M>
struct Of {};

constexpr SessionUid kUid = 7ull << 32 | 3;
constexpr std::string_view kEpoch = "7-9f0c1e5b2a64d813";
constexpr std::string_view kLineage = "1b8d6e0f44c2a973";

// Raw bytes on purpose: a token is the one text of the wire that is not UTF-8.
Ticket ticket() {
  return {{1025, 64}, 2, std::string(kEpoch), std::string("\x80\xff\x00\x1f token bytes", 16)};
}
SessionSpec spec() { return {"echo", 1, 8, 5, Durability::kSynced, "read", 60'000, "cpu=2", 4}; }
Counters counters() { return {100, 40, 10, 45, 3, 2}; }
Value application() {
  return Map{
      {"name", "echo"},
      {"arguments", List{"--fast", "ünïcode"}},
      {"max_instances", 16},
      {"schema", Map{{"input", Value()}, {"ratio", 0.5}, {"offset", -40'000}, {"on", true}}}};
}

Message make(Of<ErrorReply>) {
  return ErrorReply{12, Code::kBusy, "Redis is at 86 % of maxmemory; try again", 250, kUid, 9};
}
Message make(Of<Beat>) { return Beat{3, 10'000, 41}; }
Message make(Of<Resync>) { return Resync{"sequence 8 came, 6 was expected"}; }
Message make(Of<Bye>) { return Bye{"done"}; }
Message make(Of<ClientHello>) {
  return ClientHello{1, "default", "00112233445566778899aabbccddeeff", std::string(kLineage),
                     "0.1.0"};
}
Message make(Of<CreateSession>) {
  return CreateSession{1, "echo-a8Kx02", true, spec(), Bytes::copy("common data")};
}
Message make(Of<OpenSession>) { return OpenSession{2, "echo-a8Kx02"}; }
Message make(Of<Submit>) {
  return Submit{kUid, 5, 3, 1'700'000'000'000'000, elements({"a", "", std::string(300, 'b')})};
}
Message make(Of<Watch>) {
  return Watch{3, kUid, 17, 4096, "nightly-report", std::string(kLineage)};
}
Message make(Of<ResultsAck>) { return ResultsAck{kUid, 18}; }
Message make(Of<CloseSession>) { return CloseSession{4, "echo-a8Kx02"}; }
Message make(Of<DeleteSession>) { return DeleteSession{5, "echo-a8Kx02", true}; }
Message make(Of<WaitSession>) { return WaitSession{6, "echo-a8Kx02", true}; }
Message make(Of<ListKind>) { return ListKind{7, "executor", true}; }
Message make(Of<CancelTasks>) { return CancelTasks{11, "echo-a8Kx02", {{1, 64}, {1025, 1}}, true}; }
Message make(Of<Cancelled>) { return Cancelled{11, kUid, 64, 1}; }
Message make(Of<GetTasks>) { return GetTasks{12, "echo-a8Kx02", 1025, 100, "FC", true}; }
Message make(Of<Tasks>) {
  return Tasks{12, 1026, elements({encode_value(Map{{"id", 1025}, {"output", true}}), "out"})};
}
Message make(Of<UpdateApplication>) {
  return UpdateApplication{13, "echo", Map{{"image", "registry/echo:2"}, {"max_attempts", 5}}};
}
Message make(Of<UpdateCommon>) {
  return UpdateCommon{14, "echo-a8Kx02", 2, Bytes::copy("new common data")};
}
Message make(Of<GetCommon>) { return GetCommon{15, "echo-a8Kx02"}; }
Message make(Of<CommonData>) { return CommonData{15, 3, Bytes::copy("new common data")}; }
Message make(Of<WatchTask>) { return WatchTask{16, "echo-a8Kx02", 1025, "R.1.4", true}; }
Message make(Of<Progress>) { return Progress{kUid, {{1025, 40, "two of five files"}}}; }
Message make(Of<TaskProgress>) {
  return TaskProgress{kUid, {{1025, 40, "two of five files"}, {1026, 100, ""}}};
}
Message make(Of<GetLogs>) { return GetLogs{17, "echo-a8Kx02", 1025}; }
Message make(Of<HoldExecutor>) { return HoldExecutor{18, "exec-1", Hold::kDrained}; }
Message make(Of<PickVictims>) {
  return PickVictims{19, "echo", 2, 60'000, {"exec-1", "exec-2", "exec-3"}};
}
Message make(Of<Drain>) { return Drain{"drained by a client"}; }
Message make(Of<Logs>) {
  return Logs{17, true,
              elements({encode_value(Map{{"executor", "exec-1"}, {"instance", 3}}), "a line\n"})};
}
Message make(Of<ReadOutput>) { return ReadOutput{4, kUid, 1025}; }
Message make(Of<Output>) {
  return Output{4, elements({encode_value(Map{{"executor", "exec-1"}, {"instance", 3}}), "a\xff"})};
}
Message make(Of<View>) { return View{8, "session", "last"}; }
Message make(Of<RegisterApplication>) { return RegisterApplication{9, application()}; }
Message make(Of<UnregisterApplication>) { return UnregisterApplication{10, "echo"}; }
Message make(Of<Recover>) { return Recover{11, true}; }

Message make(Of<Welcome>) {
  return Welcome{1,      "0.1.0",   "default", std::string(kEpoch), std::string(kLineage), 500,
                 20'000, 1'048'576, false};
}
Message make(Of<Ok>) { return Ok{9, "registered"}; }
Message make(Of<SessionInfo>) {
  return SessionInfo{1,
                     "echo-a8Kx02",
                     kUid,
                     spec(),
                     SessionState::kClosing,
                     counters(),
                     5,
                     2,
                     48,
                     1'700'000'000'000,
                     1'700'000'060'000};
}
Message make(Of<SubmitAck>) {
  return SubmitAck{kUid, Durability::kReplicated, {{5, {1025, 64}}, {6, {1089, 1}}}};
}
Message make(Of<Watching>) { return Watching{3, kUid, 17, 48}; }
Message make(Of<Results>) {
  return Results{kUid,
                 17,
                 {1025, 3},
                 "exec-1",
                 2,
                 1'700'000'000'123,
                 {{2, 10, 250}, {1, 260, 300'000}},
                 {{1026, Code::kTaskFailed, "exit code 3: no such file"}},
                 {1, 2, 3, 4, 5, 6, 7, 1'700'000'000'000'000},
                 elements({"out", "", std::string(300, 'x')})};
}
Message make(Of<Listing>) {
  return Listing{7, true,
                 encode_rows({Map{{"id", "exec-1"}, {"slots", 4}},
                              Map{{"id", "exec-2"}, {"slots", Value()}}})};
}
Message make(Of<SessionChanged>) {
  return SessionChanged{kUid, SessionState::kSuspended, counters(), 48, "Redis refuses its keys"};
}

Message make(Of<ExecutorHello>) {
  return ExecutorHello{1,
                       "default",
                       "exec-1",
                       "c0ffee",
                       "echo",
                       4,
                       "host-a:4711",
                       "0.1.0",
                       {{0, 3, kUid}, {1, 4, 0}},
                       {{kUid, 512, 65'536}},
                       {{kUid, {1030, 5}, ticket()}},
                       {{kUid, 1ull << 32 | 7}},
                       "pod flame/flame-echo-5d9f-x2x7q 0b1c"};
}
Message make(Of<Window>) { return Window{{{kUid, 512, 65'536}, {kUid + 1, 0, 0}}}; }
Message make(Of<TaskResults>) {
  return TaskResults{kUid,
                     {1030, 2},
                     ticket(),
                     1'700'000'000'123,
                     {{2, 0, 90}},
                     {{1031, Code::kTaskOutputTooLarge, "70 MiB"}},
                     500,
                     60'000,
                     elements({"out", ""})};
}
Message make(Of<Returned>) {
  return Returned{kUid, Code::kTaskCrashed, "signal 9 (Killed)", {{kUid, {1030, 5}, ticket()}}};
}
Message make(Of<Bound>) {
  return Bound{{1, 4, kUid}, Code::kTaskServiceFailed, "no such file: echoo"};
}
Message make(Of<Draining>) { return Draining{"SIGTERM"}; }

Message make(Of<ExecutorWelcome>) {
  return ExecutorWelcome{1,   "0.1.0", "default", std::string(kEpoch), std::string(kLineage),
                         500, 2000};
}
Message make(Of<SessionContext>) {
  return SessionContext{kUid,    "echo-a8Kx02",  application(),
                        "local", 1ull << 32 | 7, Bytes::copy("common data")};
}
Message make(Of<Bind>) { return Bind{{{0, 3, kUid}, {1, 5, 0}}}; }
Message make(Of<Dispatch>) { return Dispatch{kUid, ticket(), elements({"a", "b", "c"})}; }
Message make(Of<Recorded>) {
  return Recorded{{{kUid, {1030, 2}, Code::kOk}, {kUid, {1032, 3}, Code::kDuplicate}}};
}
Message make(Of<TakeBack>) { return TakeBack{kUid}; }
Message make(Of<CancelRuns>) { return CancelRuns{kUid, {{1030, 5}, {1040, 1}}}; }

template <size_t... I>
std::vector<Example> make_all(std::index_sequence<I...>) {
  return {Example{{41, 1000 + I}, make(Of<std::variant_alternative_t<I, Message>>{})}...};
}

}  // namespace

Bytes elements(std::initializer_list<std::string_view> contents) {
  std::string payload;
  for (auto content : contents) append_element(payload, content);
  return Bytes::own(std::move(payload));
}

std::vector<Example> all_examples() {
  return make_all(std::make_index_sequence<std::variant_size_v<Message>>());
}

}  // namespace flame::proto::test

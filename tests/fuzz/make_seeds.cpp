// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Writes what the fuzzers start from: the golden messages and a few short stories of a cluster.
//     make_seeds FOLDER     fills FOLDER/fuzz_codec, fuzz_stored, fuzz_core and fuzz_kubernetes
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <vector>

#include "proto/codec.hpp"
#include "proto/crc32c.hpp"
#include "proto/elements.hpp"
#include "tests/fuzz/core_world.hpp"
#include "tests/unit/proto/examples.hpp"

using namespace flame::proto;
using flame::fuzz::Op;

namespace {

std::filesystem::path folder;

void write(const std::string& target, const std::string& name, const std::string& bytes) {
  std::filesystem::create_directories(folder / target);
  std::ofstream(folder / target / name, std::ios::binary) << bytes;
}

std::string word(size_t value) {
  return {static_cast<char>(value & 255), static_cast<char>(value >> 8)};
}
std::string byte(Op op) { return std::string(1, static_cast<char>(op)); }

void messages() {
  for (const auto& example : test::all_examples()) {
    auto header = encode(example.envelope, example.message);
    const Bytes* payload = payload_of(example.message);
    std::string body(payload != nullptr ? payload->view() : "");
    auto type = type_of(example.message);
    std::string name(name_of(type));
    write("fuzz_codec", name, word(header.size()) + header + body);
    // To the core: once with the peer's right link and session, after a hello.
    bool executor = static_cast<int>(type) >= 80;
    Op hello = executor ? Op::kExecutorHello : Op::kClientHello;
    Op frame = executor ? Op::kExecutorFrame : Op::kClientFrame;
    char flags = flame::fuzz::kRightLink | flame::fuzz::kRightUid | flame::fuzz::kRightTicket;
    write("fuzz_core", name,
          byte(hello) + '\0' + byte(frame) + flags + word(header.size()) + word(body.size()) +
              header + body);
  }
}

void kubernetes() {
  std::string pod =
      R"({"metadata":{"name":"a","uid":"u","resourceVersion":"7","labels":)"
      R"({"flame/deployment":"d"},)"
      R"("annotations":{"flame/application":"app"}},"spec":{"replicas":2},"status":{"phase":)"
      R"("Running","conditions":[{"type":"PodScheduled","status":"False","message":"m"}],)"
      R"("containerStatuses":[{"restartCount":1,"state":{"waiting":{"reason":)"
      R"("CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":1,"reason":"Error"}}}]}})";
  write("fuzz_kubernetes", "stream",
        std::string(1, '\0') + R"({"type":"ADDED","object":)" + pod + "}\n" +
            R"({"type":"ERROR","object":{"kind":"Status","code":410}})" + "\n");
  write("fuzz_kubernetes", "object", '\1' + pod);
  write("fuzz_kubernetes", "kubeconfig",
        '\2' + std::string(R"({"current-context":"c","contexts":[{"name":"c","context":{"cluster":)"
                           R"("k","user":"u"}}],"clusters":[{"name":"k","cluster":{"server":)"
                           R"("https://a"}}],"users":[{"name":"u","user":{"token":"t"}}]})"));
  write("fuzz_kubernetes", "manifest",
        '\3' + std::string(R"({"kubernetes":{"labels":{"a":"b"},"slots":2,"environment":{"A":"1"},)"
                           R"("resources":{"limits":{"cpu":"1"}}}})"));
}

void stored() {
  auto contents = test::elements({"one", "", "three"});
  OutputHead head{"exec-1", 2, 1'700'000'000'000, {{7, Code::kTaskFailed, "no"}}, {{3, 1, 2}}};
  auto output = encode_output_head(head, 3).append(contents.view());
  write("fuzz_stored", "output_checked",
        '\0' + word(3) + output + encode_output_tail(crc32c(output)));
  write("fuzz_stored", "output", '\1' + word(3) + output);
  write("fuzz_stored", "input", '\2' + word(3) + array_header(3).append(contents.view()));
  write("fuzz_stored", "submits", '\3' + word(0) + encode_submits({5, {{4, {1, 10}, Code::kOk}}}));
  Application application;
  application.name = "echo";
  application.command = "cat";
  application.arguments = {"-u"};
  application.environment = {{"A", "b"}};
  Value value = to_value(application);
  write("fuzz_stored", "application", '\4' + word(0) + encode_value(value));
  Value manifest = Map{{"metadata", Map{{"name", "echo"}}}, {"spec", Map{{"command", "cat"}}}};
  write("fuzz_stored", "manifest", '\4' + word(0) + encode_value(manifest));
  write("fuzz_stored", "run", '\5' + word(0) + "7-12");
}

// One operation and its bytes.
std::string op(Op op, std::initializer_list<uint8_t> bytes = {}) {
  std::string out = byte(op);
  for (uint8_t b : bytes) out += static_cast<char>(b);
  return out;
}

// A story that no longer gets a task through the broker would be a seed that leads nowhere.
void story(const std::string& name, const std::string& bytes) {
  write("fuzz_core", name, bytes);
  flame::fuzz::CoreWorld world;
  world.run(flame::fuzz::Input(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  const auto& totals = world.totals();
  unsigned long long retried = totals.retried_lost + totals.retried_crashed;
  std::printf("%-22s %llu submitted, %llu succeeded, %llu failed, %llu returned, %llu retried\n",
              name.c_str(), static_cast<unsigned long long>(totals.submitted),
              static_cast<unsigned long long>(totals.succeed),
              static_cast<unsigned long long>(totals.failed),
              static_cast<unsigned long long>(totals.returned), retried);
}

// A message as it stands, mended where the flags say so.
std::string frame(uint8_t flags, const Message& message, Op port = Op::kExecutorFrame) {
  auto header = encode({77, 1}, message);
  const Bytes* payload = payload_of(message);
  std::string body(payload != nullptr ? payload->view() : "");
  return byte(port) + static_cast<char>(flags) + word(header.size()) + word(body.size()) + header +
         body;
}

ExecutorHello hello(uint64_t slots, std::vector<SlotBinding> bindings) {
  ExecutorHello message;
  message.executor = "executor-0";
  message.nonce = "1";
  message.slots = slots;
  message.bindings = std::move(bindings);
  return message;
}

// Hellos that no executor of ours says, to a broker that believes it has two bound slots there.
void hostile_hellos(const std::string& bound) {
  story("hello_fewer_slots", bound + frame(0, hello(1, {})) + op(Op::kTime, {0}));
  story("hello_more_slots",
        bound + frame(0, hello(4000, {{3999, 9, 1ull << 32 | 1}})) + op(Op::kTime, {0}));
  story("hello_same_slot_twice",
        bound + frame(0, hello(2, {{0, 7, 1ull << 32 | 1}, {0, 8, 1ull << 32 | 1}})) +
            op(Op::kTime, {0}));
  story("hello_slot_out_of_range", bound + frame(0, hello(2, {{2, 7, 1ull << 32 | 1}})));
  story("hello_from_elsewhere", bound + frame(1, hello(2, {})) + op(Op::kResults, {0, 0, 3}) +
                                    op(Op::kTime, {0}) + op(Op::kExecutorHello, {0}));
  story("hello_huge_generation",
        bound + frame(0, hello(2, {{0, UINT64_MAX, 1ull << 32 | 1}, {1, UINT64_MAX, 5}})) +
            op(Op::kTime, {0}) + op(Op::kBindings, {0, 3}));
}

void stories() {
  std::string start = op(Op::kClientHello, {0}) + op(Op::kExecutorHello, {0}) +
                      op(Op::kCreate, {0, 0, 2}) + op(Op::kSubmit, {0, 0, 40}) +
                      op(Op::kTime, {10});
  std::string bound = start + op(Op::kBindings, {0, 16});
  std::string watch = op(Op::kRequest, {0, 0, 5});
  hostile_hellos(bound);
  story("story_plain", bound + watch + op(Op::kResults, {0, 0, 200}) +
                           op(Op::kResults, {0, 0, 20}) + op(Op::kResults, {0, 0, 20}) +
                           op(Op::kRequest, {0, 0, 16}) + op(Op::kRequest, {0, 0, 0}) +
                           op(Op::kTime, {50}) + op(Op::kRequest, {0, 0, 1}));
  story("story_lost_executor", bound + op(Op::kTime, {0}) + op(Op::kExecutorHello, {0}) +
                                   op(Op::kBindings, {0, 8}) + op(Op::kResults, {0, 0, 10}) +
                                   op(Op::kExecutorHello, {0x80}) + op(Op::kTime, {200}));
  story("story_returned", bound + op(Op::kReturn, {0, 0, 0}) + op(Op::kReturn, {0, 0, 1}) +
                              op(Op::kTime, {20}) + op(Op::kReturn, {0, 0, 1}) +
                              op(Op::kReturn, {0, 0, 3}) + op(Op::kRequest, {0, 0, 0}));
  story("story_cancel", bound + op(Op::kCancel, {0, 0, 0, 3}) + op(Op::kCancel, {0, 0, 0x82, 2}) +
                            op(Op::kTime, {2}) + op(Op::kReturn, {0, 0, 4}) +
                            op(Op::kCancel, {0, 0, 0x80, 0}) + op(Op::kResults, {0, 0, 3}) +
                            op(Op::kTime, {50}));
  story("story_restart", bound + op(Op::kResults, {0, 0, 3}) + op(Op::kRestart) +
                             op(Op::kClientHello, {0}) + op(Op::kExecutorHello, {0}) +
                             op(Op::kBindings, {0, 8}) + op(Op::kResults, {0, 0, 3}) +
                             op(Op::kTime, {0}) + op(Op::kTime, {0}) + watch);
  story("story_redis", bound + op(Op::kRedis, {0}) + op(Op::kResults, {0, 0, 3}) +
                           op(Op::kSubmit, {0, 0, 4}) + op(Op::kRedis, {1}) + op(Op::kTime, {100}) +
                           op(Op::kRedis, {3}) + op(Op::kSubmit, {0, 0, 4}) + op(Op::kRedis, {4}) +
                           op(Op::kTime, {100}) + op(Op::kRedis, {11}) + op(Op::kTime, {100}));
  story("story_two_sessions", bound + op(Op::kClientHello, {1}) + op(Op::kExecutorHello, {1}) +
                                  op(Op::kCreate, {1, 1, 6}) + op(Op::kSubmit, {1, 1, 9}) +
                                  op(Op::kTime, {5}) + op(Op::kBindings, {0, 2}) +
                                  op(Op::kBindings, {1, 2}) + op(Op::kResults, {1, 0, 9}) +
                                  op(Op::kRequest, {1, 33, 5}) + op(Op::kRequest, {1, 1, 16}) +
                                  op(Op::kRequest, {1, 1, 1}) + op(Op::kRequest, {0, 0, 1}));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_seeds FOLDER\n");
    return 2;
  }
  folder = argv[1];
  try {
    messages();
    stored();
    kubernetes();
    stories();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_seeds: cannot write the seeds to %s: %s\n", argv[1], error.what());
    return 1;
  }
  return 0;
}

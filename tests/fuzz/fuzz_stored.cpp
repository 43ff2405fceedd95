// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// What is read back from Redis, and manifests: [u8 which, u16 count, bytes].
#include "proto/application.hpp"
#include "proto/codec.hpp"
#include "proto/crc32c.hpp"
#include "proto/run.hpp"
#include "tests/fuzz/input.hpp"

using flame::fuzz::promise;
using namespace flame::proto;

namespace {

void stored_output(std::string bytes, uint64_t count, bool mend) {
  // Nothing but a right checksum gets a mutated input past the first check.
  if (mend) bytes += encode_output_tail(crc32c(bytes));
  auto out = decode_output(bytes, count);
  if (!out) return;
  promise(out->elements.data() >= bytes.data() &&
              out->elements.data() + out->elements.size() <= bytes.data() + bytes.size(),
          "the elements are a part of the bytes");
  std::string again = encode_output_head(out->head, count) + std::string(out->elements);
  again += encode_output_tail(crc32c(again));
  auto twice = decode_output(again, count);
  promise(twice && twice->head == out->head && twice->elements == out->elements,
          "an output comes back");
}

void submits(const std::string& bytes) {
  auto history = decode_submits(bytes);
  if (!history) return;
  auto again = decode_submits(encode_submits(*history));
  promise(again && *again == *history, "a submit history comes back");
}

void value_and_application(const std::string& bytes) {
  auto value = decode_value(bytes);
  if (!value) return;
  std::string once = encode_value(*value);
  auto again = decode_value(once);
  promise(again && encode_value(*again) == once, "a value comes back");
  (void)application_from_manifest(*value);
  auto application = application_from(*value);
  if (!application) return;
  auto same = application_from(to_value(*application));
  promise(same.has_value(), "an accepted application is accepted again");
  promise(encode_value(to_value(*same)) == encode_value(to_value(*application)), "and is the same");
}

void run(const std::string& bytes) {
  auto run = parse_run(bytes);
  if (run) promise(parse_run(to_string(*run)).value() == *run, "a run comes back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  flame::fuzz::Input input(data, size);
  uint8_t which = input.byte();
  uint64_t count = input.word();
  std::string bytes = input.rest();
  switch (which % 6) {
    case 0:
      stored_output(std::move(bytes), count, false);
      break;
    case 1:
      stored_output(std::move(bytes), count, true);
      break;
    case 2:
      (void)decode_input(bytes, count);
      break;
    case 3:
      submits(bytes);
      break;
    case 4:
      value_and_application(bytes);
      break;
    default:
      run(bytes);
      break;
  }
  return 0;
}

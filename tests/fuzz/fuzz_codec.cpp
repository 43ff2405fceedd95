// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// A header frame and a payload frame from anywhere: [u16 header size, header, payload]. Whatever
// decodes encodes to something that decodes to the same.
#include "proto/codec.hpp"
#include "proto/elements.hpp"
#include "tests/fuzz/input.hpp"

using flame::fuzz::promise;
using namespace flame::proto;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  flame::fuzz::Input input(data, size);
  std::string header = input.take(input.word());
  auto payload = Bytes::own(input.rest());
  auto decoded = decode(header, payload);
  if (!decoded) {
    promise(decoded.error().code != Code::kOk && !decoded.error().message.empty(),
            "an error says why");
    return 0;
  }
  // Bytes are compared, not messages: a NaN in a Value is not equal to itself.
  std::string once = encode(decoded->envelope, decoded->message);
  auto again = decode(once, payload);
  promise(again.has_value(), "what was decoded encodes to something that decodes");
  promise(again->envelope == decoded->envelope, "the envelope comes back");
  promise(encode(again->envelope, again->message) == once, "the message comes back");
  promise(name_of(type_of(decoded->message)) != "unknown", "the message has a name");
  if (const Bytes* bytes = payload_of(decoded->message)) {
    promise(bytes->view() == payload.view(), "the payload is the second frame");
    // The walk over lengths stays inside for any count, and agrees with itself.
    for (uint64_t count : {uint64_t{0}, uint64_t{1}, uint64_t{3}, uint64_t{1024}, UINT64_MAX}) {
      auto end = skip_elements(bytes->view(), count);
      promise(!end || *end <= bytes->size(), "elements end inside the payload");
      promise(largest_element(bytes->view(), end ? count : 0) <= bytes->size(), "an element fits");
    }
  }
  return 0;
}

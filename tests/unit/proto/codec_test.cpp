// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/codec.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "proto/crc32c.hpp"
#include "proto/elements.hpp"
#include "tests/unit/proto/examples.hpp"
#include "tests/unit/proto/render.hpp"

namespace flame::proto::test {

namespace {

std::string name(const Message& message) { return std::string(name_of(type_of(message))); }
Bytes payload(const Message& message) {
  const Bytes* bytes = payload_of(message);
  return bytes != nullptr ? *bytes : Bytes();
}

// Calls with a default-made message of every kind.
template <class Use, size_t... I>
void for_all_kinds(Use use, std::index_sequence<I...>) {
  (use(std::variant_alternative_t<I, Message>{}), ...);
}
template <class Use>
void for_all_kinds(Use use) {
  for_all_kinds(use, std::make_index_sequence<std::variant_size_v<Message>>());
}

// msgpack by hand, for what encode() would never write.
std::string header(std::initializer_list<std::string_view> fields) {
  std::string out(1, static_cast<char>(0x90 | fields.size()));
  for (auto field : fields) out += field;
  return out;
}
const std::string kV1 = "\x01", kZero(1, '\0');
std::string type(MessageType t) { return std::string(1, static_cast<char>(t)); }

std::string refusal(std::string_view bytes, const Bytes& body = {}, Code code = Code::kBadFrame) {
  auto decoded = decode(bytes, body);
  if (decoded) return "was accepted";
  EXPECT_EQ(decoded.error().code, code) << decoded.error().message;
  EXPECT_FALSE(decoded.error().message.empty());
  return decoded.error().message;
}

}  // namespace

TEST(Codec, EveryMessageComesBackAsItWas) {
  for (const auto& example : all_examples()) {
    auto decoded = decode(encode(example.envelope, example.message), payload(example.message));
    ASSERT_TRUE(decoded) << name(example.message) << ": " << decoded.error().message;
    EXPECT_EQ(decoded->envelope, example.envelope);
    EXPECT_TRUE(decoded->message == example.message) << name(example.message);
  }
}

TEST(Codec, EveryMessageOfDefaultsComesBackAsItWas) {
  for_all_kinds([](const auto& message) {
    auto decoded = decode(encode({1, 1}, message), {});
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_TRUE(decoded->message == Message(message)) << name(message);
  });
}

TEST(Codec, TheExamplesLeaveNoFieldAtItsDefault) {
  auto examples = all_examples();
  size_t at = 0;
  for_all_kinds([&](const auto& defaults) {
    using M = std::decay_t<decltype(defaults)>;
    Json fresh = render(defaults), example = render(std::get<M>(examples[at++].message));
    for (const auto& [key, value] : example.items()) {
      EXPECT_NE(value, fresh[key]) << type_name<M>() << "." << key;
    }
  });
}

TEST(Codec, EveryMessageHasANameAndANumberOfItsOwn) {
  std::set<MessageType> types;
  std::set<std::string> names;
  for_all_kinds([&](const auto& message) {
    types.insert(message.kType);
    names.insert(name(message));
  });
  EXPECT_EQ(types.size(), std::variant_size_v<Message>);
  EXPECT_EQ(names.size(), std::variant_size_v<Message>);
  EXPECT_FALSE(names.contains("unknown"));
}

TEST(Codec, NumbersOfEveryWidthComeBack) {
  for (uint64_t number :
       {uint64_t{0}, uint64_t{127}, uint64_t{128}, uint64_t{255}, uint64_t{256}, uint64_t{65535},
        uint64_t{65536}, uint64_t{UINT32_MAX}, uint64_t{UINT32_MAX} + 1, UINT64_MAX}) {
    auto decoded = decode(encode({UINT32_MAX, number}, ResultsAck{number, number}), {});
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->envelope.sequence, number);
    EXPECT_EQ(std::get<ResultsAck>(decoded->message), (ResultsAck{number, number}));
  }
}

TEST(Codec, CutAnywhereIsAnErrorAndNeverACrash) {
  for (const auto& example : all_examples()) {
    std::string whole = encode(example.envelope, example.message);
    for (size_t size = 0; size < whole.size(); size++) {
      // A copy of exactly that size, so that a sanitizer sees a read beyond it.
      std::string cut(whole.data(), size);
      EXPECT_FALSE(decode(cut, payload(example.message))) << name(example.message) << " " << size;
    }
  }
}

TEST(Codec, AnyByteMayBeAnything) {
  for (const auto& example : all_examples()) {
    std::string whole = encode(example.envelope, example.message);
    for (size_t at = 0; at < whole.size(); at++) {
      for (unsigned value = 0; value < 256; value++) {
        std::string changed = whole;
        changed[at] = static_cast<char>(value);
        auto decoded = decode(changed, payload(example.message));
        EXPECT_TRUE(decoded || decoded.error().code != Code::kOk);
      }
    }
  }
}

TEST(Codec, BytesAfterTheEndAreRefused) {
  EXPECT_NE(refusal(encode({1, 1}, Beat{}) + '\0').find("after the end"), std::string::npos);
}

TEST(Codec, AnotherMajorVersionIsSaidToBeThat) {
  auto text =
      refusal(header({"\x02", type(MessageType::kBeat), kZero, kZero, kZero}), {}, Code::kVersion);
  EXPECT_NE(text.find("protocol 2"), std::string::npos) << text;
  // Even when nothing else about it is known: a later major may change all that follows.
  refusal(header({"\x02", "\xa1z", "\xa1z", "\xa1z"}), {}, Code::kVersion);
}

TEST(Codec, FieldsOfANewerMinorAreIgnored) {
  auto decoded = decode(header({kV1, type(MessageType::kBeat), kZero, kZero, "\x05", kZero, kZero,
                                "\xa3new", "\xc0"}),
                        {});
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(std::get<Beat>(decoded->message).status, 5u);
}

TEST(Codec, WhatAnOlderPeerDoesNotHaveKeepsItsDefault) {
  // The golden bytes of create_session before spec had batch_size.
  auto older = from_hex(
      "98011129cd03ed01ab6563686f2d61384b783032c398a46563686f01080502a472656164cdea60a56370753d32");
  auto decoded = decode(older, {});
  ASSERT_TRUE(decoded) << decoded.error().message;
  const auto& spec = std::get<CreateSession>(decoded->message).spec;
  EXPECT_EQ(spec.resources, "cpu=2");
  EXPECT_EQ(spec.batch_size, 1u);
  older.resize(older.size() - 6);  // without the resources, which all have
  older[older.find('\x98', 1)] = '\x97';
  refusal(older);
}

TEST(Codec, MissingFieldsNameTheMessage) {
  auto text = refusal(header({kV1, type(MessageType::kResultsAck), kZero, kZero, "\x05"}));
  EXPECT_NE(text.find("results_ack"), std::string::npos) << text;
}

TEST(Codec, WrongKindsAreRefused) {
  auto beat = type(MessageType::kBeat);
  for (std::string_view field :
       {"\xc0", "\xff", "\xa1z", "\x90", "\x80", "\xc2", "\xcb\x40\x00\x00\x00\x00\x00\x00\x00"}) {
    std::string bytes(field);
    if (field[0] == '\xcb') bytes = std::string("\xcb\x40\0\0\0\0\0\0\0", 9);
    refusal(header({kV1, beat, kZero, kZero, bytes}));
    refusal(header({kV1, beat, kZero, bytes, kZero}));
    refusal(header({kV1, beat, bytes, kZero, kZero}));
    refusal(header({kV1, bytes, kZero, kZero, kZero}));
    refusal(header({bytes, beat, kZero, kZero, kZero}));
  }
}

TEST(Codec, EnumsOutOfRangeAreRefusedAndUnknownCodesBecomeBadRequest) {
  auto bytes = encode({1, 1}, SessionChanged{1, SessionState::kDeleting, {}, 0, ""});
  bytes[bytes.find('\x04')] = '\x05';  // one above Deleting
  refusal(bytes);
  auto error = encode({0, 0}, ErrorReply{0, static_cast<Code>(77), "later", 0, 0, 0});
  auto decoded = decode(error, {});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<ErrorReply>(decoded->message).code, Code::kBadRequest);
}

TEST(Codec, RunsThatWouldWrapAreRefused) {
  auto last = UINT64_MAX / 4;
  for (auto run :
       {proto::Run{last + 1, 1}, proto::Run{1, last + 1}, proto::Run{UINT64_MAX, UINT64_MAX}}) {
    refusal(encode({1, 1}, CancelRuns{1, {run}}));
  }
  EXPECT_TRUE(decode(encode({1, 1}, CancelRuns{1, {proto::Run{last, last}}}), {}));
}

TEST(Codec, UnknownTypesNameTheirNumber) {
  for (int number : {0, 5, 15, 31, 47, 62, 79, 103, 112, 127}) {
    auto text = refusal(header({kV1, std::string(1, static_cast<char>(number)), kZero, kZero}));
    EXPECT_NE(text.find(std::to_string(number)), std::string::npos) << text;
  }
}

TEST(Codec, ThingsThatAreNoHeaderAreRefused) {
  for (std::string_view bytes : {"", "\x80", "\x90", "\x93\x01\x01\x01", "\xc0", "\xa5hello",
                                 "\xc1", "GET / HTTP/1.1\r\n\r\n"}) {
    refusal(bytes);
  }
  refusal(std::string(1000, '\0'));
  refusal(std::string(1000, '\xff'));
}

TEST(Codec, APayloadWhereNoneBelongsIsRefused) {
  for (const auto& example : all_examples()) {
    bool has = payload_of(example.message) != nullptr;
    auto decoded = decode(encode(example.envelope, example.message), Bytes::copy("x"));
    EXPECT_EQ(decoded.has_value(), has) << name(example.message);
  }
}

TEST(Codec, ThePayloadIsNotCopied) {
  auto bytes = Bytes::own(std::string(10'000, 'x'));
  auto decoded = decode(encode({1, 1}, Submit{1, 1, 1, 0, {}}), bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(payload_of(decoded->message)->data(), bytes.data());
}

// ---- bombs
// ----------------------------------------------------------------------------------------------

TEST(Codec, AnOversizedHeaderIsRefusedUnread) {
  auto text = refusal(std::string(kHeaderBytesMax + 1, '\x90'));
  EXPECT_NE(text.find(std::to_string(kHeaderBytesMax)), std::string::npos);
  // The largest that is allowed still decodes.
  std::string reason(kHeaderBytesMax - 11, 'r');
  auto large = encode({1, 1}, Bye{reason});
  ASSERT_LE(large.size(), kHeaderBytesMax);
  EXPECT_TRUE(decode(large, {}));
}

TEST(Codec, CountsThatPromiseMoreThanThereIsAreRefused) {
  for (std::string bomb :
       {"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff",
        "\xc6\xff\xff\xff\xff", "\xc9\xff\xff\xff\xff", "\xdc\xff\xff", "\xde\xff\xff"}) {
    refusal(bomb);
    refusal(header({kV1, type(MessageType::kWindow), kZero, kZero, bomb}));
    refusal(header({kV1, type(MessageType::kListing), kZero, kZero, kZero, bomb, "\xc2"}));
    EXPECT_FALSE(decode_value(bomb));
    EXPECT_FALSE(decode_submits(bomb));
  }
}

TEST(Codec, DepthIsBounded) {
  for (size_t depth : {size_t{16}, size_t{1000}, size_t{kHeaderBytesMax} - 10}) {
    refusal(std::string(depth, '\x91') + "\xc0");
    refusal(header({kV1, type(MessageType::kListing), kZero, kZero, kZero}) +
            std::string(depth, '\x91'));
    std::string maps;
    for (size_t i = 0; i < std::min<size_t>(depth, 50'000); i++) maps += "\x81\xa1k";
    EXPECT_FALSE(decode_value(maps + "\xc0"));
  }
  std::string deepest = std::string(kHeaderDepthMax, '\x91') + "\xc0";
  EXPECT_TRUE(decode_value(deepest)) << "the limit itself is allowed";
  EXPECT_FALSE(decode_value('\x91' + deepest));
}

TEST(Codec, AFloodOfSmallItemsIsRefusedOrDecoded) {
  // 256 KiB of nil where structs belong: refused at the first one.
  std::string nils(kHeaderBytesMax - 16, '\xc0');
  std::string count = {'\xdd', static_cast<char>(nils.size() >> 24),
                       static_cast<char>(nils.size() >> 16), static_cast<char>(nils.size() >> 8),
                       static_cast<char>(nils.size())};
  refusal(header({kV1, type(MessageType::kExecutorHello), kZero, kZero, count}) + nils);
  refusal(header({kV1, type(MessageType::kWindow), kZero, kZero, count + nils}));
  auto value = decode_value(count + nils);
  ASSERT_TRUE(value);
  EXPECT_EQ(value->list()->size(), nils.size());
}

TEST(Codec, ExtensionsAndMapKeysThatAreNoTextAreRefused) {
  EXPECT_FALSE(decode_value(std::string("\xd4\x01\x00", 3)));
  EXPECT_FALSE(decode_value("\x81\x01\x02"));
  EXPECT_FALSE(decode_value("\xcf\xff\xff\xff\xff\xff\xff\xff\xff")) << "above what a Value holds";
}

// ---- values
// ---------------------------------------------------------------------------------------------

TEST(CodecValue, EveryKindComesBack) {
  for (const Value& value :
       {Value(), Value(true), Value(false), Value(0), Value(-1), Value(INT64_MAX), Value(INT64_MIN),
        Value(2.5), Value(0x1p63), Value(0x1p64), Value(""), Value("text"),
        Value(std::string(70'000, 'x')), Value(List{}), Value(Map{}),
        Value(List{1, "two", List{3}, Map{{"k", Value()}}}), Value(Map{{"b", 1}, {"a", 2}})}) {
    auto decoded = decode_value(encode_value(value));
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(*decoded, value);
  }
}

// ---- what is stored
// -------------------------------------------------------------------------------------

namespace {

const OutputHead kHead = {
    "exec-1", 2, 1'700'000'000'000, {{7, Code::kTaskFailed, "no"}}, {{3, 1, 2}}};

std::string stored_output(const OutputHead& head, std::string_view contents, uint64_t count) {
  std::string out = encode_output_head(head, count).append(contents);
  return out + encode_output_tail(crc32c(out));
}

}  // namespace

TEST(StoredOutput, ComesBackAsAPartOfTheBytes) {
  auto contents = elements({"one", "", "three"});
  auto bytes = stored_output(kHead, contents.view(), 3);
  auto out = decode_output(bytes, 3);
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_EQ(out->head, kHead);
  EXPECT_EQ(out->elements, contents.view());
  EXPECT_GE(out->elements.data(), bytes.data());
  EXPECT_LE(out->elements.data() + out->elements.size(), bytes.data() + bytes.size());
}

TEST(StoredOutput, AnyFlippedBitIsFound) {
  auto bytes = stored_output(kHead, elements({"one", "", "three"}).view(), 3);
  for (size_t bit = 0; bit < bytes.size() * 8; bit++) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ 1 << bit % 8);
    EXPECT_FALSE(decode_output(changed, 3)) << bit;
  }
}

TEST(StoredOutput, CutAnywhereOrOfAnotherCountIsRefused) {
  auto bytes = stored_output(kHead, elements({"one", "", "three"}).view(), 3);
  for (size_t size = 0; size < bytes.size(); size++) {
    EXPECT_FALSE(decode_output(std::string(bytes.data(), size), 3)) << size;
  }
  for (uint64_t count : {uint64_t{0}, uint64_t{2}, uint64_t{4}, UINT64_MAX}) {
    EXPECT_FALSE(decode_output(bytes, count)) << count;
  }
}

TEST(StoredOutput, AGoodChecksumOverNonsenseIsStillRefused) {
  for (std::string body : {"\x97\xc0\xc0\xc0\xc0\xc0\x90", "\x97", "\x97\xdd\xff\xff\xff\xff\x90",
                           "\x96\xa1x\x01\x01\x90\x90\x90", "\x97\xa1x"}) {
    EXPECT_FALSE(decode_output(body + encode_output_tail(crc32c(body)), 0));
  }
}

TEST(StoredOutput, AnEmptyRunOfManyElementsIsFine) {
  std::string contents;
  for (int i = 0; i < 70'000; i++) append_element(contents, "");
  EXPECT_TRUE(decode_output(stored_output({}, contents, 70'000), 70'000));
}

TEST(StoredInput, IsTheElementsAfterTheArrayHeader) {
  auto contents = elements({"one", "two"});
  auto bytes = array_header(2) + std::string(contents.view());
  auto out = decode_input(bytes, 2);
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, contents.view());
  EXPECT_FALSE(decode_input(bytes, 1));
  EXPECT_FALSE(decode_input(bytes, 3));
  EXPECT_FALSE(decode_input(bytes + "x", 2));
  EXPECT_FALSE(decode_input(bytes.substr(0, bytes.size() - 1), 2));
  EXPECT_FALSE(decode_input("", 0));
  EXPECT_TRUE(decode_input("\x90", 0));
}

TEST(SubmitHistory, ComesBack) {
  SubmitHistory history{1'700'000'000'000, {{4, {1, 10}, Code::kOk}, {5, {}, Code::kWrongState}}};
  auto out = decode_submits(encode_submits(history));
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, history);
  EXPECT_FALSE(decode_submits(""));
  EXPECT_FALSE(decode_submits("\x90"));
  EXPECT_FALSE(decode_submits("\x92\x01\x91\x01"));
}

}  // namespace flame::proto::test

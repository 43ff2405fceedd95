// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/codec.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <msgpack.hpp>
#include <type_traits>

#include "proto/crc32c.hpp"
#include "proto/elements.hpp"
#include "proto/text.hpp"

namespace flame::proto {

namespace {

// ---- writing
// ------------------------------------------------------------------------------------------

struct Buffer {
  std::string text;
  void write(const char* bytes, size_t size) { text.append(bytes, size); }
};
using Packer = msgpack::packer<Buffer>;

template <class T>
concept HasFields = requires(T& t) {
  t.fields([](auto&...) {});
};

template <class T>
void put(Packer& packer, const T& value);

void put_text(Packer& packer, std::string_view text) {
  packer.pack_str(static_cast<uint32_t>(text.size()));
  packer.pack_str_body(text.data(), static_cast<uint32_t>(text.size()));
}

// msgpack-c packs a whole double as an integer, which beyond int64 is none of ours and would be
// refused when it comes back (found by fuzz_codec): that one goes as the double it is.
void put_double(Packer& packer, double value) {
  if (value < 0x1p63) {
    packer.pack_double(value);
    return;
  }
  auto bits = std::bit_cast<uint64_t>(value);
  std::array<char, 9> bytes{'\xcb'};
  for (size_t i = 1; i < bytes.size(); i++) {
    bytes[i] = static_cast<char>(bits >> 8 * (bytes.size() - 1 - i));
  }
  packer.pack_bin_body(bytes.data(), bytes.size());  // as they are
}

void put_value(Packer& packer, const Value& value) {
  std::visit(
      [&packer](const auto& data) {
        using D = std::decay_t<decltype(data)>;
        if constexpr (std::is_same_v<D, std::monostate>) {
          packer.pack_nil();
        } else if constexpr (std::is_same_v<D, std::string>) {
          put_text(packer, data);
        } else if constexpr (std::is_same_v<D, List>) {
          packer.pack_array(static_cast<uint32_t>(data.size()));
          for (const auto& item : data) put_value(packer, item);
        } else if constexpr (std::is_same_v<D, Map>) {
          packer.pack_map(static_cast<uint32_t>(data.size()));
          for (const auto& [name, item] : data) put_text(packer, name), put_value(packer, item);
        } else if constexpr (std::is_same_v<D, double>) {
          put_double(packer, data);
        } else {
          packer.pack(data);
        }
      },
      value.data);
}

// fields() is not const, because decoding writes through the same list.
template <class T>
void put_fields(Packer& packer, const T& value) {
  const_cast<T&>(value).fields([&packer](auto&... field) { (put(packer, field), ...); });
}
template <class T>
size_t field_count(const T& value) {
  return const_cast<T&>(value).fields([](auto&... field) { return sizeof...(field); });
}

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

template <class T>
void put(Packer& packer, const T& value) {
  if constexpr (std::is_same_v<T, Value>) {
    put_value(packer, value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    put_text(packer, value);
  } else if constexpr (std::is_same_v<T, Run>) {
    packer.pack_array(2);
    packer.pack_uint64(value.first);
    packer.pack_uint64(value.count);
  } else if constexpr (std::is_same_v<T, bool>) {
    value ? packer.pack_true() : packer.pack_false();
  } else if constexpr (std::is_enum_v<T>) {
    packer.pack_uint64(static_cast<uint64_t>(value));
  } else if constexpr (std::is_unsigned_v<T>) {
    packer.pack_uint64(value);
  } else if constexpr (IsVector<T>::value) {
    packer.pack_array(static_cast<uint32_t>(value.size()));
    for (const auto& item : value) put(packer, item);
  } else {
    static_assert(HasFields<T>);
    packer.pack_array(static_cast<uint32_t>(field_count(value)));
    put_fields(packer, value);
  }
}

// ---- reading
// ------------------------------------------------------------------------------------------

using Object = msgpack::object;

// Every item takes a byte at least, so what is there bounds every count: five bytes cannot reserve
// megabytes.
msgpack::unpack_limit limit_for(size_t size) {
  size_t most = std::min<size_t>(size, kHeaderBytesMax);
  return msgpack::unpack_limit(most, most, most, most, 0, kHeaderDepthMax);
}
// A reference instead of a copy: the header outlives its object tree.
bool by_reference(msgpack::type::object_type, size_t, void*) { return true; }

template <class T>
bool get(const Object& object, T& out);

bool get_text(const Object& object, std::string& out) {
  if (object.type == msgpack::type::STR) {
    out.assign(object.via.str.ptr, object.via.str.size);
    return true;
  }
  if (object.type == msgpack::type::BIN) {
    out.assign(object.via.bin.ptr, object.via.bin.size);
    return true;
  }
  return false;
}

bool get_value(const Object& object, Value& out) {
  switch (object.type) {
    case msgpack::type::NIL:
      out = Value();
      return true;
    case msgpack::type::BOOLEAN:
      out = Value(object.via.boolean);
      return true;
    case msgpack::type::POSITIVE_INTEGER:
      out = Value(static_cast<int64_t>(object.via.u64));
      return object.via.u64 <= INT64_MAX;
    case msgpack::type::NEGATIVE_INTEGER:
      out = Value(object.via.i64);
      return true;
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64:
      out = Value(object.via.f64);
      return true;
    case msgpack::type::ARRAY: {
      List list(object.via.array.size);
      for (size_t i = 0; i < list.size(); i++) {
        if (!get_value(object.via.array.ptr[i], list[i])) return false;
      }
      out = Value(std::move(list));
      return true;
    }
    case msgpack::type::MAP: {
      Map map(object.via.map.size);
      for (size_t i = 0; i < map.size(); i++) {
        if (!get_text(object.via.map.ptr[i].key, map[i].first)) return false;
        if (!get_value(object.via.map.ptr[i].val, map[i].second)) return false;
      }
      out = Value(std::move(map));
      return true;
    }
    default: {
      std::string text;
      if (!get_text(object, text)) return false;
      out = Value(std::move(text));
      return true;
    }
  }
}

// Those that every peer sends: all, unless some were added later.
template <class T>
constexpr size_t fields_needed(size_t all) {
  if constexpr (requires { T::kFieldsMin; }) {
    return T::kFieldsMin;
  } else {
    return all;
  }
}

// More fields than known are a newer minor's and ignored. What an older one does not have keeps its
// default; fewer than that are an error.
template <class T>
bool get_fields(const Object* objects, size_t count, T& out) {
  return out.fields([objects, count](auto&... field) {
    if (count < fields_needed<T>(sizeof...(field))) return false;
    size_t at = 0;
    return ((at == count || get(objects[at++], field)) && ...);
  });
}

bool get_number(const Object& object, uint64_t limit, uint64_t& out) {
  if (object.type != msgpack::type::POSITIVE_INTEGER || object.via.u64 > limit) return false;
  out = object.via.u64;
  return true;
}

template <class T>
bool get_enum(const Object& object, T& out) {
  uint64_t number = 0;
  if (!get_number(object, UINT16_MAX, number)) return false;
  if constexpr (std::is_same_v<T, Code>) {
    out = code_from(number);
  } else if constexpr (std::is_same_v<T, Durability>) {
    if (number > static_cast<uint64_t>(Durability::kReplicated)) return false;
    out = static_cast<T>(number);
  } else if constexpr (std::is_same_v<T, Hold>) {
    if (number > static_cast<uint64_t>(Hold::kResting)) return false;
    out = static_cast<T>(number);
  } else {
    static_assert(std::is_same_v<T, SessionState>);
    if (number >= kSessionStates.size()) return false;
    out = static_cast<T>(number);
  }
  return true;
}

bool get_run(const Object& object, Run& out) {
  if (object.type != msgpack::type::ARRAY || object.via.array.size != 2) return false;
  constexpr uint64_t kMax = UINT64_MAX / 4;  // so that first + count cannot wrap
  return get_number(object.via.array.ptr[0], kMax, out.first) &&
         get_number(object.via.array.ptr[1], kMax, out.count);
}

template <class T>
bool get(const Object& object, T& out) {
  if constexpr (std::is_same_v<T, Value>) {
    return get_value(object, out);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return get_text(object, out);
  } else if constexpr (std::is_same_v<T, Run>) {
    return get_run(object, out);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (object.type != msgpack::type::BOOLEAN) return false;
    out = object.via.boolean;
    return true;
  } else if constexpr (std::is_enum_v<T>) {
    return get_enum(object, out);
  } else if constexpr (std::is_unsigned_v<T>) {
    uint64_t number = 0;
    if (!get_number(object, std::numeric_limits<T>::max(), number)) return false;
    out = static_cast<T>(number);
    return true;
  } else if constexpr (IsVector<T>::value) {
    if (object.type != msgpack::type::ARRAY) return false;
    out.clear();  // grows with what decodes: the first wrong item ends it before the rest costs
                  // memory
    for (size_t i = 0; i < object.via.array.size; i++) {
      if (!get(object.via.array.ptr[i], out.emplace_back())) return false;
    }
    return true;
  } else {
    static_assert(HasFields<T>);
    return object.type == msgpack::type::ARRAY &&
           get_fields(object.via.array.ptr, object.via.array.size, out);
  }
}

// The one place that meets msgpack's exceptions. `size` bytes must be exactly one object.
template <class Use>
Status with_object(std::string_view bytes, Use use) {
  try {
    msgpack::zone zone;
    size_t at = 0;
    bool referenced = false;
    Object object = msgpack::unpack(zone, bytes.data(), bytes.size(), at, referenced, by_reference,
                                    nullptr, limit_for(bytes.size()));
    if (at != bytes.size()) return Error{Code::kBadFrame, "bytes after the end of the header"};
    return use(object);
  } catch (const msgpack::unpack_error& error) {
    return Error{Code::kBadFrame, std::string("not msgpack within the limits: ") + error.what()};
  }
}

template <class M>
concept HasPayload = requires(M& m) {
  m.payload;
};

constexpr size_t kEnvelopeFields = 4;

template <class M>
bool read_as(MessageType type, const Object* fields, size_t count, Message& out) {
  if (M::kType != type) return false;
  M& message = out.emplace<M>();
  if (get_fields(fields, count, message)) return true;
  out.emplace<Resync>();  // overwritten by the caller's error
  throw msgpack::type_error();
}

// Tries each alternative of Message: the type number decides, at most one matches.
template <size_t... I>
bool read_message(std::index_sequence<I...>, MessageType type, const Object* fields, size_t count,
                  Message& out) {
  return (read_as<std::variant_alternative_t<I, Message>>(type, fields, count, out) || ...);
}

Status read_header(const Object& object, Decoded& out) {
  if (object.type != msgpack::type::ARRAY || object.via.array.size < kEnvelopeFields) {
    return Error{Code::kBadFrame, "the header is not an array of at least four fields"};
  }
  const Object* fields = object.via.array.ptr;
  uint64_t major = 0, type = 0, link = 0;
  if (!get_number(fields[0], UINT32_MAX, major)) {
    return Error{Code::kBadFrame, "the header does not begin with a protocol version"};
  }
  if (major != kProtocolMajor) {
    return Error{Code::kVersion, "protocol " + std::to_string(major) +
                                     " is not spoken here, only " + std::to_string(kProtocolMajor) +
                                     "; use a client and broker of the same major version"};
  }
  if (!get_number(fields[1], 127, type) || !get_number(fields[2], UINT32_MAX, link) ||
      !get_number(fields[3], UINT64_MAX, out.envelope.sequence)) {
    return Error{Code::kBadFrame, "the header's type, link or sequence is not a number in range"};
  }
  out.envelope.link = static_cast<uint32_t>(link);
  try {
    constexpr auto kAll = std::make_index_sequence<std::variant_size_v<Message>>();
    if (read_message(kAll, static_cast<MessageType>(type), fields + kEnvelopeFields,
                     object.via.array.size - kEnvelopeFields, out.message)) {
      return {};
    }
  } catch (const msgpack::type_error&) {
    return Error{Code::kBadFrame, "a field of message " +
                                      std::string(name_of(static_cast<MessageType>(type))) +
                                      " is missing or of the wrong kind"};
  }
  return Error{Code::kBadFrame, "unknown message type " + std::to_string(type)};
}

template <class T>
std::string pack_fields(const T& value) {
  Buffer buffer;
  Packer packer(buffer);
  put(packer, value);
  return std::move(buffer.text);
}

}  // namespace

std::string encode(const Envelope& envelope, const Message& message) {
  Buffer buffer;
  buffer.text.reserve(96);
  Packer packer(buffer);
  std::visit(
      [&](const auto& m) {
        packer.pack_array(static_cast<uint32_t>(kEnvelopeFields + field_count(m)));
        packer.pack_uint8(kProtocolMajor);
        packer.pack_uint8(static_cast<uint8_t>(m.kType));
        packer.pack_uint32(envelope.link);
        packer.pack_uint64(envelope.sequence);
        put_fields(packer, m);
      },
      message);
  return std::move(buffer.text);
}

const Bytes* payload_of(const Message& message) {
  return std::visit(
      [](const auto& m) -> const Bytes* {
        if constexpr (HasPayload<decltype(m)>) {
          return &m.payload;
        } else {
          return nullptr;
        }
      },
      message);
}

Result<Decoded> decode(std::string_view header, const Bytes& payload) {
  if (header.size() > kHeaderBytesMax) {
    return Error{Code::kBadFrame, "the header has " + std::to_string(header.size()) +
                                      " bytes; at most " + std::to_string(kHeaderBytesMax)};
  }
  Decoded decoded;
  auto status = with_object(
      header, [&decoded](const Object& object) { return read_header(object, decoded); });
  if (!status) return status.error();
  bool fits = std::visit(
      [&payload](auto& m) {
        if constexpr (HasPayload<decltype(m)>) {
          m.payload = payload;
          return true;
        } else {
          return payload.empty();
        }
      },
      decoded.message);
  if (!fits) return Error{Code::kBadFrame, "a payload frame where the message has none"};
  return decoded;
}

std::string encode_value(const Value& value) { return pack_fields(value); }

Result<Value> decode_value(std::string_view bytes) {
  Value value;
  auto status = with_object(bytes, [&value](const Object& object) -> Status {
    if (get_value(object, value)) return {};
    return Error{Code::kBadFrame, "not a value"};
  });
  if (!status) return status.error();
  return value;
}

std::string encode_output_head(const OutputHead& head, uint64_t count) {
  Buffer buffer;
  Packer packer(buffer);
  packer.pack_array(static_cast<uint32_t>(field_count(head) + 2));
  put_fields(packer, head);
  packer.pack_array(static_cast<uint32_t>(count));
  return std::move(buffer.text);
}

std::string encode_output_tail(uint32_t crc) {
  auto byte = [](uint32_t value) { return static_cast<char>(value & 255); };
  return {'\xce', byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)};
}

namespace {

// Reads the fields of the head one by one, because what follows them is not to be parsed as a tree.
Status read_output_head(std::string_view bytes, StoredOutput& out, size_t& at) {
  try {
    msgpack::zone zone;
    bool referenced = false;
    auto next = [&] {
      return msgpack::unpack(zone, bytes.data(), bytes.size(), at, referenced, by_reference,
                             nullptr, limit_for(bytes.size()));
    };
    bool good = out.head.fields([&](auto&... field) { return (get(next(), field) && ...); });
    if (good) return {};
  } catch (const msgpack::unpack_error&) {
  }
  return Error{Code::kBadFrame, "a stored output does not decode"};
}

}  // namespace

Result<StoredOutput> decode_output(std::string_view bytes, uint64_t count) {
  constexpr size_t kTail = 5;
  StoredOutput out;
  if (bytes.size() < kTail + 2 || static_cast<unsigned char>(bytes[0]) != 0x97) {
    return Error{Code::kBadFrame, "a stored output is cut"};
  }
  auto body = bytes.substr(0, bytes.size() - kTail);
  if (encode_output_tail(crc32c(body)) != bytes.substr(body.size())) {
    return Error{Code::kBadFrame, "a stored output fails its checksum"};
  }
  size_t at = 1;
  if (auto status = read_output_head(body, out, at); !status) return status.error();
  auto elements = decode_input(body.substr(at), count);
  if (!elements) return elements.error();
  out.elements = *elements;
  return out;
}

Result<std::string_view> decode_input(std::string_view bytes, uint64_t count) {
  auto header = array_header(count);
  if (bytes.substr(0, header.size()) != header ||
      !is_elements(bytes.substr(header.size()), count)) {
    return Error{Code::kBadFrame, "a stored run does not have the elements its name says"};
  }
  return bytes.substr(header.size());
}

std::string encode_submits(const SubmitHistory& history) { return pack_fields(history); }

Result<SubmitHistory> decode_submits(std::string_view bytes) {
  SubmitHistory history;
  auto status = with_object(bytes, [&history](const Object& object) -> Status {
    if (get(object, history)) return {};
    return Error{Code::kBadFrame, "not a submit history"};
  });
  if (!status) return status.error();
  return history;
}

namespace {
struct TypeName {
  MessageType type;
  std::string_view name;
};
constexpr std::array kTypeNames = {
    TypeName{MessageType::kError, "error"},
    TypeName{MessageType::kBeat, "beat"},
    TypeName{MessageType::kResync, "resync"},
    TypeName{MessageType::kBye, "bye"},
    TypeName{MessageType::kClientHello, "client_hello"},
    TypeName{MessageType::kCreateSession, "create_session"},
    TypeName{MessageType::kOpenSession, "open_session"},
    TypeName{MessageType::kSubmit, "submit"},
    TypeName{MessageType::kWatch, "watch"},
    TypeName{MessageType::kResultsAck, "results_ack"},
    TypeName{MessageType::kCloseSession, "close_session"},
    TypeName{MessageType::kDeleteSession, "delete_session"},
    TypeName{MessageType::kWaitSession, "wait_session"},
    TypeName{MessageType::kList, "list"},
    TypeName{MessageType::kView, "view"},
    TypeName{MessageType::kRegisterApplication, "register_application"},
    TypeName{MessageType::kUnregisterApplication, "unregister_application"},
    TypeName{MessageType::kRecover, "recover"},
    TypeName{MessageType::kCancelTasks, "cancel_tasks"},
    TypeName{MessageType::kGetTasks, "get_tasks"},
    TypeName{MessageType::kUpdateApplication, "update_application"},
    TypeName{MessageType::kUpdateCommon, "update_common"},
    TypeName{MessageType::kWatchTask, "watch_task"},
    TypeName{MessageType::kGetCommon, "get_common"},
    TypeName{MessageType::kGetLogs, "get_logs"},
    TypeName{MessageType::kHoldExecutor, "hold_executor"},
    TypeName{MessageType::kPickVictims, "pick_victims"},
    TypeName{MessageType::kWelcome, "welcome"},
    TypeName{MessageType::kOk, "ok"},
    TypeName{MessageType::kSessionInfo, "session_info"},
    TypeName{MessageType::kSubmitAck, "submit_ack"},
    TypeName{MessageType::kWatching, "watching"},
    TypeName{MessageType::kResults, "results"},
    TypeName{MessageType::kListing, "listing"},
    TypeName{MessageType::kSessionChanged, "session_changed"},
    TypeName{MessageType::kProgress, "progress"},
    TypeName{MessageType::kCancelled, "cancelled"},
    TypeName{MessageType::kTasks, "tasks"},
    TypeName{MessageType::kCommonData, "common_data"},
    TypeName{MessageType::kLogs, "logs"},
    TypeName{MessageType::kExecutorHello, "executor_hello"},
    TypeName{MessageType::kWindow, "window"},
    TypeName{MessageType::kTaskResults, "task_results"},
    TypeName{MessageType::kReturned, "returned"},
    TypeName{MessageType::kBound, "bound"},
    TypeName{MessageType::kDraining, "draining"},
    TypeName{MessageType::kTaskProgress, "task_progress"},
    TypeName{MessageType::kOutput, "output"},
    TypeName{MessageType::kExecutorWelcome, "executor_welcome"},
    TypeName{MessageType::kSessionContext, "session_context"},
    TypeName{MessageType::kBind, "bind"},
    TypeName{MessageType::kDispatch, "dispatch"},
    TypeName{MessageType::kRecorded, "recorded"},
    TypeName{MessageType::kTakeBack, "take_back"},
    TypeName{MessageType::kCancelRuns, "cancel_runs"},
    TypeName{MessageType::kDrain, "drain"},
    TypeName{MessageType::kReadOutput, "read_output"},
};
static_assert(kTypeNames.size() == std::variant_size_v<Message>);
}  // namespace

std::string_view name_of(MessageType type) {
  for (const auto& row : kTypeNames) {
    if (row.type == type) return row.name;
  }
  return "unknown";
}

}  // namespace flame::proto

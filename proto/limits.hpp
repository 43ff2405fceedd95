// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Every bound and interval: value, unit, what happens at it, why this number. docs/protocol.md and
// `flmctl limits` print the table below; a test compares the page.

#include <array>
#include <cstdint>
#include <string_view>

namespace flame::proto {

inline constexpr uint64_t KiB = 1024;
inline constexpr uint64_t MiB = 1024 * KiB;

inline constexpr uint64_t kNameBytesMax = 128;
inline constexpr uint64_t kHeaderBytesMax = 256 * KiB;
inline constexpr uint64_t kHeaderDepthMax = 8;
inline constexpr uint64_t kPayloadBytesMax = 64 * MiB;
inline constexpr uint64_t kMessageBytesMax = 80 * MiB;
inline constexpr uint64_t kCommonBytesMax = 64 * MiB;
inline constexpr uint64_t kRunTasksMax = 1024;
inline constexpr uint64_t kRunBytesMax = 256 * KiB;
inline constexpr uint64_t kSegmentTasks = 1 << 20;
inline constexpr uint64_t kBatchTasksMax = 8192;
inline constexpr uint64_t kBatchBytesMax = 4 * MiB;
inline constexpr uint64_t kSubmitsUnackedMax = 64;
inline constexpr uint64_t kRequestsWaitingMax = 1024;
inline constexpr uint64_t kReasonBytesMax = 4 * KiB;
inline constexpr uint64_t kInputMemoryBytesMax = 128 * MiB;
inline constexpr uint64_t kUnackedResultBytesMax = 64 * MiB;
inline constexpr uint64_t kWindowTasksMax = 8192;
inline constexpr uint64_t kWindowBytesMax = 8 * MiB;
inline constexpr uint64_t kDeliverBytesMax = 16 * MiB;
inline constexpr uint64_t kRecentResultBytesMax = 64 * MiB;
inline constexpr uint64_t kListRowsMax = 10'000;
inline constexpr uint64_t kTaskRowsMax = 1000;
inline constexpr uint64_t kInstancesMax = 1'000'000;
inline constexpr uint64_t kResourcesBytesMax = 1 * KiB;
inline constexpr uint64_t kReadersMax = 1000;
inline constexpr uint64_t kUnreadAnswerBytesMax = 64 * MiB;
inline constexpr uint64_t kTaskWatchesMax = 100'000;
inline constexpr uint64_t kTaskWatchesEachMax = 8;
inline constexpr uint64_t kEventsKept = 256;
inline constexpr uint64_t kBeatMs = 1000;
inline constexpr uint64_t kLeaseMs = 3000;
inline constexpr uint64_t kIdleBeatsMax = 750;
inline constexpr uint64_t kReadoptMs = 10'000;
inline constexpr uint64_t kClientLeaseMs = 30'000;
inline constexpr uint64_t kClientTtlMs = 24ull * 3600 * 1000;
inline constexpr uint64_t kReaderTtlMs = 3600ull * 1000;
inline constexpr uint64_t kResultsTtlMs = 3600ull * 1000;
inline constexpr uint64_t kSummaryTtlMs = 7ull * 24 * 3600 * 1000;
inline constexpr uint64_t kExecutorTtlMs = 24ull * 3600 * 1000;
inline constexpr uint64_t kTakeoverGraceMs = 10'000;
inline constexpr uint64_t kRingBytes = 256 * MiB;
inline constexpr uint64_t kMaxAttempts = 4;
inline constexpr uint64_t kStartTimeoutMs = 30'000;
inline constexpr uint64_t kStopGraceMs = 5'000;
inline constexpr uint64_t kCancelGraceMs = 5'000;
inline constexpr uint64_t kCancelRunsMax = 1024;
inline constexpr uint64_t kDelayReleaseMs = 60'000;
inline constexpr uint64_t kQuantumUs = 20'000;
inline constexpr uint64_t kFrameTargetUs = 2'000;
inline constexpr uint64_t kAheadTargetUs = 5'000;
inline constexpr uint64_t kNextTaskUs = 20'000;
inline constexpr uint64_t kStderrTailBytes = 2 * KiB;
inline constexpr uint64_t kInstanceLogBytes = 64 * KiB;
inline constexpr uint64_t kEndedLogsMax = 64;
inline constexpr uint64_t kLogWaitMs = 2'000;
inline constexpr uint64_t kProgressTextBytesMax = 1 * KiB;
inline constexpr uint64_t kProgressMs = 100;
inline constexpr uint64_t kBusyMemoryPercent = 85;
inline constexpr uint64_t kSlotsMax = 4096;
inline constexpr uint64_t kProviderBytesMax = 512;
inline constexpr uint64_t kClusterSlotsMax = 262'144;
inline constexpr uint64_t kConcurrencyMax = 256;
inline constexpr uint64_t kDemandIntervalMs = 200;
inline constexpr uint64_t kLogBytesMax = 16 * MiB;
inline constexpr uint64_t kDecisionsKept = 1000;
inline constexpr uint64_t kDecisionsShown = 50;

struct LimitRow {
  std::string_view name;
  uint64_t value;
  std::string_view unit;
  std::string_view at_it;  ///< what happens at it
  std::string_view why;
};

inline constexpr std::array kLimits = {
    LimitRow{"name_bytes_max", kNameBytesMax, "bytes", "bad_name",
             "stands in Redis keys, file names and labels"},
    LimitRow{"header_bytes_max", kHeaderBytesMax, "bytes", "bad_frame, counted",
             "a run of 1,024 failed tasks with short reasons fits"},
    LimitRow{"header_depth_max", kHeaderDepthMax, "levels", "bad_frame, counted",
             "the deepest message has 5; a bomb has thousands"},
    LimitRow{"payload_bytes_max", kPayloadBytesMax, "bytes",
             "too_large in the client; a larger output fails its task",
             "one input or output; larger data belongs in a store of its own"},
    LimitRow{"message_bytes_max", kMessageBytesMax, "bytes", "ZeroMQ closes the connection",
             "payload limit plus header with margin"},
    LimitRow{"common_bytes_max", kCommonBytesMax, "bytes", "too_large",
             "held once per executor that serves the session"},
    LimitRow{"run_tasks_max", kRunTasksMax, "tasks", "a run is cut",
             "beyond 1,000 the measured ceiling no longer rises"},
    LimitRow{"run_bytes_max", kRunBytesMax, "bytes", "a run is cut; one larger task travels alone",
             "keeps a Redis reply and a memory copy below a millisecond"},
    LimitRow{"segment_tasks", kSegmentTasks, "tasks", "the next segment's keys begin",
             "no key grows without bound; a full one is dropped whole"},
    LimitRow{"batch_tasks_max", kBatchTasksMax, "tasks", "the rest waits for the next batch",
             "a batch stays below 10 ms of Redis"},
    LimitRow{"batch_bytes_max", kBatchBytesMax, "bytes", "the rest waits for the next batch",
             "a batch stays below 10 ms of Redis"},
    LimitRow{"submits_unacked_max", kSubmitsUnackedMax, "submits", "submit blocks in the client",
             "what the broker remembers per client to answer a resend"},
    LimitRow{"requests_waiting_max", kRequestsWaitingMax, "requests",
             "further ones of that client are answered busy",
             "who asks again and again while a disk or replica stands still costs little"},
    LimitRow{"reason_bytes_max", kReasonBytesMax, "bytes", "the reason is cut",
             "error text with the tail of stderr"},
    LimitRow{"input_memory_bytes_max", kInputMemoryBytesMax, "bytes",
             "inputs are read back from Redis ahead of need",
             "10 million queued tasks leave the broker small"},
    LimitRow{"unacked_result_bytes_max", kUnackedResultBytesMax, "bytes",
             "the executor starts nothing new", "bounds an executor while the store is away"},
    LimitRow{"window_tasks_max", kWindowTasksMax, "tasks", "an executor asks for no more",
             "5 ms of the fastest tasks measured"},
    LimitRow{"window_bytes_max", kWindowBytesMax, "bytes", "an executor asks for no more",
             "bounds what one slot group holds"},
    LimitRow{"deliver_bytes_max", kDeliverBytesMax, "bytes",
             "results wait in Redis until the client acknowledges",
             "bounds what a slow reader costs the broker"},
    LimitRow{"recent_result_bytes_max", kRecentResultBytesMax, "bytes",
             "who lacks older results gets them from Redis",
             "spares readers that are a moment behind the way there and back"},
    LimitRow{"list_rows_max", kListRowsMax, "rows", "the listing says it was cut",
             "one reply stays below a few MiB"},
    LimitRow{"task_rows_max", kTaskRowsMax, "tasks", "the answer says where to go on",
             "one question reads a few MiB of Redis at most"},
    LimitRow{"instances_max", kInstancesMax, "instances", "bad_request",
             "min_instances and max_instances of a session; above every cluster there is"},
    LimitRow{"resources_bytes_max", kResourcesBytesMax, "bytes", "bad_request",
             "shown in every listing"},
    LimitRow{"readers_max", kReadersMax, "readers", "a further name is refused as bad_request",
             "each is remembered in Redis for reader_ttl_ms"},
    LimitRow{"unread_answer_bytes_max", kUnreadAnswerBytesMax, "bytes",
             "further questions of that client are answered busy",
             "who asks and never reads must not fill the broker"},
    LimitRow{"task_watches_max", kTaskWatchesMax, "tasks", "a further watch_task is answered busy",
             "some 20 MiB of the broker"},
    LimitRow{"task_watches_each_max", kTaskWatchesEachMax, "requests",
             "of one client and task the oldest is answered busy",
             "the client may have given it up, which the broker is not told"},
    LimitRow{"events_kept", kEventsKept, "events", "older ones are trimmed", "a session's history"},
    LimitRow{"beat_ms", kBeatMs, "ms", "a beat is sent", "three fit in a lease"},
    LimitRow{"idle_beats_max", kIdleBeatsMax, "beats/s",
             "executors without a binding beat less often, their lease is 3 beats",
             "10,000 idle executors cost a broker a few percent of a core"},
    LimitRow{"lease_ms", kLeaseMs, "ms", "the executor counts as lost, its tasks are retried",
             "a killed executor costs at most this"},
    LimitRow{"readopt_ms", kReadoptMs, "ms",
             "after a broker restart unclaimed running tasks are queued again, uncharged",
             "an executor needs a reconnect (at most 5 s) to claim them"},
    LimitRow{"client_lease_ms", kClientLeaseMs, "ms",
             "the broker forgets a silent client's subscriptions",
             "long above a paused laptop lid"},
    LimitRow{"client_ttl_ms", kClientTtlMs, "ms", "a client's submit numbers are forgotten",
             "a resend a day later is refused, not doubled"},
    LimitRow{"reader_ttl_ms", kReaderTtlMs, "ms", "a silent reader no longer holds results",
             "retention `read` must not wait for a reader that never returns"},
    LimitRow{"results_ttl_ms", kResultsTtlMs, "ms", "a closed session's results are dropped",
             "nothing grows for ever"},
    LimitRow{"summary_ttl_ms", kSummaryTtlMs, "ms", "a closed session is deleted",
             "nothing grows for ever"},
    LimitRow{"executor_ttl_ms", kExecutorTtlMs, "ms", "an executor that left is no longer listed",
             "long enough to ask what happened yesterday"},
    LimitRow{"takeover_grace_ms", kTakeoverGraceMs, "ms",
             "only then a stand-by takes over from a Redis that just started",
             "the owner has the ring and comes first"},
    LimitRow{"ring_bytes", kRingBytes, "bytes", "submits are answered busy",
             "a second and more of the fastest stream measured"},
    LimitRow{"max_attempts", kMaxAttempts, "attempts", "the task fails",
             "a task that kills whoever runs it is parked"},
    LimitRow{"start_timeout_ms", kStartTimeoutMs, "ms", "the service is killed and started again",
             "start and session enter; a slow import fits"},
    LimitRow{"stop_grace_ms", kStopGraceMs, "ms", "SIGKILL follows SIGTERM",
             "time to flush, short enough to wait for"},
    LimitRow{"cancel_grace_ms", kCancelGraceMs, "ms",
             "a service that goes on with a cancelled task is killed",
             "time to clean up; a slot must not stay lost"},
    LimitRow{"cancel_runs_max", kCancelRunsMax, "runs", "bad_request: cut it",
             "a request stays below a millisecond of the broker"},
    LimitRow{"delay_release_ms", kDelayReleaseMs, "ms", "an instance without tasks is unbound",
             "the next burst finds a warm service"},
    LimitRow{"quantum_us", kQuantumUs, "us", "a bound session yields where others wait",
             "above the cost of a re-bind, below what a person notices"},
    LimitRow{"frame_target_us", kFrameTargetUs, "us", "a frame to the service ends",
             "bounds what a slot finishes before it can yield"},
    LimitRow{"ahead_target_us", kAheadTargetUs, "us", "an executor asks for no more",
             "hides a batch of the store without hoarding"},
    LimitRow{"next_task_us", kNextTaskUs, "us",
             "no task waits in the service behind one whose kind takes longer",
             "a service need not wait for the executor; a tenth of what a person notices"},
    LimitRow{"stderr_tail_bytes", kStderrTailBytes, "bytes", "older output is dropped",
             "what a failed task shows of its stderr"},
    LimitRow{"instance_log_bytes", kInstanceLogBytes, "bytes", "older output is dropped",
             "what flmctl logs shows of an instance"},
    LimitRow{"ended_logs_max", kEndedLogsMax, "instances",
             "the output of instances that ended earlier is dropped",
             "4 MiB of an executor; the last crashes can be read"},
    LimitRow{"log_wait_ms", kLogWaitMs, "ms", "logs are answered without the executors that lack",
             "one that hangs must not keep the others' lines"},
    LimitRow{"progress_text_bytes_max", kProgressTextBytesMax, "bytes", "the text is cut",
             "a line for a person"},
    LimitRow{"progress_ms", kProgressMs, "ms", "a task's next progress waits, only the last leaves",
             "ten times a second is smooth for a person"},
    LimitRow{"busy_memory_percent", kBusyMemoryPercent, "%",
             "submits are answered busy, results still fit", "of Redis' maxmemory"},
    LimitRow{"slots_max", kSlotsMax, "slots", "the executor is refused", "one process, one loop"},
    LimitRow{"provider_bytes_max", kProviderBytesMax, "bytes", "the text is cut",
             "namespace, name and uid of a pod fit"},
    LimitRow{"cluster_slots_max", kClusterSlotsMax, "slots", "a further executor is answered busy",
             "every plan looks at every slot"},
    LimitRow{"concurrency_max", kConcurrencyMax, "tasks", "the application is refused",
             "calls that one grpc service has at a time; above, another instance serves better"},
    LimitRow{"demand_interval_ms", kDemandIntervalMs, "ms", "flame:demand is written again",
             "at most five times a second"},
    LimitRow{"log_bytes_max", kLogBytesMax, "bytes", "a local cluster's log becomes NAME.log.1",
             "days of an orderly process, minutes of one that complains without end"},
    LimitRow{"decisions_kept", kDecisionsKept, "decisions", "older ones are trimmed",
             "what the autoscaler did lately; a changed reason is one"},
    LimitRow{"decisions_shown", kDecisionsShown, "decisions", "flmctl scale explain shows no older",
             "of one application; redis-cli shows all"},
};

static_assert(kBeatMs * 3 <= kLeaseMs);
static_assert(kMessageBytesMax >= kPayloadBytesMax + kHeaderBytesMax + 1 * MiB);
static_assert(kRunTasksMax <= kBatchTasksMax && kRunBytesMax <= kBatchBytesMax);
static_assert(kSegmentTasks % kRunTasksMax == 0);
static_assert(kFrameTargetUs < kQuantumUs);

}  // namespace flame::proto

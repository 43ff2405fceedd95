// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Clients: hello, sessions, numbered submits, questions.

#include "broker/core/state.hpp"

namespace flame::broker {

/// Any message on the clients' socket, in order of arrival.
void on_client_message(State& state, const Peer& peer, const proto::Envelope& envelope,
                       proto::Message message, const proto::Now& now);
void on_client_gone(State& state, const Peer& peer);
/// Requests that were taken wait for the store: says why, and a beat with status 1 that it is over.
void tell_trouble(State& state);
void tick_clients(State& state, const proto::Now& now, bool drained);

/// May this client ask for a change now: there is room for one more that waits, and the store
/// writes.
proto::Status may_ask(const State& state, const Client& client);
/// The same for what takes room in Redis: from busy_memory_percent on only results get any.
proto::Status may_add(const State& state, const Client& client);
/// The same for what gives memory back: the way out of a full store. Who does it says make_room().
proto::Status may_free(const State& state, const Client& client);

/// Listings and views (listing.cpp).
void on_list(State& state, Client& client, const proto::ListKind& message);
void on_view(State& state, Client& client, const proto::View& message);
void on_events_read(State& state, EventsRead read);
void on_scale_read(State& state, ScaleRead read);
/// While the broker waits for `recover`: what is not there is not gone, somebody has to decide.
proto::Error lost_lineage(const State& state);
/// A session by name, by `last`, or by a unique prefix.
proto::Result<Session*> find_session(State& state, const std::string& name);
/// By its id, or by what only one begins with.
proto::Result<std::string> find_executor(const State& state, const std::string& name);

}  // namespace flame::broker

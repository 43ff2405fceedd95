// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The client side as a whole. Services include flame/service.hpp.

#include "flame/client.hpp"
#include "flame/error.hpp"
#include "flame/future.hpp"
#include "flame/session.hpp"

# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What is said: messages, codec, limits and error codes. Pure values; the source is proto/ in C++,
and the golden vectors in proto/vectors pin both."""

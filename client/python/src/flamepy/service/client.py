# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A name of flamepy 0.6."""

from flamepy.service import Session

__all__ = ["Session"]

# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
__version__ = "0.1.0"

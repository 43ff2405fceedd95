# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The sandboxes of the original Flame: names that come later."""

from flamepy._later import later_class

__all__ = ["Sandbox", "SandboxAttr", "SandboxOutput"]

Sandbox = later_class(__name__, "Sandbox")
SandboxAttr = later_class(__name__, "SandboxAttr")
SandboxOutput = later_class(__name__, "SandboxOutput")

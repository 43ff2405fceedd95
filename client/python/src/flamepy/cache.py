# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The object cache of the original Flame: names that come later."""

from flamepy.core.cache import (
    ObjectRef,
    delete_objects,
    get_object,
    patch_object,
    put_object,
    update_object,
)

__all__ = [
    "ObjectRef",
    "delete_objects",
    "get_object",
    "patch_object",
    "put_object",
    "update_object",
]

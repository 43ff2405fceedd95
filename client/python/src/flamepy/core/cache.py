# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The object cache of the original Flame: names that come later."""

from flamepy._later import later_class, later_function

__all__ = [
    "ObjectKey",
    "ObjectRef",
    "WILDCARD_SESSION",
    "delete_objects",
    "download_object",
    "get_object",
    "patch_object",
    "put_object",
    "update_object",
    "upload_object",
]

WILDCARD_SESSION = "*"

ObjectKey = later_class(__name__, "ObjectKey")
ObjectRef = later_class(__name__, "ObjectRef")

delete_objects = later_function(__name__, "delete_objects")
download_object = later_function(__name__, "download_object")
get_object = later_function(__name__, "get_object")
patch_object = later_function(__name__, "patch_object")
put_object = later_function(__name__, "put_object")
update_object = later_function(__name__, "update_object")
upload_object = later_function(__name__, "upload_object")

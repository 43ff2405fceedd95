# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Celery as its guide to optimizing says: short tasks are fetched ahead, and nothing is sent that
nobody asked for. PEER_REDIS: the URL."""

import os

from celery import Celery

url = os.environ["PEER_REDIS"]
app = Celery("celery_app", broker=url, backend=url)
app.conf.update(
    worker_prefetch_multiplier=256,
    worker_send_task_events=False,
    task_send_sent_event=False,
    task_serializer="json",
    result_serializer="json",
    task_compression=None,
    broker_pool_limit=10,
    result_expires=600,
    worker_hijack_root_logger=False,
)


@app.task
def same(x):
    return x

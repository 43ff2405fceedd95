#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""A service behind the rest shim, with FastAPI: sums scaled by the session's factor.

    flmctl register -f sums.yaml && flmctl create -a sums -c factor.json --name sums-1
    flmctl submit sums-1 '[1, 2, 3]' --wait

sums.yaml:

    metadata: {name: sums}
    spec:
      shim: rest
      command: /usr/bin/python3
      arguments: [/path/to/examples/services/rest_sums.py]
      rest: {content_type: application/json}
"""

import os

import uvicorn
from fastapi import Body, FastAPI, HTTPException

app = FastAPI()
factor = 1.0


@app.get("/health")
def health():
    return "ready"


@app.post("/enter")
def enter(common: float = Body(1.0)):
    global factor
    factor = common


@app.post("/invoke")
def invoke(numbers: list[float]):
    if not numbers:
        raise HTTPException(422, "nothing to sum")
    return factor * sum(numbers)


if __name__ == "__main__":
    # Only the executor can reach it. With the URL http://127.0.0.1:{port} it would be $PORT.
    uvicorn.run(app, uds=os.environ["FLAME_INSTANCE_ENDPOINT"], log_level="warning")

#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// A service behind the rest shim, with nothing but Node: sums scaled by the session's factor, one
// task a call or a frame of them (rest: {batch: true}).

const http = require('node:http');

let factor = 1;

function sum(numbers) {
  if (!Array.isArray(numbers) || numbers.length === 0) throw new Error('nothing to sum');
  return factor * numbers.reduce((a, b) => a + b, 0);
}

const paths = {
  'GET /health': () => 'ready',
  'POST /enter': (common) => { factor = common ?? 1; },
  'POST /invoke': (numbers) => sum(numbers),
  'POST /invoke_batch': ({ tasks }) => ({
    results: tasks.map(({ input }) => {
      try {
        return { output: sum(input) };
      } catch (error) {
        return { error: error.message };
      }
    }),
  }),
};

http.createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const answer = paths[`${request.method} ${request.url}`];
  let status = answer ? 200 : 404;
  let text = '';
  try {
    if (answer) text = JSON.stringify(answer(body ? JSON.parse(body) : undefined)) ?? '';
  } catch (error) {
    [status, text] = [422, error.message];
  }
  response.writeHead(status, { 'Content-Length': Buffer.byteLength(text) }).end(text);
}).listen(process.env.PORT ?? process.env.FLAME_INSTANCE_ENDPOINT);

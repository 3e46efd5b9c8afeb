// Shows the greetings that were written: a CloudEvents function with nothing but Node's own library.
//
// Takes events in binary or structured mode and prints each as one line of JSON. To a `com.example.greeting.written` it
// replies with `com.example.greeting.shown`, in structured mode.
'use strict';

const http = require('node:http');

const BODY_BYTES_MAX = 65536;
const REQUIRED = ['specversion', 'id', 'source', 'type'];

/** One round of percent-decoding, as the HTTP binding of CloudEvents wants it. */
const decode = (value) => decodeURIComponent(value.replace(/^"(.*)"$/, '$1'));

function read(headers, body) {
  const type = (headers['content-type'] || '').toLowerCase();
  let event;
  if (type.startsWith('application/cloudevents+json')) {
    event = JSON.parse(body);
  } else {
    event = {};
    for (const [name, value] of Object.entries(headers)) {
      if (name.startsWith('ce-')) event[name.slice(3)] = decode(value);
    }
    if (body.length > 0) event.data = /[/+]json(;|$)/.test(type) ? JSON.parse(body) : body;
  }
  const missing = REQUIRED.filter((name) => !event[name]);
  if (missing.length > 0) throw new Error(`missing: ${missing.join(', ')}`);
  return event;
}

function reply(event) {
  return {
    specversion: '1.0',
    id: `${event.id}/shown`,
    source: '/examples/display',
    type: 'com.example.greeting.shown',
    datacontenttype: 'application/json',
    data: { characters: event.data.text.length },
  };
}

function answer(request, body, response) {
  let event;
  try {
    event = read(request.headers, body);
  } catch (error) {
    // 400 is final: the broker does not send the event again.
    response.writeHead(400, { 'content-type': 'text/plain' }).end(`not a CloudEvent: ${error.message}`);
    return;
  }
  console.log(JSON.stringify(event));
  if (event.type === 'com.example.greeting.written') {
    response.writeHead(200, { 'content-type': 'application/cloudevents+json' }).end(JSON.stringify(reply(event)));
  } else {
    response.writeHead(204).end();
  }
}

const server = http.createServer((request, response) => {
  if (request.method !== 'POST') {
    response.writeHead(405, { allow: 'POST' }).end();
    return;
  }
  const chunks = [];
  let length = 0;
  request.on('data', (chunk) => {
    length += chunk.length;
    if (length <= BODY_BYTES_MAX) chunks.push(chunk);
  });
  request.on('end', () => {
    if (length > BODY_BYTES_MAX) response.writeHead(413).end();
    else answer(request, Buffer.concat(chunks).toString('utf8'), response);
  });
});

process.on('SIGTERM', () => server.close());
server.listen(Number(process.env.PORT || 8080));

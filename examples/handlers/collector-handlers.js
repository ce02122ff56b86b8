'use strict';

/*
 * Methods served from a Node process, without a port: functions attached to Collector.
 *
 *   const {Collector, HandlerError} = require('./collector-handlers');
 *
 *   const collector = new Collector('127.0.0.1:50051', {protos: ['shop/v1/order.proto']});
 *   await collector.register('users', 'UserService', 'GetUser', getUser);
 *
 * A function takes the input and a call, and returns the output or a promise of it.
 * Messages are plain objects with their type's name in '@type'; the types come from
 * `protos` (found below `includes`). What is in none of them is {'@type', value: Buffer}.
 * A HandlerError is the caller's error; any other is UNKNOWN. A lost connection is made
 * again.
 *
 * Needs the npm packages @grpc/grpc-js and protobufjs.
 */

const fs = require('fs');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const protobuf = require('protobufjs');

const PROTOS = path.join(__dirname, '..', '..', 'proto');
const ATTACH = '/collector.CollectiveDispatcher/Attach';
const RETRY_FIRST_MS = 50, RETRY_MAX_MS = 2000;
/* Trying again would end the same way. */
const FINAL = [grpc.status.INVALID_ARGUMENT, grpc.status.PERMISSION_DENIED,
  grpc.status.UNIMPLEMENTED, grpc.status.UNAUTHENTICATED];
const OBJECT = {longs: String, enums: String, defaults: true, arrays: true, oneofs: true};

/* Ends a call with a code of collector.Status.Code ('NOT_FOUND') and a message. */
class HandlerError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

function loadTypes(protos, includes) {
  const root = new protobuf.Root();
  root.resolvePath = (origin, target) => {
    const found = [...includes, PROTOS, '/usr/include'].map((i) => path.join(i, target))
      .find((file) => fs.existsSync(file));
    return found || target;
  };
  root.loadSync(['collector/dispatcher.proto', ...protos], {keepCase: true});
  return root;
}

/* One attached method; leave() ends it after the calls that are under way. */
class Registration {
  constructor(collector, hello, handler) {
    Object.assign(this, {collector, hello, handler, calls: new Map(), left: false});
    this.delay = RETRY_FIRST_MS;
    this.welcomed = new Promise((resolve, reject) => Object.assign(this, {resolve, reject}));
    this.ended = new Promise((resolve) => { this.resolveEnded = resolve; });
    this.open();
  }

  open() {
    const {client, request, response} = this.collector;
    const stream = client.makeBidiStreamRequest(ATTACH,
      (m) => request.encode(m).finish(), (bytes) => response.decode(bytes));
    this.stream = stream;
    stream.on('data', (message) => this.take(message, stream));
    stream.on('error', () => {}); /* 'status' says it */
    stream.on('status', (status) => this.closed(status));
    this.send({hello: this.hello}, stream);
  }

  send(message, stream) {
    stream.write(this.collector.request.fromObject(message));
  }

  closed(status) {
    for (const call of this.calls.values())
      call.abort.abort();
    this.calls.clear();
    if (FINAL.includes(status.code))
      this.reject(new Error(status.details));
    if (this.left || FINAL.includes(status.code)) {
      this.resolveEnded();
      return;
    }
    this.timer = setTimeout(() => this.open(), this.delay);
    this.delay = Math.min(this.delay * 2, RETRY_MAX_MS);
  }

  take(message, stream) {
    if (message.welcome) {
      this.delay = RETRY_FIRST_MS;
      this.resolve(this);
    } else if (message.call) {
      this.answer(message.call, stream);
    } else if (message.cancel) {
      const call = this.calls.get(String(message.cancel.call_id));
      if (call)
        call.abort.abort();
    } else if (message.ping) {
      this.send({pong: {}}, stream);
    }
  }

  async answer({call_id, request, timeout}, stream) {
    const id = String(call_id), abort = new AbortController();
    const deadline = Date.now() + Number(timeout.seconds || 0) * 1000 +
      (timeout.nanos || 0) / 1e6;
    const call = {request, deadline, abort, cancelled: abort.signal,
      context: request.execution_context || {}};
    const response = {};
    this.calls.set(id, call);
    try {
      const output = await this.handler(this.collector.unpack(request.input), call);
      if (output)
        response.output = this.collector.pack(output);
    } catch (error) {
      const code = error instanceof HandlerError ? error.code : 'UNKNOWN';
      response.status = {code, message: error.message};
    }
    if (this.calls.delete(id))
      this.send({answer: {call_id, response}}, stream);
  }

  leave() {
    this.left = true;
    clearTimeout(this.timer);
    if (this.stream.destroyed)
      this.resolveEnded();
    else
      this.send({leave: {}}, this.stream);
    return this.ended;
  }
}

/* A front door to attach functions to. */
class Collector {
  constructor(address, {protos = [], includes = [], maxInFlight = 16} = {}) {
    this.types = loadTypes(protos, includes);
    this.request = this.types.lookupType('collector.AttachRequest');
    this.response = this.types.lookupType('collector.AttachResponse');
    this.client = new grpc.Client(address, grpc.credentials.createInsecure());
    this.maxInFlight = maxInFlight;
    this.registrations = [];
  }

  /* Serve the method with handler(input, call) from now on; resolves to its Registration. */
  register(namespace, service, method, handler) {
    const hello = {name: `node-${process.pid}`, max_in_flight: this.maxInFlight,
      methods: [{namespace, service_name: service, method_name: method}]};
    const registration = new Registration(this, hello, handler);
    this.registrations.push(registration);
    return registration.welcomed;
  }

  typeOf(name) {
    try {
      return this.types.lookupType(name);
    } catch {
      return null;
    }
  }

  unpack(any) {
    const name = any.type_url.split('/').pop(), type = this.typeOf(name);
    return type ? {...type.toObject(type.decode(any.value), OBJECT), '@type': name}
      : {'@type': name, value: any.value};
  }

  pack({'@type': name, ...fields}) {
    const type = this.typeOf(name);
    return {type_url: `type.googleapis.com/${name}`,
      value: type ? type.encode(type.fromObject(fields)).finish() : fields.value};
  }

  async close() {
    await Promise.all(this.registrations.map((r) => r.leave()));
    this.client.close();
  }
}

module.exports = {Collector, HandlerError};

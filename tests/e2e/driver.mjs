// Drives the official phoenix client: takes orders as lines of JSON on its standard input, and
// tells on its standard output, in the same way, what the client's callbacks were given.
//
//   {do: "connect", socket, url, mount, params, options, polls, v1}
//   {do: "ping", socket}                                      {do: "disconnect", socket}
//   {do: "join", channel, socket, topic, params, events, presence}
//   {do: "leave", channel}
//   {do: "push", channel, push, event, payload, timeout, statuses}
//
// `socket`, `channel` and `push` are names that the sender of the orders chooses; what is told
// carries the same names. A payload of bytes is {bytes: BASE64}, both ways. The driver ends with its
// standard input, so that none is left behind by a test that was killed.

import {createInterface} from "node:readline";
import {LongPoll, Presence, Socket} from "phoenix";
import {WebSocket} from "ws";

const sockets = new Map();
const channels = new Map();

const tell = (is, more) => process.stdout.write(`${JSON.stringify({is, ...more})}\n`);

const pack = (value) =>
  value instanceof ArrayBuffer ? {bytes: Buffer.from(value).toString("base64")} : value;

const unpack = (value) =>
  typeof value?.bytes === "string" ? new Uint8Array(Buffer.from(value.bytes, "base64")).buffer : value;

// The client takes functions of the number of tries; orders can hold numbers only.
const DELAYS = ["reconnectAfterMs", "rejoinAfterMs"];

const withFunctions = (options) =>
  Object.fromEntries(Object.entries(options).map(([key, value]) =>
    [key, DELAYS.includes(key) ? () => value : value]));

// Version 1 of the protocol is what its documentation gives for encode and decode, and no more.
const V1 = {
  vsn: "1.0.0",
  encode: (message, callback) => callback(JSON.stringify(message)),
  decode: (text, callback) => callback(JSON.parse(text)),
};

const orders = {
  connect({socket: name, url, mount, params, options, polls, v1}) {
    const socket = new Socket(`${url.replace(/^http/, "ws")}${mount}`, {
      // Else the package's WebSocket, also where Node has one: it tells the status of a refusal.
      transport: polls ? LongPoll : WebSocket,
      params,
      ...(v1 ? V1 : {}),
      ...withFunctions(options),
    });
    sockets.set(name, socket);
    socket.onOpen(() => tell("open", {socket: name}));
    socket.onClose(({code}) => tell("close", {socket: name, code}));
    // One that polls tells a status, or nothing.
    socket.onError((error) => tell("error", {socket: name, message: error?.message ?? `${error}`}));
    socket.onMessage(({join_ref, ref, topic, event, payload}) => {
      const response = pack(payload.response);
      const shown = "response" in payload ? {...payload, response} : pack(payload);
      tell("frame", {socket: name, frame: [join_ref, ref, topic, event, shown]});
    });
    socket.connect();
  },

  disconnect({socket: name}) {
    sockets.get(name).disconnect(() => tell("disconnected", {socket: name}));
  },

  ping({socket: name}) {
    sockets.get(name).ping(() => tell("pong", {socket: name}));
  },

  join({channel: name, socket, topic, params, events, presence}) {
    const channel = sockets.get(socket).channel(topic, params);
    channels.set(name, channel);
    for (const event of events) {
      channel.on(event, (payload) => tell("event", {channel: name, event, payload: pack(payload)}));
    }
    channel.onError((payload) => tell("channel error", {channel: name, payload}));
    channel.onClose(() => tell("channel close", {channel: name}));
    if (presence) {
      const here = new Presence(channel);
      here.onSync(() => tell("sync", {channel: name, state: here.state}));
    }
    const push = channel.join();
    for (const status of ["ok", "error", "timeout"]) {
      push.receive(status, (response) => tell("join", {channel: name, status, response}));
    }
  },

  leave({channel: name}) {
    channels.get(name).leave();
  },

  push({channel: name, push: id, event, payload, timeout, statuses}) {
    const push = channels.get(name).push(event, unpack(payload), timeout);
    for (const status of ["ok", "error", "timeout", ...statuses]) {
      push.receive(status, (response) =>
        tell("reply", {push: id, status, response: pack(response)}));
    }
  },
};

const lines = createInterface({input: process.stdin});
lines.on("line", (line) => {
  const order = JSON.parse(line);
  orders[order.do](order);
});
lines.on("close", () => process.exit());
tell("ready");

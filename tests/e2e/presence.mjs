// A crowd of official clients with their Presence, all in one Node: they join, update, crash, drop
// their connections and come back, at random, until the time is over. Then some leave for good.
//
//   node presence.mjs '{"url", "clients", "seconds", "pause", "seed"}'
//
// What it tells, as lines of JSON on its standard output:
//
//   {is: "settled", expected, done}     nothing moves any more: who is still there, with what they
//                                       have set last; how often each thing was done
//   {is: "lists", lists}                in answer to {do: "lists"}: what the clients see, each list
//                                       that differs from the others once, with how many see it
//   {is: "unsettled", clients}          in answer to {do: "unsettled"}: those that do move, and how

import {createInterface} from "node:readline";
import {Presence, Socket} from "phoenix";
import {WebSocket} from "ws";

const {url, clients, seconds, pause, seed} = JSON.parse(process.argv[2]);

const tell = (is, more) => process.stdout.write(`${JSON.stringify({is, ...more})}\n`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A linear congruential generator: the same seed makes the same choices in the same order.
let state = BigInt(seed);
const random = () => {
  state = (state * 6364136223846793005n + 1442695040888963407n) & ((1n << 64n) - 1n);
  return Number(state >> 11n) / 2 ** 53;
};
const choose = (options) => options[Math.floor(random() * options.length)];

const done = {joined: 0, updated: 0, crashed: 0, dropped: 0, left: 0, disconnected: 0, stale: 0, diffs: 0};

const ACTS = ["update", "update", "update", "crash", "drop", "drop", "leave", "disconnect"];

class Client {
  constructor(number) {
    this.number = number;
    // Two tabs of each user, so that a key has several metas.
    this.name = `user ${Math.floor(number / 2)}`;
    this.count = 0;
    this.isGone = false;
    this.act = null;
    this.socket = new Socket(`${url.replace(/^http/, "ws")}/socket`, {
      transport: WebSocket,
      reconnectAfterMs: () => 20 + random() * 300,
      rejoinAfterMs: () => 20 + random() * 300,
    });
    this.socket.onMessage(({event}) => (done.diffs += event === "presence_diff" ? 1 : 0));
  }

  begin() {
    this.socket.connect();
    this.enter();
  }

  enter() {
    const channel = this.socket.channel("room:crowd", {client: this.number, name: this.name});
    this.channel = channel;
    this.presence = new Presence(channel);
    channel.join().receive("ok", () => {
      this.count = 0;
      done.joined += 1;
      // Diffs that came behind an earlier join, whose state was cut off, are of no use any more. The
      // client keeps them and applies them to the state of this join, whatever server it talks to:
      // who joined then and has left meanwhile would be shown for ever. Nothing of this join can
      // have come before its reply.
      done.stale += this.presence.pendingDiffs.length > 0 ? 1 : 0;
      this.presence.pendingDiffs = [];
    });
  }

  get isJoined() {
    return this.channel.isJoined() && this.socket.isConnected();
  }

  // Whether it shows what the server has told it since its latest join.
  get isSettled() {
    return this.isGone || (this.isJoined && !this.presence.inPendingSyncState());
  }

  acts = {
    update: () =>
      new Promise((resolve) => {
        const count = this.count + 1;
        const {channel} = this;
        const answered = (response) => {
          if (response?.count === count && channel === this.channel) {
            this.count = count;
            done.updated += 1;
          }
          resolve();
        };
        this.channel.push("update", {count}, 2000)
          .receive("ok", answered).receive("error", resolve).receive("timeout", resolve);
      }),
    crash: () => {
      done.crashed += 1;
      this.channel.push("crash", {});
    },
    drop: () => {
      done.dropped += 1;
      this.socket.conn.terminate();
    },
    leave: async () => {
      done.left += 1;
      this.channel.leave();
      await sleep(random() * 500);
      this.enter();
    },
    disconnect: async () => {
      done.disconnected += 1;
      await new Promise((resolve) => this.socket.disconnect(resolve));
      await sleep(random() * 500);
      this.socket.connect();
    },
  };

  async live(until) {
    await sleep(random() * pause * 1000);
    this.begin();
    while (Date.now() < until) {
      await sleep(2 * random() * pause * 1000);
      if (this.isJoined && Date.now() < until) {
        this.act = choose(ACTS);
        await this.acts[this.act]();
      }
    }
    if (this.number % 5 === 0) {
      await this.go();
    }
  }

  async go() {
    while (!this.isSettled) {
      await sleep(20);
    }
    this.isGone = true;
    this.number % 2 ? this.channel.leave() : this.socket.disconnect();
  }
}

const everybody = Array.from({length: clients}, (_, number) => new Client(number));

const seenBy = (client) => {
  const list = {};
  client.presence.list((key, {metas}) => {
    list[key] = [...metas].sort((a, b) => (a.phx_ref < b.phx_ref ? -1 : 1));
  });
  return JSON.stringify(Object.entries(list).sort(([a], [b]) => (a < b ? -1 : 1)));
};

const orders = {
  lists() {
    const counts = new Map();
    for (const client of everybody.filter(({isGone}) => !isGone)) {
      const list = seenBy(client);
      counts.set(list, (counts.get(list) ?? 0) + 1);
    }
    tell("lists", {
      lists: [...counts].map(([list, number]) => ({list: JSON.parse(list), number})),
    });
  },

  unsettled() {
    tell("unsettled", {
      clients: everybody.filter(({isSettled}) => !isSettled).map(({number, act, socket, channel}) =>
        ({client: number, act, socket: socket.connectionState(), channel: channel?.state})),
    });
  },
};

createInterface({input: process.stdin})
  .on("line", (line) => orders[JSON.parse(line).do]())
  .on("close", () => process.exit());

tell("ready");
const until = Date.now() + seconds * 1000;
await Promise.all(everybody.map((client) => client.live(until)));
while (!everybody.every(({isSettled}) => isSettled)) {
  await sleep(20);
}
tell("settled", {
  expected: everybody.filter(({isGone}) => !isGone)
    .map(({number, name, count}) => ({client: number, name, count})),
  done,
});

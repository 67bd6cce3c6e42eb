// Who one is, and the connection.
//
// To sign in gives a token, which proves who one is. It is kept by the browser, so all its tabs are
// one person. The phoenix client sends it with each connection, and connects again by itself when a
// connection is lost. What is left to do here is to get a new token when the old one does not do.

import {recall, remember} from "./page.js";

const SIGN_IN_MS = 5000;
const RENEW_EVERY_MS = 2000;
const PROBE_MS = 4000;
const LEAVE_MS = 1000;

export class Refused extends Error {}

export class Session {
  // `changed()` is called when the connection opens, and when it is lost.
  constructor(name, changed) {
    this.name = name;
    this.id = "";
    // All ids that were this page's: with a new token one may have become another person.
    this.ids = new Set();
    this.token = "";
    this.failures = 0;
    this.renewedAt = 0;
    this.isClosed = false;
    this.socket = new Phoenix.Socket("/socket", {
      authToken: () => this.token,
      heartbeatIntervalMs: 10000,
      reconnectAfterMs: (tries) => [100, 250, 500, 1000, 2000][tries - 1] ?? 5000,
      rejoinAfterMs: (tries) => [250, 500, 1000, 2000][tries - 1] ?? 5000,
      // Only its long-poll fallback would use it, and touching the real one may throw.
      sessionStorage: {getItem: () => null, setItem() {}},
    });
    this.socket.onOpen(() => {
      this.failures = 0;
      changed();
    });
    this.socket.onClose(changed);
    this.socket.onError(() => {
      this.failures += 1;
      this.renew();
    });
  }

  get isConnected() {
    return this.socket.isConnected();
  }

  // Rejects with Refused, whose message is for the user, when the server does not accept the name,
  // and with another error when it cannot be reached.
  async signIn() {
    const answer = await fetch("/sign-in", {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({name: this.name, token: recall(this.key)}),
      cache: "no-store",
      signal: AbortSignal.timeout(SIGN_IN_MS),
    });
    const body = await answer.json().catch(() => ({}));
    if (answer.status === 400) throw new Refused(body.error ?? "The server does not accept this name.");
    if (!answer.ok) throw new Error(`signing in answered ${answer.status}`);
    this.id = body.id;
    this.ids.add(body.id);
    this.name = body.name;
    this.token = body.token;
    remember(this.key, this.token);
  }

  get key() {
    return `exeunt.token.${this.name}`;
  }

  // A connection that does not come to be may have been refused for its token, which a page is not
  // told. So get a new one, and try again with that. If there is none to be had, the phoenix client
  // tries again after a while in any case.
  async renew() {
    if (Date.now() - this.renewedAt < RENEW_EVERY_MS) return;
    this.renewedAt = Date.now();
    const before = this.id;
    try {
      await this.signIn();
    } catch {
      return; // the server is not there, most likely
    }
    if (this.isClosed) return;
    if (this.id !== before) this.becameAnother?.();
    if (this.id !== before || !this.isConnected) this.reconnect();
  }

  connect() {
    this.socket.connect();
  }

  disconnect() {
    this.isClosed = true;
    this.socket.disconnect();
  }

  reconnect() {
    this.socket.disconnect();
    this.socket.connect();
  }

  // A connection that outlived a change of network or a sleep may be dead without knowing it.
  check() {
    if (!this.isConnected) {
      this.reconnect();
      return;
    }
    let answered = false;
    this.socket.ping(() => {
      answered = true;
    });
    setTimeout(() => {
      if (!answered && this.isConnected) this.reconnect();
    }, PROBE_MS);
  }

  // Close the connection when the server has confirmed that this topic is left, so that the others
  // read "left" and not "closed the tab".
  disconnectAfterLeaving(topic) {
    let timer = 0;
    const done = () => {
      clearTimeout(timer);
      this.socket.off([ref]);
      this.disconnect();
    };
    const ref = this.socket.onMessage((message) => {
      if (message.topic === topic && message.event === "phx_close") done();
    });
    timer = setTimeout(done, LEAVE_MS);
  }
}

// The connection to the observer: phoenix.js, the token, and the channels.

/* global Phoenix */

export class Session {
  constructor(token, on) {
    this.hasOpened = false;
    this.isOver = false;
    const lost = () => {
      if (!this.isOver) on.status(this.hasOpened ? "lost" : "refused");
    };
    this.socket = new Phoenix.Socket("/socket", {
      authToken: token || undefined,
      heartbeatIntervalMs: 10000,
      reconnectAfterMs: (tries) => [250, 500, 1000, 2000][tries - 1] ?? 4000,
      rejoinAfterMs: (tries) => [250, 500, 1000][tries - 1] ?? 2000,
      // Only its long-poll fallback would use it, and touching the real one may throw.
      sessionStorage: {getItem: () => null, setItem() {}},
    });
    this.socket.onOpen(() => {
      this.hasOpened = true;
    });
    this.socket.onClose(lost);
    this.node = this.socket.channel("observer:node", {});
    this.node.on("changed", (change) => on.changed(change));
    this.node.onError(lost);
    this.node.join()
      .receive("ok", (seen) => {
        on.began(seen);
        on.status("live");
      })
      .receive("error", lost);
    this.socket.connect();
  }

  process(subject) {
    return this.socket.channel(`observer:process:${subject}`, {});
  }

  find(text) {
    return this.node.push("find", {text});
  }

  kill(pid) {
    return this.node.push("kill", {pid});
  }

  end() {
    this.isOver = true;
    this.socket.disconnect();
  }
}

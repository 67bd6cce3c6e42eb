// The page: a card for each sensor, alive while Presence says so.
//
// Whether a sensor is there, the page takes from presences alone; `ended` adds the reason. So it
// needs no timers, and cannot be wrong for long: with each join it gets the whole state anew.

const SHOWN = 60; // readings in a curve
const LOGGED = 12; // lines of the log

const byId = (id) => document.getElementById(id);
const cards = new Map();

const socket = new Phoenix.Socket("/socket", {
  reconnectAfterMs: (tries) => [100, 250, 500, 1000, 2000][tries - 1] ?? 5000,
  rejoinAfterMs: (tries) => [250, 500, 1000, 2000][tries - 1] ?? 5000,
});
const channel = socket.channel("sensors");
const presence = new Phoenix.Presence(channel);

class Card {
  constructor({name, what, unit}) {
    this.name = name;
    this.readings = [];
    this.wasAlive = null;
    this.item = byId("sensor").content.firstElementChild.cloneNode(true);
    this.item.dataset.sensor = name;
    this.find("h2").textContent = name;
    this.find(".what").textContent = what;
    this.find(".unit").textContent = unit;
    for (const button of this.item.querySelectorAll("button")) {
      button.setAttribute("aria-label", `${button.textContent} ${name}`);
      button.addEventListener("click", () => {
        channel
          .push(button.dataset.event, {sensor: name})
          .receive("error", ({reason}) => log(reason));
      });
    }
    byId("sensors").append(this.item);
  }

  find(selector) {
    return this.item.querySelector(selector);
  }

  read(value) {
    this.readings = [...this.readings, value].slice(-SHOWN);
    this.find("output").textContent = value.toFixed(1);
    const low = Math.min(...this.readings);
    const span = Math.max(...this.readings) - low || 1;
    const points = this.readings.map((one, index) => {
      const x = (120 * (SHOWN - this.readings.length + index)) / (SHOWN - 1);
      return `${x.toFixed(1)},${(30 - (28 * (one - low)) / span).toFixed(1)}`;
    });
    this.find("polyline").setAttribute("points", points.join(" "));
  }

  end(how) {
    this.find(".how").textContent = how;
    log(`${this.name} has ended: ${how}`);
  }

  show(isAlive) {
    if (isAlive === this.wasAlive) return;
    if (isAlive && this.wasAlive === false) log(`${this.name} is back`);
    if (isAlive) this.find(".how").textContent = "";
    this.wasAlive = isAlive;
    this.item.dataset.state = isAlive ? "alive" : "gone";
    this.find(".state").textContent = isAlive ? "alive" : "gone";
    for (const button of this.item.querySelectorAll("button")) button.disabled = !isAlive;
  }
}

function log(text) {
  const line = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString("en-GB");
  line.append(time, ` ${text}`);
  byId("log").prepend(line);
  while (byId("log").children.length > LOGGED) byId("log").lastElementChild.remove();
}

function show() {
  const isLive = channel.state === "joined" && socket.isConnected();
  document.body.dataset.status = isLive ? "live" : "away";
  if (!isLive) {
    byId("alive").textContent = "not connected; trying again";
    return;
  }
  const alive = new Set(presence.list((name) => name));
  for (const card of cards.values()) card.show(alive.has(card.name));
  byId("alive").textContent = `${alive.size} of ${cards.size} alive`;
}

channel.on("reading", ({sensor, value}) => cards.get(sensor)?.read(value));
channel.on("ended", ({sensor, how}) => cards.get(sensor)?.end(how));
presence.onSync(show);
socket.onClose(show);
socket.onError(show);
channel.onError(show);

channel.join().receive("ok", ({sensors}) => {
  for (const one of sensors) {
    if (!cards.has(one.name)) cards.set(one.name, new Card(one));
  }
});
socket.connect();

// The page of the exeunt chat.
//
// Every name in the list of those present stands for a channel process on the server. When such a
// process ends, the server says so and says why, and this page shows it. Sockets, channels,
// heartbeats and rejoining are the official phoenix client's business. What is decided here is what
// the user sees meanwhile, and when to connect again: never without a new token, because tokens are
// short-lived, and not at all after the server has thrown this user out.
//
// Everything that came from somebody else reaches the page through textContent.

const MAX_ENTRIES = 500;
const MAX_TEXT = 2000;
const COUNT_FROM = 1800;
const LONG_TEXT = 1200;
const LONG_LINES = 12;
const GROUP_MS = 5 * 60 * 1000;
const ENTER_TRIES = 4;
const JOIN_PATIENCE_MS = 12000;
const CLOSE_PATIENCE_MS = 4000;
const NEVER_MS = 3600000;
const TOKEN_TIMEOUT_MS = 5000;
const PROBE_MS = 4000;
const LEAVE_GRACE_MS = 1000;
const HUES = 10;
const CODE_GOING_AWAY = 1001;

// How somebody left, by the beginning of the server's words. Anything else stays neutral.
const TAGS = [
  ["closed", "closed"],
  ["connection", "lost"],
  ["timed out", "lost"],
  ["crashed", "crashed"],
  ["killed", "crashed"],
  ["left", "left"],
  ["disconnected", "thrown"],
];

const byId = (id) => document.getElementById(id);
const ui = {
  doorForm: byId("door-form"),
  name: byId("name"),
  room: byId("room"),
  enter: byId("enter"),
  doorError: byId("door-error"),
  door: byId("door"),
  stage: byId("stage"),
  title: byId("room-title"),
  stateText: byId("state-text"),
  rosterToggle: byId("roster-toggle"),
  rosterClose: byId("roster-close"),
  hereCount: byId("here-count"),
  leave: byId("leave"),
  banner: byId("banner"),
  bannerText: byId("banner-text"),
  bannerCount: byId("banner-count"),
  announcer: byId("announcer"),
  retry: byId("retry"),
  comeBack: byId("come-back"),
  scroller: byId("scroller"),
  empty: byId("empty"),
  log: byId("log"),
  pill: byId("new-messages"),
  composer: byId("composer"),
  hint: byId("hint"),
  text: byId("text"),
  send: byId("send"),
  count: byId("count"),
  scrim: byId("scrim"),
  wingsTitle: byId("wings-title"),
  members: byId("members"),
  crash: byId("crash"),
};

// The status is one of
//   away      at the door
//   entering  at the door, waiting for the first join
//   live      joined
//   lost      the connection is gone; the page tries again by itself
//   crashed   the connection is fine, the channel crashed; the phoenix client rejoins by itself
//   out       the server closed the connection with 1001: come back by hand only
//   closed    the server ended the channel in an orderly way: come back by hand only
let status = "away";
let me = {name: "", room: "", id: null, token: ""};
let channel = null;
let myIds = new Set();
let tries = 0;
let attempt = 0;
let retryTimer = 0;
let dialled = false;
let retryAt = 0;
let retryTicker = 0;
let lostSince = 0;
let wasOut = false;
let finishLeaving = null;

// ---------------------------------------------------------------------------------------------
// Small things

const clean = (value, limit) => String(value ?? "").slice(0, limit);
const isTime = (value) => Number.isFinite(value) && Math.abs(value) < 8.64e15;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage may be forbidden; the page works without it.
  }
}

function recall(key) {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

function hueOf(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 65521;
  return hash % HUES;
}

const clock = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit"});
const fullDate = new Intl.DateTimeFormat(undefined, {dateStyle: "full", timeStyle: "medium"});
const dayName = new Intl.DateTimeFormat(undefined, {
  weekday: "long",
  day: "numeric",
  month: "long",
});

function makeTime(at) {
  const date = new Date(at);
  const time = make("time", "at", clock.format(date));
  time.dateTime = date.toISOString();
  time.title = fullDate.format(date);
  return time;
}

const steps = (count) => [250, 500, 1000, 2000][count - 1] ?? 5000;

// ---------------------------------------------------------------------------------------------
// Tokens

class Refused extends Error {}

// Fetch a token for somebody and keep it for the next connection. Rejects with Refused, whose
// message is for the user, when the server does not accept the name, and with another error when it
// cannot be reached.
async function fetchToken(asker) {
  const answer = await fetch(`/token?name=${encodeURIComponent(asker.name)}`, {
    cache: "no-store",
    signal: AbortSignal.timeout(TOKEN_TIMEOUT_MS),
  });
  const body = await answer.json().catch(() => ({}));
  if (answer.ok && typeof body.token === "string") {
    asker.token = body.token;
    if (typeof body.name === "string" && body.name) asker.name = body.name;
  } else if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) {
    throw new Refused(clean(body.error, 300) || "The server does not accept this name.");
  } else {
    throw new Error(`token request answered ${answer.status}`);
  }
}

// ---------------------------------------------------------------------------------------------
// The connection

// The phoenix client asks for the delay whenever it plans a reconnection, whatever the cause: a
// close, a refusal, a heartbeat without an answer. So this is where the page learns of all of them.
// It gets a delay that never passes, because it could not wait for a token; planRetry stops it.
const socket = new Phoenix.Socket("/socket", {
  params: () => ({token: me.token}),
  heartbeatIntervalMs: 10000,
  reconnectAfterMs: () => {
    // The close callbacks, which know whether this is the end, run before the microtask.
    queueMicrotask(connectionEnded);
    return NEVER_MS;
  },
  rejoinAfterMs: steps,
  // Only its long-poll fallback would use it, and touching the real one may throw.
  sessionStorage: {getItem: () => null, setItem() {}},
});

socket.onClose((event) => {
  // The channel has heard of it before, so a live status has already become "lost".
  if (event.code === CODE_GOING_AWAY && dialled && ["crashed", "lost"].includes(status)) {
    hangUp();
    setStatus("out");
  }
});

function dial() {
  dialled = true;
  socket.connect();
}

function hangUp() {
  dialled = false;
  socket.disconnect();
}

function connectionEnded() {
  if (status === "live" || status === "crashed") setStatus("lost");
  planRetry();
}

function planRetry() {
  if (status !== "lost" && status !== "entering") return;
  hangUp();
  attempt += 1;
  tries += 1;
  if (status === "entering" && tries >= ENTER_TRIES) {
    backToDoor("The server does not let you connect. Try again in a moment.");
    return;
  }
  const wait = steps(tries);
  clearTimeout(retryTimer);
  retryTimer = setTimeout(retry, wait);
  retryAt = Date.now() + wait;
  renderBanner();
}

// Fetch a token, then connect: the channel joins by itself as soon as the connection is open.
// Asking for the token first also spares the browser connections that must fail; it would slow
// down the following ones.
async function retry() {
  attempt += 1;
  const current = attempt;
  const stillWanted = () => attempt === current && (status === "lost" || status === "entering");
  clearTimeout(retryTimer);
  retryAt = 0;
  renderBanner();
  try {
    await fetchToken(me);
  } catch (error) {
    if (!stillWanted()) return;
    if (error instanceof Refused) backToDoor(error.message, ui.name);
    else if (status === "lost") planRetry();
    else backToDoor("The server cannot be reached. Try again in a moment.");
    return;
  }
  if (!stillWanted()) return;
  clearTimeout(retryTimer);
  retryTimer = setTimeout(() => {
    if (!stillWanted()) return;
    if (status === "lost") planRetry();
    else backToDoor("The room does not answer. Try again in a moment.");
  }, JOIN_PATIENCE_MS);
  dial();
  // Not before: a connection that has been given up may still be open while its last frames drain,
  // and a join would go out on it.
  if (channel === null) openChannel();
}

// Start the series of delays anew, at once.
function retryNow() {
  if (status !== "lost") return;
  hangUp();
  tries = 0;
  retry();
}

function openChannel() {
  const opened = socket.channel(`room:${me.room}`, {});
  const current = (handle) => (payload) => {
    if (opened === channel) handle(payload ?? {});
  };
  channel = opened;
  opened.on("joined", current((payload) => receive("joined", payload)));
  opened.on("said", current((payload) => receive("said", payload)));
  opened.on("left", current((payload) => receive("left", payload)));
  opened.onError(current((reason) => {
    failUnconfirmed();
    if (status !== "live") return;
    if (reason.source !== "transport") {
      setStatus("crashed");
      return;
    }
    setStatus("lost");
    // connectionEnded follows, at once or when the phoenix client has given up waiting for the
    // socket to close. This is for the case that it never does.
    clearTimeout(retryTimer);
    retryTimer = setTimeout(planRetry, CLOSE_PATIENCE_MS);
  }));
  opened.onClose(current(() => {
    if (status === "entering") {
      backToDoor("The room was closed. Try again in a moment.");
      return;
    }
    failUnconfirmed();
    channel = null;
    setStatus("closed");
    hangUp();
  }));
  opened
    .join()
    .receive("ok", current(joined))
    .receive("error", current(joinRefused));
}

// Close the channel for good without telling anybody on this page.
function dropChannel() {
  const dropped = channel;
  channel = null;
  dropped?.leave();
}

function joined(reply) {
  const before = status;
  clearTimeout(retryTimer);
  tries = 0;
  me.id = reply.id;
  myIds.add(reply.id);
  setRoster(Array.isArray(reply.members) ? reply.members : []);
  setLog(Array.isArray(reply.history) ? reply.history : []);
  settleFailed(Array.isArray(reply.history) ? reply.history : []);
  if (before === "entering") {
    showStage();
  } else if (before === "crashed") {
    addNote("crashed", "Your handler crashed. The server has started a new one for you.");
  } else if (wasOut) {
    addNote("back", "You are back.");
  } else {
    const seconds = Math.round((Date.now() - lostSince) / 1000);
    const span = seconds < 2 ? "a moment" : `${seconds} seconds`;
    addNote("back", `The connection was lost for ${span}. You are back.`);
  }
  wasOut = false;
  setStatus("live");
}

// A first join that fails leads back to the door. Later, a crash inside the join is treated like
// any other crash: the phoenix client tries again.
function joinRefused(reply) {
  const reason = clean(reply.reason, 300);
  if (reason === "join crashed" && status !== "entering") return;
  const known = {
    "join crashed": "The room could not let you in. Try again in a moment.",
    "unmatched topic": "There is no such room.",
    "too many channels joined": "You are in too many rooms.",
  };
  backToDoor(known[reason] ?? (reason || "The room did not let you in."), ui.room);
}

function enter(name, room) {
  finishLeaving?.();
  me = {name, room, id: null, token: ""};
  myIds = new Set();
  tries = 0;
  wasOut = false;
  setStatus("entering");
  retry();
}

// Leave the room: the server gets a phx_leave, and the connection is closed when it has confirmed
// it, so that the others read "left" and not "closed the tab".
function leaveRoom() {
  const topic = `room:${me.room}`;
  const connected = socket.isConnected() && channel !== null;
  dropChannel();
  if (connected) {
    const done = () => {
      clearTimeout(timer);
      socket.off([ref]);
      finishLeaving = null;
      hangUp();
    };
    const timer = setTimeout(done, LEAVE_GRACE_MS);
    const ref = socket.onMessage((message) => {
      if (message.topic === topic && message.event === "phx_close") done();
    });
    finishLeaving = done;
  } else {
    hangUp();
  }
  showDoor("");
}

function backToDoor(problem, field) {
  dropChannel();
  hangUp();
  showDoor(problem, field);
}

function comeBack() {
  if (status !== "out" && status !== "closed") return;
  wasOut = true;
  setStatus("lost");
  focusText();
  retryNow();
}

// A connection that outlived a change of network or a sleep may be dead without knowing it.
function probe() {
  let answered = false;
  const asked = me;
  const sent = socket.ping(() => {
    answered = true;
  });
  if (!sent) return;
  setTimeout(() => {
    if (answered || me !== asked || status !== "live") return;
    setStatus("lost");
    retryNow();
  }, PROBE_MS);
}

function checkConnection() {
  if (status === "lost") retryNow();
  else if (status === "live") probe();
}

addEventListener("offline", renderBanner);
addEventListener("online", () => {
  renderBanner();
  checkConnection();
});
// Leaving the page closes the connection (the phoenix client sees to it). When the browser brings
// the page back from its cache, it has to be opened again.
addEventListener("pageshow", (event) => {
  if (event.persisted) checkConnection();
});

// ---------------------------------------------------------------------------------------------
// Door and stage

function setStatus(next) {
  if (next === "lost" && status !== "lost") {
    lostSince = Date.now();
    retryAt = 0;
  }
  status = next;
  document.body.dataset.status = next;
  const words = {
    live: `as ${me.name}`,
    lost: "not connected",
    crashed: "crashed",
    out: "disconnected",
    closed: "closed",
  };
  ui.stateText.textContent = words[next] ?? "";
  ui.enter.textContent = next === "entering" ? "Entering\u2026" : "Enter";
  ui.enter.setAttribute("aria-disabled", String(next === "entering"));
  ui.send.setAttribute("aria-disabled", String(next !== "live"));
  ui.crash.setAttribute("aria-disabled", String(next !== "live"));
  for (const button of ui.members.querySelectorAll(".throw-out")) button.disabled = next !== "live";
  renderBanner();
}

function showStage() {
  remember("exeunt.name", me.name);
  history.replaceState(null, "", `#room=${encodeURIComponent(me.room)}`);
  document.body.dataset.view = "stage";
  ui.door.hidden = true;
  ui.stage.hidden = false;
  ui.title.firstElementChild.textContent = me.room;
  unread = 0;
  renderTitle();
  setSticking(true);
  focusText();
}

// Where there is no real keyboard, taking the focus would bring up one on the screen.
function focusText() {
  if (matchMedia("(pointer: coarse)").matches) ui.title.focus();
  else ui.text.focus();
}

function showDoor(problem, field) {
  const wasOnStage = !ui.stage.hidden;
  clearTimeout(retryTimer);
  for (const push of [...unconfirmed]) push.settled = true;
  unconfirmed.clear();
  failed = [];
  closeDrawer();
  setStatus("away");
  document.body.dataset.view = "door";
  ui.stage.hidden = true;
  ui.door.hidden = false;
  setLog([]);
  setRoster([]);
  renderTitle();
  ui.doorError.textContent = problem;
  for (const input of [ui.name, ui.room]) {
    if (problem && input === field) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
  if (field) field.focus();
  else if (wasOnStage || problem) ui.enter.focus();
}

function renderTitle() {
  const where = status === "away" || !me.room ? "exeunt" : `${me.room} \u00b7 exeunt`;
  document.title = unread > 0 ? `(${unread}) ${where}` : where;
}

function renderBanner() {
  clearInterval(retryTicker);
  const offline = !navigator.onLine && ["live", "lost", "crashed"].includes(status);
  const words = {
    lost: wasOut ? "Coming back\u2026" : "Connection lost, trying again\u2026",
    crashed: "Your handler crashed. The server is starting a new one\u2026",
    out: "The server disconnected you.",
    closed: "The server has closed this room.",
  };
  const text = offline
    ? "This device is offline. The chat goes on as soon as the network is back."
    : words[status] ?? "";
  if (ui.bannerText.textContent !== text) {
    ui.bannerText.textContent = text;
    ui.announcer.textContent = text;
  }
  ui.banner.hidden = text === "";
  ui.banner.dataset.kind = offline ? "offline" : status;
  const byHand = status === "out" || status === "closed";
  // Somebody who is typing must not press the button by accident.
  const focusComeBack = byHand && ui.comeBack.hidden && document.activeElement !== ui.text;
  ui.comeBack.hidden = !byHand;
  ui.retry.hidden = status !== "lost" || offline || retryAt - Date.now() < 1500;
  ui.bannerCount.textContent = "";
  if (focusComeBack) {
    closeDrawer();
    ui.comeBack.focus();
  }
  if (status === "lost" && !offline && retryAt - Date.now() > 1500) {
    const tick = () => {
      const left = Math.ceil((retryAt - Date.now()) / 1000);
      ui.bannerCount.textContent = left > 0 ? `in ${left} s` : "";
      if (left <= 0) {
        clearInterval(retryTicker);
        ui.retry.hidden = true;
      }
    };
    tick();
    retryTicker = setInterval(tick, 250);
  }
}

function roomFromHash() {
  const room = new URLSearchParams(location.hash.slice(1)).get("room") ?? "";
  return room.trim().slice(0, 32);
}

ui.doorForm.addEventListener("submit", (event) => {
  event.preventDefault();
  if (status !== "away") return;
  const name = ui.name.value.trim();
  const room = ui.room.value.trim();
  if (!name) showDoor("Choose a name first.", ui.name);
  else if (!room) showDoor("Choose a room first.", ui.room);
  else {
    showDoor("");
    enter(name, room);
  }
});

addEventListener("hashchange", () => {
  const room = roomFromHash();
  if (!room || room === me.room && status !== "away") return;
  if (status !== "away") leaveRoom();
  ui.room.value = room;
});

ui.leave.addEventListener("click", leaveRoom);
ui.comeBack.addEventListener("click", comeBack);
ui.retry.addEventListener("click", () => {
  focusText();
  retryNow();
});

// ---------------------------------------------------------------------------------------------
// Who is here

const people = new Map();

function setRoster(members) {
  people.clear();
  ui.members.replaceChildren();
  for (const member of members) addMember(member?.id, member?.name);
  renderCount();
}

function addMember(id, givenName) {
  if (id === undefined || id === null) return;
  removeMember(id);
  const name = clean(givenName, 64) || "somebody";
  const mine = id === me.id;
  const item = make("li", `member hue-${hueOf(name)}`);
  item.dataset.id = String(id);
  const label = make("bdi", "member-name", name);
  label.title = name;
  item.append(label, make("span", "serial", `no. ${id}`));
  if (mine) {
    item.classList.add("own");
    item.append(make("span", "you", "you"));
  } else {
    const button = make("button", "throw-out", "throw out");
    button.type = "button";
    button.setAttribute("aria-label", `Throw out ${name}`);
    button.disabled = status !== "live" && status !== "entering";
    item.append(button);
  }
  people.set(id, {item, name});
  if (mine) ui.members.prepend(item);
  else ui.members.append(item);
  markTwins(name);
}

function removeMember(id) {
  const person = people.get(id);
  if (!person) return;
  const hadFocus = person.item.contains(document.activeElement);
  people.delete(id);
  person.item.remove();
  markTwins(person.name);
  if (hadFocus) ui.wingsTitle.focus();
}

// Two people of the same name are told apart by the number of their process.
function markTwins(name) {
  const bearers = [...people.values()].filter((person) => person.name === name);
  for (const person of bearers) person.item.classList.toggle("twin", bearers.length > 1);
}

function renderCount() {
  ui.hereCount.textContent = String(people.size);
  ui.wingsTitle.textContent = `On stage \u00b7 ${people.size}`;
}

ui.members.addEventListener("click", (event) => {
  const button = event.target.closest("button.throw-out");
  if (!button || status !== "live") return;
  const item = button.closest("li");
  const [id] = [...people].find(([, person]) => person.item === item) ?? [];
  if (id === undefined) return;
  const failedWith = (words) => {
    button.disabled = false;
    setHint(words);
  };
  button.disabled = true;
  channel
    .push("throw_out", {id})
    .receive("error", (reply) => {
      failedWith(clean(reply?.reason, 300) || "The server did not throw anybody out.");
    })
    .receive("timeout", () => failedWith("The server did not answer."));
});

ui.crash.addEventListener("click", () => {
  if (status !== "live") return;
  closeDrawer();
  channel.push("crash", {});
});

function coverStage(covered) {
  for (const part of ui.stage.querySelectorAll(":scope > :is(.bar, .banner, .scene, .composer)")) {
    part.inert = covered;
  }
}

function openDrawer() {
  document.body.classList.add("drawer-open");
  coverStage(true);
  ui.rosterToggle.setAttribute("aria-expanded", "true");
  ui.rosterClose.focus();
}

function closeDrawer() {
  if (!document.body.classList.contains("drawer-open")) return;
  document.body.classList.remove("drawer-open");
  coverStage(false);
  ui.rosterToggle.setAttribute("aria-expanded", "false");
  ui.rosterToggle.focus();
}

ui.rosterToggle.addEventListener("click", openDrawer);
ui.rosterClose.addEventListener("click", closeDrawer);
ui.scrim.addEventListener("click", closeDrawer);
addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeDrawer();
});
// Wide enough for both columns: the drawer is no drawer any more.
matchMedia("(min-width: 50rem)").addEventListener("change", closeDrawer);

// ---------------------------------------------------------------------------------------------
// The log

let last = null;
let fromHistory = new Set();
let newestAt = 0;
let unseen = 0;
let unread = 0;
let sticking = true;
let lastScrollTop = 0;
let scrollPlanned = false;

function normal(kind, raw) {
  return {
    kind,
    id: raw.id,
    name: clean(raw.name, 64) || "somebody",
    text: clean(raw.text, 8000),
    how: clean(raw.how, 300),
    at: isTime(raw.at) ? raw.at : Date.now(),
  };
}

const keyOf = (entry) => JSON.stringify([entry.kind, entry.id, entry.at, entry.text, entry.how]);

function receive(kind, payload) {
  const entry = normal(kind, payload);
  if (kind === "joined") addMember(entry.id, entry.name);
  if (kind === "left") removeMember(entry.id);
  if (kind !== "said") renderCount();
  // What happened while the join was being answered may be both in its history and broadcast.
  if (fromHistory.has(keyOf(entry))) return;
  addEntry(entry);
  scrollSoon();
  if (kind !== "said" || isMine(entry)) return;
  if (!sticking) {
    unseen += 1;
    renderPill();
  }
  if (document.hidden) {
    unread += 1;
    renderTitle();
  }
}

function setLog(rawEntries) {
  const entries = rawEntries
    .filter((raw) => raw && ["said", "joined", "left"].includes(raw.kind))
    .slice(-MAX_ENTRIES)
    .map((raw) => normal(raw.kind, raw));
  // Old news must not be read aloud again.
  ui.scroller.setAttribute("aria-live", "off");
  last = null;
  newestAt = 0;
  fromHistory = new Set(entries.map(keyOf));
  ui.log.replaceChildren();
  for (const entry of entries) addEntry(entry);
  ui.empty.hidden = ui.log.childElementCount > 0;
  scrollSoon();
  setTimeout(() => ui.scroller.setAttribute("aria-live", "polite"), 300);
}

// An id alone may have been given anew after a restart of the server.
const isMine = (entry) => myIds.has(entry.id) && entry.name === me.name;

function addEntry(entry) {
  if (last && new Date(last.at).toDateString() !== new Date(entry.at).toDateString()) {
    ui.log.append(make("li", "day", dayName.format(entry.at)));
    last = null;
  }
  const grouped = last !== null && last.kind === "said" && entry.kind === "said" &&
    last.id === entry.id && last.name === entry.name && entry.at - last.at < GROUP_MS;
  ui.log.append(entry.kind === "said" ? makeSaid(entry, grouped) : makeDirection(entry));
  last = entry;
  newestAt = Math.max(newestAt, entry.at);
  trim();
}

function trim() {
  ui.empty.hidden = true;
  while (ui.log.childElementCount > MAX_ENTRIES) ui.log.firstElementChild.remove();
  // The first message shown always says whose it is.
  ui.log.firstElementChild.classList.remove("cont");
}

function makeItem(kind, entry) {
  const item = make("li", `entry ${kind} hue-${hueOf(entry.name)}`);
  item.dataset.kind = kind;
  if (entry.id !== undefined) item.dataset.id = String(entry.id);
  if (isMine(entry)) item.classList.add("own");
  return item;
}

function makeSaid(entry, grouped) {
  const item = makeItem("said", entry);
  if (grouped) item.classList.add("cont");
  const who = make("p", "who");
  who.append(make("bdi", "name", entry.name));
  const text = make("div", "text", entry.text);
  text.dir = "auto";
  item.append(who, text, makeTime(entry.at));
  if (entry.text.length > LONG_TEXT || entry.text.split("\n").length > LONG_LINES) {
    text.classList.add("clamped");
    const more = make("button", "more", "Show all");
    more.type = "button";
    item.append(more);
  }
  return item;
}

function makeDirection(entry) {
  const item = makeItem(entry.kind, entry);
  const words = make("p", "direction");
  words.append(make("bdi", "name", entry.name), entry.kind === "joined" ? " is here" : " is gone");
  if (entry.kind === "left") {
    item.dataset.how = entry.how;
    const [, tag] = TAGS.find(([start]) => entry.how.toLowerCase().startsWith(start)) ?? [];
    words.append(make("span", "unseen", ":"), " ");
    words.append(make("span", `tag tag-${tag ?? "other"}`, entry.how || "nobody knows how"));
  }
  item.append(words, makeTime(entry.at));
  return item;
}

// Something the page itself has to say.
function addNote(note, words) {
  const item = make("li", "entry note");
  item.dataset.kind = "note";
  item.dataset.note = note;
  item.append(make("p", "direction", words), makeTime(Date.now()));
  ui.log.append(item);
  last = null;
  trim();
  scrollSoon();
}

ui.log.addEventListener("click", (event) => {
  const more = event.target.closest("button.more");
  if (!more) return;
  more.previousElementSibling.previousElementSibling.classList.remove("clamped");
  more.remove();
});

// Sticking means that the end of the log is kept in view. Entries are added without measuring
// anything; one frame later, however many there were, the log scrolls once. While sticking, the
// browser's own scroll anchoring is off, so that every scroll event is the user's or our own.
function setSticking(on) {
  sticking = on;
  ui.scroller.classList.toggle("sticking", on);
  if (!on) return;
  unseen = 0;
  renderPill();
  scrollSoon();
}

function scrollSoon() {
  if (!sticking || scrollPlanned) return;
  scrollPlanned = true;
  requestAnimationFrame(() => {
    scrollPlanned = false;
    if (sticking) ui.scroller.scrollTop = ui.scroller.scrollHeight;
  });
}

ui.scroller.addEventListener("scroll", () => {
  const {scrollTop, scrollHeight, clientHeight} = ui.scroller;
  const below = scrollHeight - clientHeight - scrollTop;
  if (sticking && scrollTop < lastScrollTop && below > 4) setSticking(false);
  else if (!sticking && scrollTop >= lastScrollTop && below < 48) setSticking(true);
  lastScrollTop = scrollTop;
}, {passive: true});

// The keyboard of a phone and the growing field take room away from the log.
new ResizeObserver(() => {
  lastScrollTop = 0;
  scrollSoon();
}).observe(ui.scroller);

function renderPill() {
  ui.pill.hidden = unseen === 0;
  ui.pill.textContent = unseen === 1 ? "1 new message" : `${unseen} new messages`;
}

ui.pill.addEventListener("click", () => {
  setSticking(true);
  focusText();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  renderTitle();
  scrollSoon();
  checkConnection();
});

// ---------------------------------------------------------------------------------------------
// Saying something

// Messages that the server has not confirmed yet, and those it never did.
const unconfirmed = new Set();
let failed = [];

function setHint(words) {
  ui.hint.textContent = words;
  if (words) ui.text.setAttribute("aria-invalid", "true");
  else ui.text.removeAttribute("aria-invalid");
}

function fitText() {
  if (!CSS.supports("field-sizing", "content")) {
    ui.text.style.height = "auto";
    ui.text.style.height = `${ui.text.scrollHeight}px`;
  }
  const length = ui.text.value.length;
  ui.count.textContent = length >= COUNT_FROM ? `${length} of ${MAX_TEXT}` : "";
}

function say() {
  const text = ui.text.value.trim();
  if (!text) return;
  if (status !== "live") {
    setHint("You are not connected. Your text stays here.");
    return;
  }
  if (text.length > MAX_TEXT) {
    setHint(`A message can have ${MAX_TEXT} characters at most.`);
    return;
  }
  const saying = {text, id: me.id, after: newestAt, settled: false};
  const settle = (problem) => {
    if (saying.settled) return;
    saying.settled = true;
    unconfirmed.delete(saying);
    if (problem) giveBack(saying, problem);
  };
  unconfirmed.add(saying);
  setHint("");
  ui.text.value = "";
  fitText();
  setSticking(true);
  channel
    .push("say", {text})
    .receive("ok", () => settle(""))
    .receive("error", (reply) => {
      settle(clean(reply?.reason, 300) || "The server did not take this message.");
    })
    .receive("timeout", () => settle("The server did not confirm this message."));
}

// Put a text that was not accepted back into the field, before anything typed since.
function giveBack(saying, problem) {
  const typed = ui.text.value;
  ui.text.value = typed.trim() ? `${saying.text}\n${typed}` : saying.text;
  fitText();
  setHint(problem);
}

function failUnconfirmed() {
  for (const saying of [...unconfirmed].reverse()) {
    saying.settled = true;
    failed.unshift(saying);
    giveBack(saying, "The server has not confirmed this message.");
  }
  unconfirmed.clear();
}

// After a rejoin the history tells which of the unconfirmed messages did arrive: those are taken
// out of the field again, unless the user has already changed them.
function settleFailed(history) {
  let missing = 0;
  for (const saying of failed) {
    const arrived = history.some((raw) => raw?.kind === "said" && raw.id === saying.id &&
      raw.at > saying.after && clean(raw.text, 8000).trim() === saying.text);
    if (!arrived) {
      missing += 1;
      continue;
    }
    if (ui.text.value === saying.text) ui.text.value = "";
    else if (ui.text.value.startsWith(`${saying.text}\n`)) {
      ui.text.value = ui.text.value.slice(saying.text.length + 1);
    }
  }
  failed = [];
  fitText();
  const words = "This did not reach the server. Send it again if you like.";
  setHint(missing && ui.text.value ? words : "");
}

ui.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  say();
});
ui.text.addEventListener("input", () => {
  fitText();
  if (ui.hint.textContent) setHint("");
});
ui.text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  say();
});

// ---------------------------------------------------------------------------------------------
// Curtain up

ui.name.value = recall("exeunt.name").slice(0, 32);
ui.room.value = roomFromHash() || ui.room.value || "lobby";
(ui.name.value ? ui.enter : ui.name).focus();

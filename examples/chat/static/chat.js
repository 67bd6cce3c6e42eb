// The page of the exeunt chat.
//
// Every name in the list of those present stands for processes on the server, one for each tab. When
// such a process ends, the server says so and says why, and this page shows it. Sockets, heartbeats,
// reconnecting and rejoining are the official phoenix client's business.
//
//   page.js       small things
//   session.js    who one is, and the connection
//   room.js       one room: its log, its people         inbox.js     private messages
//   outbox.js     what the server has not confirmed yet
//   log-view.js   shows a log                            side-view.js  shows rooms and people
//   chat.js       puts them together: the door, the stage, what is typed

import {announce, byId, clean, recall, remember} from "./page.js";
import {Inbox} from "./inbox.js";
import {addEntry, scrollSoon, setSticking, showLog, showPending} from "./log-view.js";
import {Room} from "./room.js";
import {Refused, Session} from "./session.js";
import {close as closeSide, showPeople, showPlaces} from "./side-view.js";

const MAX_TEXT = 2000;
const COUNT_FROM = 1800;
const ENTER_MS = 10000;
const REFUSED_AFTER = 4;

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
  leave: byId("leave"),
  banner: byId("banner"),
  bannerText: byId("banner-text"),
  bannerCount: byId("banner-count"),
  retry: byId("retry"),
  comeBack: byId("come-back"),
  rooms: byId("rooms"),
  conversations: byId("conversations"),
  openForm: byId("open-form"),
  openRoom: byId("open-room"),
  openError: byId("open-error"),
  composer: byId("composer"),
  hint: byId("hint"),
  text: byId("text"),
  textLabel: byId("text-label"),
  send: byId("send"),
  count: byId("count"),
  members: byId("members"),
  crash: byId("crash"),
  crashRoom: byId("crash-room"),
  crashBot: byId("crash-bot"),
};

// All of this is null, or empty, at the door.
let session = null;
let inbox = null;
let rooms = new Map();
let open = new Map();
let current = null;
let isEntering = false;
let enterTimer = 0;
let countTimer = 0;
// What is typed into the field, for each place.
let drafts = new Map();

// -------------------------------------------------------------------------------------------------
// The door

ui.doorForm.addEventListener("submit", (event) => {
  event.preventDefault();
  if (isEntering) return;
  const name = ui.name.value.trim();
  const room = ui.room.value.trim();
  if (!name) showDoor("Choose a name first.", ui.name);
  else if (!room) showDoor("Choose a room first.", ui.room);
  else enter(name, room);
});

async function enter(name, room) {
  showDoor("");
  isEntering = true;
  render();
  const entering = new Session(name, connectionChanged);
  session = entering;
  try {
    await entering.signIn();
  } catch (error) {
    if (session !== entering) return;
    if (error instanceof Refused) showDoor(error.message, ui.name);
    else showDoor("The server cannot be reached. Try again in a moment.");
    return;
  }
  if (session !== entering) return;
  enterTimer = setTimeout(() => showDoor("The room does not answer. Try again in a moment."), ENTER_MS);
  entering.connect();
  const own = new Inbox(entering, (...news) => {
    if (inbox === own) inboxChanged(...news);
  });
  inbox = own;
  entering.becameAnother = () => own.join();
  const lobby = entering.socket.channel("lobby");
  const list = ({rooms: told}) => {
    for (const {name: one, people} of told) {
      if (people === null) open.delete(one);
      else open.set(one, people);
    }
    renderPlaces();
  };
  lobby.on("rooms", list);
  lobby.join().receive("ok", (welcome) => {
    open.clear();
    list(welcome);
  });
  openRoom(room);
}

function connectionChanged() {
  if (isEntering && session?.failures >= REFUSED_AFTER) {
    showDoor("The server does not let you connect. Try again in a moment.");
  }
  render();
}

// Back to the door, with all that was behind it given up.
function showDoor(problem, field) {
  const wasOnStage = current !== null;
  clearTimeout(enterTimer);
  clearInterval(countTimer);
  isEntering = false;
  const leaving = session;
  session = inbox = current = null;
  leaving?.disconnect();
  rooms = new Map();
  open = new Map();
  drafts = new Map();
  closeSide();
  ui.stage.hidden = true;
  ui.door.hidden = false;
  ui.doorError.textContent = problem;
  for (const input of [ui.name, ui.room]) {
    if (problem && input === field) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
  render();
  if (field) field.focus();
  else if (wasOnStage || problem) ui.enter.focus();
}

function showStage() {
  clearTimeout(enterTimer);
  isEntering = false;
  remember("exeunt.name", session.name);
  ui.door.hidden = true;
  ui.stage.hidden = false;
}

// -------------------------------------------------------------------------------------------------
// Places: rooms and private conversations

function openRoom(name) {
  const known = rooms.get(name);
  if (known) {
    show(known);
    return;
  }
  const room = new Room(session, name, (what, detail) => roomChanged(room, what, detail));
  rooms.set(name, room);
  renderPlaces();
}

function roomChanged(room, what, detail) {
  if (rooms.get(room.name) !== room) return;
  if (what === "status") statusChanged(room);
  placeChanged(room, what, detail);
}

function statusChanged(room) {
  if (room.status === "live" && (isEntering || room.isNew !== false)) {
    // Joined for the first time: that is where one wants to be.
    room.isNew = false;
    if (isEntering) showStage();
    show(room);
  } else if (room.status === "refused" || (room.status === "out" && room.isNew !== false)) {
    // Refused before it was ever joined, or, after a restart of the server, at a later join.
    rooms.delete(room.name);
    if (isEntering) {
      showDoor(room.problem, ui.room);
    } else if (room === current) {
      const [other] = rooms.values();
      if (other) show(other);
      else showDoor(room.problem, ui.room);
    } else {
      ui.openError.textContent = room.problem;
    }
    renderPlaces();
  }
}

function inboxChanged(what, conversation, detail) {
  if (what === "pending") conversation = current;
  if (conversation) placeChanged(conversation, what, detail);
}

function placeChanged(place, what, detail) {
  if (what === "entry") newEntry(place, detail);
  if (place !== current) {
    if (what === "rejected") place.problem = detail.reason;
    renderPlaces();
    return;
  }
  if (what === "log") showLog(place, session.ids);
  else if (what === "people") showPeople(place, session.id);
  else if (what === "pending") showPending(place.pending);
  else if (what === "rejected") giveBack(detail.text, detail.reason);
  else if (what === "problem") setHint(detail);
  else if (what === "status") {
    showPeople(place, session.id);
    render();
  }
}

function newEntry(place, entry) {
  if (place === current) {
    addEntry(entry);
    if (!document.hidden) markRead(place);
  } else if (!place.isRoom && place.unread > 0) {
    announce(`${clean(entry.name, 64)} whispers to you.`);
  }
  renderPlaces();
}

function markRead(place) {
  place.unread = 0;
  if (!place.isRoom) inbox.read();
}

function show(place) {
  if (current) {
    current.type(false);
    drafts.set(current.key, ui.text.value);
  }
  current = place;
  markRead(place);
  ui.title.firstElementChild.textContent = place.title;
  ui.text.value = drafts.get(place.key) ?? "";
  const words = place.isRoom ? "Say something" : `Whisper to ${place.title}`;
  ui.text.placeholder = words;
  ui.textLabel.textContent = place.isRoom ? `Message for ${place.title}` : words;
  fitText();
  setHint("");
  ui.openError.textContent = "";
  history.replaceState(null, "", place.isRoom ? `#room=${encodeURIComponent(place.name)}` : "#");
  closeSide();
  showLog(place, session.ids);
  showPeople(place, session.id);
  render();
  focusText();
}

function leave() {
  const left = current;
  if (!left.isRoom) inbox.conversations.delete(left.user);
  else rooms.delete(left.name);
  const [other] = rooms.values();
  if (left.isRoom && !other) {
    const leaving = session;
    const isConnected = left.status === "live";
    left.leave();
    if (isConnected) leaving.disconnectAfterLeaving(left.key);
    session = isConnected ? null : session;
    showDoor("");
    return;
  }
  if (left.isRoom) left.leave();
  show(other);
}

ui.leave.addEventListener("click", leave);

ui.rooms.addEventListener("click", (event) => {
  const item = event.target.closest("button")?.closest("li");
  if (item) openRoom(item.dataset.key.slice("room:".length));
});
ui.conversations.addEventListener("click", (event) => {
  const item = event.target.closest("button")?.closest("li");
  if (item) show(inbox.conversations.get(item.dataset.key.slice("user:".length)));
});
ui.openForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const name = ui.openRoom.value.trim();
  ui.openError.textContent = "";
  if (!name) return;
  ui.openRoom.value = "";
  openRoom(name);
});
ui.members.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const person = button && current.people.find(({user}) => user === button.closest("li").dataset.key);
  if (!person) return;
  if (button.dataset.action === "whisper") show(inbox.with(person.user, person.name));
  else current.throwOut(person.user);
});

addEventListener("hashchange", () => {
  const room = roomFromHash();
  if (!room) return;
  if (session && !isEntering) openRoom(room);
  else ui.room.value = room;
});

function roomFromHash() {
  const room = new URLSearchParams(location.hash.slice(1)).get("room") ?? "";
  return room.trim().slice(0, 32);
}

// -------------------------------------------------------------------------------------------------
// What the page says about itself

function statusOf(place) {
  if (isEntering) return "entering";
  return place?.status ?? "away";
}

function render() {
  const status = statusOf(current);
  document.body.dataset.view = current ? "stage" : "door";
  document.body.dataset.status = status;
  const words = {
    live: `as ${session?.name}`,
    lost: "not connected",
    crashed: "crashed",
    out: "thrown out",
  };
  ui.stateText.textContent = words[status] ?? "";
  ui.enter.textContent = isEntering ? "Entering\u2026" : "Enter";
  ui.enter.setAttribute("aria-disabled", String(isEntering));
  ui.send.setAttribute("aria-disabled", String(status === "out"));
  const canCrash = status === "live" && current.isRoom;
  for (const button of [ui.crash, ui.crashRoom, ui.crashBot]) {
    button.setAttribute("aria-disabled", String(!canCrash));
  }
  ui.leave.textContent = current && !current.isRoom ? "Close" : "Leave";
  renderBanner(status);
  renderPlaces();
}

function renderBanner(status) {
  const offline = !navigator.onLine && ["live", "lost", "crashed"].includes(status);
  const words = {
    lost: "Connection lost, trying again\u2026",
    crashed: "Your handler crashed. The server is starting a new one\u2026",
    out: current?.problem,
  };
  const text = offline
    ? "This device is offline. The chat goes on as soon as the network is back."
    : words[status] ?? "";
  if (ui.bannerText.textContent !== text) {
    ui.bannerText.textContent = text;
    announce(text);
  }
  ui.banner.hidden = text === "";
  ui.banner.dataset.kind = offline ? "offline" : status;
  ui.retry.hidden = offline || status !== "lost";
  ui.comeBack.hidden = status !== "out";
  clearInterval(countTimer);
  ui.bannerCount.textContent = "";
  if (status === "out") {
    const tick = () => {
      const left = current?.status === "out" ? Math.ceil((current.outUntil - Date.now()) / 1000) : 0;
      ui.bannerCount.textContent = left > 0 ? `Come back in ${left} s.` : "";
      ui.comeBack.disabled = left > 0;
      if (left <= 0) clearInterval(countTimer);
    };
    countTimer = setInterval(tick, 250);
    tick();
  }
}

function renderPlaces() {
  if (!session || !inbox) return;
  showPlaces(open, rooms, inbox.conversations, current);
  const unread = [...rooms.values(), ...inbox.conversations.values()]
    .reduce((sum, place) => sum + place.unread, 0);
  const where = current ? `${current.title} \u00b7 exeunt` : "exeunt";
  document.title = unread > 0 ? `(${unread}) ${where}` : where;
}

ui.retry.addEventListener("click", () => {
  focusText();
  session.reconnect();
});
ui.comeBack.addEventListener("click", () => {
  current.comeBack();
  focusText();
});

addEventListener("offline", render);
addEventListener("online", () => {
  render();
  if (session && !isEntering) session.check();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !current) return;
  markRead(current);
  renderPlaces();
  scrollSoon();
});

// -------------------------------------------------------------------------------------------------
// Saying something

// Where there is no real keyboard, taking the focus would bring up one on the screen.
function focusText() {
  if (matchMedia("(pointer: coarse)").matches) ui.title.focus();
  else ui.text.focus();
}

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

// Put a text that was not taken back into the field, before anything typed since.
function giveBack(text, problem) {
  const typed = ui.text.value;
  ui.text.value = typed.trim() ? `${text}\n${typed}` : text;
  fitText();
  setHint(problem);
}

function say() {
  const text = ui.text.value.trim();
  if (!text || current.status === "out") return;
  if (text.length > MAX_TEXT) {
    setHint(`A message can have ${MAX_TEXT} characters at most.`);
    return;
  }
  const problem = obey(text);
  if (problem === undefined) current.send(text);
  setHint(problem ?? "");
  if (problem) return;
  ui.text.value = "";
  fitText();
  setSticking(true);
}

// Do what a command says. Returns a problem, "" if it is done, undefined if it is no command of
// the page's: then it is said like anything else, and perhaps the bot knows it.
function obey(text) {
  const [, command, rest] = /^\/(\w+)\s*(.*)$/s.exec(text) ?? [];
  if (!["kick", "msg", "crash"].includes(command)) return undefined;
  if (!current.isRoom) return "That can be done in a room only.";
  if (command === "crash") {
    if (rest === "bot") return undefined;
    if (rest !== "" && rest !== "room") return "Say /crash, /crash room or /crash bot.";
    current.crash(rest === "room" ? "room" : "handler");
    return "";
  }
  // Names may have spaces: the longest one that fits is meant.
  const found = current.people
    .filter(({name}) => `${rest} `.toLowerCase().startsWith(`${name.toLowerCase()} `))
    .sort((a, b) => b.name.length - a.name.length);
  const [person, second] = found;
  if (!person) return "There is nobody of that name here.";
  if (second?.name === person.name) return "There are several of that name: press the right one.";
  const words = rest.slice(person.name.length).trim();
  if (command === "kick") {
    current.throwOut(person.user);
    return "";
  }
  if (person.user === session.id || person.isBot) return `${person.name} hears you anyway.`;
  if (!words) return "Say /msg, a name, and what you want to whisper.";
  const conversation = inbox.with(person.user, person.name);
  conversation.send(words);
  renderPlaces();
  return "";
}

ui.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  say();
});
ui.text.addEventListener("input", () => {
  fitText();
  if (ui.hint.textContent) setHint("");
  current.type(ui.text.value.trim() !== "" && !ui.text.value.startsWith("/"));
});
ui.text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  say();
});

ui.crash.addEventListener("click", () => {
  closeSide();
  if (current.isRoom) current.crash("handler");
});
ui.crashRoom.addEventListener("click", () => {
  closeSide();
  if (current.isRoom) current.crash("room");
});
ui.crashBot.addEventListener("click", () => {
  closeSide();
  if (current.isRoom && current.status === "live") current.send("/crash bot");
});

// -------------------------------------------------------------------------------------------------
// Curtain up

ui.name.value = recall("exeunt.name").slice(0, 32);
ui.room.value = roomFromHash() || ui.room.value || "lobby";
(ui.name.value ? ui.enter : ui.name).focus();

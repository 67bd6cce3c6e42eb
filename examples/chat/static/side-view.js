// The two columns beside the log, which are drawers on a phone: the places on the left, and on the
// right who is here.

import {byId, hueOf, make, makeButton} from "./page.js";

const ui = {
  bar: [...document.querySelectorAll("#stage > :is(.bar, .banner, .scene, .composer)")],
  scrim: byId("scrim"),
  rooms: byId("rooms"),
  conversations: byId("conversations"),
  noConversations: byId("no-conversations"),
  badge: byId("places-unread"),
  members: byId("members"),
  wingsTitle: byId("wings-title"),
  justTwo: byId("just-two"),
  hereCount: byId("here-count"),
  typing: byId("typing"),
};

// A list is rendered anew whenever something in it changes; whoever has the focus keeps it.
function render(list, items) {
  const focused = list.contains(document.activeElement)
    ? [document.activeElement.closest("li").dataset.key, document.activeElement.dataset.action]
    : null;
  list.replaceChildren(...items);
  if (!focused) return;
  const [key, action] = focused;
  const item = [...list.children].find((one) => one.dataset.key === key);
  const button = item && [...item.querySelectorAll("button")]
    .find((one) => one.dataset.action === action);
  (button ?? list.closest(".side").querySelector("h2")).focus();
}

function makeAction(className, text, action) {
  const button = makeButton(className, text);
  button.dataset.action = action;
  return button;
}

// -- the places

function makePlace(key, title, {isCurrent, isJoined, unread, people}) {
  const item = make("li", "place");
  item.dataset.key = key;
  const button = makeAction("place-name", undefined, "show");
  button.append(make("bdi", "title", title));
  if (people !== undefined) {
    const count = make("span", "count", String(people));
    count.title = people === 1 ? "one person" : `${people} people`;
    button.append(make("span", "unseen", ", people: "), count);
  }
  if (unread > 0) {
    button.append(make("span", "unseen", ", new messages: "), make("span", "badge", String(unread)));
  }
  if (isCurrent) button.setAttribute("aria-current", "page");
  item.classList.toggle("joined", isJoined);
  item.append(button);
  return item;
}

// `open` is what the server says is open: names and numbers of people.
export function showPlaces(open, rooms, conversations, current) {
  const names = [...new Set([...rooms.keys(), ...[...open.keys()].sort()])];
  render(ui.rooms, names.map((name) => {
    const room = rooms.get(name);
    return makePlace(`room:${name}`, name, {
      isCurrent: room !== undefined && room === current,
      isJoined: room !== undefined,
      unread: room?.unread ?? 0,
      people: open.get(name) ?? 0,
    });
  }));
  render(ui.conversations, [...conversations.values()].map((conversation) =>
    makePlace(conversation.key, conversation.title, {
      isCurrent: conversation === current,
      isJoined: true,
      unread: conversation.unread,
    })));
  ui.noConversations.hidden = conversations.size > 0;
  const elsewhere = [...rooms.values(), ...conversations.values()]
    .reduce((sum, place) => sum + place.unread, 0);
  ui.badge.hidden = elsewhere === 0;
  ui.badge.textContent = elsewhere > 99 ? "99+" : String(elsewhere);
}

// -- who is here

export function showPeople(place, me) {
  const people = [...place.people];
  // Oneself first, the bot last.
  people.sort((a, b) => (b.user === me) - (a.user === me) || a.isBot - b.isBot);
  const names = people.map((person) => person.name);
  render(ui.members, people.map((person) => {
    const hasTwin = names.indexOf(person.name) !== names.lastIndexOf(person.name);
    return makeMember(person, place, me, hasTwin);
  }));
  const count = people.filter((person) => !person.isBot).length;
  ui.hereCount.textContent = String(count);
  ui.wingsTitle.textContent = place.isRoom ? `On stage \u00b7 ${count}` : "In private";
  ui.justTwo.hidden = place.isRoom;
  showTyping(people.filter((person) => person.isTyping && person.user !== me));
}

function makeMember(person, place, me, hasTwin) {
  const {user, name, tabs, isBot, isTyping} = person;
  const item = make("li", `member ${hueOf(name)}`);
  item.dataset.key = user;
  const label = make("bdi", "member-name", name);
  if (user === me || isBot) {
    label.title = name;
    item.append(label);
  } else {
    const button = makeAction("whisper", undefined, "whisper");
    button.title = `Whisper to ${name}`;
    button.append(make("span", "unseen", "Whisper to "), label);
    item.append(button);
  }
  // Names are not unique: the beginning of the id tells two bearers of one apart.
  if (hasTwin) item.append(make("span", "mark", `#${user.slice(0, 4)}`));
  if (tabs > 1) {
    const count = make("span", "mark tabs", `\u00d7${tabs}`);
    count.title = `in ${tabs} tabs`;
    item.append(make("span", "unseen", `, in ${tabs} tabs`), count);
  }
  if (user === place.host) item.append(make("span", "mark", "host"));
  if (isBot) {
    item.dataset.bot = "";
    item.append(make("span", "mark", "bot"));
  }
  const dots = make("span", "dots", "\u2026");
  dots.hidden = !isTyping;
  dots.title = "is typing";
  item.append(dots);
  if (user === me) {
    item.classList.add("own");
    item.append(make("span", "you", "you"));
  } else if (place.isHost && !isBot) {
    const button = makeAction("throw-out", "throw out", "throw-out");
    button.setAttribute("aria-label", `Throw out ${name}`);
    button.disabled = place.status !== "live";
    item.append(button);
  }
  return item;
}

function showTyping(people) {
  const names = people.map((person) => person.name);
  ui.typing.replaceChildren();
  if (names.length === 0) return;
  if (names.length > 3) {
    ui.typing.textContent = "Several people are typing\u2026";
    return;
  }
  names.forEach((name, index) => {
    if (index > 0) ui.typing.append(index === names.length - 1 ? " and " : ", ");
    ui.typing.append(make("bdi", "name", name));
  });
  ui.typing.append(names.length === 1 ? " is typing\u2026" : " are typing\u2026");
}

// -- the drawers

let openSide = null;

function open(side, toggle) {
  close();
  openSide = {side, toggle};
  side.classList.add("open");
  ui.scrim.classList.add("open");
  for (const part of ui.bar) part.inert = true;
  toggle.setAttribute("aria-expanded", "true");
  side.querySelector(".close").focus();
}

export function close() {
  if (!openSide) return;
  const {side, toggle} = openSide;
  openSide = null;
  side.classList.remove("open");
  ui.scrim.classList.remove("open");
  for (const part of ui.bar) part.inert = false;
  toggle.setAttribute("aria-expanded", "false");
  toggle.focus();
}

for (const [side, toggle] of [["places", "places-toggle"], ["wings", "roster-toggle"]]) {
  byId(toggle).addEventListener("click", () => open(byId(side), byId(toggle)));
  byId(side).querySelector(".close").addEventListener("click", close);
}
ui.scrim.addEventListener("click", close);
addEventListener("keydown", (event) => {
  if (event.key === "Escape") close();
});
// Wide enough for the columns: a drawer is no drawer any more.
matchMedia("(min-width: 60rem)").addEventListener("change", close);

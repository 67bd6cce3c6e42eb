// The lobby's page: phoenix.js, one channel, and what comes from it.

/* global Phoenix */

const by = (id) => document.getElementById(id);
let channel = null;

const socket = new Phoenix.Socket("/socket");
socket.onOpen(() => say("connected"));
socket.onError(() => say("no connection; it is tried again"));
socket.connect();

by("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = by("name").value.trim();
  channel = socket.channel("lobby", {name});
  channel.on("entered", ({name, here}) => tell(`${name} has entered`, here));
  channel.on("left", ({name, here}) => tell(`${name} has left`, here));
  channel.on("waved", ({name}) => tell(`${name} waves`));
  // Also after each reconnection: then this page is somebody new to the server.
  channel.join()
    .receive("ok", ({here}) => {
      show(true);
      tell("you are in", here);
    })
    .receive("error", ({reason}) => {
      say(reason);
      channel.leave();
    });
});

by("wave").addEventListener("click", () => channel.push("wave", {}));

by("leave").addEventListener("click", () => {
  channel.leave();
  show(false);
});

function show(isInside) {
  by("enter").hidden = isInside;
  by("inside").hidden = !isInside;
}

function say(text) {
  by("state").textContent = text;
}

function item(text) {
  const element = document.createElement("li");
  element.textContent = text; // as text: a name may look like HTML
  return element;
}

function tell(text, here) {
  by("log").prepend(item(`${new Date().toLocaleTimeString()} ${text}`));
  if (here) by("here").replaceChildren(...here.map(item));
}

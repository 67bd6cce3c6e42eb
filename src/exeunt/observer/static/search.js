// What is found by a name or a key: the best of it is shown closely, and the others can be chosen.

import {make, number, pidButton, setNamed, setText, titleOf} from "./page.js";

export class Search {
  constructor(ui, look) {
    this.ui = ui;
    this.look = look; // called with the pid of the best
    this.session = null;
    this.asked = 0; // so that an answer that comes late is none to the question asked last
    ui.close.addEventListener("click", () => {
      this.close();
      ui.field.focus();
    });
    // The field is emptied, by the cross in it too.
    ui.field.addEventListener("input", () => {
      if (!ui.field.value) this.close();
    });
  }

  close() {
    this.asked += 1;
    this.ui.pane.hidden = true;
    this.ui.list.replaceChildren();
  }

  ask(text) {
    this.close();
    const {asked} = this;
    const tell = (note) => {
      if (asked !== this.asked) return;
      this.ui.pane.hidden = false;
      setText(this.ui.note, note);
    };
    this.session.find(text)
      .receive("ok", ({found, total}) => {
        if (asked !== this.asked) return;
        if (!found.length) {
          tell(`No process has “${text}” in its name or key.`);
          return;
        }
        this.look(found[0].pid);
        if (total === 1) return;
        const shown = found.length < total ? `; the best ${number(found.length)}` : "";
        tell(`${number(total)} have “${text}” in their name or key${shown}:`);
        this.ui.list.replaceChildren(...found.map((one) => this.item(one)));
        this.mark(found[0].pid);
      })
      .receive("error", ({reason}) => tell(reason))
      .receive("timeout", () => tell("The observer has not answered."));
  }

  item(one) {
    const item = make("li");
    const button = pidButton(one.pid, "");
    const title = titleOf(one);
    const name = make("span", "named");
    setNamed(name, title);
    const more = [title === one.label ? "" : one.label, one.socket].filter(Boolean);
    button.append(name, ...more.map((text) => make("span", "soft", text)), make("span", "pid", one.pid));
    item.append(button);
    return item;
  }

  // Mark the one that is shown closely.
  mark(pid) {
    for (const button of this.ui.list.querySelectorAll("button")) {
      if (button.dataset.look === pid) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }
}

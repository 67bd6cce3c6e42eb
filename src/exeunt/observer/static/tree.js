// The supervision tree: a row for each process, from the top down, updated in place.

import {duration, make, number, setData, setNamed, setText, titleOf} from "./page.js";

const MANY = 300; // rows, from which on those out of sight are not laid out
const FLASH = {new: 2000, restart: 3000};

export class Tree {
  constructor(root, choose) {
    this.root = root;
    this.choose = choose;
    this.rows = new Map(); // by key, what is on the page
    this.closed = new Set(); // keys of those whose children are hidden
    this.known = new Set(); // keys that were folded or not, as they came
    this.order = [];
    this.focused = null;
    this.chosen = null;
    this.isFirst = true;
    root.addEventListener("keydown", (event) => this.pressed(event));
    root.addEventListener("click", (event) => this.clicked(event));
  }

  // Begin anew: what comes next is not news.
  reset() {
    this.isFirst = true;
  }

  draw(store) {
    const {node} = store;
    if (!node) return;
    this.store = store;
    this.processes = store.rows("process");
    this.order = [];
    for (const [index, key] of node.roots.entries()) {
      const isLast = index === node.roots.length - 1 && node.more_roots === 0;
      this.walk(key, 0, [], isLast, node.roots.length > 1, index + 1, node.roots.length);
    }
    if (node.more_roots > 0) {
      this.order.push({key: "/more", depth: 0, lines: [], more: node.more_roots});
    }
    setData(this.root, "many", this.order.length > MANY);
    const present = new Set();
    let before = null;
    for (const place of this.order) {
      present.add(place.key);
      let row = this.rows.get(place.key);
      if (!row) {
        row = place.more === undefined ? this.makeRow(place.key) : this.makeMore();
        this.rows.set(place.key, row);
      }
      const next = before ? before.nextSibling : this.root.firstChild;
      if (row.element !== next) this.root.insertBefore(row.element, next);
      before = row.element;
      if (place.more === undefined) this.update(row, place, node);
      else {
        this.guide(row, place.lines);
        setText(row.who, `and ${place.more.toLocaleString("en")} more`);
      }
    }
    for (const [key, row] of this.rows) {
      if (present.has(key)) continue;
      row.element.remove();
      this.rows.delete(key);
    }
    if (!this.rows.has(this.focused)) this.focus(this.order[0]?.key ?? null, false);
    this.isFirst = false;
  }

  // `lines` say for each level above whether its line goes on below this row.
  walk(key, depth, lines, isLast, hasLine, index, count) {
    const process = this.processes[key];
    if (!process) return;
    if (process.is_own && process.kind === "supervisor" && !this.known.has(key)) this.closed.add(key);
    this.known.add(key);
    const own = hasLine ? [isLast ? "corner" : "tee"] : [];
    this.order.push({key, lines: [...lines, ...own], depth, index, count});
    if (this.closed.has(key)) return;
    const below = own.length ? [...lines, isLast ? "" : "through"] : lines;
    const total = process.children.length;
    for (const [position, child] of process.children.entries()) {
      const isEnd = position === total - 1 && process.more === 0;
      this.walk(child, depth + 1, below, isEnd, true, position + 1, total);
    }
    if (process.more > 0) {
      this.order.push({
        key: `${key}/more`, lines: [...below, "corner"], depth: depth + 1, more: process.more,
      });
    }
  }

  makeRow(key) {
    const element = make("div", "row");
    element.setAttribute("role", "treeitem");
    element.tabIndex = -1;
    element.dataset.key = key;
    element.dataset.testid = "process";
    const row = {element, key, last: null, lines: null};
    const process = make("span", "cell process");
    row.guides = make("span", "guides");
    row.twist = make("button", "twist");
    row.twist.tabIndex = -1;
    row.twist.type = "button";
    row.twist.setAttribute("aria-hidden", "true");
    row.who = make("span", "who named");
    row.kind = make("span", "kind named");
    row.pid = make("span", "pid");
    const dot = make("span", "dot");
    process.append(row.guides, row.twist, dot, row.who, row.kind, row.pid);
    row.status = make("span", "cell status");
    for (const name of ["mailbox", "rate", "links", "monitors", "restarts", "uptime"]) {
      row[name] = make("span", `cell number${/links|monitors/.test(name) ? " wide" : ""}`);
    }
    row.line = make("span", "cell line wide");
    row.crash = make("span", "cell crash wide");
    element.append(
      process, row.status, row.mailbox, row.rate, row.links, row.monitors, row.restarts, row.uptime,
      row.line, row.crash,
    );
    return row;
  }

  makeMore() {
    const element = make("div", "row more");
    element.setAttribute("role", "treeitem");
    element.tabIndex = -1;
    const process = make("span", "cell process");
    const row = {element, guides: make("span", "guides"), who: make("span", "kind"), lines: null};
    process.append(row.guides, row.who);
    element.append(process);
    return row;
  }

  guide(row, lines) {
    const text = lines.join(",");
    if (row.lines === text) return;
    row.lines = text;
    row.guides.replaceChildren(...lines.map((line) => {
      const guide = make("span", "guide");
      guide.dataset.line = line;
      return guide;
    }));
  }

  update(row, place, node) {
    const process = this.processes[place.key];
    const {element} = row;
    const age = duration(Math.max(0, node.now - process.since));
    setText(row.uptime, process.pid && process.since ? (process.is_older ? `> ${age}` : age) : "");
    // Of a thousand rows most stay as they are from one look to the next.
    const shape = [place.lines, place.depth, place.index, place.count, this.closed.has(place.key)].join();
    if (row.process === process && row.shape === shape) return;
    Object.assign(row, {process, shape});
    this.guide(row, place.lines);
    element.setAttribute("aria-level", String(place.depth + 1));
    element.setAttribute("aria-posinset", String(place.index));
    element.setAttribute("aria-setsize", String(place.count));
    const hasChildren = process.children.length > 0 || process.more > 0;
    row.twist.classList.toggle("none", !hasChildren);
    if (hasChildren) element.setAttribute("aria-expanded", String(!this.closed.has(place.key)));
    else element.removeAttribute("aria-expanded");
    element.setAttribute("aria-selected", String(this.chosen === place.key));
    setData(element, "state", process.status);
    setData(element, "kind", process.kind);
    setData(element, "own", process.is_own);
    setData(element, "pid", process.pid);
    const title = titleOf(process);
    setNamed(row.who, title);
    setNamed(row.kind, process.label === title ? "" : process.label);
    setText(row.pid, process.pid);
    element.setAttribute("aria-label", `${title}, ${process.pid || "no process"}, ${process.status}`);
    setText(row.status, process.status);
    this.count(row.mailbox, process.mailbox);
    this.count(row.rate, process.rate);
    this.count(row.links, process.links);
    this.count(row.monitors, process.monitors);
    this.count(row.restarts, process.restarts);
    setText(row.line, process.line);
    row.line.title = process.line;
    setData(row.line, "library", / at exeunt\./.test(process.line));
    setText(row.crash, process.crash);
    row.crash.title = process.crash;
    const {last} = row;
    const isRestarted = last
      ? process.restarts > last.restarts || (last.pid && process.pid && last.pid !== process.pid)
      : process.restarts > 0;
    if (!this.isFirst && isRestarted) this.flash(row, "restart");
    else if (!this.isFirst && !last) this.flash(row, "new");
    row.last = {restarts: process.restarts, pid: process.pid || last?.pid};
  }

  count(cell, value) {
    setText(cell, number(value));
    setData(cell, "zero", value === 0);
  }

  flash(row, how) {
    clearTimeout(row.timer);
    delete row.element.dataset.flash;
    void row.element.offsetWidth; // so that the animation begins anew
    row.element.dataset.flash = how;
    row.timer = setTimeout(() => delete row.element.dataset.flash, FLASH[how]);
  }

  // -- what is done with it

  select(key) {
    this.chosen = key;
    this.rows.get(key)?.element.scrollIntoView({block: "nearest"});
    for (const row of this.rows.values()) {
      row.element.setAttribute("aria-selected", String(row.key !== undefined && row.key === key));
    }
  }

  focus(key, isMoving = true) {
    this.rows.get(this.focused)?.element.setAttribute("tabindex", "-1");
    this.focused = key;
    const row = this.rows.get(key);
    if (!row) return;
    row.element.tabIndex = 0;
    if (isMoving) {
      row.element.focus();
      row.element.scrollIntoView({block: "nearest"});
    }
  }

  refocus() {
    if (this.focused !== null) this.focus(this.focused);
  }

  fold(key, isClosed) {
    if (isClosed) this.closed.add(key);
    else this.closed.delete(key);
    this.draw(this.store);
  }

  clicked(event) {
    const element = event.target.closest(".row");
    const key = element?.dataset.key;
    if (!key) return;
    if (event.target.closest(".twist")) {
      this.fold(key, !this.closed.has(key));
      return;
    }
    this.focus(key, false);
    this.choose(key);
  }

  pressed(event) {
    const index = this.order.findIndex(({key}) => key === this.focused);
    if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const {key} = this.order[index];
    const process = this.processes[key];
    const hasChildren = process && (process.children.length > 0 || process.more > 0);
    const steps = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      Home: 0,
      End: this.order.length - 1,
    };
    if (event.key in steps) {
      const next = this.order[Math.min(Math.max(steps[event.key], 0), this.order.length - 1)];
      this.focus(next.key);
    } else if (event.key === "ArrowRight" && hasChildren) {
      if (this.closed.has(key)) this.fold(key, false);
      else this.focus(this.order[index + 1].key);
    } else if (event.key === "ArrowLeft") {
      if (hasChildren && !this.closed.has(key)) this.fold(key, true);
      else {
        const depth = this.order[index].depth;
        const above = this.order.slice(0, index).findLast((one) => one.depth < depth);
        if (above) this.focus(above.key);
      }
    } else if ((event.key === "Enter" || event.key === " ") && process) this.choose(key);
    else return;
    event.preventDefault();
  }
}

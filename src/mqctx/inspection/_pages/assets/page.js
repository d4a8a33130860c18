// Shared by the pages. What a message contains is a stranger's: it becomes text, nothing else.

function h(kind, attributes, ...children) {
  const [name, ...classes] = kind.split(".");
  const svg = name === "svg" || name === "rect" || name === "title";
  const node = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value != null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat(9)) {
    if (child != null && child !== false) node.append(child instanceof Node ? child : visible(String(child)));
  }
  return node;
}

const number = (value) => Number(value).toLocaleString("en");
const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;
const bytes = (value) =>
  value < 1000 ? `${value} B` : value < 1e6 ? `${(value / 1e3).toFixed(1)} kB` : `${(value / 1e6).toFixed(1)} MB`;

// Controls that hide or reorder text are shown by their code, as are halves of surrogate pairs.
const HIDDEN = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const visible = (text) =>
  text.replace(HIDDEN, (one) => `\\u${one.codePointAt(0).toString(16).padStart(4, "0")}`);
const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value) ?? "");
const brief = (value, longest = 200) => {
  const text = plain(value);
  return visible(text.length > longest ? `${text.slice(0, longest)}…` : text);
};

const LONG = 2000;
function whole(value) {
  let text = plain(value);
  if (typeof value === "object" && text.length > 60) text = JSON.stringify(value, null, 2);
  if (text === "") return h("span.none", null, "empty");
  const node = h("bdi.value", null, text.slice(0, LONG));
  if (text.length > LONG) {
    const more = () => node.replaceChildren(visible(text));
    node.append("… ", h("button.more", { type: "button", click: more }, `Show all ${number(text.length)} characters`));
  }
  return node;
}

const empty = (value) =>
  value == null || value === "" || typeof value === "object" && !(value instanceof Node) && !Object.keys(value).length;

function pairs(object) {
  const rows = Object.entries(object).filter(([, value]) => value != null);
  return h("table.pairs", null, h("tbody", null, rows.map(([name, value]) =>
    h("tr", null,
      h("th", { scope: "row" }, h("bdi", null, brief(name))),
      h("td", null, value instanceof Node ? value : whole(value))))));
}

function section(title, object, kind = "section") {
  if (empty(object)) return null;
  return h(kind, null, h("h4", null, title), object instanceof Node ? object : pairs(object));
}

function table(heads, rows) {
  return h("table.grid", null,
    h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col" }, brief(head, 40))))),
    h("tbody", null, rows.map((row) => h("tr", null, row.map((cell) => h("td", null, cell))))));
}

const chip = (name, value) =>
  h("span.chip", { title: `${brief(name)}=${brief(value, 1000)}` },
    h("b", null, brief(name, 40)), h("bdi", null, brief(value, 60)));
const tile = (label, value, kind = "") =>
  h(`div.tile${kind}`, null, h("dt", null, label), h("dd", null, value));

function copied(label, text) {
  if (!navigator.clipboard) return null;
  const button = h("button.quiet", {
    type: "button",
    click: () => navigator.clipboard.writeText(text()).then(
      () => { button.textContent = "Copied"; }, () => { button.textContent = "Not allowed here"; }),
  }, label);
  return button;
}

// Times. `micros` keeps what Date drops: the microseconds.
const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(.*)$/;
function micros(iso) {
  const [, second, fraction, zone] = TIME.exec(iso ?? "") ?? [];
  return second ? Date.parse(second + zone) * 1e3 + Math.round(Number(fraction ?? 0) * 1e6) : NaN;
}
const day = (ms) => new Date(ms).toISOString().slice(0, 10);
const clock = (ms, digits = 8) => (Number.isNaN(ms) ? "–" : new Date(ms).toISOString().slice(11, 11 + digits));
function duration(seconds) {
  const [size, sign] = [Math.abs(seconds), seconds < 0 ? "−" : ""];
  const short = (value, unit) => `${sign}${value < 10 ? Number(value.toFixed(1)) : Math.round(value)} ${unit}`;
  if (size < 0.00095) return size ? short(size * 1e6, "µs") : "0 ms";
  if (size < 0.9995) return short(size * 1e3, "ms");
  if (size < 60) return `${sign}${Number(size.toFixed(2))} s`;
  const [large, unit, small, rest] = size < 3600 ? [60, "min", 1, "s"]
    : size < 86400 ? [3600, "h", 60, "min"] : [86400, "d", 3600, "h"];
  const left = Math.floor((size % large) / small);
  return `${sign}${Math.floor(size / large)} ${unit}${left ? ` ${left} ${rest}` : ""}`;
}

// Search. Words and "phrases" are looked for in every value, name=value is like `--where`.
const indexed = new WeakMap();
function searchable(item) {
  if (!indexed.has(item)) {
    const [found, left] = [[], [item]];
    while (left.length) {
      const value = left.pop();
      if (value === null || typeof value !== "object") found.push(value);
      else left.push(...Object.values(value));
    }
    indexed.set(item, found.join("\n").toLowerCase());
  }
  return indexed.get(item);
}

function matcher(query, named) {
  const tests = [...query.matchAll(/(?:[^\s"]|"[^"]*"?)+/g)].map(([word]) => {
    const term = word.replaceAll('"', "");
    const [, name, pattern] = /^([^=]+)=(.*)$/s.exec(term) ?? [];
    if (name && named.knows(name)) {
      const parts = pattern.split("*").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
      const like = new RegExp(`^${parts.join(".*")}$`, "s");
      return (item) => named.values(item, name).some((value) => value != null && like.test(plain(value)));
    }
    const low = term.toLowerCase();
    return (item) => searchable(item).includes(low);
  });
  return (item) => tests.every((test) => test(item));
}

function searchBox(label, changed, leave) {
  let [due, done] = [0, ""];
  const now = () => {
    clearTimeout(due);
    if (input.value !== done) changed(done = input.value);
  };
  const input = h("input", {
    type: "search", placeholder: `${label}  /`, "aria-label": label, "aria-keyshortcuts": "/",
    autocomplete: "off", spellcheck: "false",
    input: () => { clearTimeout(due); due = setTimeout(now, 60); },
    keydown: (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        if (input.value) input.value = ""; else input.blur();
      } else if (event.key === "Enter" || event.key === "ArrowDown") event.preventDefault();
      else return;
      now();
      if (event.key !== "Escape") leave();
    },
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, textarea, select")) return;
    event.preventDefault();
    input.focus();
    input.select();
  });
  return input;
}

// A list of any length: rows are made when they come near, and unfold where they stand.
class List {
  constructor(label, row, detail, { empty: none = "Nothing matches.", size = 40 } = {}) {
    Object.assign(this, { row, detail, none, size, items: [], chunks: [], at: 0 });
    this.root = h("div.list", { role: "list", "aria-label": label, keydown: (event) => this.key(event) });
    this.root.addEventListener("focusin", (event) => this.focused(event));
    this.watch = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) this.fill(this.chunks.indexOf(entry.target));
    }, { rootMargin: "900px 0px" });
  }

  show(items) {
    this.watch.disconnect();
    Object.assign(this, { items, at: 0, chunks: [] });
    for (let from = 0; from < items.length; from += this.size) {
      const chunk = h("div.chunk", { role: "presentation" });
      chunk.style.minHeight = `calc(var(--row) * ${Math.min(this.size, items.length - from)})`;
      this.chunks.push(chunk);
    }
    this.root.replaceChildren(...(items.length ? this.chunks : [h("p.none", null, this.none)]));
    if (items.length) this.fill(0);
    for (const chunk of this.chunks.slice(1)) this.watch.observe(chunk);
  }

  fill(index) {
    const chunk = this.chunks[index];
    if (!chunk || chunk.firstChild) return;
    this.watch.unobserve(chunk);
    const from = index * this.size;
    chunk.append(...this.items.slice(from, from + this.size).map((item, i) => this.make(item, from + i)));
    chunk.style.minHeight = "";
  }

  make(item, index) {
    const button = h("button.row", {
      type: "button", "aria-expanded": "false", tabindex: index === this.at ? 0 : -1,
      click: () => this.toggle(index),
    }, this.row(item, index));
    return h("div.item", {
      role: "listitem", "aria-posinset": index + 1, "aria-setsize": this.items.length,
    }, button);
  }

  button(index) {
    this.fill(Math.floor(index / this.size));
    const item = this.chunks[Math.floor(index / this.size)]?.children[index % this.size];
    return item?.querySelector(".row");
  }

  toggle(index, wanted) {
    const button = this.button(index);
    if (!button) return;
    const open = button.getAttribute("aria-expanded") === "true";
    if (open === wanted) return;
    button.setAttribute("aria-expanded", String(!open));
    if (open) button.nextSibling.remove();
    else button.after(h("div.detail", null, this.detail(this.items[index], index)));
  }

  go(index) {
    const last = this.items.length - 1;
    const button = this.button(Math.max(0, Math.min(last, index)));
    button?.focus();
    button?.scrollIntoView({ block: "nearest" });
  }

  // The index of the item that the target stands in; lists may stand in lists.
  place(target) {
    let item = target.closest(".item");
    while (item && item.parentNode.parentNode !== this.root) item = item.parentNode.closest(".item");
    return item ? Number(item.getAttribute("aria-posinset")) - 1 : -1;
  }

  focused(event) {
    const index = this.place(event.target);
    if (index < 0 || index === this.at) return;
    this.button(this.at)?.setAttribute("tabindex", -1);
    this.at = index;
    this.button(index).setAttribute("tabindex", 0);
  }

  key(event) {
    const index = this.place(event.target);
    if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const onRow = event.target === this.button(index);
    const last = this.items.length - 1;
    const to = onRow ? {
      ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: last,
      PageDown: index + 10, PageUp: index - 10,
    }[event.key] : undefined;
    if (to !== undefined) this.go(to);
    else if (onRow && event.key === "ArrowRight") this.toggle(index, true);
    else if (onRow && event.key === "ArrowLeft") this.toggle(index, false);
    else if (event.key === "Escape" && this.button(index).getAttribute("aria-expanded") === "true") {
      this.toggle(index, false);
      this.go(index);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function load() {
  const items = [];
  for (const block of document.querySelectorAll("script.data")) {
    for (const item of JSON.parse(block.textContent)) items.push(item);
    block.remove();
  }
  return [items, JSON.parse(document.getElementById("about").textContent)];
}

function open(title, ...parts) {
  document.title = `${visible(title)} · mqctx`;
  const page = document.getElementById("page");
  page.append(...parts.filter(Boolean));
  page.removeAttribute("aria-busy");
  // After the first frame has been painted, a key or a click is answered.
  requestAnimationFrame(() => setTimeout(() => performance.mark("interactive")));
}

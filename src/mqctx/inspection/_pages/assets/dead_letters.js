// The page of `mqctx inspect`: groups, reasons over time, and every message.

const [messages, about] = load();
const MANY = 12;

// The command adds its own line, in which what is particular to one message is left out.
const why = (message) => message.why ?? message.failure?.type ?? message.deaths?.[0]?.reason ?? "not known";
function failed(message) {
  const { type, message: text } = message.failure ?? {};
  return [type, text].filter((part) => part != null).join(": ") || why(message);
}
// When it died, or was published if that is not known.
function died({ at, failure, deaths, published_at: published }) {
  if (at) return Date.parse(at);
  const times = [failure?.at, ...(deaths ?? []).map((death) => death.at)].filter(Boolean).map((time) => Date.parse(time));
  return times.length ? Math.max(...times) : Date.parse(published);
}
const when = new Map(messages.map((message) => [message, died(message)]));

const queues = [...new Set(messages.map((message) => message.queue))];
const own = ["queue", "from", "why"];
const names = [...new Set(messages.flatMap((message) => Object.keys(message.context ?? {})))];
const valueOf = (message, name) =>
  Object.hasOwn(message.context ?? {}, name) ? message.context[name]
    : name === "why" ? why(message) : own.includes(name) ? message[name] : undefined;

// What a name stands for, as in `--where`: of the context, of what was bound, else of the message.
const named = {
  knows: (name) => messages.some((message) => named.values(message, name).length),
  values: (message, name) => {
    for (const table of [message.context, message.failure?.bound]) if (Object.hasOwn(table ?? {}, name)) return [table[name]];
    return below({ ...message, message, death: message.deaths?.[0] }, name);
  },
};
function below(value, path) {
  if (Array.isArray(value)) return value.flatMap((each) => below(each, path));
  if (value === null || typeof value !== "object") return [];
  if (Object.hasOwn(value, path)) return [value[path], ...(Array.isArray(value[path]) ? value[path] : [])];
  return [...path.matchAll(/\./g)].flatMap(({ index: at }) =>
    (Object.hasOwn(value, path.slice(0, at)) ? below(value[path.slice(0, at)], path.slice(at + 1)) : []));
}

// Groups, as the command's table has them.
function grouped(by) {
  const groups = new Map();
  for (const message of messages) {
    const value = valueOf(message, by);
    const key = JSON.stringify(value) ?? "";
    if (!groups.has(key)) groups.set(key, {
      value, key, messages: 0, requests: new Set(), from: new Map(), why: new Map(), first: Infinity, last: -Infinity,
    });
    const group = groups.get(key);
    group.messages += 1;
    if (message.context?.request_id != null) group.requests.add(plain(message.context.request_id));
    if (message.from != null) tally(group.from, message.from);
    tally(group.why, why(message));
    const time = when.get(message);
    if (time < group.first) group.first = time;
    if (time > group.last) group.last = time;
  }
  return [...groups.values()].sort((a, b) => b.messages - a.messages || a.key.localeCompare(b.key));
}

const tally = (counts, key) => counts.set(key, (counts.get(key) ?? 0) + 1);
const most = (counts) => [...counts].sort((a, b) => b[1] - a[1]);

const times = [...when.values()].filter((time) => !Number.isNaN(time));
const first = times.reduce((a, b) => Math.min(a, b), Infinity);
const last = times.reduce((a, b) => Math.max(a, b), -Infinity);
const oneDay = times.length > 0 && day(first) === day(last);
const moment = (ms) =>
  !Number.isFinite(ms) ? "–" : oneDay ? clock(ms) : `${day(ms).slice(5)} ${clock(ms, 5)}`;

const reasons = new Map();
for (const message of messages) tally(reasons, why(message));
const ranked = most(reasons);
const colours = new Map(ranked.map(([reason], i) => [reason, ranked.length > 8 && i > 6 ? 8 : i + 1]));
const dot = (reason) => h(`i.dot.c${colours.get(reason)}`, { "aria-hidden": "true" });

const chosen = { query: "", by: null, key: null, value: null, why: null, from: null, to: null };
const list = new List("Messages", messageRow, messageDetail);
const search = searchBox("Search every value, or name=value", (query) => choose({ query }), () => list.go(0));
const total = h("p.count", { role: "status" });
const filters = h("div.filters");
const groupsBody = h("div");
const chart = histogram();

function choose(change) {
  Object.assign(chosen, change);
  const test = matcher(chosen.query, named);
  const shown = messages.filter((message) =>
    (chosen.key === null || (JSON.stringify(valueOf(message, chosen.by)) ?? "") === chosen.key)
    && (chosen.why === null || why(message) === chosen.why)
    && (chosen.from === null || (when.get(message) >= chosen.from && when.get(message) < chosen.to))
    && test(message));
  list.show(shown);
  total.textContent = shown.length === messages.length
    ? count(shown.length, "message") : `${number(shown.length)} of ${count(messages.length, "message")}`;
  for (const button of document.querySelectorAll("[data-group]"))
    button.setAttribute("aria-pressed", button.dataset.group === chosen.key);
  for (const button of document.querySelectorAll("[data-why]"))
    button.setAttribute("aria-pressed", button.dataset.why === chosen.why);
  chart.mark();
  const off = (text, change) =>
    h("button.filter", { type: "button", title: "Remove this filter", click: () => choose(change) }, h("bdi", null, text), " ×");
  filters.replaceChildren(...[
    chosen.key !== null && off(`${brief(chosen.by, 40)} = ${shownValue(chosen.value)}`, { by: null, key: null, value: null }),
    chosen.why !== null && off(brief(chosen.why, 60), { why: null }),
    chosen.from !== null && off(`${moment(chosen.from)} to ${moment(chosen.to)}`, { from: null, to: null }),
    command(shown),
  ].filter(Boolean));
}

const shownValue = (value) => (value == null ? "(none)" : brief(value, 60));

// The command that would send back exactly what is shown; without --yes it prints its plan alone.
function command(shown) {
  const where = [];
  if (chosen.key !== null && chosen.value != null) where.push([chosen.by, chosen.value]);
  const types = new Set(shown.map((message) => message.failure?.type));
  if (chosen.why !== null && types.size === 1)
    where.push(types.has(undefined) ? ["death.reason", shown[0].deaths?.[0]?.reason] : ["failure.type", [...types][0]]);
  const said = messages.filter((message) => where.every(([name, value]) =>
    named.values(message, name).some((own) => own != null && plain(own) === plain(value))));
  const own = where.map(([name, value]) => `${name}=${plain(value)}`);
  const conditions = [...(about.where ?? []), ...own];
  const parts = ["mqctx", "redrive", ...queues, ...conditions.flatMap((one) => ["--where", one])];
  if (!where.length || said.length !== shown.length || about.limit != null || queues.length > 3) return null;
  if (own.some((one) => one.includes("*")) || where.some(([name]) => name.includes("="))) return null;
  if (parts.slice(2).some((part) => visible(part) !== part || /[\n\t]|^-(?!-where$)/.test(part))) return null;
  const text = parts.map((part) => (/^[\w@%+=:,./-]+$/.test(part) ? part : `'${part.replaceAll("'", "'\\''")}'`)).join(" ");
  return h("p.command", null, "Send these back (a dry run): ", h("code", null, text), copied("Copy", () => text));
}

function toggleGroup(by, group) {
  const on = chosen.key !== group.key || chosen.by !== by;
  choose(on ? { by, key: group.key, value: group.value } : { by: null, key: null, value: null });
}

function showGroups(by, all = false) {
  const groups = grouped(by);
  const largest = groups[0]?.messages ?? 1;
  const head = [by, "messages", "requests", "from", "why", "first", "last"];
  const rows = (all ? groups : groups.slice(0, MANY)).map((group) => h("tr", null,
    h("th", { scope: "row" }, h("button.group", {
      type: "button", "aria-pressed": chosen.key === group.key, "data-group": group.key,
      click: () => toggleGroup(by, group),
    }, by === "why" ? [dot(group.value), brief(group.value, 120)] : h("bdi", null, shownValue(group.value)))),
    h("td.bar", { "data-label": head[1] }, number(group.messages), meter(group.messages / largest)),
    h("td.number", { "data-label": head[2] }, number(group.requests.size)),
    h("td", { "data-label": head[3] }, several(most(group.from), (from) => brief(from, 60), 2)),
    h("td.why", { "data-label": head[4] }, several(most(group.why), (reason, n) =>
      [dot(reason), h("span.text", null, h("bdi", null, brief(reason, 120))), h("span.n", null, number(n))], 2)),
    h("td.time", { "data-label": head[5] }, moment(group.first)),
    h("td.time", { "data-label": head[6] }, moment(group.last))));
  const heads = head.map((text, i) => h("th", { scope: "col", class: i === 1 || i === 2 ? "number" : null }, brief(text, 40)));
  groupsBody.replaceChildren(h("table.groups", null, h("thead", null, h("tr", null, heads)), h("tbody", null, rows)));
  if (!all && groups.length > MANY)
    groupsBody.append(h("button.quiet", { type: "button", click: () => showGroups(by, true) }, `Show all ${number(groups.length)} groups`));
}

function meter(part) {
  const bar = h("i.meter", { "aria-hidden": "true" });
  bar.style.width = `${Math.max(1, part * 100)}%`;
  return bar;
}

function several(entries, show, longest) {
  const lines = entries.slice(0, longest).map(([key, entry]) => h("div.line", null, show(key, entry)));
  const rest = entries.length - longest;
  return !lines.length ? "–" : rest > 0 ? [...lines, h("div.line.none", null, `and ${count(rest, "other")}`)] : lines;
}

// Reasons over time: stacked bars; a click or Enter on one chooses its messages.
function histogram() {
  if (!times.length) return { said: null, parts: null, mark() {} };
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400, 604800, 2592000];
  const span = last - first;
  const step = (steps.find((seconds) => span / (seconds * 1e3) <= 70) ?? span / 7e4) * 1e3;
  const needed = Math.floor(last / step) - Math.floor(first / step) + 1;
  const size = Math.max(15, needed);
  const start = (Math.floor(first / step) - Math.floor((size - needed) / 2)) * step;
  const bins = Array.from({ length: size }, () => ({ all: 0, counts: new Map() }));
  for (const [message, time] of when) {
    if (Number.isNaN(time)) continue;
    const bin = bins[Math.floor((time - start) / step)];
    bin.all += 1;
    const colour = colours.get(why(message));
    bin.counts.set(colour, (bin.counts.get(colour) ?? 0) + 1);
  }
  const top = bins.reduce((most, bin) => Math.max(most, bin.all), 1);
  const svg = h("svg.bars", { viewBox: `0 0 ${size} 100`, preserveAspectRatio: "none", "aria-hidden": "true" });
  bins.forEach((bin, x) => {
    let y = 100;
    for (const [colour, n] of [...bin.counts].sort((a, b) => a[0] - b[0])) {
      const height = (n / top) * 100;
      y -= height;
      svg.append(h(`rect.c${colour}`, { x: x + 0.08, y, width: 0.84, height }));
    }
  });
  const cursor = h("rect.cursor", { y: 0, width: 1, height: 100 });
  svg.append(cursor);
  const said = h("p.said", { "aria-live": "polite" });
  let at = 0;
  const from = (x) => start + x * step;
  const say = (x) => {
    at = Math.max(0, Math.min(size - 1, x));
    cursor.setAttribute("x", at);
    said.textContent = `${moment(from(at))} to ${moment(from(at + 1))}: ${count(bins[at].all, "message")}`;
  };
  const toggle = () => choose(chosen.from === from(at) ? { from: null, to: null } : { from: from(at), to: from(at + 1) });
  const spot = (event) => {
    const box = svg.getBoundingClientRect();
    return Math.floor(((event.clientX - box.left) / box.width) * size);
  };
  const plot = h("div.plot", {
    role: "button", tabindex: 0, "aria-label": `Messages over time, ${moment(first)} to ${moment(last)}; arrows choose a time, Enter shows its messages`,
    focus: () => say(at),
    mousemove: (event) => say(spot(event)),
    click: (event) => { if (event.clientX) say(spot(event)); toggle(); },
    keydown: (event) => {
      const move = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: size - 1 }[event.key];
      if (move !== undefined) say(move);
      else if (event.key === "Enter" || event.key === " ") toggle();
      else return;
      event.preventDefault();
    },
  }, svg);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", null, moment(start + part * size * step)));
  return {
    said,
    parts: [h("div.chart", null, h("span.top", null, number(top)), plot), h("div.ticks", { "aria-hidden": "true" }, ticks)],
    mark: () => plot.classList.toggle("chosen", chosen.from !== null),
  };
}

const legend = ranked.slice(0, 8).map(([reason, n]) => h("button.key", {
  type: "button", "aria-pressed": "false", "data-why": reason,
  click: () => choose({ why: chosen.why === reason ? null : reason }),
}, dot(reason), h("bdi", null, brief(reason, 60)), h("b", null, number(n))));
if (ranked.length > 8) legend.push(h("span.none", null, `and ${count(ranked.length - 8, "other")}`));

let by = "";

function messageRow(message) {
  const context = Object.entries(message.context ?? {});
  const front = context.sort(([a], [b]) => (b === by) - (a === by) || (b === "request_id") - (a === "request_id"));
  return [
    h("span.time", null, moment(when.get(message))),
    h("span.what", null, dot(why(message)), h("bdi.text", null, brief(failed(message), 160))),
    h("span.chips", null, front.slice(0, 3).map(([name, value]) => chip(name, value))),
    h("span.from", null, h("bdi", null, brief((queues.length > 1 ? message.queue : message.from) || "–", 60))),
  ];
}

function messageDetail(message) {
  const { context, verified, rejections, deaths, failure, celery, headers, body, why: line, at, ...rest } = message;
  const { traceback, type, message: text, ...reason } = failure ?? {};
  const seal = verified === true ? "Context, signature verified" : verified === false ? "Context, not signed by a key that is known" : "Context";
  return [
    h("div.sections", null,
      section("Failure", failure && { type, message: text, ...reason }),
      section(seal, context ?? {}),
      section("Left out of the context", empty(rejections) ? null : rejected(rejections)),
      section("Message", rest), section("Celery", celery), section("Headers", headers)),
    section("Deaths", empty(deaths) ? null : table(["queue", "reason", "count", "exchange", "routing keys", "at"], deaths.map((death) => [
      death.queue, death.reason, death.count, death.exchange, (death.routing_keys ?? []).join(", "), death.at].map((value) => brief(value ?? ""))))),
    traceback && section("Traceback", h("pre", { tabindex: 0 }, whole(traceback))),
    body != null && section("Body", h("pre", { tabindex: 0 }, whole(body))),
    h("p.actions", null, copied("Copy as JSON", () => JSON.stringify(message, null, 2))),
  ];
}

function rejected(rejections) {
  const heads = [...new Set(rejections.flatMap((one) => Object.keys(one)))];
  return table(heads, rejections.map((one) => heads.map((head) => (one[head] == null ? "" : whole(one[head])))));
}

// By default the name that gives the fewest groups above one, of those that half of them have.
function byDefault() {
  const sizes = new Map();
  for (const name of names.filter((each) => !["span_id", "trace_flags", "tracestate"].includes(each))) {
    const values = messages.map((message) => message.context?.[name]);
    const size = new Set(values.map((value) => JSON.stringify(value))).size;
    if (2 * values.filter((value) => value != null).length >= messages.length && size <= 500) sizes.set(name, size);
  }
  const rank = (name) => (sizes.get(name) === 1 ? Infinity : sizes.get(name));
  return [...sizes.keys()].sort((a, b) => rank(a) - rank(b))[0] ?? "from";
}

by = [about.by].flat()[0];
if (![...names, ...own].includes(by)) by = byDefault();
const option = (name) => h("option", { value: name, selected: name === by }, brief(name, 40));
const select = h("select", {
  id: "by",
  change: () => { by = select.value; showGroups(by); choose({ by: null, key: null, value: null }); },
}, names.length > 0 && h("optgroup", { label: "Context" }, names.map(option)),
  h("optgroup", { label: "Message" }, own.filter((name) => !names.includes(name)).map(option)));

const where = queues.length === 1 ? brief(queues[0] ?? "", 80) : count(queues.length, "queue");
const heading = messages.length ? `${count(messages.length, "message")} in ${where}` : "No messages";
const requests = new Set(messages.map((message) => message.context?.request_id).filter((id) => id != null).map(plain));
showGroups(by);
open(heading,
  h("header.top", null,
    h("p.brand", null, h("b", null, "mqctx"), " dead letters"),
    h("h1", null, h("bdi", null, heading)),
    h("p.sub", null, times.length ? `${day(first)} ${clock(first)} to ${oneDay ? "" : `${day(last)} `}${clock(last)} UTC` : "No times are known.",
      about.looked != null && ` · looked at ${number(about.looked)}`, about.outcome && `, ${brief(about.outcome)}`,
      (about.where ?? []).map((one) => ` · ${brief(one)}`)),
    (about.notes ?? []).map((note) => h("p.warning", { role: "note" }, `⚠ ${brief(note, 1000)}`))),
  h("dl.tiles", null,
    tile("messages", number(messages.length)), tile("requests", number(requests.size)),
    tile("reasons", number(ranked.length)), tile("without context", number(messages.filter((message) => empty(message.context)).length))),
  messages.length > 0 && h("section.card", null,
    h("header", null, h("h2", null, chart.said ? "Reasons over time" : "Reasons"), chart.said),
    h("div.legend", null, legend), chart.parts),
  h("section.card", null,
    h("header", null, h("h2", null, "Groups"), h("label", { for: "by" }, "by ", select)), groupsBody),
  h("section.card.messages", null,
    h("header.sticky", null, h("h2", null, "Messages"), search, total), filters, list.root));
choose({});
addEventListener("beforeprint", () => { for (let i = 0; i < 5; i += 1) list.fill(i); });

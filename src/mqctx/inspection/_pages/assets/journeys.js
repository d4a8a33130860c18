// The page of `mqctx trace`: a list of journeys, each of which unfolds to its waterfall.

const [events] = load();
const about = events.find((event) => event.kind === "summary") ?? {};
const MARKS = {
  inferred: "Joined by inference, not by proof",
  clash: "Times contradict each other: earlier than what caused it",
};
const SLACK = 10_000;
const NAMES = { publish: "published", delivery: "delivered", dead_letter: "dead-lettered", run: "ran" };

// One step of a waterfall. A handler's run is drawn in the row of its delivery if it is the only one.
// Names of the context that differ from message to message; its details show them.
const OF_ONE_MESSAGE = ["span_id", "parent_span_id", "trace_flags", "tracestate"];

function step(event) {
  return {
    event, at: micros(event.at), children: [], run: null, parent: null, depth: 0,
    get end() { return this.at + (this.run ? this.run.at - this.at + span(this.run.event) : span(this.event)); },
    get failed() { return (this.run ?? this).event.outcome === "raised"; },
    get inferred() { return Boolean(this.event.inferred || this.run?.event.inferred); },
  };
}
const span = (event) => (event.kind === "run" ? (event.duration ?? 0) * 1e6 : 0);

function journeysOf(all) {
  const found = new Map();
  for (const event of all) {
    if (event.kind === "summary") continue;
    const key = JSON.stringify([event.by, event.journey]);
    if (!found.has(key)) found.set(key, { id: event.journey, by: event.by, events: [] });
    found.get(key).events.push(event);
  }
  return [...found.values()].map(joined);
}

function joined(journey) {
  const steps = new Map(journey.events.map((event) => [event.id, step(event)]));
  const roots = [];
  for (const one of steps.values()) {
    one.parent = steps.get(one.event.parent) ?? null;
    (one.parent?.children ?? roots).push(one);
  }
  for (const one of steps.values()) {
    const runs = one.children.filter((child) => child.event.kind === "run");
    if (one.event.kind !== "delivery" || runs.length !== 1) continue;
    [one.run] = runs;
    one.children = [...one.children.filter((child) => child !== one.run), ...one.run.children];
  }
  const rows = [];
  const shown = new Set();
  // After the roots, what nothing leads to: were two events each other's parents, neither is lost.
  const left = [...steps.values()].filter((one) => one.parent).concat(roots.sort(earlier).reverse());
  while (left.length) {
    const one = left.pop();
    if (shown.has(one) || one === one.parent?.run) continue;
    shown.add(one);
    rows.push(one);
    for (const child of one.children.sort(earlier).reverse()) left.push(Object.assign(child, { depth: one.depth + 1 }));
  }
  for (const one of rows) place(one);
  return summed(journey, rows);
}

const earlier = (a, b) => a.at - b.at;

// When it is drawn, and whether its time contradicts that of its parent.
function place(one) {
  const cause = one.parent?.at ?? one.at;
  // The broker dates deaths in whole seconds.
  const grain = one.event.kind === "dead_letter" && one.at % 1e6 === 0 ? 1e6 : 0;
  one.clash = one.at + grain < cause ? cause - one.at : 0;
  if (grain && !one.clash) one.at = Math.max(one.at, Math.min(cause, one.at + grain - 1));
  // A handler may well begin before the trace has heard of its delivery, and has a clock of its own.
  if (one.run && one.run.at + SLACK < one.at) one.clash = Math.max(one.clash, one.at - one.run.at);
  one.wait = one.event.kind === "delivery" && one.parent ? Math.max(0, one.at - cause) : 0;
  one.handled = one.run ? span(one.run.event) : span(one.event);
  // Without a record of its handler, a delivery was handled at least until its last publish.
  if (one.event.kind === "delivery" && !one.run)
    one.atLeast = one.children.reduce((most, child) => (isSent(child) ? Math.max(most, child.at - one.at) : most), 0);
}

// What a handler dead-lettered, it sent by itself: then a publish is below.
const isSent = ({ event, children }) => event.kind === "publish" || (event.kind === "dead_letter" && children.some(isSent));

function summed(journey, rows) {
  let [start, end, waited, handled] = [Infinity, -Infinity, 0, 0];
  const context = {};
  for (const one of rows) {
    start = Math.min(start, one.at, one.run?.at ?? Infinity);
    end = Math.max(end, one.at, one.end);
    waited += one.wait;
    handled += one.handled;
    for (const [name, value] of Object.entries(one.event.context ?? {})) if (!Object.hasOwn(context, name)) context[name] = value;
  }
  const some = (test) => rows.some(test);
  return Object.assign(journey, {
    rows, start, end, waited, handled, context,
    failed: some((one) => one.failed), dead: some((one) => one.event.kind === "dead_letter"),
    inferred: some((one) => one.inferred), clash: some((one) => one.clash),
    messages: rows.filter((one) => one.event.kind === "publish").length,
  });
}

const journeys = journeysOf(events);
const first = journeys.reduce((least, { start }) => Math.min(least, start), Infinity);
const last = journeys.reduce((most, { end }) => Math.max(most, end), -Infinity);
const names = new Set(journeys.flatMap(({ context }) => Object.keys(context)));

const address = ({ exchange, routing_keys: keys }) => `${exchange || "(default)"} → ${(keys ?? []).join(", ")}`;
function titled({ event, run }) {
  if (event.kind === "publish") return address(event);
  if (event.kind === "run") return event.handler ?? "handler";
  return `${event.queue ?? ""}${run?.event.handler ? ` · ${run.event.handler}` : ""}`;
}
const icon = (kind, text) => h(`i.icon.${kind}`, { title: text }, h("span.unseen", null, text));
const part = (value, all) => `${Math.max(0, Math.min(100, (value / all) * 100))}%`;

function badge(journey) {
  return h("span.badges", null,
    journey.failed && h("span.badge.bad", null, "failed"),
    journey.dead && h("span.badge.bad", null, "dead-lettered"),
    journey.clash && h("span.badge.warn", { title: MARKS.clash }, "⚠ times"),
    journey.inferred && h("span.badge", { title: "Some of it is inferred" }, "≈ inferred"));
}

function journeyRow(journey) {
  const all = Math.max(1, journey.end - journey.start);
  const rows = journey.rows.filter((one) => one.wait || one.handled || one.atLeast || one.event.kind !== "delivery").slice(0, 30);
  const mini = h("svg.mini", { viewBox: `0 0 100 ${Math.max(8, rows.length)}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    rows.map((one, y) => {
      const bar = (kind, from, length) => h(`rect.${kind}`, {
        x: ((from - journey.start) / all) * 100, y: y + 0.1, height: 0.8, width: Math.max(0.8, (length / all) * 100),
      });
      return [
        one.wait > 0 && bar("wait", one.at - one.wait, one.wait),
        one.handled > 0 && bar(one.failed ? "bad" : "handle", one.run?.at ?? one.at, one.handled),
        one.atLeast > 0 && bar("least", one.at, one.atLeast),
        one.event.kind === "publish" && bar("sent", one.at, 0),
        one.event.kind === "dead_letter" && bar("bad", one.at, 0),
      ].filter(Boolean);
    }));
  return [
    h("span.time", null, clock(journey.start / 1e3, 12)),
    h("span.what", null, h("bdi.text", null, brief(titled(journey.rows[0]), 120)), badge(journey)),
    h("span.chips", null, Object.entries(journey.context).slice(0, 3).map(([name, value]) => chip(name, value))),
    mini,
    h("span.figures", null, h("b", null, duration((journey.end - journey.start) / 1e6)), count(journey.messages, "message")),
  ];
}

function journeyDetail(journey) {
  const all = Math.max(1, journey.end - journey.start);
  const rows = new List("Steps of this journey", (one) => stepRow(one, journey, all), (one) => stepDetail(one, journey), { size: 60 });
  rows.root.classList.add("waterfall");
  rows.show(journey.rows);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((at) => {
    const tick = h("span", null, duration((at * all) / 1e6));
    tick.style.left = part(at, 1);
    return tick;
  });
  return [
    h("div.facts", null,
      h("span", null, "waited ", h("b", null, duration(journey.waited / 1e6))),
      h("span", null, "handled ", h("b", null, journey.handled ? duration(journey.handled / 1e6) : "not recorded")),
      h("span", null, `joined by ${brief(journey.by ?? "its messages")}`),
      Object.entries(journey.context).slice(3, 15)
        .filter(([name]) => !OF_ONE_MESSAGE.includes(name)).map(([name, value]) => chip(name, value))),
    h("div.axis", { "aria-hidden": "true" }, h("span"), h("div.ticks", null, ticks)),
    rows.root,
  ];
}

function stepRow(one, { start }, all) {
  const { event, run } = one;
  const where = h("span.track", null);
  const bar = (kind, from, length, text) => {
    const node = h(`i.${kind}`, { title: text });
    node.style.left = part(from - start, all);
    node.style.width = part(length, all);
    where.append(node);
  };
  if (one.wait > 0) bar("wait", one.at - one.wait, one.wait, `waited ${duration(one.wait / 1e6)}`);
  if (one.handled > 0) bar(one.failed ? "handle.bad" : "handle", run?.at ?? one.at, one.handled, `handled in ${duration(one.handled / 1e6)}`);
  if (one.atLeast > 0) bar("least", one.at, one.atLeast, `handled for at least ${duration(one.atLeast / 1e6)}`);
  if (event.kind !== "run" && !(run && one.handled)) bar(`point.${event.kind}`, one.at, 0, clock(one.at / 1e3, 12));
  const parts = [
    one.wait > 0 && `${duration(one.wait / 1e6)} wait`,
    one.handled > 0 ? duration(one.handled / 1e6) : one.atLeast > 0 && `≥ ${duration(one.atLeast / 1e6)}`,
    event.kind === "publish" && `+${duration((one.at - start) / 1e6)}`,
  ].filter(Boolean);
  where.append(tagged(parts.join(" · "), one, start, all));
  const name = h("span.label", null,
    icon(event.kind, NAMES[event.kind] ?? brief(event.kind)),
    h("bdi.text", null, brief(titled(one), 120)),
    event.redelivered && h("span.badge", null, event.attempt > 1 ? `attempt ${event.attempt}` : "redelivered"),
    one.failed && h("span.badge.bad", null, brief((run ?? one).event.error ?? "failed", 60)),
    event.kind === "dead_letter" && h("span.badge.bad", null, brief(event.reason ?? "", 40)),
    one.inferred && h("span.badge", { title: MARKS.inferred }, "≈ ", joinedBy(event.inferred ? event : run.event)),
    one.clash > 0 && h("span.badge.warn", { title: MARKS.clash }, `⚠ ${duration(one.clash / 1e6)} early`));
  name.style.paddingLeft = `calc(var(--step) * ${Math.min(one.depth, 14)})`;
  return [h("span.unseen", null, `level ${one.depth + 1}, `), name, where];
}

const joinedBy = ({ joined: by }) => (by ? [h("span.unseen", null, "inferred by "), brief(by, 20)] : "inferred");

// The durations stand behind the bars, before them, or on the longer of the two.
function tagged(text, one, start, all) {
  const tag = h("span.tag", null, text);
  const [from, to] = [one.at - one.wait - start, one.end + (one.atLeast ?? 0) - start];
  const room = all * (matchMedia("(max-width: 46rem)").matches ? 0.45 : 0.25);
  if (all - to > room) tag.style.left = part(to, all);
  else if (from > room) tag.style.right = part(all - from, all);
  else if (one.wait > Math.max(one.handled, one.atLeast ?? 0)) {
    tag.style.left = part(from, all);
    tag.classList.add("over");
  } else {
    tag.style.right = "0";
    tag.classList.add(one.handled > room ? "inside" : "over");
  }
  return tag;
}

function stepDetail({ event, run, clash }) {
  const { kind, id, journey, context, headers, ...rest } = event;
  const times = clash > 0 && h("p.warning", null, `⚠ ${MARKS.clash}, by ${duration(clash / 1e6)}. Both times are shown as they were reported.`);
  const handled = run && { ...run.event };
  for (const timed of [rest, handled ?? {}]) {
    for (const key of ["wait", "duration"]) if (timed[key] != null) timed[key] = duration(timed[key]);
  }
  for (const key of ["kind", "journey", "by", "context", "headers", "id", "parent"]) delete handled?.[key];
  return [times, h("div.sections", null,
    section(NAMES[kind] ?? brief(kind), rest), section("Handler", handled), section("Context", context), section("Headers", headers)),
  h("p.actions", null, copied("Copy as JSON", () => JSON.stringify(run ? [event, run.event] : event, null, 2)))];
}

const STATES = {
  all: ["All", () => true], failed: ["Failed", (one) => one.failed], dead: ["Dead-lettered", (one) => one.dead],
  inferred: ["Inferred", (one) => one.inferred], clash: ["Times contradict", (one) => one.clash],
};
const ORDERS = {
  start: ["oldest first", (a, b) => a.start - b.start], newest: ["newest first", (a, b) => b.start - a.start],
  longest: ["longest first", (a, b) => (b.end - b.start) - (a.end - a.start)],
  largest: ["largest first", (a, b) => b.rows.length - a.rows.length],
};
const named = {
  knows: (name) => names.has(name),
  values: (journey, name) => journey.events.map((event) => event.context?.[name]),
};
// What is searched are the events, not what this page has made of them.
const texts = new WeakMap(journeys.map((journey) => [journey, { events: journey.events }]));

const chosen = { query: "", state: "all", order: "start" };
const list = new List("Journeys", journeyRow, journeyDetail, { size: 25 });
const search = searchBox("Search every value, or name=value", (query) => choose({ query }), () => list.go(0));
const total = h("p.count", { role: "status" });

function choose(change) {
  Object.assign(chosen, change);
  const test = matcher(chosen.query, { ...named, values: ({ events: own }, name) => named.values({ events: own }, name) });
  const shown = journeys.filter((one) => STATES[chosen.state][1](one) && test(texts.get(one))).sort(ORDERS[chosen.order][1]);
  list.show(shown);
  total.textContent = shown.length === journeys.length
    ? count(shown.length, "journey") : `${number(shown.length)} of ${count(journeys.length, "journey")}`;
  for (const button of states.children) button.setAttribute("aria-pressed", button.dataset.state === chosen.state);
  if (shown.length === 1) list.toggle(0, true);
}

const states = h("div.states", { role: "group", "aria-label": "Which journeys" }, Object.entries(STATES)
  .map(([state, [text, test]]) => [state, text, journeys.filter(test).length])
  .filter(([state, , found]) => found || state === "all")
  .map(([state, text, found]) => h("button.key", { type: "button", "data-state": state, click: () => choose({ state }) }, text, h("b", null, number(found)))));
const order = h("select", { "aria-label": "Order", change: () => choose({ order: order.value }) },
  Object.entries(ORDERS).map(([value, [text]]) => h("option", { value }, text)));

const kinds = (kind) => events.filter((event) => event.kind === kind).length;
const warning = (label, value, text) => value > 0 && h("p.warning", { role: "note" }, `⚠ ${label.replace("#", number(value))} ${text}`);
const untraced = [about.untraced_nodes ?? []].flat();
const heading = count(journeys.length, "journey");
open(heading,
  h("header.top", null,
    h("p.brand", null, h("b", null, "mqctx"), " trace"),
    h("h1", null, heading),
    h("p.sub", null, journeys.length ? `${day(first / 1e3)} ${clock(first / 1e3)} to ${clock(last / 1e3)} UTC, as the tracing client saw it` : "Nothing was seen.")),
  h("dl.tiles", null,
    tile("published", number(about.publishes ?? kinds("publish"))), tile("delivered", number(about.deliveries ?? kinds("delivery"))),
    tile("handler runs", number(about.runs ?? kinds("run"))), tile("dead-lettered", number(about.dead_letters ?? kinds("dead_letter"))),
    tile("inferred", number(about.inferred ?? events.filter((event) => event.inferred).length)),
    tile("without context", number(about.without_context ?? 0))),
  warning("# events", about.dropped, "were dropped by the tracing queue: some journeys are not whole."),
  warning("# nodes", untraced.length, `of the cluster were not traced: ${untraced.map((node) => brief(node)).join(", ")}.`),
  h("section.card.journeys", null,
    h("header.sticky", null, h("h2", null, "Journeys"), search, order, total), h("div.bar", null, states,
      h("div.legend", { "aria-hidden": "true" }, [["sent", "published"], ["wait", "waiting in a queue"], ["handle", "handled"], ["least", "handled at least so long"], ["bad", "failed"]]
        .map(([kind, text]) => h("span", null, h(`i.sample.${kind}`), text)))), list.root));
choose({});
addEventListener("beforeprint", () => { list.fill(0); });

// The page: what is shown where.

import * as format from "./format.js";
import { Plot } from "./plot.js";
import { Source } from "./source.js";
import { Table, setText } from "./table.js";

const $ = (id) => document.getElementById(id);

/* Figures of the last minute: each a label, a value, and a remark. */

const TILES = [
  ["Requests", ({ minute }) => [`${format.rate(perSecond(minute, minute.requests))} /s`, `${format.count(minute.requests)} in all`]],
  ["Failed", ({ minute }) => [format.percent(minute.failed, minute.requests), `${format.count(minute.failed)} in all`, minute.failed > 0 ? "bad" : ""]],
  ["Refused", ({ minute }) => [format.percent(minute.refused, minute.requests), `${format.count(minute.refused)} in all`]],
  ["First byte, median", ({ minute: { first_byte: t } }) => [format.seconds(t.p50), `p95 ${format.seconds(t.p95)} · p99 ${format.seconds(t.p99)}`]],
  ["Duration, median", ({ minute: { duration: t } }) => [format.seconds(t.p50), `p95 ${format.seconds(t.p95)} · p99 ${format.seconds(t.p99)}`]],
  ["Tokens", ({ minute }) => [`${format.rate(perSecond(minute, minute.prompt + minute.output))} /s`, `${format.count(minute.prompt)} in · ${format.count(minute.output)} out`]],
  ["Cost", ({ minute }) => [`${format.nano(perSecond(minute, minute.cost_nano) * 3600)} /h`, `${format.nano(minute.cost_nano)} in all`]],
  ["In flight", ({ load, ledger }) => [format.full(load.calls), `${format.many(load.connections, "connection")} · ${format.many(ledger.open_holds, "hold")}`, load.calls >= 0.9 * load.most_calls ? "bad" : ""]],
];

const DAY = 86_400;

const perSecond = ({ seconds }, n) => (seconds > 0 ? n / seconds : null);

const tiles = TILES.map(([label, of]) => {
  const [tile, term, value, remark] = ["div", "dt", "dd", "dd"].map((name) => document.createElement(name));
  term.textContent = label;
  remark.className = "remark";
  tile.append(term, value, remark);
  $("now").append(tile);
  return { tile, value, remark, of };
});

function showTiles(view) {
  for (const { tile, value, remark, of } of tiles) {
    const [text, more, kind] = of(view);
    setText(value, text);
    setText(remark, more);
    tile.dataset.kind = kind ?? "";
  }
}

/* What somebody has to look after. */

function showWarnings({ ledger, load, targets, config, accounts }) {
  const open = targets.shown.filter((target) => target.circuit === "open" || target.circuit === "half_open").length;
  const warnings = [
    ledger.failing && "The store cannot be written: calls that cost something are refused with 503.",
    config.refused && `The configuration file was refused, and the one before is in force: ${config.refused.problems[0] ?? "it cannot be read"}`,
    config.restart_required.length > 0 && `A new process is needed for: ${config.restart_required.join(", ")}.`,
    ...(accounts ?? []).filter((row) => row.lasts !== null && row.lasts < 2 * DAY).map((row) => `The balance of account ${row.id} lasts ${format.span(row.lasts)} at the rate of the last days.`),
    !ledger.billing && "Billing is off: calls are counted and not paid for.",
    open > 0 && `${format.many(open, "target is", "targets are")} out of service because of failures.`,
    load.calls >= 0.9 * load.most_calls && `${format.full(load.calls)} calls of ${format.full(load.most_calls)} that there may be: more get 503.`,
    load.access_dropped > 0 && `${format.many(load.access_dropped, "access line was", "access lines were")} dropped because nobody took them.`,
  ].filter(Boolean);
  const list = $("warnings");
  if (list.dataset.said !== warnings.join("\n")) {
    list.dataset.said = warnings.join("\n");
    list.replaceChildren(...warnings.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
  }
  list.hidden = warnings.length === 0;
}

/* Plots, all of which look at the same time. */

const quantiles = (name) => ["p50", "p95", "p99"].map((quantile, n) => ({
  label: quantile, style: n + 1, of: (series) => series[name]?.[quantile],
}));

const plots = [
  { title: "Requests", unit: "per second", format: format.rate, lines: [
    { label: "all", style: 1, of: (series) => series.requests },
    { label: "refused", style: 2, of: (series) => series.refused },
    { label: "failed", style: "bad", of: (series) => series.failed },
  ] },
  { title: "First byte", unit: "seconds after the request’s head", format: format.seconds, lines: quantiles("first_byte") },
  { title: "Duration", unit: "seconds to the end of the answer", format: format.seconds, lines: quantiles("duration") },
  { title: "In flight", unit: "calls", format: format.rate, lines: [{ label: "calls", style: 1, of: (series) => series.calls }] },
  { title: "Tokens", unit: "per second", format: format.rate, lines: [
    { label: "output", style: 1, of: (series) => series.output },
    { label: "prompt", style: 2, of: (series) => series.prompt },
  ] },
  { title: "Cost", unit: "per hour, at the rate of the moment", format: format.nano, lines: [
    { label: "cost", style: 1, of: (series) => series.cost_nano?.map((cost) => cost * 3600) },
  ] },
].map((plot) => new Plot($("plots"), plot, look));

let pointed = null;

/** Looks at so many seconds ago, or where the slider is. */
function look(back) {
  pointed = back;
  const at = Math.max(0, back ?? -Number($("back").value));
  plots.forEach((plot) => plot.look(at));
  const words = at === 0 ? "now" : `${format.span(at)} ago`;
  setText($("back-text"), words);
  $("back").setAttribute("aria-valuetext", words);
}

$("back").addEventListener("input", () => look(null));

/* Where figures come from, and where they go. */

const source = new Source({
  figures(view, series, restarted) {
    const unlocked = !$("login").hidden;
    $("login").hidden = true;
    $("figures").hidden = false;
    if (unlocked) $("main").focus();
    $("figures").removeAttribute("aria-busy");
    setText($("about"), `${view.version} · up ${format.span(view.uptime)}`);
    showTiles(view);
    showWarnings(view);
    plots.forEach((plot) => plot.draw(series));
    look(pointed);
    targets.show(view.targets.shown, { total: view.targets.total });
    dearest = Math.max(0, ...view.models.shown.map((row) => row.recent_cost_nano));
    models.show(view.models.shown, { total: view.models.total });
    keys.show(view.keys.shown, { total: view.keys.total, matching: view.keys.matching, wanted: source.query.keys });
    if (view.accounts) accounts.show(view.accounts);
    else accounts.show(accounts.rows, { unread: true });
    configuration.show(facts(view.config));
    if (view.changes) changes.show(view.changes);
    outcomes.show(view.outcomes);
    failures.show(view.failures);
    tell(view, restarted);
  },
  state(name, words) {
    $("state").dataset.state = name;
    setText($("state").querySelector(".word"), words);
    document.body.classList.toggle("stale", name === "lost");
  },
  token(wrong) {
    $("figures").hidden = true;
    $("login").hidden = false;
    setText($("login-error"), wrong ? "That is not the token." : "");
    $("token").focus();
  },
});

/* Tables. */

const CIRCUITS = {
  closed: "● closed",
  backing_off: "◐ backs off",
  open: "○ open",
  half_open: "◔ half-open",
  rested: "◌ rested",
};

const OUTCOMES = { answered: "✓ answered", refused: "△ refused", failed: "✕ failed" };

const KEY_STATES = { active: "● active", disabled: "○ disabled", expired: "○ expired", account_disabled: "○ account disabled" };

const PERIODS = { day: "today", week: "this week", month: "this month", total: "in all" };

const gauge = ({ used, limit }) => (limit === null ? `${format.count(used)} / no limit` : `${format.count(used)} / ${format.count(limit)}`);
const filled = (used, limit) => (limit === null || limit === undefined ? null : limit === 0 ? 1 : used / limit);
const when = (seconds) => (seconds === null ? "never" : new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " "));
/** The budget of which the largest part is spent. */
const tightest = ({ budgets }) => [...budgets].sort((a, b) => used(b) - used(a))[0];
const used = (budget) => (budget ? Number(budget.spent_usd) / Number(budget.limit_usd) : null);
const budget = (row) => {
  const one = tightest(row);
  if (!one) return "none";
  const [spent, limit] = [one.spent_usd, one.limit_usd].map((usd) => format.nano(Math.round(Number(usd) * 1e9)));
  return `${spent} / ${limit} ${PERIODS[one.period]}${one.hard ? "" : ", soft"}`;
};
const budgets = ({ budgets }) => budgets.map((one) => `${one.period}: ${one.spent_usd} of ${one.limit_usd} USD${one.resets_at ? `, until ${one.resets_at}` : ""}`).join("; ");
const period = (tally) => `${format.micro(tally.cost_micro)}`;
const listed = (what) => (shown, all, { total = all }) =>
  `${shown < total ? `${format.full(shown)} of ` : ""}${format.many(total, what)}`;

const targets = new Table($("targets"), {
  caption: (shown, all, more) => `${listed("target")(shown, all, more)}, those that are not closed first. Calls go to the lowest priority whose circuit is closed, by weight.`,
  none: "No model has a target.",
  key: (row) => JSON.stringify([row.model, row.provider, row.upstream_model, row.priority]),
  columns: [
    { label: "Model", search: true, of: (row) => row.model, title: (row) => row.model, by: (row) => row.model },
    { label: "Provider", search: true, of: (row) => row.provider, by: (row) => row.provider },
    { label: "Health", of: (row) => CIRCUITS[row.circuit], kind: (row) => row.circuit, by: (row) => row.circuit },
    { label: "For", number: true, of: (row) => (row.since === null ? "always" : format.span(row.since)), by: (row) => row.since ?? 1e12 },
    { label: "Next try", number: true, of: (row) => (row.next !== null ? `in ${format.span(Math.ceil(row.next))}` : row.circuit === "half_open" ? "with the next call" : "–") },
    { label: "Failures in a row", number: true, of: (row) => format.full(row.failures), by: (row) => row.failures },
    { label: "Last failure", of: (row) => (row.last_failure === null ? "–" : `${row.last_failure.kind}: ${row.last_failure.text}`), title: (row) => row.last_failure?.at ?? "" },
    { label: "In flight", number: true, of: (row) => format.full(row.in_flight), by: (row) => row.in_flight },
    { label: "Priority", number: true, of: (row) => format.full(row.priority), by: (row) => row.priority },
    { label: "Weight", number: true, of: (row) => format.full(row.weight), by: (row) => row.weight },
    { label: "Model’s name there", search: true, of: (row) => row.upstream_model ?? "as asked for" },
  ],
});

let dearest = 0;

const models = new Table($("models"), {
  caption: (shown, all, more) => `${listed("model")(shown, all, more)}. Tokens and cost since the start, and in the last ten minutes.`,
  none: "No model is configured.",
  key: (row) => row.id,
  columns: [
    { label: "Model", search: true, of: (row) => row.id, title: (row) => row.id, by: (row) => row.id },
    { label: "Offered", of: (row) => row.state, by: (row) => row.state },
    { label: "Cost, 10 min", number: true, of: (row) => format.nano(row.recent_cost_nano), by: (row) => row.recent_cost_nano, part: (row) => (row.recent_cost_nano > 0 ? (0.79 * row.recent_cost_nano) / dearest : null) },
    { label: "Tokens, 10 min", number: true, of: (row) => format.count(row.recent_tokens), by: (row) => row.recent_tokens },
    { label: "Cost", number: true, of: (row) => format.nano(row.cost_nano), by: (row) => row.cost_nano },
    { label: "Input", number: true, of: (row) => format.count(row.input), by: (row) => row.input },
    { label: "From cache", number: true, of: (row) => format.count(row.cache_read), by: (row) => row.cache_read },
    { label: "Into cache", number: true, of: (row) => format.count(row.cache_write), by: (row) => row.cache_write },
    { label: "Output", number: true, of: (row) => format.count(row.output), by: (row) => row.output },
  ],
});

const keys = new Table($("keys"), {
  caption: (shown, _, { total = 0, matching = total, wanted }) => {
    const of = shown < matching ? `${format.full(shown)} of ` : "";
    return `${of}${format.many(matching, "key")}${wanted ? ` like “${wanted}”, of ${format.full(total)}` : ""}. Requests and tokens of the last minute; a key that has used up its limit gets 429.`;
  },
  none: "There is no key yet: crossmodel key create makes one.",
  key: (row) => row.id,
  onsort: (sort) => source.wish({ sort }),
  sorted: source.query.sort,
  columns: [
    { label: "Name", of: (row) => row.name || "without a name", title: (row) => row.name, kind: (row) => (row.name ? "" : "faint"), server: "name" },
    { label: "Id", of: (row) => row.id, kind: () => "code" },
    { label: "Account", of: (row) => row.account, server: "account" },
    { label: "State", of: (row) => KEY_STATES[row.state], kind: (row) => (row.state === "active" ? "closed" : "open") },
    { label: "In flight", number: true, of: (row) => format.full(row.in_flight), server: "in_flight" },
    { label: "Requests / min", number: true, of: (row) => gauge(row.requests), part: (row) => filled(row.requests.used, row.requests.limit), server: "requests" },
    { label: "Tokens / min", number: true, of: (row) => (row.tokens.limit === null ? "no limit" : gauge(row.tokens)), part: (row) => filled(row.tokens.used, row.tokens.limit), server: "tokens" },
    { label: "Spent / limit", number: true, of: (row) => `${format.micro(row.spent_micro)} / ${row.spending_limit_micro === null ? "no limit" : format.micro(row.spending_limit_micro)}`, part: (row) => filled(row.spent_micro, row.spending_limit_micro) },
    { label: "Budget", number: true, of: budget, title: budgets, part: (row) => used(tightest(row)) },
    { label: "Secret", of: (row) => `cm-…${row.hint ?? ""}`, kind: () => "code" },
    { label: "Last use", number: true, of: (row) => when(row.last_used) },
    { label: "Expires", number: true, of: (row) => when(row.expires) },
  ],
});

const accounts = new Table($("accounts"), {
  caption: (shown, _, { unread }) => (unread ? "The store could not be read in time: what was read last." : `${format.many(shown, "account")} of the keys above. Days, weeks and months are UTC’s.`),
  none: "No key above, no account.",
  key: (row) => row.id,
  columns: [
    { label: "Account", of: (row) => row.id, by: (row) => row.id },
    { label: "Balance", number: true, of: (row) => (row.balance_micro === undefined ? "no wallet" : format.micro(row.balance_micro)), by: (row) => row.balance_micro ?? -1 },
    { label: "Held", number: true, of: (row) => format.micro(row.uncollected_micro), by: (row) => row.uncollected_micro ?? -1 },
    { label: "Lasts", number: true, of: (row) => (row.lasts === null ? "–" : format.span(row.lasts)), kind: (row) => (row.lasts === null || row.lasts >= 7 * DAY ? "" : row.lasts < 2 * DAY ? "open" : "half_open"), by: (row) => row.lasts ?? 1e15 },
    { label: "Budget", number: true, of: budget, title: budgets, part: (row) => used(tightest(row)) },
    { label: "Cost today", number: true, of: (row) => period(row.daily), by: (row) => row.daily.cost_micro },
    { label: "This week", number: true, of: (row) => period(row.weekly), by: (row) => row.weekly.cost_micro },
    { label: "This month", number: true, of: (row) => period(row.monthly), by: (row) => row.monthly.cost_micro },
    { label: "Tokens, month", number: true, of: (row) => format.count(row.monthly.total_tokens), by: (row) => row.monthly.total_tokens },
    { label: "Requests, month", number: true, of: (row) => format.count(row.monthly.request_count), by: (row) => row.monthly.request_count },
    { label: "Answered in full", number: true, of: (row) => format.percent(row.monthly.success_count, row.monthly.request_count), by: (row) => row.monthly.success_count },
  ],
});

/** The state of the configuration, as sentences about its parts. */
function facts({ file, in_force, refused, restart_required, warnings, declared }) {
  const rows = [];
  const add = (about, text, kind = "") => rows.push({ about, text, kind });
  if (file) add("File", file);
  if (in_force && file) add("In force", `since ${in_force.loaded_at.slice(0, 19).replace("T", " ")} (${in_force.trigger}), ${in_force.sha256.slice(0, 12)}`);
  for (const problem of refused?.problems ?? []) add("Refused", problem, "open");
  for (const setting of restart_required) add("Needs a new process", setting, "half_open");
  if (declared.instance) add("Declared", `${format.many(declared.accounts, "account")} and ${format.many(declared.keys, "key")} of the instance ${declared.instance}`);
  for (const id of declared.disabled_although_declared) add("Disabled although declared", id, "half_open");
  for (const warning of warnings) add("Warning", warning, "half_open");
  return rows;
}

const configuration = new Table($("configuration"), {
  caption: () => "The file in force, what was refused, and what waits for a new process.",
  none: "The gateway was started without a file.",
  key: (row) => `${row.about} ${row.text}`,
  columns: [
    { label: "About", of: (row) => row.about, kind: (row) => row.kind },
    { label: "State", of: (row) => row.text },
  ],
});

const changes = new Table($("changes"), {
  caption: (shown) => `The last ${format.many(shown, "change")} of keys, accounts and credentials, and those that were refused. crossmodel audit lists all.`,
  none: "Nothing was changed yet.",
  key: (row) => String(row.seq),
  columns: [
    { label: "Time (UTC)", of: (row) => when(row.time) },
    { label: "Operator", search: true, of: (row) => row.actor, title: (row) => `by ${row.via}` },
    { label: "Action", search: true, of: (row) => row.action, kind: () => "code" },
    { label: "Object", search: true, of: (row) => row.subject, kind: () => "code" },
    { label: "Outcome", of: (row) => (row.outcome === "applied" ? "● applied" : `○ ${row.outcome}`), kind: (row) => (row.outcome === "applied" ? "closed" : "open") },
    { label: "Members", of: (row) => row.members.join(", ") || "–" },
  ],
});

const outcomes = new Table($("outcomes"), {
  caption: () => "Requests that are over, by status and error code.",
  none: "No request is over yet.",
  key: (row) => `${row.status} ${row.code}`,
  columns: [
    { label: "Status", of: (row) => (row.status === 0 ? "client gone" : String(row.status)), by: (row) => row.status },
    { label: "Code", of: (row) => row.code || "–", kind: () => "code", by: (row) => row.code },
    { label: "Outcome", of: (row) => OUTCOMES[row.outcome], kind: (row) => row.outcome, by: (row) => row.outcome },
    { label: "Last 10 min", number: true, of: (row) => format.count(row.recent), by: (row) => row.recent },
    { label: "Since the start", number: true, of: (row) => format.count(row.total), by: (row) => row.total },
  ],
});

const failures = new Table($("failures"), {
  caption: () => "Attempts that a provider did not answer well; another target may have answered.",
  none: "No attempt has failed.",
  key: (row) => `${row.provider} ${row.kind}`,
  columns: [
    { label: "Provider", of: (row) => row.provider, by: (row) => row.provider },
    { label: "Kind", of: (row) => row.kind, by: (row) => row.kind },
    { label: "Last 10 min", number: true, of: (row) => format.count(row.recent), by: (row) => row.recent },
    { label: "Since the start", number: true, of: (row) => format.count(row.total), by: (row) => row.total },
  ],
});

/* What is said aloud: only that a target is open or closed again, and that the gateway was started again. */

let circuits = null;

function tell(view, restarted) {
  const now = new Map(view.targets.shown.map((row) => [`${row.model} at ${row.provider}`, row.circuit === "open" || row.circuit === "half_open"]));
  const changed = [...now].filter(([name, open]) => circuits?.has(name) && circuits.get(name) !== open);
  const news = changed.slice(0, 3).map(([name, open]) => `${name} ${open ? "is open" : "is closed again"}.`);
  if (changed.length > 3) news.push(`${format.many(changed.length - 3, "more target has", "more targets have")} changed.`);
  if (restarted) news.unshift("The gateway was started again.");
  if (news.length > 0) setText($("news"), news.join(" "));
  circuits = now;
}

/* What somebody does. */

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  source.login($("token").value.trim());
  $("token").value = "";
});

$("pause").addEventListener("click", () => {
  const paused = !source.paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  source.pause(paused);
});

$("targets-find").addEventListener("input", (event) => targets.find(event.target.value));
$("models-find").addEventListener("input", (event) => models.find(event.target.value));
$("changes-find").addEventListener("input", (event) => changes.find(event.target.value));

let typing = 0;
$("keys-find").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => source.wish({ keys: event.target.value.trim() }), 250);
});

source.ask();

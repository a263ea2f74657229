// The console in a browser: what it shows under live traffic, with a keyboard, to a screen reader, in light and dark,
// on a phone, with nothing, with a lot, and while the gateway is away.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

import { Gateway, eventually, freePort, pause } from "./gateway.mjs";

const MARKUP = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>";
const AXE = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const WIDE = { width: 1440, height: 1000 };
const PHONE = { width: 390, height: 844 };

let passed = 0;
let failed = 0;
const started = [];

async function check(name, act) {
  try {
    await act();
    passed += 1;
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${name}\n${error.stack ?? error}`);
  }
}

async function gateway(...settings) {
  const made = await Gateway.make(...settings);
  started.push(made);
  return made;
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

/** A page, and what went wrong in it: words in its console, errors, and requests to others than the gateway. */
async function open(gateway, options = {}) {
  const context = await browser.newContext({ viewport: WIDE, ...options });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) wrong.push(message.text()); });
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => { if (!request.url().startsWith(`${gateway.url}/`)) wrong.push(request.url()); });
  await page.goto(`${gateway.url}/`);
  return { page, wrong };
}

const state = (page) => page.getAttribute("#state", "data-state");
const isLive = (page) => eventually(async () => await state(page) === "live");
const text = (page, selector) => page.textContent(selector);
const rows = (page, table) => page.locator(`#${table} tbody tr`).allTextContents();

async function audit(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const told = violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}\n${node.failureSummary}`));
  assert.deepEqual(told, []);
}

const dead = await freePort();
const config = `
providers:
  demo: {}
  flaky: {base_url: "http://127.0.0.1:${dead}/v1", auth: none, protocols: [chat]}
  backup: {base_url: "http://127.0.0.1:${dead}/v1", auth: none, protocols: [chat]}
models:
  - id: acme/large
    prices: [{input: 3000000, output: 15000000}]
    max_output: 2000
    targets: [{provider: flaky, model: large-2}, {provider: demo, model: chat, protocols: [chat], priority: 1}]
  - id: acme/small
    prices: [{input: 250000, output: 2000000}]
    max_output: 2000
    targets: [{provider: demo, model: messages, protocols: [messages]}]
  - {id: acme/lost, targets: [{provider: backup, model: gone}]}
instance: console
accounts:
  - {id: declared, budgets: [{period: month, limit: 20}]}
`;

await check("a gateway that has done nothing yet", async () => {
  const empty = await gateway("empty", "providers: {demo: {}}");
  empty.command("key", "list");
  await empty.start();
  const { page, wrong } = await open(empty);
  assert(await isLive(page));
  assert.match(await text(page, "#now"), /0 in all/);
  assert.match(await text(page, "#outcomes-caption ~ *, #outcomes + .none"), /./);
  await audit(page);
  assert.deepEqual(wrong, []);
  await page.context().close();
  await empty.stop();
});

const main = await gateway("main", config);
for (const account of ["research", "batch"]) main.command("account", "create", account);
const team = main.key("team-production", "--account", "research", "--rpm", "600", "--tpm", "400000", "--spending-limit", "5");
const odd = main.key(MARKUP, "--account", "research", "--rpm", "20");
const free = main.key("batch", "--account", "batch", "--rpm", "unlimited", "--tpm", "unlimited");
main.command("account", "top-up", "research", "25");
await main.start();
main.command("account", "disable", "declared");

let running = true;
const statuses = new Map();
async function worker(n) {
  for (let turn = n; running; turn += 1) {
    const round = Math.floor(turn / 6);
    const [key, model, words] = [
      [team, "acme/large", "[demo:words=40] [demo:slow=4] Tell me a story."],
      [team, "acme/small", `[demo:words=${20 + (turn % 60)}] [demo:wait=${(turn * 37) % 250}] Tell me more.`],
      [free, "demo/chat", `[demo:words=12] [demo:wait=${(turn * 53) % 400}] Hello.`],
      [odd, "acme/small", "[demo:words=9] Hello."],
      [free, round % 5 === 0 ? "acme/lost" : "demo/messages", "[demo:words=15] Hello."],
      [free, round % 7 === 0 ? "acme/unknown" : "demo/responses", round % 6 === 1 ? "[demo:status=500] Hello." : "Hello."],
    ][turn % 6];
    const status = await main.ask(key, model, words, { stream: turn % 2 === 0 }).catch(() => 0);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    await pause(30 + Math.round(70 * (1 + Math.sin(Date.now() / 9000))));
  }
}
const workers = Array.from({ length: 6 }, (_, n) => worker(n));

const { page, wrong } = await open(main);

await check("live figures", async () => {
  assert(await isLive(page));
  assert(await eventually(async () => /[1-9]/.test(await text(page, "#now dd"))));
  const tiles = await page.locator("#now > div").allTextContents();
  assert.equal(tiles.length, 8);
  const shown = () => page.locator("#now > div").allTextContents();
  assert(await eventually(async () => {
    const [requests, failures, refused, first, duration, tokens, cost] = await shown();
    return /[\d.]+ \/s/.test(requests) && /[1-9]/.test(failures) && /[1-9]/.test(refused) && /\d m?s/.test(first)
      && /\d m?s/.test(duration) && /[1-9].* in/.test(tokens) && /\$[\d.]+ \/h/.test(cost);
  }), (await shown()).join(" | "));
});

await check("targets that fail are left alone, first, and said so in words", async () => {
  assert(await eventually(async () => {
    const first = (await rows(page, "targets"))[0];
    return /open/.test(first) && /flaky|backup/.test(first);
  }));
  assert.match(await text(page, "#warnings"), /out of service because of failures/);
  assert.match((await rows(page, "failures")).join("\n"), /flaky ?connect/);
});

await check("models, keys, accounts and outcomes", async () => {
  assert(await eventually(async () => /acme\/large.*\$/.test((await rows(page, "models")).join("\n"))));
  const keys = (await rows(page, "keys")).join("\n");
  assert.match(keys, /team-production.*key_\w{16}.*research.*\d+ \/ 600.*\/ 400K.*\$[\d.]+ \/ \$5\.00/);
  const accounts = (await rows(page, "accounts")).join("\n");
  assert.match(accounts, /research\$2\d\.\d\d.*\$/);
  assert.match(accounts, /batchno wallet/);
  assert(await eventually(async () => {
    const outcomes = (await rows(page, "outcomes")).join("\n");
    return /200.*answered/.test(outcomes) && /429.*refused/.test(outcomes) && /50[23].*failed/.test(outcomes);
  }));
});

await check("the configuration, changes, and the secrets of keys by their ends", async () => {
  assert(await eventually(async () => {
    const facts = (await rows(page, "configuration")).join("\n");
    return /File.*gateway\.yaml/.test(facts) && /In forcesince .*\(start\)/.test(facts)
      && /Declared1 account and 0 keys of the instance console/.test(facts) && /Disabled although declareddeclared/.test(facts);
  }), (await rows(page, "configuration")).join("\n"));
  const changes = (await rows(page, "changes")).join("\n");
  assert.match(changes, /local:\d+account\.updatedeclared● appliedstatus/);
  assert.match(changes, /config:consoleaccount\.createdeclared/);
  await page.fill("#changes-find", "top_up");
  assert.equal((await rows(page, "changes")).length, 1);
  await page.fill("#changes-find", "");
  const keys = (await rows(page, "keys")).join("\n");
  assert.match(keys, new RegExp(`team-production.*\\$[\\d.]+ / \\$5\\.00 in allcm-…${team.slice(-4)}.*never`));
});

await check("a name with markup is a text", async () => {
  assert((await rows(page, "keys")).some((row) => row.includes(MARKUP)));
  assert.equal(await page.locator("td b, th b, img").count(), 0);
  assert.equal(await page.title(), "CrossModel console");
});

await check("no secret is anywhere in what the page gets", async () => {
  const body = await (await fetch(`${main.url}/console.json`)).text();
  for (const secret of [team, odd, free]) assert(!body.includes(secret));
  assert(!/cm-[0-9A-Za-z]{40}/.test(body));
});

await check("plots have lines, and say the same in words", async () => {
  assert(await eventually(async () => await page.locator(".area .line-1").evaluateAll((lines) =>
    lines.length === 6 && lines.every((line) => line.getAttribute("d").length > 20))));
  const labels = await page.locator(".area svg").evaluateAll((plots) => plots.map((plot) => plot.getAttribute("aria-label")));
  for (const label of labels) assert.match(label, /^[A-Z].* in the last ten minutes: .* now, at most /);
  await page.locator("#back").focus();
  for (let n = 0; n < 2; n += 1) await page.keyboard.press("ArrowLeft");
  assert.equal(await text(page, "#back-text"), "10 s ago");
  assert.equal(await page.locator(".cursor[visibility=visible]").count(), 6);
  await page.keyboard.press("End");
  assert.equal(await text(page, "#back-text"), "now");
});

await check("everything is reached by the keyboard, in order, and is seen to be", async () => {
  await page.reload();
  assert(await isLive(page));
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.reload();
  assert(await isLive(page));
  const all = await page.locator("a, button, input, [tabindex='0']").evaluateAll((found) =>
    found.filter((one) => one.checkVisibility()).length);
  let [reached, last] = [0, -1];
  for (; reached < all + 5; reached += 1) {
    await page.keyboard.press("Tab");
    const { inPage, place, outline } = await page.evaluate(() => {
      const [focused, every] = [document.activeElement, [...document.querySelectorAll("*")]];
      const style = getComputedStyle(focused);
      return { inPage: focused !== document.body, place: every.indexOf(focused), outline: style.outlineStyle !== "none" && style.outlineWidth !== "0px" };
    });
    if (!inPage || place < last) break;
    assert(outline, `no focus is seen at the stop ${reached}`);
    last = place;
  }
  assert.equal(reached, all);
});

await check("tables are sorted and searched by the keyboard", async () => {
  await page.locator("#models thead button", { hasText: "Output" }).focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#models [aria-sort=descending]").textContent(), "Output");
  await page.fill("#models-find", "acme/sm");
  assert.deepEqual((await page.locator("#models tbody th").allTextContents()), ["acme/small"]);
  assert.match(await text(page, "#models-caption"), /^1 of \d+ models/);
  await page.fill("#models-find", "");
  await page.fill("#keys-find", "PRODUCTION");
  assert(await eventually(async () => (await rows(page, "keys")).length === 1));
  await page.fill("#keys-find", "nobody");
  assert(await eventually(async () => /Nothing is like that/.test(await text(page, "#keys + .none"))));
  await page.fill("#keys-find", "");
  assert(await eventually(async () => (await rows(page, "keys")).length === 3));
});

await check("a pause is one", async () => {
  await page.click("#pause");
  assert.deepEqual([await state(page), await page.getAttribute("#pause", "aria-pressed")], ["paused", "true"]);
  await pause(500);
  let asked = 0;
  const count = () => { asked += 1; };
  page.on("request", count);
  await pause(3000);
  page.off("request", count);
  assert.equal(asked, 0);
  await page.click("#pause");
  assert(await isLive(page));
});

for (const [size, viewport] of [["wide", WIDE], ["phone", PHONE]]) {
  for (const colorScheme of ["light", "dark"]) {
    await check(`axe finds nothing: ${size}, ${colorScheme}`, async () => {
      const seen = await open(main, { viewport, colorScheme, reducedMotion: "reduce", deviceScaleFactor: size === "phone" ? 2 : 1 });
      assert(await isLive(seen.page));
      await pause(2500);
      const width = await seen.page.evaluate(() => document.documentElement.scrollWidth);
      assert(width <= viewport.width, `the page is ${width} wide`);
      await seen.page.screenshot({ path: `${process.env.CONSOLE_SHOTS}/console-${size}-${colorScheme}.png`, fullPage: true });
      await audit(seen.page);
      assert.deepEqual(seen.wrong, []);
      await seen.page.context().close();
    });
  }
}

await check("nothing went wrong in the page, and it asked nobody else", async () => assert.deepEqual(wrong, []));

running = false;
await Promise.all(workers);

await check("the gateway goes away and comes back", async () => {
  await main.stop();
  assert(await eventually(async () => await state(page) === "lost"));
  assert.match(await text(page, "#state"), /may be restarting/);
  assert((await rows(page, "keys")).length === 3, "what was seen stays");
  await audit(page);
  await main.start();
  assert(await isLive(page));
  assert.match(await text(page, "#news"), /started again/);
});
await page.context().close();
await main.stop();

await check("200 models and 1,000 keys", async () => {
  const models = Array.from({ length: 200 }, (_, n) => `  - {id: "v/model-${n}", targets: [{provider: demo, model: chat}]}`);
  const crowd = await gateway("crowd", `providers: {demo: {}}\nmodels:\n${models.join("\n")}`);
  crowd.key("first");
  execFileSync("python3", ["-c", `
import os, sqlite3, sys
store = sqlite3.connect(sys.argv[1])
account = store.execute("SELECT id FROM accounts").fetchone()[0]
store.executemany("INSERT INTO keys (id, account, name, status, aliases, strict, origin, created, created_by, revision) "
    "VALUES (?, ?, ?, 'active', '{}', 0, 'cli', ?, 'cli', 1)",
    [(f"key_{n:016}", account, f"person {n}", n) for n in range(1000)])
store.executemany("INSERT INTO key_secrets (digest, key, created) VALUES (?, ?, 0)",
    [(os.urandom(32), f"key_{n:016}") for n in range(1000)])
store.commit()
`, `${crowd.folder}/data/crossmodel.db`]);
  await crowd.start();
  const { page, wrong } = await open(crowd);
  assert(await isLive(page));
  assert.equal((await rows(page, "keys")).length, 100);
  assert.match(await text(page, "#keys-caption"), /^100 of 1,001 keys/);
  assert.equal((await rows(page, "models")).length, 203);
  await page.fill("#keys-find", "person 777");
  assert(await eventually(async () => (await rows(page, "keys")).length === 1));
  const size = (await (await fetch(`${crowd.url}/console.json`)).text()).length;
  assert(size < 200_000, `${size} bytes`);
  await audit(page);
  assert.deepEqual(wrong, []);
  await page.context().close();
  await crowd.stop();
});

await check("a token is asked for once, and kept in the tab", async () => {
  const locked = await gateway("locked", "providers: {demo: {}}", "a-long-token-for-operators");
  await locked.start();
  const { page, wrong } = await open(locked);
  assert(await eventually(() => page.locator("#login").isVisible()));
  assert.equal(await page.evaluate(() => document.activeElement.id), "token");
  await audit(page);
  await page.keyboard.type("wrong");
  await page.keyboard.press("Enter");
  assert(await eventually(async () => /not the token/.test(await text(page, "#login-error"))));
  await audit(page);
  await page.keyboard.type("a-long-token-for-operators");
  await page.keyboard.press("Enter");
  assert(await isLive(page));
  assert(!page.url().includes("token"));
  await page.reload();
  assert(await isLive(page));
  // A browser tells of each 401 by itself.
  assert.deepEqual(wrong.filter((said) => !said.includes("status of 401")), []);
  await page.context().close();
  await locked.stop();
});

await browser.close();
for (const gateway of started) await gateway.stop();
console.log(`statuses of calls: ${[...statuses].map(([status, n]) => `${status} ${n}×`).join(", ")}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

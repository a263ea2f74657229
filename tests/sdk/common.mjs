// The runner of the JavaScript suites, and what several of them need.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export { assert, sleep };
export const { BASE_URL: BASE, API_KEY: KEY, SDK } = process.env;
export const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
// What has to come through untouched: quotes, escapes, several bytes, a look-alike of what is rewritten.
export const ODD = 'Grüße 🌍 "model":"x" \\n';

export const THOUGHT = 'The user wants an echo.';
// One model of each protocol of providers; of Messages one that is known to think.
export const THINKERS = { chat: 'demo/chat', responses: 'demo/responses', messages: 'think/claude-sonnet-5' };

/** A case for each feature on each path, from a protocol of clients to one of providers; `make` adds what it needs. */
export function paths(clients, features, make) {
  const cases = {};
  for (const name of clients) {
    for (const upstream of Object.keys(THINKERS)) {
      const path = { name, upstream, ...make({ name, upstream }) };
      for (const [feature, test] of Object.entries(features)) {
        cases[`${feature}, ${name} > ${upstream}`] = () => test(path);
      }
    }
  }
  return cases;
}

/** Runs the cases, each a function with a name. */
export async function run(name, cases) {
  let failed = 0;
  for (const [title, test] of Object.entries(cases)) {
    const limit = new AbortController();
    const late = sleep(30_000, null, { signal: limit.signal }).then(() => assert.fail('took more than 30 s'));
    try {
      await Promise.race([test(), late]);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}: ${title}\n${error?.stack ?? error}\n`);
    }
    late.catch(() => {});
    limit.abort();
  }
  console.log(`${name}: ${Object.keys(cases).length - failed} passed, ${failed} failed`);
  process.exit(failed > 0 ? 1 : 0);
}

/** The error of this class that the call throws. */
export async function thrown(kind, call) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  assert.fail(`${kind.name} was not thrown, but there was an answer: ${JSON.stringify(answer)}`);
}

/** The events of a stream, and the error that ended it, if one did. */
export async function read(stream) {
  const events = [];
  try {
    for await (const event of stream) events.push(event);
  } catch (error) {
    return { events, error };
  }
  return { events };
}

export const all = async (stream) => {
  const { events, error } = await read(stream);
  if (error) throw error;
  return events;
};

/** Makes a key and waits until the gateway knows it, which may take a second; gives its id and its secret. */
export async function key(...options) {
  const made = JSON.parse(cli('create', '--json', ...options));
  const headers = { authorization: `Bearer ${made.secret}` };
  const known = async () => (await fetch(`${BASE}/v1/models`, { headers })).ok;
  for (const end = Date.now() + 1000; !(await known()); await sleep(10)) {
    assert(Date.now() < end, 'the gateway does not know a key that is a second old');
  }
  return made;
}

export const cli = (...words) =>
  execFileSync(process.env.CROSSMODEL_BIN, ['--data', process.env.DATA, 'key', ...words], { encoding: 'utf8' });

/** The calls of one key in the access log, once there are so many; waits a little for any more. */
export async function log(id, count) {
  for (const end = Date.now() + 3000; lines(id).length < count && Date.now() < end; ) await sleep(50);
  await sleep(300);
  return lines(id);
}

function lines(id) {
  const whole = readFileSync(process.env.ACCESS_LOG, 'utf8').split('\n').slice(0, -1);
  return whole.map((line) => JSON.parse(line)).filter((line) => line.key === id && line.method === 'POST');
}

/** A place where so many wait until all are there: one after the other, they would not be in time. */
export function together(count) {
  let open;
  const gate = new Promise((resolve) => (open = resolve));
  return () => {
    count -= 1;
    if (count === 0) open();
    return Promise.race([gate, sleep(10_000).then(() => assert.fail('not all at the same time'))]);
  };
}

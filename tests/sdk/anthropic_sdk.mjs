// The Anthropic SDK for JavaScript: Messages, token counting, models.

import { z } from 'zod';
import { all, assert, BASE, cli, KEY, key, log, ODD, PIXEL, read, run } from './common.mjs';
import { SDK, sleep, thrown, together } from './common.mjs';

const { default: Anthropic } = await import(SDK);
const { VERSION } = await import(`${SDK}/version`);
const { zodOutputFormat } = await import(`${SDK}/helpers/zod`);
const { betaZodTool } = await import(`${SDK}/helpers/beta/zod`);

const make = (options) =>
  new Anthropic({ baseURL: BASE, apiKey: KEY, authToken: null, maxRetries: 0, timeout: 30_000, ...options });
const client = make();
const MODEL = 'demo/messages';
const ARGUMENTS = { city: 'demo', days: 1 };
const SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city', 'days'],
};
const TOOLS = [{ name: 'weather', description: 'The weather', input_schema: SCHEMA }];
const THINKING = { max_tokens: 2048, thinking: { type: 'enabled', budget_tokens: 1024 } };
const Person = z.object({ name: z.string(), age: z.number() });

const user = (content) => [{ role: 'user', content }];
const asked = (content, more) => ({ model: MODEL, max_tokens: 100, messages: user(content), ...more });
const ask = (content, more, own = client) => own.messages.create(asked(content, more));
const final = (content, more) => client.messages.stream(asked(content, more)).finalMessage();
const text = (events) => events.map((e) => e.delta?.text ?? '').join('');

// The call, at once and streamed: an error before the stream is always a status.
const both = (said, own = client) => [false, true].map((stream) => () => ask(said, { stream }, own));

function check(error, kind, status, relayed = false) {
  assert.equal(error.status, status);
  assert.deepEqual([error.error.type, error.error.error.type], ['error', kind]);
  assert(error.error.error.message);
  assert.match(error.requestID, /^req_cm_/);
  // A provider's refusal in the client's own form is passed on as it is, its id included.
  assert(relayed || error.error.request_id === error.requestID);
}

await run(`node ${SDK} ${VERSION}`, {
  async echo() {
    const answer = await ask(ODD);
    assert.deepEqual([answer.content[0].text, answer.model], [`You said: ${ODD}`, MODEL]);
    assert.deepEqual([answer.type, answer.role, answer.stop_reason], ['message', 'assistant', 'end_turn']);
    assert(answer.usage.cache_read_input_tokens > 0 && answer.usage.input_tokens > 0);
    assert(answer.usage.output_tokens > 0);
  },

  async echoStreamed() {
    const events = await all(await ask(ODD, { stream: true }));
    assert.equal(text(events), `You said: ${ODD}`);
    assert.deepEqual([events[0].type, events[0].message.model], ['message_start', MODEL]);
    assert(events[0].message.usage.cache_read_input_tokens > 0);
    assert.deepEqual([events.at(-1).type, events.at(-2).delta.stop_reason], ['message_stop', 'end_turn']);
  },

  async streamHoweverItIsCut() {
    for (const marker of ['chunk=7', 'crlf', 'quote']) {
      const said = (await final(`${ODD} [demo:${marker}]`)).content[0].text;
      assert(said.endsWith(`You said: ${ODD}`), said);
      assert.equal(said.includes('{"model":"quoted-model"}'), marker === 'quote');
    }
  },

  async streamHelper() {
    const said = [];
    const stream = client.messages.stream(asked('hi')).on('text', (piece) => said.push(piece));
    const answer = await stream.finalMessage();
    assert.deepEqual(said, ['You ', 'said: ', 'hi']);
    assert.deepEqual([answer.content[0].text, answer.model, answer.stop_reason], ['You said: hi', MODEL, 'end_turn']);
    assert(answer.usage.cache_read_input_tokens > 0 && answer.usage.input_tokens > 0);
    assert.equal(answer.usage.output_tokens, 3);
  },

  async countTokens() {
    const count = (said) => client.messages.countTokens({ model: MODEL, messages: user(said) });
    const [few, many] = [await count('hi'), await count('hi'.repeat(100))];
    assert(few.input_tokens > 0 && few.input_tokens < many.input_tokens);
  },

  async toolRound() {
    const call = await ask('hi', { tools: TOOLS });
    const made = call.content[0];
    assert.deepEqual([call.stop_reason, made.name, made.input], ['tool_use', 'weather', ARGUMENTS]);
    const result = { type: 'tool_result', tool_use_id: made.id, content: '21 degrees' };
    const messages = [...user('hi'), { role: 'assistant', content: call.content }, ...user([result])];
    assert.equal((await ask('', { messages, tools: TOOLS })).content[0].text, 'The tool answered: 21 degrees');
  },

  async toolCallStreamed() {
    const answer = await final('hi', { tools: TOOLS, tool_choice: { type: 'any' } });
    assert.deepEqual([answer.stop_reason, answer.content[0].input], ['tool_use', ARGUMENTS]);
    const events = await all(await ask('hi', { tools: TOOLS, stream: true }));
    assert(events.filter((e) => e.delta?.type === 'input_json_delta').length > 1);
  },

  async toolRunner() {
    const inputSchema = z.object({ city: z.string() });
    const weather = { name: 'weather', description: 'The weather', inputSchema };
    const tools = [betaZodTool({ ...weather, run: ({ city }) => `rain in ${city}` })];
    const answer = await client.beta.messages.toolRunner(asked('hi', { tools })).runUntilDone();
    assert.equal(answer.content[0].text, 'The tool answered: rain in demo');
  },

  async image() {
    const source = { type: 'base64', media_type: 'image/png', data: PIXEL };
    const content = [{ type: 'image', source }, { type: 'text', text: 'look' }];
    assert.equal((await ask(content)).content[0].text, 'You said: look (1 image seen)');
    assert.equal((await final(content)).content[0].text, 'You said: look (1 image seen)');
  },

  async schema() {
    const more = { output_config: { format: zodOutputFormat(Person) } };
    const person = { name: 'demo', age: 1 };
    assert.deepEqual((await client.messages.parse(asked('hi', more))).parsed_output, person);
    assert.deepEqual((await final('hi', more)).parsed_output, person);
  },

  async thinking() {
    for (const { content } of [await ask('hi', THINKING), await final('hi', THINKING)]) {
      assert.deepEqual([content[0].type, content[0].thinking], ['thinking', 'The user wants an echo.']);
      assert(content[0].signature && content[1].text === 'You said: hi');
      const messages = [...user('hi'), { role: 'assistant', content }, ...user('again')];
      assert.equal((await ask('', { ...THINKING, messages })).content.at(-1).text, 'You said: again');
    }
  },

  async beta() {
    const answer = await client.beta.messages.create(asked('hi', { betas: ['context-management-2025-06-27'] }));
    assert.deepEqual([answer.content[0].text, answer.model], ['You said: hi', MODEL]);
  },

  async headers() {
    for (const stream of [false, true]) {
      const { response, request_id, data } = await ask('hi', { stream }).withResponse();
      assert.match(request_id, /^req_cm_/);
      assert.equal(response.headers.get('x-request-id'), request_id);
      assert.equal(response.headers.get('x-crossmodel-model'), MODEL);
      if (stream) await all(data);
      else assert.equal(data._request_id, request_id);
    }
  },

  async authToken() {
    assert.equal((await ask('hi', {}, make({ apiKey: null, authToken: KEY }))).model, MODEL);
  },

  // Many at once, and aborts

  async fiftyStreams() {
    const meet = together(50);
    const one = async (number) => {
      const said = `[demo:slow=50]I am number ${number} of many`;
      const events = [];
      for await (const event of await ask(said, { stream: true })) {
        if (events.push(event) === 1) await meet();
      }
      assert.equal(text(events), `You said: I am number ${number} of many`);
    };
    await Promise.all(Array.from({ length: 50 }, (_, number) => one(number)));
  },

  async abort() {
    const { id, secret } = await key();
    const own = make({ apiKey: secret });
    const stream = await ask('[demo:slow=50][demo:words=200]', { stream: true }, own);
    let seen = 0;
    for await (const _ of stream) if ((seen += 1) === 6) stream.controller.abort();
    const began = Date.now();
    assert.equal((await ask('hi', {}, own)).model, MODEL);
    const gone = (await log(id, 2)).map((line) => line.client_gone);
    assert.deepEqual(gone.sort(), [false, true]);
    assert(Date.now() - began < 3000);
  },

  // Models

  async models() {
    const every = ['demo/chat', MODEL, 'demo/responses'];
    assert.deepEqual((await all(client.models.list())).map((m) => m.id).sort(), every);
    const first = await client.models.list({ limit: 2 });
    assert.deepEqual([first.data.length, first.has_more], [2, true]);
    assert.deepEqual((await all(first)).map((m) => m.id).sort(), every); // goes on to the next page by itself
    const model = await client.models.retrieve(MODEL);
    assert.deepEqual([model.id, model.type, model.display_name], [MODEL, 'model', 'Demo (messages)']);
    await thrown(Anthropic.NotFoundError, () => client.models.retrieve('demo/none'));
  },

  async modelPermissionAndAlias() {
    const { secret } = await key('--model', MODEL, '--alias', `claude-*=${MODEL}`, '--alias', `mine=${MODEL}`);
    const own = make({ apiKey: secret });
    const ids = (await all(own.models.list())).map((m) => m.id);
    assert(ids.includes(MODEL) && ids.includes('mine') && !ids.includes('demo/chat'), ids.join());
    for (const model of ['mine', 'claude-haiku-4-5-20251001']) {
      const { data, response } = await ask('hi', { model }, own).withResponse();
      assert.deepEqual([data.model, response.headers.get('x-crossmodel-model')], [model, MODEL]);
      assert.equal((await own.messages.stream(asked('hi', { model })).finalMessage()).model, model);
    }
    await thrown(Anthropic.NotFoundError, () => ask('hi', { model: 'demo/chat' }, own));
  },

  // What goes wrong

  async wrongKey() {
    const own = make({ apiKey: `cm-${'x'.repeat(40)}` });
    for (const call of both('hi', own)) {
      check(await thrown(Anthropic.AuthenticationError, call), 'authentication_error', 401);
    }
    await thrown(Anthropic.AuthenticationError, () => own.models.list());
  },

  async unknownModel() {
    for (const stream of [false, true]) {
      const error = await thrown(Anthropic.NotFoundError, () => ask('hi', { model: 'foo/bar', stream }));
      check(error, 'not_found_error', 404);
      assert.equal(error.error.error.message, "Model 'foo/bar' was not found or is unavailable. GET /v1/models lists the models of this key.");
    }
  },

  async refusedByTheProvider() {
    for (const call of both('[demo:status=400]')) {
      check(await thrown(Anthropic.BadRequestError, call), 'invalid_request_error', 400, true);
    }
  },

  async rateLimit() {
    for (const call of both('[demo:status=429]')) {
      const error = await thrown(Anthropic.RateLimitError, call);
      check(error, 'rate_limit_error', 429);
      assert.equal(error.headers.get('retry-after'), '7');
    }
  },

  async theProvidersTroubleIsNotTheClients() {
    for (const marker of ['status=401', 'status=403', 'status=500', 'status=502][demo:html']) {
      for (const call of both(`[demo:${marker}]`)) {
        check(await thrown(Anthropic.InternalServerError, call), 'api_error', 502);
      }
    }
    check(await thrown(Anthropic.InternalServerError, () => ask('[demo:cut=20]')), 'api_error', 502);
    for (const marker of ['status=529', 'status=503']) {
      for (const call of both(`[demo:${marker}]`)) {
        const error = await thrown(Anthropic.InternalServerError, call);
        check(error, 'overloaded_error', 503);
        assert(error.headers.has('retry-after'));
      }
    }
    for (const more of [{}, { stream: true }]) { // nothing has been said yet
      assert.equal((await thrown(Anthropic.APIError, () => ask('[demo:error-first]', more))).status, 503);
    }
  },

  async retries() {
    // 429 says `retry-after: 7`; 502 does not, so the SDK comes back soon.
    const { InternalServerError, BadRequestError } = Anthropic;
    for (const [status, kind, requests] of [[500, InternalServerError, 2], [400, BadRequestError, 1]]) {
      const { id, secret } = await key();
      const own = make({ apiKey: secret, maxRetries: 1 });
      await thrown(kind, () => ask(`[demo:status=${status}]`, {}, own));
      assert.equal((await log(id, requests)).length, requests);
    }
  },

  async breaksInTheStream() {
    for (const marker of ['error=3', 'cut=3', 'end=3']) {
      const { events, error } = await read(await ask(`a b c d [demo:${marker}]`, { stream: true }));
      assert(error instanceof Anthropic.APIError && error.error.error.message, `${marker}: ${error}`);
      assert.equal(text(events), 'You said: a ');
      assert(!events.some((e) => e.type === 'message_delta' || e.type === 'message_stop'));
      await thrown(Anthropic.AnthropicError, () => final(`a b c d [demo:${marker}]`));
    }
  },

  async keyDisabled() {
    const { id, secret } = await key();
    const own = make({ apiKey: secret });
    assert.equal((await ask('hi', {}, own)).model, MODEL);
    cli('disable', id);
    await sleep(1000); // a change takes effect within a second
    for (const call of both('hi', own)) {
      check(await thrown(Anthropic.AuthenticationError, call), 'authentication_error', 401);
    }
    cli('enable', id);
    await sleep(1000);
    assert.equal((await ask('hi', {}, own)).model, MODEL);
  },
});

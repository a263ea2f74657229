// The OpenAI SDK for JavaScript: Chat Completions, Responses, models.

import { z } from 'zod';
import { all, assert, BASE, cli, KEY, key, log, ODD, PIXEL, read, run } from './common.mjs';
import { SDK, sleep, thrown, together } from './common.mjs';

const { default: OpenAI } = await import(SDK);
const { VERSION } = await import(`${SDK}/version`);
const { zodResponseFormat, zodTextFormat } = await import(`${SDK}/helpers/zod`);

const make = (options) =>
  new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY, maxRetries: 0, timeout: 30_000, ...options });
const client = make();
const CHAT = 'demo/chat';
const RESPONSES = 'demo/responses';
const ARGUMENTS = '{"city":"demo","days":1}';
const FUNCTION = {
  name: 'weather',
  description: 'The weather',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' }, days: { type: 'integer' } },
    required: ['city', 'days'],
    additionalProperties: false,
  },
};
const CHAT_TOOLS = [{ type: 'function', function: FUNCTION }];
const TOOLS = [{ type: 'function', ...FUNCTION, strict: false }];
const Person = z.object({ name: z.string(), age: z.number() });
const PERSON = { name: 'demo', age: 1 };

const user = (content) => [{ role: 'user', content }];
const chat = (said, more, own = client) =>
  own.chat.completions.create({ model: CHAT, messages: user(said), ...more });
const chatStream = async (said, more) => all(await chat(said, { stream: true, ...more }));
const chatText = (chunks) => chunks.map((c) => c.choices[0]?.delta.content ?? '').join('');
const respond = (input, more, own = client) => own.responses.create({ model: RESPONSES, input, ...more });
const respondStream = async (input, more) => all(await respond(input, { stream: true, ...more }));
const deltas = (events) =>
  events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join('');

// The calls of both protocols, at once and streamed: an error before the stream is always a status.
const both = (said, own = client) =>
  [chat, respond].flatMap((ask) => [() => ask(said, {}, own), () => ask(said, { stream: true }, own)]);

await run(`node ${SDK} ${VERSION}`, {
  // Chat Completions

  async chatEcho() {
    const answer = await chat(ODD);
    assert.equal(answer.choices[0].message.content, `You said: ${ODD}`);
    assert.deepEqual([answer.model, answer.choices[0].finish_reason], [CHAT, 'stop']);
    assert(answer.usage.completion_tokens > 0 && answer.usage.prompt_tokens_details.cached_tokens > 0);
  },

  async chatEchoStreamed() {
    const chunks = await chatStream(ODD);
    assert.equal(chatText(chunks), `You said: ${ODD}`);
    assert.deepEqual([...new Set(chunks.map((c) => c.model))], [CHAT]);
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  },

  async chatStreamHoweverItIsCut() {
    for (const marker of ['chunk=7', 'crlf', 'quote', 'no-done']) {
      const said = chatText(await chatStream(`${ODD} [demo:${marker}]`));
      assert(said.endsWith(`You said: ${ODD}`), said);
      assert.equal(said.includes('{"model":"quoted-model"}'), marker === 'quote');
    }
  },

  async chatUsageOnlyWhereAsked() {
    const asked = await chatStream('hi', { stream_options: { include_usage: true } });
    assert.equal(asked.at(-1).usage.completion_tokens, 3);
    assert.deepEqual([asked.at(-1).choices, asked.at(-1).model], [[], CHAT]);
    assert(asked.slice(0, -1).every((c) => c.usage == null && c.choices.length));
    for (const more of [{}, { stream_options: { include_usage: false } }]) {
      assert((await chatStream('hi', more)).every((c) => c.usage == null && c.choices.length));
    }
  },

  async chatToolRound() {
    const call = (await chat('hi', { tools: CHAT_TOOLS })).choices[0];
    const made = call.message.tool_calls[0];
    assert.deepEqual([call.finish_reason, made.function.name], ['tool_calls', 'weather']);
    assert.equal(made.function.arguments, ARGUMENTS);
    const result = { role: 'tool', tool_call_id: made.id, content: '21 degrees' };
    const answer = await chat('', { messages: [...user('hi'), call.message, result], tools: CHAT_TOOLS });
    assert.equal(answer.choices[0].message.content, 'The tool answered: 21 degrees');
  },

  async chatToolCallStreamed() {
    const stream = client.chat.completions.stream({ model: CHAT, messages: user('hi'), tools: CHAT_TOOLS });
    const pieces = (await all(stream)).flatMap((c) => c.choices[0].delta.tool_calls ?? []);
    assert(pieces.length > 2 && pieces[0].id);
    assert.equal(pieces.map((p) => p.function.arguments).join(''), ARGUMENTS);
    const final = await stream.finalChatCompletion();
    assert.deepEqual([final.model, final.choices[0].finish_reason], [CHAT, 'tool_calls']);
    assert.equal(final.choices[0].message.tool_calls[0].function.arguments, ARGUMENTS);
  },

  async chatToolRunner() {
    for (const stream of [false, true]) {
      const called = [];
      const weather = { ...FUNCTION, parse: JSON.parse, function: (args) => called.push(args) && 'rain' };
      const tools = [{ type: 'function', function: weather }];
      const runner = client.chat.completions.runTools({ model: CHAT, messages: user('hi'), tools, stream });
      assert.equal(await runner.finalContent(), 'The tool answered: rain');
      assert.deepEqual(called, [JSON.parse(ARGUMENTS)]);
    }
  },

  async chatImage() {
    const url = `data:image/png;base64,${PIXEL}`;
    const content = [{ type: 'text', text: 'look' }, { type: 'image_url', image_url: { url } }];
    assert.equal((await chat(content)).choices[0].message.content, 'You said: look (1 image seen)');
    assert.equal(chatText(await chatStream(content)), 'You said: look (1 image seen)');
  },

  async chatSchema() {
    const ask = { model: CHAT, messages: user('hi'), response_format: zodResponseFormat(Person, 'person') };
    assert.deepEqual((await client.chat.completions.parse(ask)).choices[0].message.parsed, PERSON);
    const final = await client.chat.completions.stream(ask).finalChatCompletion();
    assert.deepEqual(final.choices[0].message.parsed, PERSON);
  },

  async chatReasoning() {
    const answer = await chat('hi', { reasoning_effort: 'low' });
    assert.equal(answer.choices[0].message.reasoning_content, 'The user wants an echo.');
    const chunks = await chatStream('hi', { reasoning_effort: 'low' });
    const thoughts = chunks.map((c) => c.choices[0].delta.reasoning_content ?? '').join('');
    assert.deepEqual([thoughts, chatText(chunks)], ['The user wants an echo.', 'You said: hi']);
  },

  async headers() {
    for (const [ask, model] of [[chat, CHAT], [respond, RESPONSES]]) {
      for (const stream of [false, true]) {
        const { response, request_id, data } = await ask('hi', { stream }).withResponse();
        assert.match(request_id, /^req_cm_/);
        assert.equal(response.headers.get('x-crossmodel-model'), model);
        if (stream) await all(data);
        else assert.equal(data._request_id, request_id);
      }
    }
  },

  // Responses

  async responsesEcho() {
    const answer = await respond(ODD);
    assert.deepEqual([answer.output_text, answer.model], [`You said: ${ODD}`, RESPONSES]);
    assert.deepEqual([answer.status, answer.error], ['completed', null]);
    assert(answer.usage.input_tokens_details.cached_tokens > 0);
  },

  async responsesEchoStreamed() {
    const events = await respondStream(ODD);
    assert.equal(deltas(events), `You said: ${ODD}`);
    assert.deepEqual(events.map((e) => e.sequence_number), [...events.keys()]);
    assert.deepEqual([...new Set(events.flatMap((e) => e.response?.model ?? []))], [RESPONSES]);
    const last = events.at(-1);
    assert.deepEqual([last.type, last.response.status], ['response.completed', 'completed']);
    assert(last.response.usage.output_tokens > 0);
  },

  async responsesStreamHoweverItIsCut() {
    for (const marker of ['chunk=7', 'crlf', 'quote']) {
      const events = await respondStream(`${ODD} [demo:${marker}]`);
      assert(deltas(events).endsWith(`You said: ${ODD}`));
      assert.equal(events.at(-1).response.output[0].content[0].text, deltas(events));
    }
  },

  async responsesStreamHelper() {
    const final = await client.responses.stream({ model: RESPONSES, input: 'hi' }).finalResponse();
    assert.deepEqual([final.output_text, final.model, final.status], ['You said: hi', RESPONSES, 'completed']);
    assert.equal(final.usage.output_tokens, 3);
  },

  async responsesToolRound() {
    const call = (await respond('hi', { tools: TOOLS })).output[0];
    assert.deepEqual([call.type, call.name, call.arguments], ['function_call', 'weather', ARGUMENTS]);
    const result = { type: 'function_call_output', call_id: call.call_id, output: '21 degrees' };
    const answer = await respond([...user('hi'), call, result], { tools: TOOLS });
    assert.equal(answer.output_text, 'The tool answered: 21 degrees');
  },

  async responsesToolCallStreamed() {
    const stream = client.responses.stream({ model: RESPONSES, input: 'hi', tools: TOOLS });
    const events = await all(stream);
    const pieces = events.filter((e) => e.type === 'response.function_call_arguments.delta');
    assert(pieces.length > 1);
    assert.equal(pieces.map((e) => e.delta).join(''), ARGUMENTS);
    assert.equal((await stream.finalResponse()).output[0].arguments, ARGUMENTS);
  },

  async responsesImage() {
    const image = { type: 'input_image', image_url: `data:image/png;base64,${PIXEL}`, detail: 'auto' };
    const input = user([{ type: 'input_text', text: 'look' }, image]);
    assert.equal((await respond(input)).output_text, 'You said: look (1 image seen)');
    assert.equal(deltas(await respondStream(input)), 'You said: look (1 image seen)');
  },

  async responsesSchema() {
    const ask = { model: RESPONSES, input: 'hi', text: { format: zodTextFormat(Person, 'person') } };
    assert.deepEqual((await client.responses.parse(ask)).output_parsed, PERSON);
    assert.deepEqual((await client.responses.stream(ask).finalResponse()).output_parsed, PERSON);
  },

  async responsesReasoning() {
    const more = { reasoning: { effort: 'low', summary: 'auto' }, include: ['reasoning.encrypted_content'] };
    const { output, usage } = await respond('hi', more);
    assert.deepEqual([output[0].type, output[0].summary[0].text], ['reasoning', 'The user wants an echo.']);
    assert(output[0].encrypted_content && usage.output_tokens_details.reasoning_tokens === 5);
    const again = await respond([...user('hi'), ...output, ...user('again')]);
    assert.equal(again.output_text, 'You said: again');
    const events = await respondStream('hi', more);
    const thoughts = events.filter((e) => e.type === 'response.reasoning_summary_text.delta');
    assert.equal(thoughts.map((e) => e.delta).join(''), 'The user wants an echo.');
  },

  async responsesCountTokens() {
    const count = (input) => client.responses.inputTokens.count({ model: RESPONSES, input });
    const [few, many] = [await count('hi'), await count('hi'.repeat(100))];
    assert(few.input_tokens > 0 && few.input_tokens < many.input_tokens);
  },

  // Many at once, and aborts

  async fiftyStreams() {
    const meet = together(50);
    const one = async (number) => {
      const said = `[demo:slow=50]I am number ${number} of many`;
      const [ask, text] = number % 2 ? [chat, chatText] : [respond, deltas];
      const events = [];
      for await (const event of await ask(said, { stream: true })) {
        if (events.push(event) === 1) await meet();
      }
      assert.equal(text(events), `You said: I am number ${number} of many`);
    };
    await Promise.all(Array.from({ length: 50 }, (_, number) => one(number)));
  },

  async abort() {
    for (const [ask, model] of [[chat, CHAT], [respond, RESPONSES]]) {
      const { id, secret } = await key();
      const own = make({ apiKey: secret });
      const stream = await ask('[demo:slow=50][demo:words=200]', { stream: true }, own);
      let seen = 0;
      for await (const _ of stream) if ((seen += 1) === 6) stream.controller.abort();
      const began = Date.now();
      assert.equal((await ask('hi', {}, own)).model, model);
      const gone = (await log(id, 2)).map((line) => line.client_gone);
      assert.deepEqual(gone.sort(), [false, true]);
      assert(Date.now() - began < 3000);
    }
  },

  // Models

  async models() {
    const listed = await all(client.models.list());
    assert.deepEqual(listed.map((m) => m.id).sort(), [CHAT, 'demo/messages', RESPONSES]);
    assert(listed.every((m) => m.object === 'model' && m.created === 1767225600));
    assert.equal((await client.models.retrieve(CHAT)).id, CHAT);
    const error = await thrown(OpenAI.NotFoundError, () => client.models.retrieve('demo/none'));
    assert.equal(error.code, 'model_not_found');
  },

  async modelPermissionAndAlias() {
    const { secret } = await key('--model', CHAT, '--alias', `gpt-mine=${CHAT}`, '--alias', `claude-*=${CHAT}`);
    const own = make({ apiKey: secret });
    const ids = (await all(own.models.list())).map((m) => m.id);
    assert(ids.includes(CHAT) && ids.includes('gpt-mine') && !ids.includes(RESPONSES), ids.join());
    for (const model of ['gpt-mine', 'claude-anything-5']) {
      const { data, response } = await chat('hi', { model }, own).withResponse();
      assert.deepEqual([data.model, response.headers.get('x-crossmodel-model')], [model, CHAT]);
      const chunks = await all(await chat('hi', { model, stream: true }, own));
      assert.deepEqual([...new Set(chunks.map((c) => c.model))], [model]);
    }
    await thrown(OpenAI.NotFoundError, () => respond('hi', {}, own));
  },

  // What goes wrong

  async wrongKey() {
    const own = make({ apiKey: `cm-${'x'.repeat(40)}` });
    for (const call of both('hi', own)) {
      const error = await thrown(OpenAI.AuthenticationError, call);
      assert.deepEqual([error.code, error.type], ['invalid_api_key', 'authentication_error']);
      assert.match(error.requestID, /^req_cm_/);
    }
    await thrown(OpenAI.AuthenticationError, () => own.models.list());
  },

  async unknownModel() {
    for (const ask of [chat, respond]) {
      const error = await thrown(OpenAI.NotFoundError, () => ask('hi', { model: 'foo/bar' }));
      assert.deepEqual([error.code, error.param], ['model_not_found', 'model']);
      assert.equal(error.error.message, "Model 'foo/bar' was not found or is unavailable. GET /v1/models lists the models of this key.");
    }
  },

  async refusedByTheProvider() {
    for (const call of both('[demo:status=400]')) {
      const error = await thrown(OpenAI.BadRequestError, call);
      assert.equal(error.type, 'invalid_request_error');
      assert(error.error.message);
    }
  },

  async rateLimit() {
    for (const call of both('[demo:status=429]')) {
      const error = await thrown(OpenAI.RateLimitError, call);
      assert.deepEqual([error.code, error.headers.get('retry-after')], ['rate_limit_exceeded', '7']);
    }
  },

  async theProvidersTroubleIsNotTheClients() {
    const [bad, away] = [[502, 'provider_error'], [503, 'model_unavailable']];
    const kinds = { 'status=401': bad, 'status=403': bad, 'status=500': bad, 'status=502][demo:html': bad };
    for (const [marker, wanted] of Object.entries({ ...kinds, 'status=529': away, 'status=503': away })) {
      for (const call of both(`[demo:${marker}]`)) {
        const error = await thrown(OpenAI.InternalServerError, call);
        assert.deepEqual([error.status, error.code], wanted, marker);
        assert.equal(error.headers.has('retry-after'), wanted === away, marker);
      }
    }
    for (const ask of [chat, respond]) {
      assert.equal((await thrown(OpenAI.InternalServerError, () => ask('[demo:cut=20]'))).status, 502);
      for (const more of [{}, { stream: true }]) { // nothing has been said yet
        assert.equal((await thrown(OpenAI.InternalServerError, () => ask('[demo:error-first]', more))).status, 502);
      }
    }
    assert.equal((await respond('[demo:failed=1]')).status, 'failed');
  },

  async retries() {
    // 429 says `retry-after: 7`; 502 does not, so the SDK comes back soon.
    const { InternalServerError, BadRequestError } = OpenAI;
    for (const ask of [chat, respond]) {
      for (const [status, kind, requests] of [[500, InternalServerError, 2], [400, BadRequestError, 1]]) {
        const { id, secret } = await key();
        const own = make({ apiKey: secret, maxRetries: 1 });
        await thrown(kind, () => ask(`[demo:status=${status}]`, {}, own));
        assert.equal((await log(id, requests)).length, requests);
      }
    }
  },

  async chatBreaksInTheStream() {
    for (const marker of ['error=3', 'cut=3', 'end=3']) {
      const { events, error } = await read(await chat(`a b c d [demo:${marker}]`, { stream: true }));
      assert(error instanceof OpenAI.APIError && error.message, `${marker}: ${error}`);
      assert.equal(chatText(events), 'You said: a ');
      assert(events.every((c) => c.choices[0].finish_reason === null));
      const ask = { model: CHAT, messages: user(`a b c d [demo:${marker}]`) };
      await thrown(OpenAI.OpenAIError, () => client.chat.completions.stream(ask).finalChatCompletion());
    }
  },

  // An `error` event, which the provider sent, makes the newest SDK throw; the older one hands it on.
  async responsesBreakInTheStream() {
    for (const marker of ['error=3', 'cut=3', 'end=3', 'failed=3']) {
      const input = `a b c d [demo:${marker}]`;
      const { events, error } = await read(await respond(input, { stream: true }));
      assert.equal(deltas(events), 'You said: a ');
      if (error) {
        assert(error instanceof OpenAI.APIError && error.message && marker.startsWith('error'), `${marker}: ${error}`);
      } else {
        const last = events.at(-1);
        assert.deepEqual([last.type, last.response.status], ['response.failed', 'failed'], marker);
        assert(last.response.error.message && last.response.error.code);
      }
      const final = await client.responses.stream({ model: RESPONSES, input }).finalResponse().catch(() => null);
      assert(final === null || final.status === 'failed', `${marker}: ${final?.status}`);
    }
  },

  async keyDisabled() {
    const { id, secret } = await key();
    const own = make({ apiKey: secret });
    assert.equal((await chat('hi', {}, own)).model, CHAT);
    cli('disable', id);
    await sleep(1000); // a change takes effect within a second
    for (const call of both('hi', own)) {
      assert.equal((await thrown(OpenAI.AuthenticationError, call)).code, 'api_key_inactive');
    }
    cli('enable', id);
    await sleep(1000);
    assert.equal((await chat('hi', {}, own)).model, CHAT);
  },
});

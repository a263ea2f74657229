// The new SDKs for JavaScript on all nine paths, where they put answers together in ways of their own.

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { assert, BASE, KEY, ODD, PIXEL, run, THINKERS as MODELS, THOUGHT, thrown } from './common.mjs';

const openai = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY, maxRetries: 0, timeout: 30_000 });
const anthropic = new Anthropic({ baseURL: BASE, apiKey: KEY, authToken: null, maxRetries: 0, timeout: 30_000 });
const SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city', 'days'],
  additionalProperties: false,
};
const ARGUMENTS = { city: 'demo', days: 1 };

// Each client asks with a history and gives text, calls, thoughts, and what it keeps in its history.
const CLIENTS = {
  chat: {
    sdk: OpenAI,
    user: (text, image) =>
      image
        ? [{ role: 'user', content: [{ type: 'text', text }, { type: 'image_url', image_url: { url: link(image) } }] }]
        : [{ role: 'user', content: text }],
    result: (id, text) => [{ role: 'tool', tool_call_id: id, content: text }],
    request: (model, messages, { tools, think }) => ({
      model,
      messages,
      ...(tools && {
        tools: tools.map((name) => ({ type: 'function', function: { name, parameters: SCHEMA, strict: true } })),
      }),
      ...(think && { reasoning_effort: 'low' }),
    }),
    create: (request) => openai.chat.completions.create(request),
    async ask(request, stream) {
      const whole = stream
        ? await openai.chat.completions.stream(request).finalChatCompletion()
        : await openai.chat.completions.create(request);
      const { message } = whole.choices[0];
      const calls = (message.tool_calls ?? []).map((c) => [c.id, c.function.name, JSON.parse(c.function.arguments)]);
      const { parsed, ...turn } = message;
      return { model: whole.model, text: message.content ?? '', calls, thoughts: message.reasoning_content, turn: [turn] };
    },
  },
  responses: {
    sdk: OpenAI,
    user: (text, image) => [
      {
        role: 'user',
        content: [
          { type: 'input_text', text },
          ...(image ? [{ type: 'input_image', image_url: link(image), detail: 'auto' }] : []),
        ],
      },
    ],
    result: (id, output) => [{ type: 'function_call_output', call_id: id, output }],
    request: (model, input, { tools, think }) => ({
      model,
      input,
      store: false,
      ...(tools && { tools: tools.map((name) => ({ type: 'function', name, parameters: SCHEMA, strict: false })) }),
      ...(think && {
        reasoning: { effort: 'low', summary: 'auto' },
        include: ['reasoning.encrypted_content'],
      }),
    }),
    create: (request) => openai.responses.create(request),
    async ask(request, stream) {
      const whole = stream
        ? await openai.responses.stream(request).finalResponse()
        : await openai.responses.create(request);
      if (whole.status === 'failed') throw new OpenAI.OpenAIError(whole.error.message); // the helper does not
      const of = (type) => whole.output.filter((item) => item.type === type);
      const calls = of('function_call').map((c) => [c.call_id, c.name, JSON.parse(c.arguments)]);
      const thoughts = of('reasoning')[0]?.summary.map((part) => part.text).join('');
      // The helper adds what it has parsed, which is no part of the protocol.
      const turn = whole.output.map(({ parsed_arguments, ...item }) =>
        item.content ? { ...item, content: item.content.map(({ parsed, ...part }) => part) } : item,
      );
      return { model: whole.model, text: whole.output_text, calls, thoughts, turn };
    },
  },
  messages: {
    sdk: Anthropic,
    user: (text, image) => [
      {
        role: 'user',
        content: [
          { type: 'text', text },
          ...(image ? [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: image } }] : []),
        ],
      },
    ],
    result: (id, content) => [{ role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content }] }],
    request: (model, messages, { tools, think }) => ({
      model,
      messages,
      max_tokens: 4096,
      ...(tools && { tools: tools.map((name) => ({ name, input_schema: SCHEMA })) }),
      ...(think && { thinking: { type: 'enabled', budget_tokens: 1024 } }),
    }),
    create: (request) => anthropic.messages.create(request),
    async ask(request, stream) {
      const whole = stream
        ? await anthropic.messages.stream(request).finalMessage()
        : await anthropic.messages.create(request);
      const of = (type) => whole.content.filter((block) => block.type === type);
      const calls = of('tool_use').map((block) => [block.id, block.name, block.input]);
      const text = of('text').map((block) => block.text).join('');
      const turn = [{ role: 'assistant', content: whole.content.map(({ parsed_output, ...block }) => block) }];
      return { model: whole.model, text, calls, thoughts: of('thinking')[0]?.thinking, turn };
    },
  },
};

const link = (image) => `data:image/png;base64,${image}`;

const FEATURES = {
  async text({ ask, user }) {
    assert.equal((await ask(user(ODD))).text, `You said: ${ODD}`);
  },

  async image({ ask, user }) {
    assert.equal((await ask(user('look', PIXEL))).text, 'You said: look (1 image seen)');
  },

  // Thoughts go back as they came, at their place: the provider shows what has arrived.
  async 'tools and thoughts'({ name, ask, user, result, upstream, streamed }) {
    // This helper keeps the last piece of what it does not know, and so it does in a relay.
    const thought = name === 'chat' && streamed ? 'echo.' : THOUGHT;
    const options = { tools: ['weather', 'news'], think: true };
    const history = user('hi [demo:calls=2] [demo:words=2]');
    const call = await ask(history, options);
    assert.deepEqual([call.text, call.thoughts], ['word0 word1', thought]);
    assert.deepEqual(call.calls.map((made) => made.slice(1)), [['weather', ARGUMENTS], ['news', ARGUMENTS]]);
    history.push(...call.turn, ...call.calls.flatMap(([id]) => result(id, '21 degrees')));
    assert.equal((await ask(history, options)).thoughts, thought);
    history.push(...user('[demo:body]'));
    const seen = JSON.parse((await ask(history, options)).text);
    const seal = {
      chat: () => seen.messages.map((message) => message.reasoning_content).find(Boolean),
      responses: () => seen.input.find((item) => item.type === 'reasoning')?.encrypted_content,
      messages: () => seen.messages[1].content.find((block) => block.type === 'thinking')?.signature,
    }[upstream]();
    if (upstream === 'chat') assert.equal(seal, name === 'chat' ? thought : THOUGHT);
    else assert.match(seal, /^EqDemo00[0-9a-f]{16}$/);
  },

  async 'a status'({ create, user, sdk, streamed }) {
    const error = await thrown(sdk.RateLimitError, () => create(user('hi [demo:status=429]'), { stream: streamed }));
    assert.equal(error.headers.get('retry-after'), '7');
  },

  async 'a break in the stream'({ ask, user, sdk, streamed }) {
    const kind = sdk === Anthropic ? sdk.AnthropicError : sdk.OpenAIError;
    for (const marker of ['error=4', 'cut=4', 'end=4']) {
      if (streamed) await thrown(kind, () => ask(user(`[demo:slow=30] a b c d e f [demo:${marker}]`)));
    }
  },
};

const cases = {};
for (const [name, client] of Object.entries(CLIENTS)) {
  for (const upstream of Object.keys(CLIENTS)) {
    for (const [feature, test] of Object.entries(FEATURES)) {
      cases[`${feature}, ${name} > ${upstream}`] = async () => {
        for (const streamed of [false, true]) {
          const request = (history, options = {}) => client.request(MODELS[upstream], history, options);
          const ask = async (history, options) => {
            const answer = await client.ask(request(history, options), streamed);
            assert.equal(answer.model, MODELS[upstream]);
            return answer;
          };
          const create = (history, more) => client.create({ ...request(history), ...more });
          await test({ ...client, name, ask, create, upstream, streamed });
        }
      };
    }
  }
}
await run('matrix in JavaScript', cases);

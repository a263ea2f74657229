// A tool turn, and a long silence before the head of an answer or in the middle of it, for OpenAI's and Anthropic's SDKs
// and for Vercel's AI SDK. See turns.py, which does the same in Python.

import Anthropic from '@anthropic-ai/sdk';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { stepCountIs, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { z } from 'zod';
import { assert, BASE, KEY } from './common.mjs';

const PATIENCE = 25_000;
const { MUTE_URL: MUTE, MUTE_KEY } = process.env;
const UPSTREAMS = ['chat', 'responses', 'messages'];
const DONE = 'tool-42';
const parameters = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};
const FUNCTION = { name: 'weather', description: 'The weather', parameters };

globalThis.AI_SDK_LOG_WARNINGS = false;

/** Fetches, and gives up after so long without a byte. */
async function fetchWithPatience(url, init = {}) {
  const idle = new AbortController();
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => idle.abort(new Error('no byte for too long')), PATIENCE);
  };
  wait();
  const signal = AbortSignal.any([idle.signal, init.signal].filter(Boolean));
  const { body, status, headers } = await fetch(url, { ...init, signal });
  const watched = new TransformStream({
    transform(chunk, out) {
      wait();
      out.enqueue(chunk);
    },
    flush: () => clearTimeout(timer),
  });
  return new Response(body.pipeThrough(watched), { status, headers });
}

const options = (baseURL) => ({
  baseURL,
  apiKey: baseURL.startsWith(MUTE) ? MUTE_KEY : KEY,
  maxRetries: 0,
  fetch: fetchWithPatience,
});
const user = (content) => ({ role: 'user', content });

/** OpenAI's SDK with Chat Completions. */
function chat(base, cell) {
  const client = new OpenAI(options(`${base}/v1`));
  const ask = async (asked) => (await client.chat.completions.stream(asked).finalChatCompletion()).choices[0].message;
  return {
    say: async (model) => (await ask({ model, messages: [user(cell)] })).content,
    async turn(model) {
      const tools = [{ type: 'function', function: { ...FUNCTION, strict: true } }];
      const messages = [{ role: 'system', content: 'Be brief.' }, user(cell)];
      const { tool_calls } = await ask({ model, messages, tools });
      assert.deepEqual(tool_calls.map((call) => call.function.arguments), ['{"city": "demo"}']);
      const calls = tool_calls.map(({ id, type, function: { name, arguments: text } }) => ({
        id,
        type,
        function: { name, arguments: text },
      }));
      messages.push({ role: 'assistant', tool_calls: calls });
      messages.push({ role: 'tool', tool_call_id: calls[0].id, content: DONE });
      return (await ask({ model, messages, tools })).content;
    },
  };
}

/** OpenAI's SDK with Responses. */
function responses(base, cell) {
  const client = new OpenAI(options(`${base}/v1`));
  const ask = (asked) => client.responses.stream({ store: false, ...asked }).finalResponse();
  return {
    say: async (model) => (await ask({ model, input: cell })).output_text,
    async turn(model) {
      const more = {
        model,
        tools: [{ type: 'function', ...FUNCTION, strict: true }],
        include: ['reasoning.encrypted_content'],
        reasoning: { effort: 'low' },
        instructions: 'Be brief.',
      };
      const input = [user(cell)];
      const { output } = await ask({ ...more, input });
      for (const { parsed_arguments: _, ...item } of output) {
        input.push(item);
        if (item.type === 'function_call') {
          assert.equal(item.arguments, '{"city": "demo"}');
          input.push({ type: 'function_call_output', call_id: item.call_id, output: DONE });
        }
      }
      return (await ask({ ...more, input })).output_text;
    },
  };
}

/** Anthropic's SDK. */
function messages(base, cell) {
  const client = new Anthropic(options(base));
  const ask = (asked) => client.messages.stream({ max_tokens: 2000, ...asked }).finalMessage();
  return {
    say: async (model) => (await ask({ model, messages: [user(cell)] })).content.at(-1).text,
    async turn(model) {
      const more = {
        model,
        tools: [{ name: 'weather', description: 'The weather', input_schema: parameters }],
        thinking: { type: 'adaptive' },
        system: 'Be brief.',
      };
      const said = [user(cell)];
      const { content } = await ask({ ...more, messages: said });
      const call = content.find((block) => block.type === 'tool_use');
      assert.deepEqual(call.input, { city: 'demo' });
      said.push({ role: 'assistant', content });
      said.push(user([{ type: 'tool_result', tool_use_id: call.id, content: DONE }]));
      return (await ask({ ...more, messages: said })).content.at(-1).text;
    },
  };
}

/** Vercel's AI SDK with one of its providers. State at the provider is not offered. */
const vercel = (provider, providerOptions) => (base, cell) => {
  const make = provider({ ...options(`${base}/v1`), name: 'gateway', includeUsage: true });
  const weather = tool({
    description: 'The weather',
    inputSchema: z.object({ city: z.string() }),
    execute: async () => DONE,
  });
  const ask = async (asked) => {
    let failure;
    const onError = ({ error }) => (failure = error);
    const text = await Promise.resolve(streamText({ maxRetries: 0, onError, providerOptions, ...asked }).text).catch((error) => error);
    if (failure || text instanceof Error) throw failure ?? text;
    return text;
  };
  return {
    say: (model) => ask({ model: make(model), prompt: cell }),
    turn: (model) =>
      ask({ model: make(model), system: 'Be brief.', prompt: cell, tools: { weather }, stopWhen: stepCountIs(3) }),
  };
};

const CLIENTS = {
  chat,
  responses,
  messages,
  'AI SDK, chat': vercel((access) => createOpenAI(access).chat),
  'AI SDK, compatible': vercel(createOpenAICompatible),
  'AI SDK, responses': vercel((access) => createOpenAI(access).responses, { openai: { store: false } }),
  'AI SDK, messages': vercel(createAnthropic),
};

function* cells() {
  for (const [name, make] of Object.entries(CLIENTS)) {
    const cell = (base, ...words) => make(base, ['cell-node', name.replace(/\W+/g, '-'), ...words].join('-'));
    for (const upstream of [...UPSTREAMS, 'open']) {
      yield [`turn, ${name} > ${upstream}`, async () => {
        assert.equal(await cell(BASE, 'turn', upstream).turn(`turn/${upstream}`), `The tool answered: ${DONE}`);
      }];
    }
    for (const scenario of ['head', 'stream']) {
      for (const upstream of UPSTREAMS) {
        yield [`${scenario}, ${name} > ${upstream}`, async () => {
          assert.equal(await cell(BASE, scenario, upstream).say(`${scenario}/${upstream}`), 'Patience pays.');
        }];
      }
      yield [`${scenario}, ${name}, without signs of life`, async () => {
        const start = Date.now();
        const said = cell(MUTE, scenario, 'mute').say(`${scenario}/chat`);
        await assert.rejects(said, (error) => error instanceof Error);
        assert(Date.now() - start >= PATIENCE, 'it has failed for another reason');
      }];
    }
  }
}

const named = [...cells()];
const ends = await Promise.allSettled(named.map(([, cell]) => cell()));
const failed = ends.flatMap(({ reason, status }, at) => (status === 'rejected' ? [[named[at][0], reason]] : []));
for (const [name, error] of failed) console.log(`FAILED turns in JavaScript: ${name}\n${error?.stack ?? error}\n`);
console.log(`turns in JavaScript: ${named.length - failed.length} passed, ${failed.length} failed`);
process.exit(failed.length > 0 ? 1 : 0);

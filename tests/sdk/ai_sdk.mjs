// Vercel's AI SDK with each of its providers that speak to us, and three protocols of providers behind.

import { z } from 'zod';
import { all, assert, BASE, KEY, ODD, paths, PIXEL, read, run, THINKERS, THOUGHT } from './common.mjs';

const AGE = process.env.AGE ?? ''; // '-old' for the packages of that name
const { generateObject, generateText, Output, stepCountIs, streamObject, streamText, tool } = await import(`ai${AGE}`);
const { createAnthropic } = await import(`@ai-sdk/anthropic${AGE}`);
const { createOpenAI } = await import(`@ai-sdk/openai${AGE}`);
const { createOpenAICompatible } = await import(`@ai-sdk/openai-compatible${AGE}`);

globalThis.AI_SDK_LOG_WARNINGS = false;

const access = { baseURL: `${BASE}/v1`, apiKey: KEY };
const openai = createOpenAI(access);
const compatible = createOpenAICompatible({
  ...access,
  name: 'demo',
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const anthropic = createAnthropic(access);

// What makes a model, and how it is told to think; without force OpenAI's look at the name of the model.
const CLIENTS = {
  chat: { make: openai.chat, think: { openai: { reasoningEffort: 'low', forceReasoning: true } } },
  compatible: { make: compatible, think: { demo: { reasoningEffort: 'low' } } },
  responses: {
    make: openai.responses,
    think: { openai: { reasoningEffort: 'low', reasoningSummary: 'auto', forceReasoning: true, store: false } },
  },
  messages: { make: anthropic, think: { anthropic: { thinking: { type: 'enabled', budgetTokens: 1024 } } } },
};

const Trip = z.object({ city: z.string(), days: z.number() });
const TRIP = { city: 'demo', days: 1 };
const TOOLS = {
  weather: tool({
    description: 'The weather of some days',
    inputSchema: Trip,
    execute: async ({ city, days }) => `rain in ${city} for ${days} day`,
  }),
  news: tool({
    description: 'The news of a city',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `nothing new in ${city}`,
  }),
};

const WHOLE = ['text', 'reasoningText', 'steps', 'finishReason', 'usage', 'output'];

/** An answer at once, and a streamed one in the same shape. */
async function* both(asked) {
  yield await generateText(asked);
  const stream = streamText({ ...asked, onError: () => {} });
  const parts = await all(stream.fullStream);
  const error = parts.find((part) => part.type === 'error')?.error;
  if (error) throw error;
  const wanted = asked.output ? WHOLE : WHOLE.slice(0, -1);
  yield Object.fromEntries(await Promise.all(wanted.map(async (name) => [name, await stream[name]])));
}

/** What a call fails with, at once and streamed. */
async function failures(asked) {
  const { error } = await read([generateText(asked)]);
  const parts = await all(streamText({ ...asked, onError: () => {} }).fullStream);
  return [error, parts.find((part) => part.type === 'error')?.error];
}

const FEATURES = {
  async text({ model }) {
    for await (const { text, finishReason, usage } of both({ model, prompt: ODD, system: 'Be brief.' })) {
      assert.deepEqual([text, finishReason], [`You said: ${ODD}`, 'stop']);
      const { inputTokens, inputTokenDetails, outputTokens, totalTokens } = usage;
      assert(inputTokens > inputTokenDetails.cacheReadTokens && inputTokenDetails.cacheReadTokens > 0);
      assert(outputTokens > 0 && totalTokens === inputTokens + outputTokens);
    }
  },

  async 'text in pieces'({ model }) {
    const pieces = await all(streamText({ model, prompt: 'hi' }).textStream);
    assert.equal(pieces.join(''), 'You said: hi');
    assert(pieces.length > 1);
  },

  async history({ model }) {
    const said = [['user', 'one'], ['assistant', 'You said: one'], ['user', '[demo:body]']];
    const messages = said.map(([role, content]) => ({ role, content }));
    for await (const { text } of both({ model, messages, system: 'Be brief.' })) {
      for (const part of ['Be brief.', 'one', 'You said: one']) assert(text.includes(part), text);
    }
  },

  async 'tools in steps'({ model }) {
    const asked = { model, prompt: 'hi [demo:calls=2]', tools: TOOLS, stopWhen: stepCountIs(4) };
    for await (const { text, steps } of both(asked)) {
      assert.equal(text, 'The tool answered: nothing new in demo');
      assert.deepEqual(steps.map((step) => step.finishReason), ['tool-calls', 'stop']);
      assert.deepEqual(steps[0].toolCalls.map((call) => [call.toolName, call.input]), [
        ['weather', TRIP],
        ['news', { city: 'demo' }],
      ]);
      const outputs = steps[0].toolResults.map((result) => result.output);
      assert.deepEqual(outputs, ['rain in demo for 1 day', 'nothing new in demo']);
    }
  },

  async 'tool that is chosen'({ model }) {
    const asked = { model, prompt: 'hi', tools: TOOLS, toolChoice: { type: 'tool', toolName: 'news' } };
    for await (const { steps } of both(asked)) {
      assert.deepEqual(steps[0].toolCalls.map((call) => call.toolName), ['news']);
    }
  },

  async 'tool that failed'({ model }) {
    const execute = async () => {
      throw new Error('no such city');
    };
    const tools = { weather: { ...TOOLS.weather, execute } };
    for await (const { text } of both({ model, prompt: 'hi', tools, stopWhen: stepCountIs(4) })) {
      assert.match(text, /no such city/);
    }
  },

  async object({ model }) {
    const asked = { model, prompt: 'hi', schema: Trip };
    assert.deepEqual((await generateObject(asked)).object, TRIP);
    const stream = streamObject(asked);
    assert.deepEqual((await all(stream.partialObjectStream)).at(-1), TRIP);
    assert.deepEqual(await stream.object, TRIP);
    for await (const whole of both({ model, prompt: 'hi', output: Output.object({ schema: Trip }) })) {
      assert.deepEqual(whole.output, TRIP);
    }
  },

  async image({ model }) {
    const image = { type: 'file', data: PIXEL, mediaType: 'image/png' };
    const messages = [{ role: 'user', content: [{ type: 'text', text: 'look' }, image] }];
    for await (const { text } of both({ model, messages })) assert.equal(text, 'You said: look (1 image seen)');
  },

  // With a tool, so that what was thought goes back to the provider.
  async reasoning({ model, name, think }) {
    const asked = { model, prompt: 'hi', providerOptions: think, tools: TOOLS, stopWhen: stepCountIs(4) };
    for await (const { text, steps } of both(asked)) {
      assert.equal(text, 'The tool answered: rain in demo for 1 day');
      // OpenAI's own Chat shows no thoughts, so its client does not look for any.
      const wanted = name === 'chat' ? undefined : THOUGHT;
      assert.deepEqual(steps.map((step) => step.reasoningText), [wanted, wanted]);
    }
  },

  async 'a status'({ model }) {
    for (const status of [400, 429]) {
      for (const error of await failures({ model, prompt: `hi [demo:status=${status}]`, maxRetries: 0 })) {
        assert.equal(error.statusCode, status);
        assert(error.message && error.responseBody);
      }
    }
  },

  async 'a break in the stream'({ model }) {
    for (const marker of ['error=4', 'cut=4']) {
      const prompt = `[demo:slow=30] a b c d e f [demo:${marker}]`;
      const stream = streamText({ model, prompt, maxRetries: 0, onError: () => {} });
      const parts = await all(stream.fullStream);
      assert(parts.some((part) => part.type === 'error'), `${marker}: ${JSON.stringify(parts.at(-1))}`);
    }
  },
};

await run(
  `node ai${AGE}`,
  paths(Object.keys(CLIENTS), FEATURES, ({ name, upstream }) => {
    const { make, think } = CLIENTS[name];
    return { model: make(THINKERS[upstream]), think };
  }),
);

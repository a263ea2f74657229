// OpenAI's Agents SDK for JavaScript, over Responses and over Chat, with three protocols of providers.

import {
  Agent,
  OpenAIChatCompletionsModel,
  OpenAIResponsesModel,
  Runner,
  setTracingDisabled,
  tool,
} from '@openai/agents';
import OpenAI from 'openai';
import { z } from 'zod';
import { all, assert, BASE, KEY, ODD, paths, PIXEL, run, THINKERS, THOUGHT } from './common.mjs';

setTracingDisabled(true);
const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY, maxRetries: 0, timeout: 30_000 });
const runner = new Runner({ tracingDisabled: true });
const KINDS = { chat: OpenAIChatCompletionsModel, responses: OpenAIResponsesModel };

const Trip = z.object({ city: z.string(), days: z.number() });
const weather = tool({
  name: 'weather',
  description: 'The weather of some days',
  parameters: Trip,
  execute: ({ city, days }) => `rain in ${city} for ${days} day`,
});
const news = tool({
  name: 'news',
  description: 'The news of a city',
  parameters: z.object({ city: z.string() }),
  execute: ({ city }) => `nothing new in ${city}`,
});

/** What a run comes to, at once and streamed. */
async function both(agent, said) {
  const streamed = await runner.run(agent, said, { stream: true });
  await all(streamed);
  await streamed.completed;
  return [await runner.run(agent, said), streamed];
}

const user = (content) => [{ role: 'user', content }];
const outputs = (result) => result.newItems.filter((item) => item.type === 'tool_call_output_item').map((i) => i.output);

const FEATURES = {
  async text({ agent }) {
    for (const result of await both(agent(), ODD)) {
      assert.equal(result.finalOutput, `You said: ${ODD}`);
      const { usage } = result.rawResponses[0];
      assert(usage.inputTokens > 0 && usage.outputTokens > 0);
    }
  },

  async 'text in pieces'({ agent }) {
    const streamed = await runner.run(agent(), 'hi', { stream: true });
    assert.deepEqual(await all(streamed.toTextStream()), ['You ', 'said: ', 'hi']);
    await streamed.completed;
  },

  async 'instructions and history'({ agent }) {
    const first = await runner.run(agent(), 'one');
    for (const { finalOutput } of await both(agent(), [...first.history, ...user('[demo:body]')])) {
      for (const text of ['Be brief.', 'one', 'You said: one']) assert(finalOutput.includes(text), finalOutput);
    }
  },

  async 'tool loop'({ agent }) {
    for (const result of await both(agent({ tools: [weather, news] }), 'hi')) {
      assert.equal(result.finalOutput, 'The tool answered: rain in demo for 1 day');
      assert.equal(result.rawResponses.length, 2);
    }
  },

  async 'parallel tools'({ agent }) {
    const modelSettings = { parallelToolCalls: true };
    for (const result of await both(agent({ tools: [weather, news], modelSettings }), 'hi [demo:calls=2]')) {
      assert.deepEqual(outputs(result), ['rain in demo for 1 day', 'nothing new in demo']);
      assert.equal(result.finalOutput, 'The tool answered: nothing new in demo');
    }
  },

  async 'tool that is chosen'({ agent }) {
    const modelSettings = { toolChoice: 'news' };
    for (const result of await both(agent({ tools: [weather, news], modelSettings }), 'hi')) {
      assert.equal(result.finalOutput, 'The tool answered: nothing new in demo');
    }
  },

  async structured({ agent }) {
    for (const result of await both(agent({ outputType: Trip }), 'hi')) {
      assert.deepEqual(result.finalOutput, { city: 'demo', days: 1 });
    }
  },

  async image({ agent }) {
    const picture = { type: 'input_image', image: `data:image/png;base64,${PIXEL}` };
    for (const result of await both(agent(), user([{ type: 'input_text', text: 'look' }, picture]))) {
      assert.equal(result.finalOutput, 'You said: look (1 image seen)');
    }
  },

  // With a tool, so that what was thought goes back to the provider.
  async reasoning({ agent, name, upstream }) {
    const responses = name === 'responses';
    const modelSettings = {
      reasoning: { effort: 'low', ...(responses && { summary: 'auto' }) },
      store: false,
      ...(responses && { providerData: { include: ['reasoning.encrypted_content'] } }),
    };
    const own = (more) => agent({ modelSettings, ...more });
    for (const result of await both(own({ tools: [weather] }), 'hi')) {
      assert.equal(result.finalOutput, 'The tool answered: rain in demo for 1 day');
      const thoughts = result.newItems.filter((item) => item.type === 'reasoning_item');
      if (responses) assert.deepEqual(thoughts.map((item) => item.rawItem.content[0].text), [THOUGHT, THOUGHT]);
      const again = await runner.run(own(), [...result.history, ...user('[demo:body]')]);
      // Over Chat the SDK has its own ideas of what to send back.
      const seal = { chat: '"reasoning_content":', responses: '"encrypted_content":', messages: '"signature":' };
      if (responses) assert.equal(again.finalOutput.split(seal[upstream]).length - 1, 2, again.finalOutput);
    }
  },

  async handoff({ agent }) {
    const other = agent({ name: 'other', instructions: 'You are the other one.' });
    for (const result of await both(agent({ handoffs: [other] }), 'hi')) {
      assert.equal(result.lastAgent.name, 'other');
      assert.match(result.finalOutput, /other/);
    }
  },
};

await run(
  'node openai-agents',
  paths(['chat', 'responses'], FEATURES, ({ name, upstream }) => ({
    agent(more) {
      const model = new KINDS[name](client, THINKERS[upstream]);
      return new Agent({ name: 'demo', instructions: 'Be brief.', model, ...more });
    },
  })),
);

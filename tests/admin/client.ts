// Manages a team with the client that is generated from the document: the types say what may be sent and read.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Key = components["schemas"]["Key"];

const api = createClient<paths>({
  baseUrl: process.env.ADMIN_URL ?? "",
  headers: { authorization: `Bearer ${process.env.ADMIN_TOKEN}` },
});

function done<T>(answer: { data?: T; error?: unknown; response: Response }): NonNullable<T> {
  const { data, error, response } = answer;
  if (data === undefined || data === null) throw new Error(`${response.status}: ${JSON.stringify(error)}`);
  return data;
}

const month = { period: "month", limit_usd: "5" } as const;
const team = done(await api.POST("/admin/v1/accounts", { body: { id: "team", name: "Team", budgets: [month] } }));
assert.equal(team.budgets?.[0]?.limit_usd, "5.00");

const made: Key = done(
  await api.POST("/admin/v1/keys", {
    params: { header: { "Idempotency-Key": "one" } },
    body: { name: "ci", account: "team", models: ["demo/*"], rpm: 60, expires_in: "90d" },
  }),
);
assert.match(made.secret ?? "", /^cm-/);
const id = { path: { id: made.id } };

const changed = done(
  await api.PATCH("/admin/v1/keys/{id}", {
    params: { ...id, header: { "If-Match": made.etag } },
    body: { rpm: null, tags: { team: "a" } },
  }),
);
assert.equal(changed.rpm, null);
const stale = await api.PATCH("/admin/v1/keys/{id}", {
  params: { ...id, header: { "If-Match": made.etag } },
  body: { name: "late" },
});
assert.equal(stale.error?.error.code, "precondition_failed");

const rotated = done(await api.POST("/admin/v1/keys/{id}/rotate", { params: id, body: { overlap: "1h" } }));
assert.equal(rotated.secrets.length, 2);
assert.equal(done(await api.GET("/admin/v1/keys/{id}/limits", { params: id })).requests.used, 0);
const paid = { amount_usd: "25", reference: "invoice-7" };
const topUp = done(await api.POST("/admin/v1/accounts/{id}/top-ups", { params: { path: { id: "team" } }, body: paid }));
assert.equal(topUp.balance_usd, "25.00");

const usage = done(await api.GET("/admin/v1/usage", { params: { query: { group_by: "account,day" } } }));
if (typeof usage === "string") throw new Error("this is CSV");
assert.equal(usage.total.requests, 0);
const targets = done(await api.GET("/admin/v1/targets"));
const target = { path: { id: targets.data[0]?.id ?? "" } };
const rested = done(await api.POST("/admin/v1/targets/{id}/rest", { params: target, body: { for: "10m", reason: "test" } }));
assert.equal(rested.state, "rested");
assert.equal(done(await api.POST("/admin/v1/targets/{id}/enable", { params: target })).state, "closed");
const ready = done(await api.GET("/admin/v1/status")).conditions.find((condition) => condition.type === "Ready");
assert.equal(ready?.status, "True");
assert.equal(done(await api.GET("/admin/v1/config")).refused, null);
assert.equal(done(await api.GET("/admin/v1/failures")).failed.length, 0);
const rows = done(await api.GET("/admin/v1/audit", { params: { query: { subject: made.id } } }));
assert.deepEqual(rows.data.map((row) => row.action), ["key.rotate", "key.update", "key.update", "key.create"]);
const gone = await api.DELETE("/admin/v1/keys/{id}", { params: id });
assert.equal(gone.response.status, 204);

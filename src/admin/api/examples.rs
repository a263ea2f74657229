//! The examples of the document: a request and an answer for each operation.

#![expect(clippy::disallowed_types, reason = "the document is made when somebody asks for it")]

use serde_json::{Value, json};

/// The example of a request and that of its answer. An operation without a body has none.
#[derive(Default)]
pub(super) struct Example {
    pub(super) request: Option<Value>,
    pub(super) answer: Option<Value>,
}

/// Returns the examples of an operation.
pub(super) fn example(operation: &str) -> Example {
    let answer = match operation {
        "listKeys" | "findKeys" => list(&key()),
        "createKey" | "rotateKey" => {
            with(key(), "secret", json!("cm-K3y0nlyF0rTheEx4mple0fTheD0cument0000x9Qz"))
        }
        "getKey" | "updateKey" => key(),
        "listKeyBudgets" | "setKeyBudgets" | "listAccountBudgets" | "setAccountBudgets" => {
            json!({ "data": [budget()] })
        }
        "listAccounts" => list(&account()),
        "createAccount" | "getAccount" | "updateAccount" => account(),
        "topUp" => transaction("top_up"),
        "refund" => transaction("refund"),
        "listTransactions" => list(&transaction("top_up")),
        "listAuditRows" => list(&audit_row()),
        "listTokens" => list(&token()),
        "createToken" => with(token(), "secret", json!("cma-T0kenF0rTheEx4mple0fTheD0cument000000000")),
        _ => return Example { request: request(operation), answer: about_gateway(operation) },
    };
    Example { request: request(operation), answer: Some(answer) }
}

/// Returns the example of an error.
pub(super) fn error(code: &str) -> Value {
    json!({ "error": {
        "code": code, "message": "the reason in words", "param": null, "request_id": "req_adm_5cRZ2P2G3U0X2ghm",
        "details": [],
    } })
}

fn request(operation: &str) -> Option<Value> {
    Some(match operation {
        "createKey" => json!({
            "name": "ci-search", "account": "search", "models": ["openai/*"], "rpm": 600, "expires_in": "90d",
            "budgets": [new_budget()], "tags": { "team": "search" },
        }),
        "findKeys" => json!({ "hint": "x9Qz" }),
        "updateKey" => json!({ "rpm": null, "name": "ci" }),
        "rotateKey" => json!({ "overlap": "24h" }),
        "setKeyBudgets" | "setAccountBudgets" => json!({ "budgets": [new_budget()] }),
        "createAccount" => json!({ "id": "search", "name": "Search", "budgets": [new_budget()] }),
        "updateAccount" => json!({ "low_balance_usd": "5" }),
        "topUp" => json!({ "amount_usd": "25", "reference": "invoice-7" }),
        "refund" => json!({ "amount_usd": "2.50", "reference": "credit-note-1" }),
        "createToken" => json!({ "name": "portal", "role": "keys", "accounts": ["search"] }),
        "restTarget" => json!({ "for": "30m", "reason": "the region is slow" }),
        _ => return None,
    })
}

/// Returns the example of an answer about the running gateway.
fn about_gateway(operation: &str) -> Option<Value> {
    Some(match operation {
        "getInstance" => json!({
            "pid": 812, "version": "0.1.0", "data": "/var/lib/crossmodel",
            "config": "/etc/crossmodel/crossmodel.yaml", "started_at": "2026-11-28T10:00:00Z",
        }),
        "getStatus" => json!({ "version": "0.1.0", "uptime_seconds": 86_400, "conditions": [{
            "type": "Ready", "status": "True", "reason": "Serving", "message": "2 listeners accept",
            "last_transition_time": "2026-11-28T10:00:00Z",
        }] }),
        "listModels" => list(&model()),
        "getModel" => model(),
        "getUsage" => usage(),
        "getKeyLimits" => json!({
            "object": "key_limits", "key": KEY, "as_of": NOW, "requests": { "used": 12, "limit": 600 },
            "tokens": { "used": 0, "limit": null }, "concurrent": { "used": 1, "limit": null },
            "budgets": [budget()],
        }),
        "listTargets" => list(&target()),
        "getTarget" | "enableTarget" => target(),
        "restTarget" => with(
            with(target(), "state", json!("rested")),
            "rested",
            json!({
                "until": "2026-11-29T10:30:03Z", "reason": "the region is slow", "actor": "token:ops", "since": NOW,
            }),
        ),
        "getConfig" | "reloadConfig" => json!({
            "file": "/etc/crossmodel/crossmodel.yaml",
            "in_force": { "sha256": "5f2b0c6d", "loaded_at": "2026-11-28T10:00:00Z", "trigger": "start" },
            "on_disk": { "sha256": "5f2b0c6d", "changed_at": "2026-11-28T09:59:58Z" },
            "refused": null, "restart_required": [], "warnings": [], "overridden": [],
            "declared": { "instance": "production", "accounts": 1, "keys": 2, "disabled_although_declared": [] },
            "proxies": {}, "guards": [], "content_log": null,
        }),
        "listFailures" => json!({ "failed": [failure()], "refused": [] }),
        _ => return None,
    })
}

fn list(object: &Value) -> Value {
    json!({ "data": [object], "has_more": false, "next_cursor": null })
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn key() -> Value {
    json!({
        "object": "key", "id": KEY, "name": "ci-search", "account": "search", "status": "active", "state": "active",
        "origin": "api",
        "secrets": [{ "hint": "x9Qz", "created_at": NOW, "not_after": null, "last_used_at": null }],
        "models": ["openai/*"], "aliases": {}, "rpm": 600, "tpm": null, "spending_limit_usd": null,
        "budgets": [budget()], "strict": false, "tags": { "team": "search" }, "notes": "",
        "expires_at": "2027-02-27T10:00:00Z", "created_at": NOW, "created_by": "token:portal", "etag": "\"1\"",
        "warnings": [],
    })
}

fn new_budget() -> Value {
    json!({ "period": "month", "limit_usd": "200", "alert_at": [80] })
}

fn budget() -> Value {
    json!({
        "id": "bud_1", "period": "month", "limit_usd": "200.00", "hard": true, "alert_at": [80], "spent_usd": "0.00",
        "held_usd": "0.00", "resets_at": "2026-12-01T00:00:00Z",
    })
}

fn account() -> Value {
    json!({
        "object": "account", "id": "search", "name": "Search", "status": "active",
        "wallet": { "balance_usd": "6.20", "held_usd": "0.40" }, "budgets": [budget()], "keys": 3,
        "low_balance_usd": null, "tags": {}, "origin": "api", "created_at": NOW, "created_by": "token:ops",
        "etag": "\"7\"",
    })
}

fn transaction(kind: &str) -> Value {
    json!({
        "object": "transaction", "id": "txn_1", "account": "search", "kind": kind, "amount_usd": "25.00",
        "balance_usd": "31.20", "reference": "invoice-7", "reason": null, "created_by": "token:ops",
        "created_at": NOW, "repeated": false,
    })
}

fn audit_row() -> Value {
    json!({
        "seq": 1841, "time": NOW, "actor": "token:portal", "via": "api", "address": "10.1.2.3",
        "action": "key.update", "subject": KEY, "account": "search", "outcome": "applied",
        "before": { "rpm": 60 }, "after": { "rpm": 600 }, "request_id": "req_adm_5cRZ2P2G3U0X2ghm",
    })
}

fn token() -> Value {
    json!({
        "object": "token", "id": "tok_9dKx", "name": "portal", "role": "keys", "accounts": ["search"],
        "origin": "api", "created_at": NOW, "created_by": "token:ops", "expires_at": null,
    })
}

fn model() -> Value {
    let prices = json!({ "source": "config", "tiers": [{
        "threshold": 0, "input_usd": "1.25", "output_usd": "10.00", "cache_read_usd": "0.125",
        "cache_write_usd": "1.25",
    }] });
    json!({
        "object": "model", "id": "openai/gpt-5", "name": "GPT-5", "status": "active", "context_window": 400_000,
        "max_output": 128_000, "strict": false,
        "targets": [{ "id": TARGET, "provider": "azure-eu", "state": "closed", "prices": prices }],
    })
}

fn target() -> Value {
    json!({
        "object": "target", "id": TARGET, "model": "openai/gpt-5", "provider": "azure-eu", "upstream_model": "gpt-5",
        "state": "closed", "since": null, "reason": null, "last_failure": null, "next_trial_at": null,
        "rested": null, "failures": 0, "in_flight": 3, "weight": 1, "priority": 0, "credentials": [],
        "last_10m": { "requests": 212, "error_share": 0.31, "first_byte_ms": { "p50": 410.0, "p95": 1_900.0 } },
    })
}

fn usage() -> Value {
    let sums = json!({
        "requests": 1_204, "successes": 1_199, "input_tokens": 8_120_334, "cache_read_tokens": 6_011_200,
        "cache_write_tokens": 0, "output_tokens": 402_110, "cost_usd": "9.214066",
    });
    let row = with(sums.clone(), "start", json!("2026-11-28T00:00:00Z"));
    json!({
        "object": "list", "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "as_of": NOW,
        "data": [with(row, "account", json!("search"))], "total": sums, "has_more": false, "next_cursor": null,
    })
}

fn failure() -> Value {
    json!({
        "time": NOW, "request_id": "req_5cRZ2P2G3U0X2ghm", "account": "search", "key": KEY, "endpoint": "chat",
        "model": "openai/gpt-5", "provider": "azure-eu", "status": 502, "code": "upstream_error",
        "detail": "connection refused", "tries": [{ "provider": "azure-eu", "error": "connect" }],
    })
}

const NOW: &str = "2026-11-29T10:00:03Z";
const KEY: &str = "key_7Qm2mVnR";
const TARGET: &str = "openai/gpt-5@azure-eu";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::table::all_routes;

    #[test]
    fn each_operation_has_its_examples() {
        for route in all_routes() {
            let Example { request, answer } = example(route.id);
            assert_eq!(request.is_some(), route.request.is_some(), "{}: request", route.id);
            assert_eq!(answer.is_some(), route.answer.is_some(), "{}: answer", route.id);
        }
    }
}

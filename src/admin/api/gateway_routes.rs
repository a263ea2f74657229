//! The routes of the running gateway: what it has done, what it is doing, and what it is told to do.

use crate::admin::error::Code;
use crate::admin::model::{KeyActivity, List, NewRest, Target, UsageList};
use crate::auth::Role;
use crate::config::ConfigStatus;
use crate::observe::FailureList;

use super::call::Parameter;
use super::handlers::{gateway, targets, usage};
use super::routes::{READ, Route, schema};

/// The routes of the running gateway.
pub(super) static ROUTES: &[Route] = &[
    Route {
        path: "/usage",
        id: "getUsage",
        summary: "Returns the usage of a span of time, as JSON or as comma-separated values.",
        parameters: &[
            Parameter("from", "The first hour, as a date or a time. Default: the beginning of this month."),
            Parameter("to", "The end, which does not belong to it. Default: the end of this month."),
            Parameter(
                "group_by",
                "The facts by which calls are told apart, with commas: `account`, `key`, `model`, `provider`, and one \
                 of `hour`, `day` and `month`. Default: none.",
            ),
            Parameter("account", "The account. Default: all."),
            Parameter("key", "The id of the key. Default: all."),
            Parameter("model", "The model, or its beginning and `*`. Default: all."),
            Parameter("format", "`json` or `csv`. Default: `json`."),
        ],
        answer: Some(schema::<UsageList>),
        has_csv: true,
        errors: &[Code::InvalidRequest],
        handler: usage::list,
        ..READ
    },
    Route {
        path: "/keys/{id}/limits",
        id: "getKeyLimits",
        summary: "Returns the limits of a key, and what it uses of them now.",
        answer: Some(schema::<KeyActivity>),
        errors: &[Code::NotFound],
        handler: gateway::key_limits,
        ..READ
    },
    Route {
        path: "/targets",
        id: "listTargets",
        summary: "Lists the targets of all models and their states.",
        answer: Some(schema::<List<Target>>),
        handler: targets::list,
        ..READ
    },
    Route {
        path: "/targets/{id}",
        id: "getTarget",
        summary: "Returns a target and its state. Slashes of the id are written `%2F`.",
        answer: Some(schema::<Target>),
        errors: &[Code::NotFound],
        handler: |call| targets::show(call),
        ..READ
    },
    Route {
        method: "POST",
        path: "/targets/{id}/rest",
        role: Some(Role::Admin),
        id: "restTarget",
        summary: "Takes a target out of service for a while. Calls that run go on.",
        request: Some(schema::<NewRest>),
        answer: Some(schema::<Target>),
        errors: &[Code::InvalidRequest, Code::NotFound, Code::IdempotencyMismatch],
        action: "target.rest",
        handler: targets::rest,
        again: Some(|call, id| targets::show(&call.about(id))),
        ..READ
    },
    Route {
        method: "POST",
        path: "/targets/{id}/enable",
        role: Some(Role::Admin),
        id: "enableTarget",
        summary: "Puts a target into service again, closes its circuit and ends its pause.",
        answer: Some(schema::<Target>),
        errors: &[Code::NotFound, Code::IdempotencyMismatch],
        action: "target.enable",
        handler: targets::enable,
        again: Some(|call, id| targets::show(&call.about(id))),
        ..READ
    },
    Route {
        path: "/config",
        id: "getConfig",
        summary: "Returns the state of the configuration: what is in force, what was refused, and what waits for a new process.",
        answer: Some(schema::<ConfigStatus>),
        handler: gateway::config,
        ..READ
    },
    Route {
        method: "POST",
        path: "/config/reload",
        role: Some(Role::Admin),
        id: "reloadConfig",
        summary: "Reads the configuration file again, and puts it into effect.",
        answer: Some(schema::<ConfigStatus>),
        errors: &[Code::Conflict],
        action: "config.reload",
        handler: gateway::reload,
        ..READ
    },
    Route {
        path: "/failures",
        id: "listFailures",
        summary: "Lists the requests that have failed or were refused lately, newest first.",
        answer: Some(schema::<FailureList>),
        handler: gateway::failures,
        ..READ
    },
];

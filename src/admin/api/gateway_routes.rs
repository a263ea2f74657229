//! The routes of the running gateway: what it has done, what it is doing, and what it is told to do.

use crate::admin::error::Code;
use crate::admin::model::{KeyActivity, List, Target, UsageList};
use crate::config::ConfigStatus;

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
        handler: targets::show,
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
];

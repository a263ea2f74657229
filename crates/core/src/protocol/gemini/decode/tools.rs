//! Tools of a client's request, and the choice among them.

use std::borrow::Cow;

use crate::canon::{Choice, Chosen, Losses, Tool, ToolKind, WebSearch, not_carried};
use crate::failure::{Failure, Kind, Result};
use crate::protocol::node::Node;

use super::{lenient, schema};

/// Reads one element of `tools`, which holds functions, hosted tools, or both.
pub(super) fn read<'a>(node: &Node<'a, '_>, tools: &mut Vec<Tool<'a>>, losses: &mut Losses) -> Result<()> {
    lenient::members(node, |name, value| {
        match name {
            "functionDeclarations" => lenient::items(&value, |function| {
                tools.push(self::function(&function, losses)?);
                Ok(())
            })?,
            "googleSearch" | "googleSearchRetrieval" | "enterpriseWebSearch" => {
                let mut tool = Tool::function("web_search".into(), None, None);
                tool.kind = ToolKind::WebSearch(web_search(&value, losses)?);
                tools.push(tool);
            }
            "urlContext" | "googleMaps" => losses.drop(&value.path)?,
            _ => return Err(not_carried(value.path.to_string())),
        }
        Ok(())
    })
}

fn function<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Tool<'a>> {
    let mut tool = Tool::function(Cow::Borrowed(""), None, None);
    let (mut json_schema, mut parameters, mut is_named) = (None, None, false);
    lenient::members(node, |name, value| {
        match name {
            "name" => (tool.name, is_named) = (value.string()?, true),
            "description" => tool.description = Some(value.json_str()?).filter(|text| !text.is_empty()),
            "parametersJsonSchema" => json_schema = Some(value.raw()?),
            "parameters" => parameters = Some(schema::to_json_schema(&value)?),
            "behavior" if matches!(lenient::word(&value)?.as_str(), "BLOCKING" | "UNSPECIFIED") => {}
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    if !is_named {
        return Err(node.missing("name").wrong("given"));
    }
    if json_schema.is_some() && parameters.is_some() {
        let message = "'parameters' and 'parametersJsonSchema' exclude each other: send one of them.";
        return Err(Failure::new(Kind::Unsupported, message).with_param(node.path.to_string()));
    }
    // Google's clients never ask for exact arguments.
    tool.kind = ToolKind::Function { schema: json_schema.or(parameters), strict: None };
    Ok(tool)
}

fn web_search<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<WebSearch<'a>> {
    let mut search = WebSearch::default();
    lenient::members(node, |name, value| {
        match name {
            "excludeDomains" if value.text != "[]" => search.blocked = Some(value.raw()?),
            "excludeDomains" => {}
            _ if matches!(value.text, "{}" | "[]" | "false") => {}
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    Ok(search)
}

/// Reads `toolConfig`.
pub(super) fn config<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Option<Choice<'a>>> {
    let mut choice = None;
    lenient::members(node, |name, value| {
        match name {
            "functionCallingConfig" => choice = self::choice(&value, losses)?,
            "includeServerSideToolInvocations" => {}
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    Ok(choice)
}

fn choice<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Option<Choice<'a>>> {
    let (mut mode, mut names) = (String::new(), Vec::new());
    lenient::members(node, |name, value| {
        match name {
            "mode" => mode = lenient::word(&value)?,
            "allowedFunctionNames" => value.items(|name| {
                names.push(Chosen { namespace: None, name: name.string()? });
                Ok(())
            })?,
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    let may_name = matches!(mode.as_str(), "ANY" | "VALIDATED");
    if !names.is_empty() && !may_name {
        return Err(node.missing("allowedFunctionNames").wrong("left out, unless the mode is ANY"));
    }
    Ok(match mode.as_str() {
        "" | "MODE_UNSPECIFIED" => None,
        "AUTO" => Some(Choice::Auto),
        "VALIDATED" if names.is_empty() => Some(Choice::Auto),
        "VALIDATED" => Some(Choice::Allowed { required: false, tools: names }),
        "NONE" => Some(Choice::None),
        "ANY" if names.len() > 1 => Some(Choice::Allowed { required: true, tools: names }),
        "ANY" => Some(names.pop().map_or(Choice::Required, Choice::Named)),
        _ => return Err(node.missing("mode").wrong("'AUTO', 'ANY', 'VALIDATED' or 'NONE'")),
    })
}

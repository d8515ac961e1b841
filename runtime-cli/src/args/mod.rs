//! The command line: one table, and what is made from it.

pub(crate) mod help;
mod parse;
pub(crate) mod table;

pub(crate) use parse::{Globals, Level, Matches, Request, Usage, parse};

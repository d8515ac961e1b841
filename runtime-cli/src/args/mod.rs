//! The command line: one table, and what is made from it.

pub(crate) mod completion;
pub(crate) mod help;
pub(crate) mod manual;
mod parse;
pub(crate) mod table;

pub(crate) use parse::{Globals, Level, Matches, Request, Usage, parse};

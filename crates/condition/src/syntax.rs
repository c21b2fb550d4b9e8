//! A condition as it is understood.

use std::sync::Arc;

use crate::value::Value;

/// One part of a condition, and where it stands in its text.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// How many parts lie in one another below it, itself included.
    pub(crate) depth: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Literal(Value),
    List(Vec<Node>),
    /// A variable of a macro: its place counted from the outermost.
    Variable(usize),
    /// The place in the list of what the condition reads.
    Read(usize),
    Select(Box<Node>, Arc<str>),
    /// `has(e.name)`.
    Has(Box<Node>, Arc<str>),
    Index(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Choice(Box<[Node; 3]>),
    Call(Function, Vec<Node>),
    Macro(Macro, Box<Node>, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// What can be called; the first argument of one that is called on a value is that value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    Double,
    String,
}

impl Function {
    /// Returns the function of this name, and whether it is called on a value.
    pub(crate) fn named(name: &str, on_value: bool) -> Option<Self> {
        Some(match (name, on_value) {
            ("size", _) => Self::Size,
            ("contains", true) => Self::Contains,
            ("startsWith", true) => Self::StartsWith,
            ("endsWith", true) => Self::EndsWith,
            ("int", false) => Self::Int,
            ("double", false) => Self::Double,
            ("string", false) => Self::String,
            _ => return None,
        })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
        }
    }

    /// Returns how many arguments it has, the value that it is called on included.
    pub(crate) const fn arguments(self) -> usize {
        match self {
            Self::Size | Self::Int | Self::Double | Self::String => 1,
            Self::Contains | Self::StartsWith | Self::EndsWith => 2,
        }
    }
}

/// What goes through a list or the keys of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Macro {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

impl Macro {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All,
            "exists" => Self::Exists,
            "exists_one" => Self::ExistsOne,
            "filter" => Self::Filter,
            "map" => Self::Map,
            _ => return None,
        })
    }
}

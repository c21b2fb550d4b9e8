//! From words and signs to a condition: by descent, counted at every level.

use std::sync::Arc;

use prunella_model::{NameError, ParamName, PortName, StepName};

use crate::{
    MAX_DEPTH, Value,
    condition::{Use, Used},
    lex::{Placed, Token, lex},
    syntax::{Function, Kind, Macro, Node, Operator},
};

/// What is wrong with the text of a condition, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Mistake {
    /// Byte offset of its beginning.
    pub start: usize,
    /// Byte offset behind its end.
    pub end: usize,
    /// What is wrong: lowercase, names in backticks.
    pub problem: String,
    /// What to do; may be empty.
    pub help: String,
}

impl Mistake {
    pub(crate) fn new(start: usize, end: usize, problem: String, help: &str) -> Self {
        Self { start, end, problem, help: help.to_owned() }
    }
}

/// Words that CEL keeps for itself: as names they need backticks.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

const FUNCTIONS: &str = "known are has, size, int, double, string, and on values .size(), .contains(), .startsWith(), \
                         .endsWith(), .all(), .exists(), .exists_one(), .filter(), .map()";

type Parsed = Result<Node, Mistake>;

pub(crate) struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Placed>,
    at: usize,
    /// Parts that are open at this moment.
    open: usize,
    /// Variables of the macros around this place.
    variables: Vec<Arc<str>>,
    reads: Vec<Used>,
}

/// Reads a condition; answers what it reads beside it.
pub(crate) fn parse(source: &str) -> Result<(Node, Vec<Used>), Mistake> {
    let mut parser = Parser { source, tokens: lex(source)?, at: 0, open: 0, variables: Vec::new(), reads: Vec::new() };
    if parser.peek() == &Token::End {
        let help = "write what must hold, such as `evaluate.metrics.accuracy > 0.95`";
        return Err(Mistake::new(0, source.len(), "the condition is empty".to_owned(), help));
    }
    let root = parser.choice()?;
    match parser.peek() {
        Token::End => Ok((root, parser.reads)),
        Token::Name { name, quoted: false } if matches!(&**name, "and" | "or" | "not") => {
            let help = format!("write `{}`", if &**name == "and" { "&&" } else { "||" });
            Err(parser.mistake(format!("`{name}` has no meaning here"), &help))
        }
        Token::Sign("-") | Token::Whole(_) | Token::Decimal(_) => Err(parser.unexpected("an operator")),
        _ => Err(parser.unexpected("its end or an operator")),
    }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].token
    }

    fn next(&mut self) -> Placed {
        let placed = self.tokens[self.at].clone();
        // The end stays: it is read again by whoever looks for more.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        placed
    }

    fn take(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Token::Sign(found) if *found == sign);
        if there {
            self.next();
        }
        there
    }

    fn expect(&mut self, sign: &'static str) -> Result<usize, Mistake> {
        let end = self.tokens[self.at].end;
        if self.take(sign) { Ok(end) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn mistake(&self, problem: String, help: &str) -> Mistake {
        let here = &self.tokens[self.at];
        Mistake::new(here.start, here.end, problem, help)
    }

    fn unexpected(&self, wanted: &str) -> Mistake {
        let help = match self.peek() {
            Token::Sign("{") => "objects cannot be written here, only read",
            _ => "",
        };
        self.mistake(format!("here stands {} where {wanted} is expected", self.peek().shown()), help)
    }

    fn node(&self, kind: Kind, start: usize, end: usize, below: usize) -> Parsed {
        let depth = below + 1;
        if depth > MAX_DEPTH { Err(too_deep(start, end)) } else { Ok(Node { kind, start, end, depth }) }
    }

    /// Reads one part inside another: recursion happens through here only.
    fn inside(&mut self, read: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.open >= MAX_DEPTH {
            let here = &self.tokens[self.at];
            return Err(too_deep(here.start, here.end));
        }
        self.open += 1;
        let node = read(self);
        self.open -= 1;
        node
    }

    fn choice(&mut self) -> Parsed {
        self.inside(|parser| {
            let test = parser.or()?;
            if !parser.take("?") {
                return Ok(test);
            }
            let yes = parser.or()?;
            parser.expect(":")?;
            let no = parser.choice()?;
            let (start, end) = (test.start, no.end);
            let below = test.depth.max(yes.depth).max(no.depth);
            parser.node(Kind::Choice(Box::new([test, yes, no])), start, end, below)
        })
    }

    fn or(&mut self) -> Parsed {
        let mut left = self.and()?;
        while self.take("||") {
            let right = self.and()?;
            let (start, end, below) = (left.start, right.end, left.depth.max(right.depth));
            left = self.node(Kind::Or(Box::new(left), Box::new(right)), start, end, below)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed {
        let mut left = self.relation()?;
        while self.take("&&") {
            let right = self.relation()?;
            let (start, end, below) = (left.start, right.end, left.depth.max(right.depth));
            left = self.node(Kind::And(Box::new(left), Box::new(right)), start, end, below)?;
        }
        Ok(left)
    }

    fn relation(&mut self) -> Parsed {
        use Operator::{Equal, Greater, GreaterEqual, In, Less, LessEqual, NotEqual};
        let mut left = self.sum()?;
        loop {
            let operator = match self.peek() {
                Token::Name { name, quoted: false } if &**name == "in" => In,
                Token::Sign(sign) => {
                    let known = [Equal, NotEqual, LessEqual, GreaterEqual, Less, Greater];
                    match known.into_iter().find(|operator| operator.sign() == *sign) {
                        Some(operator) => operator,
                        None => return Ok(left),
                    }
                }
                _ => return Ok(left),
            };
            self.next();
            let right = self.sum()?;
            left = self.binary(operator, left, right)?;
        }
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        loop {
            let operator = match self.peek() {
                Token::Sign("+") => Operator::Add,
                Token::Sign("-") => Operator::Subtract,
                _ => return Ok(left),
            };
            self.next();
            let right = self.product()?;
            left = self.binary(operator, left, right)?;
        }
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let operator = match self.peek() {
                Token::Sign("*") => Operator::Multiply,
                Token::Sign("/") => Operator::Divide,
                Token::Sign("%") => Operator::Remainder,
                _ => return Ok(left),
            };
            self.next();
            let right = self.unary()?;
            left = self.binary(operator, left, right)?;
        }
    }

    fn binary(&self, operator: Operator, left: Node, right: Node) -> Parsed {
        let (start, end, below) = (left.start, right.end, left.depth.max(right.depth));
        self.node(Kind::Binary(operator, Box::new(left), Box::new(right)), start, end, below)
    }

    fn unary(&mut self) -> Parsed {
        let start = self.tokens[self.at].start;
        if self.take("!") {
            let value = self.inside(Self::unary)?;
            let (end, below) = (value.end, value.depth);
            return self.node(Kind::Not(Box::new(value)), start, end, below);
        }
        if self.take("-") {
            // The number and its sign are one, so that the lowest of all can be written.
            if let Token::Whole(value) = *self.peek() {
                let end = self.next().end;
                let literal =
                    self.node(Kind::Literal(Value::Int(0_i64.wrapping_sub_unsigned(value))), start, end, 0)?;
                return self.members(literal);
            }
            let value = self.inside(Self::unary)?;
            let (end, below) = (value.end, value.depth);
            return self.node(Kind::Negate(Box::new(value)), start, end, below);
        }
        let primary = self.primary()?;
        self.members(primary)
    }

    fn members(&mut self, mut value: Node) -> Parsed {
        loop {
            let start = value.start;
            if self.take("[") {
                let index = self.choice()?;
                let end = self.expect("]")?;
                let below = value.depth.max(index.depth);
                value = self.node(Kind::Index(Box::new(value), Box::new(index)), start, end, below)?;
            } else if self.take(".") {
                let field = self.next();
                let Token::Name { name, quoted } = field.token else {
                    let problem = "a name is expected after `.`".to_owned();
                    let help = "names with `-` in them stand in backticks";
                    return Err(Mistake::new(field.start, field.end, problem, help));
                };
                if !quoted && self.take("(") {
                    value = self.called_on(value, &name, field.start)?;
                } else {
                    let below = value.depth;
                    value = self.node(Kind::Select(Box::new(value), name), start, field.end, below)?;
                }
            } else {
                return Ok(value);
            }
        }
    }

    /// Reads the rest of `value.name(`.
    fn called_on(&mut self, value: Node, name: &str, at: usize) -> Parsed {
        let start = value.start;
        if let Some(which) = Macro::named(name) {
            let variable = self.next();
            let Token::Name { name: variable, quoted: false } = variable.token else {
                let problem = format!("`.{name}(` begins with a name for each value");
                let help = format!("such as `.{name}(m, m.accuracy > 0.9)`");
                return Err(Mistake::new(variable.start, variable.end, problem, &help));
            };
            self.expect(",")?;
            self.variables.push(variable);
            let mut bodies = vec![self.choice()?];
            if which == Macro::Map && self.take(",") {
                bodies.push(self.choice()?);
            }
            self.variables.pop();
            let end = self.expect(")")?;
            let below = bodies.iter().map(|body| body.depth).fold(value.depth, usize::max);
            return self.node(Kind::Macro(which, Box::new(value), bodies), start, end, below);
        }
        let Some(function) = Function::named(name, true) else {
            let problem = format!("there is no function `.{name}()`");
            return Err(Mistake::new(at, at + name.len(), problem, FUNCTIONS));
        };
        let below = value.depth;
        let mut arguments = vec![value];
        let end = self.arguments(&mut arguments)?;
        self.call(function, arguments, start, end, below)
    }

    fn arguments(&mut self, arguments: &mut Vec<Node>) -> Result<usize, Mistake> {
        let end = self.tokens[self.at].end;
        if self.take(")") {
            return Ok(end);
        }
        loop {
            arguments.push(self.choice()?);
            if !self.take(",") {
                return self.expect(")");
            }
        }
    }

    fn call(&self, function: Function, arguments: Vec<Node>, start: usize, end: usize, below: usize) -> Parsed {
        if arguments.len() != function.arguments() {
            let problem = format!("`{}` is called with another number of values", function.name());
            return Err(Mistake::new(start, end, problem, "a call on a value counts that value"));
        }
        let below = arguments.iter().map(|argument| argument.depth).fold(below, usize::max);
        self.node(Kind::Call(function, arguments), start, end, below)
    }

    fn primary(&mut self) -> Parsed {
        let Placed { token, start, end } = self.next();
        let literal = |value| Kind::Literal(value);
        match token {
            Token::Whole(value) => match i64::try_from(value) {
                Ok(value) => self.node(literal(Value::Int(value)), start, end, 0),
                Err(_) => Err(Mistake::new(start, end, "the number is too large".to_owned(), "")),
            },
            Token::Decimal(value) => self.node(literal(Value::Double(value)), start, end, 0),
            Token::Text(text) => self.node(literal(Value::Text(text)), start, end, 0),
            Token::Sign("(") => {
                let mut inner = self.choice()?;
                inner.end = self.expect(")")?;
                inner.start = start;
                Ok(inner)
            }
            Token::Sign("[") => {
                let mut items = Vec::new();
                while !matches!(self.peek(), Token::Sign("]")) {
                    items.push(self.choice()?);
                    if !self.take(",") {
                        break;
                    }
                }
                let end = self.expect("]")?;
                let below = items.iter().map(|item| item.depth).max().unwrap_or(0);
                self.node(Kind::List(items), start, end, below)
            }
            Token::Name { name, quoted } => self.named(&name, quoted, start, end),
            _ => {
                self.at = self.tokens.iter().position(|placed| placed.start == start).unwrap_or(self.at);
                Err(self.unexpected("a value"))
            }
        }
    }

    fn named(&mut self, name: &str, quoted: bool, start: usize, end: usize) -> Parsed {
        if !quoted {
            let literal = match name {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                "null" => Some(Value::Null),
                _ => None,
            };
            if let Some(value) = literal {
                return self.node(Kind::Literal(value), start, end, 0);
            }
            if self.take("(") {
                return self.called(name, start, end);
            }
            // The innermost variable of a name is meant.
            if let Some(place) = self.variables.iter().rposition(|variable| &**variable == name) {
                return self.node(Kind::Variable(place), start, end, 0);
            }
            if RESERVED.contains(&name) || name == "in" {
                let help = format!("a step of this name is written in backticks: `{name}`");
                return Err(Mistake::new(start, end, format!("`{name}` is a word of the language"), &help));
            }
        }
        let (used, end) = match name {
            "item" if !quoted => (Use::Item, end),
            "params" if !quoted => {
                let (param, end) = self.member(start, end, "a parameter", "write `params.NAME`")?;
                (Use::Param(self.name_of(ParamName::new(&param), start, end, "a parameter")?), end)
            }
            step => {
                let step = self.name_of(StepName::new(step), start, end, "a step")?;
                let help = format!("write `{step}.OUTPUT`");
                let (output, end) = self.member(start, end, "an output of the step", &help)?;
                let output = self.name_of(PortName::new(&output), start, end, "an output")?;
                (Use::Output { step, output }, end)
            }
        };
        let place = self.reads.iter().position(|read| read.what == used).unwrap_or_else(|| {
            self.reads.push(Used { what: used, start, end });
            self.reads.len() - 1
        });
        self.node(Kind::Read(place), start, end, 0)
    }

    /// Reads `.NAME` behind a name that means nothing alone.
    fn member(&mut self, start: usize, end: usize, what: &str, help: &str) -> Result<(Arc<str>, usize), Mistake> {
        let missing = |source: &str| {
            let problem = format!("`{}` alone means nothing: {what} is to follow", &source[start..end]);
            Mistake::new(start, end, problem, help)
        };
        if !self.take(".") {
            return Err(missing(self.source));
        }
        let placed = self.next();
        match placed.token {
            Token::Name { name, .. } => Ok((name, placed.end)),
            _ => Err(missing(self.source)),
        }
    }

    fn name_of<N>(&self, name: Result<N, NameError>, start: usize, end: usize, what: &str) -> Result<N, Mistake> {
        name.map_err(|error| {
            let problem = format!("`{}` does not name {what}: {error}", &self.source[start..end]);
            Mistake::new(start, end, problem, "a condition reads `STEP.OUTPUT`, `params.NAME` and `item`")
        })
    }

    /// Reads the rest of `name(`.
    fn called(&mut self, name: &str, start: usize, end: usize) -> Parsed {
        if name == "has" {
            let value = self.choice()?;
            let end = self.expect(")")?;
            let below = value.depth;
            return match value.kind {
                Kind::Select(of, field) => self.node(Kind::Has(of, field), start, end, below),
                _ => {
                    let problem = "`has` asks for a field of a value".to_owned();
                    Err(Mistake::new(start, end, problem, "write `has(evaluate.metrics.accuracy)`"))
                }
            };
        }
        let Some(function) = Function::named(name, false) else {
            return Err(Mistake::new(start, end, format!("there is no function `{name}()`"), FUNCTIONS));
        };
        let mut arguments = Vec::new();
        let end = self.arguments(&mut arguments)?;
        self.call(function, arguments, start, end, 0)
    }
}

fn too_deep(start: usize, end: usize) -> Mistake {
    let problem = format!("parts of the condition lie more than {MAX_DEPTH} deep in one another");
    Mistake::new(start, end, problem, "let a step decide, and read its output here")
}

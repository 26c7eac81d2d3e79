//! A JSON line, token by token, with every refusal turned into a [`Defect`] that names key and byte.

use jiter::{Jiter, JiterError, JiterErrorType, JsonType, Peek};

use super::defect::{Defect, Reason};

/// A number and whether it was written as an integer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub value: f64,
    pub is_integer: bool,
}

/// The tokens of one line, or of a value inside one. Bare `NaN`, `Infinity` and `-Infinity` are numbers; nesting deeper
/// than 200 is an error.
pub(super) struct Tokens<'a> {
    json: Jiter<'a>,
    base: usize,
}

impl<'a> Tokens<'a> {
    /// Tokens of `line` from byte `start` on.
    pub fn new(line: &'a [u8], start: usize) -> Self {
        Self { json: Jiter::new(&line[start..]).with_allow_inf_nan(), base: start }
    }

    /// Offset in the line.
    pub fn byte(&self) -> usize {
        self.base + self.json.current_index()
    }

    /// Offset in the line where the next value begins.
    fn start(&mut self, key: &'static str) -> Result<usize, Defect> {
        self.peek(key)?;
        Ok(self.byte())
    }

    /// A refusal at the current byte.
    pub fn fail<T>(&self, reason: Reason) -> Result<T, Defect> {
        Err(reason.at(self.byte()))
    }

    /// Opens an object; `None` when it is empty, else its first key as `known` maps it.
    pub fn object<K>(&mut self, key: &'static str, known: impl Fn(&str) -> K) -> Result<Option<K>, Defect> {
        let base = self.base;
        self.json.next_object().map(|name| name.map(known)).map_err(|error| defect(base, key, error))
    }

    /// The next key of the object, or `None` at its end.
    pub fn next_key<K>(&mut self, known: impl Fn(&str) -> K) -> Result<Option<K>, Defect> {
        let base = self.base;
        self.json.next_key().map(|name| name.map(known)).map_err(|error| defect(base, "line", error))
    }

    /// Nothing but white space may follow.
    pub fn finish(&mut self) -> Result<(), Defect> {
        let base = self.base;
        self.json.finish().map_err(|error| defect(base, "line", error))
    }

    /// Takes a `null`; false, with nothing taken, when another value stands there.
    pub fn null(&mut self, key: &'static str) -> Result<bool, Defect> {
        let is_null = self.peek(key)? == Peek::Null;
        if is_null {
            let base = self.base;
            self.json.known_null().map_err(|error| defect(base, key, error))?;
        }
        Ok(is_null)
    }

    /// What kind of value comes next.
    pub fn peek(&mut self, key: &'static str) -> Result<Peek, Defect> {
        let base = self.base;
        self.json.peek().map_err(|error| defect(base, key, error))
    }

    /// Passes over a value and returns the offset in the line where it begins.
    pub fn skip(&mut self, key: &'static str) -> Result<usize, Defect> {
        let base = self.base;
        let peek = self.peek(key)?;
        let start = self.byte();
        self.json.known_skip(peek).map_err(|error| defect(base, key, error))?;
        Ok(start)
    }

    /// A boolean.
    pub fn bool(&mut self, key: &'static str) -> Result<bool, Defect> {
        let base = self.base;
        self.json.next_bool().map_err(|error| defect(base, key, error))
    }

    /// A number of any kind, as double. An integer that no double holds is refused.
    pub fn number(&mut self, key: &'static str) -> Result<Number, Defect> {
        let (start, text) = self.digits(key)?;
        let value = float(text);
        let is_integer = is_integer(text);
        if is_integer && text.parse() != Ok(value as i128) {
            return Err(Reason::OutOfRange { key, allowed: "the integers that a double holds" }.at(start));
        }
        Ok(Number { value, is_integer })
    }

    /// A number as float32. One that is finite but too large for it is refused; others are rounded to the nearest.
    pub fn f32(&mut self, key: &'static str) -> Result<f32, Defect> {
        let (start, text) = self.digits(key)?;
        let value = float(text);
        let narrow = value as f32;
        if narrow.is_infinite() && !text.ends_with("Infinity") {
            return Err(Reason::OutOfRange { key, allowed: "float32" }.at(start));
        }
        Ok(narrow)
    }

    /// An integer, or a whole number written as float.
    pub fn int(&mut self, key: &'static str) -> Result<i64, Defect> {
        let (start, text) = self.digits(key)?;
        if is_integer(text) {
            return text.parse().map_err(|_| Reason::OutOfRange { key, allowed: "64-bit integers" }.at(start));
        }
        let value = float(text);
        if value.trunc() == value && value.abs() < 9e15 {
            return Ok(value as i64);
        }
        Err(Reason::WrongType { key, expected: "an integer", found: "a fraction" }.at(start))
    }

    /// The text of a number, which is known to be one. jiter's own conversion stops at 18 digits without a big-integer
    /// library, and takes for granted that its float parser accepts what its scanner does.
    fn digits(&mut self, key: &'static str) -> Result<(usize, &str), Defect> {
        let (base, start) = (self.base, self.start(key)?);
        match self.json.next_number_bytes() {
            // Digits, signs, points and the bare words are ASCII.
            Ok(bytes) => Ok((start, std::str::from_utf8(bytes).unwrap_or("0"))),
            Err(error) => Err(defect(base, key, error)),
        }
    }

    /// An integer that `T` holds.
    pub fn small_int<T: TryFrom<i64>>(&mut self, key: &'static str, allowed: &'static str) -> Result<T, Defect> {
        let start = self.start(key)?;
        T::try_from(self.int(key)?).map_err(|_| Reason::OutOfRange { key, allowed }.at(start))
    }

    /// A string with its escapes resolved, and the offset in the line where it begins.
    pub fn string(&mut self, key: &'static str) -> Result<(usize, &str), Defect> {
        let (base, start) = (self.base, self.start(key)?);
        match self.json.next_str() {
            Ok(text) => Ok((start, text)),
            Err(error) => Err(defect(base, key, error)),
        }
    }

    /// Goes through an array: `each` takes one element at a time.
    pub fn array(
        &mut self,
        key: &'static str,
        mut each: impl FnMut(&mut Self) -> Result<(), Defect>,
    ) -> Result<(), Defect> {
        let base = self.base;
        let mut more = self.json.next_array().map_err(|error| defect(base, key, error))?.is_some();
        while more {
            each(self)?;
            more = self.json.array_step().map_err(|error| defect(base, key, error))?.is_some();
        }
        Ok(())
    }
}

/// Rust's parser knows the same words and rounds the same way as Python's; text above the largest double is infinite in
/// both.
fn float(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

fn is_integer(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

fn defect(base: usize, key: &'static str, error: JiterError) -> Defect {
    let reason = match error.error_type {
        JiterErrorType::WrongType { expected, actual } => {
            Reason::WrongType { key, expected: type_name(&expected), found: type_name(&actual) }
        }
        JiterErrorType::JsonError(jiter::JsonErrorType::NumberOutOfRange) => {
            Reason::OutOfRange { key, allowed: "64-bit integers" }
        }
        JiterErrorType::JsonError(syntax) => Reason::Syntax(syntax.to_string().into()),
    };
    reason.at(base + error.index)
}

const fn type_name(json: &JsonType) -> &'static str {
    match json {
        JsonType::Null => "null",
        JsonType::Bool => "true or false",
        JsonType::Int | JsonType::Float => "a number",
        JsonType::String => "a string",
        JsonType::Array => "a list",
        JsonType::Object => "an object",
    }
}

//! The stack machine: builds plain values out of a pickle, calls nothing.

use std::ops::Range;

use super::numpy::{Array, DIMENSIONS_MAX, Dtype, Number};
use super::scan::{STOP, instruction};
use crate::modlib::defect::{Defect, Reason, clipped};
use crate::results::ResultKind;

/// Most instructions of one pickle. A frame with 512 instances takes 10,000; each makes at most one value and one memo.
const INSTRUCTIONS_MAX: usize = 1 << 20;

/// Things that a modlib frame is made of: every other name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    Frame,
    Roi,
    Result(ResultKind),
    Ndarray,
    DtypeClass,
    /// `_reconstruct(ndarray, (0,), b'b')`: an array to be filled by its state.
    Reconstruct,
    /// `scalar(dtype, bytes)`: a numpy number.
    Scalar,
    /// `_frombuffer(bytes, dtype, shape, order)`: protocol 5.
    FromBuffer,
}

impl Global {
    fn of(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("modlib.devices.frame", "Frame") => Self::Frame,
            ("modlib.models.results", "ROI") => Self::Roi,
            ("modlib.models.results", _) => Self::Result(ResultKind::ALL.into_iter().find(|kind| kind.name() == name)?),
            ("numpy", "ndarray") => Self::Ndarray,
            ("numpy", "dtype") => Self::DtypeClass,
            // numpy 1 and 2.
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Self::Reconstruct,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::Scalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::FromBuffer,
            _ => return None,
        })
    }
}

/// A value. Text and bytes are places in the pickle, collections are places in the [`Machine`].
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Range<usize>),
    Bytes(Range<usize>),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Global(Global),
    Object(usize),
    Array(usize),
    Dtype(usize),
}

/// An instance of one of modlib's classes and what it holds.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub class: Global,
    pub state: Option<usize>,
}

/// The machine with everything that it built; used again for the next pickle.
#[derive(Debug, Default)]
pub(super) struct Machine {
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Option<Value>>,
    pub lists: Vec<Vec<Value>>,
    pub dicts: Vec<Vec<(Value, Value)>>,
    pub objects: Vec<Object>,
    pub arrays: Vec<Option<Array>>,
    dtypes: Vec<Dtype>,
}

const UNDERFLOW: Reason = Reason::Pickle("an instruction finds nothing on the stack");

impl Machine {
    /// Runs `pickle` to its stop and returns the one value that it leaves.
    pub fn run(&mut self, pickle: &[u8]) -> Result<Value, Defect> {
        self.clear();
        let mut at = 0;
        for _ in 0..INSTRUCTIONS_MAX {
            let next = instruction(pickle, at).and_then(|next| next.ok_or(Reason::Pickle("it is cut off")));
            let next = next.map_err(|reason| reason.at(at))?;
            if next.opcode == STOP {
                return self.pop().map_err(|reason| reason.at(at));
            }
            self.step(pickle, next.opcode, next.argument).map_err(|reason| reason.at(at))?;
            at = next.next;
        }
        Err(Reason::Pickle("it has more than a million instructions").at(at))
    }

    fn clear(&mut self) {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        self.lists.clear();
        self.dicts.clear();
        self.objects.clear();
        self.arrays.clear();
        self.dtypes.clear();
    }

    fn step(&mut self, pickle: &[u8], opcode: u8, argument: Range<usize>) -> Result<(), Reason> {
        let bytes = &pickle[argument.clone()];
        match opcode {
            // PROTO and FRAME.
            0x80 if bytes[0] > 5 => return Err(Reason::Pickle("its protocol is newer than 5")),
            0x80 | 0x95 => {}
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Bool(opcode == 0x88)),
            b'K' | b'M' => self.stack.push(Value::Int(unsigned(bytes) as i64)),
            // Sign-extended: BININT has four bytes, LONG1 as many as it needs.
            b'J' | 0x8A => self.stack.push(Value::Int(signed(bytes)?)),
            b'G' => self.stack.push(Value::Float(f64::from_bits(bytes.iter().fold(0, |v, &b| v << 8 | u64::from(b))))),
            0x8C | b'X' | 0x8D => {
                std::str::from_utf8(bytes).map_err(|_| Reason::Pickle("a text is not UTF-8"))?;
                self.stack.push(Value::Text(argument));
            }
            b'C' | b'B' | 0x8E | 0x96 => self.stack.push(Value::Bytes(argument)),
            b'(' => self.marks.push(self.stack.len()),
            b')' | 0x85..=0x87 => self.tuple(if opcode == b')' { 0 } else { usize::from(opcode - 0x84) })?,
            b't' => {
                let items = self.since_mark()?.collect();
                self.push_list(items, Value::Tuple);
            }
            b']' => self.push_list(Vec::new(), Value::List),
            b'}' => {
                self.dicts.push(Vec::new());
                self.stack.push(Value::Dict(self.dicts.len() - 1));
            }
            b'a' | b'e' => self.append(opcode == b'a')?,
            b's' | b'u' => self.set_items(opcode == b's')?,
            0x94 => {
                let top = self.top()?.clone();
                self.memo.push(Some(top));
            }
            b'q' | b'r' => self.put(unsigned(bytes))?,
            b'h' | b'j' => self.get(unsigned(bytes))?,
            0x93 => self.stack_global(pickle)?,
            b'c' => self.line_global(bytes)?,
            0x81 => self.new_object()?,
            b'R' => self.reduce(pickle)?,
            b'b' => self.build(pickle)?,
            _ => return Err(Reason::Opcode(opcode)),
        }
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, Reason> {
        // What lies below a mark belongs to the mark.
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(UNDERFLOW);
        }
        self.stack.pop().ok_or(UNDERFLOW)
    }

    fn top(&self) -> Result<&Value, Reason> {
        self.stack.last().ok_or(UNDERFLOW)
    }

    fn since_mark(&mut self) -> Result<std::vec::Drain<'_, Value>, Reason> {
        let mark = self.marks.pop().ok_or(Reason::Pickle("an instruction finds no mark"))?;
        Ok(self.stack.drain(mark..))
    }

    fn push_list(&mut self, items: Vec<Value>, value: impl Fn(usize) -> Value) {
        self.lists.push(items);
        self.stack.push(value(self.lists.len() - 1));
    }

    fn tuple(&mut self, len: usize) -> Result<(), Reason> {
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.insert(0, self.pop()?);
        }
        self.push_list(items, Value::Tuple);
        Ok(())
    }

    fn append(&mut self, one: bool) -> Result<(), Reason> {
        let items: Vec<Value> = if one { vec![self.pop()?] } else { self.since_mark()?.collect() };
        let &Value::List(list) = self.top()? else { return Err(Reason::Pickle("something is appended to no list")) };
        self.lists[list].extend(items);
        Ok(())
    }

    fn set_items(&mut self, one: bool) -> Result<(), Reason> {
        let items: Vec<Value> = if one {
            let value = self.pop()?;
            vec![self.pop()?, value]
        } else {
            self.since_mark()?.collect()
        };
        let &Value::Dict(dict) = self.top()? else { return Err(Reason::Pickle("something is set in no dictionary")) };
        let mut items = items.into_iter();
        while let Some(key) = items.next() {
            let value = items.next().ok_or(Reason::Pickle("a key has no value"))?;
            self.dicts[dict].push((key, value));
        }
        Ok(())
    }

    fn put(&mut self, index: u64) -> Result<(), Reason> {
        let index = usize::try_from(index).ok().filter(|&index| index < INSTRUCTIONS_MAX);
        let index = index.ok_or(Reason::Pickle("a memo number is above a million"))?;
        let top = self.top()?.clone();
        if self.memo.len() <= index {
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(top);
        Ok(())
    }

    fn get(&mut self, index: u64) -> Result<(), Reason> {
        let found = usize::try_from(index).ok().and_then(|index| self.memo.get(index)?.clone());
        self.stack.push(found.ok_or(Reason::Pickle("a memo is used before it is made"))?);
        Ok(())
    }

    fn stack_global(&mut self, pickle: &[u8]) -> Result<(), Reason> {
        let (name, module) = (self.pop()?, self.pop()?);
        let (Value::Text(module), Value::Text(name)) = (module, name) else {
            return Err(Reason::Pickle("a global has no name"));
        };
        self.global(text(pickle, &module), text(pickle, &name))
    }

    fn line_global(&mut self, lines: &[u8]) -> Result<(), Reason> {
        let lines = std::str::from_utf8(lines).map_err(|_| Reason::Pickle("a text is not UTF-8"))?;
        let mut lines = lines.lines();
        self.global(lines.next().unwrap_or(""), lines.next().unwrap_or(""))
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Reason> {
        let refused = || Reason::Refused { module: clipped(module), name: clipped(name) };
        let global = Global::of(module, name).ok_or_else(refused)?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    /// `class.__new__(class)`, without arguments: modlib's classes have none there.
    fn new_object(&mut self) -> Result<(), Reason> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        let empty = matches!(arguments, Value::Tuple(at) if self.lists[at].is_empty());
        match class {
            Value::Global(class @ (Global::Frame | Global::Roi | Global::Result(_))) if empty => {
                self.objects.push(Object { class, state: None });
                self.stack.push(Value::Object(self.objects.len() - 1));
                Ok(())
            }
            _ => Err(Reason::Pickle("an object of no class of modlib's is made")),
        }
    }

    /// The three functions of numpy that make arrays and numbers, as what they are known to do.
    fn reduce(&mut self, pickle: &[u8]) -> Result<(), Reason> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Tuple(arguments) = arguments else { return Err(Reason::Pickle("a call has no arguments")) };
        let made = match (function, &self.lists[arguments][..]) {
            (
                Value::Global(Global::Reconstruct),
                [Value::Global(Global::Ndarray), Value::Tuple(_), Value::Bytes(_)],
            ) => {
                self.arrays.push(None);
                Value::Array(self.arrays.len() - 1)
            }
            (Value::Global(Global::DtypeClass), [Value::Text(name), Value::Bool(_), Value::Bool(_)]) => {
                self.dtypes.push(Dtype::named(text(pickle, name))?);
                Value::Dtype(self.dtypes.len() - 1)
            }
            (Value::Global(Global::Scalar), [Value::Dtype(dtype), Value::Bytes(bytes)]) => {
                let array = Array::new(self.dtypes[*dtype], heapless::Vec::new(), false, bytes.clone())?;
                match array.number(pickle, 0)? {
                    Number::Int(value) => Value::Int(value),
                    Number::Float(value) => Value::Float(value),
                }
            }
            (
                Value::Global(Global::FromBuffer),
                [Value::Bytes(bytes), Value::Dtype(dtype), Value::Tuple(shape), Value::Text(order)],
            ) => {
                let fortran = text(pickle, order) == "F";
                let array = Array::new(self.dtypes[*dtype], self.shape(*shape)?, fortran, bytes.clone())?;
                self.arrays.push(Some(array));
                Value::Array(self.arrays.len() - 1)
            }
            _ => return Err(Reason::Pickle("a call that no modlib frame makes")),
        };
        self.stack.push(made);
        Ok(())
    }

    /// Gives an object, an array or an element type its state.
    fn build(&mut self, pickle: &[u8]) -> Result<(), Reason> {
        let state = self.pop()?;
        match (self.top()?.clone(), state) {
            (Value::Object(object), Value::Dict(state)) => self.objects[object].state = Some(state),
            (Value::Array(array), Value::Tuple(state)) => self.arrays[array] = Some(self.array_of(state)?),
            (Value::Dtype(dtype), Value::Tuple(state)) => {
                let [_, Value::Text(order), ..] = &self.lists[state][..] else {
                    return Err(Reason::Pickle("an element type has a strange state"));
                };
                self.dtypes[dtype] = self.dtypes[dtype].ordered(text(pickle, order))?;
            }
            _ => return Err(Reason::Pickle("a state that no modlib frame has")),
        }
        Ok(())
    }

    /// `(version, shape, dtype, is_fortran, bytes)`.
    fn array_of(&self, state: usize) -> Result<Array, Reason> {
        let [Value::Int(_), Value::Tuple(shape), Value::Dtype(dtype), Value::Bool(fortran), Value::Bytes(data)] =
            &self.lists[state][..]
        else {
            return Err(Reason::Pickle("an array has a strange state"));
        };
        Array::new(self.dtypes[*dtype], self.shape(*shape)?, *fortran, data.clone())
    }

    fn shape(&self, tuple: usize) -> Result<heapless::Vec<usize, DIMENSIONS_MAX>, Reason> {
        let bad = Reason::Pickle("an array has a strange shape");
        let sides = self.lists[tuple].iter().map(|side| match side {
            Value::Int(side) => usize::try_from(*side).ok(),
            _ => None,
        });
        let mut shape = heapless::Vec::new();
        for side in sides {
            side.and_then(|side| shape.push(side).ok()).ok_or_else(|| bad.clone())?;
        }
        Ok(shape)
    }

    /// The value of `key` in a dictionary; the last one if it was set twice.
    pub fn item<'a>(&'a self, pickle: &[u8], dict: usize, key: &str) -> Option<&'a Value> {
        self.dicts[dict].iter().rev().find_map(|(name, value)| match name {
            Value::Text(name) if text(pickle, name) == key => Some(value),
            _ => None,
        })
    }
}

/// A text's characters; it was checked to be UTF-8 when it was pushed.
pub(super) fn text<'a>(pickle: &'a [u8], range: &Range<usize>) -> &'a str {
    std::str::from_utf8(&pickle[range.clone()]).unwrap_or("")
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn signed(bytes: &[u8]) -> Result<i64, Reason> {
    if bytes.len() > 8 {
        return Err(Reason::OutOfRange { key: "an integer", allowed: "64 bits" });
    }
    let unused = 64 - 8 * bytes.len() as u32;
    // Nothing at all is zero; a shift by 64 would not be.
    Ok(if bytes.is_empty() { 0 } else { (unsigned(bytes) << unused) as i64 >> unused })
}

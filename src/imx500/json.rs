//! Just enough JSON for `network_intrinsics`: objects, lists, strings, numbers and booleans, read in one pass without memory of
//! its own. What is not asked for is skipped; nothing recurses, so depth costs nothing.

use super::intrinsics::{BadIntrinsics, IntrinsicsError};

type Result<T> = core::result::Result<T, IntrinsicsError>;

/// Deepest nesting that is skipped.
const DEPTH_MAX: usize = 32;

/// A place in a JSON text.
pub(super) struct Json<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Json<'a> {
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// An error at this place.
    pub const fn error(&self, kind: BadIntrinsics) -> IntrinsicsError {
        IntrinsicsError { offset: self.at, kind }
    }

    fn bytes(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next byte that is no white space, not yet taken.
    pub fn peek(&mut self) -> Option<u8> {
        self.at += self.bytes().iter().take_while(|b| b.is_ascii_whitespace()).count();
        self.bytes().first().copied()
    }

    fn take(&mut self, wanted: u8) -> Result<()> {
        match self.peek() {
            Some(found) if found == wanted => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.error(BadIntrinsics::Json)),
        }
    }

    /// Only white space and NUL (packages pad with it) may follow.
    pub fn end(&mut self) -> Result<()> {
        let rest = self.bytes().iter().all(|b| b.is_ascii_whitespace() || *b == 0);
        if rest { Ok(()) } else { Err(self.error(BadIntrinsics::Json)) }
    }

    /// Calls `member` for every key of an object; it takes the value, or skips it.
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.take(b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.peek();
            // A key that does not fit is none that anybody asks for.
            let key = self.string::<32>()?.unwrap_or_default();
            self.take(b':')?;
            member(self, &key)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => return self.take(b'}'),
            }
        }
    }

    /// Calls `item` for every item of a list; it takes the value.
    pub fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.take(b'[')?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => return self.take(b']'),
            }
        }
    }

    /// A string, or `None` when it has more than `N` bytes.
    pub fn string<const N: usize>(&mut self) -> Result<Option<heapless::String<N>>> {
        self.take(b'"')?;
        let (mut string, mut fits) = (heapless::String::new(), true);
        loop {
            let c = self.text[self.at..].chars().next().ok_or(self.error(BadIntrinsics::Json))?;
            let c = match c {
                '"' => {
                    self.at += 1;
                    return Ok(fits.then_some(string));
                }
                '\\' => self.escape()?,
                c if c < ' ' => return Err(self.error(BadIntrinsics::Json)),
                c => {
                    self.at += c.len_utf8();
                    c
                }
            };
            fits = fits && string.push(c).is_ok();
        }
    }

    fn escape(&mut self) -> Result<char> {
        let c = match self.bytes().get(1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.error(BadIntrinsics::Json)),
        };
        self.at += 2;
        Ok(c)
    }

    /// `\uXXXX`, or two of them for a character beyond the first 65,536.
    fn unicode(&mut self) -> Result<char> {
        let wrong = self.error(BadIntrinsics::Json);
        let first = self.code_unit().ok_or(wrong)?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first).ok_or(wrong);
        }
        let second = self.code_unit().filter(|unit| (0xDC00..0xE000).contains(unit)).ok_or(wrong)?;
        char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or(wrong)
    }

    fn code_unit(&mut self) -> Option<u32> {
        let digits = self.bytes().strip_prefix(b"\\u")?.get(..4)?;
        let unit = digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))?;
        self.at += 6;
        Some(unit)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool> {
        self.peek();
        for (word, value) in [("true", true), ("false", false)] {
            if self.bytes().starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error(BadIntrinsics::Type))
    }

    /// A number that is not negative, in thousandths; further digits are dropped.
    pub fn thousandths(&mut self) -> Result<u32> {
        self.peek();
        let wrong = self.error(BadIntrinsics::Type);
        let text = self.bare();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(wrong);
        }
        let whole: u32 = whole.parse().map_err(|_| wrong)?;
        let mut value = whole.checked_mul(1000).ok_or(wrong)?;
        for (digit, worth) in fraction.bytes().zip([100, 10, 1]) {
            value = value.checked_add(u32::from(digit - b'0') * worth).ok_or(wrong)?;
        }
        Ok(value)
    }

    /// Takes what stands between two marks: a number or a word.
    fn bare(&mut self) -> &'a str {
        let length = self.bytes().iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
        let text = &self.text[self.at..self.at + length];
        self.at += length;
        text
    }

    /// Skips one value of any kind.
    pub fn skip(&mut self) -> Result<()> {
        let mut closers: heapless::Vec<u8, DEPTH_MAX> = heapless::Vec::new();
        loop {
            match self.peek() {
                Some(b'"') => drop(self.string::<0>()?),
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    let close = if open == b'{' { b'}' } else { b']' };
                    if self.peek() == Some(close) {
                        self.at += 1;
                    } else {
                        closers.push(close).map_err(|_| self.error(BadIntrinsics::TooDeep))?;
                        self.key(close)?;
                        continue;
                    }
                }
                _ if self.bare().is_empty() => return Err(self.error(BadIntrinsics::Json)),
                _ => {}
            }
            // A value ended: so do the objects and lists that it was the last of.
            loop {
                let Some(&close) = closers.last() else { return Ok(()) };
                if self.peek() == Some(b',') {
                    self.at += 1;
                    self.key(close)?;
                    break;
                }
                self.take(close)?;
                closers.pop();
            }
        }
    }

    /// Inside an object a key comes before the value.
    fn key(&mut self, close: u8) -> Result<()> {
        if close == b'}' {
            self.peek();
            self.string::<0>()?;
            self.take(b':')?;
        }
        Ok(())
    }
}

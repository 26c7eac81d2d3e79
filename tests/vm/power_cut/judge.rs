//! What the machine promised before the power went, held against what it finds afterwards.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is known about one recording.
#[derive(Clone, Debug, Default)]
struct Claim {
    /// Frames that must be there.
    durable: u64,
    /// Frames that were appended, as far as was told.
    appended: u64,
    /// How many frames there were at which millisecond.
    history: Vec<(u64, u64)>,
    /// The recording was closed: it must be as it was then.
    closed: bool,
}

/// Sums over all boots.
#[derive(Clone, Debug, Default)]
pub struct Account {
    claims: BTreeMap<String, Claim>,
    /// Recordings of which this boot told something.
    found: Vec<String>,
    /// What was promised and not held, or is wrong.
    pub broken: Vec<String>,
    /// What else went wrong: then nothing was shown.
    pub trouble: Vec<String>,
    /// Claims that were held against what was found.
    pub claims_checked: u64,
    /// Frames that were read and compared, in all boots.
    pub frames_read: u64,
    /// Most frames that one cut cost: appended, never claimed, gone.
    pub lost_most: u64,
    /// All of those.
    pub lost: u64,
    /// How long before the cut the oldest of them was appended, at most.
    pub lost_ms: u64,
    /// Recordings that were being created when the power went.
    pub unborn: u64,
    /// Frames whose record was damaged behind the claimed ones.
    pub damaged: u64,
}

impl Account {
    /// A fresh disk: nothing on it was promised.
    pub fn forget_claims(&mut self) {
        self.claims.clear();
    }

    /// Takes one line; `context` says which boot.
    pub fn line(&mut self, line: &str, context: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
        let name = words.get(1).copied().unwrap_or_default().to_owned();
        match (words.first().copied().unwrap_or_default(), number(2)) {
            // The serial line ends in the middle of a word when the power goes: only whole lines come here.
            ("claim", Some(durable)) => {
                let claim = self.claims.entry(name).or_default();
                claim.durable = claim.durable.max(durable);
                claim.appended = claim.appended.max(number(3).unwrap_or(0));
                claim.history.push((claim.appended, number(4).unwrap_or(0)));
            }
            ("closed", Some(frames)) => {
                self.claims
                    .insert(name, Claim { durable: frames, appended: frames, history: Vec::new(), closed: true });
            }
            ("removed", _) => _ = self.claims.remove(&name),
            ("found", Some(frames)) => {
                let told = (number(3), number(4), number(5));
                let (Some(prefix), Some(readable), Some(finalized)) = told else {
                    return self.trouble.push(format!("{context}: cannot understand {line}"));
                };
                self.found(name, context, frames, prefix, readable, finalized == 1);
            }
            ("unopened", _) => {
                self.found.push(name.clone());
                match self.claims.contains_key(&name) {
                    true => self.fail(context, line),
                    false => self.unborn += 1,
                }
            }
            ("damaged", _) => {}
            ("checked", _) => {
                let gone: Vec<_> = self.claims.keys().filter(|name| !self.found.contains(name)).cloned().collect();
                for name in gone {
                    self.fail(context, &format!("{name} was promised and is gone"));
                    self.claims.remove(&name);
                }
            }
            ("guest", Some(0)) => {}
            ("wrong", _) => self.fail(context, line),
            ("refused" | "unmountable" | "guest", _) => self.trouble.push(format!("{context}: {line}")),
            _ if line.contains("panicked") => self.trouble.push(format!("{context}: {line}")),
            _ => {}
        }
    }

    fn found(&mut self, name: String, context: &str, frames: u64, prefix: u64, readable: u64, finalized: bool) {
        self.found.push(name.clone());
        self.frames_read += readable;
        self.damaged += frames - readable.min(frames);
        let claim = self.claims.remove(&name).unwrap_or_default();
        self.claims_checked += 1;
        let mut text = String::new();
        if prefix < claim.durable {
            let _ = write!(text, "{name}: {} frames were claimed durable, {prefix} can be read", claim.durable);
        } else if claim.closed && (!finalized || frames != claim.durable) {
            let _ = write!(
                text,
                "{name} was closed with {} frames; {frames} are there, closed: {finalized}",
                claim.durable
            );
        }
        if !text.is_empty() {
            self.fail(context, &text);
        }
        let lost = claim.appended.saturating_sub(readable);
        self.lost += lost;
        self.lost_most = self.lost_most.max(lost);
        let until = claim.history.last().map_or(0, |(_, ms)| *ms);
        let first_lost = claim.history.iter().find(|(appended, _)| *appended > readable).map_or(until, |(_, ms)| *ms);
        self.lost_ms = self.lost_ms.max(until - first_lost);
        // What was read from the medium once stays there.
        let known = Claim { durable: prefix, appended: readable, history: Vec::new(), closed: finalized };
        self.claims.insert(name, known);
    }

    /// The next boot.
    pub fn begin_boot(&mut self) {
        self.found.clear();
    }

    fn fail(&mut self, context: &str, text: &str) {
        self.broken.push(format!("{context}: {text}"));
    }
}

/// That the judge condemns what must be condemned, and nothing else.
pub fn check_the_judge_itself() {
    let failures = |lines: &[&str]| {
        let mut account = Account::default();
        for line in lines {
            match *line {
                "boot" => account.begin_boot(),
                line => account.line(line, ""),
            }
        }
        assert!(account.trouble.is_empty());
        account.broken.len()
    };
    assert_eq!(failures(&["claim a 5 9 1", "boot", "found a 7 5 6 0", "checked 1"]), 0);
    assert_eq!(failures(&["claim a 5 9 1", "boot", "found a 7 4 6 0", "checked 1"]), 1);
    assert_eq!(failures(&["claim a 5 9 1", "boot", "checked 0"]), 1);
    assert_eq!(failures(&["claim a 5 9 1", "removed a", "boot", "checked 0"]), 0);
    assert_eq!(failures(&["closed a 5", "boot", "found a 5 5 5 1", "checked 1"]), 0);
    assert_eq!(failures(&["closed a 5", "boot", "found a 5 5 5 0", "checked 1"]), 1);
    assert_eq!(failures(&["claim a 0 0 0", "boot", "unopened a because", "checked 1"]), 1);
    assert_eq!(failures(&["boot", "unopened a because", "checked 1"]), 0);
    assert_eq!(failures(&["boot", "found a 7 7 7 0", "checked 1", "boot", "found a 6 6 6 0", "checked 1"]), 1);
    assert_eq!(failures(&["wrong a 3"]), 1);
}

//! Reads the sources and holds true what the compiler cannot: which layer may use which, what each may depend on, where
//! `unsafe` may stand, and that nothing tracked is left undone or names one machine.
//!
//! The layers are those of the comments between the `mod` lines of `src/lib.rs`; the tables below name what differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The layers in the order of `src/lib.rs`. A module uses modules of its own layer and of those before it.
const LAYERS: [&str; 4] = ["vocabulary", "mechanisms", "edges", "assembly"];

/// Files whose layer is not that of their top module: the pure parts of a module that as a whole touches files.
const LAYER_OF_FILE: &[(&str, &str)] = &[];

/// What a file of the two lower layers may use besides `core`, `std` (mechanisms only), and `heapless`; and why.
const CRATES_OF_FILE: &[(&str, &[&str])] = &[
    // The model checker, in place of `core`'s atomics.
    ("src/snapshot.rs", &["loom"]),
    // A codec around libjpeg-turbo, not a parser: the markers are checked in jpeg_header.
    ("src/jpeg.rs", &["turbojpeg", "thiserror"]),
    // Control lines are JSON; their date-times are local.
    ("src/replay/protocol.rs", &["serde_json", "jiff"]),
    // The circle is made of its queues.
    ("src/ring.rs", &["rtrb"]),
    // Commands reach the operator through one of its queues.
    ("src/replay/control.rs", &["rtrb"]),
];

/// Uses that point up: files that begin with the path may use the module, and why that is right.
const USES_UP: &[(&str, &str, &str)] = &[
    ("src/replay/window.rs", "recording", "the window keeps results in the recording's columns: bytes only, no file"),
    ("src/replay", "playback", "window and file are paced by the same arithmetic, which is pure"),
    (
        "src/recording",
        "timeline",
        "a recording is a timeline; the trait's errors are the crate's, which collect all others",
    ),
];

/// Most code lines (no tests, comments, blank lines) of one file.
const CODE_LINES_MAX: usize = 600;

/// Files above that, each with its own limit and reason.
const LONGER_FILES: &[(&str, usize, &str)] = &[];

#[test]
fn uses_point_from_higher_layers_to_lower_ones() {
    let layers = layers();
    let mut wrong = String::new();
    for file in sources("src") {
        let Some(own) = layer_of(&layers, &file.path) else { continue };
        for target in file.modules_used() {
            let Some(&other) = layers.get(target.as_str()) else { continue };
            let allowed = USES_UP.iter().any(|(path, module, _)| file.path.starts_with(path) && target == *module);
            if other > own && !allowed {
                let _ = writeln!(wrong, "{} ({}) uses crate::{target} ({})", file.path, LAYERS[own], LAYERS[other]);
            }
        }
    }
    assert!(wrong.is_empty(), "these uses point up:\n{wrong}");
}

#[test]
fn every_module_stands_below_the_name_of_its_layer() {
    let layers = layers();
    let lib = Source::read("src/lib.rs");
    let modules: Vec<&str> =
        lib.code().lines().filter_map(module_declared).map(|name| name.to_string().leak() as &str).collect();
    assert!(modules.len() > 10, "found only {modules:?} in src/lib.rs");
    for module in modules {
        assert!(layers.contains_key(module), "`mod {module};` stands below no layer comment in src/lib.rs");
    }
}

#[test]
fn vocabulary_and_parsers_depend_on_nothing_but_core_and_heapless() {
    let layers = layers();
    let mut wrong = String::new();
    for file in sources("src") {
        let Some(own) = layer_of(&layers, &file.path) else { continue };
        if own > 1 {
            continue;
        }
        let extra =
            CRATES_OF_FILE.iter().filter(|(prefix, _)| file.path.starts_with(prefix)).flat_map(|(_, crates)| *crates);
        let mut allowed = vec!["core", "heapless"];
        if own == 1 {
            allowed.push("std");
        }
        allowed.extend(extra);
        for name in file.crates_used() {
            if !allowed.contains(&name.as_str()) {
                let _ = writeln!(wrong, "{} ({}) uses {name}; allowed: {allowed:?}", file.path, LAYERS[own]);
            }
        }
    }
    assert!(wrong.is_empty(), "these depend on more than they may:\n{wrong}");
}

#[test]
fn unsafe_stands_only_below_sys_and_each_block_says_why_it_is_sound() {
    for file in sources("src") {
        let blocks = file.code().matches("unsafe {").count() + file.code().matches("unsafe impl").count();
        if !file.path.starts_with("src/sys") {
            assert_eq!(blocks, 0, "{} has unsafe code; it belongs below src/sys", file.path);
            assert!(!file.code().contains("allow(unsafe_code)"), "{} allows unsafe code", file.path);
        }
        let reasons = file.text.matches("SAFETY:").count();
        assert!(reasons >= blocks, "{}: {blocks} unsafe blocks, {reasons} SAFETY comments", file.path);
    }
}

#[test]
fn every_source_file_begins_by_saying_what_it_is() {
    for folder in ["src", "tests", "benches", "examples", "fuzz"] {
        for file in sources(folder) {
            let told = file.text.starts_with("//!") || file.text.starts_with("#![doc = include_str!(");
            assert!(told, "{} does not begin with a //! line", file.path);
        }
    }
}

#[test]
fn source_files_stay_short() {
    let mut wrong = String::new();
    for file in sources("src") {
        let lines = file.code().lines().filter(|line| !line.trim().is_empty()).count();
        let longer = LONGER_FILES.iter().find(|(path, ..)| *path == file.path);
        let limit = longer.map_or(CODE_LINES_MAX, |(_, limit, _)| *limit);
        if lines > limit {
            let _ = writeln!(wrong, "{}: {lines} code lines, the limit is {limit}", file.path);
        }
    }
    assert!(wrong.is_empty(), "split these:\n{wrong}");
}

#[test]
fn nothing_is_left_undone_and_no_test_is_switched_off() {
    let words = [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("FIX", "ME"), concat!("#[ig", "nore")];
    for file in ["src", "tests", "benches", "examples", "fuzz"].into_iter().flat_map(sources) {
        for word in words {
            assert!(!file.text.contains(word), "{} contains {word}", file.path);
        }
    }
}

#[test]
fn no_tracked_file_names_a_machine_or_a_registry() {
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("npmjs", ".org"),
        concat!("deb.debian", ".org"),
    ];
    for path in tracked_files() {
        if path.extension().is_some_and(|extension| extension == "lock") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for word in words {
            assert!(!text.contains(word), "{} contains {word}", path.display());
        }
    }
}

#[test]
fn the_tables_of_this_test_name_files_that_exist() {
    let paths = LAYER_OF_FILE.iter().map(|row| row.0).chain(CRATES_OF_FILE.iter().map(|row| row.0));
    for path in paths.chain(USES_UP.iter().map(|row| row.0)).chain(LONGER_FILES.iter().map(|row| row.0)) {
        assert!(root().join(path).exists(), "{path} is in a table of tests/tidy.rs, but does not exist");
    }
}

#[test]
fn the_reader_of_sources_sees_code_and_not_comments_strings_or_tests() {
    let text = "//! x\nuse crate::time; // use crate::no\nconst A: &str = \"crate::no\"; /* crate::no */\n\
                const Q: char = '\"';\nfn f<'a>() { rustix::io::x(); crate::frame::g() }\nuse crate::{slot, ring::Ring};\n\
                #[cfg(test)]\nmod tests {\n    use crate::no;\n}\n";
    let source = Source { path: "src/x.rs".into(), text: text.into() };
    assert_eq!(source.modules_used(), ["time", "frame", "slot", "ring"]);
    assert_eq!(source.crates_used(), ["rustix"]);
}

/// A Rust file of the repository.
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_string(), text }
    }

    /// The text before its unit tests, with comments and the insides of strings taken out, lines kept.
    fn code(&self) -> String {
        let tests = ["#[cfg(test)]\nmod ", "#[cfg(all(test, feature = \"std\"))]\nmod "];
        let end = tests.iter().filter_map(|start| self.text.find(start)).min().unwrap_or(self.text.len());
        without_comments_and_strings(&self.text[..end])
    }

    /// Top modules of this crate that the code names, as in `crate::frame` or `use crate::{frame, slot::Slot}`.
    fn modules_used(&self) -> Vec<String> {
        let code = self.code();
        let mut modules = Vec::new();
        for (at, _) in code.match_indices("crate::") {
            if code[..at].ends_with(is_word) {
                continue;
            }
            let rest = &code[at + "crate::".len()..];
            match rest.strip_prefix('{') {
                Some(group) => modules.extend(heads_of_group(group)),
                None => modules.push(word_at(rest)),
            }
        }
        modules.retain(|module| !module.is_empty());
        modules
    }

    /// Other crates (and `std`, `alloc`) that the code names in paths.
    fn crates_used(&self) -> Vec<String> {
        let code = self.code();
        let known: Vec<String> = dependencies();
        let mut crates: Vec<String> = Vec::new();
        for (at, _) in code.match_indices("::") {
            let start = code[..at].rfind(|c| !is_word(c)).map_or(0, |before| before + 1);
            let name = &code[start..at];
            let inner = code[..start].ends_with("::") || code[..start].ends_with('.');
            if !inner && known.iter().any(|other| other == name) && !crates.iter().any(|other| other == name) {
                crates.push(name.to_string());
            }
        }
        crates
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word_at(text: &str) -> String {
    text.chars().take_while(|&c| is_word(c)).collect()
}

/// The first word of each entry of a use group whose opening brace is already passed.
fn heads_of_group(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut at_head) = (0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            c if is_word(c) && at_head => {
                heads.push(word_at(&group[at..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

/// Blanks out what is not code; good enough for sources that rustfmt formatted (no nested comments, no `r##` strings).
fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_length(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'/'") {
            3
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.extend(rest[..skipped].chars().filter(|&c| c == '\n'));
        rest = &rest[skipped..];
    }
    code
}

/// Bytes of the string literal at the start of `text`, both quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Top module to index in [`LAYERS`], from the comments between the `mod` lines of `src/lib.rs`.
fn layers() -> BTreeMap<String, usize> {
    let mut layers = BTreeMap::new();
    let mut current = None;
    for line in Source::read("src/lib.rs").text.lines() {
        if let Some(comment) = line.strip_prefix("// -- ") {
            let name = word_at(comment);
            let layer = LAYERS.iter().position(|layer| *layer == name);
            current = Some(layer.unwrap_or_else(|| panic!("src/lib.rs names a layer '{name}'; known: {LAYERS:?}")));
        }
        if let (Some(module), Some(layer)) = (module_declared(line), current) {
            layers.insert(module.to_string(), layer);
        }
    }
    layers
}

/// `name` of a line `mod name;`, `pub mod name;` or `pub(crate) mod name;`.
fn module_declared(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
    line.strip_prefix("mod ")?.strip_suffix(';')
}

/// The layer of a file below `src`; none for `lib.rs` and the command, which may use everything.
fn layer_of(layers: &BTreeMap<String, usize>, path: &str) -> Option<usize> {
    let own =
        LAYER_OF_FILE.iter().filter(|(prefix, _)| path.starts_with(prefix)).max_by_key(|(prefix, _)| prefix.len());
    if let Some((_, layer)) = own {
        return LAYERS.iter().position(|name| name == layer);
    }
    let module = word_at(path.strip_prefix("src/")?);
    layers.get(&module).copied()
}

/// Names by which the code can name other crates.
fn dependencies() -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let mut names = vec!["std".to_string(), "alloc".to_string(), "core".to_string()];
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies]");
        } else if inside && line.contains('=') {
            names.push(word_at(&line.replace('-', "_")));
        }
    }
    names
}

/// Every `.rs` file below a folder of the root, sorted; nothing when the folder is not there.
fn sources(folder: &str) -> Vec<Source> {
    let mut paths: Vec<PathBuf> = tracked_files();
    paths.retain(|path| path.starts_with(folder) && path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    paths.iter().map(|path| Source::read(&path.to_string_lossy())).collect()
}

/// Paths relative to the root: what git tracks or would track, or all files where there is no git.
fn tracked_files() -> Vec<PathBuf> {
    let git = Command::new("git").args(["ls-files", "-co", "--exclude-standard", "-z"]).current_dir(root()).output();
    if let Some(output) = git.ok().filter(|output| output.status.success()) {
        let text = String::from_utf8(output.stdout).expect("tracked paths are UTF-8");
        let paths = text.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from);
        return paths.filter(|path| root().join(path).exists()).collect();
    }
    let mut found = Vec::new();
    walk(root(), &mut found);
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                walk(&path, found);
            }
        } else {
            found.push(path.strip_prefix(root()).expect("below the root").to_path_buf());
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

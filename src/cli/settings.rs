//! Where settings come from: `/etc/kinora.toml`, the user's `kinora.toml`, the file of `--config`, `KINORA_*`, flags; the later
//! wins.
//!
//! A setting has the name of its flag everywhere: `--split-size 1GiB`, `KINORA_SPLIT_SIZE=1GiB`, `split-size = "1GiB"`.
//! Each value remembers its origin, for `--print-config` and for messages about it. A key that no command knows is an
//! error, so that a misspelt setting is never silently without effect.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use toml::Spanned;

/// All settings that may come from elsewhere than a flag.
const KEYS: [&str; 57] = [
    "source",
    "size",
    "fps",
    "faults",
    "network",
    "picture",
    "post-process",
    "threshold",
    "top",
    "inference-window",
    "hflip",
    "vflip",
    "exposure",
    "gain",
    "awb",
    "labels",
    "raw-metadata",
    "out",
    "frames",
    "duration",
    "sync",
    "split-size",
    "split-time",
    "keep-size",
    "min-free",
    "clock",
    "format",
    "quality",
    "encoders",
    "ring",
    "rt",
    "cpus",
    "lock-memory",
    "start-timeout",
    "speed",
    "late",
    "print",
    "spin",
    "iou",
    "max-frames",
    "frame-bytes",
    "clip-history",
    "window",
    "autostart",
    "resume",
    "default-output",
    "pacing",
    "pre",
    "post",
    "trigger",
    "clips",
    "clip-rate",
    "on-clip",
    "lock",
    "control",
    "name",
    "card-tbw",
];

/// Those that have several values, kept one a line; an array in a file.
const LISTS: [&str; 1] = ["trigger"];

/// How variables begin that are no settings: the project's own tests and scripts, and places.
const NOT_SETTINGS: [&str; 12] = [
    "KINORA_BENCH_",
    "KINORA_LONG",
    "KINORA_LYING_",
    "KINORA_MALLOC_",
    // Where network packages are looked for.
    "KINORA_NETWORKS",
    "KINORA_REQUIRE_",
    "KINORA_SHARED",
    "KINORA_SIMULATION_",
    "KINORA_TEST_",
    "KINORA_VENV",
    "KINORA_VM",
    "KINORA_WRITE_GOLDEN",
];

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// The file, and the line that the key stands on.
    File(PathBuf, usize),
    Environment(String),
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File(path, _) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "{name}"),
            Self::Flag => write!(f, "flag"),
        }
    }
}

/// A value and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub text: String,
    pub origin: Origin,
}

/// The settings of one command.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, Setting>,
}

/// What the environment and the files say, whatever the command.
#[derive(Debug, Default)]
pub struct Layers {
    values: BTreeMap<&'static str, Setting>,
}

impl Layers {
    /// Reads the two files, the one that was named, and the environment of this process.
    ///
    /// # Errors
    /// A file that cannot be read or is no TOML, or a key or variable that is no setting; a named file that is not there.
    pub fn of_this_machine(named: Option<&Path>) -> Result<Self, String> {
        let mut layers = Self::default();
        let files = [Some(PathBuf::from("/etc/kinora.toml")), user_file(), named.map(Path::to_path_buf)];
        for path in files.into_iter().flatten() {
            match std::fs::read_to_string(&path) {
                Ok(text) => layers.add_file(&path, &text)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && Some(&*path) != named => {}
                Err(error) => return Err(format!("{}: {error}; make it readable or remove it", path.display())),
            }
        }
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("KINORA_"))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        layers.add_environment(variables)?;
        Ok(layers)
    }

    fn add_file(&mut self, path: &Path, text: &str) -> Result<(), String> {
        let table: BTreeMap<Spanned<String>, toml::Value> =
            toml::from_str(text).map_err(|error| format!("{}: {error}", path.display()))?;
        for (key, value) in table {
            let line = 1 + text[..key.span().start].matches('\n').count();
            let (place, key) = (format!("{}:{line}", path.display()), key.into_inner());
            let known = known(&key)
                .ok_or_else(|| format!("{place}: no setting is called `{key}`; there are: {}", KEYS.join(", ")))?;
            let text = match value {
                toml::Value::Array(values) if LISTS.contains(&known) => {
                    lines(values).ok_or_else(|| format!("{place}: `{key}` is an array of one-line texts"))?
                }
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Boolean(truth) => truth.to_string(),
                other => {
                    let kind = other.type_str();
                    return Err(format!("{place}: `{key}` is of type {kind}; write it as on the command line"));
                }
            };
            self.values.insert(known, Setting { text, origin: Origin::File(path.to_owned(), line) });
        }
        Ok(())
    }

    fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) -> Result<(), String> {
        for (name, text) in variables {
            if NOT_SETTINGS.iter().any(|&start| name.starts_with(start)) {
                continue;
            }
            let key = name.trim_start_matches("KINORA_").to_ascii_lowercase().replace('_', "-");
            let known = known(&key).ok_or_else(|| format!("{name}: no setting is called `{key}`; unset it"))?;
            self.values.insert(known, Setting { text, origin: Origin::Environment(name) });
        }
        Ok(())
    }
}

impl Settings {
    /// The settings that `command` has, each from the strongest layer that knows it.
    pub fn gather(command: &Command, matches: &ArgMatches, layers: &Layers) -> Self {
        let mut values = BTreeMap::new();
        for arg in command.get_arguments() {
            let Some(key) = arg.get_long().and_then(known) else { continue };
            let id = arg.get_id().as_str();
            // `-o OUT` of other commands is called --out too, but names one file for one call; and where `record` records to,
            // `replay` does not record everything besides unless it is told to.
            if id == "out_file" || id == "everything" {
                continue;
            }
            let given = matches.value_source(id) == Some(ValueSource::CommandLine);
            let texts = matches.get_raw(id).into_iter().flatten();
            let mut texts: Vec<_> = texts.map(|text| text.to_string_lossy()).collect();
            if !LISTS.contains(&key) {
                texts.drain(..texts.len().saturating_sub(1));
            }
            let from_clap = (!texts.is_empty()).then(|| texts.join("\n"));
            let setting = match (given, layers.values.get(key), from_clap) {
                (true, _, Some(text)) => Setting { text, origin: Origin::Flag },
                (true, _, None) => Setting { text: "true".into(), origin: Origin::Flag },
                (false, Some(setting), _) => setting.clone(),
                (false, None, Some(text)) => Setting { text, origin: Origin::Default },
                (false, None, None) => continue,
            };
            values.insert(key, setting);
        }
        Self { values }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Setting)> {
        self.values.iter().map(|(&key, setting)| (key, setting))
    }

    /// The value of `key`, read by `parse`; `None` when nobody set it.
    ///
    /// # Errors
    /// The value is none; the message names the place where it stands.
    pub fn get<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        debug_assert!(known(key).is_some(), "a setting that is gathered from nowhere: {key}");
        let Some(Setting { text, .. }) = self.values.get(key) else { return Ok(None) };
        parse(text).map(Some).map_err(|refusal| self.refused(key, refusal))
    }

    /// What is wrong with the value of `key`, after the place where it stands.
    pub fn refused(&self, key: &str, refusal: impl fmt::Display) -> String {
        match self.values.get(key).map(|setting| &setting.origin) {
            Some(Origin::Environment(name)) => format!("{name}: {refusal}"),
            Some(Origin::File(path, line)) => format!("{}:{line}: {key}: {refusal}", path.display()),
            None | Some(Origin::Default | Origin::Flag) => format!("--{key}: {refusal}"),
        }
    }

    /// The value of a key that has a default.
    ///
    /// # Errors
    /// As [`Settings::get`].
    pub fn need<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
        self.get(key, parse)?.ok_or_else(|| format!("--{key} is needed"))
    }

    /// The values of a key that may have several; none when nobody set it.
    pub fn list(&self, key: &str) -> Vec<String> {
        let text = self.values.get(key).map_or("", |setting| &setting.text);
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// True when a flag set it.
    pub fn is_flag(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|setting| setting.origin == Origin::Flag)
    }

    /// Whether a switch is on.
    ///
    /// # Errors
    /// A value that is neither true nor false.
    pub fn is_on(&self, key: &str) -> Result<bool, String> {
        let on = self.get(key, |text| match text {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" | "" => Ok(false),
            _ => Err(format!("`{text}` is neither true nor false")),
        })?;
        Ok(on.unwrap_or(false))
    }
}

/// `$XDG_CONFIG_HOME/kinora.toml`, or `~/.config/kinora.toml`.
fn user_file() -> Option<PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = named("XDG_CONFIG_HOME").or_else(|| named("HOME").map(|home| home.join(".config")))?;
    Some(directory.join("kinora.toml"))
}

/// The texts of an array, one a line.
fn lines(values: Vec<toml::Value>) -> Option<String> {
    let text = |value: toml::Value| value.as_str().filter(|text| !text.contains('\n')).map(str::to_owned);
    values.into_iter().map(text).collect::<Option<Vec<_>>>().map(|texts| texts.join("\n"))
}

/// How a file writes the value of a key.
pub fn as_toml(key: &str, text: &str) -> toml::Value {
    match LISTS.contains(&key) {
        true => text.lines().map(str::to_owned).collect::<Vec<_>>().into(),
        false => toml::Value::String(text.to_owned()),
    }
}

fn known(key: &str) -> Option<&'static str> {
    KEYS.into_iter().find(|&k| k == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::CommandFactory;

    fn record(arguments: &[&str], layers: &Layers) -> Settings {
        let mut cli = Cli::command();
        cli.build();
        let matches = cli.clone().get_matches_from(["kinora", "record"].iter().chain(arguments));
        let (_, matches) = matches.subcommand().unwrap();
        Settings::gather(cli.find_subcommand("record").unwrap(), matches, layers)
    }

    fn origin_of(settings: &Settings, key: &str) -> (String, Origin) {
        let (_, setting) = settings.iter().find(|(k, _)| *k == key).unwrap();
        (setting.text.clone(), setting.origin.clone())
    }

    #[test]
    fn the_later_layer_wins_and_each_value_knows_its_origin() {
        let mut layers = Layers::default();
        layers
            .add_file(Path::new("system"), "quality = 50\nsize = \"320x240\"\nlock-memory = true\nfps = 12.5")
            .unwrap();
        layers.add_file(Path::new("user"), "quality = 60\nformat = 'raw'").unwrap();
        layers.add_environment([("KINORA_FORMAT".into(), "jpeg".into())].into_iter()).unwrap();
        let settings = record(&["--quality", "70"], &layers);
        assert_eq!(origin_of(&settings, "quality"), ("70".into(), Origin::Flag));
        assert_eq!(origin_of(&settings, "format"), ("jpeg".into(), Origin::Environment("KINORA_FORMAT".into())));
        assert_eq!(origin_of(&settings, "size"), ("320x240".into(), Origin::File("system".into(), 2)));
        assert_eq!(origin_of(&settings, "ring"), ("4".into(), Origin::Default));
        assert_eq!(settings.is_on("lock-memory"), Ok(true));
        let settings = record(&[], &layers);
        assert_eq!(origin_of(&settings, "quality"), ("60".into(), Origin::File("user".into(), 1)));
    }

    #[test]
    fn a_switch_on_the_command_line_is_on() {
        assert_eq!(record(&["--lock-memory"], &Layers::default()).is_on("lock-memory"), Ok(true));
        assert_eq!(record(&[], &Layers::default()).is_on("lock-memory"), Ok(false));
    }

    #[test]
    fn a_key_with_several_values_is_an_array_in_files_and_repeated_flags_in_a_call() {
        let mut layers = Layers::default();
        layers.add_file(Path::new("x"), "trigger = ['person>0.6', 'dog in 0,0,1,1']\nclips = 'clips'").unwrap();
        let mut cli = Cli::command();
        cli.build();
        let replay = |arguments: &[&str]| {
            let matches = cli.clone().get_matches_from(["kinora", "replay"].iter().chain(arguments));
            Settings::gather(cli.find_subcommand("replay").unwrap(), matches.subcommand().unwrap().1, &layers)
        };
        assert_eq!(replay(&[]).list("trigger"), ["person>0.6", "dog in 0,0,1,1"]);
        assert_eq!(replay(&["--trigger", "a", "--trigger", "b"]).list("trigger"), ["a", "b"]);
        assert_eq!(as_toml("trigger", "a\nb").to_string(), r#"["a", "b"]"#);
        assert!(replay(&["--clips", "x"]).is_flag("clips") && !replay(&[]).is_flag("clips"));
        assert!(Layers::default().add_file(Path::new("x"), "trigger = [1]").is_err());
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_file() {
        let error = Layers::default().add_file(Path::new("user.toml"), "ring = 2\nqualty = 3").unwrap_err();
        assert!(error.contains("user.toml:2:") && error.contains("`qualty`") && error.contains("quality"), "{error}");
        assert!(Layers::default().add_environment([("KINORA_QUALTY".into(), "3".into())].into_iter()).is_err());
        assert!(Layers::default().add_file(Path::new("x"), "quality = [1]").is_err());
        assert!(Layers::default().add_file(Path::new("x"), "quality = ").is_err());
    }

    #[test]
    fn variables_of_the_projects_own_scripts_do_not_disturb_the_command() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files =
            ["scripts", "benches"].iter().filter_map(|folder| std::fs::read_dir(root.join(folder)).ok()).flatten();
        let mut found = 0;
        for text in files.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok()) {
            for rest in text.split("KINORA_").skip(1) {
                let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c == '_')).unwrap_or(rest.len());
                let name = format!("KINORA_{}", &rest[..end]);
                let layers = Layers::default().add_environment([(name.clone(), "1".to_owned())].into_iter());
                assert_eq!(layers, Ok(()), "{name}");
                found += 1;
            }
        }
        assert!(found > 0, "the scripts name variables");
    }

    #[test]
    fn a_wrong_value_names_the_place_where_it_stands() {
        let mut layers = Layers::default();
        layers.add_file(Path::new("user.toml"), "# Mine.\nring = 2\nquality = 300").unwrap();
        let settings = record(&[], &layers);
        let error = settings.need("quality", |text| crate::cli::units::number(text, 1, 100)).unwrap_err();
        assert_eq!(error, "user.toml:3: quality: `300` is not a whole number from 1 to 100");
    }
}

//! What the user wants, checked: past this file no value is looked at twice.

use std::path::PathBuf;

use kinora::Span;
use kinora::imx500::{InferenceWindow, Layout};
use kinora::playback::{Place as Position, Rate};
use kinora::replay::operator::ReplayLimits;
use kinora::replay::settings::{DefaultOutput, ReplayPacing, ReplaySettings};
use kinora::replay::text;
use kinora::source::faults::FaultOptions;
use kinora::source::{CameraOptions, PictureSource, RawMetadata, SourceError, WhiteBalance};

use super::args::{self, Sub};
use super::ctl::Ctl;
use super::decode::{self, Decode};
use super::doctor::Doctor;
use super::memory::Beside;
use super::replay::{Replay, ReplayOutput};

use super::redetect::Redetect;
use super::settings::Settings;
use super::units;

/// One command with everything that it needs.
#[derive(Debug)]
pub enum Command {
    Record(Record),
    Play(Play),
    Replay(Box<Replay>),
    Ctl(Ctl),
    Info(Vec<PathBuf>),
    Cat { file: PathBuf, range: Range, all: bool },
    Verify(PathBuf),
    Repair { file: PathBuf, out: PathBuf },
    Export { file: PathBuf, out: Place },
    Import { file: Place, out: PathBuf, min_free: u64 },
    Cut { file: PathBuf, range: Range, out: PathBuf },
    Diff { before: PathBuf, after: PathBuf, iou: f32 },
    Tail { file: PathBuf, from_start: bool },
    Memory { source: SourceChoice, engine: EngineChoice, beside: Beside },
    Network(Option<String>),
    Decode(Decode),
    Doctor(Box<Doctor>),
    Redetect(Box<Redetect>),
    Devices,
    Completions(clap_complete::Shell),
    Man(PathBuf),
}

/// A source as named, and what to ask of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceChoice {
    pub named: kinora::SourceChoice,
    /// `None`: the source's default.
    pub size: Option<(u32, u32)>,
    /// `None`: the source's default.
    pub fps: Option<(u32, u32)>,
    pub camera: CameraOptions,
    pub faults: Option<FaultOptions>,
}

/// How frames travel.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineChoice {
    /// Keep pixels instead of compressing.
    pub raw: bool,
    pub quality: u8,
    /// `None`: by the number of processors.
    pub encoders: Option<usize>,
    pub ring: usize,
    pub rt_priority: Option<u8>,
    /// Processors by number; empty is all.
    pub cpus: Vec<usize>,
    pub lock_memory: bool,
    /// Longest time to a camera's first frame.
    pub start_timeout: Span,
}

/// A file, or the process's own input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Standard,
    File(PathBuf),
}

/// When written frames must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncChoice {
    Every(Span),
    EveryFrame,
    Never,
}

#[derive(Debug)]
pub struct Record {
    pub source: SourceChoice,
    pub engine: EngineChoice,
    pub out: Target,
    pub frames: Option<u64>,
    pub duration: Option<Span>,
    pub sync: SyncChoice,
    pub split_size: Option<u64>,
    pub split_time: Option<Span>,
    pub keep_size: Option<u64>,
    pub min_free: u64,
    pub manual_clock: bool,
}

/// Where a recording goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A dated name in this directory.
    Directory(PathBuf),
    /// Exactly this recording.
    Recording(PathBuf),
    /// modlib's lines.
    Modlib(Place),
}

#[derive(Debug)]
pub struct Play {
    pub file: Option<PathBuf>,
    pub speed: Rate,
    pub range: Range,
    pub looped: bool,
    pub start_paused: bool,
    pub skip_late: bool,
    pub manual_clock: bool,
    /// `None`: by where the output goes.
    pub print: Option<Print>,
    pub output: Option<StreamPlace>,
    pub rt_priority: Option<u8>,
    pub spin: Span,
}

/// What is printed for each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Print {
    None,
    Text,
    Json,
    Modlib,
}

/// Where a JPEG stream goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamPlace {
    Path(PathBuf),
    Descriptor(u32),
}

/// A part of a recording: from a position to another, both included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub from: Option<Position>,
    pub to: Option<Position>,
}

impl Command {
    /// Checks what was parsed. `json`: results are wanted as JSON.
    ///
    /// # Errors
    /// The first value that is wrong, where it stands, and what would be right.
    pub fn check(sub: Sub, settings: &Settings, json: bool) -> Result<Self, String> {
        Ok(match sub {
            Sub::Record(_) => Self::Record(record(settings)?),
            Sub::Play(args) => Self::Play(play(args, settings, json)?),
            Sub::Replay(args) => Self::Replay(Box::new(replay(*args, settings)?)),
            Sub::Ctl(args) => Self::Ctl(Ctl::check(args)?),
            Sub::Info(args) => Self::Info(args.files),
            Sub::Cat(args) => Self::Cat { file: args.file.file, range: range(&args.range)?, all: args.all },
            Sub::Verify(args) => Self::Verify(args.file),
            Sub::Repair(args) => Self::Repair { file: args.file.file, out: new_recording(args.out)? },
            Sub::Export(args) => Self::Export { file: args.file.file, out: place(args.out_file) },
            Sub::Import(args) => Self::Import {
                file: place(args.file),
                out: new_recording(args.out)?,
                min_free: settings.need("min-free", units::bytes)?,
            },
            Sub::Cut(args) => {
                let range = range(&args.range)?;
                if range == Range::default() {
                    return Err("cut needs --from, --to or both; to copy a whole recording use cp".into());
                }
                Self::Cut { file: args.file.file, range, out: new_recording(args.out)? }
            }
            Sub::Diff(args) => {
                Self::Diff { before: args.before, after: args.after, iou: settings.need("iou", units::fraction)? }
            }
            Sub::Tail(args) => Self::Tail { file: args.file.file, from_start: args.from_start },
            Sub::Memory(args) => Self::Memory {
                source: source(settings)?,
                engine: engine(settings)?,
                beside: beside(&args.beside, settings)?,
            },
            Sub::Network(args) => Self::Network(args.network),
            Sub::Decode(args) => Self::Decode(decode(args)?),
            Sub::Doctor(args) => Self::Doctor(Box::new(doctor(&args, settings)?)),
            Sub::Redetect(args) => Self::Redetect(Box::new(redetect(args)?)),
            Sub::Devices => Self::Devices,
            Sub::Completions(args) => Self::Completions(args.shell),
            Sub::Man(args) => Self::Man(args.directory),
        })
    }
}

fn source(settings: &Settings) -> Result<SourceChoice, String> {
    Ok(SourceChoice {
        named: settings.need("source", |text| text.parse().map_err(|error: SourceError| error.to_string()))?,
        size: settings.get("size", units::size)?,
        fps: settings.get("fps", units::frame_rate)?,
        camera: camera(settings)?,
        faults: settings.get("faults", |text| text.parse().map_err(|error: SourceError| error.to_string()))?,
    })
}

/// What only an IMX500 understands.
fn camera(settings: &Settings) -> Result<CameraOptions, String> {
    let text = |text: &str| Ok(text.to_owned());
    let pictures =
        [("bayer", PictureSource::Bayer), ("input-tensor", PictureSource::InputTensor), ("none", PictureSource::None)];
    Ok(CameraOptions {
        network: settings.get("network", text)?,
        picture: settings.get("picture", |text| one_of(text, &pictures))?,
        post: settings.get("post-process", text)?,
        threshold: settings.get("threshold", units::fraction)?,
        top: settings.get("top", top)?,
        inference_window: settings.get("inference-window", inference_window)?,
        hflip: settings.is_on("hflip")?,
        vflip: settings.is_on("vflip")?,
        exposure: settings.get("exposure", |text| unless_auto(text, positive_span))?.flatten(),
        gain: settings.get("gain", |text| unless_auto(text, |text| positive(text, 22.26)))?.flatten(),
        white_balance: settings.get("awb", |text| unless_auto(text, white_balance))?.flatten(),
        labels: settings.get("labels", |text| Ok(PathBuf::from(text)))?,
        raw_metadata: settings.get("raw-metadata", |text| {
            one_of(text, &[("results", RawMetadata::Results), ("full", RawMetadata::Full)])
        })?,
    })
}

/// Most results of a frame.
fn top(text: &str) -> Result<usize, String> {
    units::number(text, 1, kinora::limits::ROWS_MAX as u64).map(|number| number as usize)
}

fn inference_window(text: &str) -> Result<[u32; 4], String> {
    let wrong = || {
        format!(
            "`{text}` is not a part of the sensor; write LEFT,TOP,WIDTH,HEIGHT in pixels of 4056x3040, or 0,0,0,0 for all"
        )
    };
    let mut numbers = text.split(',').map(|number| number.trim().parse::<u32>().map_err(|_| wrong()));
    let mut next = || numbers.next().unwrap_or_else(|| Err(wrong()));
    let [left, top, width, height] = [next()?, next()?, next()?, next()?];
    let fits = |from: u32, size: u32, whole: u32| size > 0 && from.checked_add(size).is_some_and(|end| end <= whole);
    let (whole_width, whole_height) = InferenceWindow::FULL_SIZE;
    let window = [left, top, width, height];
    // The sensor's own word for all of it.
    let is_all = window == [0; 4];
    if numbers.next().is_some() || !(is_all || fits(left, width, whole_width) && fits(top, height, whole_height)) {
        return Err(wrong());
    }
    Ok(window)
}

fn unless_auto<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == "auto" { Ok(None) } else { parse(text).map(Some).map_err(|refusal| format!("{refusal}, or auto")) }
}

fn positive(text: &str, most: f32) -> Result<f32, String> {
    let value = text.parse::<f32>().ok().filter(|x| (1.0..=most).contains(x));
    value.ok_or_else(|| format!("`{text}` is not a gain; write a number from 1 to {most}"))
}

fn white_balance(text: &str) -> Result<WhiteBalance, String> {
    let gain = |text: &str| text.trim().parse::<f32>().ok().filter(|x| (0.1..=16.0).contains(x));
    let gains = text.split_once(',').and_then(|(red, blue)| gain(red).zip(gain(blue)));
    let (red, blue) = gains.ok_or_else(|| format!("`{text}` is not RED,BLUE; write two gains from 0.1 to 16"))?;
    Ok(WhiteBalance { red, blue })
}

fn engine(settings: &Settings) -> Result<EngineChoice, String> {
    Ok(EngineChoice {
        raw: settings.need("format", |text| one_of(text, &[("jpeg", false), ("raw", true)]))?,
        quality: settings.need("quality", |text| units::number(text, 1, 100))? as u8,
        encoders: settings.get("encoders", |text| {
            units::number(text, 1, kinora::limits::ENCODERS_MAX as u64).map(|number| number as usize)
        })?,
        ring: settings.need("ring", |text| units::number(text, 1, 64))? as usize,
        rt_priority: settings.get("rt", priority)?,
        cpus: settings.get("cpus", processors)?.unwrap_or_default(),
        lock_memory: settings.is_on("lock-memory")?,
        start_timeout: settings.need("start-timeout", positive_span)?,
    })
}

fn record(settings: &Settings) -> Result<Record, String> {
    let record = Record {
        source: source(settings)?,
        engine: engine(settings)?,
        out: settings.need("out", |text| match text {
            "" => Err("an empty name; give a directory, a .kinora or a .json file, or -".into()),
            text => Ok(target(text)),
        })?,
        frames: settings.get("frames", |text| units::number(text, 1, u64::MAX / 2))?,
        duration: settings.get("duration", positive_span)?,
        sync: settings.need("sync", sync)?,
        split_size: settings.get("split-size", |text| at_least(text, 1 << 20))?,
        split_time: settings.get("split-time", positive_span)?,
        keep_size: settings.get("keep-size", |text| at_least(text, 1 << 20))?,
        min_free: settings.need("min-free", units::bytes)?,
        manual_clock: is_manual(settings)?,
    };
    let directory = matches!(record.out, Target::Directory(_));
    if record.keep_size.is_some() && !directory {
        return Err(
            settings.refused("keep-size", "deletes the oldest recordings of a directory; give --out a directory")
        );
    }
    if matches!(record.out, Target::Modlib(_)) && (record.split_size.is_some() || record.split_time.is_some()) {
        return Err("modlib's .json cannot be split; record .kinora, then export".into());
    }
    if matches!(record.out, Target::Modlib(_)) && record.engine.raw {
        return Err("modlib's .json holds JPEG; leave out --format raw".into());
    }
    Ok(record)
}

fn play(args: args::PlayArgs, settings: &Settings, json: bool) -> Result<Play, String> {
    let play = Play {
        file: args.file,
        speed: settings.need("speed", units::speed)?,
        range: range(&args.range)?,
        looped: args.looped,
        start_paused: args.start_paused,
        skip_late: settings.need("late", |text| one_of(text, &[("keep", false), ("skip", true)]))?,
        manual_clock: is_manual(settings)?,
        print: settings.get("print", |text| {
            let prints =
                [("none", Print::None), ("text", Print::Text), ("json", Print::Json), ("modlib", Print::Modlib)];
            one_of(text, &prints)
        })?,
        output: args.output.as_deref().map(stream_place).transpose()?,
        rt_priority: settings.get("rt", priority)?,
        spin: settings.need("spin", units::span)?,
    };
    let prints = json || !matches!(play.print, None | Some(Print::None));
    if prints && play.output == Some(StreamPlace::Descriptor(1)) {
        return Err(
            "--output fd:1: what is printed goes there, too; give another descriptor: --output fd:3 3>FILE".into()
        );
    }
    Ok(play)
}

fn beside(args: &args::BesideArgs, settings: &Settings) -> Result<Beside, String> {
    let frames = args.replay_frames.as_deref().map(|text| units::number(text, 1, MAX_FRAMES));
    Ok(Beside {
        replay_frames: frames
            .transpose()
            .map_err(|refusal| format!("--replay-frames: {refusal}"))?
            .map(|frames| frames as u32),
        clip_history: settings.get("clip-history", positive_span)?,
        frame_bytes: settings.get("frame-bytes", |text| at_least(text, 1 << 10))?.map(|bytes| bytes as usize),
    })
}

fn doctor(args: &args::DoctorArgs, settings: &Settings) -> Result<Doctor, String> {
    Ok(Doctor {
        source: source(settings)?,
        engine: engine(settings)?,
        beside: beside(&args.beside, settings)?,
        out: settings.need("out", |text| Ok(PathBuf::from(text)))?,
        keep_size: settings.get("keep-size", |text| at_least(text, 1 << 20))?,
        min_free: settings.need("min-free", units::bytes)?,
        // Makers rate cards in terabytes; a number alone is that.
        card_bytes: settings.get("card-tbw", |text| {
            let unitless = text.ends_with(|c: char| c.is_ascii_digit());
            at_least(&if unitless { format!("{text}TB") } else { text.to_owned() }, 1)
        })?,
        wake_time: wake_time(&args.wake_time).map_err(|refusal| format!("--wake-time: {refusal}"))?,
    })
}

/// Every wake-up is remembered until the end.
const WAKE_TIME_MAX: Span = Span::from_s(3_600);

fn wake_time(text: &str) -> Result<Span, String> {
    let time = positive_span(text)?;
    if time > WAKE_TIME_MAX { Err(format!("`{text}` is too long; write at most 1h")) } else { Ok(time) }
}

/// The page's range ends at 300; ours where memory does.
const MAX_FRAMES: u64 = 10_000_000;

fn replay(args: args::ReplayArgs, settings: &Settings) -> Result<Replay, String> {
    let max_frames = settings.get("max-frames", |text| units::number(text, 1, MAX_FRAMES))?.map(|frames| frames as u32);
    let engine = engine(settings)?;
    if engine.quality < 10 {
        return Err(settings.refused("quality", format!("`{}` must be 10 to 100 for a replay", engine.quality)));
    }
    let defaults = ReplaySettings::default();
    let replay_settings = ReplaySettings {
        autostart_recording: settings.is_on("autostart")?,
        start_recording_after_playback: settings.is_on("resume")?,
        jpeg_quality: engine.quality,
        default_output: settings.need("default-output", |text| {
            DefaultOutput::from_name(text).ok_or_else(|| format!("`{text}` is neither PassThrough nor None"))
        })?,
        max_frames_in_memory: max_frames.unwrap_or(defaults.max_frames_in_memory),
        playback_speed: settings.need("speed", |text| {
            text::parse_speed(text).ok_or_else(|| format!("`{text}` is no speed; write 1/2, 50%, 0 or -1"))
        })?,
        pacing: settings.need("pacing", |text| {
            ReplayPacing::from_name(text).ok_or_else(|| format!("`{text}` is neither Tick nor Recorded"))
        })?,
        ..defaults
    };
    let (rules, clips) = (settings.list("trigger"), settings.get("clips", |text| Ok(PathBuf::from(text)))?);
    let on_clip = settings.get("on-clip", |text| Ok(text.to_owned()))?;
    let lock = settings.is_on("lock")?;
    if rules.is_empty() && settings.is_flag("trigger") {
        return Err("--trigger \"\": a rule names a class at least, as in person>0.6".into());
    }
    if clips.is_none() {
        let of_clips = [
            ("trigger", !rules.is_empty()),
            ("on-clip", on_clip.is_some()),
            ("lock", lock),
            ("keep-size", settings.is_flag("keep-size")),
            ("clip-rate", settings.is_flag("clip-rate")),
            ("pre", settings.is_flag("pre")),
            ("post", settings.is_flag("post")),
            ("clip-history", settings.is_flag("clip-history")),
        ];
        if let Some((key, _)) = of_clips.into_iter().find(|&(_, given)| given) {
            return Err(format!("--{key} is about clips; give their directory, too: --clips DIR"));
        }
    }
    let (span_max, bytes_max) = settings.get("window", window)?.unwrap_or_default();
    for rule in &rules {
        kinora::trigger::Rule::parse(rule)
            .map_err(|error| settings.refused("trigger", format!("{rule:?}, {error}")))?;
    }
    let (pre, clip_history) = (settings.need("pre", units::span)?, settings.get("clip-history", positive_span)?);
    if clip_history.is_some_and(|history| history < pre) {
        return Err(
            settings.refused("clip-history", format!("a clip begins {pre} before its trigger; keep at least that"))
        );
    }
    let (source, control) = (source(settings)?, settings.get("control", |text| Ok(PathBuf::from(text)))?);
    if source.named == kinora::SourceChoice::StandardInput && control.is_none() {
        return Err(
            "--source -: standard input has the frames, so it has no room for control lines; give --control SOCKET"
                .into(),
        );
    }
    Ok(Replay {
        source,
        engine,
        settings: replay_settings,
        capacity: max_frames.unwrap_or(ReplayLimits::default().capacity),
        frame_bytes: settings.get("frame-bytes", |text| at_least(text, 1 << 10))?.map(|bytes| bytes as usize),
        span_max,
        bytes_max,
        rules,
        clip_history,
        pre,
        post: settings.need("post", units::span)?,
        clips,
        on_clip,
        lock,
        keep_size: settings.get("keep-size", |text| at_least(text, 1 << 20))?,
        clip_rate: settings.get("clip-rate", |text| at_least(text, 1 << 10))?,
        min_free: settings.need("min-free", units::bytes)?,
        out: args.everything,
        output: args.output.as_deref().map(replay_output).transpose()?,
        control,
        name: settings.need("name", |text| Ok(text.to_owned()))?,
    })
}

/// `30s`, `64MiB`, or both with a comma between, in any order.
fn window(text: &str) -> Result<(Option<Span>, Option<u64>), String> {
    let (mut span_max, mut bytes_max) = (None, None);
    for part in text.split(',').map(str::trim) {
        if let Ok(span) = positive_span(part) {
            if span_max.replace(span).is_some() {
                return Err(format!("`{text}` has two times; write one, and a size if you like: 30s,64MiB"));
            }
            continue;
        }
        // Without a unit nobody knows what was meant.
        let bytes = if part.ends_with(|c: char| c.is_ascii_digit()) { None } else { units::bytes(part).ok() };
        let Some(bytes) = bytes.filter(|&bytes| bytes >= 1 << 10) else {
            return Err(format!(
                "`{part}` is neither a time above zero nor a size of 1 KiB or more; write 30s, 64MiB, or both: 30s,64MiB"
            ));
        };
        if bytes_max.replace(bytes).is_some() {
            return Err(format!("`{text}` has two sizes; write one, and a time if you like: 30s,64MiB"));
        }
    }
    Ok((span_max, bytes_max))
}

fn replay_output(text: &str) -> Result<ReplayOutput, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("kinora") => Ok(ReplayOutput::Recording(path)),
        _ => stream_place(text).map(ReplayOutput::Stream),
    }
}

fn decode(args: args::DecodeArgs) -> Result<Decode, String> {
    let sized = |text: &str| units::bytes(text).ok().filter(|bytes| (1..=decode::BUFFER_BYTES_MAX).contains(bytes));
    let buffer_size = match args.buffer_size.as_deref() {
        Some(text) => Some(sized(text).ok_or_else(|| {
            format!("--buffer-size: `{text}` is not a number of bytes from 1 to {}", decode::BUFFER_BYTES_MAX)
        })?),
        None => None,
    };
    Ok(Decode {
        file: args.file,
        layout: Layout { width: args.width.parse().unwrap_or(2028), strided: args.layout == "pi4" },
        network: args.network,
        buffer_size,
    })
}

fn redetect(args: args::RedetectArgs) -> Result<Redetect, String> {
    let threshold = args.threshold.as_deref().map(units::fraction).transpose();
    let most = args.top.as_deref().map(top).transpose();
    let camera = CameraOptions {
        network: args.network,
        post: args.post_process,
        threshold: threshold.map_err(|refusal| format!("--threshold: {refusal}"))?,
        top: most.map_err(|refusal| format!("--top: {refusal}"))?,
        labels: args.labels,
        ..CameraOptions::default()
    };
    Ok(Redetect { file: args.file.file, out: new_recording(args.out)?, camera })
}

fn range(args: &args::RangeArgs) -> Result<Range, String> {
    let side = |flag, text: &Option<String>| {
        text.as_deref().map(|text| units::position(text).map_err(|refusal| format!("{flag}: {refusal}"))).transpose()
    };
    Ok(Range { from: side("--from", &args.from)?, to: side("--to", &args.to)? })
}

/// A name decides: `-` and `.json` are modlib's lines, `.kinora` is a recording, all else a directory.
fn target(text: &str) -> Target {
    let path = PathBuf::from(text);
    match path.extension().and_then(|extension| extension.to_str()) {
        _ if text == "-" => Target::Modlib(Place::Standard),
        Some("kinora") if !path.is_dir() => Target::Recording(path),
        Some("json") if !path.is_dir() => Target::Modlib(Place::File(path)),
        _ => Target::Directory(path),
    }
}

/// Where a new recording goes. Standard output cannot take one, and under modlib's name nobody would look for it.
fn new_recording(args: args::OutArgs) -> Result<PathBuf, String> {
    let path = args.out_file;
    if path.as_os_str() == "-" {
        return Err(
            "-o -: a recording needs a file; its lines go to standard output with `kinora export FILE --to json -o -`"
                .into(),
        );
    }
    if path.extension().is_some_and(|extension| extension == "json") {
        let name = path.display();
        return Err(format!(
            "-o {name}: a recording is not modlib's .json; that is written by `kinora export FILE --to json -o {name}`"
        ));
    }
    Ok(path)
}

fn place(path: PathBuf) -> Place {
    if path.as_os_str() == "-" { Place::Standard } else { Place::File(path) }
}

fn stream_place(text: &str) -> Result<StreamPlace, String> {
    let Some(number) = text.strip_prefix("fd:") else { return Ok(StreamPlace::Path(text.into())) };
    let number = units::number(number, 0, i32::MAX as u64).map_err(|refusal| format!("--output fd: {refusal}"))?;
    Ok(StreamPlace::Descriptor(number as u32))
}

fn sync(text: &str) -> Result<SyncChoice, String> {
    match text {
        "every-frame" => Ok(SyncChoice::EveryFrame),
        "never" => Ok(SyncChoice::Never),
        time => {
            positive_span(time).map(SyncChoice::Every).map_err(|refusal| format!("{refusal}, or every-frame or never"))
        }
    }
}

fn positive_span(text: &str) -> Result<Span, String> {
    match units::span(text)? {
        Span::ZERO => Err(format!("`{text}` is no time at all; write more than zero")),
        span => Ok(span),
    }
}

fn at_least(text: &str, least: u64) -> Result<u64, String> {
    match units::bytes(text)? {
        bytes if bytes < least => Err(format!("`{text}` is too small; write at least {}", units::show_bytes(least))),
        bytes => Ok(bytes),
    }
}

fn priority(text: &str) -> Result<u8, String> {
    units::number(text, 1, 99).map(|number| number as u8)
}

/// `2`, `2,3`, `0-3`, `0-1,3`.
fn processors(text: &str) -> Result<Vec<usize>, String> {
    let number = |text: &str| units::number(text, 0, 1_023).map(|n| n as usize);
    let mut list = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => list.extend(number(first)?..=number(last)?),
            None => list.push(number(part)?),
        }
    }
    match list.is_empty() {
        true => Err(format!("`{text}` names no processor; write a list such as 2,3 or 0-3")),
        false => Ok(list),
    }
}

fn is_manual(settings: &Settings) -> Result<bool, String> {
    settings.need("clock", |text| one_of(text, &[("real", false), ("manual", true)]))
}

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == text).map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("`{text}` is none of: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use crate::cli::settings::Layers;
    use clap::{CommandFactory, FromArgMatches};

    fn check(line: &str) -> Result<Command, String> {
        let mut cli = Cli::command();
        cli.build();
        let matches = cli.clone().try_get_matches_from(line.split(' ')).map_err(|error| error.to_string())?;
        let (name, sub) = matches.subcommand().unwrap();
        let settings = Settings::gather(cli.find_subcommand(name).unwrap(), sub, &Layers::default());
        let cli = Cli::from_arg_matches(&matches).unwrap();
        Command::check(cli.command, &settings, cli.global.json)
    }

    #[test]
    fn a_bare_record_has_the_documented_defaults() {
        let Ok(Command::Record(record)) = check("kinora record") else { panic!("record") };
        assert_eq!(
            record.source,
            SourceChoice {
                named: kinora::SourceChoice::Auto,
                size: None,
                fps: None,
                camera: CameraOptions::default(),
                faults: None
            }
        );
        assert_eq!(record.out, Target::Directory("recordings".into()));
        assert_eq!((record.engine.quality, record.engine.raw, record.min_free), (80, false, 100_000_000));
        assert_eq!(record.sync, SyncChoice::Every(Span::from_s(1)));
    }

    #[test]
    fn a_window_of_zeros_is_the_whole_sensor() {
        for (text, window) in [("0,0,0,0", [0; 4]), ("8,16,4048,3024", [8, 16, 4048, 3024])] {
            let line = format!("kinora record --inference-window {text}");
            let Ok(Command::Record(record)) = check(&line) else { panic!("{line}") };
            assert_eq!(record.source.camera.inference_window, Some(window));
        }
    }

    #[test]
    fn the_name_of_the_target_decides_what_it_is() {
        assert_eq!(target("a.kinora"), Target::Recording("a.kinora".into()));
        assert_eq!(target("a.json"), Target::Modlib(Place::File("a.json".into())));
        assert_eq!(target("-"), Target::Modlib(Place::Standard));
        assert_eq!(target("a.b"), Target::Directory("a.b".into()));
    }

    #[test]
    fn wrong_values_are_refused_with_the_name_of_the_flag() {
        for (line, word) in [
            ("kinora record --quality 0", "--quality"),
            ("kinora record --source v4l2:", "--source"),
            ("kinora record --source virtual:sed=7", "--source"),
            ("kinora record --size 640", "--size"),
            ("kinora record --fps=-3", "--fps"),
            ("kinora record --frames 0", "--frames"),
            ("kinora record --duration 0s", "--duration"),
            ("kinora record --sync sometimes", "--sync"),
            ("kinora record --split-size 5", "--split-size"),
            ("kinora record --rt 100", "--rt"),
            ("kinora record --picture jpeg", "--picture"),
            ("kinora record --threshold 2", "--threshold"),
            ("kinora record --top 0", "--top"),
            ("kinora record --inference-window 0,0,4056,3041", "--inference-window"),
            ("kinora record --inference-window 0,0,10", "--inference-window"),
            ("kinora record --inference-window 1,0,0,0", "--inference-window"),
            ("kinora record --gain 22.27", "22.26"),
            ("kinora record --exposure 0s", "--exposure"),
            ("kinora record --gain 0", "--gain"),
            ("kinora record --awb 2", "--awb"),
            ("kinora record --raw-metadata=half", "--raw-metadata"),
            ("kinora record --cpus 3-", "--cpus"),
            ("kinora record --encoders 5", "--encoders"),
            ("kinora record --out a.kinora --keep-size 1GiB", "--keep-size"),
            ("kinora record --out a.json --split-time 1m", "split"),
            ("kinora record --out a.json --format raw", "raw"),
            ("kinora play --speed 0", "--speed"),
            ("kinora play --from noon", "--from"),
            ("kinora play --output fd:x", "--output"),
            ("kinora play --output fd:1 --print json", "fd:3"),
            ("kinora play --output fd:1 --json", "fd:3"),
            ("kinora import a.json -o -", "export"),
            ("kinora cut a --from 1 -o b.json", "export"),
            ("kinora record --out=", "--out"),
            ("kinora replay --source -", "--control"),
            ("kinora cut a -o b", "--from"),
            ("kinora diff a b --iou 2", "--iou"),
            ("kinora doctor --wake-time 61m", "--wake-time"),
            ("kinora doctor --wake-time 0s", "--wake-time"),
            ("kinora doctor --card-tbw none", "--card-tbw"),
            ("kinora replay --clips c --clip-rate 5", "--clip-rate"),
            ("kinora replay --clip-rate 5MB", "--clips"),
            ("kinora replay --clip-history 5s", "--clips"),
            ("kinora replay --clips c --pre 10s --clip-history 9s", "--clip-history"),
            ("kinora record --format png", "--format"),
            ("kinora play --print xml", "--print"),
            ("kinora export a --to avi -o b", "--to"),
        ] {
            let refusal = check(line).map(|_| ()).expect_err(line);
            assert!(refusal.contains(word), "{line}: {refusal}");
        }
    }

    #[test]
    fn clips_are_written_no_faster_than_they_were_asked_for() {
        let Ok(Command::Replay(replay)) = check("kinora replay --clips c --clip-rate 5MB") else { panic!("replay") };
        assert_eq!(replay.clip_rate, Some(5_000_000));
    }

    #[test]
    fn play_takes_every_documented_flag() {
        let line = "kinora play a.kinora --speed -1 --from 10 --to 2s --loop --start-paused --clock manual --print json \
                    --output fd:3";
        let Ok(Command::Play(play)) = check(&line.split_whitespace().collect::<Vec<_>>().join(" ")) else { panic!() };
        assert_eq!(play.speed, Rate::At(kinora::Speed::new(-1, 1).unwrap()));
        assert_eq!(play.range, Range { from: Some(Position::Frame(10)), to: Some(Position::Offset(Span::from_s(2))) });
        assert!(play.looped && play.start_paused && play.manual_clock);
        assert_eq!((play.print, play.output), (Some(Print::Json), Some(StreamPlace::Descriptor(3))));
    }
}

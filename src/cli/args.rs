//! Every command and flag, with its help, as clap reads them.
//!
//! Settings stay text here: the same text may come from a flag, the environment or a configuration file, and is checked
//! in one place whatever its origin (`settings.rs`, then `command.rs`). What belongs to one call only (files, `--from`)
//! is never taken from a configuration file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};

/// Recorder and player for AI cameras: frames and their detections, kept together, played back with exact timing.
#[derive(Debug, Parser)]
#[command(name = "kinora", version, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = after("kinora record --source virtual --duration 5s\nkinora play\nkinora info recordings/recording_2026-03-01_12-00-00.kinora"))]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Sub,
}

/// Flags of every command.
#[derive(Args, Debug)]
pub struct Global {
    /// Results as JSON on standard output; docs/json.md has the fields
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    /// More messages; twice for debugging
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
    /// No progress and no remarks, only results, warnings and errors
    #[arg(short, long, global = true, help_heading = "Output", conflicts_with = "verbose")]
    pub quiet: bool,
    /// Take settings from this file too, above /etc/kinora.toml and the user's kinora.toml
    #[arg(long, global = true, help_heading = "Output", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Show every setting of this command with its value and where that comes from, then stop
    #[arg(long, global = true, help_heading = "Output")]
    pub print_config: bool,
}

#[derive(Debug, Subcommand)]
pub enum Sub {
    /// Record a source until it ends, a limit is reached, or Ctrl-C
    #[command(after_help = after("kinora record\nkinora record --source v4l2:/dev/video0 --size 1280x720 --fps 30 --keep-size 20GiB\npython3 my_modlib_loop.py | kinora record --source - --out safe.kinora"))]
    Record(RecordArgs),
    /// Play a recording at its own pace
    #[command(after_help = after("kinora play\nkinora play match.kinora --from bookmark:goal --speed 1/2 --loop\nkinora play match.kinora --output fd:1 | ffplay -f mjpeg -"))]
    Play(PlayArgs),
    /// Keep the last seconds of a source in memory and play them again, slowly or not; save clips around events
    #[command(after_help = after("kinora replay --autostart\nkinora replay --autostart --output fd:1 | ffplay -f mjpeg -\nkinora replay --autostart --trigger 'person>0.6' --clips clips"))]
    Replay(Box<ReplayArgs>),
    /// Steer a running `kinora replay --control SOCKET`
    #[command(after_help = after("kinora ctl --control replay.sock status\nkinora ctl --control replay.sock set PlaybackSpeed=50%\nkinora ctl --control replay.sock wait FrameBufferFull=true --timeout 10s"))]
    Ctl(CtlArgs),
    /// What a recording holds
    #[command(after_help = after("kinora info match.kinora\nkinora info match.kinora --json | jq .frames\nkinora info recordings/*.kinora"))]
    Info(FilesArgs),
    /// The frames of a recording as text, one line each
    #[command(after_help = after("kinora cat match.kinora\nkinora cat match.kinora --json --all | jq -c 'select(.record == \"loss\")'\nkinora cat match.kinora --from 10s --to 12s"))]
    Cat(CatArgs),
    /// Check every checksum of a recording
    #[command(after_help = after("kinora verify match.kinora\nkinora verify match.kinora --json | jq '.damaged[].offset'\nfor f in recordings/*.kinora; do kinora verify -q \"$f\" || echo \"$f\"; done"))]
    Verify(FileArgs),
    /// Copy all that can be read of a damaged recording into a new one, with a list of what was lost
    #[command(after_help = after("kinora repair broken.kinora -o mended.kinora\nkinora repair broken.kinora -o mended.kinora --json\nkinora repair broken.kinora -o /mnt/usb/mended.kinora -q"))]
    Repair(RepairArgs),
    /// Write a recording in another program's format
    #[command(after_help = after("kinora export match.kinora --to json -o match.json\nkinora export match.kinora --to json -o - | head -1\nkinora export part.kinora --to json -o part.json"))]
    Export(ExportArgs),
    /// Make a recording from modlib's .json or .pkl
    #[command(after_help = after("kinora import people.json -o people.kinora\nkinora import people.pkl -o people.kinora\nzcat people.json.gz | kinora import - -o people.kinora"))]
    Import(ImportArgs),
    /// Copy a part of a recording into a new one
    #[command(after_help = after("kinora cut match.kinora --from 10s --to 20s -o goal.kinora\nkinora cut match.kinora --from bookmark:goal --to bookmark:end -o goal.kinora\nkinora cut match.kinora --from 0 --to 99 -o first.kinora"))]
    Cut(CutArgs),
    /// Compare the detections of two recordings, frame by frame
    #[command(after_help = after("kinora diff old.kinora new.kinora\nkinora diff old.kinora new.kinora --iou 0.7\nkinora diff old.kinora new.kinora --json | jq 'select(.record == \"summary\")'"))]
    Diff(DiffArgs),
    /// Follow a recording while it is written
    #[command(after_help = after("kinora tail recordings/recording_2026-03-01_12-00-00.kinora\nkinora tail match.kinora --json | jq -c .detections\nkinora tail match.kinora --from-start"))]
    Tail(TailArgs),
    /// Where the memory goes with given settings
    #[command(after_help = after("kinora memory\nkinora memory --size 1280x720 --format raw\nkinora memory --source v4l2:/dev/video0 --json"))]
    Memory(MemoryArgs),
    /// What a network package for the IMX500 holds; without a name, which ones are installed
    #[command(after_help = after("kinora network\nkinora network posenet\nkinora network my_network.rpk --json | jq .outputs"))]
    Network(NetworkArgs),
    /// Metadata buffers of an IMX500, as read from its metadata node into a file, in plain text or JSON
    #[command(after_help = after("kinora decode dump.bin --layout pi5 --width 2028 --json\nkinora decode dump.bin --layout pi4 --width 4056 --network mobilenet_v2\nkinora decode one.bin --layout pi4 --width 2028 --buffer-size 337824"))]
    Decode(DecodeArgs),
    /// Look over the machine before a long recording, and say what to do about what is found
    #[command(after_help = after("kinora doctor\nkinora doctor --out /mnt/card --keep-size 20GiB --card-tbw 60\nkinora doctor --json | jq '.findings[] | select(.state == \"warning\")'"))]
    Doctor(DoctorArgs),
    /// Make the results of a recording again from its raw metadata, with another threshold, post-processing or network package
    #[command(after_help = after("kinora redetect night.kinora --threshold 0.3 -o again.kinora\nkinora redetect night.kinora --post od_bscn -o again.kinora --json\nkinora redetect night.kinora --network ./mine.rpk -o again.kinora"))]
    Redetect(RedetectArgs),
    /// Cameras of this machine: what they can, who has them, what is missing
    #[command(after_help = after("kinora devices\nkinora devices --json | jq -r '.cameras[].source'\nkinora devices --json | jq .missing"))]
    Devices,
    /// Print a script that completes commands and flags in a shell
    #[command(after_help = after("kinora completions bash > /etc/bash_completion.d/kinora\nkinora completions zsh > ~/.zfunc/_kinora\nkinora completions fish > ~/.config/fish/completions/kinora.fish"))]
    Completions(CompletionsArgs),
    /// Write the manual pages into a directory
    #[command(after_help = after("kinora man /usr/local/share/man/man1\nkinora man . && man ./kinora-record.1\nkinora man pages --json"))]
    Man(ManArgs),
}

/// Where frames come from; the same on every command that takes a source.
#[derive(Args, Debug)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    /// auto, imx500[:N], v4l2:PATH, virtual[:seed=N], virtual:imx500, a .kinora or modlib .json or .pkl FILE, or - for modlib
    /// lines on standard input
    #[arg(long, value_name = "SRC", default_value = "auto")]
    pub source: Option<String>,
    /// Picture size where the source has no own [default: 640x480; of an IMX500 1014x760]
    #[arg(long, value_name = "WxH")]
    pub size: Option<String>,
    /// Frames a second where the source has no own: 30, 29.97 or 30000/1001 [default: 30; of an IMX500 its network's]
    #[arg(long, value_name = "F")]
    pub fps: Option<String>,
    /// Make the source misbehave, for tests: drops=0.01,duplicates=0.01,reorder=0.01,stalls=0.001,corrupt=0.01,resize=0.01,seed=N
    #[arg(long, value_name = "FAULTS", hide_short_help = true)]
    pub faults: Option<String>,
    #[command(flatten)]
    pub camera: CameraArgs,
}

/// What only an IMX500 understands, live or virtual.
#[derive(Args, Debug)]
#[command(next_help_heading = "IMX500")]
pub struct CameraArgs {
    /// The network: FILE.rpk, or its name or the beginning of it; `kinora network` lists those that are installed
    #[arg(long, value_name = "FILE|NAME")]
    pub network: Option<String>,
    /// The sensor's picture, what the network saw, or none: results only [default: bayer]
    #[arg(long, value_name = "WHAT", value_parser = ["bayer", "input-tensor", "none"])]
    pub picture: Option<String>,
    /// Leave out results below this score, 0 to 1
    #[arg(long, value_name = "SCORE")]
    pub threshold: Option<String>,
    /// Keep at most so many results of a frame: classes, boxes or persons
    #[arg(long, value_name = "N")]
    pub top: Option<String>,
    /// The part of the sensor that the network sees, in pixels of 4056x3040; 0,0,0,0 is all [default: all, or the shape
    /// that the network's package asks for]
    #[arg(long, value_name = "L,T,W,H")]
    pub inference_window: Option<String>,
    /// Mirror the picture left to right
    #[arg(long)]
    pub hflip: bool,
    /// Turn the picture upside down
    #[arg(long)]
    pub vflip: bool,
    /// auto, or a time such as 10ms
    #[arg(long, value_name = "TIME", default_value = "auto")]
    pub exposure: Option<String>,
    /// auto, or the analogue gain, 1 to 22.26
    #[arg(long, value_name = "GAIN", default_value = "auto")]
    pub gain: Option<String>,
    /// auto (grey world), or fixed gains of red and blue such as 2.4,1.5
    #[arg(long, value_name = "R,B", default_value = "auto")]
    pub awb: Option<String>,
    /// Class names, one on each line, over those of the network
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub labels: Option<String>,
}

/// Post-processing of an IMX500's results; `replay` has another `--post`.
#[derive(Args, Debug)]
#[command(next_help_heading = "IMX500")]
pub struct PostArgs {
    /// Post-processing by modlib's name, over what the network's package says
    #[arg(long, visible_alias = "post", value_name = "NAME")]
    pub post_process: Option<String>,
}

/// The same where `--post` means something else.
#[derive(Args, Debug)]
#[command(next_help_heading = "IMX500")]
pub struct LongPostArgs {
    /// Post-processing by modlib's name, over what the network's package says
    #[arg(long, value_name = "NAME")]
    pub post_process: Option<String>,
}

/// How frames travel and are compressed; what the memory budget depends on.
#[derive(Args, Debug)]
#[command(next_help_heading = "Engine")]
pub struct EngineArgs {
    /// Compress pictures, or keep their pixels
    #[arg(long, value_name = "FORMAT", default_value = "jpeg", value_parser = ["jpeg", "raw"])]
    pub format: Option<String>,
    /// JPEG quality, 1 to 100; colours are halved both ways (4:2:0)
    #[arg(long, value_name = "Q", default_value = "80")]
    pub quality: Option<String>,
    /// Threads that compress, 1 to 4 [default: one less than there are processors]
    #[arg(long, value_name = "N")]
    pub encoders: Option<String>,
    /// Frames that may wait before each stage in ordinary times, 1 to 64
    #[arg(long, value_name = "N", default_value = "4")]
    pub ring: Option<String>,
    /// Real-time priority of the capture thread, 1 to 99; without the right to it, a warning
    #[arg(long, value_name = "PRIO")]
    pub rt: Option<String>,
    /// Keep the engine's threads on these processors: 2 or 2,3 or 0-3
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<String>,
    /// Keep the frame pool in memory, never swapped; without the right to it, a warning
    #[arg(long)]
    pub lock_memory: bool,
    /// Longest time to a camera's first frame; uploading a network takes minutes
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub start_timeout: Option<String>,
}

#[derive(Args, Debug)]
pub struct RecordArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub post: PostArgs,
    /// Keep the IMX500's own bytes with each frame: what results are made of, or whole buffers; `kinora redetect` reads them
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "results",
          value_parser = ["results", "full"], help_heading = "IMX500")]
    pub raw_metadata: Option<String>,
    /// A directory for dated names, a new .kinora FILE, a new modlib .json FILE, or - for modlib lines
    #[arg(long, value_name = "DIR|FILE", default_value = "recordings", value_hint = ValueHint::AnyPath)]
    pub out: Option<String>,
    /// Stop after N frames
    #[arg(long, value_name = "N")]
    pub frames: Option<String>,
    /// Stop after this time: 10s, 5m, 1h30m
    #[arg(long, value_name = "TIME")]
    pub duration: Option<String>,
    /// How often written frames are made to survive a power cut: a TIME, every-frame or never
    #[arg(long, value_name = "WHEN", default_value = "1s")]
    pub sync: Option<String>,
    /// Begin a new file at this size
    #[arg(long, value_name = "SIZE")]
    pub split_size: Option<String>,
    /// Begin a new file after this time
    #[arg(long, value_name = "TIME")]
    pub split_time: Option<String>,
    /// Keep the directory's recordings under this size, oldest deleted first
    #[arg(long, value_name = "SIZE")]
    pub keep_size: Option<String>,
    /// Leave this much of the disk free; the recording ends cleanly before
    #[arg(long, value_name = "SIZE", default_value = "100MB")]
    pub min_free: Option<String>,
    /// real: as time passes; manual: as fast as it goes, with the same result every run
    #[arg(long, value_name = "CLOCK", default_value = "real", value_parser = ["real", "manual"])]
    pub clock: Option<String>,
    #[command(flatten)]
    pub engine: EngineArgs,
}

#[derive(Args, Debug)]
pub struct PlayArgs {
    /// The recording; without it the newest in ./recordings
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// 2, 1/2, 0.25, -1 for backwards, max for no waiting
    #[arg(long, value_name = "SPEED", default_value = "1", allow_hyphen_values = true)]
    pub speed: Option<String>,
    #[command(flatten)]
    pub range: RangeArgs,
    /// Begin again at the end
    #[arg(long = "loop")]
    pub looped: bool,
    /// Begin with a still picture; space goes on
    #[arg(long)]
    pub start_paused: bool,
    /// Deliver late frames too, or skip those whose successor is due
    #[arg(long, value_name = "WHAT", default_value = "keep", value_parser = ["keep", "skip"])]
    pub late: Option<String>,
    /// real: wait for each frame's time; manual: same order and times, no waiting
    #[arg(long, value_name = "CLOCK", default_value = "real", value_parser = ["real", "manual"])]
    pub clock: Option<String>,
    /// What to print for each frame [default: none on a terminal, else text]
    #[arg(long, value_name = "WHAT", value_parser = ["none", "text", "json", "modlib"])]
    pub print: Option<String>,
    /// Write the pictures as a JPEG stream to a file, FIFO or file descriptor
    #[arg(long, value_name = "PATH|fd:N")]
    pub output: Option<String>,
    /// Real-time priority of the player, 1 to 99; without the right to it, a warning
    #[arg(long, value_name = "PRIO")]
    pub rt: Option<String>,
    /// Spin instead of sleeping for the last part of each wait, such as 50us
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub spin: Option<String>,
}

#[derive(Args, Debug)]
pub struct ReplayArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub post_process: LongPostArgs,
    /// Frames that the window holds, and the most that it can be set to; all memory is taken at the start [default: 100, and
    /// room for 300]
    #[arg(long, value_name = "N")]
    pub max_frames: Option<String>,
    /// Bytes promised to each frame of the window [default: by size and quality]
    #[arg(long, value_name = "SIZE")]
    pub frame_bytes: Option<String>,
    /// Keep at most this much in the window: a time (30s), a size (64MiB), or both (30s,64MiB)
    #[arg(long, value_name = "TIME|SIZE")]
    pub window: Option<String>,
    /// Speed of replays: 1/2, 50%, 0 freezes, -1 plays backwards
    #[arg(long, value_name = "SPEED", default_value = "1", allow_hyphen_values = true)]
    pub speed: Option<String>,
    /// Record into the window from the start
    #[arg(long)]
    pub autostart: bool,
    /// Begin a fresh recording when a replay ends
    #[arg(long)]
    pub resume: bool,
    /// What comes out while stopped
    #[arg(long, value_name = "WHAT", default_value = "PassThrough", value_parser = ["PassThrough", "None"])]
    pub default_output: Option<String>,
    /// One output frame a live frame, or the recorded intervals
    #[arg(long, value_name = "HOW", default_value = "Tick", value_parser = ["Tick", "Recorded"])]
    pub pacing: Option<String>,
    /// Save a clip when this rule fires; may be given several times; docs/replay.md has the grammar
    #[arg(long, value_name = "RULE")]
    pub trigger: Vec<String>,
    /// Time before a trigger that belongs to its clip
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub pre: Option<String>,
    /// Time after a trigger that belongs to its clip
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub post: Option<String>,
    /// Time that is kept in memory for clips, at least the longest --pre [default: --pre, at least 30s]
    #[arg(long, value_name = "TIME")]
    pub clip_history: Option<String>,
    /// Save clips into this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub clips: Option<PathBuf>,
    /// Shell command that gets the path of each finished clip
    #[arg(long, value_name = "CMD")]
    pub on_clip: Option<String>,
    /// Clips outlive the trimming of their directory, up to 30 % of --keep-size
    #[arg(long)]
    pub lock: bool,
    /// Keep the clips' directory under this size, oldest deleted first
    #[arg(long, value_name = "SIZE")]
    pub keep_size: Option<String>,
    /// Write clips at no more than this many bytes a second [default: as the disk takes them]
    #[arg(long, value_name = "SIZE")]
    pub clip_rate: Option<String>,
    /// Leave this much of the disk free; recordings and clips end cleanly before, the replay goes on
    #[arg(long, value_name = "SIZE", default_value = "100MB")]
    pub min_free: Option<String>,
    /// Record everything into this directory besides
    #[arg(long = "out", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub everything: Option<PathBuf>,
    /// Where output frames go: a JPEG stream to a FIFO, file or descriptor, or a new .kinora FILE
    #[arg(long, value_name = "PATH|fd:N|FILE")]
    pub output: Option<String>,
    /// Listen for control lines on this Unix socket instead of standard input
    #[arg(long, value_name = "SOCKET", value_hint = ValueHint::FilePath)]
    pub control: Option<PathBuf>,
    /// Name of this operator in its status
    #[arg(long, value_name = "NAME", default_value = "replay")]
    pub name: String,
    #[command(flatten)]
    pub engine: EngineArgs,
}

#[derive(Args, Debug)]
pub struct CtlArgs {
    /// The socket of the running `kinora replay`
    #[arg(long, value_name = "SOCKET", value_hint = ValueHint::FilePath)]
    pub control: PathBuf,
    #[command(subcommand)]
    pub ask: CtlAsk,
}

/// What to ask of a running operator.
#[derive(Debug, Subcommand)]
pub enum CtlAsk {
    /// All read-outs
    Status,
    /// One read-out
    Get {
        /// Its name, such as NumberOfFramesInStorage
        name: String,
    },
    /// New values
    Set {
        /// NAME=VALUE, such as PlaybackSpeed=50%
        #[arg(value_name = "NAME=VALUE", required = true)]
        pairs: Vec<String>,
    },
    /// Clear the buffer and record
    StartRecording,
    /// Record on without clearing
    ResumeRecording,
    /// Play from the start frame to the stop frame
    StartPlayback,
    /// Back to idle
    Stop,
    /// Hold the replay
    Pause,
    /// Let a held replay go on
    Resume,
    /// All settings to their defaults
    Reset,
    /// Make the newest frame, or the one that is shown, the first to play
    MarkIn,
    /// Make it the last
    MarkOut,
    /// Play all frames again
    ClearMarks,
    /// Hold the replay and show another frame
    Step {
        /// So many further on; negative: back
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        frames: i32,
    },
    /// Show the first frame of the replay and go on from there
    Home,
    /// Show the last frame of the replay
    End,
    /// Play what was recorded between two times, such as 2025-06-14T12:32:07.5+02:00
    PlayBetween {
        /// Of the first frame, at the earliest
        from: String,
        /// Of the last frame, at the latest
        to: String,
    },
    /// Save what the history holds as a clip
    Save {
        /// Only the last so much
        #[arg(long, value_name = "TIME")]
        last: Option<String>,
        /// Only what would be played: from the start frame to the stop frame
        #[arg(long, conflicts_with = "last")]
        marks: bool,
        /// Label of the clip
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Wait until read-outs have these values
    Wait {
        /// NAME=VALUE, such as FrameBufferFull=true
        #[arg(value_name = "NAME=VALUE", required = true)]
        pairs: Vec<String>,
        /// For at most this time
        #[arg(long, value_name = "TIME", default_value = "10s")]
        timeout: String,
    },
    /// Save a clip around this moment
    Trigger {
        /// Label of the clip
        #[arg(default_value = "")]
        label: String,
        /// Time before
        #[arg(long, value_name = "TIME", default_value = "5s")]
        pre: String,
        /// Time after
        #[arg(long, value_name = "TIME", default_value = "5s")]
        post: String,
        /// Trimming of the clips' directory passes this clip over
        #[arg(long)]
        lock: bool,
    },
}

/// A part of a recording.
#[derive(Args, Debug)]
pub struct RangeArgs {
    /// First frame: number from 0, time after the start (10s), RFC 3339 time, bookmark:TEXT
    #[arg(long, value_name = "POS")]
    pub from: Option<String>,
    /// Last frame; as --from
    #[arg(long, value_name = "POS")]
    pub to: Option<String>,
}

#[derive(Args, Debug)]
pub struct FileArgs {
    /// The recording
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

#[derive(Args, Debug)]
pub struct FilesArgs {
    /// The recordings
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    pub files: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub struct CatArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[command(flatten)]
    pub range: RangeArgs,
    /// Losses, bookmarks and clock records too
    #[arg(long)]
    pub all: bool,
}

/// Where a command writes its new file.
#[derive(Args, Debug)]
pub struct OutArgs {
    /// The new file; never one that exists
    #[arg(short = 'o', long = "out", value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub out_file: PathBuf,
}

#[derive(Args, Debug)]
pub struct RepairArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[command(flatten)]
    pub out: OutArgs,
}

#[derive(Args, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// json: Sony modlib's lines
    #[arg(long, value_name = "FORMAT", value_parser = ["json"])]
    pub to: String,
    /// The new file, or - for standard output
    #[arg(short = 'o', long = "out", value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub out_file: PathBuf,
}

#[derive(Args, Debug)]
pub struct ImportArgs {
    /// modlib .json or .pkl, or - for modlib lines on standard input
    #[arg(value_name = "IN", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    #[command(flatten)]
    pub out: OutArgs,
    /// Leave this much of the disk free; the recording ends cleanly before
    #[arg(long, value_name = "SIZE", default_value = "100MB")]
    pub min_free: Option<String>,
}

#[derive(Args, Debug)]
pub struct CutArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[command(flatten)]
    pub range: RangeArgs,
    #[command(flatten)]
    pub out: OutArgs,
}

#[derive(Args, Debug)]
pub struct DiffArgs {
    /// The recording to compare with
    #[arg(value_name = "A", value_hint = ValueHint::FilePath)]
    pub before: PathBuf,
    /// The recording to compare
    #[arg(value_name = "B", value_hint = ValueHint::FilePath)]
    pub after: PathBuf,
    /// Least overlap (intersection over union) of two boxes that are the same, 0 to 1
    #[arg(long, value_name = "FRACTION", default_value = "0.5")]
    pub iou: Option<String>,
}

#[derive(Args, Debug)]
pub struct TailArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Begin with the first frame instead of the next one
    #[arg(long)]
    pub from_start: bool,
}

#[derive(Args, Debug)]
pub struct MemoryArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub post: PostArgs,
    #[command(flatten)]
    pub beside: BesideArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// What takes memory beside a recording.
#[derive(Args, Debug)]
pub struct BesideArgs {
    /// Add the window of a replay that holds N frames
    #[arg(long, value_name = "N")]
    pub replay_frames: Option<String>,
    /// Add a history of this length for clips around events
    #[arg(long, value_name = "TIME")]
    pub clip_history: Option<String>,
    /// Bytes promised to each frame of both [default: by size and quality]
    #[arg(long, value_name = "SIZE")]
    pub frame_bytes: Option<String>,
}

#[derive(Args, Debug)]
pub struct NetworkArgs {
    /// FILE.rpk, or the name of an installed network or the beginning of it
    #[arg(value_name = "FILE|NAME", value_hint = ValueHint::FilePath)]
    pub network: Option<String>,
}

#[derive(Args, Debug)]
pub struct DecodeArgs {
    /// One or more metadata buffers back to back
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The board they come from: pi4 (also Zero 2 W) or pi5
    #[arg(long, value_name = "BOARD", value_parser = ["pi4", "pi5"])]
    pub layout: String,
    /// Width of the sensor's mode
    #[arg(long, value_name = "PIXELS", value_parser = ["2028", "4056"])]
    pub width: String,
    /// The network: FILE.rpk, or its name or the beginning of it [default: as the buffers describe it]
    #[arg(long, value_name = "FILE|NAME")]
    pub network: Option<String>,
    /// Bytes of one buffer [default: by the package, by the first valid header, or the whole file]
    #[arg(long, value_name = "SIZE")]
    pub buffer_size: Option<String>,
}

#[derive(Args, Debug)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Where recordings would go
    #[arg(long, value_name = "DIR", default_value = "recordings", value_hint = ValueHint::DirPath)]
    pub out: Option<String>,
    /// What `record` would keep the directory under
    #[arg(long, value_name = "SIZE")]
    pub keep_size: Option<String>,
    /// What `record` would leave free
    #[arg(long, value_name = "SIZE", default_value = "100MB")]
    pub min_free: Option<String>,
    /// Terabytes that the card may be written with in its life, as its maker rates it
    #[arg(long, value_name = "TB")]
    pub card_tbw: Option<String>,
    /// How long to measure wake-ups, up to 1h
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub wake_time: String,
    #[command(flatten)]
    pub beside: BesideArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
}

#[derive(Args, Debug)]
pub struct RedetectArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[command(flatten)]
    pub out: OutArgs,
    /// The network: FILE.rpk, or its name or the beginning of it [default: as the recording describes it]
    #[arg(long, value_name = "FILE|NAME")]
    pub network: Option<String>,
    /// Post-processing by modlib's name [default: the one of the recording]
    #[arg(long, visible_alias = "post", value_name = "NAME")]
    pub post_process: Option<String>,
    /// Leave out results below this score, 0 to 1
    #[arg(long, value_name = "SCORE")]
    pub threshold: Option<String>,
    /// Keep at most so many results of a frame: classes, boxes or persons
    #[arg(long, value_name = "N")]
    pub top: Option<String>,
    /// Class names, one on each line [default: those of the network or the recording]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub labels: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub struct ManArgs {
    /// The directory; it is made if it is not there
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// What ends every help text: three examples and the exit codes.
fn after(examples: &str) -> String {
    let examples = examples.replace('\n', "\n  ");
    format!(
        "Examples:\n  {examples}\n\nExit codes:\n  0  done\n  1  failed, or different (diff)\n  2  wrong usage\n  \
         3  done, but something was lost or damaged; doctor: there are warnings"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_finds_no_contradiction_in_the_flags() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_ends_with_three_examples_and_the_exit_codes() {
        let mut cli = Cli::command();
        cli.build();
        let commands: Vec<_> = cli.get_subcommands().filter(|c| c.get_name() != "help").cloned().collect();
        assert_eq!(commands.len(), 21);
        for command in commands.iter().chain([&cli]) {
            let help = command.clone().render_long_help().to_string();
            let (_, end) =
                help.split_once("Examples:").unwrap_or_else(|| panic!("{} has examples", command.get_name()));
            let (examples, codes) = end.split_once("Exit codes:").unwrap();
            assert_eq!(examples.trim().lines().count(), 3, "{}", command.get_name());
            assert_eq!(codes.trim().lines().count(), 4);
        }
    }

    #[test]
    fn every_flag_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }
}

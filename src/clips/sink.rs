//! The clip saver as a sink: frames pass to the recorder and into the history; clips are cut out of the history.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use rtrb::{Consumer, Producer, RingBuffer};

use super::plan::{CLIPS_MAX, Next, Plan, Reach, Started};
use super::settings::{ClipSettings, RuleSettings};
use super::writer::{ClipThread, Message, Pace};
use super::{ClipControl, ClipEvent, EVENTS_MAX, REQUESTS_MAX, Request, Wish, check_pre};
use crate::error::{Error, Result};
use crate::event::{Event, EventKind};
use crate::frame::Frame;
use crate::ledger::{Cause, Loss};
use crate::recorder::SIZE_MIN;
use crate::recording::Directory;
use crate::replay::operator::frame_bytes;
use crate::replay::window::{FrameTooBig, Window, WindowSettings};
use crate::sink::{Added, FrameSink, Summary};
use crate::slot::{Slot, SlotSizes};
use crate::source::{SourceInfo, bounded};
use crate::time::{ClockPair, Span};
use crate::trigger::{Rule, Trigger};
use crate::wake::Wake;

/// Slots between the frames' thread and the clip thread.
const SLOTS: usize = 16;
/// Frames that one tick copies for one clip: enough to overtake the history's end quickly, little enough to cost the tick
/// under a millisecond.
const FRAMES_PER_TICK: usize = 4;
/// Messages beside the frames that may wait for the clip thread.
const MESSAGES_SPARE: usize = 64;
/// Quality that the promised bytes are computed for when they are not set.
const QUALITY: u8 = 80;

/// Passes every frame on to another sink and saves clips around events. See [`ClipControl`] for how to ask for them.
pub struct ClipSink {
    inner: Box<dyn FrameSink>,
    settings: ClipSettings,
    rules: Vec<(Rule, RuleSettings)>,
    requests: Consumer<Request>,
    refused: Producer<ClipEvent>,
    saved: Option<Producer<ClipEvent>>,
    work: Option<Box<Work>>,
}

/// All that exists once the source is known.
struct Work {
    history: Window,
    plan: Plan,
    triggers: Vec<(Trigger, RuleSettings)>,
    /// Pre-roll that each clip under way could not have.
    pre_short: heapless::FnvIndexMap<u32, Span, { CLIPS_MAX * 2 }>,
    messages: Option<Producer<Message>>,
    slots: Consumer<Box<Slot>>,
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
    info: SourceInfo,
    clear_on_save: bool,
    /// Frames larger than the history promises to hold.
    too_big: u64,
    /// Bytes of the largest of them.
    largest: usize,
}

impl fmt::Debug for ClipSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClipSink").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ClipSink {
    /// A clip saver before `inner`, and the handle to ask for clips. Makes the directory.
    ///
    /// # Errors
    /// A rule is wrong (with its column), its pre-roll is longer than the history, a setting is out of its range, or the
    /// directory cannot be made.
    pub fn new(inner: Box<dyn FrameSink>, settings: ClipSettings) -> Result<(Self, ClipControl)> {
        let mut rules = Vec::new();
        for rule in &settings.rules {
            let parsed = Rule::parse(&rule.rule)
                .map_err(|error| Error::Setting(format!("trigger rule {:?}, {error}", rule.rule)))?;
            check_pre(rule.pre, settings.history)?;
            rules.push((parsed, rule.clone()));
        }
        if let Some(bytes) = settings.keep_size.filter(|&bytes| bytes < SIZE_MIN) {
            return Err(Error::Setting(format!(
                "keep size of clips is {bytes} bytes; it has to be at least {SIZE_MIN}"
            )));
        }
        if settings.write_rate == Some(0) {
            return Err(Error::Setting("write rate of clips is 0 bytes a second; it has to be at least 1".into()));
        }
        if settings.locked_percent > 100 {
            let percent = settings.locked_percent;
            return Err(Error::Setting(format!("locked share is {percent} %; it has to be 0 to 100")));
        }
        let directory = settings.directory.display();
        Directory::create(&settings.directory).map_err(Error::io(format!("cannot make the directory {directory}")))?;
        let (request, requests) = RingBuffer::new(REQUESTS_MAX);
        let (refuse, refused) = RingBuffer::new(EVENTS_MAX);
        let (save, saved) = RingBuffer::new(EVENTS_MAX);
        let control = ClipControl {
            requests: RefCell::new(request),
            saved: RefCell::new(saved),
            refused: RefCell::new(refused),
            history: settings.history,
        };
        let sink = Self { inner, settings, rules, requests, refused: refuse, saved: Some(save), work: None };
        Ok((sink, control))
    }

    /// The history for this source: frames, reserve, and the bytes promised to each.
    pub fn history_settings(settings: &ClipSettings, info: &SourceInfo) -> WindowSettings {
        window_settings(settings, info)
    }

    /// Bytes of the history and of the slots to the clip thread, for this source.
    pub fn memory_bytes(settings: &ClipSettings, info: &SourceInfo) -> (usize, usize) {
        (window_settings(settings, info).total_bytes(), SLOTS * slot_sizes(settings, info).total())
    }
}

impl FrameSink for ClipSink {
    fn begin(&mut self, source: &SourceInfo, now: ClockPair) -> Result<()> {
        self.inner.begin(source, now)?;
        let Some(saved) = self.saved.take() else { return Ok(()) };
        self.work = Some(Box::new(Work::start(&self.settings, &self.rules, source, saved)?));
        Ok(())
    }

    fn add(&mut self, frame: &Frame<'_>) -> Result<Added> {
        let added = self.inner.add(frame);
        if let Some(work) = &mut self.work {
            work.frame(frame, &mut self.requests, &mut self.refused);
        }
        added
    }

    /// Clips are cut also when the recording beside them has ended.
    fn after_end(&mut self, frame: &Frame<'_>) {
        self.inner.after_end(frame);
        if let Some(work) = &mut self.work {
            work.frame(frame, &mut self.requests, &mut self.refused);
        }
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.inner.loss(loss)
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        self.inner.event(event)
    }

    fn finish(&mut self) -> Result<Summary> {
        let summary = self.inner.finish();
        if let Some(work) = &mut self.work {
            work.finish();
            if work.too_big > 1 {
                let promised = work.history.settings().frame_bytes;
                let told = ClipEvent::TooBig { frames: work.too_big, needed: work.largest, promised };
                drop(self.refused.push(told));
            }
        }
        summary
    }

    fn idle(&mut self) {
        self.inner.idle();
    }

    fn bytes_written(&self) -> u64 {
        self.inner.bytes_written()
    }
}

impl Work {
    fn start(
        settings: &ClipSettings,
        rules: &[(Rule, RuleSettings)],
        info: &SourceInfo,
        saved: Producer<ClipEvent>,
    ) -> Result<Self> {
        let labels = (!info.labels.is_empty()).then_some(&info.labels);
        let mut triggers = Vec::new();
        for (rule, clip) in rules {
            let trigger = Trigger::new(rule.clone(), labels)
                .map_err(|error| Error::Setting(format!("trigger rule {:?}: {error}", clip.rule)))?;
            triggers.push((trigger, clip.clone()));
        }
        let sizes = slot_sizes(settings, info);
        let (messages, to_thread) = RingBuffer::new(SLOTS + MESSAGES_SPARE);
        let (mut free, slots) = RingBuffer::new(SLOTS);
        for _ in 0..SLOTS {
            // The ring has room for all of them.
            let _ = free.push(Slot::new(&sizes));
        }
        let wake = Arc::new(Wake::new());
        let thread = ClipThread {
            messages: to_thread,
            slots: free,
            events: saved,
            wake: Arc::clone(&wake),
            pace: Pace::new(settings.write_rate),
            settings: settings.clone(),
            info: info.clone(),
        };
        let spawned = std::thread::Builder::new().name("kinora-clips".into()).spawn(move || thread.run());
        Ok(Self {
            history: Window::new(window_settings(settings, info)),
            plan: Plan::new(settings.overlap),
            triggers,
            pre_short: heapless::FnvIndexMap::new(),
            messages: Some(messages),
            slots,
            wake,
            thread: Some(spawned.map_err(Error::io("starting the clip thread"))?),
            info: info.clone(),
            clear_on_save: settings.clear_on_save,
            too_big: 0,
            largest: 0,
        })
    }

    fn frame(&mut self, frame: &Frame<'_>, requests: &mut Consumer<Request>, refused: &mut Producer<ClipEvent>) {
        if let Err(FrameTooBig { needed, promised }) = self.history.push(frame, u32::MAX) {
            self.too_big += 1;
            self.largest = self.largest.max(needed);
            if self.too_big == 1 {
                drop(refused.push(ClipEvent::TooBig { frames: 1, needed, promised }));
            }
        }
        let mut fired: heapless::Vec<usize, REQUESTS_MAX> = heapless::Vec::new();
        for (index, (trigger, _)) in self.triggers.iter_mut().enumerate() {
            if trigger.step(frame) {
                let _ = fired.push(index);
            }
        }
        for index in fired {
            let (trigger, rule) = &self.triggers[index];
            let (wish, lock) =
                (Wish::Around { pre: Reach::Time(rule.pre), post: Reach::Time(rule.post) }, trigger.rule().lock);
            self.trigger(Request { label: bounded(&rule.rule), wish, lock }, refused);
        }
        for _ in 0..REQUESTS_MAX {
            let Ok(request) = requests.pop() else { break };
            self.trigger(request, refused);
        }
        if !self.plan.is_idle() {
            self.plan.note_newest(&self.history);
            self.pump();
        }
    }

    fn trigger(&mut self, request: Request, refused: &mut Producer<ClipEvent>) {
        let Request { label, wish, lock } = request;
        // A clip needs two messages now and one at its end; without room for them, and for the frames and ends of all, it is not
        // begun.
        let room = self.messages.as_ref().is_some_and(|messages| messages.slots() >= 2 + SLOTS + CLIPS_MAX);
        let started = match wish {
            _ if !room => Started::TooMany,
            Wish::Around { pre, post } => self.plan.trigger(pre, post, &self.history),
            Wish::Between(from, to) => self.plan.save_between(from, to, &self.history),
        };
        let newest = self.history.extent().oldest + u64::from(self.history.extent().len.saturating_sub(1));
        let Some(meta) = self.history.meta(newest) else { return drop(refused.push(ClipEvent::Refused { label })) };
        let event =
            Event { kind: EventKind::Trigger, at: meta.captured_at, wall: meta.captured_wall, text: bounded(&label) };
        let (wall, utc_offset_s) = (meta.captured_wall, meta.utc_offset_s);
        match started {
            Started::New { id, pre_short, .. } => {
                let _ = self.pre_short.insert(id, pre_short);
                self.send(Message::Begin { id, label, wall, utc_offset_s });
                self.send(Message::Event { id, event, lock });
            }
            Started::Extended { id } => self.send(Message::Event { id, event, lock }),
            Started::TooMany | Started::Nothing => drop(refused.push(ClipEvent::Refused { label })),
        }
    }

    /// Hands over a few frames of each clip.
    fn pump(&mut self) {
        for id in self.plan.ids() {
            for _ in 0..FRAMES_PER_TICK {
                match self.plan.next(id, &self.history) {
                    Next::Wait => break,
                    Next::Complete => {
                        self.end(id, 0);
                        break;
                    }
                    Next::Short(lost) => {
                        self.end(id, lost);
                        break;
                    }
                    Next::Frame(ordinal) => {
                        // No free slot: the disk is busy, the frame stays in the history.
                        let Ok(mut slot) = self.slots.pop() else { break };
                        let labels = (!self.info.labels.is_empty()).then_some(&self.info.labels);
                        let frame = self.history.frame(ordinal, labels);
                        // The history's promise is one for all parts of a frame; a slot has a place for each, as large as the
                        // source said.
                        if frame.is_none_or(|frame| slot.copy_from(&frame).is_err()) {
                            slot.lost = Some(Cause::TooBig);
                        }
                        self.send(Message::Frame { id, slot });
                        self.plan.handed_over(id);
                    }
                }
            }
        }
        self.history.pin(self.plan.oldest_needed());
        self.wake.notify();
    }

    fn end(&mut self, id: u32, lost: u64) {
        let pre_short = self.pre_short.remove(&id).unwrap_or_default();
        self.send(Message::End { id, pre_short, lost });
        self.plan.end(id);
        if self.clear_on_save && self.plan.is_idle() {
            self.history.clear();
        }
    }

    /// Room was checked before a clip began, and there are no more frames than slots.
    fn send(&mut self, message: Message) {
        if let Some(messages) = &mut self.messages {
            let sent = messages.push(message);
            debug_assert!(sent.is_ok(), "room for every message was made sure of");
        }
    }

    /// The session ends: clips under way get what the history holds of them, then the thread writes everything out.
    fn finish(&mut self) {
        while !self.plan.is_idle() {
            let waiting = self.plan.ids().iter().all(|&id| self.plan.next(id, &self.history) == Next::Wait);
            if waiting {
                self.plan.ids().iter().for_each(|&id| self.end(id, 0));
                break;
            }
            self.pump();
            // Not a real-time path any more: the source has stopped.
            std::thread::sleep(std::time::Duration::from_millis(1));
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                break;
            }
        }
        self.messages = None;
        self.wake.notify();
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has printed its message; the recording beside it is closed already.
            let _ = thread.join();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.finish();
    }
}

fn window_settings(settings: &ClipSettings, info: &SourceInfo) -> WindowSettings {
    let frame_time_ns = info.frame_time().as_ns().max(1);
    let frames = |span: Span| u32::try_from(span.as_ns().max(0) / frame_time_ns + 1).unwrap_or(u32::MAX / 4);
    WindowSettings {
        capacity: frames(settings.history),
        reserve: frames(settings.reserve),
        frame_bytes: promised(settings, info),
    }
}

fn promised(settings: &ClipSettings, info: &SourceInfo) -> usize {
    let by_size = || match info.picture {
        Some(picture) => {
            frame_bytes(picture.width, picture.height, QUALITY) + info.side_bytes_max + info.sensor_bytes_max
        }
        None => frame_bytes(0, 0, QUALITY) + info.side_bytes_max + info.sensor_bytes_max,
    };
    settings.frame_bytes.unwrap_or_else(by_size)
}

fn slot_sizes(settings: &ClipSettings, info: &SourceInfo) -> SlotSizes {
    let promised = promised(settings, info);
    let pixels = info.picture.and_then(|picture| picture.bytes()).unwrap_or(0).min(promised);
    SlotSizes {
        pixels,
        jpeg: promised,
        side: info.side_bytes_max.min(promised),
        sensor: info.sensor_bytes_max.min(promised),
        scratch: 0,
    }
}

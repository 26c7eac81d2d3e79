//! The circle on which slots travel: free → capture → (encoders) → sink → free, over rings that never copy a frame.
//!
//! A slot is a `Box`; handing it on moves a pointer through an [`rtrb`] ring, whatever the frame's size. Every ring has room
//! for every slot, so only one thing can ever be full: the circle, when no slot is free. [`CaptureEnd::offer`] says so
//! and the capture end keeps its slot, to be filled anew.
//!
//! With encoders, frame `n` goes to encoder `n mod count` and the sink takes from the encoders in the same turn, so frames
//! leave in the order in which they came, without sequence numbers being compared.
//!
//! Nothing here waits, wakes or counts; see `wake` and `engine`.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::limits::ENCODERS_MAX;
use crate::slot::Slot;

/// No slot was free: the frame stayed with the capture end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What an end that takes slots found.
#[derive(Debug)]
pub enum Taken {
    /// The next slot.
    Slot(Box<Slot>),
    /// None at the moment.
    Empty,
    /// None, and none will come: the end before is gone.
    Ended,
}

/// All ends of one circle, to be given to their threads.
#[derive(Debug)]
pub struct Ends {
    /// For the thread that fills slots.
    pub capture: CaptureEnd,
    /// For the threads between; may be none.
    pub encoders: heapless::Vec<EncoderEnd, ENCODERS_MAX>,
    /// For the thread that empties slots.
    pub sink: SinkEnd,
}

/// Puts `slots` on a circle with `encoders` stations between capture and sink.
///
/// # Panics
/// With fewer than two slots (one is always with the capture end), or more than `ENCODERS_MAX` encoders.
pub fn circle(slots: Vec<Box<Slot>>, encoders: usize) -> Ends {
    assert!(slots.len() >= 2, "{} slots make no circle", slots.len());
    assert!(encoders <= ENCODERS_MAX, "{encoders} encoders, the limit is {ENCODERS_MAX}");
    let capacity = slots.len();
    let ring = || RingBuffer::new(capacity);
    let (mut give_back, free) = ring();
    let mut slots = slots.into_iter();
    let in_hand = slots.next().expect("two slots at least");
    for slot in slots {
        push(&mut give_back, slot);
    }
    let mut ends = Ends {
        capture: CaptureEnd { slot: in_hand, free, lanes: heapless::Vec::new(), turn: 0, capacity },
        encoders: heapless::Vec::new(),
        sink: SinkEnd { lanes: heapless::Vec::new(), turn: 0, give_back },
    };
    // Pushing into a bounded vector hands the value back when it is full; the assertion above excludes that.
    for _ in 0..encoders {
        let (into_encoder, input) = ring();
        let (output, from_encoder) = ring();
        let _ = ends.capture.lanes.push(into_encoder);
        let _ = ends.encoders.push(EncoderEnd { input, output });
        let _ = ends.sink.lanes.push(from_encoder);
    }
    if encoders == 0 {
        let (from_capture, into_sink) = ring();
        let _ = ends.capture.lanes.push(from_capture);
        let _ = ends.sink.lanes.push(into_sink);
    }
    ends
}

type Out = Producer<Box<Slot>>;
type In = Consumer<Box<Slot>>;

#[inline]
fn push(ring: &mut Out, slot: Box<Slot>) {
    if let Err(refused) = ring.push(slot) {
        overfull(refused);
    }
}

/// Each ring has room for every slot of the circle, and slots are neither made nor cloned on it.
#[cold]
fn overfull(_: rtrb::PushError<Box<Slot>>) -> ! {
    panic!("more slots on the circle than were made");
}

#[inline]
fn take(ring: &mut In) -> Taken {
    match ring.pop() {
        Ok(slot) => Taken::Slot(slot),
        Err(_) if !ring.is_abandoned() => Taken::Empty,
        Err(_) => take_last(ring),
    }
}

/// The other end left: its last push is visible now, if it came after the look before.
#[cold]
fn take_last(ring: &mut In) -> Taken {
    ring.pop().map_or(Taken::Ended, Taken::Slot)
}

/// Fills slots and sends them off. Always holds one.
#[derive(Debug)]
pub struct CaptureEnd {
    slot: Box<Slot>,
    free: In,
    lanes: heapless::Vec<Out, ENCODERS_MAX>,
    turn: usize,
    capacity: usize,
}

impl CaptureEnd {
    /// The slot to fill.
    #[inline]
    pub fn slot_mut(&mut self) -> &mut Slot {
        &mut self.slot
    }

    /// Sends the slot off and takes a free one in its place. Cost: two ring operations, whatever the frame's size.
    ///
    /// # Errors
    /// [`Full`]: no slot is free. The filled one stays here, to be offered again or filled anew.
    #[inline]
    pub fn offer(&mut self) -> Result<(), Full> {
        let next = self.free.pop().map_err(|_| Full)?;
        self.send(next);
        Ok(())
    }

    /// The slot to fill, to be exchanged for another one.
    pub fn in_hand_mut(&mut self) -> &mut Box<Slot> {
        &mut self.slot
    }

    /// True when a slot is free, so that the next [`offer`](Self::offer) succeeds.
    pub fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Number of free slots at this moment, the one in hand not counted.
    pub fn free_slots(&self) -> usize {
        self.free.slots()
    }

    /// Slots on the circle, the one in hand included.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// True when the sink's end is gone: nothing that is offered will be seen.
    pub fn is_abandoned(&self) -> bool {
        self.free.is_abandoned()
    }

    /// The lane of the next frame; 0 without encoders.
    pub fn turn(&self) -> usize {
        self.turn
    }

    #[inline]
    fn send(&mut self, next: Box<Slot>) {
        let filled = std::mem::replace(&mut self.slot, next);
        if let [lane] = &mut self.lanes[..] {
            return push(lane, filled);
        }
        push(&mut self.lanes[self.turn], filled);
        self.turn = next_turn(self.turn, self.lanes.len());
    }
}

#[inline]
fn next_turn(turn: usize, lanes: usize) -> usize {
    if turn + 1 == lanes { 0 } else { turn + 1 }
}

/// Works on slots between capture and sink.
#[derive(Debug)]
pub struct EncoderEnd {
    input: In,
    output: Out,
}

impl EncoderEnd {
    /// The next slot of this encoder. Every one that is taken must be passed on, or its successors never leave.
    #[inline]
    pub fn take(&mut self) -> Taken {
        take(&mut self.input)
    }

    /// True when [`take`](Self::take) has something to say.
    pub fn is_ready(&self) -> bool {
        !self.input.is_empty() || self.input.is_abandoned()
    }

    /// Sends a slot on to the sink.
    #[inline]
    pub fn pass(&mut self, slot: Box<Slot>) {
        push(&mut self.output, slot);
    }
}

/// Takes filled slots in order and gives them back.
#[derive(Debug)]
pub struct SinkEnd {
    lanes: heapless::Vec<In, ENCODERS_MAX>,
    turn: usize,
    give_back: Out,
}

impl SinkEnd {
    /// The next slot in the order of capture.
    #[inline]
    pub fn take(&mut self) -> Taken {
        if let [lane] = &mut self.lanes[..] {
            return take(lane);
        }
        let taken = take(&mut self.lanes[self.turn]);
        if matches!(taken, Taken::Slot(_)) {
            self.turn = next_turn(self.turn, self.lanes.len());
        }
        taken
    }

    /// True when [`take`](Self::take) has something to say.
    pub fn is_ready(&self) -> bool {
        let lane = &self.lanes[self.turn];
        !lane.is_empty() || lane.is_abandoned()
    }

    /// Gives a slot back to the capture end.
    #[inline]
    pub fn give_back(&mut self, slot: Box<Slot>) {
        push(&mut self.give_back, slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::SlotSizes;

    fn slots(count: usize) -> Vec<Box<Slot>> {
        (0..count).map(|_| Slot::new(&SlotSizes::default())).collect()
    }

    fn offer(capture: &mut CaptureEnd, sequence: u64) -> Result<(), Full> {
        capture.slot_mut().meta.sequence = sequence;
        capture.offer()
    }

    fn sequence(taken: Taken) -> Option<u64> {
        match taken {
            Taken::Slot(slot) => Some(slot.meta.sequence),
            Taken::Empty | Taken::Ended => None,
        }
    }

    #[test]
    fn a_full_circle_leaves_the_frame_with_the_capture_end() {
        let mut ends = circle(slots(3), 0);
        assert_eq!(offer(&mut ends.capture, 1), Ok(()));
        assert_eq!(offer(&mut ends.capture, 2), Ok(()));
        assert_eq!(offer(&mut ends.capture, 3), Err(Full));
        assert_eq!(ends.capture.slot_mut().meta.sequence, 3);
        let Taken::Slot(slot) = ends.sink.take() else { panic!("a slot waits") };
        assert_eq!(slot.meta.sequence, 1);
        assert_eq!(ends.capture.offer(), Err(Full), "the sink still holds it");
        ends.sink.give_back(slot);
        assert!(ends.capture.has_free());
        assert_eq!(ends.capture.offer(), Ok(()));
        assert_eq!(sequence(ends.sink.take()), Some(2));
        assert_eq!(sequence(ends.sink.take()), Some(3));
    }

    #[test]
    fn frames_leave_in_order_whichever_encoder_is_faster() {
        for encoders in 1..=ENCODERS_MAX {
            let mut ends = circle(slots(12), encoders);
            for n in 0..10 {
                offer(&mut ends.capture, n).unwrap();
            }
            // The last encoder works first: nothing of it may overtake.
            for encoder in ends.encoders.iter_mut().rev() {
                while let Taken::Slot(slot) = encoder.take() {
                    encoder.pass(slot);
                }
            }
            let order: Vec<_> = std::iter::from_fn(|| sequence(ends.sink.take())).collect();
            assert_eq!(order, (0..10).collect::<Vec<_>>(), "{encoders} encoders");
        }
    }

    #[test]
    fn the_end_is_seen_after_the_last_frame() {
        let Ends { mut capture, mut encoders, mut sink } = circle(slots(4), 1);
        offer(&mut capture, 7).unwrap();
        drop(capture);
        let mut encoder = encoders.pop().unwrap();
        let Taken::Slot(slot) = encoder.take() else { panic!("a slot waits") };
        assert!(matches!(encoder.take(), Taken::Ended));
        assert!(matches!(sink.take(), Taken::Empty));
        encoder.pass(slot);
        drop(encoder);
        assert!(sink.is_ready());
        assert_eq!(sequence(sink.take()), Some(7));
        assert!(matches!(sink.take(), Taken::Ended));
    }

    #[test]
    fn slots_keep_their_addresses_for_ten_thousand_laps() {
        let slots = slots(5);
        let mut addresses: Vec<_> = slots.iter().map(|slot| std::ptr::from_ref(&**slot)).collect();
        let Ends { mut capture, mut sink, .. } = circle(slots, 0);
        for n in 0..10_000 {
            offer(&mut capture, n).unwrap();
            let Taken::Slot(slot) = sink.take() else { panic!("a slot waits") };
            assert_eq!(slot.meta.sequence, n);
            sink.give_back(slot);
        }
        let mut found = vec![std::ptr::from_ref(capture.slot_mut())];
        while capture.offer().is_ok() {
            found.push(std::ptr::from_ref(capture.slot_mut()));
        }
        addresses.sort();
        found.sort();
        assert_eq!(addresses, found);
    }
}

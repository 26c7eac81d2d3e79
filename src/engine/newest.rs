//! A place for the newest frame: whoever writes never waits and replaces what was not read yet.
//!
//! Three slots, exchanged by one atomic swap (the `triple_buffer` crate): one with the writer, one with the reader, one
//! between them.

use crate::slot::Slot;

type Place = Option<Box<Slot>>;

/// The writer's side.
#[derive(Debug)]
pub struct NewestIn(triple_buffer::Input<Place>);

/// The reader's side.
#[derive(Debug)]
pub struct NewestOut(triple_buffer::Output<Place>);

/// A place made of three slots.
pub fn newest(slots: [Box<Slot>; 3]) -> (NewestIn, NewestOut) {
    let (mut input, mut output) = triple_buffer::TripleBuffer::<Place>::default().split();
    // Each round moves the three places on by one, so that every one of them gets a slot.
    for slot in slots {
        *input.input_buffer_mut() = Some(slot);
        input.publish();
        output.update();
    }
    (NewestIn(input), NewestOut(output))
}

impl NewestIn {
    /// The slot to fill next.
    pub fn slot_mut(&mut self) -> &mut Slot {
        self.0.input_buffer_mut().as_mut().expect("every place has a slot")
    }

    /// Exchanges the slot to fill for one that is filled already; then [`publish`](Self::publish) it.
    pub fn exchange(&mut self, filled: &mut Box<Slot>) {
        std::mem::swap(self.0.input_buffer_mut().as_mut().expect("every place has a slot"), filled);
    }

    /// Makes the filled slot the newest. True when it replaced one that nobody read.
    pub fn publish(&mut self) -> bool {
        self.0.publish()
    }
}

impl NewestOut {
    /// True when there is a frame that was not read.
    pub fn is_new(&self) -> bool {
        self.0.updated()
    }

    /// Moves to the newest frame; false when there is none that was not read.
    pub fn update(&mut self) -> bool {
        self.0.update()
    }

    /// The frame moved to last.
    pub fn slot(&self) -> &Slot {
        self.0.peek_output_buffer().as_ref().expect("every place has a slot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::SlotSizes;

    #[test]
    fn the_reader_sees_the_newest_and_the_writer_learns_what_was_not_read() {
        let (mut input, mut output) = newest([(); 3].map(|()| Slot::new(&SlotSizes::default())));
        assert!(!output.update(), "nothing was written yet");
        for sequence in 1..=10 {
            input.slot_mut().meta.sequence = sequence;
            let replaced = input.publish();
            assert_eq!(replaced, sequence % 3 != 1, "frame {sequence}");
            if sequence % 3 == 0 {
                assert!(output.is_new() && output.update());
                assert_eq!(output.slot().meta.sequence, sequence);
                assert!(!output.update());
            }
        }
        assert!(output.update());
        assert_eq!(output.slot().meta.sequence, 10);
    }
}

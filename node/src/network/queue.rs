//! The outgoing queue of one stream: any thread pushes without waiting, one writer pops.

use super::frame::Frame;
use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::sync::Notify;

/// What a queued frame takes beyond its bytes, so that a flood of tiny frames is bounded too.
const FRAME_OVERHEAD_BYTES: usize = 128;

/// A queue of frames, bounded in bytes.
pub(super) struct Queue {
    bytes_max: usize,
    state: Mutex<State>,
    pushed: Notify,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Queue {
        Queue { bytes_max, state: Mutex::default(), pushed: Notify::new() }
    }

    /// Whether the frame was taken; if not, the queue is full.
    pub(super) fn push(&self, frame: Frame) -> bool {
        let mut state = self.lock();
        let bytes = state.bytes + cost(&frame);
        if bytes > self.bytes_max {
            return false;
        }
        state.bytes = bytes;
        state.frames.push_back(frame);
        drop(state);
        self.pushed.notify_one();
        true
    }

    /// The next frame, if there is one.
    pub(super) fn try_pop(&self) -> Option<Frame> {
        let mut state = self.lock();
        let frame = state.frames.pop_front()?;
        state.bytes -= cost(&frame);
        Some(frame)
    }

    /// Waits for the next frame. Cancel-safe; for one caller at a time.
    pub(super) async fn pop(&self) -> Frame {
        loop {
            if let Some(frame) = self.try_pop() {
                return frame;
            }
            self.pushed.notified().await;
        }
    }

    /// How many more bytes it takes.
    pub(super) fn room(&self) -> usize {
        self.bytes_max - self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

fn cost(frame: &Frame) -> usize {
    frame.length() + FRAME_OVERHEAD_BYTES
}

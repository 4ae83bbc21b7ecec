//! Room that is used again from batch to batch.

use std::sync::{Mutex, PoisonError};

/// Room of the last batch for the numbers of the next one, where its pages are already there: no part of what a state is.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<f32>>>);

impl Spare {
    /// The smallest room for `len` numbers, of any value.
    pub fn take(&self, len: usize) -> Vec<f32> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = rooms.iter().enumerate().filter(|(_, room)| room.capacity() >= len).min_by_key(|(_, room)| room.capacity());
        let mut room = fits.map(|(at, _)| at).map_or_else(Vec::new, |at| rooms.swap_remove(at));
        drop(rooms);
        room.resize(len, 0.0);
        room
    }
    pub fn give(&self, room: Vec<f32>) {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() < 12 {
            rooms.push(room);
        }
    }
}

impl Clone for Spare {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Spare {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

//! Reading a whole image in both ways that there are.

use std::sync::Arc;

use crate::formats::block::BlockSource;
use crate::formats::image::{self, Image, Opened};
use crate::formats::unpack::Unpacker;

/// Windows that are read of one image: enough to meet every kind of piece.
const MOST_WINDOWS: usize = 4;
/// A disk that claims to be larger is not counted: its tables could be walked for minutes.
const MOST_COUNTED: u64 = 1 << 30;

/// Reads an image by windows and by places, and says whether all of it could be read.
pub fn whole(file: &[u8]) -> bool {
    let open = || match image::open(Arc::new(file.to_vec())) {
        Ok(Opened::Image(image)) => Some(image),
        // A descriptor alone; its content is in another file.
        Ok(Opened::Flat(extent)) => Image::flat(&extent, Arc::new(file.to_vec())).ok(),
        Err(_) => None,
    };
    let (Some(image), Some(mut places)) = (open(), open()) else { return false };
    if places.size() > MOST_COUNTED {
        return false;
    }
    let counted = places.data_bytes();
    if let Ok(counted) = &counted {
        assert!(*counted <= places.size(), "more data than disk");
    }
    let (mut windows, file) = image.windows();
    let (size, disk_size) = (windows.window_size(), windows.disk_size());
    assert!(size.is_power_of_two() && size <= 4 << 20, "windows of {size} bytes");
    let mut unpacker = Unpacker::default();
    let (mut buffer, mut again) = (vec![0; size], vec![0; size]);
    let mut before = None;
    for _ in 0..MOST_WINDOWS {
        let window = match windows.next_window() {
            Ok(Some(window)) => window,
            Ok(None) => return counted.is_ok(),
            Err(_) => return false,
        };
        assert!(window.start % size as u64 == 0 && before.is_none_or(|before| before < window.start));
        before = Some(window.start);
        let there = (disk_size - window.start).min(size as u64) as usize;
        let by_window = window.fill(&*file, &mut unpacker, &mut buffer);
        let by_places = places.read_at(window.start, &mut again[..there]);
        assert_eq!(by_window.is_ok(), by_places.is_ok(), "{by_window:?} and {by_places:?}");
        if by_window.is_err() {
            return false;
        }
        assert!(buffer[..there] == again[..there], "two readers, two disks");
        assert!(buffer[there..].iter().all(|byte| *byte == 0), "nothing behind the disk's end");
    }
    true
}

//! Input that is a file, or changes to a good file: most of what is found lies near good files.

/// Bytes of a change: where (two bytes), and what.
const CHANGE: usize = 3;

/// Returns the file that an input stands for. After an odd first byte come the kind of good file and the changes to it,
/// after an even one the file.
pub fn patched(data: &[u8], good: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    let Some((first, rest)) = data.split_first() else { return Vec::new() };
    if first & 1 == 0 {
        return rest.to_vec();
    }
    let Some((kind, changes)) = rest.split_first() else { return good(0) };
    let mut file = good(*kind);
    for change in changes.chunks_exact(CHANGE) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % file.len();
        file[at] = change[2];
    }
    // What remains of the changes cuts the file.
    if let [low, high] = *changes.chunks_exact(CHANGE).remainder() {
        file.truncate(usize::from(u16::from_le_bytes([low, high])));
    }
    file
}

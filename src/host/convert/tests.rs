use super::*;

const MIB: u64 = 1 << 20;

/// Writes a raw disk with something at its beginning, in its middle and at its end, and returns its bytes.
fn raw(path: &Path) -> Vec<u8> {
    let mut disk = vec![0; 9 * MIB as usize + 512];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let end = disk.len() - 1;
    for at in [1, 3 * MIB as usize + 5, end] {
        disk[at] = 7;
    }
    files::write_atomic(path, &disk, files::PUBLIC_FILE).unwrap();
    disk
}

fn request<'a>(source: &'a Path, target: &'a Path, format: Format) -> Request<'a> {
    Request { source, target, capacity: None, format, cid: Some(7) }
}

fn content(path: &Path) -> Vec<u8> {
    use crate::formats::block::BlockSource;
    let mut image = open(path).unwrap();
    let mut bytes = vec![0; image.size() as usize];
    image.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn both_kinds_of_disk_hold_the_image_and_only_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("raw");
    let mut expected = raw(&source);
    expected.resize(expected.len().next_multiple_of(vmdk::GRAIN as usize), 0);
    for (format, name) in [(Format::Sparse, "one.vmdk"), (Format::Flat, "two.vmdk")] {
        let target = folder.path().join(name);
        let mut heard = Vec::new();
        let mut progress = |done, total| heard.push((done, total));
        let converted = convert(&request(&source, &target, format), &mut progress, &|| false).unwrap();
        assert_eq!((converted.capacity, converted.data_bytes), (expected.len() as u64, 3 * vmdk::GRAIN));
        assert!(converted.file_bytes < MIB, "{converted:?}");
        assert!(content(&target) == expected);
        assert!(heard.is_sorted() && heard.last() == Some(&(9 * MIB + 512, 9 * MIB + 512)));
        let again = convert(&request(&source, &target, format), &mut |_, _| (), &|| false);
        assert!(matches!(again, Err(HostError::Exists { .. })));
    }
    let names: Vec<_> = files::list(folder.path()).unwrap();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(vmdk::inspect(&files::open(&folder.path().join("one.vmdk")).unwrap()).unwrap().cid, 7);
}

#[test]
fn one_writes_and_what_a_killed_one_left_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("raw"), folder.path().join("disk.vmdk"));
    let expected = raw(&source);
    let writing = Target::claim(&target, Format::Sparse).unwrap();
    let second = convert(&request(&source, &target, Format::Flat), &mut |_, _| (), &|| false);
    assert!(matches!(second, Err(HostError::BeingWritten { .. })), "{second:?}");
    drop(writing);
    assert_eq!(files::list(folder.path()).unwrap().len(), 1);
    // Killed while it wrote, and killed between the two renames of a flat disk.
    let descriptor = vmdk::flat_descriptor(MIB, "disk-flat.vmdk", 1);
    files::write_atomic(&folder.path().join("disk.vmdk.part"), descriptor.as_bytes(), 0o644).unwrap();
    for left in ["disk-flat.vmdk.part", "disk-flat.vmdk"] {
        files::write_atomic(&folder.path().join(left), b"half", 0o644).unwrap();
    }
    convert(&request(&source, &target, Format::Sparse), &mut |_, _| (), &|| false).unwrap();
    assert!(content(&target).starts_with(&expected));
    assert_eq!(files::list(folder.path()).unwrap(), [target, source]);
}

#[test]
fn a_flat_file_of_somebody_elses_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("raw"), folder.path().join("disk.vmdk"));
    raw(&source);
    let theirs = folder.path().join("disk-flat.vmdk");
    files::write_atomic(&theirs, b"theirs", 0o644).unwrap();
    let refused = convert(&request(&source, &target, Format::Flat), &mut |_, _| (), &|| false);
    assert!(matches!(refused, Err(HostError::Exists { path }) if path == theirs));
    convert(&request(&source, &target, Format::Sparse), &mut |_, _| (), &|| false).unwrap();
    assert_eq!(files::read(&theirs).unwrap(), b"theirs");
}

#[test]
fn a_wish_to_stop_and_a_size_that_does_not_fit_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("raw"), folder.path().join("disk.vmdk"));
    raw(&source);
    for format in [Format::Sparse, Format::Flat] {
        let stopped = convert(&request(&source, &target, format), &mut |_, _| (), &|| true);
        assert!(matches!(stopped, Err(HostError::Interrupted)));
    }
    for wished in [MIB, 3 << 40] {
        let request = Request { capacity: Some(wished), ..request(&source, &target, Format::Sparse) };
        let refused = convert(&request, &mut |_, _| (), &|| false);
        assert!(matches!(refused, Err(HostError::Capacity { size, .. }) if size == 9 * MIB + 512));
    }
    assert_eq!(files::list(folder.path()).unwrap(), [source]);
}

//! tar: a folder to standard output, and out of standard input into a folder.

use crate::formats::tar::{self, Kind, Piece, Reader, TarError};
use crate::sim::guest::shell::{Call, USAGE};

pub async fn run(call: &mut Call<'_>) -> i32 {
    let input = std::mem::take(&mut call.input);
    match call.words()[..] {
        ["-C", folder, "-c", "-h", "-f", "-", "."] => pack(call, folder).await,
        ["-C", folder, "-x", "--no-same-owner", "-f", "-"] => unpack(call, folder, &input).await,
        _ => call.fail(USAGE, "tar: the model guest packs and unpacks one folder alone").await,
    }
}

async fn pack(call: &Call<'_>, folder: &str) -> i32 {
    let folder = &call.place(folder.trim_end_matches('/'));
    let mut archive = tar::folder("./", 0o755);
    call.model.disk(|disk| {
        for path in disk.under(folder) {
            let Some(file) = disk.file(&path) else { continue };
            let size = file.content.len() as u64;
            archive.extend(tar::file(&format!(".{}", &path[folder.len()..]), file.mode, size));
            archive.extend(file.content.iter());
            archive.extend(tar::padding(size));
        }
    });
    archive.extend(tar::end());
    call.print(archive).await;
    0
}

async fn unpack(call: &Call<'_>, folder: &str, archive: &[u8]) -> i32 {
    let folder = &call.place(folder);
    if !call.may_write(folder) {
        return call.fail(2, format!("tar: {folder}: Cannot open: Permission denied")).await;
    }
    let (mut reader, mut files) = (Reader::default(), Vec::new());
    let read = reader.take::<TarError>(archive, &mut |piece| {
        match piece {
            Piece::Head(entry) => files.push((entry, Vec::new())),
            Piece::Content(bytes) => {
                files.last_mut().map(|(_, content)| content.extend(bytes)).unwrap_or_default()
            }
            Piece::End => {}
        }
        Ok(())
    });
    if let Err(error) = read.and_then(|()| reader.finish()) {
        return call.fail(2, format!("tar: {error}")).await;
    }
    call.model.change_disk(|disk| {
        for (entry, content) in files {
            let path = format!("{folder}/{}", entry.name.trim_start_matches("./"));
            match entry.kind {
                Kind::Folder => disk.make_directory(&path),
                Kind::File => disk.put(&path, entry.mode, content),
                Kind::Other => {}
            }
        }
    });
    0
}

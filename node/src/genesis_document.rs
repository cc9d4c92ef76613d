//! The genesis document as the API hands it out: as it stands in its file.
//!
//! One of a million accounts takes 130 MB. So a large one stays where it is, and is read piece by piece whenever somebody asks for it.
//! The file is kept open: replacing it does not alter what is handed out. Who edits it in place makes it another document, which
//! clients notice by its hash.

use axum::body::{Body, Bytes};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// A larger document stays in its file.
const IN_MEMORY_BYTES_MAX: u64 = 1 << 20;

/// How much is read of a file at once.
const PIECE_BYTES: u64 = 1 << 16;

/// The document.
#[derive(Clone, Debug)]
pub struct GenesisDocument(Source);

#[derive(Clone, Debug)]
enum Source {
    Memory(Bytes),
    File { file: Arc<File>, bytes: u64 },
}

impl GenesisDocument {
    /// The document in this file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: &Path) -> io::Result<GenesisDocument> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        if bytes > IN_MEMORY_BYTES_MAX {
            return Ok(GenesisDocument(Source::File { file: Arc::new(file), bytes }));
        }
        let mut text = vec![0; bytes as usize];
        file.read_exact_at(&mut text, 0)?;
        Ok(GenesisDocument(Source::Memory(text.into())))
    }

    /// A document that is in no file.
    pub fn in_memory(text: String) -> GenesisDocument {
        GenesisDocument(Source::Memory(text.into()))
    }

    /// How long it is, in bytes.
    pub fn len_bytes(&self) -> u64 {
        match &self.0 {
            Source::Memory(text) => text.len() as u64,
            Source::File { bytes, .. } => *bytes,
        }
    }

    /// All of it, as the body of an answer.
    pub fn body(&self) -> Body {
        match &self.0 {
            Source::Memory(text) => Body::from(text.clone()),
            Source::File { file, bytes } => {
                let pieces =
                    futures::stream::try_unfold((file.clone(), *bytes, 0), |(file, bytes, start)| async move {
                        let piece = PIECE_BYTES.min(bytes - start);
                        if piece == 0 {
                            return Ok(None);
                        }
                        let (file, read) = read(file, start, piece).await?;
                        Ok::<_, io::Error>(Some((read, (file, bytes, start + piece))))
                    });
                Body::from_stream(pieces)
            }
        }
    }
}

/// Reads where it holds nobody up.
async fn read(file: Arc<File>, start: u64, bytes: u64) -> io::Result<(Arc<File>, Bytes)> {
    let run = move || {
        let mut piece = vec![0; bytes as usize];
        file.read_exact_at(&mut piece, start)?;
        Ok((file, piece.into()))
    };
    tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn handed_out(document: &GenesisDocument) -> Vec<u8> {
        let body = axum::body::to_bytes(document.body(), usize::MAX).await.expect("readable");
        assert_eq!(body.len() as u64, document.len_bytes());
        body.to_vec()
    }

    #[tokio::test]
    async fn small_and_large_documents_are_handed_out_as_they_are() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("genesis.json");
        for bytes in [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20, (3 << 20) + 77] {
            let text: Vec<u8> = (0..bytes).map(|place: u32| (place / 1_000) as u8).collect();
            std::fs::write(&path, &text).expect("written");
            let document = GenesisDocument::open(&path).expect("readable");
            assert_eq!(handed_out(&document).await, text);
            // Another file in its place.
            std::fs::remove_file(&path).expect("removed");
            std::fs::write(&path, "{}").expect("written");
            assert_eq!(handed_out(&document).await, text);
        }
        assert_eq!(handed_out(&GenesisDocument::in_memory("{}".into())).await, b"{}");
    }
}

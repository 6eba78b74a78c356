//! Where the gate listens: a unix socket that only its group may use, or TCP with mutual TLS.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

/// A bound unix socket; the file goes when this does.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    file: SocketFile,
}

#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl UnixSocket {
    /// Binds with mode 0660; a missing folder is made with 0750. What a dead process left is
    /// replaced, in one step.
    ///
    /// Errors: another process serves on it; something that is no socket is in the way; what the
    /// system says.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
            let mode = fs::metadata(folder)?.permissions().mode();
            if mode & 0o002 != 0 && mode & 0o1000 == 0 {
                tracing::warn!(folder = %folder.display(), "everybody may write to the folder of the gate's socket, and so replace it");
            }
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(metadata) if !is_socket(&metadata) => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "the path is taken by something that is not a socket",
                ));
            }
            Ok(_) => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(io::Error::new(
                        io::ErrorKind::AddrInUse,
                        "another process serves on it",
                    ));
                }
            }
        }
        // Bound aside and then moved, so that the socket never exists with wider rights.
        let aside = path.with_extension(format!("{}", std::process::id() % 100_000));
        drop(fs::remove_file(&aside));
        let listener = UnixListener::bind(&aside)?;
        let placed = fs::set_permissions(&aside, fs::Permissions::from_mode(SOCKET_MODE))
            .and_then(|()| fs::metadata(&aside))
            .and_then(|metadata| {
                fs::rename(&aside, path)?;
                Ok(metadata.ino())
            });
        match placed {
            Ok(inode) => Ok(Self { listener, file: SocketFile { path: path.to_owned(), inode } }),
            Err(error) => {
                drop(fs::remove_file(&aside));
                Err(error)
            }
        }
    }

    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have put its own there since.
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn is_socket(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_socket()
}

const SOCKET_MODE: u32 = 0o660;
const FOLDER_MODE: u32 = 0o750;

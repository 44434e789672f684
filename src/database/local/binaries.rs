//! Where PostgreSQL's server binaries are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Directories that package systems install into, each with a version's directory for `*`, newest last.
const GLOBS: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "bin"),
];

/// The programs that make and run a cluster.
#[derive(Debug)]
pub(super) struct Binaries {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
}

impl Binaries {
    /// Looks in `PG_BINDIR`, which alone counts where it is set; then on `PATH`, at `pg_config --bindir`, and where packages go.
    pub(super) fn find() -> Option<Self> {
        if let Some(dir) = std::env::var_os("PG_BINDIR") {
            return Self::within(Path::new(&dir));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .find_map(|dir| Self::within(&dir))
            .or_else(|| pg_config().and_then(|dir| Self::within(&dir)))
            .or_else(|| GLOBS.iter().find_map(|(root, bin)| newest(Path::new(root), bin)))
            .or_else(|| Self::within(Path::new("/usr/bin")))
    }

    /// Resolves links, because PostgreSQL finds its libraries relative to where it really lies.
    fn within(dir: &Path) -> Option<Self> {
        let real = |name: &str| dir.join(name).canonicalize().ok().filter(|path| path.is_file());
        Some(Self { initdb: real("initdb")?, postgres: real("postgres")? })
    }
}

fn pg_config() -> Option<PathBuf> {
    let told = Command::new("pg_config").arg("--bindir").output().ok()?;
    String::from_utf8(told.stdout).ok().map(|dir| PathBuf::from(dir.trim()))
}

/// The binaries of the highest version below `root`, whose entries end in their version: `15`, `postgresql@16`.
fn newest(root: &Path, bin: &str) -> Option<Binaries> {
    let version = |path: &Path| -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("postgresql@").unwrap_or(name).parse().ok()
    };
    let mut dirs: Vec<_> = root.read_dir().ok()?.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    dirs.retain(|path| version(path).is_some());
    dirs.sort_by_key(|path| std::cmp::Reverse(version(path)));
    dirs.iter().find_map(|dir| Binaries::within(&dir.join(bin)))
}

/// What this system's package manager calls the server.
pub(super) fn package() -> &'static str {
    if cfg!(target_os = "macos") {
        "postgresql@17 with brew"
    } else if Path::new("/usr/bin/dnf").exists() {
        "postgresql-server with dnf"
    } else {
        "the package postgresql with apt"
    }
}

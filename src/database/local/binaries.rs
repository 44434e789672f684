//! Finds PostgreSQL's server binaries.

use std::ffi::OsStr;
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
    /// The first of [`Self::all`].
    pub(super) fn find() -> Option<Self> {
        Self::all().next()
    }

    /// The binaries of a major version, such as `15`.
    ///
    /// # Errors
    /// The version of other binaries, if there are any.
    pub(super) fn of_version(version: &str) -> Result<Self, Option<String>> {
        let mut others = None;
        for binaries in Self::all() {
            match binaries.version() {
                Some(found) if found == version => return Ok(binaries),
                found => others = others.or(found),
            }
        }
        Err(others)
    }

    /// Looks in `PG_BINDIR`, which alone counts where it is set; then on `PATH`, at `pg_config --bindir`, and where packages go.
    fn all() -> Box<dyn Iterator<Item = Self>> {
        if let Some(dir) = std::env::var_os("PG_BINDIR") {
            return Box::new(Self::within(Path::new(&dir)).into_iter());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path: Vec<_> = std::env::split_paths(&path).collect();
        let packaged = GLOBS.iter().flat_map(|(root, bin)| by_version(Path::new(root), bin));
        let places = on_path.into_iter().chain(std::iter::once_with(pg_config).flatten()).chain(packaged);
        Box::new(places.chain([PathBuf::from("/usr/bin")]).filter_map(|dir| Self::within(&dir)))
    }

    /// Their major version: from the name of their directory if it is a number, else from the program.
    fn version(&self) -> Option<String> {
        let is_number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let root = self.postgres.parent()?.parent()?;
        let named = root.file_name()?.to_str().filter(|name| is_number(name));
        if let Some(named) = named {
            return Some(named.to_owned());
        }
        // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
        let output = tool(&self.postgres).arg("--version").output().ok()?;
        let output = String::from_utf8(output.stdout).ok()?;
        let number = output.split_whitespace().nth(2)?;
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        is_number(&digits).then_some(digits)
    }

    /// Resolves links, because PostgreSQL finds its libraries relative to its real path.
    fn within(dir: &Path) -> Option<Self> {
        let real = |name: &str| dir.join(name).canonicalize().ok().filter(|path| path.is_file());
        Some(Self { initdb: real("initdb")?, postgres: real("postgres")? })
    }
}

/// A command without this process's environment, which holds secrets; it keeps only the paths of programs and
/// libraries, and the time zone.
pub(super) fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C.UTF-8");
    for name in ["PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

fn pg_config() -> Option<PathBuf> {
    let output = tool("pg_config").arg("--bindir").output().ok()?;
    String::from_utf8(output.stdout).ok().map(|dir| PathBuf::from(dir.trim()))
}

/// Directories of binaries below `root`, whose entries end in their version (`15`, `postgresql@16`), the highest first.
fn by_version(root: &Path, bin: &str) -> Vec<PathBuf> {
    let version = |path: &Path| -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("postgresql@").unwrap_or(name).parse().ok()
    };
    let mut dirs: Vec<_> =
        root.read_dir().into_iter().flatten().filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    dirs.retain(|path| version(path).is_some());
    dirs.sort_by_key(|path| std::cmp::Reverse(version(path)));
    dirs.iter().map(|dir| dir.join(bin)).collect()
}

/// The server's package on this system.
pub(super) fn package() -> &'static str {
    if cfg!(target_os = "macos") {
        "postgresql@17 with brew"
    } else if Path::new("/usr/bin/dnf").exists() {
        "postgresql-server with dnf"
    } else {
        "the package postgresql with apt"
    }
}
